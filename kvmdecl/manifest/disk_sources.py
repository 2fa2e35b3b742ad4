"""`source:` of a disk: what is there already, on the host or on a storage server."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from kvmdecl.manifest.base import Section, wrong
from kvmdecl.manifest.pools import Auth, Iqn, Server
from kvmdecl.names import Bool, DiskPath, Duration, HostPath, PciAddress, Positive, Size

_WEB = ("http", "https", "ftp", "ftps")
_ONLY_BY = {
    "socket": ("nbd", "gluster"),
    "auth": ("rbd", "iscsi"),
    "tls": ("nbd",),
    "verify": ("https", "ftps"),
    "query": ("http", "https"),
    "timeout": _WEB,
    "readahead": _WEB,
    "snapshot": ("rbd",),
    "config_file": ("rbd",),
    "initiator": ("iscsi",),
}
"""Protocols that have it (virDomainDiskSourceNetworkParse, qemuDomainValidateStorageSource)."""

_OF_NVME = frozenset({"namespace", "managed"})
_KINDS = {"path": "a path of the host", "nvme": "an NVMe drive", "protocol": "a source on a server"}
_SEVERAL = ("rbd", "gluster")  # servers of one cluster


class Source(Section):
    """What a disk is that nobody makes, grows or deletes: a file or device of the host, or data on a server.

    It has one of `path`, `protocol` and `nvme`.
    """

    shorthand = "path"

    path: DiskPath | None = None
    """A file or block device of the host (`/dev/vg0/db`)."""
    nvme: PciAddress | None = None
    """Or an NVMe drive of the host by its PCI address (`0000:01:00.0`), driven by QEMU past the host's kernel."""
    namespace: Annotated[Positive, Field(le=2**32 - 1)] | None = None
    """Namespace of the NVMe drive; the first if not given."""
    managed: Bool = True
    """Take the NVMe drive from the host's driver when the guest starts, and give it back afterwards."""
    protocol: Literal["nbd", "rbd", "iscsi", "gluster", "http", "https", "ftp", "ftps"] | None = None
    """Or how a server is asked for it; by http and its like a guest only reads (`readonly: true`)."""
    name: Annotated[
        str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.:,+=@%~/-]*$", max_length=1024)
    ] | None = None  # fmt: skip
    """What it is called there: an export (nbd), `POOL/IMAGE` (rbd), `TARGET/UNIT` (iscsi), `VOLUME/FILE` (gluster), or
    the path of a URL."""
    servers: Annotated[tuple[Server, ...], Field(max_length=16)] = ()
    """The server, as `HOST` or `HOST:PORT`; of rbd (monitors; as its configuration says if not given) and gluster there
    may be several."""
    socket: HostPath | None = None
    """Socket on the host in place of a server (nbd, gluster)."""
    auth: Auth | None = None
    """Who the guest's host is to the server (rbd, iscsi)."""
    tls: Bool | None = None
    """Speak TLS with the server (nbd), with the certificates that the host's libvirt has for it."""
    verify: Bool | None = None
    """Whether the server's certificate is checked (https, ftps)."""
    query: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.~%&=+:;,/?@-]+$", max_length=1024)] | None = None
    """What follows the path of the URL (http, https)."""
    timeout: Annotated[Duration, Field(ge=1, le=3600)] | None = None
    """How long the server may take to answer (http and its like), for example `10s`."""
    readahead: Annotated[Size, Field(ge=1)] | None = None
    """How much is read at once (http and its like)."""
    snapshot: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.+-]{1,128}$")] | None = None
    """Snapshot of the image (rbd)."""
    config_file: HostPath | None = None
    """Configuration of the cluster's clients on the host (rbd)."""
    initiator: Iqn | None = None
    """Name of the host to the target (iscsi)."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        kinds = self.said & _KINDS.keys()
        if len(kinds) != 1:
            hint = "write for example `/dev/vg0/db`"
            raise wrong("disk", "a source has one of `path`, `nvme` and `protocol`", hint)
        (kind,) = kinds
        if kind == "protocol":
            self._check_protocol()
        for key in sorted(self.said - {kind}):
            if kind == "path" or (key in _OF_NVME) != (kind == "nvme"):
                raise wrong("disk", f"{_KINDS[kind]} has no `{key}`", "leave it out", key)
        return self

    @property
    def is_web(self) -> bool:
        """Whether it is only read."""
        return self.protocol in _WEB

    @property
    def is_elsewhere(self) -> bool:
        """Whether it is the same for all hosts."""
        return self.protocol is not None and self.socket is None

    @property
    def identity(self) -> tuple[object, ...]:
        """What two sources have in common that are one."""
        servers = () if self.protocol == "rbd" else self.servers[:1]
        drive = (self.nvme, self.namespace or 1) if self.nvme is not None else None
        return self.path, drive, self.protocol, self.name, servers, self.socket, self.snapshot

    def _check_protocol(self) -> None:
        for key, protocols in _ONLY_BY.items():
            if key in self.said and self.protocol not in protocols:
                hint = f"leave it out, or use {' or '.join(f'`protocol: {one}`' for one in protocols)}"
                raise wrong("disk", f"a source by {self.protocol} has no `{key}`", hint, key)
        if self.name is None and self.protocol != "nbd":
            summary, hint = f"a source by {self.protocol} has a name", "add `name:`, what the server calls it"
            raise wrong("disk", summary, hint, "protocol")
        if self.socket is not None and self.servers:
            summary, hint = "it is reached either by a socket or by a server", "leave one of them out"
            raise wrong("disk", summary, hint, "socket")
        if len(self.servers) > 1 and self.protocol not in _SEVERAL:
            summary, hint = f"a source by {self.protocol} has one server", "leave the others out"
            raise wrong("disk", summary, hint, "servers", 1)
        if not self.servers and self.socket is None and self.protocol != "rbd":
            summary, hint = f"a source by {self.protocol} has a server", "add `servers: [HOST]`"
            raise wrong("disk", summary, hint, "protocol")
