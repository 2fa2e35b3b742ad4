"""A part of a plan: the steps that were chosen, all that they stand on, and the names of what is left out."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvmdecl.cli.main import run
from kvmdecl.plan import Action, HostStatus, Impact, Plan, PlannedHost, Step
from kvmdecl.planner.selection import Choice, selected
from kvmdecl.scenario import example_host
from kvmdecl.snapshot import write_snapshots
from kvmdecl.state import Address, Kind, Member
from kvmdecl.tasks import ConfigureManager, DeleteVolume, HandOverDomain, ResizeVolume, Task

HOSTS = ("kvm-1", "kvm-2", "kvm-3")


def plan_of(*steps: Step, let_go: tuple[Member, ...] = ()) -> Plan:
    hosts = tuple(PlannedHost(name, "", HostStatus.OK) for name in HOSTS)
    return Plan("edge", "r", hosts, steps, 0, let_go=let_go)


def step(address: str, *after: str, task: Task | None = None) -> Step:
    waits = tuple(map(_address, after))
    task = task or DeleteVolume("vms", address)
    return Step(_address(address), Action.UPDATE, Impact.RESTART, (), "", "there", task, after=waits)


def _address(text: str) -> Address:
    host, kind, name = text.split("/", 2)
    return Address(host, Kind(kind), name)


def names(steps: object) -> list[str]:
    return [str(getattr(each, "address", each)) for each in steps]  # type: ignore[attr-defined]


@given(st.data())
def test_it_is_a_part_in_the_same_order_that_stands_on_itself_and_names_the_rest(data: st.DataObject):
    steps: list[Step] = []
    for number in range(data.draw(st.integers(0, 8))):
        earlier = data.draw(st.sets(st.sampled_from(names(steps)), max_size=3)) if steps else set()
        host = data.draw(st.sampled_from(HOSTS))
        steps.append(step(f"{host}/domain/v{number % 5}-{number}", *sorted(earlier)))
    plan = plan_of(*data.draw(st.permutations(steps)))
    hosts = frozenset(data.draw(st.sets(st.sampled_from(HOSTS))))

    part = selected(plan, Choice(("--host",), hosts=hosts))

    kept = {each.address for each in part.steps}
    assert part.selection is not None
    assert list(part.steps) == [each for each in plan.steps if each.address in kept]
    assert all(set(each.after) <= kept for each in part.steps)
    assert {each.address for each in plan.steps if each.address.host in hosts} <= kept
    assert kept.isdisjoint(part.selection.left_out)
    assert kept | set(part.selection.left_out) == {each.address for each in plan.steps}
    assert all(each.address.host in hosts or _is_needed(each, part.steps) for each in part.steps)
    assert set(part.selection.needed) == {address for address in kept if address.host not in hosts}


def _is_needed(one: Step, steps: tuple[Step, ...]) -> bool:
    return any(one.address in each.after for each in steps)


GROWN = step("kvm-1/volume/vms/db.root.raw", task=ResizeVolume("vms", "db.root.raw", 1 << 30, None, "", "db"))
TOLD = step(
    "pacemaker/cluster/edge",
    "kvm-1/volume/vms/db.root.raw",
    "kvm-3/domain/ha",
    task=ConfigureManager("pacemaker", "edge", "", "kvm-1", "", (), (), ()),
)
GIVEN = step(
    "kvm-3/domain/ha", task=HandOverDomain("ha", "u", "<domain/>", None, (), "pacemaker", "defs/ha.xml")
)


@pytest.mark.parametrize(
    ("choice", "kept"),
    [
        (Choice((), vms=frozenset({"db"})), ["kvm-1/volume/vms/db.root.raw", "kvm-2/domain/db"]),
        (
            Choice((), hosts=frozenset({"kvm-1"}), vms=frozenset({"db"})),
            ["kvm-1/volume/vms/db.root.raw"],
        ),
        (Choice((), changed=frozenset({_address("kvm-2/network/lan")})), ["kvm-2/network/lan"]),
        (Choice((), hosts=frozenset({"pacemaker"})), []),
        (
            Choice((), vms=frozenset({"ha"})),
            ["kvm-1/volume/vms/db.root.raw", "kvm-3/domain/ha", "pacemaker/cluster/edge"],
        ),
    ],
    ids=["with its disks", "each narrows the other", "other objects", "no cluster", "who is handed over"],
)
def test_what_is_chosen(choice: Choice, kept: list[str]):
    plan = plan_of(GROWN, step("kvm-2/domain/db"), step("kvm-2/network/lan"), GIVEN, TOLD)

    assert names(selected(plan, choice).steps) == kept


def test_a_host_stays_remembered_unless_all_of_the_plan_is_done():
    part = selected(plan_of(let_go=(Member("kvm-9", "m"),)), Choice((), hosts=frozenset({"kvm-1"})))

    assert part.selection is not None
    assert (part.let_go, names(part.selection.left_out)) == ((), ["kvm-9/host/membership"])
    assert part.empty
    assert not part.settled


MANIFEST = """\
apiVersion: kvmdecl/v1
cluster: edge
hosts:
  kvm-{1..3}: {uri: "qemu+tls://{name}.example/system", labels: {rack: r1, zone: "z{n}"}}
storage: {vms: {path: /srv/vms}}
vms:
  web: {count: 2, host: kvm-1, memory: 1GiB, disk: 1GiB}
  db: {host: kvm-2, memory: 1GiB, disk: 1GiB}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a manifest, and what its hosts are, empty, in `facts`."""
    write_snapshots(tmp_path / "facts", [example_host(name) for name in HOSTS])
    (tmp_path / "cluster.yaml").write_text(MANIFEST.replace("z{n}", "z1"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def plan(capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, list[str], list[str]]:
    """The exit code of `plan`, the objects that it is about, and those that it leaves out."""
    code = run(["plan", "--facts", "facts", "--detailed-exitcode", "--format", "json", *options])
    said = json.loads(capsys.readouterr().out)
    told = said["selection"] or {"left_out": []}
    as_text = [f"{a['host'][4:]}:{a['name']}" for a in (s["address"] for s in said["steps"])]
    return code, as_text, [f"{a['host'][4:]}:{a['name']}" for a in told["left_out"]]


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ("--vm db", "2:vms 2:vms/db.root.qcow2 2:db"),
        ("--vm web", "1:vms 1:vms/web-1.root.qcow2 1:web-1 1:vms/web-2.root.qcow2 1:web-2"),
        ("--vm web-2", "1:vms 1:vms/web-2.root.qcow2 1:web-2"),
        ("--vm *b", "2:vms 2:vms/db.root.qcow2 2:db"),
        ("--host kvm-3", "3:vms"),
        ("--host kvm-[23] --vm db --vm web", "2:vms 2:vms/db.root.qcow2 2:db"),
        ("--label rack=r1 --host kvm-3", "3:vms"),
        ("--label zone=z1 --label rack=r* --vm db", "2:vms 2:vms/db.root.qcow2 2:db"),
    ],
)
def test_plan_shows_the_part_that_options_name(
    folder: Path, capsys: pytest.CaptureFixture[str], options: str, kept: str
):
    _, all_of_it, _ = plan(capsys)

    code, steps, left = plan(capsys, *options.split())

    assert (code, sorted(steps)) == (2, sorted(kept.split()))
    assert sorted(steps + left) == sorted(all_of_it)


def test_the_text_says_what_it_leaves_out_and_how_to_do_the_part(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    assert run(["plan", "--facts", "facts", "--vm", "web-1"]) == 0

    assert capsys.readouterr().out.splitlines()[-5:] == [
        "A part of the plan: --vm web-1, with 1 step that the rest stands on.",
        "Left out: 3 on kvm-2, 2 on kvm-1, 1 on kvm-3.",
        "Plan: 3 to create; 0 unchanged.",
        "Nothing has changed yet; to do it:",
        "    kvmdecl apply cluster.yaml --vm web-1",
    ]


def test_what_changed_since_a_revision_is_planned_and_nothing_else(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    for name in "GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM":
        monkeypatch.setenv(name, os.devnull)
    author = ["-c", "user.name=a", "-c", "user.email=a@example"]
    for words in (["init", "-q"], ["add", "."], [*author, "commit", "-qm", "x"]):
        subprocess.run(["git", *words], check=True)
    manifest = folder / "cluster.yaml"
    manifest.write_text(
        manifest.read_text().replace("db: {host: kvm-2, memory: 1", "db: {host: kvm-2, memory: 2")
    )

    code, steps, left = plan(capsys, "--changed-since", "HEAD")

    assert (code, steps) == (2, ["2:vms", "2:vms/db.root.qcow2", "2:db"])
    assert len(left) == 6


def test_names_that_mean_nothing_are_all_told(folder: Path, capsys: pytest.CaptureFixture[str]):
    options = ["--host", "kvm-4", "--vm", "wbe-1", "--vm", "wbe", "--label", "rack=r2", "--label", "rack=r1"]

    assert run(["plan", "--facts", "facts", *options]) == 1

    said = capsys.readouterr().err
    assert [said.count(f"plan.unknown-{kind}") for kind in ("host", "vm", "label")] == [1, 2, 1]
    assert "did you mean `web-1`?" in said
    assert "did you mean `web`?" in said


@pytest.mark.parametrize(
    "options", [["--label", "rack"], ["--changed-since", "HEAD..main"]], ids=["no value", "two revisions"]
)
def test_half_an_option_is_wrong_usage(folder: Path, options: list[str]):
    assert run(["plan", "--facts", "facts", *options]) == 64
