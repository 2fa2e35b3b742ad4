"""What `exact` answers is as good as can be, or no worse than what `numa` does; and it says which."""

from __future__ import annotations

import os
import random
import subprocess
import sys

import pytest
from hypothesis import given, settings
from kvmdecl_numa import exact as plugin
from kvmdecl_numa.exact import exact
from kvmdecl_numa.search import Effort
from kvmdecl_numa.solver import first_placed, numa

from kvmdecl.solver import DeviceDemand, Group, PciDevice, PlaceRequest
from kvmdecl.verdict import faults
from tests.numa.support import HUGE, broken_rules, cell, host, shape, vm
from tests.numa.test_rules import requests
from tests.placement.exact import exact as by_trying
from tests.placement.test_conflict_set import a_cluster

pytest.importorskip("ortools")

BRIEF, NONE = Effort(steps=100), Effort(steps=0)


@given(requests())
@settings(max_examples=25, deadline=None)
def test_an_answer_breaks_no_rule_and_is_never_worse_than_that_of_numa(request):
    answer, other = exact(request, BRIEF, 1.0), numa(request, BRIEF)
    assert list(broken_rules(request, answer)) == []
    assert _worth(request, answer) >= _worth(request, other)
    assert answer.bound is None or answer.bound >= first_placed(request, answer)


def _worth(request, answer):
    return first_placed(request, answer), len(answer.hosts)


def test_on_tiny_clusters_it_places_as_many_as_trying_everything_does():
    dice = random.Random(23)
    made = (a_cluster(dice).request for _ in range(100))
    refusing = 0
    for request in filter(_is_simple, made):
        answer = exact(request, NONE, 5.0)
        best = first_placed(request, by_trying(request))
        assert list(faults(request, answer)) == []
        assert (first_placed(request, answer), answer.bound) == (best, best)
        refusing += best < len(request.vms)
    assert refusing > 20


def _is_simple(request):
    """Trying everything puts the emulator of a guest beside its first cell."""
    wants = [each.shape for each in request.vms if each.shape]
    return all(len(each.cells) == 1 or each.emulator != "isolate" for each in wants)


def test_it_finds_a_packing_without_a_gap_that_a_hasty_search_misses():
    sizes = (5, 5, 6, 9, 9, 7, 5, 5, 12, 9, 5, 6, 15, 8, 5, 15, 14, 7, 13)  # 4 x 40
    names = ("kvm-1", "kvm-2", "kvm-3", "kvm-4")
    rooms = tuple(host(name, cell(0, cores=40, threads=1)) for name in names)
    vms = tuple(vm(f"vm-{n:02}", shape((cpus, 0, 1)), *names) for n, cpus in enumerate(sizes))
    request = PlaceRequest(vms, rooms)
    assert numa(request, NONE).refused
    answer = exact(request, NONE)
    assert not answer.refused
    assert answer.bound == len(vms)
    assert list(faults(request, answer)) == []


@pytest.mark.parametrize(
    ("wants", "fit"),
    [
        (shape((2, 0, 64), devices=(DeviceDemand("nic", 1, "required"),)), 2),
        (shape((2, 0, 64), devices=(DeviceDemand("nic", 2, "required"),)), 1),  # of one IOMMU group
        (shape((2, 0, 64), devices=(DeviceDemand("nic", 1, "preferred"),)), 3),
        (shape((4, 0, 64), (4, 0, 64)), 1),
        (shape((8, 0, 64), threads="require"), 1),
        (shape((3, 0, 64), threads="isolate", emulator="isolate"), 1),
        (shape((0, 2, 64)), 1),
        (shape((1, 0, 1024), pages=HUGE), 4),
    ],
    ids=str,
)
def test_it_counts_what_fits(wants, fit):
    devices = [
        PciDevice(f"0000:0{number}:00.0", ("nic",), at, group)
        for number, (at, group) in enumerate([(0, 1), (0, 1), (1, 2), (None, 3)])
    ]
    room = host(
        "kvm-1",
        *(cell(n, shared=0 if n else 2, pools={4: 4096, HUGE: 2048}) for n in (0, 1)),
        devices=devices,
    )
    request = PlaceRequest(tuple(vm(f"vm-{n}", wants) for n in range(5)), (room,), groups=())
    answer = exact(request, NONE)
    assert (len(answer.hosts), answer.bound) == (fit, fit)
    assert list(faults(request, answer)) == []


@pytest.mark.parametrize(
    ("apart", "scope", "fit"), [(True, "host", 3), (True, "rack", 2), (False, "rack", 4)]
)
def test_groups_are_kept_apart_and_together(apart, scope, fit):
    rooms = tuple(host(f"kvm-{n}", cell(), labels={"rack": f"r{n // 3}"}) for n in (1, 2, 3))
    vms = tuple(vm(f"vm-{n}", shape((4, 0, 64)), *(room.name for room in rooms)) for n in range(6))
    request = PlaceRequest(vms, rooms, groups=(Group(frozenset(v.name for v in vms), scope, apart),))
    answer = exact(request, NONE)
    assert (len(answer.hosts), answer.bound) == (fit, fit)
    assert list(faults(request, answer)) == []


def test_the_answer_is_the_same_whatever_python_hashes_to():
    program = (
        "import random; from tests.numa.test_exact import *; dice = random.Random(4);"
        "print([exact(a_cluster(dice).request, NONE) for _ in range(5)])"
    )
    answers = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(answers) == 1


MANIFEST = """
apiVersion: kvmdecl/v1
cluster: demo
hosts: {kvm-1: "qemu+tls://kvm-1.example/system"}
placement: exact
vms: {web: {memory: SIZE}}
"""


def test_without_the_library_the_user_is_told_what_to_install(try_manifest, monkeypatch):
    monkeypatch.setattr(plugin, "find_spec", lambda _: None)
    (told,) = try_manifest(MANIFEST.replace("SIZE", "1GiB")).diagnostics
    assert told.code == "numa.no-library"
    assert "pip install 'kvmdecl[exact]'" in told.hint


def test_who_does_not_fit_is_told_that_it_is_proved(try_manifest):
    (told,) = try_manifest(MANIFEST.replace("SIZE", "1TiB")).diagnostics
    assert told.code == "placement.no-host"
    assert "it is proved that no other placement has room for all vms" in [note.text for note in told.notes]


@pytest.mark.parametrize("solver", ["numa", "spread"])
def test_nobody_else_loads_the_library_or_what_it_needs(solver, tmp_path):
    manifest = tmp_path / "cluster.yaml"
    manifest.write_text(MANIFEST.replace("SIZE", "1GiB").replace("exact", solver))
    program = (
        "import sys, pathlib; from kvmdecl.testing import _try_manifest;"
        f"trial = _try_manifest(pathlib.Path({str(manifest)!r}), pathlib.Path({str(manifest)!r}).read_text());"
        "print(bool(trial.placed), {'numpy', 'pandas', 'ortools'} & set(sys.modules))"
    )
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "True set()"
