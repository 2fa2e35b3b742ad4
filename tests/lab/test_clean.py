"""What tidies a lab between two tests meets guests that end by themselves."""

from __future__ import annotations

import libvirt

from kvmdecl.testing import _end

_GUEST = "<domain type='test'><name>brief</name><memory>1024</memory><os><type arch='x86_64'>hvm</type></os></domain>"


def test_a_guest_that_ended_since_it_was_listed_is_none_to_undefine() -> None:
    connection = libvirt.open("test:///default")
    connection.createXML(_GUEST)
    [listed] = [domain for domain in connection.listAllDomains() if domain.name() == "brief"]
    connection.lookupByName("brief").destroy()

    assert not _end(listed)
    connection.close()
