"""NICs as libvirt XML."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.libvirt_xml.build import boot, node
from kvmdecl.libvirt_xml.nwfilter import filterref
from kvmdecl.names import KIB

if TYPE_CHECKING:
    from kvmdecl.cluster import ResolvedNic
    from kvmdecl.libvirt_xml.safe import Element
    from kvmdecl.manifest.nics import Bandwidth, Rate


def interface(nic: ResolvedNic) -> Element:
    """A NIC, plugged into a bridge or a libvirt network."""
    spec = nic.spec
    return node(
        "interface",
        node("mac", address=nic.mac),
        node("source", bridge=nic.source) if nic.is_bridge else node("source", network=nic.source),
        node("model", type=spec.model),
        spec.queues is not None and node("driver", queues=str(spec.queues)),
        spec.mtu is not None and node("mtu", size=str(spec.mtu)),
        spec.bandwidth is not None and _bandwidth(spec.bandwidth),
        spec.filter is not None and filterref(spec.filter.name, spec.filter.parameters),
        spec.isolated and node("port", isolated="yes"),
        node("link", state=spec.link),
        boot(nic.boot_order),
        type="bridge" if nic.is_bridge else "network",
        trustGuestRxFilters="yes" if spec.trust_guest_rx_filters else None,
    )


def _bandwidth(bandwidth: Bandwidth) -> Element:
    return node("bandwidth", _rate("inbound", bandwidth.inbound), _rate("outbound", bandwidth.outbound))


def _rate(tag: str, rate: Rate | None) -> Element | None:
    """Libvirt counts in KiB, and KiB per second (virNetDevBandwidthRate)."""
    if rate is None:
        return None
    given = {"average": rate.average, "peak": rate.peak, "burst": rate.burst}
    return node(tag, **{name: str(value // KIB) for name, value in given.items() if value is not None})
