"""Edits that have nothing to do with a guest do not move it."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from kvmdecl_numa.solver import numa

from kvmdecl.diagnostics import Rejected
from kvmdecl.libvirt_xml.domain import domain_xml
from kvmdecl.placement import place
from kvmdecl.state import HostSnapshot, HostState, ObservedDomain
from tests.placement.numa import two_cells
from tests.resolve.support import resolved

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmdecl.cluster import PlacedCluster, ResolvedVm

HEAD = """\
apiVersion: kvmdecl/v1
cluster: demo
hosts:
  kvm-{1..4}: {uri: "qemu+tcp://{name}/system", dedicated: "1-3,5-7,9-11,13-15", labels: {rack: "r{n}"}}
"""
KINDS = (
    "cpus: {{count: {n}, policy: dedicated}}, memory: {m}GiB",
    "cpus: {{count: 2, policy: dedicated, threads: require}}, memory: {m}GiB",
    "cpus: {{count: 3, policy: mixed, dedicated: 0-1}}, memory: {m}GiB",
    "cpus: {n}, numa: {{bind: true}}, memory: {m}GiB",
    "memory: {m}GiB",
    "memory: {m}GiB, apart: {{group: far}}",
)


def applied(placed: PlacedCluster) -> dict[str, HostSnapshot]:
    """The hosts as an apply leaves them."""
    return {
        host.name: HostSnapshot(
            host.name,
            two_cells(),
            HostState(domains=tuple(_domain(vm) for vm in placed.vms if vm.host == host.name)),
        )
        for host in placed.cluster.hosts
    }


def _domain(vm: ResolvedVm) -> ObservedDomain:
    xml = domain_xml(vm, {})
    return ObservedDomain(
        name=vm.name,
        uuid=vm.uuid,
        xml=xml,
        live_xml=xml,
        active=True,
        persistent=True,
        autostart=False,
        managed_save=False,
    )


class Editor:
    """Adds guests, takes some away, and changes what has nothing to do with placement."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.vms: dict[str, str] = {}
        self.made = 0

    def edit(self) -> set[str]:
        """Edit once; returns the names of guests that it is about."""
        kind = self.random.choice(("add", "add", "remove", "describe"))
        if kind == "add" or not self.vms:
            self.made += 1
            # No order of names: a new guest may come before all others or between them.
            name = f"{self.random.choice('abxyz')}{self.made}"
            text = self.random.choice(KINDS).format(n=self.random.randint(1, 4), m=self.random.randint(1, 4))
            self.vms[name] = text
            return {name}
        name = self.random.choice(sorted(self.vms))
        if kind == "remove":
            del self.vms[name]
        else:
            body = re.sub("^description: [a-z0-9 ]+, ", "", self.vms[name])
            self.vms[name] = f"description: word {self.made}, {body}"
        return {name}

    @property
    def text(self) -> str:
        """The guests of the manifest."""
        return f"vms:{'' if self.vms else ' {}'}\n" + "".join(
            f"  {name}: {{{body}}}\n" for name, body in self.vms.items()
        )


def tuned(placed: PlacedCluster) -> Mapping[str, Any]:
    return {vm.name: (vm.host, vm.spec.cpus, vm.spec.numa) for vm in placed.vms}


def empty_hosts() -> dict[str, HostSnapshot]:
    return {f"kvm-{n}": HostSnapshot(f"kvm-{n}", two_cells(), HostState()) for n in range(1, 5)}


def edited(seed: int, count: int) -> int:
    """How many guests moved in all."""
    editor, moved = Editor(seed), 0
    hosts = empty_hosts()
    before: Mapping[str, Any] = {}
    for _ in range(count):
        kept = dict(editor.vms)
        touched = editor.edit()
        try:
            placed = place(resolved(editor.text, head=HEAD), hosts, numa)
        except Rejected as rejected:
            if {found.code for found in rejected.diagnostics} != {"placement.no-host"}:
                raise
            editor.vms = kept  # there is no room left
            continue
        after = tuned(placed)
        moved += sum(before[name] != after[name] for name in before.keys() & after.keys() - touched)
        before, hosts = after, applied(placed)
    return moved


def test_unrelated_edits_move_nobody():
    assert edited(seed=1, count=60) == 0


@pytest.mark.proof
@pytest.mark.parametrize("seed", range(5))
def test_five_hundred_unrelated_edits_move_nobody(seed: int):
    assert edited(seed, count=100) == 0


def test_the_same_hosts_and_vms_get_the_same_places():
    kinds = [kind.format(n=2, m=2) for kind in KINDS]
    vms = "vms:\n" + "".join(f"  {'abxyz'[n % 5]}{n}: {{{kinds[n % len(kinds)]}}}\n" for n in range(16))
    cluster, hosts = resolved(vms, head=HEAD), empty_hosts()
    first = tuned(place(cluster, hosts, numa))
    shuffled = replace(cluster, vms=tuple(reversed(cluster.vms)))
    assert first == tuned(place(cluster, dict(reversed(hosts.items())), numa))
    assert first == tuned(place(shuffled, hosts, numa))
