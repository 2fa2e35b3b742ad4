"""What keys wrote is recognised as these keys: an entry for it needs neither `xml` nor `omit`."""

from __future__ import annotations

from typing import Any

import pytest

from kvmdecl.adopt.entry import Surroundings, make_entry
from kvmdecl.adopt.guest import Networks
from kvmdecl.scenario import example_host
from tests.libvirt_xml import test_board, test_cpus, test_hostdevs, test_memory, test_on_libvirt, test_shares
from tests.libvirt_xml.device_examples import DEVICES
from tests.libvirt_xml.examples import declared, kept, observed
from tests.libvirt_xml.test_disk_sources import SOURCES, on_server

NETWORKS = {"lan": {"bridge": "br0"}, "inner": {"mode": "existing"}}
PLUGGED = Networks({"bridge:br0": "lan", "network:inner": "inner"})
AROUND = Surroundings("kvm-1", example_host("kvm-1").facts, NETWORKS, PLUGGED)
FILLED_IN = '<audio id="1" type="none"/>'  # but not beside a SPICE console
GUESTS: dict[str, dict[str, Any]] = {
    **DEVICES,
    **test_board.GUESTS,
    **test_cpus.GUESTS,
    **test_hostdevs.GUESTS,
    **test_memory.GUESTS,
    **test_on_libvirt.GUESTS,
    **test_shares.GUESTS,
    **{name: on_server(**keys) for name, keys in SOURCES.items() if "server_secret" not in keys},
}
SEEDS = frozenset(name for name, keys in GUESTS.items() if "seed" in keys)  # adopted guests have none of ours


@pytest.mark.parametrize("name", sorted(GUESTS.keys() - SEEDS))
def test_what_keys_wrote_is_recognised(name: str):
    theirs = kept(declared(**GUESTS[name])).replace(FILLED_IN, "")

    entry = make_entry(observed(theirs), AROUND)

    assert not entry.keys.keys() & {"xml", "omit"}, entry.keys
