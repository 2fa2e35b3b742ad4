"""Guests that move between simulated hosts, and what a real host does too seldom to wait for."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from kvmdecl.events import StepFailed
from kvmdecl.hosts.processes import this_run
from tests.simulation.faults import Bench, Manifest
from tests.simulation.fleet import Fleet, World
from tests.simulation.libvirtd import SimulatedHost

BEFORE: Manifest = {
    "apiVersion": "kvmdecl/v1",
    "cluster": "simulated",
    "hosts": {name: {"uri": f"qemu+tls://{name}.example/system"} for name in ("kvm-1", "kvm-2")},
    "vms": {"web": {"type": "qemu", "host": "kvm-1", "memory": "16MiB", "state": "running"}},
}


def test_a_guest_that_ends_on_its_way_has_not_arrived_and_the_next_apply_starts_it(tmp_path: Path):
    bench, world = Bench(tmp_path), World({name: SimulatedHost(name) for name in ("kvm-1", "kvm-2")})
    source, target = world.hosts.values()
    after = copy.deepcopy(BEFORE)
    after["vms"]["web"]["host"] = "kvm-2"
    bench.apply(bench.plan(bench.cluster(BEFORE), world), Fleet(world, this_run("simulated")))
    (key,) = world.moving = set(source.guests)

    def crash_there(line: Any, name: str, effect: Any) -> Any:
        answer = world.meddle(line, name, effect)
        if name == "migrateConfirm3":
            target.guests[key].live = None
        return answer

    world.may_go, source.meddle = world.moving, crash_there
    cluster = bench.cluster(after)
    events = bench.apply(bench.plan(cluster, world), Fleet(world, this_run("simulated")))
    runs = target.guests[key].runs
    bench.apply(bench.plan(cluster, world), Fleet(world, this_run("simulated")))

    (failed,) = (event.diagnostic for event in events if isinstance(event, StepFailed))
    assert failed.code == "step.not-arrived"
    assert failed.summary == "kvm-2/domain/web was migrated from kvm-1, and does not run"
    assert (runs, target.guests[key].runs, list(source.guests)) == (False, True, [])
    assert bench.plan(cluster, world).steps == ()
    assert world.violations == []
