"""`disk:`, `disks:` and `cdroms:` of a vm."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from kvmdecl.manifest.base import Section, wrong
from kvmdecl.manifest.disk_sources import Source
from kvmdecl.names import MIB, Bool, DiskPath, Integer, Name, Positive, Size

_MOST = 10**15  # QEMU_BLOCK_IOTUNE_MAX

_ONLY_ON = {
    "lun": ("scsi",),
    "iothread": ("virtio",),
    "queues": ("virtio",),
    "wwn": ("scsi",),
    "rotation_rate": ("scsi", "sata"),
    "readonly": ("virtio", "scsi"),
}
"""Buses that have it (qemuValidateDomainDeviceDefDiskFrontend, qemuBuildDiskDeviceProps)."""

VolumeName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.:+@-]{0,254}$")]
Rate = Annotated[Positive, Field(le=_MOST)]
Amount = Annotated[Size, Field(ge=1, le=_MOST)]
Seconds = Annotated[Positive, Field(le=_MOST)]


class IoTune(Section):
    """Limits of a disk's throughput; what is not given is not limited. Amounts are per second."""

    total_bytes_sec: Amount | None = None
    """Bytes read and written per second, for example `100MiB`."""
    read_bytes_sec: Amount | None = None
    """Bytes read per second."""
    write_bytes_sec: Amount | None = None
    """Bytes written per second."""
    total_iops_sec: Rate | None = None
    """Requests per second."""
    read_iops_sec: Rate | None = None
    """Requests per second that read."""
    write_iops_sec: Rate | None = None
    """Requests per second that write."""
    total_bytes_sec_max: Amount | None = None
    """Bytes per second during a burst."""
    read_bytes_sec_max: Amount | None = None
    """Bytes read per second during a burst."""
    write_bytes_sec_max: Amount | None = None
    """Bytes written per second during a burst."""
    total_iops_sec_max: Rate | None = None
    """Requests per second during a burst."""
    read_iops_sec_max: Rate | None = None
    """Requests per second that read during a burst."""
    write_iops_sec_max: Rate | None = None
    """Requests per second that write during a burst."""
    total_bytes_sec_max_length: Seconds | None = None
    """Seconds that a burst of `total_bytes_sec_max` may last (the hypervisor's default is 1)."""
    read_bytes_sec_max_length: Seconds | None = None
    """Seconds that a burst of `read_bytes_sec_max` may last."""
    write_bytes_sec_max_length: Seconds | None = None
    """Seconds that a burst of `write_bytes_sec_max` may last."""
    total_iops_sec_max_length: Seconds | None = None
    """Seconds that a burst of `total_iops_sec_max` may last."""
    read_iops_sec_max_length: Seconds | None = None
    """Seconds that a burst of `read_iops_sec_max` may last."""
    write_iops_sec_max_length: Seconds | None = None
    """Seconds that a burst of `write_iops_sec_max` may last."""
    size_iops_sec: Amount | None = None
    """Bytes that count as one request; a larger request counts as several."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for unit in ("bytes_sec", "iops_sec"):
            for suffix in ("", "_max"):
                self._check_exclusive(f"{unit}{suffix}")
            for way in ("total", "read", "write"):
                self._check_burst(f"{way}_{unit}")
        return self

    def _check_exclusive(self, what: str) -> None:
        """A limit of the whole excludes one of its parts (virDomainDiskDefIotuneParse)."""
        for way in ("read", "write"):
            if getattr(self, f"total_{what}") is not None and getattr(self, f"{way}_{what}") is not None:
                summary = f"both total_{what} and {way}_{what} are given"
                hint = "limit the total, or reading and writing apart"
                raise wrong("disk", summary, hint, f"{way}_{what}")

    def _check_burst(self, what: str) -> None:
        """A burst goes beyond a limit, and lasts for a time (qemuDomainCheckBlockIoTuneMax)."""
        limit, burst = getattr(self, what), getattr(self, f"{what}_max")
        if burst is not None and limit is None:
            hint = f"add `{what}`, or leave the burst out"
            raise wrong("disk", f"{what}_max is given without {what}", hint, f"{what}_max")
        if burst is not None and burst < limit:
            hint = f"raise `{what}_max` or lower `{what}`"
            raise wrong("disk", f"{what}_max is below {what}", hint, f"{what}_max")
        if burst is None and getattr(self, f"{what}_max_length") is not None:
            hint = f"add `{what}_max`, or leave the length out"
            raise wrong("disk", f"{what}_max_length is given without {what}_max", hint, f"{what}_max_length")


TargetName = Annotated[str, Field(pattern="^(vd|sd|hd|fd)[a-z]{1,3}$")]


class Encryption(Section):
    """How a disk is encrypted: with LUKS, by QEMU, so that the host's disk or a storage server sees nothing of it.

    A disk is encrypted from the beginning or not at all. What an image holds stays as it is; what the guest writes is
    encrypted.
    """

    shorthand = "secret"

    secret: Name
    """Secret (`secrets`, of `usage: volume`) that opens it."""


class Clone(Section):
    """A volume that a new disk begins as a full copy of. It is copied once, and needed no more after that."""

    shorthand = "volume"

    volume: VolumeName
    """Its name: `golden.qcow2`, or `db.data.qcow2` for disk `data` of vm db. No guest may be writing to it."""
    pool: Name | None = None
    """Its pool, one of `storage`; that of the disk if not given."""


class Disk(Section):
    """A disk: kept in a volume of its own, or what the host has already (`source`)."""

    shorthand = "size"

    size: Size | None = None
    """Capacity; for a disk made from an image at least the image's (which is the default)."""
    pool: Name | None = None
    """Storage pool; the cluster's only one if not given."""
    volume: VolumeName | None = None
    """Volume of the pool that is there already, such as a unit of a storage server (`unit:0:0:1`): used as it is, never
    made, grown or deleted."""
    image: Name | None = None
    """Image that the disk begins as; its volume is the backing file of the disk's (a linked clone)."""
    full_copy: Bool = False
    """Copy the whole image into the disk's volume instead (a full clone), which stands on its own then."""
    clone: Clone | None = None
    """Volume on the host that the disk begins as a full copy of, converted to its `format`."""
    source: Source | None = None
    """What is there already, instead of a volume: a file or block device of the host (`/dev/vg0/db`), or data on a
    server (`{protocol: nbd, servers: [HOST], name: db}`). Never made, grown or deleted."""
    format: Literal["qcow2", "raw"] = "qcow2"
    """Format of the volume, `raw` in a pool of devices; for a `source` it has to be said."""
    preallocation: Literal["off", "metadata", "falloc", "full"] = "off"
    """How much of the volume is allocated when it is made: `full` is for raw ones, `off` for those that begin as
    something."""
    cluster_size: Annotated[Size, Field(ge=512, le=2 * MIB)] | None = None
    """How much of a new qcow2 volume is allocated at once, a power of two up to `2MiB` (64KiB if not given)."""
    lazy_refcounts: Bool = False
    """Write the reference counts of a new qcow2 volume later: faster, and repaired after a crash."""
    nocow: Bool = False
    """Have btrfs overwrite a new volume in place instead of copying on write; no other file system minds."""
    bus: Literal["virtio", "scsi", "sata", "ide", "usb"] = "virtio"
    """How the guest sees the disk (`ide` on `machine: pc` only)."""
    lun: Bool = False
    """Pass the guest's SCSI commands on to a unit that is there already, which the guest sees as it is (scsi and raw
    only)."""
    reservations: Bool = False
    """Let the guest make persistent reservations on the unit, through a helper that libvirt starts (`lun` only)."""
    startup_policy: Literal["mandatory", "optional"] | None = None
    """Whether the guest starts without the disk if it is not there (`optional`); not for disks on a server."""
    target: TargetName | None = None
    """Its name in the definition, such as `vdb`, which orders the disks of a bus; a free one if not given."""
    cache: Literal["none", "writeback", "writethrough", "directsync", "unsafe"] | None = None
    """Host page cache mode; the hypervisor's default if not given."""
    io: Literal["threads", "native", "io_uring"] | None = None
    """How QEMU does I/O; `native` needs `cache: none` or `directsync`."""
    discard: Literal["unmap", "ignore"] | None = None
    """What becomes of the guest's discard requests."""
    detect_zeroes: Literal["off", "on", "unmap"] | None = None
    """Whether written zeros are found and stored as holes; `unmap` (which also frees room) needs `discard: unmap`."""
    iothread: Positive | None = None
    """Number of the vm's I/O thread (`iothreads`) that serves the disk (virtio only)."""
    queues: Annotated[Positive, Field(le=1024)] | None = None
    """Number of queues between guest and host (virtio only)."""
    copy_on_read: Bool | None = None
    """Keep what is read from the image in the disk's own volume."""
    error_policy: Literal["stop", "report", "ignore", "enospace"] | None = None
    """What happens on an error: `enospace` stops the guest when the room is used up, and reports the rest to it."""
    read_error_policy: Literal["stop", "report", "ignore"] | None = None
    """What happens on an error of reading; as `error_policy` if not given."""
    readonly: Bool = False
    """The guest cannot write to it (virtio and scsi only)."""
    shareable: Bool = False
    """Several guests may use it at once (raw only); what keeps them apart is up to the guests."""
    encryption: Encryption | None = None
    """Secret that the disk is encrypted with (LUKS)."""
    iotune: IoTune = IoTune.unsaid()
    """Limits of its throughput."""
    serial: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.+ -]{1,20}$")] | None = None
    """Serial number that the guest sees; the disk's name if not given, and none for a `source`."""
    wwn: Annotated[str, Field(pattern="^[0-9a-f]{16}$")] | None = None
    """World Wide Name that the guest sees: 16 hexadecimal digits, in quotes (scsi only)."""
    rotation_rate: Annotated[Integer, Field(ge=1, le=65534)] | None = None
    """Rotations per minute from 1025 on, or 1 for a solid state disk (scsi and sata only)."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        self._check_source()
        if self.size is not None and (self.size % 512 or not self.size):
            hint = "write for example `20GiB`"
            raise wrong("disk", "the size of a disk is a multiple of 512 bytes", hint, "size")
        if self.format == "raw" and self.preallocation == "metadata":
            hint = "use `off`, `falloc` or `full`"
            raise wrong("disk", "a raw disk has no metadata to preallocate", hint, "preallocation")
        if self.format == "qcow2" and self.preallocation == "full":
            hint = "use `falloc`, or `format: raw`"
            raise wrong("disk", "a qcow2 disk cannot be filled with zeros", hint, "preallocation")
        self._check_volume()
        self._check_clone()
        self._check_made()
        self._check_encryption()
        self._check_bus()
        self._check_unit()
        self._check_driver()
        return self

    @property
    def has_content(self) -> bool:
        """Whether it says where its content comes from."""
        return bool(self.size or self.image or self.source or self.volume or self.clone)

    def _check_source(self) -> None:
        """What exists already has a size, a place and a format; a wrong one would show the guest other data."""
        if self.source is None:
            return
        for key in ("size", "image", "full_copy", "clone", "pool", "volume", "preallocation"):
            if key in self.model_fields_set and getattr(self, key) not in (None, False, "off"):
                summary = f"{key} is for a disk that is made, and a source exists already"
                raise wrong("disk", summary, "leave one of them out", key)
        if "format" not in self.model_fields_set:
            hint = "add `format: raw` (block devices) or `format: qcow2`; `qemu-img info` on the host tells"
            raise wrong("disk", "the format of a source is never guessed", hint, "source")
        if self.source.is_web and not self.readonly:
            summary = f"nothing is written by {self.source.protocol}"
            raise wrong("disk", summary, "add `readonly: true`", "source", "protocol")

    @property
    def misplaced(self) -> tuple[str, str, str] | None:
        """A key that a disk on this bus does not have, what to say of it and what to do; None if all is well."""
        if self.said.isdisjoint(_ONLY_ON):
            return None
        for key, buses in _ONLY_ON.items():
            if getattr(self, key) and self.bus not in buses:
                hint = f"use {' or '.join(f'`bus: {bus}`' for bus in buses)}, or leave it out"
                return key, f"a disk on the {self.bus} bus has no `{key}`", hint
        return None

    def _check_encryption(self) -> None:
        """To fill a volume beforehand would overwrite the header of LUKS, or show how much of it is in use."""
        if self.encryption is not None and self.preallocation != "off":
            hint = "use `preallocation: off`"
            raise wrong("disk", "an encrypted disk is not preallocated", hint, "preallocation")

    def _check_volume(self) -> None:
        """A volume that is there already is what it is."""
        given = {
            "size": self.size,
            "image": self.image,
            "full_copy": self.full_copy,
            "clone": self.clone,
            "preallocation": self.preallocation != "off",
        }
        for key, value in given.items():
            if self.volume is not None and value:
                hint = f"leave `{key}` out, or leave `volume` out to have one made"
                raise wrong("disk", f"a volume that is there already is given no {key}", hint, key)

    def _check_clone(self) -> None:
        """A disk begins as one thing."""
        if self.clone is None:
            return
        if self.image is not None:
            raise wrong("disk", "both an image and a volume to clone are given", "keep one of them", "clone")
        if self.preallocation != "off":
            hint = "use `preallocation: off`"
            raise wrong("disk", "a copy is as large as what it holds", hint, "preallocation")

    def _check_bus(self) -> None:
        if self.misplaced is not None:
            key, summary, hint = self.misplaced
            raise wrong("disk", summary, hint, key)
        if self.rotation_rate is not None and 1 < self.rotation_rate < 1025:
            hint = "write 1 for a solid state disk, or the rotations per minute from 1025 on"
            raise wrong("disk", f"no disk has a rotation rate of {self.rotation_rate}", hint, "rotation_rate")

    def _check_made(self) -> None:
        """What is decided when a volume is made."""
        for key in ("cluster_size", "lazy_refcounts", "nocow"):
            if key in self.said and (self.source is not None or self.volume is not None):
                raise wrong("disk", f"{key} is for a volume that is made", "leave it out", key)
            if key in self.said and key != "nocow" and self.format != "qcow2":
                raise wrong("disk", f"a {self.format} volume has no {key}", "use `format: qcow2`", key)
        if self.cluster_size is not None and self.cluster_size & (self.cluster_size - 1):
            hint = "write for example `128KiB`"
            raise wrong("disk", "the size of a cluster is a power of two", hint, "cluster_size")

    def _check_unit(self) -> None:
        """What a unit has of its own cannot be said (qemuValidateDomainDeviceDefDiskFrontend)."""
        if self.startup_policy is not None and self.source is not None and self.source.path is None:
            hint = "leave it out"
            raise wrong("disk", "only a file or block device may be missing", hint, "startup_policy")
        if self.reservations and not self.lun:
            raise wrong("disk", "only a SCSI unit has reservations", "add `lun: true`", "reservations")
        if not self.lun:
            return
        for key in ("serial", "wwn", "rotation_rate", "encryption", "readonly", "copy_on_read"):
            if key in self.said:
                raise wrong("disk", f"a SCSI unit has a {key} of its own, or none", "leave it out", key)
        source = self.source
        is_unit = self.volume or (source and (source.path or "").startswith("/dev/"))
        if not is_unit and not (source and source.protocol == "iscsi"):
            hint = "give a `source` in `/dev`, or a `volume` of a pool of units"
            raise wrong("disk", "only a device that is there already is a SCSI unit", hint, "lun")
        if source is not None and self.format != "raw":
            raise wrong("disk", "a SCSI unit is raw", "use `format: raw`", "format")

    def _check_driver(self) -> None:
        """What excludes each other (qemuValidateDomainDeviceDefDiskBlkdeviotune and its neighbours)."""
        if self.io == "native" and self.cache not in {"none", "directsync"}:
            hint = "add `cache: none`, or use `io: io_uring` or `io: threads`"
            raise wrong("disk", "native I/O goes past the host's page cache only", hint, "io")
        if self.detect_zeroes == "unmap" and self.discard != "unmap":
            hint = "add `discard: unmap`, or use `detect_zeroes: on`"
            raise wrong("disk", "zeros are not unmapped where discards are not", hint, "detect_zeroes")
        if self.copy_on_read and (self.readonly or self.shareable):
            hint = "leave one of them out"
            raise wrong("disk", "copy_on_read writes to what is read-only or shared", hint, "copy_on_read")
        if self.shareable and self.format != "raw":
            hint = "use `format: raw`"
            raise wrong("disk", "only a raw disk can be used by several guests at once", hint, "shareable")


class ScsiController(Section):
    """The virtio-scsi controller that all disks of `bus: scsi` are on."""

    shorthand = "queues"

    queues: Annotated[Positive, Field(le=256)] | None = None
    """Number of queues; best as many as vCPUs."""
    iothread: Positive | None = None
    """Number of the vm's I/O thread (`iothreads`) that serves it, and all of its disks."""
    commands_per_unit: Annotated[Positive, Field(le=4096)] | None = None
    """Commands that may wait for one disk."""
    max_sectors: Annotated[Positive, Field(le=65535)] | None = None
    """Sectors (512 bytes) that one command moves at most."""


class Cdrom(Section):
    """A drive for CDs and DVDs."""

    shorthand = "image"

    image: Name | None = None
    """Image that is in the drive (of `format: raw`, as an ISO file is); the drive is empty if not given."""
    pool: Name | None = None
    """Storage pool that the image is uploaded to; the cluster's only one if not given."""
    source: DiskPath | None = None
    """A file or block device that the host has (`/srv/iso/tools.iso`), instead of an image."""
    bus: Literal["sata", "ide", "scsi", "usb"] = "sata"
    """How the guest sees the drive (`ide` on `machine: pc` only)."""
    target: TargetName | None = None
    """Its name in the definition, such as `sda`; a free one if not given."""
    startup_policy: Literal["mandatory", "requisite", "optional"] | None = None
    """What happens if its medium is not there: the guest does not start (`mandatory`), only not after a migration
    (`requisite`), or always starts with an empty drive (`optional`)."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.startup_policy is not None and self.image is None and self.source is None:
            raise wrong("disk", "an empty drive misses nothing", "leave it out", "startup_policy")
        if self.pool is not None and self.image is None:
            raise wrong("disk", "only an image is kept in a pool", "add `image`, or leave it out", "pool")
        if self.source is not None and self.image is not None:
            raise wrong("disk", "both an image and a source are in the drive", "keep one of them", "source")
        return self
