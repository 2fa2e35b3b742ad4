"""What a guest plays and records: its sound card, and where that leads to on the host."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from kvmdecl.manifest.base import Section, wrong
from kvmdecl.names import Bool, Form, HostPath, Positive


class Sound(Section):
    """A sound card; `audio` says who hears it."""

    shorthand = "model"

    model: Literal["ich9", "ich6", "ac97", "es1370", "sb16", "usb"] = "ich9"
    """Device model."""
    codecs: tuple[Literal["duplex", "micro", "output"], ...] = ()
    """What hangs on an `ich9` or `ich6`: a duplex codec if not given."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.codecs and self.model not in {"ich9", "ich6"}:
            hint = "use `model: ich9`, or leave it out"
            raise wrong("sound", f"a card of {self.model} has no codecs", hint, "codecs")
        if len(set(self.codecs)) < len(self.codecs):
            raise wrong("sound", "a codec is there twice", "write it once", "codecs")
        return self


_Word = Annotated[str, Form(r"[^\x00-\x1f\x7f]{1,255}", "is no name", "speakers")]


class AudioStream(Section):
    """How sound is carried in one direction; each as QEMU and the backend find best if not given."""

    device: _Word | None = None
    """Device of the host (`alsa`: `default` or `hw:0`, `oss`: `/dev/dsp0`), or sink or source (`pulseaudio`,
    `pipewire`)."""
    stream: _Word | None = None
    """Name that the host shows for it (`pulseaudio`, `pipewire`)."""
    latency: Positive | None = None
    """Microseconds to wait for (`pulseaudio`, `pipewire`)."""
    server: _Word | None = None
    """Server to connect to (`jack`)."""
    client: _Word | None = None
    """Name that it gives itself there (`jack`)."""
    ports: _Word | None = None
    """Pattern of the ports to connect with (`jack`)."""
    mix: Bool | None = None
    """Whether QEMU mixes and converts by itself."""
    rate: Annotated[Positive, Field(ge=1000, le=1_000_000)] | None = None
    """Samples in a second, for example `48000`; with these three QEMU converts (`mix`)."""
    channels: Annotated[Positive, Field(le=16)] | None = None
    """1 for mono, 2 for stereo."""
    format: Literal["s8", "u8", "s16", "u16", "s32", "u32", "f32"] | None = None
    """Form of a sample."""
    voices: Annotated[Positive, Field(le=32)] | None = None
    """How many sounds are carried at once."""
    buffer: Positive | None = None
    """Microseconds that its buffer holds."""

    @property
    def is_fixed(self) -> bool:
        """Whether a form of sound is chosen."""
        return bool(self.said & {"rate", "channels", "format"})

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.mix is False and self.is_fixed:
            key = min(self.said & {"rate", "channels", "format"})
            raise wrong("audio", "nobody converts without QEMU's mixer", "drop `mix: false`", key)
        return self


class Audio(Section):
    """Where the guest's sound goes to, and comes from."""

    shorthand = "type"

    type: Literal["none", "spice", "alsa", "pulseaudio", "pipewire", "jack", "oss", "file"]
    """`none`: nowhere, though a VNC client may hear it; `spice`: a SPICE client; `file`: what the guest plays becomes
    a WAV file; the others are sound systems of the host. `pipewire` needs libvirt 9.10 on the host."""
    path: HostPath | None = None
    """For `file`: the file."""
    server: _Word | None = None
    """For `pulseaudio`: its server, such as `unix:/run/user/1000/pulse/native`."""
    runtime_dir: HostPath | None = None
    """For `pipewire`: directory of its socket."""
    timer: Positive | None = None
    """Microseconds between two looks at what is to be played."""
    output: AudioStream = AudioStream.unsaid()
    """What the guest plays."""
    input: AudioStream = AudioStream.unsaid()
    """What it records."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for key, type_ in (("path", "file"), ("server", "pulseaudio"), ("runtime_dir", "pipewire")):
            if getattr(self, key) is not None and self.type != type_:
                raise wrong("audio", f"{key} is for {type_}", f"add `type: {type_}`, or leave it out", key)
        if self.type == "file" and self.path is None:
            raise wrong("audio", "the file has no name", "add `path: /srv/sound.wav`", "type")
        for way in ("output", "input"):
            for key in sorted(getattr(self, way).said & _BACKENDS_OF_KEYS.keys()):
                if self.type not in _BACKENDS_OF_KEYS[key]:
                    summary = f"sound by {self.type} has no {key}"
                    raise wrong("audio", summary, f"it is for {', '.join(_BACKENDS_OF_KEYS[key])}", way, key)
        return self


_BACKENDS_OF_KEYS: Mapping[str, tuple[str, ...]] = {
    "device": ("alsa", "oss", "pulseaudio", "pipewire"),
    **dict.fromkeys(("stream", "latency"), ("pulseaudio", "pipewire")),
    **dict.fromkeys(("server", "client", "ports"), ("jack",)),
}
"""The types that have a key of a stream."""
