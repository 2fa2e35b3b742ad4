"""Devices of a guest beside its disks and NICs."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema, model_validator

from kvmdecl.manifest.base import Section, wrong
from kvmdecl.names import (
    MIB,
    Bool,
    Duration,
    Form,
    HostPath,
    IpAddress,
    Name,
    Positive,
    Size,
    parse_integer,
    parse_ip,
)

AGENT_CHANNEL = "org.qemu.guest_agent.0"
"""Channel of the QEMU guest agent."""
SPICE_CHANNEL = "com.redhat.spice.0"
"""Channel of the SPICE agent."""

_FIRST_CID, _LAST_CID = 3, 2**32 - 2  # 0 to 2 are the hypervisor's, the loopback's and the host's (vsock(7))


def _place(value: Any) -> str:  # noqa: ANN401 - whatever the document holds
    if isinstance(value, (list, tuple)):
        hint = "write one address: `listen: 127.0.0.1`"
        raise wrong("graphics", "a graphical console listens on one address", hint)
    return str(value) if value in {"socket", "none"} else parse_ip(value)


class Graphics(Section):
    """A graphical console."""

    shorthand = "type"

    type: Literal["none", "vnc", "spice"] = "none"
    """Protocol; `none` leaves the serial console."""
    listen: Annotated[str, BeforeValidator(_place)] = "127.0.0.1"
    """Address of the host that it listens on; `socket` for a Unix socket that libvirt names, `none` for clients that
    libvirt hands a connection. It asks for no password: whoever reaches it has the console."""
    expose: Bool = False
    """Say that others shall reach it: needed to listen on every address, and silences the warning about others."""
    port: Annotated[Positive, Field(ge=5900, le=65535)] | None = None
    """TCP port; a free one, chosen at every start, if not given."""
    keymap: Annotated[str, Form("[a-z]{2}(-[a-z]{2})?", "is no keymap", "en-us")] | None = None
    """Keyboard of the console, such as `de`, for clients that send characters and not keys."""
    share: Literal["allow-exclusive", "force-shared", "ignore"] | None = None
    """Whether a VNC client may shut others out."""
    image_compression: Literal["auto_glz", "auto_lz", "quic", "glz", "lz", "off"] | None = None
    """How SPICE compresses images."""
    playback_compression: Bool | None = None
    """Whether SPICE compresses sound."""
    streaming: Literal["filter", "all", "off"] | None = None
    """What SPICE treats as a video."""
    mouse: Literal["client", "server"] | None = None
    """Whose pointer SPICE shows."""
    clipboard: Bool | None = None
    """Whether SPICE passes the clipboard between guest and client."""
    file_transfer: Bool | None = None
    """Whether SPICE lets clients drop files into the guest."""
    gl: Bool = False
    """Draw with the host's graphics card: SPICE without a network (`listen: none`), or VNC of what was drawn."""
    render_node: HostPath | None = None
    """The card, such as `/dev/dri/renderD128`; the first if not given."""

    @property
    def address(self) -> str | None:
        """The address that it listens on, None if on none."""
        return None if self.type == "none" or self.listen in {"socket", "none"} else self.listen

    @model_validator(mode="after")
    def _possible(self) -> Self:
        open_to_all = (
            self.listen not in {"socket", "none"} and ipaddress.ip_address(self.listen).is_unspecified
        )
        if open_to_all and not self.expose:
            hint = "listen on `127.0.0.1` and use a tunnel, or write `expose: true` if everybody may connect"
            raise wrong("graphics", f"{self.listen} offers the console to every network", hint, "listen")
        for key in ("port", "keymap", "gl"):
            if self.type == "none" and getattr(self, key):
                raise wrong("graphics", f"without a console there is no {key}", "add `type: vnc`", key)
        for key in _SPICE_KEYS:
            if getattr(self, key) is not None and self.type != "spice":
                raise wrong("graphics", f"{key} is for SPICE", "add `type: spice`, or leave it out", key)
        if self.share is not None and self.type != "vnc":
            raise wrong("graphics", "share is for VNC", "add `type: vnc`, or leave it out", "share")
        if self.port is not None and self.address is None:
            raise wrong("graphics", "a port belongs to an address", "leave `port` out", "port")
        if self.render_node is not None and not self.gl:
            raise wrong("graphics", "a card to draw with is for gl", "add `gl: true`", "render_node")
        if self.gl and self.type == "spice" and self.listen not in {"none", "socket"}:
            raise wrong(
                "graphics",
                "SPICE draws with the card only for clients on the host",
                "add `listen: none`",
                "gl",
            )
        return self


_SPICE_KEYS = (
    "image_compression",
    "playback_compression",
    "streaming",
    "mouse",
    "clipboard",
    "file_transfer",
)


class Video(Section):
    """A graphics card."""

    shorthand = "model"

    model: Literal["virtio", "vga", "qxl", "bochs", "cirrus", "none"] = "vga"
    """Device model; `none` for a graphical console without a card (the guest may have one by other means)."""
    heads: Annotated[Positive, Field(le=16)] | None = None
    """Screens (`virtio` and `qxl`)."""
    resolution: (
        Annotated[str, Form("[1-9][0-9]{2,4}x[1-9][0-9]{2,4}", "is no resolution", "1920x1080")] | None
    ) = None
    """Size that the guest is told to begin with, such as `1920x1080` (not `cirrus`)."""
    vram: Size | None = None
    """Its memory (`vga`, `qxl`, `bochs`, `cirrus`): a power of two, from 1MiB."""
    ram: Size | None = None
    """Memory of its commands (`qxl`)."""
    vgamem: Size | None = None
    """Memory of its frame buffer (`qxl`)."""
    accel3d: Bool | None = None
    """Let the guest draw with the host's card (`virtio`, with a graphical console with `gl`)."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for key, models in _MODELS_OF_KEYS.items():
            if getattr(self, key) is not None and self.model not in models:
                hint = "use `model: virtio`" if "virtio" in models else f"it is for {', '.join(models)}"
                summary = _TOLD.get(key, "a {model} card has no {key}").format(model=self.model, key=key)
                raise wrong("video", summary, hint, key)
        for key in ("vram", "ram", "vgamem"):
            size = getattr(self, key)
            if size is not None and (size < MIB or size & (size - 1)):
                raise wrong("video", f"{key} is no power of two from 1MiB", "write for example `64MiB`", key)
        return self


_MODELS_OF_KEYS: Mapping[str, tuple[str, ...]] = {
    "heads": ("virtio", "qxl"),
    "resolution": ("virtio", "vga", "qxl", "bochs"),
    "vram": ("vga", "qxl", "bochs", "cirrus"),
    "ram": ("qxl",),
    "vgamem": ("qxl",),
    "accel3d": ("virtio",),
}
_TOLD = {
    "heads": "a {model} card has no heads to count",
    "resolution": "a {model} card is told no resolution",
}


class Input(Section):
    """An input device."""

    shorthand = "type"

    type: Literal["tablet", "keyboard", "mouse", "passthrough", "evdev"]
    """A `tablet` stays under the pointer; every PC has a keyboard and a mouse (PS/2) of its own beside these.
    `passthrough`: a device of the host, for this guest alone. `evdev`: one whose events the guest's own get."""
    bus: Literal["usb", "virtio"] = "usb"
    """How the guest sees a tablet, a keyboard or a mouse."""
    path: HostPath | None = None
    """For `passthrough` and `evdev`: device of the host (`/dev/input/event3`)."""
    grab: Literal["all"] | None = None
    """For `evdev`: take all of the guest's such devices away from the host at once."""
    repeat: Bool | None = None
    """For `evdev`: whether keys that are held down repeat."""

    @property
    def is_of_the_host(self) -> bool:
        """Whether it is a device of the host."""
        return self.type in {"passthrough", "evdev"}

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.is_of_the_host != (self.path is not None):
            hint = "write `{type: evdev, path: /dev/input/event3}`"
            raise wrong("input", "the path names a device of the host, and nothing else", hint, "type")
        for key in ("grab", "repeat"):
            if getattr(self, key) is not None and self.type != "evdev":
                raise wrong("input", f"{key} is for evdev only", "leave it out", key)
        return self


class Sound(Section):
    """A sound card; a SPICE console plays it, otherwise nobody hears it."""

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


class CharacterDevice(Section):
    """A serial port or console beside the first one."""

    shorthand = "type"

    type: Literal["pty", "file", "unix", "tcp", "udp"] = "pty"
    """Where it leads to: a terminal of the host (`virsh console`), a file, a socket."""
    path: HostPath | None = None
    """The file, or the Unix socket."""
    address: IpAddress | None = None
    """Address of the host that is listened on, or that is connected to (`tcp`, `udp`)."""
    port: Annotated[Positive, Field(le=65535)] | None = None
    """Its port."""
    mode: Literal["server", "client"] | None = None
    """Whether to listen (the default), or to connect (`unix`, `tcp`)."""
    telnet: Bool = False
    """Speak telnet (`tcp`)."""

    @model_validator(mode="after")
    def _leads_somewhere(self) -> Self:
        for key, types in _SOURCE_KEYS.items():
            if getattr(self, key) not in {None, False} and self.type not in types:
                hint = f"it is for {', '.join(types)}"
                raise wrong("serial", f"a console of type {self.type} has no {key}", hint, key)
        for key in ("path", "address", "port"):
            if self.type in _SOURCE_KEYS[key] and getattr(self, key) is None:
                raise wrong(
                    "serial", f"a console of type {self.type} needs its {key}", f"add `{key}:`", "type"
                )
        return self


_SOURCE_KEYS: Mapping[str, tuple[str, ...]] = {
    "path": ("file", "unix"),
    "address": ("tcp", "udp"),
    "port": ("tcp", "udp"),
    "mode": ("unix", "tcp"),
    "telnet": ("tcp",),
}


class SerialConsole(CharacterDevice):
    """The first serial port, and the console on it."""

    shorthand = "enabled"

    enabled: Bool = True
    """Whether there is one."""
    log: Bool = False
    """Keep what the guest writes: the host has it in `/var/log/libvirt/qemu/NAME.serial.log`."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.log and not self.enabled:
            raise wrong("serial", "without a serial console there is nothing to log", "drop `enabled`", "log")
        if self.type != "pty" and not self.enabled:
            raise wrong("serial", "without a serial console there is no type of it", "drop `enabled`", "type")
        return self


class Channel(Section):
    """A virtio channel: a named device in the guest, a socket on the host."""

    shorthand = "name"

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]
    """Name that the guest sees below `/dev/virtio-ports`, for example `org.example.backup.0`."""
    type: Literal["socket", "spice", "vdagent"] = "socket"
    """`socket`: a Unix socket that libvirt names. For `com.redhat.spice.0`: `spice`, the SPICE console's agent, or
    `vdagent`, which does the same in QEMU for a VNC console."""
    clipboard: Bool | None = None
    """Whether `vdagent` passes the clipboard between guest and client; it does not if not given."""
    mouse: Literal["client", "server"] | None = None
    """Whose pointer `vdagent` shows."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if (self.type != "socket") != (self.name == SPICE_CHANNEL):
            hint = f"write `{{name: {SPICE_CHANNEL}, type: spice}}`"
            raise wrong(
                "channel", f"the SPICE agent's channel is {SPICE_CHANNEL}, and no other", hint, "name"
            )
        for key in ("clipboard", "mouse"):
            if getattr(self, key) is not None and self.type != "vdagent":
                raise wrong("channel", f"{key} is for vdagent", "leave it out", key)
        return self


class Rng(Section):
    """A virtio random number generator."""

    shorthand = "enabled"

    enabled: Bool = True
    """Whether there is one."""
    source: Literal["random", "builtin"] = "random"
    """`random`: a device of the host; `builtin`: QEMU's own, which asks the host's kernel."""
    path: Literal["/dev/urandom", "/dev/random", "/dev/hwrng"] | None = None
    """The device; `/dev/urandom` if not given."""
    rate: Size | None = None
    """Bytes that the guest gets in a period; any number if not given."""
    period: Annotated[Duration, Field(le=86400)] | None = None
    """That period; a second if not given."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.path is not None and self.source != "random":
            raise wrong("rng", "QEMU's own generator has no path", "leave it out", "path")
        if self.period is not None and self.rate is None:
            raise wrong("rng", "a period belongs to a rate", "add `rate: 1KiB`", "period")
        if self.rate == 0:
            raise wrong("rng", "a guest that gets nothing needs no generator", "write `rng: false`", "rate")
        return self


class Tpm(Section):
    """A trusted platform module."""

    shorthand = "type"

    type: Literal["emulator", "passthrough"] = "emulator"
    """`emulator`: swtpm, with a state for each guest. `passthrough`: the host's own, for one guest."""
    model: Literal["tpm-crb", "tpm-tis"] = "tpm-crb"
    """How the guest sees it."""
    version: Literal["2.0", "1.2"] | None = None
    """Version that is emulated; `2.0` if not given."""
    secret: Name | None = None
    """Secret (`secrets`, of `usage: vtpm`) that its state is encrypted with on the host."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.type == "passthrough" and self.version is not None:
            raise wrong("tpm", "a host's TPM has the version that it has", "leave `version` out", "version")
        if self.type == "passthrough" and self.secret is not None:
            raise wrong("tpm", "a host's TPM keeps its state itself", "leave `secret` out", "secret")
        if self.version == "1.2" and self.model == "tpm-crb":
            raise wrong("tpm", "a TPM 1.2 has no CRB interface", "add `model: tpm-tis`", "version")
        return self


def _cid(value: Any) -> int | str:  # noqa: ANN401 - whatever the document holds
    return "auto" if value == "auto" else parse_integer(value)


class Vsock(Section):
    """Sockets between guest and host that need no network."""

    shorthand = "cid"

    cid: Annotated[
        Literal["auto"] | Annotated[int, Field(ge=_FIRST_CID, le=_LAST_CID)],
        BeforeValidator(_cid),
        PlainSerializer(str, when_used="json"),
        WithJsonSchema({"type": "string", "pattern": "^(auto|[1-9][0-9]{0,9})$", "default": "auto"}),
    ] = "auto"
    """The guest's address, from 3; `auto` for a free one at every start."""


class Panic(Section):
    """A device through which the guest tells that it crashed; `on_crash` says what follows."""

    shorthand = "model"

    model: Literal["isa", "hyperv"] = "isa"
    """`isa`: pvpanic, which Linux has a driver for. `hyperv`: registers that Windows writes to."""


class Watchdog(Section):
    """A device that acts when the guest stops answering."""

    shorthand = "action"

    action: Literal["reset", "shutdown", "poweroff", "pause", "none", "dump", "inject-nmi"] = "reset"
    """What happens when it expires."""
    model: Literal["i6300esb", "ib700"] = "i6300esb"
    """Device model."""
