"""What hosts set aside is held against what they have."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kvmdecl.check_hosts import check_hosts
from kvmdecl.cluster import PlacedCluster
from kvmdecl.facts import HostCpu
from tests.placement.numa import two_cells
from tests.resolve.support import resolved

HEAD = "apiVersion: kvmdecl/v1\ncluster: demo\nhosts: {{kvm-1: {{uri: 'qemu+tcp://a/system'{}}}}}\n"


def told(host: str, vms: str = "") -> list[tuple[str, str]]:
    cluster = resolved(f"vms: {{{vms}}}\n", head=HEAD.format(host))
    placed = PlacedCluster(cluster, tuple(vm.on("kvm-1") for vm in cluster.vms))
    return [(found.code, found.summary) for found in check_hosts(placed, {"kvm-1": two_cells()})]


@pytest.mark.parametrize(
    ("dedicated", "found"),
    [
        ("1-3,9-11", []),
        (
            "1-3,9-11,16-17",
            [("check.no-host-cpu", "kvm-1 has no CPU 16-17")],
        ),
        (
            "1-3",
            [("check.split-core", "kvm-1 sets aside CPUs 1-3 and not the other threads of their cores")],
        ),
    ],
)
def test_cpus_that_are_set_aside_are_there_as_whole_cores(dedicated: str, found: list[tuple[str, str]]):
    assert told(f", dedicated: '{dedicated}'") == found


def test_a_thread_whose_sibling_is_offline_is_a_core_of_its_own():
    host = two_cells()
    cpus = tuple(
        HostCpu(cpu.id, cpu.socket, 0, cpu.core, cpu.siblings) for cpu in host.cells[0].cpus if cpu.id != 9
    )
    offline = replace(host, cells=(replace(host.cells[0], cpus=cpus), host.cells[1]))
    cluster = resolved("vms: {}\n", head=HEAD.format(", dedicated: '1'"))
    assert list(check_hosts(PlacedCluster(cluster, ()), {"kvm-1": offline})) == []
