"""CPUs of guests and how hosts run them: definitions, changes, and how they fare on a real host."""

from __future__ import annotations

from typing import Any

import pytest
from lxml import etree
from pydantic import ValidationError

from kvmdecl.libvirt_xml.impact import assess
from kvmdecl.libvirt_xml.overlay import complete
from kvmdecl.manifest import Cpus, Vm
from kvmdecl.manifest.cpus import LEVELS
from kvmdecl.names import MIB
from kvmdecl.plan import Impact
from kvmdecl.state import Origin
from tests.libvirt_xml.examples import declared, kept, observed
from tests.libvirt_xml.test_on_libvirt import (
    ROOT,
    define_each_over_the_last,
    host,
    start_and_find_nothing_to_do,
)
from tests.libvirt_xml.test_on_libvirt import declared as declared_on_host

__all__ = ["host"]

FIFO = {"policy": "fifo", "priority": 3}

GUESTS: dict[str, dict[str, Any]] = {
    "limits of everything": {
        "iothreads": 2,
        "cpu_keys": dict.fromkeys(
            ("global_period", "global_quota", "iothread_period", "iothread_quota", "quota"), 50000
        ),
    },
    "pinned threads of I/O": {"iothreads": 2, "cpu_keys": {"iothread_pins": {"1": "0", "2": "0-1"}}},
    "realtime": {
        "iothreads": 1,
        "max_cpus": 4,
        "cpu_keys": {
            "scheduler": FIFO | {"only": "1-3"},
            "emulator_scheduler": "rr",
            "iothread_scheduler": "batch",
        },
    },
    "shares of a cache": {
        "type": "kvm",
        "max_cpus": 4,
        "cpu_keys": {
            "cache_shares": [
                {"vcpus": "0-1", "size": 3 * MIB},
                {"vcpus": "0-1", "size": 3 * MIB, "bank": 1},
                {"vcpus": "2", "size": MIB, "type": "code"},
            ],
            "bandwidth_shares": [{"vcpus": "0-1", "percent": 60}, {"vcpus": "3", "percent": 30, "node": 1}],
        },
    },
    "a choosy named model": {
        "cpu_model": "Nehalem",
        "cpu_keys": {
            "vendor": "Intel",
            "match": "minimum",
            "fallback": "allow",
            "check": "none",
            "cache": "emulate",
            "address_bits": "40",
        },
    },
    "all of the host": {
        "type": "kvm",
        "cpu_model": "host-passthrough",
        "cpu_keys": {"migratable": False, "cache": "passthrough", "address_bits": "host", "check": "none"},
    },
    **{f"level {level}": {"type": "kvm", "cpu_model": level} for level in LEVELS},
}
NEEDS_MORE = frozenset(
    {"limits of everything", "realtime", "shares of a cache", "a choosy named model", "all of the host"}
    | {f"level {level}" for level in LEVELS}
)
"""Guests that start only where there are cgroups, realtime threads, resctrl, KVM or an Intel CPU."""


@pytest.mark.parametrize("name", GUESTS)
def test_every_option_fits_libvirts_schema(against_schema, name):
    assert against_schema("domain", complete(declared(**GUESTS[name]))) == []


@pytest.mark.xdist_group("lab")
def test_every_guest_reads_back_as_it_was_declared_also_after_all_others(host):
    define_each_over_the_last(host, GUESTS)


@pytest.mark.xdist_group("lab")
@pytest.mark.parametrize("name", sorted(set(GUESTS) - NEEDS_MORE))
def test_a_guest_that_was_just_started_needs_nothing(host, name):
    text = declared_on_host(disks=(ROOT,), nics=(), **GUESTS[name])

    start_and_find_nothing_to_do(host, text)


def test_a_level_is_the_same_model_and_more_of_its_features():
    def features(level: str) -> set[str]:
        root = etree.fromstring(declared(cpu_model=level))
        assert root.findtext("cpu/model") == "Nehalem"
        return {feature.get("name") for feature in root.iterfind("cpu/feature[@policy='require']")}

    assert features("x86-64-v2") < features("x86-64-v3") < features("x86-64-v4")


def test_realtime_threads_are_written_one_by_one_as_libvirt_does():
    root = etree.fromstring(declared(**GUESTS["realtime"]))

    assert [found.get("vcpus") for found in root.iterfind("cputune/vcpusched")] == ["1", "2", "3"]
    assert root.find("cputune/emulatorsched").attrib == {"scheduler": "rr", "priority": "1"}
    assert root.find("cputune/iothreadsched").attrib == {"iothreads": "1", "scheduler": "batch"}


TWO = {"iothreads": 2}
PINNED = {"iothreads": 2, "cpu_keys": {"iothread_pins": {"1": "0"}}}


@pytest.mark.parametrize(
    ("before", "after", "keys", "impact", "calls"),
    [
        (TWO, PINNED, {"cpus.iothread_pins"}, Impact.LIVE, ["pin-iothread"]),
        (PINNED, TWO, {"cpus.iothread_pins"}, Impact.NEXT_BOOT, []),
        *(
            ({}, {"cpu_keys": {key: 5000}}, {f"cpus.{key}"}, Impact.LIVE, ["set-scheduler"])
            for key in ("global_period", "global_quota", "iothread_period", "iothread_quota")
        ),
        *(
            ({"cpu_keys": {key: 5000}}, {}, {f"cpus.{key}"}, Impact.NEXT_BOOT, [])
            for key in ("global_period", "iothread_period")
        ),
        *(
            ({"cpu_keys": {key: 5000}}, {}, {f"cpus.{key}"}, Impact.LIVE, ["set-scheduler"])
            for key in ("global_quota", "iothread_quota")
        ),
        *(
            ({}, {"cpu_keys": {key: value}}, {f"cpus.{key}"}, Impact.NEXT_BOOT, [])
            for key, value in (
                ("scheduler", FIFO),
                ("emulator_scheduler", FIFO),
                ("check", "full"),
                ("cache", "emulate"),
                ("address_bits", "40"),
            )
        ),
        *(
            (
                {"type": "kvm"},
                {"type": "kvm", "cpu_keys": {key: [value]}},
                {f"cpus.{key}"},
                Impact.NEXT_BOOT,
                [],
            )
            for key, value in (
                ("cache_shares", {"vcpus": "0", "size": MIB}),
                ("bandwidth_shares", {"vcpus": "0", "percent": 50}),
            )
        ),
        *(
            (
                {"cpu_model": "Nehalem"},
                {"cpu_model": "Nehalem", "cpu_keys": {key: value}},
                {at},
                Impact.NEXT_BOOT,
                [],
            )
            for key, value, at in (
                ("vendor", "Intel", "cpus.vendor"),
                ("match", "strict", "cpus.match"),
                ("fallback", "allow", "cpus.model"),
            )
        ),
        ({"cpu_model": "x86-64-v2"}, {"cpu_model": "x86-64-v3"}, {"cpus.features"}, Impact.NEXT_BOOT, []),
    ],
)
def test_what_a_change_does_to_a_running_guest(before, after, keys, impact, calls):
    was = kept(declared(**before))

    found = assess(declared(**after), declared(**before), observed(was, was), Origin())

    assert {change.key for change in found.changes} == keys
    assert {change.impact for change in found.changes} == {impact}
    assert [call.call for call in found.live] == calls


def test_all_limits_that_changed_go_into_one_call():
    was = kept(declared())
    after = declared(cpu_keys={"shares": 512, "iothread_quota": 9000, "global_period": 8000})

    (call,) = assess(after, declared(), observed(was, was), Origin()).live

    assert call.argument == "global_period=8000 iothread_quota=9000 cpu_shares=512"


def test_each_vcpu_has_one_of_as_many_cpus_in_the_order_in_which_they_are_written():
    pinned = {"0": "4", "1": "36", "2": "5", "3": "37"}
    said = declared(max_cpus=4, cpu_keys={"pins": "4,36,5,37"})
    assert said == declared(max_cpus=4, cpu_keys={"pins": pinned})


@pytest.mark.parametrize(
    "make",
    [
        lambda: Cpus(model="x86-64-v7"),
        lambda: Cpus(vendor="Intel"),
        lambda: Cpus(model="host-model", match="strict"),
        lambda: Cpus(model="maximum", fallback="allow"),
        lambda: Cpus(model="Nehalem", migratable=True),
        lambda: Cpus(cache="passthrough"),
        lambda: Cpus(model="maximum", address_bits="host"),
        lambda: Cpus(scheduler={"policy": "idle", "priority": 1}),
        lambda: Cpus(count=2, scheduler={"policy": "rr", "only": "0-2"}),
        lambda: Cpus(emulator_scheduler={"policy": "rr", "only": "0"}),
        lambda: Cpus(iothread_pins={"0": "1"}),
        lambda: Cpus(count=2, pins="4-6"),
        lambda: Cpus(count=2, max=4, pins="4-5"),
        lambda: Cpus(count=2, pins="4,4"),
        lambda: Cpus(count=2, pins={"each": "4-5", "0": "4"}),
        lambda: Cpus(count=2, pins={"2": "4"}),
        lambda: Cpus(cache_shares=[{"vcpus": "1", "size": MIB}]),
        lambda: Cpus(
            count=2,
            cache_shares=[{"vcpus": "0-1", "size": MIB}],
            bandwidth_shares=[{"vcpus": "0", "percent": 9}],
        ),
        lambda: Cpus(cache_shares=[{"vcpus": "0", "size": MIB}] * 2),
        lambda: Vm(iothreads=1, cpus={"iothread_pins": {"2": "0"}}),
        lambda: Vm(cpus={"iothread_scheduler": "rr"}),
        lambda: Vm(type="qemu", cpus={"bandwidth_shares": [{"vcpus": "0", "percent": 9}]}),
        lambda: Vm(iothreads=1, cpus={"iothread_scheduler": {"policy": "rr", "only": "1-2"}}),
    ],
)
def test_what_cannot_be_is_refused(make):
    with pytest.raises(ValidationError) as refused:
        make()

    assert {error["type"] for error in refused.value.errors()} == {"manifest.bad-cpus"}
