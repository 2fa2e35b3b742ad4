"""A host whose line left the manifest may have guests: none is made a second time until the host is let go."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvmdecl.cluster import ResolvedCluster
from kvmdecl.diagnostics import Rejected
from kvmdecl.hosts.fake import FakeReader
from kvmdecl.libvirt_xml.marker import Marker, with_marker
from kvmdecl.names import derive_uuid
from kvmdecl.pipeline import load_cluster, plan_cluster
from kvmdecl.plan import Action, Plan
from kvmdecl.planner.destroy import make_destroy_plan
from kvmdecl.scenario import example_host
from kvmdecl.state import HostSnapshot, HostState, Kind, Ledger, Member, ObservedDomain, remembered
from tests.safety.support import PLUGINS, silent

if TYPE_CHECKING:
    from pathlib import Path

    from kvmdecl.state import Observation

MANIFEST = """\
apiVersion: kvmdecl/v1
cluster: story
hosts: {{{hosts}}}
storage:
  vms: {{path: /srv/vms}}
vms:
  free: {{disk: 8MiB}}
  pinned: {{host: kvm-1, disk: 8MiB}}
"""
BOTH = "kvm-1: 'qemu+tls://kvm-1/system', kvm-2: 'qemu+tls://kvm-2/system'"
THREE = f"{BOTH}, kvm-3: 'qemu+tls://kvm-3/system'"


def machine(host: str) -> str:
    return example_host(host).facts.uuid


def host(name: str, *noted: str | Member, domains: tuple[ObservedDomain, ...] = ()) -> HostSnapshot:
    """A host that remembers these others."""
    members = tuple(m if isinstance(m, Member) else Member(m, machine(m)) for m in noted)
    ledgers = (Ledger("story", (), tuple(sorted(members))),)
    return replace(example_host(name), state=HostState(domains=domains, ledgers=ledgers))


def guest(name: str) -> ObservedDomain:
    uuid = derive_uuid("story", Kind.DOMAIN, name)
    xml = f"<domain type='kvm'><name>{name}</name><uuid>{uuid}</uuid><memory>65536</memory><vcpu>1</vcpu></domain>"
    marked = with_marker(xml, Marker("story", uuid, name, "r1", "1", xml))
    return ObservedDomain(name, uuid, marked, marked, True, True, True, False)


def linked(tmp_path: Path, hosts: str, forget: str = "") -> ResolvedCluster:
    path = tmp_path / "cluster.yaml"
    path.write_text(MANIFEST.format(hosts=hosts))
    return replace(load_cluster(path, PLUGINS), forgotten=frozenset(forget.split()))


def plan(tmp_path: Path, hosts: str, *seen: HostSnapshot, quiet: str = "", forget: str = "") -> Plan:
    cluster = linked(tmp_path, hosts, forget)
    observations: dict[str, Observation] = {each.host: each for each in seen}
    observations |= {name: silent(name) for name in quiet.split()}
    return plan_cluster(cluster, FakeReader(observations), PLUGINS)[0]


def created(found: Plan) -> set[str]:
    return {
        s.address.name for s in found.steps if s.address.kind is Kind.DOMAIN and s.action is Action.CREATE
    }


ALL = ("kvm-1", "kvm-2", "kvm-3")


def test_what_may_be_on_a_host_that_left_is_not_made_not_even_where_it_names_another_host(tmp_path: Path):
    found = plan(tmp_path, BOTH, host("kvm-1", *ALL), host("kvm-2", *ALL))

    assert created(found) == set()
    (left,) = found.blocked
    assert left.code == "plan.host-left"
    assert "kvm-3" in left.summary
    assert "free, pinned" in left.summary
    assert Member("kvm-3", machine("kvm-3")) in found.members, "applied, it is still remembered"


def test_guests_that_are_seen_are_planned_as_ever_beside_a_host_that_left(tmp_path: Path):
    domains = (guest("free"), guest("pinned"))

    found = plan(tmp_path, BOTH, host("kvm-1", *ALL, domains=domains), host("kvm-2"))

    assert {step.address.name for step in found.steps if step.address.kind is Kind.DOMAIN} == {
        "free",
        "pinned",
    }
    assert not found.blocked
    assert [note.code for note in found.notes if note.code.startswith("plan.host")] == ["plan.host-left"]


def test_one_host_that_remembers_is_enough(tmp_path: Path):
    assert created(plan(tmp_path, BOTH, host("kvm-1"), host("kvm-2", *ALL))) == set()


def test_a_host_that_changed_its_name_did_not_leave(tmp_path: Path):
    renamed = replace(example_host("kvm-3"), host="other")

    found = plan(
        tmp_path, f"{BOTH}, other: 'qemu+tls://x/system'", host("kvm-1", *ALL), host("kvm-2", *ALL), renamed
    )

    assert created(found) == {"free", "pinned"}
    assert [member.name for member in found.members] == ["kvm-1", "kvm-2", "other"]
    assert found.let_go == ()


def test_another_machine_under_the_name_of_a_host_is_another_host(tmp_path: Path):
    replaced = replace(host("kvm-3"), facts=replace(example_host("kvm-3").facts, uuid=machine("new")))

    found = plan(tmp_path, THREE, host("kvm-1", *ALL), host("kvm-2", *ALL), replaced)

    assert created(found) == set()
    assert "another machine" in found.blocked[0].summary
    assert "--forget-host kvm-3" in found.blocked[0].hint
    forgotten = plan(tmp_path, THREE, host("kvm-1", *ALL), host("kvm-2", *ALL), replaced, forget="kvm-3")
    assert created(forgotten) == {"free", "pinned"}
    assert forgotten.let_go == (Member("kvm-3", machine("kvm-3")),)
    assert Member("kvm-3", machine("new")) in forgotten.members


@pytest.mark.parametrize(
    ("hosts", "forget"),
    [
        (f"{BOTH}, kvm-3: {{state: absent}}", ""),
        (f"{BOTH}, kvm-3: {{state: absent, uri: 'qemu+tls://kvm-3/system'}}", ""),
        (BOTH, "kvm-3"),
    ],
    ids=["absent without a URI", "absent and silent", "forgotten"],
)
def test_a_host_that_is_let_go_holds_nothing_back_and_is_told_of(hosts: str, forget: str, tmp_path: Path):
    quiet = "kvm-3" if "uri" in hosts else ""

    found = plan(tmp_path, hosts, host("kvm-1", *ALL), host("kvm-2", *ALL), quiet=quiet, forget=forget)

    assert created(found) == {"free", "pinned"}
    assert found.complete
    assert found.let_go == (Member("kvm-3", machine("kvm-3")),)
    assert [member.name for member in found.members] == ["kvm-1", "kvm-2"]
    (gone,) = [note for note in found.notes if note.code == "plan.host-gone"]
    assert "may have of them: free, pinned" in gone.summary


def test_a_host_that_answers_and_has_guests_is_not_let_go(tmp_path: Path):
    hosts = f"{BOTH}, kvm-3: {{uri: 'qemu+tls://kvm-3/system', state: absent}}"
    seen = [host("kvm-1", *ALL), host("kvm-2", *ALL), host("kvm-3", *ALL, domains=(guest("free"),))]

    with pytest.raises(Rejected) as rejected:
        plan(tmp_path, hosts, *seen)

    assert [found.code for found in rejected.value.diagnostics] == ["host.not-empty"]


@pytest.mark.parametrize("name", ["kvm-1", "kvm-9"])
def test_only_a_host_that_left_can_be_forgotten(name: str, tmp_path: Path):
    with pytest.raises(Rejected) as rejected:
        plan(tmp_path, BOTH, host("kvm-1", *ALL), host("kvm-2", *ALL), forget=name)

    assert [found.code for found in rejected.value.diagnostics] == ["host.not-departed"]


def test_a_silent_host_that_stays_in_the_manifest_is_remembered_as_the_machine_that_it_was(tmp_path: Path):
    found = plan(tmp_path, THREE, host("kvm-1", *ALL), host("kvm-2"), quiet="kvm-3")

    assert Member("kvm-3", machine("kvm-3")) in found.members
    assert {each.name: each.noted for each in found.hosts if each.machine} == {"kvm-1": True, "kvm-2": False}


def test_destroying_a_cluster_tells_of_the_host_that_left(tmp_path: Path):
    cluster = linked(tmp_path, BOTH)

    found = make_destroy_plan(cluster, {"kvm-1": host("kvm-1", *ALL), "kvm-2": host("kvm-2")}, frozenset())

    assert "plan.host-left" in {note.code for note in found.notes}


MEMBERS = st.sets(st.builds(Member, st.sampled_from("abc"), st.sampled_from(["", "1", "2", "3"])), max_size=5)


@settings(max_examples=200)
@given(noted=MEMBERS, now=MEMBERS, let_go=MEMBERS)
def test_a_machine_is_forgotten_only_when_it_is_let_go(
    noted: set[Member], now: set[Member], let_go: set[Member]
):
    after = remembered(noted, now, let_go)

    assert now <= set(after)
    machines = {member.machine for member in after}
    assert all(m.machine in machines for m in noted - let_go if m.machine)
    assert remembered(after, now, let_go) == after
