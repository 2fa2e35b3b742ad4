"""`storage:` pools on the hosts."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from kvmdecl.manifest.base import Section, wrong
from kvmdecl.names import Bool, Form, Name, PoolPath, Text

Server = Annotated[
    str,
    Field(
        pattern=r"^([A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?|\[[0-9a-fA-F:.]{2,45}\])(:[1-9][0-9]{0,4})?$"
    ),
]
"""`HOST` or `HOST:PORT`; an IPv6 address stands in brackets."""
Iqn = Annotated[
    str,
    Form(
        r"(iqn|eui|naa)\.[A-Za-z0-9][A-Za-z0-9.:-]{0,219}", "is no iSCSI name", "iqn.2020-01.example.nas:vms"
    ),
]
ExportPath = Annotated[str, Field(pattern=r"^(/|[A-Za-z0-9_])[A-Za-z0-9_.@+=/-]*$", max_length=1024)]
SourceName = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.+-]*(/[A-Za-z0-9_][A-Za-z0-9_.+-]*)*$", max_length=128)
]
HostAdapter = Annotated[str, Field(pattern=r"^scsi_host[0-9]{1,4}$")]
Wwn = Annotated[str, Field(pattern="^[0-9a-f]{16}$")]

PoolType = Literal[
    "dir", "fs", "netfs", "logical", "disk", "iscsi", "iscsi-direct", "rbd", "zfs", "gluster", "scsi"
]


class Traits(NamedTuple):
    """What a type of pool is like.

    `needs` and `takes` are keys, without those that every pool has. `holds`: what its volumes are on the host.
    `makes`: whether volumes can be made in it, or are there already (virStorageBackend's buildVol). `formats`: whether
    to build it writes to a device.
    """

    needs: tuple[str, ...]
    takes: tuple[str, ...] = ()
    holds: Literal["files", "devices", "objects", "units"] = "files"
    makes: bool = True
    formats: bool = False


_ISCSI = ("server", "target")
TRAITS: dict[str, Traits] = {
    "dir": Traits(("path",)),
    "fs": Traits(("path", "devices"), ("format",), formats=True),
    "netfs": Traits(("path", "server", "export"), ("format", "protocol_version")),
    "logical": Traits(("source",), ("devices",), "devices", formats=True),
    "zfs": Traits(("source",), ("devices",), "devices", formats=True),
    "disk": Traits(("devices",), ("format",), "units", makes=False, formats=True),
    "rbd": Traits(("source", "servers"), ("auth",), "objects"),
    "gluster": Traits(("source", "server"), (), "objects", makes=False),
    "iscsi": Traits(_ISCSI, ("initiator", "auth"), "units", makes=False),
    "iscsi-direct": Traits((*_ISCSI, "initiator"), ("auth",), "units", makes=False),
    "scsi": Traits(("adapter",), (), "units", makes=False),
}
_SPECIFIC = {key: None for traits in TRAITS.values() for key in traits.needs + traits.takes}
_ELSEWHERE = frozenset({"netfs", "rbd", "gluster", "iscsi", "iscsi-direct"})
"""Types of pools that all hosts see alike."""
_FORMATS = {
    "fs": ("ext2", "ext3", "ext4", "xfs", "vfat", "gfs2", "ocfs2"),
    "netfs": ("nfs", "cifs", "glusterfs"),
    "disk": ("dos", "gpt"),
}
_WHAT = {
    "path": "`path: /srv/vms`",
    "devices": "`devices: [/dev/disk/by-id/...]`",
    "server": "`server: nas.example`",
    "servers": "`servers: [ceph-1.example]`",
    "export": "`export: /vol/vms`",
    "source": "`source:` with its name",
    "target": '`target: "iqn.2026-01.com.example:vms"`',
    "initiator": '`initiator: "iqn.2026-01.com.example:kvm"`',
    "adapter": "`adapter: scsi_host3`",
}


class FcHost(Section):
    """A virtual host adapter (NPIV) that libvirt makes on a Fibre Channel adapter."""

    wwnn: Wwn
    """World Wide Node Name: 16 hexadecimal digits, in quotes."""
    wwpn: Wwn
    """World Wide Port Name: 16 hexadecimal digits, in quotes."""
    parent: HostAdapter | None = None
    """Adapter that it is made on; libvirt chooses one if not given."""


class Auth(Section):
    """Who a host is to a storage server."""

    user: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.@+:/-]{0,222}$")]
    """Name of the user."""
    secret: Name
    """Secret (`secrets`) that proves it: of `usage: ceph` for rbd, `usage: iscsi` for iscsi and iscsi-direct."""


class Pool(Section):
    """A libvirt storage pool, on each host that `hosts` names."""

    shorthand = "path"

    type: PoolType = "dir"
    """Kind of pool. Volumes are files in a `dir`, on the file system of a device (`fs`) or of a server (`netfs`);
    devices of a volume group (`logical`) or `zfs` dataset; objects in a Ceph pool (`rbd`). Those of `disk` (they are
    partitions), `iscsi`, `iscsi-direct`, `scsi` and `gluster` are there already: a disk names its `volume`."""
    path: PoolPath | None = None
    """Directory on the host (dir, fs, netfs), where the file system is mounted; made if it is missing."""
    devices: Annotated[tuple[PoolPath, ...], Field(max_length=64)] = ()
    """Block devices: the one of `fs` and `disk`, those that a `logical` or `zfs` pool is built of."""
    server: Server | None = None
    """Server (netfs, gluster, iscsi, iscsi-direct), as `HOST` or `HOST:PORT`."""
    servers: Annotated[tuple[Server, ...], Field(max_length=16)] = ()
    """Monitors of the Ceph cluster (rbd), in the same way."""
    export: ExportPath | None = None
    """Directory on the server (netfs)."""
    source: SourceName | None = None
    """Name of the volume group (logical), dataset (zfs), Ceph pool (rbd) or Gluster volume (gluster)."""
    format: Literal[
        "ext2", "ext3", "ext4", "xfs", "vfat", "gfs2", "ocfs2", "nfs", "cifs", "glusterfs", "dos", "gpt"
    ] | None = None  # fmt: skip
    """File system (fs), protocol (netfs) or partition table (disk); found out if not given."""
    protocol_version: Annotated[str, Field(pattern=r"^[2-4](\.[0-9])?$")] | None = None
    """Version of NFS (netfs), for example `4.1`."""
    target: Iqn | None = None
    """Name of the target on the server (iscsi, iscsi-direct), in quotes: `"iqn.2026-01.com.example:vms"`."""
    initiator: Iqn | None = None
    """Name of the host to the target (iscsi, iscsi-direct)."""
    adapter: HostAdapter | FcHost | None = None
    """Host adapter (scsi), for example `scsi_host3`, or a virtual one by its World Wide Names."""
    auth: Auth | None = None
    """User and secret (rbd, iscsi, iscsi-direct)."""
    build: Bool = False
    """Format the devices when the pool is made (fs, disk, logical, zfs). Devices that hold anything are refused."""
    shared: Bool | None = None
    """All hosts of the pool see the same volumes: an image is uploaded once for all of them. If not given, so it is
    with pools on a server (netfs, rbd, gluster, iscsi, iscsi-direct)."""
    autostart: Bool = True
    """Start the pool with its host."""
    overcommit: Annotated[float, Field(gt=0, le=1000)] = 3
    """Bytes that may be promised to disks for each that it has: beyond that you are warned."""
    hosts: tuple[Name, ...] | None = None
    """Hosts that get it; all of them if not given."""
    xml: Text | None = None
    """libvirt XML laid over the definition, for what no key names; elements find their place by identity."""
    state: Literal["active", "absent"] = "active"
    """`absent` plans its deletion; what is in it stays."""

    @property
    def traits(self) -> Traits:
        """What its type is like."""
        return TRAITS[self.type]

    @property
    def is_shared(self) -> bool:
        """Whether its hosts see the same volumes."""
        return self.type in _ELSEWHERE if self.shared is None else self.shared

    @property
    def behind(self) -> tuple[object, ...]:
        """What its volumes come from, beside a directory of the host; empty if from nothing else."""
        parts = (self.devices, self.server, self.servers, self.export, self.source, self.target, self.adapter)
        return (self.type, *parts) if any(parts) else ()

    @property
    def place(self) -> str | None:
        """Directory of its volumes on a host (virStoragePoolDefParseXML and the backends); None if they are in none."""
        match self.type:
            case "logical":
                return f"/dev/{self.source}"
            case "zfs":
                return f"/dev/zvol/{self.source}"
            case "disk":
                return "/dev"
        return self.path

    @model_validator(mode="after")
    def _possible(self) -> Self:
        traits = self.traits
        for key in traits.needs:
            if not getattr(self, key):
                # Its name says where in the manifest: nothing is written there.
                raise wrong("pool", f"`{key}` is missing in a pool of type {self.type}", f"add {_WHAT[key]}")
        for key in _SPECIFIC:
            if getattr(self, key) and key not in traits.needs + traits.takes:
                hint = f"leave it out, or choose another `type:` (it is {self.type})"
                raise wrong("pool", f"a pool of type {self.type} has no `{key}`", hint, key)
        if (
            self.type == "rbd"
            and self.auth
            and not self.auth.user.replace("-", "").replace("+", "").isalnum()
        ):
            hint = "leave `client.` out, and use a user of letters, digits, `-` and `+`"
            raise wrong(
                "pool", f"libvirt takes no user of Ceph called {self.auth.user}", hint, "auth", "user"
            )
        self._check_devices()
        if self.format and self.format not in _FORMATS[self.type]:
            hint = f"use one of {', '.join(_FORMATS[self.type])}"
            raise wrong("pool", f"a pool of type {self.type} has no format {self.format}", hint, "format")
        if "/" in (self.source or "") and self.type != "zfs":
            raise wrong("pool", "only a dataset of zfs is named by a path", "write its plain name", "source")
        if self.protocol_version and self.format not in {None, "nfs"}:
            raise wrong("pool", "only NFS has versions here", "leave it out", "protocol_version")
        return self

    def _check_devices(self) -> None:
        if self.type in {"fs", "disk"} and len(self.devices) > 1:
            raise wrong("pool", f"a pool of type {self.type} has one device", "name one", "devices", 1)
        for index, device in enumerate(self.devices):
            if not device.startswith("/dev/"):
                hint = "write its path: `/dev/disk/by-id/...` stays the same when devices come and go"
                raise wrong("pool", f"{device} is no device", hint, "devices", index)
        if not self.build:
            return
        if not self.traits.formats:
            raise wrong(
                "pool", f"a pool of type {self.type} has nothing to format", "leave `build` out", "build"
            )
        if not self.devices:
            raise wrong("pool", "`build` has no devices to format", f"add {_WHAT['devices']}", "build")
        if self.format is None and self.type in {"fs", "disk"}:
            hint = f"add `format: {'ext4' if self.type == 'fs' else 'gpt'}`"
            raise wrong("pool", "`build` does not know which format to write", hint, "build")
