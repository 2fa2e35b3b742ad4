"""NUMA cells that guests see and memory that is plugged in: definitions, changes, and how they fare on a real host."""

from __future__ import annotations

from typing import Any

import libvirt
import pytest
from lxml import etree
from pydantic import ValidationError

from kvmdecl.libvirt_xml.fields import differences
from kvmdecl.libvirt_xml.impact import assess
from kvmdecl.libvirt_xml.overlay import attachable, complete, find_device, overlay, overlay_device
from kvmdecl.manifest import Memory, Numa, Vm
from kvmdecl.names import GIB, KIB, MIB
from kvmdecl.plan import Impact
from kvmdecl.state import Kind, Origin
from tests.libvirt_xml.examples import declared, kept, observed
from tests.libvirt_xml.test_on_libvirt import (
    DUMP,
    ROOT,
    define_each_over_the_last,
    host,
    start_and_find_nothing_to_do,
)
from tests.libvirt_xml.test_on_libvirt import declared as declared_on_host

__all__ = ["host"]

ROOM = {"max_memory": None, "memory_keys": {"hotplug_max": GIB}}


def plugged(**modules: Any) -> dict[str, Any]:
    return {"max_memory": None, "memory_keys": {"hotplug_max": GIB, "modules": modules}}


TWO_CELLS = {
    "max_cpus": 4,
    "memory": 128 * MIB,
    "numa": Numa(
        nodeset="0",
        mode="preferred",
        cells=[
            {"nodeset": "0", "mode": "interleave", "access": "shared", "distances": ["10", "21"]},
            {"discard": True, "distances": ["31", "10"]},
        ],
    ),
    "memory_keys": {"source": "memfd"},
}
UNEVEN_CELLS = {
    "max_cpus": 3,
    "memory": 128 * MIB,
    "numa": Numa(cells=[{"cpus": "0,2", "memory": 32 * MIB}, {"cpus": "1", "memory": 96 * MIB}]),
}
GUESTS: dict[str, dict[str, Any]] = {
    "two cells": TWO_CELLS,
    "uneven cells": UNEVEN_CELLS,
    "cells and a balloon": {"max_cpus": 2, "numa": Numa(cells=[{}, {}])},
    "room for more": ROOM,
    "a dimm": plugged(extra=128 * MIB),
    "a part of virtio-mem": plugged(extra={"model": "virtio-mem", "size": 128 * MIB, "requested": 64 * MIB}),
    "memory allocated beforehand": {
        "memory_keys": {"allocation": "immediate", "allocation_threads": 2, "discard": True, "source": "file"}
    },
    "all of it": {
        "max_cpus": 2,
        "max_memory": None,
        "numa": Numa(nodeset="0", cells=[{"memory": 32 * MIB, "pages": 2 * MIB}, {"memory": 32 * MIB}]),
        "memory_keys": {
            "hotplug_max": GIB,
            "slots": 3,
            "modules": {
                "a": {"size": 128 * MIB, "cell": 1, "nodeset": "0", "pages": 2 * MIB},
                "b": {"model": "virtio-mem", "size": 128 * MIB, "block": 4 * MIB, "cell": 1},
                "c": {"model": "nvdimm", "size": 256 * MIB, "path": "/srv/c.nvdimm", "label": 128 * KIB},
            },
        },
    },
}
HUGE = frozenset({"all of it"})
"""Guests that start only where huge pages are set aside."""


@pytest.mark.parametrize("name", GUESTS)
def test_every_option_fits_libvirts_schema(against_schema, name):
    assert against_schema("domain", complete(declared(**GUESTS[name]))) == []


@pytest.mark.xdist_group("lab")
def test_every_guest_reads_back_as_it_was_declared_also_after_all_others(host):
    define_each_over_the_last(host, GUESTS)


@pytest.mark.xdist_group("lab")
@pytest.mark.parametrize("name", sorted(set(GUESTS) - HUGE))
def test_a_guest_that_was_just_started_needs_nothing_and_has_all_of_its_memory(host, name):
    text = declared_on_host(disks=(ROOT,), nics=(), **GUESTS[name])

    start_and_find_nothing_to_do(host, text)


@pytest.mark.xdist_group("lab")
def test_memory_is_plugged_into_a_running_guest_and_stays_where_it_is(host):
    before = declared_on_host(disks=(ROOT,), nics=(), **ROOM)
    domain = host.define(complete(before))
    domain.create()
    more = plugged(extra=128 * MIB, late={"model": "virtio-mem", "size": 64 * MIB, "requested": "0B"})
    after = declared_on_host(disks=(ROOT,), nics=(), **more)

    calls = assess(after, before, host.observe(domain), Origin()).live
    for call in calls:
        domain.attachDeviceFlags(
            attachable(call.argument, domain.XMLDesc(0), domain.XMLDesc(DUMP)), libvirt.VIR_DOMAIN_AFFECT_LIVE
        )
    domain = host.define(overlay(domain.XMLDesc(DUMP), after, before, domain.XMLDesc(0)))

    assert [call.call for call in calls] == ["attach-device"] * 2
    found = assess(after, after, host.observe(domain), Origin())
    assert (found.changes, found.live, found.pending) == ((), (), ())
    config = etree.fromstring(domain.XMLDesc(DUMP))
    assert config.findtext("memory") == config.findtext("currentMemory") == str(256 * MIB // KIB)
    for name in ("extra", "late"):
        assert place(domain.XMLDesc(0), name) == place(domain.XMLDesc(DUMP), name)


def place(definition: str, name: str) -> dict[str, str]:
    return dict(etree.fromstring(find_device(definition, f"memory[{name}]")).find("address").attrib)


@pytest.mark.xdist_group("lab")
@pytest.mark.parametrize("plugged_mib", [64, 128])
def test_a_guest_that_has_not_all_of_what_is_plugged_in_is_told_and_mended(host, plugged_mib: int):
    text = declared_on_host(**plugged(extra=128 * MIB))
    domain = host.define(complete(text))
    whole = domain.XMLDesc(DUMP)
    less = etree.fromstring(whole)
    current = less.find("currentMemory")
    current.text = str(int(current.text) - plugged_mib * MIB // KIB)
    domain = host.define(etree.tostring(less, encoding="unicode"))

    found = differences(text, text, domain.XMLDesc(DUMP), Kind.DOMAIN)
    domain = host.define(overlay(domain.XMLDesc(DUMP), text, text))

    assert [(d.path, d.before) for d in found] == [("currentMemory", current.text)]
    assert etree.fromstring(domain.XMLDesc(DUMP)).findtext("currentMemory") == etree.fromstring(
        whole
    ).findtext("memory")


@pytest.mark.xdist_group("lab")
def test_how_much_of_virtio_mem_a_guest_has_changes_while_it_runs(host):
    def guest(requested: int) -> str:
        module = {"model": "virtio-mem", "size": 128 * MIB, "requested": requested}
        return declared_on_host(disks=(ROOT,), nics=(), **plugged(extra=module))

    domain = host.define(complete(guest(64 * MIB)))
    domain.create()

    (call,) = assess(guest(32 * MIB), guest(64 * MIB), host.observe(domain), Origin()).live
    device = find_device(domain.XMLDesc(0), "memory[extra]")
    domain.updateDeviceFlags(overlay_device(device, call.argument), libvirt.VIR_DOMAIN_AFFECT_LIVE)

    now = etree.fromstring(find_device(domain.XMLDesc(0), "memory[extra]"))
    assert now.findtext("target/requested") == str(32 * MIB // KIB)


@pytest.mark.parametrize(
    ("before", "after", "keys", "impact", "calls"),
    [
        ({}, {"numa": Numa(cells=[{}, {}])}, {"numa.cells"}, Impact.NEXT_BOOT, []),
        ({"max_memory": None}, ROOM, {"memory.hotplug_max", "numa.cells"}, Impact.NEXT_BOOT, []),
        (ROOM, plugged(a=64 * MIB), {"memory.modules"}, Impact.LIVE, ["attach-device"]),
        (plugged(a=64 * MIB), ROOM, {"memory.modules"}, Impact.LIVE, ["detach-device"]),
        (plugged(a=64 * MIB), plugged(a=96 * MIB), {"memory.modules"}, Impact.NEXT_BOOT, []),
        ({}, {"memory_keys": {"allocation": "immediate"}}, {"memory.allocation"}, Impact.NEXT_BOOT, []),
        ({}, {"memory_keys": {"discard": True}}, {"memory.discard"}, Impact.NEXT_BOOT, []),
        (
            {"numa": Numa(cells=[{}, {}])},
            {"numa": Numa(cells=[{}, {}]), "memory": 128 * MIB},
            {"memory.size"},
            Impact.LIVE,
            ["set-memory"],
        ),
    ],
)
def test_what_a_change_does_to_a_running_guest(before, after, keys, impact, calls):
    was = kept(declared(**before))

    found = assess(declared(**after), declared(**before), observed(was, was), Origin())

    assert {change.key for change in found.changes} == keys
    assert {change.impact for change in found.changes} == {impact}
    assert [call.call for call in found.live] == calls


def test_cells_share_what_is_not_said_evenly():
    root = etree.fromstring(declared(max_cpus=4, numa=Numa(cells=[{}, {}])))

    assert [cell.attrib for cell in root.iterfind("cpu/numa/cell")] == [
        {"id": "0", "cpus": "0,1", "memory": "65536", "unit": "KiB"},
        {"id": "1", "cpus": "2,3", "memory": "65536", "unit": "KiB"},
    ]


def test_what_is_plugged_in_adds_to_the_memory_of_a_stopped_guest():
    before, after = declared(**ROOM), declared(**plugged(a=64 * MIB))

    changed = etree.fromstring(overlay(kept(before), after, before))

    assert changed.find("currentMemory") is None, "libvirt fills in the new sum"


CELLS = [{}, {}]


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (Numa, "manifest.bad-numa"),
        (lambda: Numa(nodeset="0-1", mode="preferred"), "manifest.bad-numa"),
        (lambda: Numa(mode="strict", cells=CELLS), "manifest.bad-numa"),
        (lambda: Numa(cells=[{"mode": "strict"}]), "manifest.bad-numa"),
        (lambda: Numa(cells=[{"nodeset": "0-1", "mode": "preferred"}]), "manifest.bad-numa"),
        (lambda: Numa(cells=[{"cpus": "0"}, {}]), "manifest.bad-numa"),
        (lambda: Numa(cells=[{"memory": MIB}, {}]), "manifest.bad-numa"),
        (lambda: Numa(cells=[{"distances": ["10", "20"]}, {}]), "manifest.bad-numa"),
        (lambda: Numa(cells=[{"distances": ["10"]}, {"distances": ["10"]}]), "manifest.bad-numa"),
        (lambda: Numa(cells=[{"distances": ["20"]}]), "manifest.bad-numa"),
        (lambda: Numa(cells=[{"distances": ["10", "10"]}, {"distances": ["10", "10"]}]), "manifest.bad-numa"),
        (lambda: Numa(cells=[{"distances": ["9"]}]), "greater_than_equal"),
        (lambda: Numa(cells=[{"distances": ["10", "255"]}, {"distances": ["20", "10"]}]), "less_than_equal"),
        (lambda: Numa(nodeset="0", cells=[{"nodeset": "0", "mode": "restrictive"}]), "manifest.bad-numa"),
        (lambda: Vm(cpus={"count": 3}, numa={"cells": CELLS}), "manifest.bad-numa"),
        (lambda: Vm(cpus={"count": 2}, memory=3 * MIB, numa={"cells": CELLS}), "manifest.bad-numa"),
        (lambda: Vm(cpus={"count": 2}, numa={"cells": [{"cpus": "0"}, {"cpus": "0"}]}), "manifest.bad-numa"),
        (lambda: Vm(cpus={"count": 2}, numa={"cells": [{"cpus": "0"}]}), "manifest.bad-numa"),
        (lambda: Vm(numa={"cells": [{"cpus": "1"}]}), "manifest.bad-numa"),
        (lambda: Vm(memory=GIB, numa={"cells": [{"memory": MIB}]}), "manifest.bad-numa"),
        (lambda: Vm(memory=GIB, numa={"cells": [{"memory": GIB + KIB}]}), "manifest.bad-numa"),
        (lambda: Vm(memory=3 * MIB, numa={"cells": [{"pages": 2 * MIB}]}), "manifest.bad-numa"),
        (lambda: Vm(memory={"source": "anonymous"}, numa={"cells": [{"pages": GIB}]}), "manifest.bad-numa"),
        (lambda: Memory(modules={"a": GIB}), "manifest.bad-memory"),
        (lambda: Memory(slots=4), "manifest.bad-memory"),
        (lambda: Memory(max=2 * GIB, hotplug_max=4 * GIB), "manifest.bad-memory"),
        (lambda: Memory(hotplug_max=GIB, modules={"a": GIB}), "manifest.bad-memory"),
        (lambda: Memory(hotplug_max=4 * GIB, slots=1, modules={"a": GIB, "b": GIB}), "manifest.bad-memory"),
        (lambda: Memory(allocation_threads=2), "manifest.bad-memory"),
        (
            lambda: Vm(memory={"hotplug_max": 4 * GIB, "modules": {"a": {"size": GIB, "cell": 1}}}),
            "manifest.bad-memory",
        ),
        *(
            (lambda module=module: Memory(hotplug_max=8 * GIB, modules={"a": module}), "manifest.bad-memory")
            for module in (
                {"size": GIB, "requested": MIB},
                {"size": GIB, "block": MIB},
                {"size": GIB, "path": "/srv/x"},
                {"size": GIB, "model": "nvdimm"},
                {"size": GIB, "model": "nvdimm", "path": "/srv/x", "pages": 2 * MIB},
                {"size": GIB, "model": "nvdimm", "path": "/srv/x", "label": KIB},
                {"size": KIB},
                {"size": GIB, "pages": 4 * KIB},
                {"size": GIB, "model": "virtio-mem", "block": 3 * MIB},
                {"size": GIB, "model": "virtio-mem", "requested": MIB},
                {"size": GIB, "model": "virtio-mem", "requested": 2 * GIB},
            )
        ),
    ],
)
def test_what_cannot_be_is_refused(make, code):
    with pytest.raises(ValidationError) as refused:
        make()

    assert code in {error["type"] for error in refused.value.errors()}
