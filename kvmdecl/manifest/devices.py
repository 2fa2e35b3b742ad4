"""Devices of a guest beside its disks and NICs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema, model_validator

from kvmdecl.manifest.base import Section, wrong
from kvmdecl.names import (
    Bool,
    Duration,
    HostPath,
    IpAddress,
    Name,
    Positive,
    Size,
    parse_integer,
)

SPICE_CHANNEL = "com.redhat.spice.0"
"""Channel of the SPICE agent."""

_FIRST_CID, _LAST_CID = 3, 2**32 - 2  # 0 to 2 are the hypervisor's, the loopback's and the host's (vsock(7))


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
        if self.is_of_the_host and "bus" in self.model_fields_set:
            raise wrong("input", "a device of the host has a bus of its own", "leave it out", "bus")
        for key in ("grab", "repeat"):
            if getattr(self, key) is not None and self.type != "evdev":
                raise wrong("input", f"{key} is for evdev only", "leave it out", key)
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
    model: Literal["tpm-crb", "tpm-tis", "tpm-spapr"] = "tpm-crb"
    """How the guest sees it: `tpm-crb` on a PC, `tpm-tis` on ARM, `tpm-spapr` on POWER if not given."""
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

    model: Literal["isa", "hyperv", "pvpanic", "pseries", "s390"] = "isa"
    """`isa`: pvpanic, which Linux has a driver for. `hyperv`: registers that Windows writes to. `pvpanic`: on PCI.
    `pseries`, `s390`: what guests of POWER and of mainframes have."""


class Watchdog(Section):
    """A device that acts when the guest stops answering."""

    shorthand = "action"

    action: Literal["reset", "shutdown", "poweroff", "pause", "none", "dump", "inject-nmi"] = "reset"
    """What happens when it expires."""
    model: Literal["i6300esb", "ib700", "diag288"] = "i6300esb"
    """Device model; `diag288` on s390x."""
