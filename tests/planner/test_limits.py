"""A plan that deletes, restarts, moves or writes more than `limits:` allow is shown, and none of it carried out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import typer

from kvmdecl.cli import applying, planning
from kvmdecl.cli.common import Exit
from kvmdecl.diagnostics import Rejected, Span
from kvmdecl.pipeline import load_cluster
from kvmdecl.plan import Action, Fate, Impact, Plan, PlannedLimit, Prospect, Step
from kvmdecl.planner.limits import faults_of, limit_faults, limits_met, managed_guests
from kvmdecl.planner.undo import undo_plan
from kvmdecl.planner.verdict import HostView
from kvmdecl.pluginhost import load_plugins
from kvmdecl.scenario import example_host
from kvmdecl.state import (
    Address,
    DesiredDomain,
    FileContent,
    HostState,
    Kind,
    ObservedPool,
    ObservedVolume,
    Origin,
)
from kvmdecl.tasks import CreateVolume, DeleteDomain, DeleteVolume, LeaveDomain, MoveDomain
from kvmdecl.views.plan_text import render_plan

CLUSTER = """\
apiVersion: kvmdecl/v1
cluster: edge
hosts:
  kvm-{1..2}: {uri: "qemu+tls://{name}.example/system", labels: {rack: r1}}
  kvm-{3..4}: {uri: "qemu+tls://{name}.example/system", labels: {rack: r2}}
vms:
  web: {count: 8, memory: 64MiB}
  db: {memory: 64MiB}
"""
GUESTS = {f"web-{n}": f"kvm-{(n - 1) // 2 + 1}" for n in range(1, 9)} | {"db": "kvm-1"}
WHOLE = 1 << 40


def address(name: str) -> Address:
    return Address(GUESTS[name], Kind.DOMAIN, name)


def step(name: str, action: Action = Action.UPDATE, impact: Impact = Impact.RESTART) -> Step:
    return Step(address(name), action, impact, (), "", "there", DeleteDomain(name, "", stop=False))


def move(name: str, target: str, source: str = "", impact: Impact = Impact.MIGRATE) -> Step:
    """A guest goes from where it is, or from a host that it passed."""
    task = MoveDomain(name, "", source or GUESTS[name], "", None, True, "keep", True, "edge", "")
    return Step(Address(target, Kind.DOMAIN, name), Action.MOVE, impact, (), "", "there", task)


def leave(name: str) -> Step:
    return replace(step(name, Action.MOVE, Impact.NONE), task=LeaveDomain(name, "", "kvm-2", ("vms/disk",)))


def restarts(*names: str) -> list[Step]:
    return [step(name) for name in names]


def webs(*numbers: int) -> list[Step]:
    return restarts(*(f"web-{n}" for n in numbers))


def deletes(*names: str) -> list[Step]:
    return [step(name, Action.DELETE, Impact.DOWNTIME) for name in names]


def volume(task: CreateVolume | DeleteVolume, action: Action) -> Step:
    where = Address("kvm-1", Kind.VOLUME, f"{task.pool}/{task.name}")
    return Step(where, action, Impact.NONE, (), "", "", task)


def upload(size: int) -> Step:
    content = FileContent("image", "0" * 64, size)
    return volume(CreateVolume("vms", "image", "image", "raw", None, "off", None, content, ""), Action.CREATE)


def copy() -> Step:
    task = CreateVolume("vms", "copy", "disk", "raw", None, "off", None, None, "db", clone="vms/big")
    return volume(task, Action.CREATE)


def brought() -> Step:
    task = CreateVolume("vms", "disk", "disk", "raw", WHOLE, "off", None, None, "db", moves_from="kvm-2")
    return volume(task, Action.CREATE)


def gone() -> Step:
    return volume(DeleteVolume("vms", "big"), Action.DELETE)


def faults(tmp_path: Path, limits: str, steps: list[Step]) -> list[str]:
    """The keys of the limits that are exceeded, each with the line where it is written."""
    path = tmp_path / "cluster.yaml"
    path.write_text(CLUSTER + (f"limits: {limits}\n" if limits else ""))
    cluster = load_cluster(path, load_plugins())
    origins = {vm.name: vm.origin for vm in cluster.vms}
    desired = [
        DesiredDomain(address(name), "", "<domain/>", True, True, origin=origins[name]) for name in GUESTS
    ]
    big = ObservedVolume("vms", "big", "/srv/vms/big", "raw", WHOLE, 0, None)
    pool = ObservedPool("vms", "", "", True, True, 0, 0, (big,))
    views = {"kvm-1": HostView("kvm-1", "edge", "", HostState(pools=(pool,)))}
    found = list(limit_faults(cluster, steps, desired, views))
    assert {each.code for each in found} <= {"limits.exceeded"}
    assert not limits or all(each.at and each.at.line == 9 for each in found)
    return [each.summary.split("`")[1].removeprefix("limits.") for each in found]


@pytest.mark.parametrize(
    ("limits", "steps", "beyond"),
    [
        ("", webs(*range(1, 9)), []),
        ("{restarts: 2}", webs(1, 2), []),
        ("{restarts: 2}", webs(1, 2, 3), ["restarts.total"]),
        ("{restarts: 0}", webs(1), ["restarts.total"]),
        ("{restarts: 2}", deletes("web-1", "web-2", "web-3"), []),
        ("{restarts: 1}", [step("web-1", impact=Impact.DOWNTIME), *webs(2)], ["restarts.total"]),
        ("{restarts: 0}", [step("web-1", impact=Impact.NEXT_BOOT)], []),
        ("{restarts: 0}", [step("web-1", Action.CREATE, Impact.NONE)], []),
        ("{restarts: 33%}", webs(1, 2), []),  # of nine
        ("{restarts: 33%}", webs(1, 2, 3), ["restarts.total"]),
        ("{restarts: 1%}", webs(1), []),  # at least one, or nothing could ever be done
        ("{restarts: 0%}", webs(1), ["restarts.total"]),
        ("{restarts: {host: 1}}", webs(1, 3, 5, 7), []),
        ("{restarts: {host: 1}}", webs(1, 2), ["restarts.host"]),
        ("{restarts: {host: 50%}}", [*webs(1), *restarts("db")], ["restarts.host"]),
        ("{restarts: {entry: 50%}}", [*webs(1, 2, 3, 4), *restarts("db")], []),
        ("{restarts: {entry: 50%}}", webs(1, 2, 3, 4, 5), ["restarts.entry"]),
        ("{restarts: {label: {rack: 1}}}", webs(1, 5), []),
        ("{restarts: {label: {rack: 1}}}", webs(1, 3, 5, 7), ["restarts.label.rack", "restarts.label.rack"]),
        ("{deletes: 1}", deletes("web-1", "web-2"), ["deletes.total"]),
        ("{deletes: {total: 100%, host: 1}}", deletes("web-1", "web-2"), ["deletes.host"]),
        ("{migrations: 1}", [step("web-1", impact=Impact.MIGRATE)], []),
        ("{migrations: 0}", [step("web-1", impact=Impact.MIGRATE)], ["migrations.total"]),
        (
            "{migrations: {host: 1}}",
            [move("web-1", "kvm-2"), move("web-3", "kvm-3")],
            ["migrations.host"],
        ),  # kvm-2
        ("{migrations: {host: 1}}", [move("web-1", "kvm-2"), move("web-5", "kvm-4")], []),
        (
            "{migrations: {host: 50%}}",
            [move("web-1", "kvm-4")],
            [],
        ),  # of three that are on kvm-1, and two on kvm-4
        ("{migrations: {host: 50%}}", [move("web-1", "kvm-2"), move("web-2", "kvm-3")], ["migrations.host"]),
        ("{migrations: {label: {rack: 1}}}", [move("web-1", "kvm-2")], []),  # once, though both are in r1
        (
            "{migrations: {label: {rack: 1}}}",
            [move("web-1", "kvm-3"), move("web-7", "kvm-3")],
            ["migrations.label.rack"],
        ),
        ("{migrations: {entry: 1}}", [move("web-1", "kvm-2"), move("db", "kvm-2")], []),
        (
            "{migrations: 1}",
            [move("web-1", "kvm-3"), move("web-1", "kvm-2", "kvm-3"), leave("web-1")],
            [],
        ),  # by kvm-3
        (
            "{restarts: {host: 1}}",
            [move("web-1", "kvm-2", impact=Impact.RESTART), *webs(3)],
            ["restarts.host"],
        ),
        (
            "{restarts: {host: 1}}",
            [move("web-1", "kvm-2", impact=Impact.DOWNTIME), *webs(2)],
            ["restarts.host"],
        ),
        ("{restarts: {total: 1}}", [move("web-1", "kvm-2")], []),
        ("{data: {written: 5GiB}}", [upload(5 << 30)], []),
        ("{data: {written: 5GiB}}", [brought()], ["data.written"]),
        ("{data: {written: 5GiB}}", [upload(5 << 30), upload(1)], ["data.written"]),
        ("{data: {written: 5GiB}}", [copy()], ["data.written"]),
        ("", [gone()], []),
        ("", [gone(), gone()], ["data.deleted"]),
        ("{data: {deleted: 2TiB}}", [gone(), gone()], []),
    ],
)
def test_what_is_beyond_a_limit_is_found_at_its_line(
    tmp_path: Path, limits: str, steps: list[Step], beyond: list[str]
):
    assert faults(tmp_path, limits, steps) == beyond


def fate(name: str, what: Fate, dest: str = "") -> Prospect:
    at = Span("cluster.yaml", 7 if name.startswith("web") else 8, 1, 8, 2)
    return Prospect(name, what, GUESTS[name], dest or GUESTS[name], at=at)


REST = [fate(name, Fate.NONE) for name in GUESTS]
DOWN = [fate("web-1", Fate.RESTART), fate("web-2", Fate.STOP)]
MOVED = [fate("web-1", Fate.MIGRATE, "kvm-3"), fate("web-2", Fate.MIGRATE, "kvm-3")]


@pytest.mark.parametrize(
    ("limits", "prospects", "deleted", "beyond"),
    [
        ("limits: {restarts: 2}", [*DOWN, *REST], set(), []),
        ("limits: {restarts: 1}", [*DOWN, *REST], set(), ["limits.restarts.total"]),
        ("limits: {restarts: 1, deletes: 0}", [*DOWN, *REST], {"web-2"}, ["limits.deletes.total"]),
        ("limits: {restarts: 22%}", [*DOWN, *REST], set(), ["limits.restarts.total"]),  # of nine
        ("limits: {restarts: 23%}", [*DOWN, *REST], set(), []),
        ("limits: {restarts: {host: 1}}", [*DOWN, *REST], set(), ["limits.restarts.host"]),
        ("limits: {restarts: {entry: 12%}}", [*DOWN, *REST], set(), ["limits.restarts.entry"]),
        ("limits: {restarts: {entry: 25%}}", [*DOWN, *REST], set(), []),  # two of eight
        ("limits: {migrations: 1}", [*MOVED, *REST], set(), ["limits.migrations.total"]),
        (
            "limits: {migrations: {label: {rack: 1}}}",
            [*MOVED, *REST],
            set(),
            ["limits.migrations.label.rack"] * 2,
        ),
        ("rollout: {max_unavailable: 1}", [*DOWN, *REST], set(), ["rollout.max_unavailable"]),
        ("rollout: {max_unavailable: 2}", [*DOWN, *REST], set(), []),
        ("rollout: {max_unavailable: 1}", [DOWN[0], fate("db", Fate.STOP), *REST], set(), []),
        ("rollout: {max_unavailable: 1}", [*MOVED, *REST], set(), []),
        (
            "limits: {restarts: 0, migrations: 0}",
            [fate("db", Fate.START), fate("web-1", Fate.LIVE)],
            set(),
            [],
        ),
    ],
)
def test_what_a_cluster_manager_does_counts_guest_by_guest(
    tmp_path: Path, limits: str, prospects: list[Prospect], deleted: set[str], beyond: list[str]
):
    """No vm is one that libvirt runs; the step of the manager itself is none of its guests."""
    path = tmp_path / "cluster.yaml"
    path.write_text(f"{CLUSTER}{limits}\n")
    cluster = load_cluster(path, load_plugins())
    told = replace(step("db", impact=Impact.MIGRATE), address=Address("pacemaker", Kind.CLUSTER, "edge"))

    found = list(faults_of(limits_met(cluster, [told], [], {}, managed_guests(prospects, deleted))))

    assert [each.summary.split("`")[1] for each in found] == beyond
    assert all(each.at and each.at.line == 9 for each in found)


def test_without_a_word_a_plan_deletes_ten_objects_at_most(tmp_path: Path):
    networks = [
        replace(each, address=Address("kvm-1", Kind.NETWORK, f"n{number}"))
        for number, each in enumerate(deletes("db", "db"))
    ]
    assert faults(tmp_path, "", [*deletes(*GUESTS), *networks[:1]]) == []
    assert faults(tmp_path, "", [*deletes(*GUESTS), *networks]) == ["deletes.total"]


@pytest.mark.parametrize("limit", ["deletes", "restarts", "migrations"])
def test_a_limit_by_a_label_that_no_host_has_would_bound_nothing_and_is_refused(tmp_path: Path, limit: str):
    path = tmp_path / "cluster.yaml"
    path.write_text(f"{CLUSTER}limits: {{{limit}: {{label: {{rak: 1}}}}}}\n")

    with pytest.raises(Rejected) as rejected:
        load_cluster(path, load_plugins())
    (found,) = rejected.value.diagnostics
    assert (found.code, found.at.line if found.at else 0) == ("reference.unknown-label", 9)
    assert found.hint == "did you mean `rack`?"


@pytest.mark.parametrize(("count", "told"), [(2, ""), (3, "Limits: restarts.host on kvm-1 3 of 4 (50%)\n")])
def test_a_plan_tells_of_limits_that_it_uses_up_for_the_most_part(count: int, told: str):
    limit = PlannedLimit("restarts.host", "50%", " on kvm-1", count, 4)
    text = render_plan(Plan("edge", "r", (), tuple(webs(1)), 0, limits=(limit,)), color=False)

    assert told in text
    assert ("Limits" in text) is bool(told)


def test_a_plan_beyond_a_limit_says_so_and_ends_with_4(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "cluster.yaml"
    path.write_text(CLUSTER + "limits: {restarts: {host: 1}}\n")
    cluster = load_cluster(path, load_plugins())
    desired = [DesiredDomain(address(n), "", "<domain/>", True, True, origin=Origin()) for n in GUESTS]
    found = tuple(limit_faults(cluster, webs(1, 2), desired, {}))
    plan = Plan("edge", "r", (), tuple(webs(1)), 0, exceeded=found)

    assert render_plan(plan, color=False, next_command="kvmdecl apply").splitlines()[-1] == (
        "Beyond 1 limit of the manifest: nothing of it can be carried out."
    )
    assert found[0].summary == (
        "the plan would restart or shut down 2 guests on kvm-1,"
        " and `limits.restarts.host` does not allow that: 1 is 1 here"
    )
    assert planning.exit_code(plan, detailed=False) is Exit.BLOCKED
    with pytest.raises(typer.Exit) as ended:
        applying.require_allowed(plan)
    assert ended.value.exit_code == 4
    assert undo_plan(plan, [], {"kvm-1": example_host("kvm-1")}).exceeded == ()
