"""What rules find and leave alone beyond their examples: who, in a small cluster."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kvmdecl.cluster import PlacedCluster
from kvmdecl.diagnostics import Diagnostic, Severity
from kvmdecl.facts import HostFacts, PagePool
from kvmdecl.names import GIB, KIB
from kvmdecl.rules import Site, accepted, findings, placed_site
from tests.placement.numa import two_cells
from tests.placement.support import facts
from tests.rules.support import BY_CODE, site

_BALLOON = "memory: {size: 1GiB, max: 2GiB}"
_GPU = '{pci: {vendor: "10de"}}'
_SCREEN = "graphics: {type: vnc, listen: 10.0.0.5"
_IGNITION = '{"ignition": {"version": "3.4.0"}, "k": "BEGIN PRIVATE KEY"}'
CASES = (
    # code of the rule, vms (or more of a manifest), whom it finds
    ("memory.stiff-balloon", f"a: {{{_BALLOON}, devices: [{_GPU}]}}", ["vm/a"]),
    ("memory.stiff-balloon", f'a: {{{_BALLOON}, nics: [{{pci: "0000:01:00.1"}}]}}', ["vm/a"]),
    ("memory.stiff-balloon", f"a: {{{_BALLOON}, nics: [{{vf: {_GPU}}}]}}", ["vm/a"]),
    ("memory.stiff-balloon", f"a: {{{_BALLOON}, nics: [fast]}}", ["vm/a"]),
    ("memory.stiff-balloon", f"a: {{devices: [{_GPU}], balloon: {{free_page_reporting: true}}}}", ["vm/a"]),
    ("memory.stiff-balloon", f"a: {{{_BALLOON}, devices: [{_GPU}], balloon: false}}", []),
    ("memory.stiff-balloon", f"a: {{{_BALLOON}, nics: [lan]}}", []),
    ("memory.hard-limit", "a: {memory: {size: 1GiB, hard_limit: 1900MiB}}", []),
    ("memory.hard-limit", f"a: {{memory: {{size: 1GiB, hard_limit: 1900MiB}}, devices: [{_GPU}]}}", ["vm/a"]),
    ("memory.hard-limit", f"a: {{memory: {{size: 1GiB, hard_limit: 2GiB}}, devices: [{_GPU}]}}", []),
    ("network.macvtap-island", "a: {nics: [{device: eth1}]}", ["vm/a"]),
    ("network.macvtap-island", "a: {nics: [{device: eth1}, lan]}", []),
    ("network.macvtap-island", "a: {}", []),
    ("security.open-console", f"a: {{{_SCREEN}}}}}", ["vm/a"]),
    ("security.open-console", f"a: {{{_SCREEN}, expose: true}}}}", []),
    ("security.open-console", "a: {graphics: {type: spice, listen: '::1'}}", []),
    ("security.open-console", "a: {graphics: {type: none, listen: 10.0.0.5}}", []),
    ("cpu.nested", "a: {cpus: {count: 1, nested: host}}, b: {cpus: {count: 1, nested: true}}", ["vm/b"]),
    (
        "operations.stays-put",
        "a: {host: kvm-1, nics: [fast]}, b: {nics: [fast]}, c: {disks: {d: 1GiB}}",
        ["vm/b"],
    ),
    ("operations.ha-cannot-move", "a: {ha: true, nics: [fast]}, b: {ha: true}", ["vm/a"]),
    ("security.secret-inline", f"a: {{ignition: {{config: '{_IGNITION}'}}}}", ["vm/a"]),
    ("guest.slow-clock", "a: {os: windows, timers: {kvmclock: false}}", []),
    (
        "cpu.same-cpu",
        'a: {host: kvm-2, cpus: {count: 1, pins: "3"}}, b: {host: kvm-1, cpus: {count: 1, pins: "3"}}',
        ["vm/a"],
    ),
)
_BASE = """\
hosts: {kvm-2: {uri: "qemu+tls://kvm-2.example/system", dedicated: "2-3"}}
networks: {fast: {mode: hostdev, device: eth1}}
"""


@pytest.mark.parametrize(("code", "vms", "who"), CASES)
def test_a_rule_finds_whom_it_is_about(code: str, vms: str, who: list[str], tmp_path: Path) -> None:
    seen = site(tmp_path, f"{_BASE}vms: {{{vms}}}\n")
    assert [found.owner for _, found in findings([BY_CODE[code]], seen)] == who


def test_a_finding_about_moving_tells_all_that_holds_the_guest(tmp_path: Path) -> None:
    seen = site(tmp_path, _BASE + "vms: {a: {disks: {d: 1GiB}, nics: [fast], shared_memory: {ring: 4MiB}}}\n")
    ((_, found),) = findings([BY_CODE["operations.stays-put"]], seen)
    assert found.summary == (
        "a stays where it is: NIC 0 is a function of a network card, and of no team;"
        " it shares memory with others of its host"
    )


def test_one_label_of_two_tenants_is_told_of_users_too(tmp_path: Path) -> None:
    label = 'security: {dac: {type: static, label: "+107:+107"}}'
    vms = f"vms: {{a: {{{label}}}, b: {{{label}}}}}\n"
    assert not list(findings([BY_CODE["security.same-label"]], site(tmp_path, vms)))
    tenants = site(tmp_path, "rules: {tenancy: shared}\n" + vms)
    assert [found.owner for _, found in findings([BY_CODE["security.same-label"]], tenants)] == ["vm/b"]


# -- on hosts that were read -------------------------------------------------------------------------------------


def _on(host: HostFacts, folder: Path, said: str, vms: str) -> Site:
    seen = site(
        folder, f'hosts: {{kvm-9: {{uri: "qemu+tls://kvm-9.example/system"{said}}}}}\nvms: {{{vms}}}\n'
    )
    placed = PlacedCluster(seen.cluster, tuple(vm.on("kvm-9") for vm in seen.vms))
    return placed_site(placed, {"kvm-9": host}, {})


@pytest.mark.parametrize(
    ("host", "vms", "is_told"),
    [
        ("", "a: {cpus: 64, memory: 1GiB}", False),
        ("", "a: {cpus: 65, memory: 1GiB}", True),
        (", overcommit: 8", "a: {cpus: 65, memory: 1GiB}", False),
        (", reserve: {cpus: 4}", "a: {cpus: 49, memory: 1GiB}", True),
        (", dedicated: '1-3,9-11'", "a: {cpus: 41, memory: 1GiB}", True),
        (", dedicated: '1-3,9-11'", "a: {cpus: {count: 3, policy: dedicated}}, b: {cpus: 40}", False),
        (
            ", dedicated: '1-3,9-11'",
            "a: {cpus: {count: 42, policy: mixed, dedicated: '0-1'}, memory: 1GiB}",
            False,
        ),
        ("", "a: {cpus: {count: 2, pins: '4-5'}}, b: {cpus: 64}", False),
        ("", "a: {cpus: 65, state: absent}", False),
        ("", f"a: {{cpus: {{count: 40, pins: {dict.fromkeys(range(40), '0-3,8-11')}}}}}", True),
        ("", f"a: {{cpus: {{count: 40, pins: {dict.fromkeys(range(40), '0-15')}}}}}", False),
    ],
)
def test_more_than_four_vcpus_for_a_cpu_of_a_host_or_of_a_cell_are_told(
    host: str, vms: str, is_told: bool, tmp_path: Path
) -> None:
    found = findings([BY_CODE["cpu.overcommit"]], _on(two_cells(), tmp_path, host, vms))
    assert [finding.owner for _, finding in found] == ["host/kvm-9"] * is_told


@pytest.mark.parametrize(
    ("said", "db", "web", "told"),
    [
        ("", "40GiB, pages: 1GiB", "24GiB", None),
        ("", "40GiB, pages: 1GiB", "25GiB", "25GiB of memory, and it has 24GiB for them beside 40GiB of huge pages"),
        ("", "20GiB", "5GiB", "25GiB of memory, and it has 24GiB for them beside 40GiB of huge pages"),
        (", ksm: {pages_to_scan: 100}", "20GiB", "16GiB", None),
        (", ksm: {pages_to_scan: 100}", "20GiB", "17GiB", "37GiB of memory, and it has 24GiB for them beside"),
        ("", "1GiB", "900GiB", None),
    ],
)  # fmt: skip
def test_a_host_whose_guests_have_more_memory_than_it_is_told(
    said: str, db: str, web: str, told: str | None, tmp_path: Path
) -> None:
    host = facts(memory=64 * GIB)
    host = replace(host, cells=(replace(host.cells[0], pages=(PagePool(4 * KIB, 1), PagePool(GIB, 40))),))
    vms = f"db: {{memory: {{size: {db}}}}}, web: {{memory: {web}}}"
    found = [f.summary for _, f in findings([BY_CODE["memory.overcommit"]], _on(host, tmp_path, said, vms))]
    assert len(found) == (told is not None)
    assert told is None or told in found[0]


# -- warnings of checks ------------------------------------------------------------------------------------------


def test_warnings_of_checks_are_ignored_and_waived_like_those_of_rules(tmp_path: Path) -> None:
    told = [
        Diagnostic("check.split-core", "half a core", severity=Severity.WARNING, subject="host/kvm-1"),
        Diagnostic("check.cpu-elsewhere", "cannot move", severity=Severity.WARNING, subject="vm/web-1"),
        Diagnostic("check.cpu-elsewhere", "cannot move", severity=Severity.WARNING, subject="vm/db-1"),
        Diagnostic("check.no-bridge", "no bridge", subject="network/lan"),
    ]

    def left(rules: str) -> list[str]:
        return [found.subject for found in accepted(site(tmp_path, f"rules: {{{rules}}}\n").cluster, told)]

    every = ["host/kvm-1", "vm/web-1", "vm/db-1", "network/lan"]
    assert left("") == every
    assert left("ignore: [check.split-core]") == every[1:]
    assert left("ignore: [check]") == ["network/lan"], "an error is never accepted"
    waiver = "until: 2031-01-01, reason: old hosts leave"
    assert left(f"waive: [{{rule: check.cpu-elsewhere, on: [vm/web-*], {waiver}}}]") == [every[0], *every[2:]]
