"""Devices of a guest beside its disks and NICs."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema, model_validator

from kvmdecl.manifest.base import Section, wrong
from kvmdecl.names import Bool, IpAddress, Positive, parse_integer, parse_ip

AGENT_CHANNEL = "org.qemu.guest_agent.0"
"""Channel of the QEMU guest agent."""
SPICE_CHANNEL = "com.redhat.spice.0"
"""Channel of the SPICE agent."""

_FIRST_CID, _LAST_CID = 3, 2**32 - 2  # 0 to 2 are the hypervisor's, the loopback's and the host's (vsock(7))


def _one_address(value: Any) -> str:  # noqa: ANN401 - whatever the document holds
    if isinstance(value, (list, tuple)):
        hint = "write one address: `listen: 127.0.0.1`"
        raise wrong("graphics", "a graphical console listens on one address", hint)
    return parse_ip(value)


class Graphics(Section):
    """A graphical console."""

    shorthand = "type"

    type: Literal["none", "vnc", "spice"] = "none"
    """Protocol; `none` leaves the serial console."""
    listen: Annotated[IpAddress, BeforeValidator(_one_address)] = "127.0.0.1"
    """Address of the host that it listens on. It asks for no password: whoever reaches it has the console."""
    expose: Bool = False
    """Say that others shall reach it: needed to listen on every address, and silences the warning about others."""
    port: Annotated[Positive, Field(ge=5900, le=65535)] | None = None
    """TCP port; a free one, chosen at every start, if not given."""
    keymap: Annotated[str, Field(pattern="^[a-z]{2}(-[a-z]{2})?$")] | None = None
    """Keyboard of the console, such as `de`, for clients that send characters and not keys."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if ipaddress.ip_address(self.listen).is_unspecified and not self.expose:
            hint = "listen on `127.0.0.1` and use a tunnel, or write `expose: true` if everybody may connect"
            raise wrong("graphics", f"{self.listen} offers the console to every network", hint, "listen")
        for key in ("port", "keymap"):
            if self.type == "none" and getattr(self, key) is not None:
                raise wrong("graphics", f"without a console there is no {key}", "add `type: vnc`", key)
        return self


class Video(Section):
    """A graphics card."""

    shorthand = "model"

    model: Literal["virtio", "vga", "qxl", "bochs", "cirrus", "none"] = "vga"
    """Device model; `none` for a graphical console without a card (the guest may have one by other means)."""
    heads: Annotated[Positive, Field(le=16)] | None = None
    """Screens (`virtio` and `qxl`)."""
    resolution: Annotated[str, Field(pattern="^[1-9][0-9]{2,4}x[1-9][0-9]{2,4}$")] | None = None
    """Size that the guest is told to begin with, such as `1920x1080` (not `cirrus`)."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.heads is not None and self.model not in {"virtio", "qxl"}:
            raise wrong("video", f"a {self.model} card has no heads to count", "use `model: virtio`", "heads")
        if self.resolution is not None and self.model in {"cirrus", "none"}:
            hint = "use `model: virtio`, or leave it out"
            raise wrong("video", f"a {self.model} card is told no resolution", hint, "resolution")
        return self


class Input(Section):
    """An input device."""

    shorthand = "type"

    type: Literal["tablet", "keyboard", "mouse"]
    """A `tablet` stays under the pointer; every PC has a keyboard and a mouse (PS/2) of its own beside these."""
    bus: Literal["usb", "virtio"] = "usb"
    """How the guest sees it."""


class Sound(Section):
    """A sound card; a SPICE console plays it, otherwise nobody hears it."""

    shorthand = "model"

    model: Literal["ich9", "ich6", "ac97", "es1370", "sb16", "usb"] = "ich9"
    """Device model."""


class SerialConsole(Section):
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
        return self


class Channel(Section):
    """A virtio channel: a named device in the guest, a socket on the host."""

    shorthand = "name"

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]
    """Name that the guest sees below `/dev/virtio-ports`, for example `org.example.backup.0`."""
    type: Literal["socket", "spice"] = "socket"
    """`socket`: a Unix socket that libvirt names. `spice`: the SPICE console's agent (name `com.redhat.spice.0`)."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if (self.type == "spice") != (self.name == SPICE_CHANNEL):
            hint = f"write `{{name: {SPICE_CHANNEL}, type: spice}}`"
            raise wrong(
                "channel", f"the SPICE agent's channel is {SPICE_CHANNEL}, and no other", hint, "name"
            )
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

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.type == "passthrough" and self.version is not None:
            raise wrong("tpm", "a host's TPM has the version that it has", "leave `version` out", "version")
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
