"""The way back from a run: what it changed, made and deleted is as before, and what cannot be is named."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import libvirt
import pytest

from kvmdecl.hosts.protocol import Scope
from kvmdecl.lab import Lab
from kvmdecl.planner.saved import observed_at, require_consistent, retrace
from kvmdecl.planner.undo import Begun, undo_plan
from kvmdecl.planner.verdict import HostView
from kvmdecl.state import Kind
from tests.impact.bench import Bench, dump, images
from tests.impact.kinds import laid_over

pytestmark = pytest.mark.xdist_group("lab")

ABSENT = {"state": "absent"}
NIC = {"network": "inner", "mac": "52:54:00:00:00:11"}
BY_FORCE = {"timeout": "1s", "force": True}
BEFORE: dict[str, Any] = {
    "apiVersion": "kvmdecl/v1",
    "cluster": "undone",
    "hosts": {"kvm-1": {"uri": "qemu+tls://kvm-1.example/system"}},
    "networks": {
        "inner": {
            "mode": "isolated", "subnet": "192.168.150.0/24",
            "dhcp": {"start": "192.168.150.10", "end": "192.168.150.99"},
        },
        "old": {"mode": "isolated", "subnet": "192.168.160.0/24"},
    },
    "filters": {"quiet": {"rules": [{"action": "drop", "protocol": "tcp", "dst_port": "25"}]}},
    "storage": {"vms": {"path": "/srv/vms"}, "spare": {"path": "/srv/spare"}},
    "images": {"tiny": {"source": "tiny.img", "format": "raw"}},
    "defaults": {"vms": {"type": "qemu", "host": "kvm-1", "memory": "32MiB"}},
    "vms": {
        "web": {"image": "tiny", "disk": {"pool": "vms"}, "description": "before", "nics": [NIC]},
        "cold": {
            "state": "stopped", "nics": ["inner"], "cpus": {"count": 1, "max": 2},
            "disks": {"data": {"pool": "vms", "size": "1MiB"}},
        },
        "asleep": {"state": "stopped", "autostart": False},
        "old": {"nics": ["old"], "shutdown": BY_FORCE},
    },
}  # fmt: skip
CHANGE: dict[str, Any] = {
    "networks": {
        "inner": {"dhcp": {"end": "192.168.150.98"}}, "old": ABSENT,
        "new": {"mode": "isolated", "subnet": "192.168.170.0/24"},
    },
    "filters": {
        "quiet": {"rules": [{"action": "drop", "protocol": "tcp", "dst_port": "26"}]},
        "new": {"rules": [{"action": "drop"}]},
    },
    "storage": {"spare": ABSENT, "new": {"path": "/srv/new"}},
    "vms": {
        "web": {"description": "after", "on_crash": "preserve", "nics": [{**NIC, "link": "down"}]},
        "cold": {
            "memory": "48MiB", "cpus": {"count": 2},
            "disks": {"data": {"size": "2MiB"}, "more": {"pool": "vms", "size": "1MiB"}},
        },
        "asleep": {"state": "running", "autostart": True, "shutdown": BY_FORCE},
        "old": ABSENT,
        "new": {"nics": [{"network": "new", "filter": "new"}], "shutdown": BY_FORCE},
    },
}  # fmt: skip
SCOPE = Scope(frozenset({"vms", "spare", "new"}), filters=True, secrets=True, settings=True)


@pytest.fixture
def bench(clean_lab: Lab, tmp_path) -> Iterator[Bench]:
    bench = Bench(clean_lab.host("kvm-1"), tmp_path)
    images(tmp_path)
    yield bench
    bench.connection.close()


def everything(bench: Bench) -> dict[str, str]:
    """What is defined, started and set to start with the host, spelt as libvirt spells it.

    A network that was deleted and defined again has another MAC address, which libvirt chose.
    """
    connection = bench.connection
    found = {}
    for domain in connection.listAllDomains():
        found[f"domain {domain.name()}"] = dump(domain, live=False)
        found[f"power of {domain.name()}"] = f"{domain.isActive()} {domain.autostart()}"
    for network in connection.listAllNetworks():
        xml = network.XMLDesc(libvirt.VIR_NETWORK_XML_INACTIVE)
        found[f"network {network.name()}"] = re.sub(
            "<metadata>.*</metadata>|<mac [^>]*>", "", xml, flags=re.DOTALL
        )
        found[f"power of {network.name()}"] = f"{network.isActive()} {network.autostart()}"
    for pool in connection.listAllStoragePools():
        found[f"pool {pool.name()}"] = f"{pool.isActive()} {pool.autostart()}"
    for rules in connection.listAllNWFilters():
        if rules.name() in {"quiet", "new"}:
            found[f"filter {rules.name()}"] = rules.XMLDesc()
    return found


def test_what_a_run_did_is_undone_and_what_cannot_be_is_named(bench: Bench):
    bench.converge(BEFORE)
    before = everything(bench)
    plan = bench.plan(laid_over(CHANGE, BEFORE))
    view = HostView("kvm-1", "undone", plan.revision, bench.observe(SCOPE)["kvm-1"].state)
    begun = [Begun(step, observed_at(step.address, view)) for step in plan.steps]
    bench.apply(plan)
    assert everything(bench) != before

    back = undo_plan(plan, begun, bench.observe(SCOPE))

    assert not back.blocked, back.blocked
    require_consistent(back)
    assert retrace(back, bench.observe(SCOPE)).steps == back.steps, "it may be saved, reviewed and applied"
    bench.apply(back)
    after = everything(bench)
    for key, definition in before.items():
        assert after.get(key) == definition, key
    assert set(after) == set(before)
    stays = {note.subject for note in back.notes if note.code == "undo.not-possible"}
    assert stays == {f"kvm-1/volume/vms/cold.{disk}" for disk in ("data.qcow2", "more.qcow2")}
    assert not [step for step in back.steps if step.address.kind is Kind.VOLUME]
    again = undo_plan(plan, begun, bench.observe(SCOPE))
    assert not again.steps, "the way back has an end"
