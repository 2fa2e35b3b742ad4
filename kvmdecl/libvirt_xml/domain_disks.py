"""The disks of a vm as libvirt XML."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.architectures import ARCHITECTURES
from kvmdecl.libvirt_xml.build import boot, node
from kvmdecl.libvirt_xml.disk_sources import existing_source, path_source
from kvmdecl.libvirt_xml.pool import volume_source
from kvmdecl.libvirt_xml.volume import encryption
from kvmdecl.manifest import Cdrom
from kvmdecl.words import DRIVE_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvmdecl.cluster import ResolvedDisk, ResolvedVm
    from kvmdecl.libvirt_xml.safe import Element
    from kvmdecl.manifest import Disk, IoTune, Pool

SEED_ALIAS = "cloud_init"
"""Name of the seed's drive. No disk can be called this: names of disks hold no underscore."""


def disks(vm: ResolvedVm, pools: Mapping[str, Pool]) -> Iterator[Element]:
    """Disks, drives and the seed."""
    for disk in vm.disks:
        yield _disk(disk, *_place(disk, pools))
    for drive in vm.cdroms:
        path = f"{pools[drive.pool].path}/{drive.volume}" if drive.volume else drive.spec.source
        yield _cdrom(f"{DRIVE_PREFIX}{drive.name}", drive.spec, path, drive.boot_order)
    if vm.seed is not None and not vm.seed.plain:
        yield _cdrom(SEED_ALIAS, _seed_drive(vm.arch), f"{pools[vm.seed_pool].path}/{vm.seed_volume}", None)


def needs_scsi(vm: ResolvedVm) -> bool:
    """Whether there is anything on the scsi bus."""
    buses = {disk.spec.bus for disk in vm.disks} | {drive.spec.bus for drive in vm.cdroms}
    if vm.seed is not None and not vm.seed.plain:
        buses.add(_seed_drive(vm.arch).bus)
    return "scsi" in buses


def _seed_drive(arch: str) -> Cdrom:
    return Cdrom(**ARCHITECTURES[arch].parts.get("cdroms", {}))


def _place(disk: ResolvedDisk, pools: Mapping[str, Pool]) -> tuple[str, Element]:
    """The type of a disk, and its source: what the host has already, or a volume."""
    if disk.spec.source is not None:
        kind, source = existing_source(disk.spec.source, disk.server_secret)
    else:
        kind, source = volume_source(pools[disk.pool], disk.pool, disk.volume, disk.server_secret)
    if disk.encryption is not None:
        source.append(encryption(disk.encryption))
    if disk.spec.reservations:
        source.append(node("reservations", managed="yes"))
    _set_policy(source, disk.spec.startup_policy)
    return kind, source


def _set_policy(source: Element, policy: str | None) -> None:
    if policy is not None:
        source.set("startupPolicy", policy)


def _disk(disk: ResolvedDisk, kind: str, source: Element) -> Element:
    spec = disk.spec
    return node(
        "disk",
        _driver(spec),
        source,
        node("target", dev=spec.target, bus=spec.bus, rotation_rate=_text(spec.rotation_rate)),
        _iotune(spec.iotune),
        spec.readonly and node("readonly"),
        spec.shareable and node("shareable"),
        disk.serial is not None and node("serial", disk.serial),
        spec.wwn is not None and node("wwn", spec.wwn),
        boot(disk.boot_order),
        node("alias", name=f"ua-{disk.name}"),
        type=kind,
        device="lun" if spec.lun else "disk",
    )


def _cdrom(name: str, spec: Cdrom, path: str | None, boot_order: int | None) -> Element:
    """Every PC takes a drive on the sata bus; libvirt adds the controller that is missing."""
    kind, source = path_source(path) if path is not None else ("file", None)
    if source is not None:
        _set_policy(source, spec.startup_policy)
    return node(
        "disk",
        node("driver", name="qemu", type="raw"),
        source,
        node("target", dev=spec.target, bus=spec.bus),
        node("readonly"),
        boot(boot_order),
        node("alias", name=f"ua-{name}"),
        type=kind,
        device="cdrom",
    )


def _driver(spec: Disk) -> Element:
    copy = None if spec.copy_on_read is None else ("on" if spec.copy_on_read else "off")
    return node(
        "driver",
        name="qemu",
        type=spec.format,
        cache=spec.cache,
        error_policy=spec.error_policy,
        rerror_policy=spec.read_error_policy,
        io=spec.io,
        discard=spec.discard,
        detect_zeroes=spec.detect_zeroes,
        iothread=_text(spec.iothread),
        queues=_text(spec.queues),
        copy_on_read=copy,
    )


def _iotune(limits: IoTune) -> Element | None:
    given = [(name, value) for name, value in limits if value is not None]
    return node("iotune", *(node(name, str(value)) for name, value in given)) if given else None


def _text(number: int | None) -> str | None:
    return None if number is None else str(number)
