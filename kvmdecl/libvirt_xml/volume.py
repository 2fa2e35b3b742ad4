"""A volume as libvirt XML, to make one with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmdecl.libvirt_xml.build import node
from kvmdecl.libvirt_xml.overlay import to_text
from kvmdecl.state import USUAL, VolumeOptions

if TYPE_CHECKING:
    from kvmdecl.libvirt_xml.safe import Element


@dataclass(frozen=True, slots=True)
class Permissions:
    """Who may open a file: its mode, octal, and the numbers of its owner and group; None for those of libvirtd."""

    mode: str
    owner: str | None = None
    group: str | None = None


def encryption(secret: str) -> Element:
    """LUKS, opened by the secret of that UUID."""
    return node("encryption", node("secret", type="passphrase", uuid=secret), format="luks")


def volume_xml(
    name: str,
    volume_format: str | None,
    capacity: int,
    *,
    allocation: int = 0,
    backing_path: str | None = None,
    backing_format: str | None = None,
    secret: str | None = None,
    options: VolumeOptions = USUAL,
    permissions: Permissions | None = None,
) -> str:
    """The definition of a volume.

    Args:
        name: within its pool.
        volume_format: `qcow2` or `raw`; None for a device or an object, which has none.
        capacity: bytes.
        allocation: bytes of a raw volume to allocate at once (virStorageBackendCreateRaw).
        backing_path: file that a qcow2 volume begins as.
        backing_format: format of that file; libvirt does not guess it.
        secret: UUID of the secret that it is encrypted with.
        options: what else is decided now.
        permissions: libvirt's own if not given.
    """
    return to_text(
        node(
            "volume",
            node("name", name),
            node("capacity", str(capacity), unit="bytes"),
            node("allocation", str(allocation), unit="bytes"),
            node(
                "target",
                volume_format is not None and node("format", type=volume_format),
                # What qemu-img makes by itself; the older 0.10 lacks zero clusters and lazy reference counts.
                volume_format == "qcow2" and node("compat", "1.1"),
                permissions is not None and _permissions(permissions),
                secret is not None and encryption(secret),
                options.nocow and node("nocow"),
                options.cluster_size is not None and node("clusterSize", str(options.cluster_size), unit="B"),
                options.lazy_refcounts and node("features", node("lazy_refcounts")),
            ),
            backing_path is not None
            and node("backingStore", node("path", backing_path), node("format", type=backing_format)),
        )
    )


def _permissions(said: Permissions) -> Element:
    return node(
        "permissions",
        node("mode", said.mode),
        said.owner is not None and node("owner", said.owner),
        said.group is not None and node("group", said.group),
    )
