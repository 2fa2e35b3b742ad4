"""The lock file: what is written is what is read, and what is wrong with it is told at its line."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from kvmdecl.cluster import LockedPlace, PlacedCluster
from kvmdecl.diagnostics import Rejected
from kvmdecl.lock import lock_faults, lock_path, new_lock, read_lock
from kvmdecl.solver import CellPlace, Place
from kvmdecl.source import find_files
from tests.resolve.support import resolved

if TYPE_CHECKING:
    from pathlib import Path

    from kvmdecl.cluster import ResolvedCluster

MANIFEST = """\
vms:
  train: {cpus: {count: 4, policy: mixed, dedicated: "2-3", emulator: isolate}, memory: {size: 4GiB, pages: 2MiB}}
  web: {count: 2}
"""
PLACES = {
    "train": Place("kvm-1", (CellPlace(1, ((1, 2048, 4096),), ((2, 13), (3, 5)), ((1, 2),)),), (6,)),
    "web-1": Place("kvm-2", ()),
    "web-2": Place("kvm-1", ()),
}
TEXT = """\
# Where the vms of this cluster are. `kvmdecl lock` writes this file, plan and apply keep to it: review it like code.
lock: kvmdecl-lock/v1
cluster: demo
vms:
  train:
    host: kvm-1
    wants: "{wants}"
    cells:
    - {{home: 1, memory: {{1: 4GiB}}, pages: 2MiB, pins: "13,5", floating: {{1: 2}}}}
    emulator: "6"
  web-1: kvm-2
  web-2: kvm-1
"""


def cluster(text: str = MANIFEST) -> ResolvedCluster:
    return resolved(text)


def written(places: dict[str, Place], **more: object) -> str:
    return new_lock(PlacedCluster(replace(cluster(), **more), (), places=places)).text


def wants(text: str) -> str:
    return text.split('wants: "')[1][:8]


def test_a_lock_file_is_a_line_for_each_vm_and_cell():
    text = written(PLACES)
    assert text == TEXT.format(wants=wants(text))


def test_what_was_written_is_read(tmp_path: Path):
    path = tmp_path / "cluster.lock.yaml"
    path.write_text(written(PLACES))
    lock = read_lock(path, cluster())
    assert lock is not None
    assert {name: locked.place for name, locked in lock.items()} == PLACES
    assert all(locked.agrees for locked in lock.values())


def test_without_a_file_there_is_no_lock(tmp_path: Path):
    assert read_lock(tmp_path / "cluster.lock.yaml", cluster()) is None


def test_a_lock_file_stands_beside_its_manifest_and_is_no_part_of_it(tmp_path: Path):
    manifest, lock = tmp_path / "cluster.yaml", tmp_path / "cluster.lock.yaml"
    manifest.touch()
    lock.touch()
    assert lock_path(manifest) == lock_path(tmp_path) == lock
    assert find_files(tmp_path) == (manifest,)


def test_who_was_not_looked_for_stays_where_it_was_locked():
    before = {name: LockedPlace(place, agrees=True) for name, place in PLACES.items()}
    assert written({"web-1": PLACES["web-1"]}, lock=before) == written(PLACES)


def test_a_vm_that_left_the_manifest_leaves_the_lock():
    text = new_lock(PlacedCluster(cluster("vms: {web: {count: 2, state: absent}}"), (), places={})).text
    assert text.endswith("vms: {}\n")


@pytest.mark.parametrize(
    ("old", "new", "code", "line"),
    [
        ("kvmdecl-lock/v1", "kvmdecl-lock/v2", "manifest.bad-value", 2),
        ("cluster: demo", "cluster: other", "lock.other-cluster", 3),
        ("pages: 2MiB", "pages: 2MB", "unit.ambiguous", 9),
        ('emulator: "6"', "emulators: 6", "manifest.unknown-key", 10),
        ("web-2: kvm-1", "web-1: kvm-1", "yaml.duplicate-key", 12),
    ],
)
def test_a_mistake_in_it_is_told_at_its_line(tmp_path: Path, old: str, new: str, code: str, line: int):
    path = tmp_path / "cluster.lock.yaml"
    path.write_text(written(PLACES).replace(old, new))
    with pytest.raises(Rejected) as rejected:
        read_lock(path, cluster())
    assert [(found.code, found.at and found.at.line) for found in rejected.value.diagnostics] == [
        (code, line)
    ]


def faults(text: str, tmp_path: Path) -> list[tuple[str, str]]:
    path = tmp_path / "cluster.lock.yaml"
    path.write_text(written(PLACES))
    changed = cluster(text)
    lock = read_lock(path, changed)
    assert lock is not None
    return [(found.code, found.summary) for found in lock_faults(changed, lock)]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("", "", []),
        ("count: 2", "count: 3", [("lock.missing", "the lock file does not say where web-3 is")]),
        ("count: 4,", "count: 5,", [("lock.disagrees", "train was locked when it wanted something else")]),
        (
            "{count: 2}",
            "{count: 2, host: kvm-2}",
            [("lock.disagrees", "web-2 is locked on kvm-1, and the manifest says kvm-2")],
        ),
        ("{count: 2}", "{count: 2, memory: 8GiB}", []),
    ],
)
def test_where_manifest_and_lock_disagree_is_told(
    tmp_path: Path, old: str, new: str, told: list[tuple[str, str]]
):
    assert faults(MANIFEST.replace(old, new), tmp_path) == told
