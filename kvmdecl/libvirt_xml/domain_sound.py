"""A vm's sound card, and where its sound goes to, as libvirt XML."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.libvirt_xml.build import node

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.libvirt_xml.safe import Element
    from kvmdecl.manifest import Vm
    from kvmdecl.manifest.sound import Audio, AudioStream


def sound(spec: Vm) -> Iterator[Element]:
    """The card and the backend, where there are any. A card without a backend gets the one that libvirt chooses."""
    if spec.sound is not None:
        codecs = (node("codec", type=codec) for codec in spec.sound.codecs)
        alias = node("alias", name="ua-sound")  # a guest may have several
        yield node("sound", *codecs, alias, model=spec.sound.model)
    if spec.audio is not None:
        yield _audio(spec.audio)


def _audio(audio: Audio) -> Element:
    return node(
        "audio",
        _stream("input", audio.type, audio.input),
        _stream("output", audio.type, audio.output),
        id="1",
        type=audio.type,
        timerPeriod=_text(audio.timer),
        path=audio.path,
        serverName=audio.server,
        runtimeDir=audio.runtime_dir,
    )


def _stream(tag: str, backend: str, stream: AudioStream) -> Element | None:
    if not stream.said:
        return None
    given = {"frequency": _text(stream.rate), "channels": _text(stream.channels), "format": stream.format}
    fixed = stream.is_fixed  # QEMU takes a form of sound only together with these two
    return node(
        tag,
        fixed and node("settings", **given),
        mixingEngine="yes" if fixed else _yes_no(stream.mix),
        fixedSettings="yes" if fixed else None,
        voices=_text(stream.voices),
        bufferLength=_text(stream.buffer),
        **{"dev" if backend in {"alsa", "oss"} else "name": stream.device},
        streamName=stream.stream,
        latency=_text(stream.latency),
        serverName=stream.server,
        clientName=stream.client,
        connectPorts=stream.ports,
    )


def _yes_no(value: bool | None) -> str | None:
    return None if value is None else ("yes" if value else "no")


def _text(value: int | None) -> str | None:
    return None if value is None else str(value)
