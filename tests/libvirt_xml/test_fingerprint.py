from __future__ import annotations

from dataclasses import replace

import pytest

from kvmdecl.libvirt_xml.fingerprint import ABSENT, fingerprint
from kvmdecl.libvirt_xml.marker import Marker, with_marker
from kvmdecl.state import ObservedNetwork, ObservedPool, ObservedVolume
from tests.libvirt_xml.examples import UUID, declared, disk, kept, observed, respelt

MARKER = Marker("demo", UUID, "web-1", "r-1", "0.1.0", declared())
DOMAIN = observed(with_marker(kept(declared()), MARKER))
NETWORK = ObservedNetwork("n", UUID, "<network><name>n</name><bridge name='b'/></network>", True, True)
VOLUME = ObservedVolume("vms", "a", "/srv/vms/a", "qcow2", 1024, 512, None)
POOL = ObservedPool("vms", UUID, "<pool><name>vms</name></pool>", True, True, 10, 5, (VOLUME,))


def test_what_does_not_exist_has_a_fingerprint_of_its_own():
    assert fingerprint(None) == ABSENT


def test_the_same_object_in_other_words_has_the_same_fingerprint():
    assert fingerprint(replace(DOMAIN, xml=respelt(DOMAIN.xml, 1))) == fingerprint(DOMAIN)


@pytest.mark.parametrize(
    "same",
    [
        replace(DOMAIN, xml=with_marker(DOMAIN.xml, replace(MARKER, revision="r-2", tool="0.2.0"))),
        replace(
            DOMAIN, xml=DOMAIN.xml.replace("</devices>", "<graphics type='vnc' passwd='s3cret'/></devices>")
        ),
    ],
)
def test_revisions_and_passwords_are_not_in_it(same):
    bare = replace(DOMAIN, xml=same.xml.replace(" passwd='s3cret'", ""))

    assert fingerprint(same) == fingerprint(bare)


@pytest.mark.parametrize(
    "changed",
    [
        replace(DOMAIN, active=True),
        replace(DOMAIN, autostart=False),
        replace(DOMAIN, persistent=False),
        replace(DOMAIN, xml=DOMAIN.xml.replace(">65536<", ">131072<")),
        replace(DOMAIN, xml=DOMAIN.xml.replace('bus="0x01"', 'bus="0x41"')),
        replace(
            DOMAIN, xml=with_marker(DOMAIN.xml, replace(MARKER, applied=declared(disks=(disk("other"),))))
        ),
        replace(DOMAIN, xml=kept(declared())),
    ],
)
def test_any_change_of_a_domain_changes_it(changed):
    assert fingerprint(changed) != fingerprint(DOMAIN)


def test_networks_pools_and_volumes_have_one_too():
    assert fingerprint(replace(NETWORK, active=False)) != fingerprint(NETWORK)
    assert fingerprint(replace(NETWORK, xml=NETWORK.xml.replace("'b'", "'c'"))) != fingerprint(NETWORK)
    assert fingerprint(replace(POOL, autostart=False)) != fingerprint(POOL)
    assert fingerprint(replace(VOLUME, capacity=2048)) != fingerprint(VOLUME)
    assert len({fingerprint(thing) for thing in (DOMAIN, NETWORK, POOL, VOLUME)}) == 4


def test_how_full_a_pool_or_volume_is_does_not_matter():
    assert fingerprint(replace(POOL, available=1, capacity=11, volumes=())) == fingerprint(POOL)
    assert fingerprint(replace(VOLUME, allocation=1024)) == fingerprint(VOLUME)
