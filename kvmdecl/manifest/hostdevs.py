"""Devices of the host that a guest has for itself, and what it shares with the host's programs."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from kvmdecl.manifest.base import Section
from kvmdecl.manifest.base import wrong as _wrong
from kvmdecl.names import MIB, Bool, Form, HostPath, Integer, PciAddress, Positive, Size

_Hex4 = Annotated[str, Form(r"[0-9a-fA-F]{4}", "does not have four hexadecimal digits", "046d")]
_Uuid = Annotated[str, Field(pattern="^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]


class UsbDevice(Section):
    """A USB device, by what it is (`{vendor: "046d", product: c52b}`) or by where it is (`{bus: 1, device: 4}`)."""

    vendor: _Hex4 | None = None
    """Four hexadecimal digits of its vendor, as `lsusb` prints them."""
    product: _Hex4 | None = None
    """Four hexadecimal digits of the product."""
    bus: Annotated[Integer, Field(ge=1, le=255)] | None = None
    """Bus of the host."""
    device: Annotated[Integer, Field(ge=1, le=127)] | None = None
    """Number on the bus; another one each time it is plugged in."""
    if_missing: Literal["mandatory", "requisite", "optional"] | None = None
    """When the host lacks it: `mandatory`: the guest does not start; `requisite`: nor does it start, but it may migrate
    without; `optional`: it starts without. `mandatory` if not given."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        by_kind = (self.vendor is not None, self.product is not None)
        by_place = (self.bus is not None, self.device is not None)
        if any(by_kind) == any(by_place) or any(by_kind) != all(by_kind) or any(by_place) != all(by_place):
            hint = "write `{vendor: ..., product: ...}` or `{bus: ..., device: ...}`"
            raise _wrong("hostdev", "a USB device is named by two numbers", hint)
        if self.if_missing is not None and not all(by_kind):
            hint = "name it by `vendor` and `product`, or leave it out"
            raise _wrong("hostdev", "what is named by its place is not looked for", hint, "if_missing")
        return self


class PciDevice(Section):
    """A PCI device. Its IOMMU group is the guest's as a whole."""

    shorthand = "address"

    address: PciAddress
    """Where the host has it (`"0000:41:00.0"`)."""
    managed: Bool = True
    """Take it from the host's driver when the guest starts, and give it back when it ends."""
    rom: Bool | None = None
    """Whether the guest sees its ROM; it does if not given."""
    rom_file: HostPath | None = None
    """File of the host with another ROM."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.rom is False and self.rom_file is not None:
            raise _wrong("hostdev", "a ROM is given that the guest shall not see", "keep one", "rom_file")
        return self


class MediatedDevice(Section):
    """A part of a device of the host (mdev), such as a vGPU."""

    shorthand = "uuid"

    uuid: _Uuid
    """Its UUID."""
    display: Bool | None = None
    """Show what it draws on the guest's graphical console."""


class ScsiDevice(Section):
    """A SCSI device of the host, passed command by command."""

    adapter: Annotated[str, Form(r"scsi_host[0-9]{1,5}", "is no SCSI adapter of a host", "scsi_host0")]
    """The host's adapter (`scsi_host0`)."""
    bus: Annotated[Integer, Field(ge=0, le=255)] = 0
    """Bus of the adapter."""
    target: Annotated[Integer, Field(ge=0, le=65_535)] = 0
    """Target on the bus."""
    unit: Annotated[Integer, Field(ge=0, le=16_383)] = 0
    """Logical unit of the target."""
    readonly: Bool = False
    """The guest may not write to it."""
    shareable: Bool = False
    """Other guests may have it too."""
    raw_io: Bool | None = None
    """Whether QEMU may send commands that need the capability CAP_SYS_RAWIO."""
    filtered: Bool | None = None
    """Whether the kernel lets ordinary commands pass only; today's kernels always do."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.filtered is False:
            hint = "leave it out; `raw_io: true` lets QEMU send what needs CAP_SYS_RAWIO"
            raise _wrong("hostdev", "no kernel passes commands unfiltered any more", hint, "filtered")
        return self


class HostDevice(Section):
    """A device of the host: just one of the kinds."""

    usb: UsbDevice | None = None
    """A USB device."""
    pci: PciDevice | None = None
    """A PCI device (`{pci: "0000:41:00.0"}`)."""
    mdev: MediatedDevice | None = None
    """A mediated device."""
    scsi: ScsiDevice | None = None
    """A SCSI device."""
    scsi_host: Annotated[str, Form("naa[.][0-9a-f]{16}", "is no WWN", "naa.5123456789abcde0")] | None = None
    """A SCSI target of the kernel, by vhost (`naa.5001405df3e54061`)."""

    @property
    def kind(self) -> str:
        """Which of the kinds, in libvirt's word."""
        return next(name for name in KINDS if getattr(self, name) is not None)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        given = [name for name in KINDS if getattr(self, name) is not None]
        if len(given) != 1:
            summary = f"it is {' and '.join(given)} at once" if given else "it does not say which"
            raise _wrong("hostdev", summary, f"give one of {', '.join(KINDS)}")
        return self


KINDS = ("usb", "pci", "mdev", "scsi", "scsi_host")
"""Kinds of host devices: libvirt's types of `hostdev`."""


class SharedMemory(Section):
    """Memory that guests and programs of the host share (ivshmem)."""

    shorthand = "size"

    size: Size | None = None
    """Its size, a power of two from `1MiB`; with a `server` that decides."""
    role: Literal["master", "peer"] | None = None
    """Whether the memory migrates with the guest (`master`); it cannot migrate as a `peer`."""
    server: HostPath | None = None
    """Socket of the server that hands the memory out, and rings for those who share it."""
    vectors: Annotated[Positive, Field(le=65_535)] | None = None
    """With a `server`: number of interrupts."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if (self.size is None) == (self.server is None):
            raise _wrong(
                "shared-memory", "it has either a size or a server", "write `4MiB`, or `{server: ...}`"
            )
        if self.size is not None and (self.size < MIB or self.size & (self.size - 1)):
            raise _wrong("shared-memory", "its size is no power of two from 1MiB", "write `4MiB`", "size")
        if self.vectors is not None and self.server is None:
            raise _wrong("shared-memory", "nothing rings without a server", "leave it out", "vectors")
        return self


class Iommu(Section):
    """An IOMMU for the guest, for its own drivers or its own guests."""

    shorthand = "model"

    model: Literal["intel", "virtio"]
    """Device model."""
    interrupt_remapping: Bool | None = None
    """For `intel`: remap interrupts; needs `features.ioapic: qemu`."""
    caching_mode: Bool | None = None
    """For `intel`: tell the host of new mappings, as passing on of devices needs."""
    eim: Bool | None = None
    """For `intel`: interrupts for more than 255 CPUs; needs `interrupt_remapping`."""
    iotlb: Bool | None = None
    """For `intel`: let devices keep translations of their own."""
    address_bits: Literal["39", "48"] | None = None
    """For `intel`: bits of addresses."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for key in ("interrupt_remapping", "caching_mode", "eim", "iotlb", "address_bits"):
            if getattr(self, key) is not None and self.model != "intel":
                hint = "leave it out, or use `model: intel`"
                raise _wrong("iommu", f"an IOMMU of {self.model} has no {key}", hint, key)
        if self.eim and not self.interrupt_remapping:
            raise _wrong(
                "iommu", "eim is about remapped interrupts", "add `interrupt_remapping: true`", "eim"
            )
        return self


class Smartcard(Section):
    """A reader of smart cards."""

    shorthand = "mode"

    mode: Literal["host", "spice"]
    """`host`: the host's own reader. `spice`: that of whoever looks at the SPICE console."""
