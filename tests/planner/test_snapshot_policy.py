"""A policy takes one snapshot in each period, merges its oldest beyond what it keeps, and knows nobody else's."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvmdecl.cluster import ResolvedCluster
from kvmdecl.pipeline import load_cluster
from kvmdecl.plan import Impact, Plan
from kvmdecl.planner.snapshots import Wish, due, make_snapshot_plan
from kvmdecl.scenario import example_host
from kvmdecl.state import HostState, Observation, ObservedSnapshot
from kvmdecl.tasks import RevertSnapshot
from tests.safety.support import PLUGINS, silent
from tests.safety.test_hosts_that_left import guest

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)  # a Wednesday
MANIFEST = """\
apiVersion: kvmdecl/v1
cluster: story
hosts:
  kvm-1: {uri: "qemu+tls://kvm-1.example/system"}
vms:
  db: {snapshots: SNAPSHOTS}
"""
DISK = (
    "<devices><disk type='file'><source file='/srv/vms/db.root.qcow2'/><target dev='vda'/></disk></devices>"
)


def cluster(folder: Path, policy: str = "{keep: 2}") -> ResolvedCluster:
    path = folder / "cluster.yaml"
    path.write_text(MANIFEST.replace("SNAPSHOTS", policy))
    return load_cluster(path, PLUGINS)


def made(*ago: timedelta, by: str = "policy", of: str = "story") -> tuple[ObservedSnapshot, ...]:
    moments = sorted((NOW - each for each in ago), reverse=False)
    return tuple(ObservedSnapshot(f"s{n}", int(at.timestamp()), of, by) for n, at in enumerate(moments))


def seen(
    *snapshots: ObservedSnapshot, active: bool = True, disk: str = DISK, saved: bool = False
) -> dict[str, Observation]:
    domain = replace(guest("db"), managed_save=saved)
    live = domain.xml.replace("</domain>", f"{disk}</domain>")
    domain = replace(domain, live_xml=live, active=active, snapshots=snapshots)
    return {"kvm-1": replace(example_host("kvm-1"), state=HostState(domains=(domain,)))}


@pytest.mark.parametrize(
    ("every", "ago", "is_due"),
    [
        ("hourly", timedelta(minutes=6), False),
        ("hourly", timedelta(minutes=7), True),
        ("daily", timedelta(hours=5), False),
        ("daily", timedelta(hours=6), True),
        ("weekly", timedelta(days=2), False),
        ("weekly", timedelta(days=3), True),
    ],
)
def test_one_is_due_in_each_period(every: str, ago: timedelta, is_due: bool, tmp_path: Path):
    wishes = due(cluster(tmp_path, f"{{keep: 9, every: {every}}}"), seen(*made(ago)), NOW)

    assert [wish.take for wish in wishes] == ([f"{every}-20260304t050607z"] if is_due else [])


def test_the_oldest_beyond_those_that_are_kept_are_merged(tmp_path: Path):
    days = [timedelta(days=n) for n in (1, 2, 3)]

    (wish,) = due(cluster(tmp_path), seen(*made(*days)), NOW)

    assert (bool(wish.take), wish.drop) == (True, ("s0", "s1"))


def test_what_was_made_by_command_by_another_cluster_or_by_nobody_we_know_is_neither_counted_nor_merged(
    tmp_path: Path,
):
    old = [timedelta(days=n) for n in (1, 2, 3)]
    others = (*made(*old, by="command"), *made(*old, of="other"), *made(*old, by="", of=""))

    (wish,) = due(cluster(tmp_path), seen(*others), NOW)

    assert (bool(wish.take), wish.drop) == (True, ())


def test_a_guest_that_is_off_is_left_alone(tmp_path: Path):
    assert due(cluster(tmp_path), seen(active=False), NOW) == ()


@settings(max_examples=100, deadline=None)
@given(hours=st.sets(st.integers(0, 200), max_size=12), keep=st.integers(1, 5))
def test_a_second_run_in_the_same_moment_finds_nothing_to_do(
    tmp_path_factory: pytest.TempPathFactory, hours: set[int], keep: int
):
    story = cluster(tmp_path_factory.mktemp("policy"), f"{{keep: {keep}}}")
    before = made(*(timedelta(hours=hour) for hour in hours))

    wishes = due(story, seen(*before), NOW)

    after = [s for s in before if all(s.name not in wish.drop for wish in wishes)]
    after += [ObservedSnapshot(w.take, int(NOW.timestamp()), "story", "policy") for w in wishes if w.take]
    assert due(story, seen(*after), NOW) == ()
    assert len(after) <= keep


def blocked(plan: Plan) -> list[str]:
    assert not plan.steps
    return [found.code for found in plan.blocked]


@pytest.mark.parametrize(
    ("hosts", "wish", "code"),
    [
        ({"kvm-1": silent("kvm-1")}, Wish("db", take="one"), "snapshot.not-found"),
        (seen(*made(timedelta()), active=False), Wish("db", drop=("s0",)), "snapshot.not-running"),
        (seen(*made(timedelta())), Wish("db", revert="s0"), "snapshot.running"),
        (seen(*made(timedelta()), active=False), Wish("db", revert="s1"), "snapshot.unknown"),
        (
            seen(*made(timedelta(), timedelta(hours=1)), active=False),
            Wish("db", revert="s0"),
            "snapshot.not-newest",
        ),
        (seen(active=False, saved=True), Wish("db", take="one"), "snapshot.saved-state"),
        (seen(*made(timedelta()), active=False, saved=True), Wish("db", revert="s0"), "snapshot.saved-state"),
        (seen(*made(timedelta())), Wish("db", take="s0"), "snapshot.exists"),
        (
            seen(disk=DISK.replace("</disk>", "<shareable/></disk>")),
            Wish("db", take="one"),
            "snapshot.no-disk",
        ),
        (
            seen(disk=DISK.replace("</disk>", "<encryption/></disk>")),
            Wish("db", take="one"),
            "snapshot.encrypted",
        ),
        (seen(), Wish("db", drop=("s0",)), "snapshot.unknown"),
        (seen(*made(timedelta(), of="", by="")), Wish("db", drop=("s0",)), "snapshot.not-ours"),
        (
            seen(*made(timedelta(), of="", by=""), active=False),
            Wish("db", revert="s0"),
            "snapshot.not-ours",
        ),
    ],
)
def test_what_cannot_be_done_is_blocked(hosts: dict[str, Observation], wish: Wish, code: str, tmp_path: Path):
    assert blocked(make_snapshot_plan(cluster(tmp_path), hosts, [wish])) == [code]


@pytest.mark.parametrize(
    ("discard", "impact", "since"), [(False, Impact.NONE, "kept"), (True, Impact.DATA_LOSS, "deleted")]
)
def test_the_way_back_says_what_becomes_of_what_was_written_since(
    discard: bool, impact: Impact, since: str, tmp_path: Path
):
    hosts = seen(*made(timedelta()), active=False, disk=DISK)
    wish = Wish("db", revert="s0", stamp="20260304t050607z", discard=discard)

    (step,) = make_snapshot_plan(cluster(tmp_path), hosts, [wish]).steps

    assert step.impact is impact
    assert f"what was written since is {since}" in (step.changes[0].after or "")
    assert isinstance(step.task, RevertSnapshot)
    assert all(file.endswith("@s0.20260304t050607z") for _, file in step.task.disks)
