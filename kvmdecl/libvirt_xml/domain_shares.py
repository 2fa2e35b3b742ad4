"""The shares of a vm as libvirt XML."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.libvirt_xml.build import node

if TYPE_CHECKING:
    from kvmdecl.libvirt_xml.safe import Element
    from kvmdecl.manifest.shares import Share, ShareDaemon


def share(name: str, spec: Share) -> Element:
    """A directory of the host; the guest knows it by its name."""
    is_virtiofs = spec.driver == "virtiofs"
    return node(
        "filesystem",
        node(
            "driver",
            type="virtiofs" if is_virtiofs else "path",
            queue=spec.queue_size,
            wrpolicy="immediate" if spec.write_through else None,
        ),
        spec.daemon is not None and _daemon(spec.daemon),
        node("source", dir=spec.path, socket=spec.socket),
        node("target", dir=name),
        spec.readonly and node("readonly"),
        type="mount",
        # the only one that virtiofs has, and what libvirt writes for both
        accessmode=spec.access or "passthrough",
        multidevs=spec.several_devices,
        fmode=spec.file_mode,
        dmode=spec.dir_mode,
    )


def _daemon(spec: ShareDaemon) -> Element:
    locks = {"posix": _on_off(spec.posix_locks), "flock": _on_off(spec.flocks)}
    return node(
        "binary",
        spec.cache is not None and node("cache", mode=spec.cache),
        spec.sandbox is not None and node("sandbox", mode=spec.sandbox),
        any(locks.values()) and node("lock", **locks),
        spec.threads is not None and node("thread_pool", size=str(spec.threads)),
        path=spec.path,
        xattr=_on_off(spec.xattr),
    )


def _on_off(value: bool | None) -> str | None:
    return None if value is None else ("on" if value else "off")
