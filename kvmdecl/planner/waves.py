"""`rollout:` which hosts are a wave, and which guests wait for each other so that not too many are down at once."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from kvmdecl.cluster import ResolvedCluster, ResolvedHost
from kvmdecl.diagnostics import Diagnostic, Rejected, Span
from kvmdecl.manifest import RolloutGate
from kvmdecl.plan import Action, Impact, Plan, PlannedGate, Rollout, Step, Wave
from kvmdecl.state import Address, DesiredDomain, DesiredState, Kind
from kvmdecl.text import did_you_mean, is_member, quoted
from kvmdecl.waves import step_waves, waves_of

CANARY = "canary"
_REST = "rest"


def rollout_of(cluster: ResolvedCluster) -> Rollout | None:
    """The waves of a cluster's hosts, None if the manifest says nothing of a rollout. Every host is in one wave."""
    spec = cluster.rollout
    if spec is None:
        return None
    left = {host.name: host for host in cluster.hosts}
    canary = tuple(name for name in spec.canary if left.pop(name, None))
    waves = [Wave(CANARY, canary)] if canary else []
    for number, named in enumerate(spec.waves, 1):
        hosts = tuple(name for name in named if left.pop(name, None))
        waves += [Wave(f"wave-{number}", hosts)] if hosts else []
    if spec.by is not None:
        by_label = _by_label(left.values(), spec.by)
        for value in sorted(by_label, key=_as_counted):
            hosts = by_label[value]
            waves.append(Wave(_wave_name(spec.by, value), hosts))
            left = {name: host for name, host in left.items() if name not in hosts}
    if left:
        waves.append(Wave(_REST if waves else "all", tuple(left)))
    gates = tuple(_gate(gate, cluster) for gate in spec.gates)
    return Rollout(
        tuple(waves), spec.max_parallel, spec.max_failed, gates, spec.max_migrations, spec.max_unavailable
    )


def _as_counted(value: str) -> list[tuple[str, int]]:
    """A key by which `r10` comes after `r9`."""
    return [(text, int(digits or 0)) for text, digits in re.findall("([^0-9]*)([0-9]*)", value)]


def _wave_name(label: str, value: str) -> str:
    """What hosts say of a label; with the label where that alone is a wave's number, or the name of another one."""
    taken = value.isdigit() or value in {CANARY, _REST}
    return f"{label}={value}" if taken else value


def _gate(spec: RolloutGate, cluster: ResolvedCluster) -> PlannedGate:
    asked = tuple(vm.name for vm in cluster.vms if any(is_member(vm.name, name) for name in spec.vms))
    return PlannedGate(spec.check, dict(spec.with_), asked, spec.for_, spec.timeout, spec.every)


def _by_label(hosts: Iterable[ResolvedHost], label: str) -> dict[str, tuple[str, ...]]:
    found: defaultdict[str, tuple[str, ...]] = defaultdict(tuple)
    for host in hosts:
        if (value := host.labels.get(label)) is not None:
            found[value] += (host.name,)
    return found


def in_waves(cluster: ResolvedCluster, plan: Plan, desired: DesiredState) -> Plan:
    """The plan with its rollout, if the manifest has one; guests of an entry wait for each other to be up again.

    The n-th guest of an entry that is restarted or shut down waits for the one that comes `max_unavailable` before it.
    So at most that many are down at once, and one that fails keeps its place.
    """
    rollout = rollout_of(cluster)
    if rollout is None or cluster.rollout is None:
        return plan
    steps, most = plan.steps, cluster.rollout.max_unavailable
    if most is not None:
        steps = _one_after_the_other(steps, rollout, most)
    if rollout.gates:
        rollout = _with_guests(rollout, steps, desired)
    return replace(plan, steps=steps, rollout=rollout)


def _with_guests(rollout: Rollout, steps: tuple[Step, ...], desired: DesiredState) -> Rollout:
    """The guests that should run once a wave has ended: those of its hosts, but for what is put off to a later one."""
    of_host = {host: number for number, wave in enumerate(rollout.waves) for host in wave.hosts}
    put_off = step_waves(steps, rollout)
    guests: defaultdict[int, list[Address]] = defaultdict(list)
    for domain in desired.resources:
        if isinstance(domain, DesiredDomain) and domain.running and domain.address.host in of_host:
            wave = put_off.get(domain.address, of_host[domain.address.host])
            guests[wave].append(domain.address)
    waves = (replace(wave, guests=tuple(guests[number])) for number, wave in enumerate(rollout.waves))
    return replace(rollout, waves=tuple(waves))


def _one_after_the_other(steps: tuple[Step, ...], rollout: Rollout, most: int) -> tuple[Step, ...]:
    waves = step_waves(steps, rollout)
    place = {address: (wave, number) for number, (address, wave) in enumerate(waves.items())}
    entries: defaultdict[Span | None, list[Address]] = defaultdict(list)
    # Along this order no step waits for a later one, so what is added makes no ring.
    for step in sorted(filter(_takes_down, steps), key=lambda step: place[step.address]):
        entries[step.at].append(step.address)
    waits = {
        address: earlier
        for addresses in entries.values()
        for earlier, address in zip(addresses, addresses[most:], strict=False)
    }
    return tuple(
        replace(step, after=tuple(dict.fromkeys((*step.after, waits[step.address]))))
        if step.address in waits
        else step
        for step in steps
    )


def _takes_down(step: Step) -> bool:
    return (
        step.address.kind is Kind.DOMAIN
        and step.action is not Action.CREATE
        and step.impact >= Impact.RESTART
        and step.impact is not Impact.MIGRATE
    )


def until_wave(plan: Plan, wanted: str) -> Plan:
    """The plan without the waves that come after one, named as the plan shows it or by its number.

    Raises:
        Rejected: `rollout.unknown-wave`.
    """
    waves = plan.rollout.waves if plan.rollout else ()
    known = {wave.name: number for number, wave in enumerate(waves)}
    known |= {str(number): number - 1 for number in range(1, len(waves) + 1)}
    if wanted not in known:
        raise Rejected([_unknown_wave(wanted, [wave.name for wave in waves])])
    kept = {address for address, wave in waves_of(plan).items() if wave <= known[wanted]}
    return replace(plan, steps=tuple(step for step in plan.steps if step.address in kept))


def _unknown_wave(wanted: str, names: list[str]) -> Diagnostic:
    hint = did_you_mean(wanted, names) or f"there are {', '.join(names)}, or their numbers from 1"
    return Diagnostic(
        code="rollout.unknown-wave",
        summary=f"the plan has no wave {quoted(wanted)}",
        cause="" if names else "Without `rollout:` in the manifest a plan has no waves.",
        hint=hint if names else "add `rollout: {by: rack}`, or leave out --until-wave",
    )
