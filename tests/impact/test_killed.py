"""However an apply ends, nothing is lost, and the next one finishes it.

`python -m tests.impact.killed` tries every point.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import kvmdecl.hosts
from tests.impact.killed import WRITES, Rounds, all_points

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kvmdecl.lab import Lab

pytestmark = pytest.mark.xdist_group("lab")

SOURCES = sorted(Path(kvmdecl.hosts.__file__).parent.rglob("*.py"))


@pytest.mark.proof
@pytest.mark.timeout(240)
@pytest.mark.parametrize(("whom", "stride"), [("kvmdecl", 9), ("libvirtd", 17)])
def test_nothing_is_lost_when_it_ends_on_the_way(
    make_lab: Callable[..., Lab], tmp_path: Path, whom: str, stride: int
):
    rounds = Rounds(make_lab(["kvm-1"]), tmp_path)

    points = list(all_points(rounds, whom, stride))

    assert len(points) >= 2


def calls_in(path: Path) -> Iterator[tuple[str, str]]:
    """Each method that is called in a module, with the function that does it."""
    for function in ast.walk(ast.parse(path.read_text())):
        if isinstance(function, ast.FunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                    yield function.name, node.func.attr


def test_only_what_deletes_an_object_undefines_it():
    callers = {
        f"{path.stem}.{function}"
        for path in SOURCES
        for function, method in calls_in(path)
        if method.startswith("undefine")
    }

    made_just_now = {"pools.create_pool"}  # takes away what it could not finish
    locks = {"runlock._undefine"}  # never an object of the manifest
    for_a_moment = {"belongings._remove_folder", "belongings._undefined"}  # pools over others' folders
    assert callers - made_just_now - locks - for_a_moment == {
        "domains.delete_domain", "filters.delete_filter", "networks.delete_network", "pools.delete_pool",
        "secrets.delete_secret",
        # What these undefine runs, or is, on another host, or with a cluster manager; it was seen there before.
        "domains.hand_over_domain", "moves._go_cold", "moves._undefine_there", "moves.leave_domain",
    }  # fmt: skip


def test_every_call_that_writes_can_be_the_last_one():
    begins = (
        "add",
        "attach",
        "block",
        "create",
        "define",
        "del",
        "destroy",
        "detach",
        "network",
        "pin",
        "set",
    )
    begins += (
        "storage",
        "undefine",
        "update",
        "wipe",
        "upload",
        "resize",
        "build",
        "finish",
        "send",
        "shutdown",
        "snapshotCreate",
        "nwfilterDefine",
    )
    reads = {"blockInfo", "networkLookupByName", "storagePoolLookupByName", "storagePoolLookupByVolume"}
    reads |= {"storageVolLookupByName", "storagePoolLookupByTargetPath", "blockJobInfo", "setKeepAlive"}
    methods = {name for kind in WRITES for name in vars(kind) if name.startswith(begins)}
    known = {name for names in WRITES.values() for name in names}

    called = {method for path in SOURCES for _, method in calls_in(path)} & methods

    assert called - known - reads == set()
