"""What becomes of a guest that shall be on another host: a live move, a move while it is off, or a reason why not."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from kvmdecl_spread.solver import spread

from kvmdecl.libvirt_xml.moving import migrated
from kvmdecl.names import derive_uuid
from kvmdecl.pipeline import load_cluster
from kvmdecl.placement import place
from kvmdecl.plan import Action, Impact, Plan, Step
from kvmdecl.planner.verdict import HostView
from kvmdecl.planner.volumes import plan_volume
from kvmdecl.scenario import example_host
from kvmdecl.state import (
    Address,
    DesiredVolume,
    HostState,
    Kind,
    Ledger,
    LedgerEntry,
    Observation,
    ObservedDomain,
    ObservedPool,
    ObservedVolume,
    Role,
)
from kvmdecl.tasks import CreateVolume, DefineDomain, LeaveDomain, MoveDomain
from tests.safety.support import PLUGINS, plan_for, with_state

if TYPE_CHECKING:
    from pathlib import Path

MANIFEST = """\
apiVersion: kvmdecl/v1
cluster: story
hosts:
  kvm-{1..3}: {uri: "qemu+tls://{name}.example/system"}
storage:
  own: {path: /srv/own}
  all: {path: /srv/all, shared: true}
vms:
  db: {host: kvm-1, KEYS}
"""


def make(folder: Path, keys: str, *, to: str = "kvm-2", then: str = "") -> Plan:
    """The plan that moves `db` from kvm-1, where it is as the manifest said with these keys."""
    seen = hosts(folder, keys)
    return plan_for(write(folder, keys, to, then), seen)


def write(folder: Path, keys: str, to: str = "kvm-1", then: str = "") -> Path:
    path = folder / "cluster.yaml"
    path.write_text(MANIFEST.replace("KEYS", keys).replace("host: kvm-1, ", f"host: {to}, ") + then)
    return path


def hosts(folder: Path, keys: str, *, active: bool | None = None) -> dict[str, Observation]:
    first = plan_for(write(folder, keys), {})
    task = next(step.task for step in first.steps if step.address.kind is Kind.DOMAIN)
    runs = task.power == "start" if active is None else active
    found = {name: example_host(name) for name in ("kvm-1", "kvm-2", "kvm-3")}
    state = HostState(domains=(guest(task.xml, active=runs),), ledgers=(noted(first),))
    return found | {"kvm-1": replace(found["kvm-1"], state=state)}


def guest(xml: str, *, active: bool) -> ObservedDomain:
    uuid = derive_uuid("story", Kind.DOMAIN, "db")
    return ObservedDomain("db", uuid, xml, xml if active else None, active, True, True, False)


def noted(plan: Plan) -> Ledger:
    made = [step.task for step in plan.steps if isinstance(step.task, CreateVolume)]
    return Ledger(
        "story",
        tuple(LedgerEntry(Kind.VOLUME, f"{t.pool}/{t.name}", t.owner, "", complete=True) for t in made),
    )


def moves(plan: Plan) -> list[Step]:
    return [step for step in plan.steps if isinstance(step.task, MoveDomain)]


@pytest.mark.parametrize(
    ("keys", "live", "power", "impact"),
    [
        ("memory: 1GiB", True, "keep", Impact.MIGRATE),
        ("state: stopped", False, "keep", Impact.NONE),
        ("state: unmanaged", False, "keep", Impact.NONE),
        ("disks: {data: {size: 1GiB, pool: all}}", True, "keep", Impact.MIGRATE),
    ],
)
def test_a_guest_goes_live_if_it_runs(tmp_path: Path, keys: str, live: bool, power: str, impact: Impact):
    plan = make(tmp_path, keys)

    (step,) = moves(plan)
    assert (str(step.address), str(step.seat)) == ("kvm-2/domain/db", "kvm-1/domain/db")
    assert step.action is Action.MOVE
    assert (step.task.live, step.task.power, step.impact) == (live, power, impact)
    assert not plan.blocked


SHARE = "memory: {size: 1GiB, source: memfd, access: shared}, shares: {data: {path: /srv/data}}"


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        (SHARE, "it shares directories of its host"),
        ("disks: {data: {source: /dev/sdb, format: raw}}", "is a device of its host"),
        (
            "state: stopped, disks: {data: {size: 1GiB, pool: own}}",
            "own/db.data.qcow2 is on storage that only",
        ),
        ("state: stopped, firmware: uefi", "its firmware keeps its variables"),
        (
            "disks: {data: {volume: old.img, pool: own, format: raw}}",
            "its disk data is a volume of own that was not made",
        ),
    ],
)
def test_what_cannot_come_along_keeps_a_guest_where_it_is(tmp_path: Path, keys: str, why: str):
    plan = make(tmp_path, keys)

    assert [found.code for found in plan.blocked] == ["move.cannot-move"]
    assert why in plan.blocked[0].summary
    assert not moves(plan)


def test_a_guest_that_cannot_go_while_it_runs_is_moved_off_only_where_it_may_restart(tmp_path: Path):
    (step,) = moves(make(tmp_path, f"{SHARE}, restart: now"))

    assert (step.task.live, step.task.power, step.impact) == (False, "restart", Impact.RESTART)
    assert "it shares directories of its host" in step.changes[0].why


def test_what_only_its_host_notes_of_shared_disks_is_noted_on_the_other_one(tmp_path: Path):
    plan = make(tmp_path, "disks: {data: {size: 1GiB, pool: all}}")

    (move,) = moves(plan)
    (leave,) = (step for step in plan.steps if isinstance(step.task, LeaveDomain))
    assert tuple(e.name for e in move.task.volumes) == leave.task.volumes == ("all/db.data.qcow2",)
    assert (str(leave.address), leave.after) == ("kvm-1/domain/db", (move.address,))


def test_a_definition_that_a_move_left_is_taken_away_and_the_guest_stays_where_it_runs(tmp_path: Path):
    seen = hosts(tmp_path, "memory: 1GiB")
    there = seen["kvm-1"].state.domains[0]
    stale = replace(there, active=False, live_xml=None)
    seen["kvm-2"] = replace(seen["kvm-2"], state=HostState(domains=(stale,)))

    plan = plan_for(write(tmp_path, "memory: 1GiB"), seen)

    assert [(str(step.address), type(step.task)) for step in plan.steps if step.action is Action.MOVE] == [
        ("kvm-2/domain/db", LeaveDomain)
    ]


def test_a_guest_that_is_off_on_two_hosts_is_where_the_manifest_wants_it(tmp_path: Path):
    seen = hosts(tmp_path, "memory: 1GiB", active=False)
    seen["kvm-2"] = replace(seen["kvm-2"], state=HostState(domains=seen["kvm-1"].state.domains))

    plan = plan_for(write(tmp_path, "memory: 1GiB", "kvm-2"), seen)

    (leave,) = (step for step in plan.steps if isinstance(step.task, LeaveDomain))
    start = next(step for step in plan.steps if str(step.address) == "kvm-2/domain/db")
    assert str(leave.address) == "kvm-1/domain/db"
    assert leave.address in start.after  # gone there before it is started here


def test_a_host_in_maintenance_is_left_by_its_guests_that_name_no_host(tmp_path: Path):
    seen = hosts(tmp_path, "memory: 1GiB")

    (step,) = moves(plan_for(drained(tmp_path, "memory: 1GiB"), seen))

    assert step.task.source == "kvm-1"
    assert step.address.host in {"kvm-2", "kvm-3"}


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ("host: kvm-1", "the manifest says `host: kvm-1`"),
        ("memory: 4TiB", "no other host can take it"),
    ],
)
def test_who_cannot_leave_a_host_in_maintenance_stays_and_is_told_why(tmp_path: Path, keys: str, why: str):
    seen = hosts(tmp_path, "memory: 1GiB")
    cluster = load_cluster(drained(tmp_path, keys), PLUGINS)

    placed = place(cluster, seen, spread)

    assert [(vm.host, placed.moves) for vm in placed.vms] == [("kvm-1", {})]
    assert [found.code for found in placed.stays] == ["placement.stays"]
    assert why in placed.stays[0].summary


def drained(folder: Path, keys: str) -> Path:
    path = write(folder, keys)
    text = path.read_text().replace("host: kvm-1, ", "")
    first = '  kvm-1: {uri: "qemu+tls://kvm-1.example/system", maintenance: true}'
    path.write_text(text.replace("  kvm-{1..3}:", f"{first}\n  kvm-{{2..3}}:"))
    return path


def test_guests_of_full_hosts_swap_by_a_third_one(tmp_path: Path):
    plan = swap(tmp_path, sizes=("40GiB", "40GiB"), names=("kvm-2", "kvm-1"))

    ways = {str(step.address): [str(other) for other in step.after] for step in moves(plan)}
    assert ways == {
        "kvm-3/domain/a": [],
        "kvm-1/domain/b": ["kvm-3/domain/a"],
        "kvm-2/domain/a": ["kvm-3/domain/a", "kvm-1/domain/b"],
    }
    assert [(step.task.source, step.task.passing, step.task.goes_on) for step in moves(plan)] == [
        ("kvm-2", False, False),
        ("kvm-3", False, True),
        ("kvm-1", True, False),
    ]


def test_guests_that_have_no_third_host_to_go_by_stay_and_the_plan_says_who_waits_for_whom(tmp_path: Path):
    plan = swap(tmp_path, sizes=("40GiB", "40GiB"), names=("kvm-2", "kvm-1"), third="30GiB")

    assert not moves(plan)
    assert [found.code for found in plan.blocked] == ["move.cannot-move"] * 2
    assert "kvm-2 has room for it only when b left, which waits for room itself" in plan.blocked[0].summary


def swap(folder: Path, sizes: tuple[str, str], names: tuple[str, str], third: str = "1GiB") -> Plan:
    """The plan by which a of kvm-1 and b of kvm-2 go to these hosts of 64 GiB, beside a guest of kvm-3."""
    path = folder / "cluster.yaml"
    hosts = "".join(MANIFEST.partition("vms:\n")[:2])

    def at(*where: str) -> Path:
        rows = zip("abc", (*sizes, third), where, strict=True)
        path.write_text(hosts + "".join(f"  {vm}: {{host: {to}, memory: {size}}}\n" for vm, size, to in rows))
        return path

    seen: dict[str, Observation] = {name: example_host(name) for name in ("kvm-1", "kvm-2", "kvm-3")}
    for step in plan_for(at("kvm-1", "kvm-2", "kvm-3"), {}).steps:
        if isinstance(task := step.task, DefineDomain):
            there = ObservedDomain(task.name, task.uuid, task.xml, task.xml, True, True, True, False)
            seen[step.address.host] = with_state(step.address.host, HostState(domains=(there,)))
    return plan_for(at(*names, "kvm-3"), seen)


@pytest.mark.parametrize(("left", "made"), [(True, False), (False, True)])
def test_a_guest_that_comes_back_is_given_a_new_volume_once_what_it_left_is_deleted(left: bool, made: bool):
    name = "own/db.data.qcow2"
    volume = ObservedVolume("own", "db.data.qcow2", "/srv/own/db.data.qcow2", "qcow2", 8, 8, None)
    pool = ObservedPool("own", "", "<pool/>", True, True, 100, 100, (volume,) if left else ())
    noted = Ledger("story", (LedgerEntry(Kind.VOLUME, name, "db", "", complete=True),))
    view = HostView("kvm-1", "story", "r1", HostState(pools=(pool,), ledgers=(noted,)))
    address = Address("kvm-1", Kind.VOLUME, name)
    wanted = DesiredVolume(address, Role.DISK, "qcow2", 8, vm="db", moves_from="kvm-2")

    verdict = plan_volume(wanted, view)

    assert (verdict.step is not None) is made
    assert (verdict.blocked is not None) is left


LIVE = """<domain><name>db</name><vcpu cpuset='1-2'>2</vcpu><cputune><shares>5</shares><vcpupin vcpu='0' cpuset='1'/>
</cputune><numatune><memory mode='strict' nodeset='0'/></numatune></domain>"""


def test_a_guest_arrives_with_the_cpus_and_cells_of_its_new_host_and_keeps_all_else():
    declared = """<domain><vcpu>2</vcpu><cputune><vcpupin vcpu='0' cpuset='7'/></cputune></domain>"""

    arrives = migrated(LIVE, declared)

    assert arrives is not None
    assert "cpuset='7'" in arrives.replace('"', "'")
    assert "<shares>5</shares>" in arrives
    assert "numatune" not in arrives
    assert "1-2" not in arrives


def test_a_guest_that_is_bound_to_nothing_arrives_as_it_is():
    assert migrated("<domain><vcpu>2</vcpu></domain>", "<domain><vcpu>2</vcpu></domain>") is None


def test_a_cluster_is_loaded_with_a_policy(tmp_path: Path):
    keys = "migration: {mode: post-copy, bandwidth: 100MiB, timeout: 5m, control: hosts}"
    cluster = load_cluster(write(tmp_path, keys), PLUGINS)
    assert cluster.vms[0].spec.migration.bandwidth == 100 * 1024 * 1024

    (step,) = moves(make(tmp_path, keys))
    assert (step.task.policy.mode, step.task.policy.bandwidth, step.task.policy.timeout) == (
        "post-copy",
        100,
        300,
    )
    assert step.changes[0].how == "virDomainMigrateToURI3"
