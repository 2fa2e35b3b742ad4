"""A plan that deletes, restarts, moves or writes more than `limits:` allow is shown, and none of it carried out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import typer

from kvmdecl.cli import applying, planning
from kvmdecl.cli.common import Exit
from kvmdecl.pipeline import load_cluster
from kvmdecl.plan import Action, Impact, Plan, Step
from kvmdecl.planner.limits import limit_faults
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
from kvmdecl.tasks import CreateVolume, DeleteDomain, DeleteVolume
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
        ("{data: {written: 5GiB}}", [upload(5 << 30)], []),
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


def test_without_a_word_a_plan_deletes_ten_objects_at_most(tmp_path: Path):
    networks = [
        replace(each, address=Address("kvm-1", Kind.NETWORK, f"n{number}"))
        for number, each in enumerate(deletes("db", "db"))
    ]
    assert faults(tmp_path, "", [*deletes(*GUESTS), *networks[:1]]) == []
    assert faults(tmp_path, "", [*deletes(*GUESTS), *networks]) == ["deletes.total"]


def test_a_plan_beyond_a_limit_says_so_and_ends_with_4(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "cluster.yaml"
    path.write_text(CLUSTER + "limits: {restarts: {entry: 1}}\n")
    cluster = load_cluster(path, load_plugins())
    desired = [DesiredDomain(address(n), "", "<domain/>", True, True, origin=Origin()) for n in GUESTS]
    found = tuple(limit_faults(cluster, [*webs(1), *webs(1)], desired, {}))
    plan = Plan("edge", "r", (), tuple(webs(1)), 0, exceeded=found)

    assert render_plan(plan, color=False, next_command="kvmdecl apply").splitlines()[-1] == (
        "Beyond 1 limit of the manifest: nothing of it can be carried out."
    )
    assert found[0].summary == (
        "the plan would restart or shut down 2 guests of web-1,"
        " and `limits.restarts.entry` does not allow that: 1 is 1 here"
    )
    assert planning.exit_code(plan, detailed=False) is Exit.BLOCKED
    with pytest.raises(typer.Exit) as ended:
        applying.require_limits(plan)
    assert ended.value.exit_code == 4
    assert undo_plan(plan, [], {"kvm-1": example_host("kvm-1")}).exceeded == ()
