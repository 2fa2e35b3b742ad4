"""Devices of hosts that are asked for by what they are: placement chooses which, and on which host."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from kvmdecl.manifest.base import Section
from kvmdecl.manifest.base import wrong as _wrong
from kvmdecl.names import Bool, Form, HostPath, Name, PciAddress, Positive

_Hex4 = Annotated[str, Form(r"[0-9a-fA-F]{4}", "does not have four hexadecimal digits", "10de")]
_Class = Annotated[
    str, Form(r"[0-9a-fA-F]{4}([0-9a-fA-F]{2})?", "is no class of PCI devices, which has four digits", "0302")
]
_MdevType = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}$")]
_Addresses = Annotated[
    tuple[PciAddress, ...],
    BeforeValidator(lambda value: value if isinstance(value, (list, tuple)) else (value,)),
    Field(min_length=1, max_length=256),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]
Nearness = Literal["required", "socket", "legacy", "preferred"]


class PciKind(Section):
    """PCI functions by what they are, or one by where it is."""

    shorthand = "address"

    address: PciAddress | None = None
    """Where the host has it (`"0000:41:00.0"`)."""
    vendor: _Hex4 | None = None
    """Four hexadecimal digits of its vendor, as `lspci -n` prints them (`10de`)."""
    device: _Hex4 | None = None
    """Four hexadecimal digits of the device (`"2330"`); with `vendor`."""
    class_: _Class | None = Field(default=None, alias="class")
    """Four or six hexadecimal digits of its class (`"0302"` for a 3D controller, `"0108"` for NVMe, `"0200"` for a
    network card)."""

    @property
    def word(self) -> str:
        """Itself in a word or two."""
        if self.address is not None:
            return self.address
        kind = (
            f"{self.vendor}:{self.device}" if self.device else f"vendor {self.vendor}" if self.vendor else ""
        )
        return " ".join(filter(None, (kind.lower(), self.class_ and f"class {self.class_.lower()}")))

    @model_validator(mode="after")
    def _possible(self) -> Self:
        said = [key for key in ("vendor", "device", "class_") if getattr(self, key) is not None]
        if (self.address is None) == (not said):
            summary = "it is named both by what it is and by where it is" if said else "it does not say which"
            raise _wrong("device", summary, "give `vendor` and `device`, `class`, or `address`")
        if self.device is not None and self.vendor is None:
            hint = "add `vendor`, the digits before the colon in `lspci -n`"
            raise _wrong("device", "numbers of devices are each vendor's own", hint, "device")
        return self


class DeviceAlias(Section):
    """Devices of hosts under a name: by what they are, or by where each host has them."""

    vendor: _Hex4 | None = None
    """Four hexadecimal digits of the vendor, as `lspci -n` prints them (`10de`)."""
    device: _Hex4 | None = None
    """Four hexadecimal digits of the device (`"2330"`); with `vendor`."""
    class_: _Class | None = Field(default=None, alias="class")
    """Four or six hexadecimal digits of the class (`"0302"`)."""
    at: dict[Name, _Addresses] = Field(default_factory=dict)
    """Or addresses by host: `{kvm-1: "0000:41:00.0", kvm-2: ["0000:81:00.0", "0000:82:00.0"]}`."""

    @property
    def kind(self) -> PciKind | None:
        """What they are; None if they are named by where they are."""
        if self.at:
            return None
        return PciKind(vendor=self.vendor, device=self.device, **{"class": self.class_})

    @model_validator(mode="after")
    def _possible(self) -> Self:
        said = [key for key in ("vendor", "device", "class_") if getattr(self, key) is not None]
        if bool(said) == bool(self.at):
            summary = "it is named both by what it is and by where it is" if said else "it does not say which"
            raise _wrong("device", summary, "give `vendor` and `device`, `class`, or `at: {HOST: ADDRESS}`")
        if self.device is not None and self.vendor is None:
            hint = "add `vendor`, the digits before the colon in `lspci -n`"
            raise _wrong("device", "numbers of devices are each vendor's own", hint, "device")
        return self


class DeviceRequest(Section):
    """Devices of the host that a vm has for itself, whichever: just one of `alias`, `pci` and `mdev`."""

    shorthand = "alias"

    alias: Name | None = None
    """Name from `devices` at the top of the manifest."""
    pci: PciKind | None = None
    """What they are: `{vendor: "10de", device: "2330"}`, `{class: "0302"}`; or one by its address."""
    mdev: _MdevType | None = None
    """Parts of devices, by their type (`nvidia-63`), that the host has made already: `kvmdecl devices` lists them."""
    count: Annotated[Positive, Field(le=64)] = 1
    """How many."""
    numa: Nearness = "preferred"
    """How near to the guest's NUMA cells: `required`: in one of them; `socket`: in a socket of one of them; `legacy`:
    in one of them, or nobody knows where; `preferred`: near if possible. With the first two placement binds the
    guest to cells, as `numa: {bind: true}` does."""
    prefer: Literal["same_switch", "distinct"] | None = None
    """Liked and not required: all that say `same_switch` below one PCI Express switch, where they reach each other
    directly; or each below another one."""
    group: Literal["whole"] | None = None
    """`whole`: with all other functions of its IOMMU group, such as the sound of a graphics card."""
    rom: Bool | None = None
    """Whether the guest sees its ROM; it does if not given."""
    rom_file: HostPath | None = None
    """File of the host with another ROM."""

    @property
    def word(self) -> str:
        """What is asked for, in a word or two: what a device must be to be it."""
        what = self.alias or (self.pci.word if self.pci is not None else f"mdev {self.mdev}")
        return f"{what} with its group" if self.group else what

    @property
    def is_near(self) -> bool:
        """Whether it has to be near to cells, which the guest must have then."""
        return self.numa in {"required", "socket"}

    @model_validator(mode="after")
    def _possible(self) -> Self:
        given = [key for key in ("alias", "pci", "mdev") if getattr(self, key) is not None]
        if len(given) != 1:
            summary = f"it is {' and '.join(given)} at once" if given else "it does not say which"
            raise _wrong("device", summary, "give one of alias, pci, mdev")
        if self.mdev is not None:
            for key in ("group", "rom", "rom_file"):
                if getattr(self, key) is not None:
                    raise _wrong("device", f"a mediated device has no {key}", "leave it out", key)
        if self.pci is not None and self.pci.address is not None and self.count > 1:
            raise _wrong("device", "there is one device at an address", "leave `count` out", "count")
        if self.rom is False and self.rom_file is not None:
            raise _wrong("device", "a ROM is given that the guest shall not see", "keep one", "rom_file")
        return self


class VirtualFunction(Section):
    """A virtual function of a network card (SR-IOV), whichever is free."""

    shorthand = "alias"

    alias: Name | None = None
    """Network card whose function it is, by its name from `devices` at the top of the manifest."""
    pci: PciKind | None = None
    """Or what that card is: `{vendor: "8086", device: "1572"}`."""
    numa: Nearness = "preferred"
    """How near to the guest's NUMA cells, as of `devices`."""
    prefer: Literal["same_switch", "distinct"] | None = None
    """Below the switch of other devices of the guest, or below another one; liked and not required."""

    @property
    def word(self) -> str:
        """What is asked for, in a word or two."""
        return f"function of {self.alias or (self.pci.word if self.pci is not None else '')}"

    @property
    def is_near(self) -> bool:
        """Whether it has to be near to cells, which the guest must have then."""
        return self.numa in {"required", "socket"}

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if (self.alias is None) == (self.pci is None):
            summary = "it does not say of which network card" if self.alias is None else "it names two cards"
            raise _wrong("nic", summary, "give `alias` or `pci`")
        return self
