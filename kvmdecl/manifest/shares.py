"""`shares:` of a vm: directories of the host that its guest mounts."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from kvmdecl.manifest.base import Section, wrong
from kvmdecl.names import Bool, HostPath, Positive

_ONLY_WITH = {
    "socket": "virtiofs",
    "queue_size": "virtiofs",
    "daemon": "virtiofs",
    "readonly": "9p",
    "access": "9p",
    "file_mode": "9p",
    "dir_mode": "9p",
    "several_devices": "9p",
    "write_through": "9p",
}
"""The driver that has it (qemuValidateDomainDeviceDefFS, virDomainFSDefParseXML)."""

_INSTEAD = {"readonly": "share a directory that is mounted read-only on the host, or use `driver: 9p`"}

Mode = Annotated[str, Field(pattern="^[0-7]{3}$")]


class ShareDaemon(Section):
    """The process of the host that serves a share by virtiofs; libvirt starts it with the guest."""

    path: HostPath | None = None
    """Its program; the one that QEMU brings along if not given."""
    cache: Literal["none", "always"] | None = None
    """What the guest may keep of what it read: `always` is fast, and does not see what the host writes."""
    xattr: Bool | None = None
    """Offer extended attributes."""
    sandbox: Literal["namespace", "chroot"] | None = None
    """How it is kept in the directory; `namespace` if not given."""
    threads: Annotated[Positive, Field(le=1024)] | None = None
    """Number of threads."""
    posix_locks: Bool | None = None
    """Carry POSIX locks over to the host; not every daemon can."""
    flocks: Bool | None = None
    """Carry BSD locks over to the host; not every daemon can."""


class Share(Section):
    """A directory of the host that the guest mounts by the share's name (`mount -t virtiofs NAME /mnt`)."""

    shorthand = "path"

    path: HostPath | None = None
    """The directory (`/srv/share`). It has to be there."""
    socket: HostPath | None = None
    """Or the socket of a virtiofs daemon that others run."""
    driver: Literal["virtiofs", "9p"] = "virtiofs"
    """How it is shared: `virtiofs` is fast, can be plugged in while the guest runs, and needs `memory: {source: memfd,
    access: shared}`; `9p` needs nothing."""
    readonly: Bool = False
    """The guest cannot write to it (9p only)."""
    access: Literal["passthrough", "mapped", "squash"] | None = None
    """How owners and permissions are kept (9p): as they are, in extended attributes, or as they are as far as QEMU may
    set them; the first if not given."""
    file_mode: Mode | None = None
    """Permissions of new files on the host, in quotes (`"640"`; 9p with `access: mapped`)."""
    dir_mode: Mode | None = None
    """Permissions of new directories on the host, in quotes (9p with `access: mapped`)."""
    several_devices: Literal["remap", "forbid", "warn"] | None = None
    """What happens where the directory reaches over several file systems, whose inode numbers collide (9p)."""
    write_through: Bool = False
    """Write to the host's disk at once (9p)."""
    queue_size: Literal["2", "4", "8", "16", "32", "64", "128", "256", "512", "1024"] | None = None
    """Requests that fit into the queue (virtiofs)."""
    daemon: ShareDaemon | None = None
    """Options of the daemon that libvirt starts (virtiofs)."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for key, driver in _ONLY_WITH.items():
            if key in self.said and driver != self.driver:
                hint = _INSTEAD.get(key, f"leave it out, or use `driver: {driver}`")
                raise wrong("share", f"a share by {self.driver} has no `{key}`", hint, key)
        if (self.path is None) == (self.socket is None):
            hint = "write for example `/srv/share`"
            raise wrong("share", "a share has either a path or a socket", hint)
        if self.socket is not None and self.daemon is not None:
            hint = "give them to the daemon that listens there"
            raise wrong("share", "libvirt starts no daemon where a socket is given", hint, "daemon")
        for key in ("file_mode", "dir_mode"):
            if getattr(self, key) is not None and self.access != "mapped":
                summary, hint = "only mapped files have permissions of their own", "add `access: mapped`"
                raise wrong("share", summary, hint, key)
        return self
