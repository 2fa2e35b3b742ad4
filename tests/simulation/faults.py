"""`python -m tests.simulation.faults [SEEDS] [FIRST]`: whatever happens to a rollout of simulated hosts, this holds.

A seed is a cluster of two to five hosts, a change of its manifest, up to three faults at chosen calls of the apply that
carries it out, and which of its tasks has its turn at each call. When the faults are over, plain applies end it.
"""

from __future__ import annotations

import copy
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from threading import Event as Flag
from typing import Any

from kvmdecl.apply import apply
from kvmdecl.events import Event, RolloutStopped, StepDone, StepFailed, StepRefused, StepSkipped, StepStarted
from kvmdecl.hosts.ledger import read_ledgers
from kvmdecl.hosts.processes import this_run
from kvmdecl.journal import Journal, read_run
from kvmdecl.pipeline import load_cluster, plan_cluster
from kvmdecl.plan import Action, Plan
from kvmdecl.pluginhost import Plugins, load_plugins
from kvmdecl.runs import Holder
from kvmdecl.state import Address, Kind
from kvmdecl.tasks import MoveDomain
from kvmdecl.waves import waves_of
from tests.simulation.fleet import At, Fault, Fleet, World
from tests.simulation.libvirtd import SimulatedHost, undisturbed
from tests.simulation.turns import Killed

APPLIES = 3
"""So many plain applies may be needed to end what a fault left."""
CHANGES = 25
"""Seeds that share a cluster and a change of it."""
_KINDS = ("kill", "kill", "cut", "hang", "restart", "refuse")
_PHASES = ("migrateBegin3", "migratePrepare3", "migratePerform3", "migrateFinish3", "migrateConfirm3")
_AT_ONCE = {"timeout": "1s", "force": True}
Manifest = dict[str, Any]


# -- what is declared ------------------------------------------------------------------------------------------


def manifests(shape: int) -> tuple[Manifest, Manifest]:
    """A cluster, and the same one later."""
    r = random.Random(f"shape {shape}")
    hosts = [f"kvm-{number}" for number in range(1, r.randint(2, 5) + 1)]
    vms = {f"{host[-1]}{place}": _vm(r, host) for host in hosts for place in "abcd"[: r.randint(1, 4)]}
    before: Manifest = {
        "apiVersion": "kvmdecl/v1",
        "cluster": "simulated",
        "hosts": {host: {"uri": f"qemu+tls://{host}.example/system"} for host in hosts},
        "networks": {"lan": {"mode": "isolated", "subnet": "192.168.150.0/24"}},
        "storage": {"vms": {"path": "/srv/vms"}},
        "images": {"tiny": {"source": "tiny.img", "format": "raw"}},
        "defaults": {"vms": {"type": "qemu", "restart": "now", "shutdown": _AT_ONCE}},
        "vms": vms,
    }
    after = copy.deepcopy(before)
    if r.random() < 0.7:
        after["rollout"] = {"canary": [hosts[0]], "max_parallel": r.randint(1, 3)}
        after["rollout"]["max_failed"] = r.randint(0, len(hosts))
    if r.random() < 0.5:
        after["networks"]["new"] = {"mode": "isolated"}
    moves = r.random() < 0.5
    for name, vm in after["vms"].items():
        if moves and vm.get("state") != "stopped" and r.random() < 0.4:
            vm["host"] = r.choice(hosts)
        for change in (
            r.sample(_CHANGES, r.randint(0, 2)) if vm["host"] == before["vms"][name]["host"] else ()
        ):
            change(r, name, vm)
    for number in range(r.choice((0, 1, 1, 2, 6))):
        after["vms"][f"new{number}"] = _vm(r, r.choice(hosts))
    return before, after


def _vm(r: random.Random, host: str) -> Manifest:
    vm: Manifest = {"host": host, "memory": {"size": "16MiB", "max": "32MiB"}}
    vm |= {"nics": ["lan"] if r.random() < 0.5 else []}
    vm |= {"image": "tiny"} if r.random() < 0.3 else {"disk": "1MiB"}
    vm |= {"state": "stopped"} if r.random() < 0.3 else {}
    return vm | ({"firmware": "uefi"} if r.random() < 0.2 else {})


def _more_memory(r: random.Random, _name: str, vm: Manifest) -> None:
    vm["memory"] = {"size": "16MiB", "max": f"{40 + 8 * r.randint(0, 3)}MiB"}


def _described(r: random.Random, _name: str, vm: Manifest) -> None:
    vm["description"] = f"note {r.randint(0, 99)}"


def _more_disks(r: random.Random, name: str, vm: Manifest) -> None:
    if vm.get("state") == "stopped":
        vm["disks"] = {"more": {"image": "tiny"} if r.random() < 0.5 else "2MiB"}


def _other_power(_r: random.Random, _name: str, vm: Manifest) -> None:
    vm["state"] = "running" if vm.get("state") == "stopped" else "stopped"


def _no_autostart(_r: random.Random, _name: str, vm: Manifest) -> None:
    vm["autostart"] = False


def _absent(_r: random.Random, _name: str, vm: Manifest) -> None:
    vm["state"] = "absent"


_CHANGES = [_more_memory, _more_memory, _described, _more_disks, _other_power, _no_autostart, _absent]


# -- runs ------------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Bench:
    """A folder with a manifest, and who applies it."""

    folder: Path

    def __post_init__(self) -> None:
        (self.folder / "tiny.img").write_bytes(b"tiny" * 1024)

    @cached_property
    def plugins(self) -> Plugins:
        return load_plugins()

    def cluster(self, manifest: Manifest) -> Any:
        path = self.folder / "cluster.yaml"
        path.write_text(json.dumps(manifest))
        return load_cluster(path, self.plugins)

    def plan(self, cluster: Any, world: World) -> Plan:
        plan, _ = plan_cluster(cluster, Fleet(world, this_run("simulated")), self.plugins)
        return plan

    def apply(self, plan: Plan, fleet: Fleet) -> list[Event]:
        """Carry a plan out; a run that is killed just breaks off. Its journal has to tell of all that it did."""
        journal = Journal.create(self.folder, fleet.holder, "apply", "cluster.yaml", plan)
        events: list[Event] = []
        with suppress(Killed), fleet.at_work():
            run = apply(
                plan, fleet, cancelled=Flag(), holder=fleet.holder,
                intend=lambda address: journal.intend(address, None),
            )  # fmt: skip
            for event in run:
                journal.note(event)
                events.append(event)
        untold = fleet.wrote - set(read_run(journal.path).begun)
        if untold:
            fleet.world.violations.append(f"the journal does not tell of {untold}")
        journal.__exit__(None)
        journal.discard()
        return events


@dataclass
class Trial:
    """A seed. `trace` is that of its world."""

    bench: Bench
    seed: int
    told: list[str] = field(default_factory=list)
    trace: list[tuple[str, str, str]] = field(default_factory=list)

    def run(self) -> list[str]:
        """What must not be, and is; with what happened before."""
        r = random.Random(f"seed {self.seed}")
        cluster, hosts, plan = start(self.bench, self.seed // CHANGES)
        world = World(copy.deepcopy(hosts), trace=self.trace)
        for host in world.hosts.values():
            host.deaf = {guest.name for guest in host.guests.values() if r.random() < 0.2}
        leaving = {step.address for step in plan.steps if step.action is Action.DELETE}
        world.moving = {step.task.uuid for step in plan.steps if isinstance(step.task, MoveDomain)}
        world.may_go = world.moving | {
            key for name, host in world.hosts.items() for key, guest in host.guests.items()
            if Address(name, Kind.DOMAIN, guest.name) in leaving
        }  # fmt: skip
        before = copy.deepcopy(world.hosts)
        with ExitStack() as stack:
            fleet = Fleet(world, somebody(stack), self._faults(r, plan), f"{self.seed}")
            events = self.bench.apply(plan, fleet)
        self.told += fleet.struck
        self.told += [
            str(event.diagnostic.summary) for event in events if isinstance(event, StepFailed | StepRefused)
        ]
        world.violations += _out_of_turn(plan, events)
        world.thaw()
        world.violations += self._unlisted(world)
        for _ in range(APPLIES):
            left = self.bench.plan(cluster, world)
            if not left.steps:
                break
            self.bench.apply(left, Fleet(world, this_run("simulated")))
        if left.steps or left.blocked:
            left = self.bench.plan(cluster, world)
        if left.steps or left.blocked:
            world.violations.append(f"after {APPLIES} applies there is left: {left.steps} {left.blocked}")
        world.violations += self._unlisted(world)
        world.violations += _restarted_too_often(before, world.hosts, plan)
        world.violations += _lost(before, world)
        world.violations += _not_moved(before, world)
        return [f"seed {self.seed}", *self.told, *world.violations] if world.violations else []

    def _faults(self, r: random.Random, plan: Plan) -> dict[At, Fault]:
        """Most strike anywhere; where guests move, half of them while one does."""
        calls = 5 + len(plan.hosts) * 8 + len(plan.steps) * 16
        moves = sum(isinstance(step.task, MoveDomain) for step in plan.steps)
        found: dict[At, Fault] = {}
        for _ in range(r.choice((1, 1, 2, 3))):
            at: At = r.randint(1, calls)
            if moves and r.random() < 0.5:
                at = r.choice(_PHASES), r.randint(1, moves)
            found[at] = Fault(r.choice(_KINDS), r.random() < 0.5)
        return found

    def _unlisted(self, world: World) -> list[str]:
        """Files in a pool that no ledger knows of."""
        found = []
        for name, host in world.hosts.items():
            entries = (e for ledger in read_ledgers(host.connect()) for e in ledger.entries)  # type: ignore[arg-type]
            listed = {f"/srv/{entry.name}" for entry in entries if entry.kind is Kind.VOLUME}
            files = {path for path in host.files if path.startswith("/srv/")}
            found += [f"{path} on {name} is in no ledger" for path in files - listed]
        return found


def somebody(stack: ExitStack) -> Holder:
    """A run in a process of its own, which is dead when the block has ended."""
    process = stack.enter_context(subprocess.Popen(["sleep", "600"]))
    stack.callback(process.kill)
    started = int(Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19])
    return replace(this_run("simulated"), pid=process.pid, started=started)


@lru_cache(maxsize=2)
def start(bench: Bench, shape: int) -> tuple[Any, dict[str, SimulatedHost], Plan]:
    """The later cluster, the hosts with the earlier one on them, and the plan between."""
    earlier, later = manifests(shape)
    world = World({name: SimulatedHost(name) for name in earlier["hosts"]})
    cluster = bench.cluster(earlier)
    bench.apply(bench.plan(cluster, world), Fleet(world, this_run("simulated")))
    left = bench.plan(cluster, world)
    assert (left.steps, left.blocked, world.violations) == ((), (), [])
    cluster = bench.cluster(later)
    plan = bench.plan(cluster, world)
    for host in world.hosts.values():
        host.lines.clear()
        host.meddle = undisturbed
    return cluster, world.hosts, plan


def _out_of_turn(plan: Plan, events: list[Event]) -> list[str]:
    """Steps that began before their wave, or after the rollout was stopped."""
    waves, found = waves_of(plan), []
    left, stopped = Counter(waves.values()), False
    for event in events:
        if isinstance(event, StepStarted):
            wave = waves.get(event.address, 0)
            if stopped or any(count for other, count in left.items() if other < wave):
                found.append(f"{event.address} begins out of its turn")
        elif isinstance(event, StepDone | StepFailed | StepRefused | StepSkipped):
            left[waves.get(event.address, 0)] -= 1
        stopped |= isinstance(event, RolloutStopped)
    return found


def _restarted_too_often(
    before: dict[str, SimulatedHost], now: dict[str, SimulatedHost], plan: Plan
) -> list[str]:
    """A guest is ended once if the plan has it so, else never."""
    ended = {step.address: 1 for step in plan.steps if step.address.kind is Kind.DOMAIN and _ends(step)}
    return [
        f"{guest.name} on {name} was ended {times} times"
        for name, host in before.items()
        for key, guest in host.guests.items()
        if (times := now[name].ends[key] - host.ends[key])
        > ended.get(Address(name, Kind.DOMAIN, guest.name), 0)
    ]


def _ends(step: Any) -> bool:
    return getattr(step.task, "power", "") in {"restart", "shutdown"} or getattr(step.task, "stop", False)


def _lost(before: dict[str, SimulatedHost], world: World) -> list[str]:
    found = []
    for name, host in before.items():
        now = world.hosts[name]
        had = {*host.guests, *host.networks, *host.pools, *host.files} - world.may_go
        found += [
            f"{key} on {name} is lost" for key in had - {*now.guests, *now.networks, *now.pools, *now.files}
        ]
        kept = ((path, file, now.files[path]) for path, file in host.files.items() if path in now.files)
        found += [
            f"{path} on {name} has other content" for path, was, file in kept if was.content != file.content
        ]
    return found


def _not_moved(before: dict[str, SimulatedHost], world: World) -> list[str]:
    """Guests that were to go to another host, and are not on just one, or were started anew on their way."""
    found = []
    for key in world.moving:
        having = [host for host in world.hosts.values() if key in host.guests]
        if len(having) != 1 or not having[0].guests[key].runs:
            found.append(f"{key} is on {[host.name for host in having]}, and has to run on one")
        starts, started = (
            sum(host.starts[key] for host in hosts) for hosts in (before.values(), world.hosts.values())
        )
        if starts != started:
            found.append(f"{key} was begun anew on its way")
    return found


def in_memory() -> str | None:
    """A folder for journals, where to have them on disk takes no time."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def main(seeds: int, first: int) -> int:
    """Try so many seeds."""
    wrong, began = 0, time.monotonic()
    with tempfile.TemporaryDirectory(dir=in_memory()) as folder:
        bench = Bench(Path(folder))
        for done, seed in enumerate(range(first, first + seeds), 1):
            if done % 50 == 0:
                print(f"{done} of {seeds} seeds, {wrong} with something that must not be", flush=True)
            if told := Trial(bench, seed).run():
                wrong += 1
                print(*told, sep="\n  ", flush=True)
    print(f"{seeds} seeds in {time.monotonic() - began:.0f} s, {wrong} with something that must not be")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*(int(argument) for argument in [*sys.argv[1:], *("1000", "0")[len(sys.argv) - 1 :]])))
