"""What an object is, in one short text: the same until somebody changes it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict

from kvmdecl.libvirt_xml.fields import fields
from kvmdecl.libvirt_xml.marker import read_marker
from kvmdecl.state import (
    Kind,
    Observed,
    ObservedDomain,
    ObservedFilter,
    ObservedNetwork,
    ObservedPool,
    ObservedSecret,
    ObservedSettings,
    ObservedVolume,
)

ABSENT = "absent"
"""Fingerprint of an object that does not exist."""


def fingerprint(observed: Observed | None) -> str:
    """A digest of an object's fields, and of whether it is active, persistent and started with its host.

    Not in it: how the definition is spelt, passwords, fill levels and other state, and which revision of a
    manifest was applied last. So it is the same when the object is read again, also after libvirtd restarted.

    Raises:
        BadXml: the definition is not acceptable XML.
    """
    if observed is None:
        return ABSENT
    text = json.dumps(_facts(observed), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).hexdigest()


def _facts(observed: Observed) -> dict[str, object]:
    match observed:
        case ObservedDomain():
            return (
                _defined(Kind.DOMAIN, observed) | {"persistent": observed.persistent} | _marked(observed.xml)
            )
        case ObservedNetwork():
            return _defined(Kind.NETWORK, observed) | _marked(observed.xml)
        case ObservedPool():
            return _defined(Kind.POOL, observed)
        case ObservedFilter():
            return {"kind": Kind.NWFILTER, "fields": fields(observed.xml, Kind.NWFILTER)}
        case ObservedVolume():
            names = ("pool", "name", "path", "format", "capacity", "backing")
            encrypted = {"encrypted": True} if observed.encrypted else {}
            stamp = {"stamp": observed.stamp} if observed.stamp else {}
            return (
                {"kind": Kind.VOLUME} | {name: getattr(observed, name) for name in names} | encrypted | stamp
            )
        case ObservedSecret():
            return {"kind": Kind.SECRET} | asdict(observed)
        case ObservedSettings():
            return {"kind": Kind.HOST, "name": observed.name, "values": dict(observed.values)}


def _defined(kind: Kind, observed: ObservedDomain | ObservedNetwork | ObservedPool) -> dict[str, object]:
    return {
        "kind": kind,
        "fields": fields(observed.xml, kind),
        "active": observed.active,
        "autostart": observed.autostart,
    }


def _marked(xml: str) -> dict[str, object]:
    """Whose the object is, and what was last applied: a three-way comparison stands on both."""
    marker = read_marker(xml)
    return {"marker": [marker.cluster, marker.uuid, marker.applied] if marker else None}
