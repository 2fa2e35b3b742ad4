"""NICs as libvirt XML."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.libvirt_xml.build import boot, node

if TYPE_CHECKING:
    from kvmdecl.cluster import ResolvedNic
    from kvmdecl.libvirt_xml.safe import Element


def interface(nic: ResolvedNic) -> Element:
    """A NIC, plugged into a bridge or a libvirt network."""
    return node(
        "interface",
        node("mac", address=nic.mac),
        node("source", bridge=nic.source) if nic.is_bridge else node("source", network=nic.source),
        node("model", type=nic.spec.model),
        nic.spec.mtu is not None and node("mtu", size=str(nic.spec.mtu)),
        node("link", state=nic.spec.link),
        boot(nic.boot_order),
        type="bridge" if nic.is_bridge else "network",
    )
