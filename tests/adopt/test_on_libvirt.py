"""Guests that libvirt took from somebody else: their entries say all of them, and nothing that is not so."""

from __future__ import annotations

import libvirt
import pytest

from kvmdecl.adopt.entry import NotExpressible, Surroundings, make_entry
from kvmdecl.adopt.filled_in import asked_for
from kvmdecl.adopt.guest import Networks
from kvmdecl.hosts.protocol import Scope
from kvmdecl.hosts.read import read_domain, read_host
from kvmdecl.lab import Lab
from kvmdecl.libvirt_xml.fields import compare
from kvmdecl.libvirt_xml.overlay import complete
from kvmdecl.state import Kind
from tests.adopt.examples import GUESTS

pytestmark = pytest.mark.xdist_group("lab")

NETWORKS = {"br0": {"bridge": "br0"}, "default": {"mode": "existing"}}
PLUGGED = Networks({"bridge:br0": "br0", "network:default": "default"})
VALIDATE = libvirt.VIR_DOMAIN_DEFINE_VALIDATE


def test_the_entries_of_all_guests_make_the_same_guests_on_another_host(clean_lab: Lab):
    first, second = (libvirt.open(clean_lab.host(name).uri()) for name in ("kvm-1", "kvm-2"))
    around = Surroundings("kvm-1", read_host(first, "kvm-1", Scope()).facts, NETWORKS, PLUGGED)
    failed: dict[str, object] = {}
    for story, xml in GUESTS.items():
        theirs = first.defineXMLFlags(xml, VALIDATE)
        observed = read_domain(theirs)
        theirs.undefine()

        try:
            entry = make_entry(observed, around)  # compares with what is observed, both ways
        except NotExpressible as error:
            failed[story] = error.paths
            continue

        again = second.defineXMLFlags(complete(entry.declared), VALIDATE)
        wanted, kept = (asked_for(seen.xml, around.facts) for seen in (observed, read_domain(again)))
        again.undefine()
        found = compare(wanted, None, kept, Kind.DOMAIN).differences
        found += compare(kept, None, wanted, Kind.DOMAIN).differences
        if found:
            failed[story] = found
    assert not failed
