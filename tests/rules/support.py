"""Clusters made of a rule's example, and hosts as the example says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from kvmdecl.facts import Cell, HostCpu, HostFacts, Machine
from kvmdecl.names import GIB
from kvmdecl.pipeline import load_cluster
from kvmdecl.placement import place
from kvmdecl.pluginhost import Plugins, load_plugins
from kvmdecl.rules import Rule, Site, placed_site, site_of
from kvmdecl.state import HostSnapshot, HostState, ObservedPool
from tests.placement.support import facts

PLUGINS: Plugins = load_plugins()
RULES = PLUGINS.rules()
BY_CODE = {rule.code: rule for rule in RULES}
BASE = """\
apiVersion: kvmdecl/v1
cluster: example
hosts: {kvm-1: "qemu+tls://kvm-1.example/system"}
networks: {lan: {bridge: br0}}
storage: {vms: /srv/vms}
images: {debian-13: {source: debian-13.qcow2, sha256: "%s"}}
""" % ("0" * 64)


def site(folder: Path, example: str, rule: Rule | None = None) -> Site:
    """The example as a manifest, with its hosts read where the rule needs them."""
    (folder / "base.yaml").write_text(BASE)
    (folder / "example.yaml").write_text(example)
    cluster = load_cluster(folder, PLUGINS)
    if rule is None or not rule.needs_hosts:
        return site_of(cluster)
    snapshots = {
        host.name: HostSnapshot(
            host.name, machine(number, rule.machine), HostState(pools=_pools(rule.machine))
        )
        for number, host in enumerate(cluster.hosts)
    }
    placed = place(cluster, snapshots, PLUGINS.solver(cluster.solver))
    found = {name: snapshot.facts for name, snapshot in snapshots.items()}
    return placed_site(placed, found, {name: snapshot.state for name, snapshot in snapshots.items()})


def _pools(said: Any) -> tuple[ObservedPool, ...]:
    """Pools that an example's hosts have, by name, with their capacity in GiB."""
    return tuple(
        ObservedPool(name, "", "<pool/>", True, True, size * GIB, size * GIB, ())
        for name, size in said.get("pools", {}).items()
    )


def machine(number: int, said: Any) -> HostFacts:
    """Host `number` of an example: what `Rule.machine` says of it, and the rest as a usual host has it."""
    found = replace(
        facts(memory=said.get("memory", 64) * GIB), cpu_features=said.get("cpu_features", ("vmx",))
    )
    if "cells" in said:
        cells = tuple(_cell(id_, *cell) for id_, cell in enumerate(said["cells"]))
        found = replace(found, cells=cells, memory=sum(cell.memory for cell in cells))
    if "cpu_models" in said:
        found = replace(found, cpu_model=said["cpu_models"][number])
    if "machines" in said:
        names = (said["machines"][number], "q35", said["machines"][-1])
        known = tuple(
            Machine(name, said["machines"][number] if name == "q35" else name, 288) for name in names
        )
        found = replace(found, guests=tuple(replace(guest, machines=known) for guest in found.guests))
    qemu = said["qemus"][number] if "qemus" in said else said.get("qemu", found.qemu)
    return replace(found, qemu=qemu)


def _cell(id_: int, cpus: str, gib: int) -> Cell:
    first, last = map(int, cpus.split("-"))
    threads = tuple(HostCpu(cpu, id_, 0, cpu, (cpu,)) for cpu in range(first, last + 1))
    return Cell(id_, gib * GIB, threads, (), ())
