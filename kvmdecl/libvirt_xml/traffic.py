"""Limits and VLANs of NICs, networks and port groups as libvirt XML."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.libvirt_xml.build import node
from kvmdecl.names import KIB

if TYPE_CHECKING:
    from kvmdecl.libvirt_xml.safe import Element
    from kvmdecl.manifest.traffic import Bandwidth, Rate, Vlan


def bandwidth(limits: Bandwidth | None) -> Element | None:
    """Limits, None for none."""
    if limits is None:
        return None
    return node("bandwidth", _rate("inbound", limits.inbound), _rate("outbound", limits.outbound))


def _rate(tag: str, rate: Rate | None) -> Element | None:
    """Libvirt counts in KiB, and KiB per second (virNetDevBandwidthRate)."""
    if rate is None:
        return None
    given = {"average": rate.average, "peak": rate.peak, "burst": rate.burst}
    return node(tag, **{name: str(value // KIB) for name, value in given.items() if value is not None})


def vlan(spec: Vlan | None) -> Element | None:
    """Tags, None for none."""
    if spec is None:
        return None
    tags = (
        node("tag", id=str(tag), nativeMode=spec.native_mode if tag == spec.native else None)
        for tag in spec.tags
    )
    return node("vlan", *tags, trunk="yes" if spec.is_trunk else None)


def yes(value: bool) -> str | None:
    """`yes`, or nothing: what libvirt assumes without it."""
    return "yes" if value else None
