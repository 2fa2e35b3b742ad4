"""A manifest that lost lines or files, or that a merge left half done, deletes nothing and makes no guest twice.

One loss is beyond what a manifest can tell: a host that it does not name any more is not looked at.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from kvmdecl.diagnostics import Rejected
from kvmdecl.hosts.fake import FakeReader
from kvmdecl.pipeline import load_cluster, plan_cluster
from kvmdecl.plan import Action, Impact, Plan
from kvmdecl.scenario import example_host
from kvmdecl.snapshot import load_snapshots
from kvmdecl.state import Kind
from tests.safety.support import BEFORE, PLUGINS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Files = dict[str, str]
SEEN = load_snapshots(BEFORE / "observed")
RUNS = 250  # of each seed


def whole(*, pinned: bool) -> Files:
    """The recorded cluster's manifest, a file for each section; `pinned` says whether the guest names its host."""
    text = (BEFORE / "cluster.yaml").read_text()
    if not pinned:
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


def plan_of(folder: Path, files: Files) -> Plan | None:
    """The plan, None where the manifest is refused or names the guest's host no more."""
    for old in folder.iterdir():
        old.unlink()
    for name, text in files.items():
        (folder / name).write_text(text)
    try:
        cluster = load_cluster(folder, PLUGINS)
        if cluster.name != "story" or "kvm-1" not in {host.name for host in cluster.hosts}:
            return None
        hosts = {host.name: SEEN.get(host.name) or example_host(host.name) for host in cluster.hosts}
        return plan_cluster(cluster, FakeReader(hosts), PLUGINS)[0]
    except Rejected:
        return None


@pytest.mark.parametrize("seed", range(8))
def test_a_mutilated_manifest_deletes_nothing_and_makes_no_guest_twice(seed: int, tmp_path: Path):
    chance = random.Random(seed)
    planned = 0
    for _ in range(RUNS):
        files = whole(pinned=chance.random() < 0.5)
        chance.choice(MUTATIONS)(files, chance)
        plan = plan_of(tmp_path, files)
        if plan is None:
            continue
        planned += 1
        for step in plan.steps:
            told = f"{step.address} {step.action}: {files}"
            assert step.action is not Action.DELETE, told
            assert step.impact < Impact.DATA_LOSS, told
            assert not (
                step.address.kind is Kind.DOMAIN
                and step.address.name == "db"
                and step.action is Action.CREATE
            ), told
            assert not (
                step.address.kind is Kind.VOLUME
                and "db." in step.address.name
                and step.address.host == "kvm-2"
            ), told
    assert planned > RUNS // 20, "too few survive to prove anything"
