"""What cannot be seen is not gone: no guest is made that may run elsewhere, and no disk that may only be hidden."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvmdecl.names import derive_uuid
from kvmdecl.plan import Action, Plan
from kvmdecl.planner.destroy import make_destroy_plan
from kvmdecl.snapshot import load_snapshots
from kvmdecl.state import (
    HostSnapshot,
    HostState,
    Kind,
    Ledger,
    LedgerEntry,
    ObservedDomain,
    ObservedVolume,
)
from tests.safety.support import BEFORE, PLUGINS, plan_for, silent, with_state

if TYPE_CHECKING:
    from pathlib import Path

    from kvmdecl.state import Observation

HOSTS = ("kvm-1", "kvm-2", "kvm-3", "kvm-4")
VMS = ("a", "b", "c", "d", "e")
HEAD = """\
apiVersion: kvmdecl/v1
cluster: story
hosts:
  kvm-{1..4}: {uri: "qemu+tls://{name}.example/system"}
storage:
  vms: {path: /srv/vms}
  side: {path: /srv/side, hosts: [kvm-1, kvm-2]}
"""


def guest(name: str, *, active: bool = True) -> ObservedDomain:
    uuid = derive_uuid("story", Kind.DOMAIN, name)
    xml = f"<domain type='kvm'><name>{name}</name><uuid>{uuid}</uuid><memory>65536</memory><vcpu>1</vcpu></domain>"
    return ObservedDomain(name, uuid, xml, xml if active else None, active, True, False, False)


def created(plan: Plan) -> set[str]:
    return {
        step.address.name
        for step in plan.steps
        if step.address.kind is Kind.DOMAIN and step.action is Action.CREATE
    }


def state(*domains: ObservedDomain, disks_of: str = "") -> HostState:
    """A host's state: these domains, and the ledger of a guest's disk."""
    entry = LedgerEntry(Kind.VOLUME, f"vms/{disks_of}.root.qcow2", disks_of, "", complete=True)
    return HostState(domains=domains, ledgers=(Ledger("story", (entry,)),) if disks_of else ())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("unknown")


@settings(max_examples=150)
@given(
    where=st.fixed_dictionaries({vm: st.sampled_from([None, *HOSTS]) for vm in VMS}),
    quiet=st.sets(st.sampled_from(HOSTS)),
    pools=st.fixed_dictionaries({vm: st.sampled_from(["vms", "side"]) for vm in VMS}),
    named=st.fixed_dictionaries({vm: st.sampled_from(["", "host: kvm-1, ", "host: kvm-2, "]) for vm in VMS}),
)
def test_no_guest_is_made_that_is_or_may_be_somewhere(
    folder: Path, where: dict[str, str | None], quiet: set[str], pools: dict[str, str], named: dict[str, str]
):
    manifest = folder / "cluster.yaml"
    lines = [f"  {vm}: {{{named[vm]}disk: {{size: 8MiB, pool: {pools[vm]}}}}}\n" for vm in VMS]
    manifest.write_text(HEAD + "vms:\n" + "".join(lines))
    seen: dict[str, Observation] = {
        host: with_state(host, HostState(domains=tuple(guest(vm) for vm in VMS if where[vm] == host)))
        for host in HOSTS
    }

    try:
        plan = plan_for(manifest, seen | {host: silent(host) for host in quiet})
    except Exception as refused:  # noqa: BLE001 - a guest may be stranded; that is said, and nothing is planned
        assert "placement.stranded" in str(refused)  # noqa: PT017 - most examples are not refused
        return

    allowed = {vm for vm in VMS if where[vm] is None and not quiet}
    assert created(plan) == allowed
    assert not any(step.action is Action.DELETE for step in plan.steps)
    assert not any(step.address.host in quiet for step in plan.steps)


def manifest_of(folder: Path, vms: str) -> Path:
    path = folder / "cluster.yaml"
    path.write_text(HEAD + f"vms: {vms}\n")
    return path


@pytest.mark.parametrize("disks_of", ["", "a"], ids=["all it has is on a silent host", "its disks are here"])
def test_a_guest_that_is_not_on_the_host_it_names_is_not_made_there_while_another_is_silent(
    disks_of: str, tmp_path: Path
):
    path = manifest_of(tmp_path, "{a: {host: kvm-1, disk: {size: 8MiB, pool: vms}}}")
    there, quiet = with_state("kvm-1", state(disks_of=disks_of)), {"kvm-2": silent("kvm-2")}

    plan = plan_for(path, {"kvm-1": there, **quiet})

    assert created(plan) == set()
    assert not [step for step in plan.steps if step.address.kind is Kind.VOLUME]
    assert [note.hint for note in plan.notes if note.code == "plan.undecided"] == [
        "bring the host back; or, if you know that the vm exists nowhere, add `--new a`."
    ]
    assert created(plan_for(path, {"kvm-1": there})) == {"a"}


def test_a_guest_is_made_while_a_host_is_silent_if_the_user_says_that_it_is_new(tmp_path: Path):
    path = manifest_of(tmp_path, "{a: {count: 2, host: kvm-1}, b: {host: kvm-1}}")

    plan = plan_for(path, {"kvm-2": silent("kvm-2")}, new={"a-1", "a-2"})

    assert created(plan) == {"a-1", "a-2"}
    assert [note.summary for note in plan.notes if note.code == "plan.said-to-be-new"] == [
        "made though kvm-2 cannot be asked: a-1, a-2"
    ]


@pytest.mark.parametrize("home", HOSTS)
def test_a_guest_comes_back_to_its_disks(home: str, tmp_path: Path):
    path = manifest_of(tmp_path, "{a: {disk: {size: 8MiB, pool: vms}}}")

    plan = plan_for(path, {home: with_state(home, state(disks_of="a"))})

    assert [s.address.host for s in plan.steps if s.address.kind is Kind.DOMAIN] == [home]


# -- disks --------------------------------------------------------------------------------------------------


def recorded() -> HostSnapshot:
    return load_snapshots(BEFORE / "observed")["kvm-1"]


def with_pools(seen: HostSnapshot, *, active: bool) -> HostSnapshot:
    """The host with its pools emptied, or stopped."""
    pools = tuple(replace(pool, active=active, volumes=()) for pool in seen.state.pools)
    return replace(seen, state=replace(seen.state, pools=pools))


def volumes(plan: Plan) -> list[str]:
    return [
        step.address.name
        for step in plan.steps
        if step.address.kind is Kind.VOLUME and step.address.host == "kvm-1"
    ]


def test_a_disk_that_vanished_from_its_pool_is_never_made_anew_and_its_guest_not_started():
    seen = recorded()
    off = tuple(replace(domain, active=False, live_xml=None) for domain in seen.state.domains)
    seen = replace(seen, state=replace(seen.state, domains=off))

    plan = plan_for(BEFORE / "cluster.yaml", {"kvm-1": with_pools(seen, active=True)})

    assert [found.code for found in plan.blocked] == [
        "plan.held",
        "plan.volume-vanished",
        "plan.volume-vanished",
    ]
    assert not [name for name in volumes(plan) if "qcow2" in name and "tiny" not in name]
    assert not [s for s in plan.steps if s.address.kind is Kind.DOMAIN]


def test_volumes_of_a_stopped_pool_are_not_taken_for_gone():
    plan = plan_for(BEFORE / "cluster.yaml", {"kvm-1": with_pools(recorded(), active=False)})

    assert volumes(plan) == []
    assert [str(s.address) for s in plan.steps if s.address.host == "kvm-1"] == ["kvm-1/pool/vms"]


# -- destroy ------------------------------------------------------------------------------------------------


def destroy(seen: HostSnapshot, *names: str) -> Plan:
    from kvmdecl.pipeline import load_cluster

    cluster = load_cluster(BEFORE / "cluster.yaml", PLUGINS)
    return make_destroy_plan(
        cluster,
        {"kvm-1": seen, "kvm-2": silent("kvm-2")},
        frozenset(f"kvm-1/volume/{name}" for name in names),
    )


def found_volume(part: str) -> ObservedVolume:
    (pool,) = recorded().state.pools
    return next(volume for volume in pool.volumes if part in volume.name)


def test_an_image_is_kept_while_a_disk_that_is_kept_stands_on_it():
    image, root = found_volume("tiny"), found_volume("root")
    assert root.backing == image.path

    alone = destroy(recorded(), f"vms/{image.name}")
    both = destroy(recorded(), f"vms/{image.name}", f"vms/{root.name}")

    assert volumes(alone) == []
    assert "destroy.volume-in-use" in {note.code for note in alone.notes}
    assert "destroy.no-such-volume" not in {note.code for note in alone.notes}
    assert sorted(volumes(both)) == sorted([f"vms/{image.name}", f"vms/{root.name}"])


def test_a_guest_whose_disk_is_deleted_with_it_is_not_said_to_leave_it():
    root = found_volume("root")

    def said(plan: Plan) -> set[str]:
        return {step.summary.split("; ")[1] for step in plan.steps if step.address.kind is Kind.DOMAIN}

    assert said(destroy(recorded())) == {"its volumes stay"}
    assert "its other volumes stay" in said(destroy(recorded(), f"vms/{root.name}"))


def test_a_volume_that_a_guest_of_others_uses_is_kept():
    disk = found_volume("data")
    xml = (
        "<domain><name>x</name><uuid>11111111-1111-1111-1111-111111111111</uuid><devices>"
        f"<disk type='file'><source file='{disk.path}'/></disk></devices></domain>"
    )
    other = ObservedDomain("x", "11111111-1111-1111-1111-111111111111", xml, None, False, True, False, False)
    seen = recorded()
    shared = replace(seen, state=replace(seen.state, domains=(*seen.state.domains, other)))

    assert volumes(destroy(seen, f"vms/{disk.name}")) == [f"vms/{disk.name}"]
    assert volumes(destroy(shared, f"vms/{disk.name}")) == []
