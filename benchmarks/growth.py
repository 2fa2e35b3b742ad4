"""How long it takes to place a cluster, and how that grows with it.

Usage: python -m benchmarks.growth FILE.svg

Measures 1,000 to 20,000 vms and draws them beside n log n.
"""

from __future__ import annotations

import random
import resource
import sys
import time
from dataclasses import dataclass, replace
from math import log, log10
from pathlib import Path
from typing import TYPE_CHECKING

from kvmdecl_numa.search import Effort
from kvmdecl_numa.solver import numa, pack, places_of

from benchmarks.result import Result
from kvmdecl.api import CellDemand, CellRoom, HostRoom, PlaceRequest, Shape, VmToPlace
from kvmdecl.names import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SIZES = (1_000, 2_000, 5_000, 10_000, 20_000)
_VMS_PER_HOST = 20
_CORES, _GIB = 32, 1024
_FIRST = Effort(steps=0)  # the quick passes alone, which do here


@dataclass(frozen=True, slots=True)
class Point:
    """What a cluster took: seconds of CPU time, and looks at a cell of a host for a cell of a guest."""

    vms: int
    seconds: float
    looks: int


def cluster(vms: int) -> PlaceRequest:
    """So many vms that take nine tenths of the CPUs of their hosts, with two cells each."""
    dice = random.Random(1)
    hosts = tuple(_host(number) for number in range(vms // _VMS_PER_HOST))
    names = tuple(host.name for host in hosts)
    shapes = [_shape(*each) for each in _SHAPES for _ in range(each[0])]
    chosen = [dice.choice(shapes) for _ in range(vms)]
    return PlaceRequest(tuple(_vm(number, shape, names) for number, shape in enumerate(chosen)), hosts)


# How many of ten, CPUs, GiB, pages (KiB), threads.
_SHAPES = (
    (3, 2, 4, "small", "prefer"),
    (2, 4, 8, 2048, "prefer"),
    (1, 4, 16, "any", "require"),
    (1, 2, 4, "small", "isolate"),
    (2, 8, 16, "any", "prefer"),
    (1, 16, 32, 2048, "prefer"),
)


def _shape(_: int, cpus: int, gib: int, pages: int | str, threads: str) -> Shape:
    demand = CellDemand(tuple(range(cpus)), (), gib * _GIB)
    return Shape((demand,), threads, "float", 0, pages)  # type: ignore[arg-type]


def _vm(number: int, shape: Shape, hosts: tuple[str, ...]) -> VmToPlace:
    memory = sum(cell.memory for cell in shape.cells) * MIB
    return VmToPlace(f"vm-{number:05}", len(shape.cells[0].pinned), memory, "vm", hosts, shape)


def _host(number: int) -> HostRoom:
    cells = tuple(_cell(place) for place in (0, 1))
    return HostRoom(
        f"kvm-{number:04}",
        cpus=4 * _CORES,
        memory=2 * 160 * _GIB * MIB,
        cells=cells,
        distances=((10, 20), (20, 10)),
    )


def _cell(place: int) -> CellRoom:
    first = place * 2 * _CORES
    cores = tuple((cpu, cpu + 1) for cpu in range(first, first + 2 * _CORES, 2))
    dedicated = frozenset(cpu for core in cores[1:] for cpu in core)
    return CellRoom(place, place, cores, dedicated, frozenset(), {4: 160 * _GIB, 2048: 160 * _GIB})


def points(sizes: Sequence[int] = SIZES) -> Iterator[Point]:
    """Place clusters of these sizes, each three times: the quickest counts, for the machine does other things, too."""
    for size in sizes:
        request = cluster(size)
        runs = [_first_answer(request) for _ in range(3)]
        yield min(runs, key=lambda point: point.seconds)


def _first_answer(request: PlaceRequest) -> Point:
    began = time.process_time()
    packing = pack(request, _FIRST)
    places = places_of(packing)
    assert len(places) == len(request.vms)
    return Point(len(places), time.process_time() - began, packing.steps)


def measure() -> Iterator[Result]:
    """Ten thousand vms at first, and one more."""
    few, many = points((1_000, 10_000))
    yield Result("placement: 10,000 vms on 500 hosts", many.seconds, "s", 2)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    yield Result("placement: memory for that", peak, "MiB", 1024)
    growth = (many.looks / many.vms) / (few.looks / few.vms)
    yield Result("placement: looks per vm, 10,000 vms to 1,000", growth, "x", log(many.vms) / log(few.vms))
    request = cluster(10_000)
    places = places_of(pack(request, _FIRST))
    there = tuple(replace(vm, place=places[vm.name]) for vm in request.vms)
    began = time.process_time()
    answer = numa(replace(request, vms=(replace(there[0], name="late", place=None),), residents=there))
    assert "late" in answer.hosts
    yield Result("placement: one vm more beside 10,000", time.process_time() - began, "s", 1)


# -- the drawing -----------------------------------------------------------------------------------------------

_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 560, 340, 60, 300


def drawing(measured: Sequence[Point]) -> str:
    """The points, on axes of powers of ten, and n log n through the first of them."""
    first, last = measured[0], measured[-1]
    line = [
        (n, first.seconds * n * log(n) / (first.vms * log(first.vms)))
        for n in (round(first.vms * (last.vms / first.vms) ** (step / 20)) for step in range(21))
    ]
    seconds = [point.seconds for point in measured] + [second for _, second in line]
    low, high = log10(min(seconds)) - 0.1, log10(max(seconds)) + 0.1
    wide = log10(last.vms / first.vms)

    def at(vms: float, second: float) -> tuple[float, float]:
        x = _LEFT + 20 + (_WIDTH - _LEFT - 40) * log10(vms / first.vms) / wide
        return round(x, 1), round(_BOTTOM - (_BOTTOM - 40) * (log10(second) - low) / (high - low), 1)

    path = " ".join(f"{x},{y}" for x, y in (at(*each) for each in line))
    marks = []
    for point in measured:
        x, y = at(point.vms, point.seconds)
        marks.append(f'<circle cx="{x}" cy="{y}" r="4" fill="#1f5fa8"/>')
        marks.append(f'<text x="{x - 6}" y="{y - 8}" text-anchor="end">{point.seconds:.2f} s</text>')
        marks.append(f'<text x="{x}" y="{_BOTTOM + 18}" text-anchor="middle">{point.vms:,}</text>')
    x, y = at(*line[-1])
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}">',
            "<style>text { font: 12px sans-serif }</style>",
            "<title>CPU time to place vms, beside n log n</title>",
            f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>',
            f'<path d="M{_LEFT} 20V{_BOTTOM}H{_WIDTH - 10}" fill="none" stroke="#444"/>',
            f'<polyline points="{path}" fill="none" stroke="#999" stroke-dasharray="5 4"/>',
            f'<text x="{x - 4}" y="{y - 10}" text-anchor="end" fill="#666">n log n</text>',
            *marks,
            f'<text x="{_LEFT}" y="14">seconds of CPU time, both axes logarithmic</text>',
            f'<text x="{_WIDTH - 10}" y="{_HEIGHT - 4}" text-anchor="end">vms, {_VMS_PER_HOST} to a host</text>',
            "</svg>",
            "",
        ]
    )


def main(arguments: Sequence[str]) -> int:
    """Print a table and write the drawing."""
    measured = []
    print(f"{'vms':>8} {'hosts':>8} {'seconds':>8} {'looks':>10} {'per vm':>8}")
    for point in points():
        measured.append(point)
        hosts, each = point.vms // _VMS_PER_HOST, point.looks / point.vms
        print(f"{point.vms:8,} {hosts:8,} {point.seconds:8.3f} {point.looks:10,} {each:8.1f}", flush=True)
    for name in arguments:
        Path(name).write_text(drawing(measured), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
