"""A manifest that lost lines or files, or that a merge left half done, deletes nothing and makes no guest twice.

A line that is lost may leave `state: absent` to another guest: then nobody consented to that plan. One loss is beyond
what a manifest can tell: a host that it does not name any more is not looked at.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import typer

from kvmdecl.cli.applying import consent
from kvmdecl.diagnostics import Rejected
from kvmdecl.hosts.fake import FakeReader
from kvmdecl.libvirt_xml.marker import Marker, read_marker, with_marker
from kvmdecl.libvirt_xml.overlay import to_text
from kvmdecl.libvirt_xml.protection import protection
from kvmdecl.names import derive_uuid
from kvmdecl.pipeline import load_cluster, plan_cluster
from kvmdecl.plan import Action, Impact, Plan
from kvmdecl.scenario import example_host
from kvmdecl.snapshot import load_snapshots
from kvmdecl.state import HostSnapshot, Kind, ObservedDomain
from tests.safety.support import BEFORE, PLUGINS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kvmdecl.state import Observation

Files = dict[str, str]
RUNS = 250  # of each seed
OLD = "kvm-1/domain/old"
GUARDED = "    host: kvm-1\n    protect: true\n"


def seen(*, guarded: bool) -> dict[str, Observation]:
    """The recorded hosts, and a guest `old` beside `db`, which is protected if it is `guarded`."""
    recorded = load_snapshots(BEFORE / "observed")
    host = recorded["kvm-1"]
    assert isinstance(host, HostSnapshot)
    (db,) = host.state.domains
    mark = read_marker(db.xml)
    assert mark
    assert mark.applied
    if guarded:
        applied = mark.applied.replace("<vcpu", to_text(protection()) + "<vcpu", 1)
        db = replace(db, xml=with_marker(db.xml, replace(mark, applied=applied)))
    uuid = derive_uuid("story", Kind.DOMAIN, "old")
    xml = f"<domain type='qemu'><name>old</name><uuid>{uuid}</uuid></domain>"
    old = with_marker(xml, Marker("story", uuid, "old", "", "", applied=xml))
    domains = (db, ObservedDomain("old", uuid, old, None, False, True, False, False))
    return {**recorded, "kvm-1": replace(host, state=replace(host.state, domains=domains))}


SEEN = {guarded: seen(guarded=guarded) for guarded in (False, True)}


def whole(chance: random.Random, *, guarded: bool) -> Files:
    """The cluster's manifest, a file for each section; of `old` it says that it shall go."""
    text = (BEFORE / "cluster.yaml").read_text() + "  old:\n    state: absent\n"
    if guarded:
        text = text.replace("    host: kvm-1\n", GUARDED)
    elif chance.random() < 0.5:
        text = text.replace("    host: kvm-1\n", "")
    files: Files = {}
    name = ""
    for line in text.splitlines(keepends=True):
        if line[0] not in " #":
            name = line.partition(":")[0]
        files[f"{name or 'apiVersion'}.yaml"] = files.get(f"{name or 'apiVersion'}.yaml", "") + line
    return files


def drop_lines(files: Files, chance: random.Random) -> None:
    for _ in range(chance.randint(1, 4)):
        name = chance.choice(sorted(files))
        lines = files[name].splitlines(keepends=True)
        if lines:
            del lines[chance.randrange(len(lines))]
        files[name] = "".join(lines)


def drop_file(files: Files, chance: random.Random) -> None:
    del files[chance.choice(sorted(files))]


def empty_file(files: Files, chance: random.Random) -> None:
    files[chance.choice(sorted(files))] = chance.choice(["", "# nothing\n", "---\n", "{}\n", "null\n"])


def truncate(files: Files, chance: random.Random) -> None:
    name = chance.choice(sorted(files))
    files[name] = files[name][: chance.randrange(len(files[name]) + 1)]


def conflict(files: Files, chance: random.Random) -> None:
    name = chance.choice(sorted(files))
    lines = files[name].splitlines(keepends=True)
    at, to = sorted(chance.randrange(len(lines) + 1) for _ in range(2))
    marked = ["<<<<<<< HEAD\n", *lines[at:to], "=======\n", ">>>>>>> other\n"]
    files[name] = "".join([*lines[:at], *marked, *lines[to:]])


def double(files: Files, chance: random.Random) -> None:
    name = chance.choice(sorted(files))
    files[f"again-{name}"] = files[name]


def shift(files: Files, chance: random.Random) -> None:
    name = chance.choice(sorted(files))
    lines = files[name].splitlines(keepends=True)
    at = chance.randrange(len(lines) or 1)
    files[name] = "".join(line if number != at else line.lstrip() for number, line in enumerate(lines))


MUTATIONS: tuple[Callable[[Files, random.Random], None], ...] = (
    drop_lines, drop_lines, drop_file, empty_file, truncate, conflict, double, shift,
)  # fmt: skip


def plan_of(folder: Path, files: Files, *, guarded: bool) -> Plan | None:
    """The plan, None where the manifest is refused or names the guest's host no more."""
    for old in folder.iterdir():
        old.unlink()
    for name, text in files.items():
        (folder / name).write_text(text)
    try:
        cluster = load_cluster(folder, PLUGINS)
        if cluster.name != "story" or "kvm-1" not in {host.name for host in cluster.hosts}:
            return None
        hosts = {host.name: SEEN[guarded].get(host.name) or example_host(host.name) for host in cluster.hosts}
        return plan_cluster(cluster, FakeReader(hosts), PLUGINS)[0]
    except Rejected:
        return None


def deletions(plan: Plan) -> list[str]:
    return [str(step.address) for step in plan.steps if step.action is Action.DELETE]


def is_carried_out(plan: Plan, *consents: str) -> bool:
    """Whether `apply --yes` would begin, with these consents and nobody at a terminal."""
    try:
        consent(plan, yes=True, allowed=frozenset(consents), reviewed=False)
    except (typer.Exit, Rejected):
        return False
    return True


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(n, marks=pytest.mark.proof) for n in range(1, 20))]
)  # `make chaos-short` tries them all
def test_a_mutilated_manifest_deletes_nothing_and_makes_no_guest_twice(seed: int, tmp_path: Path):
    chance = random.Random(seed)
    digests: dict[tuple[str, bool], str] = {}
    planned = 0
    for _ in range(RUNS):
        guarded = chance.random() < 0.3
        files = whole(chance, guarded=guarded)
        text = files["vms.yaml"]
        if (text, guarded) not in digests:
            agreed = plan_of(tmp_path, files, guarded=guarded)
            assert agreed is not None
            assert deletions(agreed) == [OLD]
            digests[text, guarded] = agreed.digest
        agreed_to = digests[text, guarded]
        given = f"{OLD}@{agreed_to}"
        chance.choice(MUTATIONS)(files, chance)
        plan = plan_of(tmp_path, files, guarded=guarded)
        if plan is None:
            continue
        planned += 1
        told = f"{[(str(step.address), step.action) for step in plan.steps]}: {files}"
        if doomed := deletions(plan):
            assert not is_carried_out(plan), told
            assert is_carried_out(plan, given) == (plan.digest == agreed_to), told
            assert doomed == [OLD] or not is_carried_out(plan, given), told
            assert not guarded or doomed == [OLD], told
        assert all(step.impact < Impact.DATA_LOSS for step in plan.steps), told
        for step in plan.steps:
            made_again = step.action is Action.CREATE and step.address.kind is Kind.DOMAIN
            assert not (made_again and step.address.name == "db"), told
            elsewhere = step.address.kind is Kind.VOLUME and step.address.host == "kvm-2"
            assert not (elsewhere and "db." in step.address.name), told
    assert planned > RUNS // 20, "too few survive to prove anything"


def test_a_line_that_is_lost_may_doom_another_guest_and_nobody_consented_to_that(tmp_path: Path):
    files = whole(random.Random(0), guarded=False)
    agreed = plan_of(tmp_path, files, guarded=False)
    assert agreed is not None
    assert is_carried_out(agreed, f"{OLD}@{agreed.digest}")
    assert not is_carried_out(agreed, OLD), "it does not say which plan"
    for guarded in (False, True):
        files["vms.yaml"] = "vms:\n  db:\n    state: absent\n"
        plan = plan_of(tmp_path, files, guarded=guarded)
        assert plan is not None
        assert deletions(plan) == ([] if guarded else ["kvm-1/domain/db"])
        assert [found.code for found in plan.blocked] == (["plan.protected"] if guarded else [])
        assert not is_carried_out(plan, f"{OLD}@{agreed.digest}")
