"""Place recorded clusters, and compare with the best that is known and with Nova.

Usage: python -m benchmarks.placement INSTANCE.json... --out DIR [--seconds S] [--measure MEASURE...] [--solver SOLVER]

Instances and placements are files of the format numa-place/1. How many of the first vms are all accepted, the weight of
all that are, and their count are goals that exclude each other, so each has a placement of its own: DIR/NAME.json is
best by prefix, and has as much weight as fits beside it (what `plan` would do); DIR/weight/NAME.json and
DIR/count/NAME.json are best by weight and by count. With `--solver exact` a row ends with what no placement surpasses,
where that is known.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, median
from typing import TYPE_CHECKING, Any, get_args

from kvmdecl_numa.exact import improved
from kvmdecl_numa.search import Effort, Measure
from kvmdecl_numa.solver import pack, places_of

from kvmdecl.api import (
    Budget,
    CellDemand,
    CellPlace,
    CellRoom,
    DeviceDemand,
    Group,
    HostRoom,
    PciDevice,
    Place,
    PlaceAnswer,
    PlaceRequest,
    Shape,
    VmToPlace,
)
from kvmdecl.names import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

MEASURES: tuple[Measure, ...] = get_args(Measure)


@dataclass(frozen=True, slots=True)
class Row:
    """How far one search came by its measure."""

    instance: str
    measure: Measure
    value: int
    best: int
    nova: int
    seconds: float
    bound: int | None = None

    @property
    def gap(self) -> float:
        """Per cent that are missing to the best that is known."""
        return 100 * (self.best - self.value) / self.best if self.best else 0.0


# -- instances -> requests -------------------------------------------------------------------------------------


def request_of(raw: Mapping[str, Any]) -> PlaceRequest:
    """Read an instance."""
    hosts = tuple(map(_host, raw["hosts"]))
    names = tuple(sorted(host.name for host in hosts))
    vms = [_vm(vm, names) for vm in raw["vms"]]
    return PlaceRequest(
        tuple(vm for vm in vms if vm.place is None),
        hosts,
        tuple(vm for vm in vms if vm.place is not None),
        tuple(
            Group(
                frozenset(group["members"]),
                group["scope"],
                group["type"] == "anti-affinity",
                group.get("max", 1),
                soft=not group.get("hard", True),
            )
            for group in raw.get("groups", ())
        ),
        Budget(*((raw.get("budget") or {}).get(key) for key in ("host_moves", "cell_moves", "repins"))),
    )


def cpus(text: str) -> tuple[int, ...]:
    """`0-3,8` -> 0, 1, 2, 3, 8."""
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        low, _, high = part.partition("-")
        found.update(range(int(low), int(high or low) + 1))
    return tuple(sorted(found))


def _host(raw: Mapping[str, Any]) -> HostRoom:
    cells = tuple(map(_cell, raw["cells"]))
    places = range(len(cells))
    devices = raw.get("pci", ())
    return HostRoom(
        raw["id"],
        cpus=sum(len(core) for cell in cells for core in cell.cores),
        memory=sum(amount for cell in cells for amount in cell.pools.values()) * MIB,
        cells=cells,
        distances=tuple(
            map(tuple, raw.get("distances") or [[10 if a == b else 20 for a in places] for b in places])
        ),
        overcommit=raw.get("cpu_ratio", 1.0),
        labels=raw.get("labels", {}),
        # A device without a group is alone in one.
        devices=tuple(
            PciDevice(
                device["addr"],
                (device["model"],),
                device.get("numa"),
                device["iommu"] if device.get("iommu") is not None else -1 - number,
            )
            for number, device in enumerate(devices)
        ),
    )


def _cell(raw: Mapping[str, Any]) -> CellRoom:
    return CellRoom(
        raw["id"],
        raw.get("socket"),
        tuple(map(tuple, raw.get("cores", ()))),
        frozenset(cpus(raw.get("dedicated", ""))),
        frozenset(cpus(raw.get("shared", ""))),
        {int(size): amount for size, amount in raw.get("pools", {}).items()},
    )


def _vm(raw: Mapping[str, Any], candidates: tuple[str, ...]) -> VmToPlace:
    shape = _shape(raw)
    return VmToPlace(
        raw["id"],
        cpus=sum(len(cell.pinned) + len(cell.floating) for cell in shape.cells),
        memory=sum(cell.memory for cell in shape.cells) * MIB,
        group=raw["id"],
        candidates=candidates,
        shape=shape,
        weight=raw.get("weight", 1),
        place=_place(raw["current"]) if raw.get("current") else None,
        fixed=raw.get("pinned", False),
    )


def _shape(raw: Mapping[str, Any]) -> Shape:
    return Shape(
        tuple(_cell_demand(raw, cell) for cell in raw["cells"]),
        raw.get("thread_policy", "prefer"),
        raw.get("emulator", "float"),
        raw.get("iothreads", 0),
        raw["page_size"],
        raw.get("overhead_mib", 0),
        raw.get("numa") == "spill",
        raw.get("max_distance"),
        tuple(
            DeviceDemand(demand["model"], demand["count"], demand.get("policy", "legacy"))
            for demand in raw.get("pci", ())
        ),
        tuple(sorted(raw.get("require_labels", {}).items())),
    )


def _cell_demand(raw: Mapping[str, Any], cell: Mapping[str, Any]) -> CellDemand:
    mine = cpus(cell["vcpus"])
    match raw["cpu_policy"]:
        case "dedicated":
            pinned = set(mine)
        case "mixed":
            pinned = set(cpus(raw.get("dedicated_vcpus", "")))
        case _:
            pinned = set()
    return CellDemand(
        tuple(cpu for cpu in mine if cpu in pinned),
        tuple(cpu for cpu in mine if cpu not in pinned),
        cell["memory_mib"],
    )


def _place(raw: Mapping[str, Any]) -> Place:
    cells = (
        CellPlace(
            cell["cell"],
            tuple((id_, page, amount) for id_, page, amount in cell["mem"]),
            tuple((int(vcpu), cpu) for vcpu, cpu in cell["pins"].items()),
            tuple((id_, number) for id_, number in cell["shared"]),
        )
        for cell in raw["cells"]
    )
    devices = tuple(map(tuple, raw.get("pci", ())))
    return Place(
        raw["host"], tuple(cells), tuple(raw.get("emulator", ())), tuple(raw.get("iothreads", ())), devices
    )


# -- places -> placements --------------------------------------------------------------------------------------


def placement_of(name: str, found: Mapping[str, Place], seconds: float) -> dict[str, Any]:
    """Write a placement."""
    return {
        "schema": "numa-placement/1",
        "instance": name,
        "solver": "kvmdecl",
        "seconds": round(seconds, 3),
        "vms": {vm: _place_as_json(place) for vm, place in sorted(found.items())},
    }


def _place_as_json(place: Place) -> dict[str, Any]:
    return {
        "host": place.host,
        "cells": [
            {
                "cell": cell.home,
                "mem": [list(part) for part in cell.memory],
                "pins": {str(vcpu): cpu for vcpu, cpu in cell.pins},
                "shared": [list(part) for part in cell.floating],
            }
            for cell in place.cells
        ],
        "emulator": list(place.emulator),
        "iothreads": list(place.io_threads),
        "pci": [list(addresses) for addresses in place.devices],
    }


# -- measuring -------------------------------------------------------------------------------------------------


def values_of(raw: Mapping[str, Any], found: Mapping[str, Place]) -> dict[Measure, int]:
    """Prefix, weight and count of a placement."""
    vms = raw["vms"]
    return {
        "prefix": next((number for number, vm in enumerate(vms) if vm["id"] not in found), len(vms)),
        "weight": sum(vm.get("weight", 1) for vm in vms if vm["id"] in found),
        "count": len(found),
    }


def proved(request: PlaceRequest, found: Mapping[str, Place], measure: Measure, limit: float) -> PlaceAnswer:
    """The placement as the solver `exact` betters it; its bound counts residents, too."""
    hosts = {vm.name: found[vm.name].host for vm in request.vms if vm.name in found}
    answer = improved(request, PlaceAnswer(hosts, {}, found), measure, limit)
    there = sum(vm.weight if measure == "weight" else 1 for vm in request.residents)
    return replace(answer, bound=None if answer.bound is None else there + answer.bound)


def place(
    path: Path, measures: Sequence[Measure], out: Path, limit: float, steps: int, solver: str
) -> Iterator[Row]:
    """Place an instance by each measure; one that all vms fit into is placed once."""
    raw = json.loads(path.read_text())
    request = request_of(raw)
    known = raw.get("results", {})
    found: Mapping[str, Place] = {}
    seconds, bound = 0.0, None
    for measure in measures:
        if len(found) < len(raw["vms"]):
            began = time.process_time()
            end = began + limit
            packing = pack(request, Effort(steps, lambda: time.process_time() > end), measure)  # noqa: B023
            found = places_of(packing)
            if solver == "exact" and len(found) < len(raw["vms"]):
                answer = proved(request, found, measure, limit)
                found, bound = answer.places, answer.bound
            seconds = time.process_time() - began
        folder = out if measure == "prefix" else out / measure
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(placement_of(raw["name"], found, seconds))
        (folder / f"{raw['name']}.json").write_text(text)
        nova = (
            mode["accepted" if measure == "count" else measure] for mode in known.get("nova", {}).values()
        )
        best = known.get("best", {}).get(measure, 0)
        value = values_of(raw, found)[measure]
        yield Row(raw["name"], measure, value, best, max(nova, default=0), seconds, bound)


def main() -> int:
    """Print a table; return 1 if Nova was better anywhere on prefix or weight."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.placement")
    parser.add_argument("instances", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=30, help="of CPU time, for each measure")
    parser.add_argument("--steps", type=int, default=Effort().steps, help="of search, for each thing tried")
    parser.add_argument("--solver", choices=("numa", "exact"), default="numa")
    parser.add_argument("--measure", nargs="+", choices=MEASURES, default=MEASURES)
    options = parser.parse_args()
    rows: list[Row] = []
    print(f"{'instance':28} {'':7} {'accepted':>9} {'best':>9} {'gap %':>6} {'Nova':>9} {'seconds':>8}")
    for path in options.instances:
        for row in place(path, options.measure, options.out, options.seconds, options.steps, options.solver):
            rows.append(row)
            note = "  below Nova" if row.value < row.nova else ""
            note += "" if row.bound is None else f"  at most {row.bound}"
            print(
                f"{row.instance:28} {row.measure:7} {row.value:9} {row.best:9} {row.gap:6.2f} {row.nova:9}"
                f" {row.seconds:8.3f}{note}",
                flush=True,
            )
    for measure in options.measure:
        mine = [row for row in rows if row.measure == measure]
        seconds = [row.seconds for row in mine]
        print(
            f"{measure}: {len(mine)} instances, mean gap {mean(row.gap for row in mine):.2f} %,"
            f" at the best {sum(row.value >= row.best for row in mine)},"
            f" below Nova {sum(row.value < row.nova for row in mine)},"
            f" seconds median {median(seconds):.3f}, most {max(seconds):.1f}"
        )
    return int(any(row.value < row.nova for row in rows if row.measure != "count"))


if __name__ == "__main__":
    sys.exit(main())
