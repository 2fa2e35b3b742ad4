"""A storage pool as libvirt XML."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.libvirt_xml.build import node
from kvmdecl.libvirt_xml.overlay import to_text

if TYPE_CHECKING:
    from kvmdecl.cluster import ResolvedPool


def pool_xml(pool: ResolvedPool) -> str:
    """The declared definition of a pool."""
    return to_text(
        node(
            "pool",
            node("name", pool.name),
            node("uuid", pool.uuid),
            node("target", node("path", pool.spec.path)),
            type=pool.spec.type,
        )
    )
