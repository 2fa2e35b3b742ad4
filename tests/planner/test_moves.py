"""What becomes of a guest that shall be on another host: a live move, a move while it is off, or a reason why not."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from kvmdecl_spread.solver import spread

from kvmdecl.libvirt_xml.moving import HostFiles, host_files, migrated
from kvmdecl.names import derive_uuid
from kvmdecl.pipeline import load_cluster
from kvmdecl.placement import place
from kvmdecl.plan import Action, Impact, Plan, Step
from kvmdecl.planner.resumed import resumed
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
    Member,
    Observation,
    ObservedDomain,
    ObservedPool,
    ObservedVolume,
    Role,
)
from kvmdecl.tasks import CreateVolume, DefineDomain, LeaveDomain, MoveDomain
from tests.safety.support import PLUGINS, plan_for, silent, with_state

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
    uuid, xml = derive_uuid("story", Kind.DOMAIN, "db"), xml.replace("<target bus", "<target dev='vda' bus")
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


@pytest.mark.parametrize("state", ["running", "stopped"])
@pytest.mark.parametrize(("shared", "goes"), [("true", True), ("false", False)])
def test_a_device_of_a_pool_that_both_hosts_see_keeps_nobody(
    tmp_path: Path, state: str, shared: str, goes: bool
):
    keys = f"state: {state}, disks: {{data: {{size: 1GiB, pool: lvm, format: raw}}}}"
    pool = f"storage:\n  lvm: {{type: logical, source: vg, shared: {shared}}}\n"
    text = MANIFEST.replace("storage:\n", pool)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.planner.test_moves.MANIFEST", text)
        plan = make(tmp_path, keys)

    assert [step.task.devices for step in moves(plan)] == ([("/dev/vg/db.data.raw",)] if goes else [])
    assert bool(plan.blocked) is not goes


SHARE = "memory: {size: 1GiB, source: memfd, access: shared}, shares: {data: {path: /srv/data}}"


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        (SHARE, "it shares directories of its host"),
        ("disks: {data: {source: /dev/sdb, format: raw}}", "is a device of its host"),
        (
            "state: stopped, disks: {data: {size: 1GiB, pool: own}}",
            "own/db.data.qcow2 stands on /srv/own/base.img, which kvm-2 does not have",
        ),
        (
            "disks: {data: {volume: old.img, pool: own, format: raw}}",
            "its disk data is a volume of own that was not made",
        ),
    ],
)
def test_what_cannot_come_along_keeps_a_guest_where_it_is(tmp_path: Path, keys: str, why: str):
    seen = hosts(tmp_path, keys)
    seen["kvm-1"] = with_disk(seen["kvm-1"], backing="/srv/own/base.img")
    plan = plan_for(write(tmp_path, keys, "kvm-2"), seen)

    assert [found.code for found in plan.blocked] == ["move.cannot-move"]
    assert why in plan.blocked[0].summary
    assert not moves(plan)


@pytest.mark.parametrize(
    ("keys", "files", "told"),
    [
        ("firmware: uefi", ("firmware",), "the variables of its firmware are copied"),
        ("tpm: emulator", ("tpm",), "the state of its TPM is copied"),
        (
            "firmware: uefi, state: running",
            (),
            "libvirt leaves a file with the variables of its firmware on kvm-1",
        ),
        ("tpm: emulator, state: running", (), "then it stays where it is"),
    ],
)
def test_what_a_guest_keeps_in_files_of_its_host_comes_along_and_is_deleted_there_then(
    tmp_path: Path, keys: str, files: tuple[str, ...], told: str
):
    plan = make(tmp_path, keys if "state" in keys else f"{keys}, state: stopped")

    (move,) = moves(plan)
    left = [step for step in plan.steps if isinstance(step.task, LeaveDomain)]
    assert (move.task.files, told in move.changes[0].why) == (files, True)
    assert [(step.task.files, step.after) for step in left] == ([(files, (move.address,))] if files else [])


def test_files_that_a_cut_off_move_left_are_deleted_where_the_guest_is_not(tmp_path: Path):
    seen = hosts(tmp_path, "memory: 1GiB, firmware: uefi")
    noted = Ledger("story", (LedgerEntry(Kind.DOMAIN, "db", "db", "firmware", complete=True),))
    for host in ("kvm-1", "kvm-3"):
        seen[host] = replace(seen[host], state=replace(seen[host].state, ledgers=(noted,)))

    plan = plan_for(write(tmp_path, "memory: 1GiB, firmware: uefi"), seen)

    (step,) = (step for step in plan.steps if isinstance(step.task, LeaveDomain))
    assert (str(step.address), step.task.files) == ("kvm-3/domain/db", ("firmware",))
    assert "the variables of its firmware, which kvm-1 has, too, are deleted here" in step.summary


OWN = "disks: {data: {size: 1GiB, pool: own}}"


@pytest.mark.parametrize(
    ("keys", "live", "impact", "why"),
    [
        (OWN, True, Impact.MIGRATE, "1h at most, then it stays where it is; 3MiB of its disks are copied"),
        (
            f"{OWN}, state: stopped",
            False,
            Impact.NONE,
            "3MiB of its disks are copied, and stay on kvm-1, too",
        ),
        (
            f"{OWN}, restart: now, {SHARE}",
            False,
            Impact.DOWNTIME,
            "it is off while 3MiB of its disks are copied",
        ),
    ],
)
def test_disks_that_only_its_host_sees_come_along(
    tmp_path: Path, keys: str, live: bool, impact: Impact, why: str
):
    seen = hosts(tmp_path, keys)
    seen["kvm-1"] = with_disk(seen["kvm-1"])
    plan = plan_for(write(tmp_path, keys, "kvm-2"), seen)

    (step,) = moves(plan)
    (made,) = (other.task for other in plan.steps if isinstance(other.task, CreateVolume))
    assert (step.task.live, step.impact, why in step.changes[0].why) == (live, impact, True)
    assert step.task.copied == (("vda", "own/db.data.qcow2"),)
    assert (made.moves_from, made.capacity) == ("kvm-1", 1 << 30)


def with_disk(seen: Observation, backing: str | None = None) -> Observation:
    """The host with the volume of the guest's disk."""
    size, path = 1 << 30, "/srv/own/db.data.qcow2"
    volume = ObservedVolume("own", "db.data.qcow2", path, "qcow2", size, 3 << 20, backing)
    uuid = derive_uuid("story", Kind.POOL, "own")
    xml = f"<pool type='dir'><name>own</name><uuid>{uuid}</uuid><target><path>/srv/own</path></target></pool>"
    pool = ObservedPool("own", uuid, xml, True, True, 1 << 40, 1 << 40, (volume,))
    return replace(seen, state=replace(seen.state, pools=(pool,)))


def test_a_guest_that_cannot_go_while_it_runs_is_moved_off_only_where_it_may_restart(tmp_path: Path):
    (step,) = moves(make(tmp_path, f"{SHARE}, restart: now"))

    assert (step.task.live, step.task.power, step.impact) == (False, "restart", Impact.RESTART)
    assert "it shares directories of its host" in step.changes[0].why


def test_a_guest_that_arrived_before_its_run_broke_off_is_started_when_that_is_resumed(tmp_path: Path):
    plan = make(tmp_path, f"{SHARE}, restart: now")
    (step,) = moves(plan)
    arrived = replace(guest(step.task.xml, active=False), uuid=step.task.uuid)
    seen = {name: with_state(name, HostState()) for name in ("kvm-1", "kvm-3")}
    seen["kvm-2"] = with_state("kvm-2", HostState(domains=(arrived,)))

    rest = resumed(plan, done=(), begun=[step.address], observations=seen)

    (again,) = (s for s in rest.steps if isinstance(s.task, DefineDomain | MoveDomain))
    assert (again.address, again.task.power) == (step.address, "start")


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


@pytest.mark.parametrize(("other_is", "gone"), [("running", True), ("silent", False)])
def test_what_a_migration_left_halted_is_ended_where_its_other_self_runs_and_waits_where_nobody_knows(
    tmp_path: Path, other_is: str, gone: bool
):
    """libvirt leaves it so when its client dies after the guest went on, and before the source was told."""
    seen = hosts(tmp_path, "memory: 1GiB")
    there = seen["kvm-1"]
    halted = with_state("kvm-2", HostState(domains=(replace(there.state.domains[0], halted=True),)))
    seen |= {"kvm-2": halted, "kvm-1": there if other_is == "running" else silent("kvm-1")}

    plan = plan_for(write(tmp_path, "memory: 1GiB", to="kvm-1" if gone else "kvm-3"), seen)

    left = [step for step in plan.steps if isinstance(step.task, LeaveDomain)]
    assert [str(step.address) for step in left] == (["kvm-2/domain/db"] if gone else [])
    assert not gone or "what its migration halted there is ended, for it went on" in left[0].summary
    assert not moves(plan)


def halted_on(seen: dict[str, Observation], host: str) -> dict[str, Observation]:
    there = replace(seen["kvm-1"].state.domains[0], halted=True)
    return seen | {
        "kvm-1": with_state("kvm-1", HostState()),
        host: with_state(host, HostState(domains=(there,))),
    }


@pytest.mark.parametrize(
    ("state", "power", "before"),
    [("running", "resume", "halted"), ("unmanaged", "resume", "halted"), ("stopped", "shutdown", "running")],
)
def test_a_guest_that_a_migration_left_halted_on_its_only_host_goes_on_there(
    tmp_path: Path, state: str, power: str, before: str
):
    seen = halted_on(hosts(tmp_path, "memory: 1GiB", active=True), "kvm-1")

    plan = plan_for(write(tmp_path, f"memory: 1GiB, state: {state}"), seen)

    (step,) = (step for step in plan.steps if isinstance(step.task, DefineDomain))
    assert (step.task.power, [c.before for c in step.changes]) == (power, [before])
    assert not plan.blocked


@pytest.mark.parametrize("to", ["kvm-1", "kvm-2"])
def test_a_halted_guest_that_another_host_has_too_is_left_as_it_is_and_so_is_the_other(
    tmp_path: Path, to: str
):
    seen = halted_on(hosts(tmp_path, "memory: 1GiB"), "kvm-1")
    ended = replace(seen["kvm-1"].state.domains[0], active=False, halted=False, live_xml=None)
    seen["kvm-2"] = with_state("kvm-2", HostState(domains=(ended,)))

    plan = plan_for(write(tmp_path, "memory: 1GiB", to), seen)

    assert not [step for step in plan.steps if step.address.kind is Kind.DOMAIN]
    assert [found.code for found in plan.blocked] == ["move.halted"]


def test_a_halted_guest_waits_for_a_host_that_left_the_manifest(tmp_path: Path):
    seen = halted_on(hosts(tmp_path, "memory: 1GiB"), "kvm-1")
    noted = Ledger("story", hosts=(Member("kvm-9", "11111111-2222-3333-4444-555555555555"),))
    seen["kvm-1"] = replace(seen["kvm-1"], state=replace(seen["kvm-1"].state, ledgers=(noted,)))

    plan = plan_for(write(tmp_path, "memory: 1GiB"), seen)

    assert not [step for step in plan.steps if step.address.kind is Kind.DOMAIN]


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


def test_of_an_entry_no_more_guests_are_off_for_their_move_than_may_be(tmp_path: Path):
    path = tmp_path / "cluster.yaml"
    entry = "vms: {db: {count: 2, host: kvm-1, restart: now, " + SHARE + "}}\nrollout: {max_unavailable: 1}\n"
    path.write_text(MANIFEST.partition("vms:\n")[0] + entry)
    seen = as_planned(plan_for(path, {}))
    path.write_text(path.read_text().replace("host: kvm-1", "host: kvm-2"))

    first, second = sorted(moves(plan_for(path, seen)), key=lambda step: len(step.after))

    assert (first.impact, first.after, second.after) == (Impact.RESTART, (), (first.address,))


def as_planned(plan: Plan) -> dict[str, Observation]:
    """The hosts on which all guests of a plan run."""
    there: dict[str, tuple[ObservedDomain, ...]] = dict.fromkeys(("kvm-1", "kvm-2", "kvm-3"), ())
    for step in plan.steps:
        if isinstance(task := step.task, DefineDomain):
            found = ObservedDomain(task.name, task.uuid, task.xml, task.xml, True, True, True, False)
            there[step.address.host] += (found,)
    return {name: with_state(name, HostState(domains=guests)) for name, guests in there.items()}


def swap(folder: Path, sizes: tuple[str, str], names: tuple[str, str], third: str = "1GiB") -> Plan:
    """The plan by which a of kvm-1 and b of kvm-2 go to these hosts of 64 GiB, beside a guest of kvm-3."""
    path = folder / "cluster.yaml"
    hosts = "".join(MANIFEST.partition("vms:\n")[:2])

    def at(*where: str) -> Path:
        rows = zip("abc", (*sizes, third), where, strict=True)
        path.write_text(hosts + "".join(f"  {vm}: {{host: {to}, memory: {size}}}\n" for vm, size, to in rows))
        return path

    seen = as_planned(plan_for(at("kvm-1", "kvm-2", "kvm-3"), {}))
    return plan_for(at(*names, "kvm-3"), seen)


def left_on(seen: dict[str, Observation], host: str) -> dict[str, Observation]:
    """The hosts, of which another one has the disk, too, that the guest has where it is."""
    here = with_disk(seen["kvm-1"]).state
    left = replace(seen[host], state=replace(seen[host].state, pools=here.pools, ledgers=here.ledgers))
    return seen | {"kvm-1": replace(seen["kvm-1"], state=here), host: left}


@pytest.mark.parametrize(
    ("left", "deletions", "told"),
    [("keep", [], ["move.left-behind"]), ("delete", ["kvm-3/volume/own/db.data.qcow2"], [])],
)
def test_what_a_guest_left_behind_is_deleted_by_name_if_the_manifest_says_so(
    tmp_path: Path, left: str, deletions: list[str], told: list[str]
):
    keys = f"{OWN}, migration: {{left: {left}}}"
    plan = plan_for(write(tmp_path, keys), left_on(hosts(tmp_path, keys), "kvm-3"))

    assert [name for step in plan.steps for name in step.deletions] == deletions
    assert [found.code for found in plan.notes if found.code.startswith("move.")] == told
    assert all(step.impact is Impact.DATA_LOSS for step in plan.steps if step.deletions)


@pytest.mark.parametrize("but", ["torn", "gone", "moving", "used", "beneath"])
def test_a_copy_is_not_deleted_unless_its_guest_is_elsewhere_with_its_own(tmp_path: Path, but: str):
    keys = f"{OWN}, migration: {{left: delete}}"
    seen = left_on(hosts(tmp_path, keys), "kvm-3")
    here, there = seen["kvm-1"].state, seen["kvm-3"].state
    (pool,), (disk,) = there.pools, there.pools[0].volumes
    match but:
        case "torn":
            entries = tuple(replace(entry, complete=False) for entry in here.ledgers[0].entries)
            here = replace(here, ledgers=(replace(here.ledgers[0], entries=entries),))
        case "gone":
            here = replace(here, pools=(replace(here.pools[0], volumes=()),))
        case "used":
            disks = f"<disk><source file='{disk.path}'/><target dev='a'/></disk>"
            other = f"<domain><devices>{disks}</devices></domain>"
            there = replace(
                there, domains=(ObservedDomain("x", "x", other, None, False, True, False, False),)
            )
        case "beneath":
            above = replace(disk, name="x", path="/srv/own/x", backing=disk.path)
            there = replace(there, pools=(replace(pool, volumes=(disk, above)),))
    seen["kvm-1"], seen["kvm-3"] = replace(seen["kvm-1"], state=here), replace(seen["kvm-3"], state=there)

    plan = plan_for(write(tmp_path, keys, "kvm-2" if but == "moving" else "kvm-1"), seen)

    assert not [step for step in plan.steps if step.deletions]


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


@pytest.mark.parametrize(
    ("os", "devices", "found"),
    [
        ("<os/>", "", ()),
        ("<os firmware='efi'/>", "", (HostFiles("firmware", "/var/lib/libvirt/qemu/nvram", "db_VARS.fd"),)),
        ("<os><nvram>/srv/x.fd</nvram></os>", "", (HostFiles("firmware", "/srv", "x.fd"),)),
        (
            "<os><nvram type='file'><source file='/srv/x.fd'/></nvram></os>",
            "",
            (HostFiles("firmware", "/srv", "x.fd"),),
        ),
        ("<os><nvram type='network'><source protocol='nbd'/></nvram></os>", "", ()),
        (
            "<os/>",
            "<tpm><backend type='emulator' version='2.0'/></tpm>",
            (HostFiles("tpm", "/var/lib/libvirt/swtpm/u/tpm2"),),
        ),
        (
            "<os/>",
            "<tpm><backend type='emulator' version='1.2'/></tpm>",
            (HostFiles("tpm", "/var/lib/libvirt/swtpm/u/tpm1.2"),),
        ),
        (
            "<os/>",
            "<tpm><backend type='emulator'><source type='file' path='/srv/t'/></backend></tpm>",
            (HostFiles("tpm", "/srv", "t"),),
        ),
        ("<os/>", "<tpm><backend type='passthrough'/></tpm>", ()),
    ],
)
def test_where_a_guest_has_files_on_its_host(os: str, devices: str, found: tuple[HostFiles, ...]):
    xml = f"<domain><name>db</name><uuid>u</uuid>{os}<devices>{devices}</devices></domain>"

    assert host_files(xml) == found


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


@pytest.mark.parametrize(
    ("migration", "told"),
    [
        ("{}", False),
        ("post-copy", True),
        ("{on_timeout: suspend}", False),
        ("{on_timeout: post-copy}", True),
    ],
)
def test_a_plan_says_where_a_move_may_cost_the_guest(tmp_path: Path, migration: str, told: bool):
    (step,) = moves(make(tmp_path, f"migration: {migration}"))

    assert ("it is lost if a host or its libvirtd dies" in step.changes[0].why) is told
