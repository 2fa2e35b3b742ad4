"""`python -m tests.simulation.scale [HOSTS] [VMS]`: a rollout over many simulated hosts, some of which are ill.

All guests of all hosts are made, then one in ten gets another description. Both times some hosts hang from the
beginning or from some call on, lose their connection, are restarted, or refuse a call. The others have to get all of
it; when all are well again, a plain apply has to end it.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from kvmdecl.events import StepDone
from kvmdecl.hosts.processes import this_run
from tests.simulation.faults import Bench, Manifest, in_memory, somebody
from tests.simulation.fleet import Fault, Fleet, World
from tests.simulation.libvirtd import SimulatedHost

_KINDS = ("hang", "cut", "restart", "refuse")


def manifest(hosts: int, vms: int, note: str) -> Manifest:
    """Guests with small disks: what is tried is the number of them. `note` describes one in ten."""
    names = [f"kvm-{number}" for number in range(1, hosts + 1)]
    few = -(-vms // 10)
    return {
        "apiVersion": "kvmdecl/v1",
        "cluster": "simulated",
        "hosts": {name: {"uri": f"qemu+tls://{name}.example/system"} for name in names},
        "storage": {"vms": {"path": "/srv/vms"}},
        "defaults": {"vms": {"type": "qemu", "memory": "16MiB", "disk": "1MiB"}},
        "vms": {
            **{f"n{name[4:]}": {"host": name, "count": few, "description": note} for name in names},
            **{f"v{name[4:]}": {"host": name, "count": vms - few} for name in names if vms > few},
        },
    }


def rollout(bench: Bench, hosts: int, vms: int) -> list[str]:
    """Returns what must not be, and is."""
    r = random.Random(f"{hosts} {vms}")
    world = World({f"kvm-{number}": SimulatedHost(f"kvm-{number}") for number in range(1, hosts + 1)})
    wrong = []
    for note in ("first", "second"):
        cluster = bench.cluster(manifest(hosts, vms, note))
        wrong += _though_some_are_ill(bench, cluster, world, r)
        world.thaw()
        bench.apply(bench.plan(cluster, world), Fleet(world, this_run("simulated")))
    wrong += [f"{step.address} is left at the end" for step in bench.plan(cluster, world).steps]
    guests = sum(len(host.guests) for host in world.hosts.values())
    ended = sum(sum(host.ends.values()) for host in world.hosts.values())
    if (guests, ended) != (hosts * vms, 0):
        wrong.append(f"there are {guests} guests, and {ended} were ended")
    return wrong + world.violations


def _though_some_are_ill(bench: Bench, cluster: Any, world: World, r: random.Random) -> list[str]:
    """Apply while one host in 200 is silent from the beginning, and one in 100 falls ill on the way."""
    silent = r.sample(sorted(world.hosts), max(1, len(world.hosts) // 200))
    world.late |= {name: [] for name in silent}
    plan = bench.plan(cluster, world)
    wrong = [
        f"{host.name} is {host.status}"
        for host in plan.hosts
        if (host.status == "ok") == (host.name in silent)
    ]
    wrong += [
        f"{s.address} is planned, and nobody knows its host" for s in plan.steps if s.address.host in silent
    ]
    first, last = len(world.hosts) * 8, len(world.hosts) * 4 + len(plan.steps) * 8
    faults = {
        r.randint(first, max(first, last)): Fault(r.choice(_KINDS), r.random() < 0.5)
        for _ in range(max(1, len(world.hosts) // 100))
    }
    with ExitStack() as stack:
        fleet = Fleet(world, somebody(stack), faults)
        events = bench.apply(plan, fleet)
    struck = {told.rpartition(" ")[2] for told in fleet.struck}
    done = {event.address for event in events if isinstance(event, StepDone)}
    well = (step for step in plan.steps if step.address.host not in struck)
    return wrong + [
        f"{step.address} was not done, though its host is well" for step in well if step.address not in done
    ]


def main(hosts: int, vms: int) -> int:
    """Roll out over so many hosts, with so many guests each."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=in_memory()) as folder:
        wrong = rollout(Bench(Path(folder)), hosts, vms)
    print(*wrong[:50], sep="\n")
    print(
        f"{hosts} hosts with {vms} guests each in {time.monotonic() - began:.0f} s: {len(wrong)} must not be"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*(int(argument) for argument in [*sys.argv[1:], *("500", "40")[len(sys.argv) - 1 :]])))
