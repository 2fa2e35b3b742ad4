"""Devices of hosts that go from one guest to another in one plan: they are let go before they are taken."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from kvmdecl.diagnostics import Diagnostic
from kvmdecl.libvirt_xml.holders import devices_in
from kvmdecl.plan import Step
from kvmdecl.planner.verdict import HostView
from kvmdecl.state import Address
from kvmdecl.tasks import DefineDomain, DeleteDomain


def handed_over(steps: Iterable[Step], views: Mapping[str, HostView]) -> tuple[list[Step], list[Diagnostic]]:
    """The same steps, who takes a device waiting for who lets it go. Guests that would swap devices are left out.

    Each of these would have to be first: a step takes and lets go in one.
    """
    steps = list(steps)
    moves = {step.address: _moves(step, views[step.address.host]) for step in steps if _is_about(step)}
    givers = {(address.host, device): address for address, (gone, _) in moves.items() for device in gone}
    waits = {
        address: tuple(
            dict.fromkeys(
                giver
                for device in come
                if (giver := givers.get((address.host, device))) not in {None, address}
            )
        )
        for address, (_, come) in moves.items()
    }
    circles = {address for address in waits if address in _behind(address, waits)}
    going = [
        replace(step, after=tuple(dict.fromkeys((*step.after, *waits[step.address]))))
        if waits.get(step.address)
        else step
        for step in steps
        if step.address not in circles
    ]
    return going, [_swap(step, waits[step.address]) for step in steps if step.address in circles]


def _is_about(step: Step) -> bool:
    return isinstance(step.task, (DefineDomain, DeleteDomain))


def _moves(step: Step, view: HostView) -> tuple[list[str], list[str]]:
    """The devices that a running guest lets go by this step, and those that it takes."""
    task = step.task
    if not isinstance(task, (DefineDomain, DeleteDomain)):
        return [], []
    observed = view.domains_by_uuid.get(task.uuid)
    runs = observed is not None and observed.active
    has = devices_in(observed.live_xml or observed.xml) if observed is not None and runs else ()
    wants: tuple[str, ...] = ()
    if isinstance(task, DefineDomain) and task.power != "shutdown" and (runs or task.power != "keep"):
        wants = devices_in(task.xml)
    return [device for device in has if device not in wants], [each for each in wants if each not in has]


def _behind(address: Address, waits: Mapping[Address, tuple[Address, ...]]) -> set[Address]:
    """All that a step waits for, directly or not."""
    seen, left = set[Address](), [*waits[address]]
    while left:
        this = left.pop()
        if this not in seen:
            seen.add(this)
            left += waits.get(this, ())
    return seen


def _swap(step: Step, others: tuple[Address, ...]) -> Diagnostic:
    return Diagnostic(
        "plan.device-swap",
        f"{step.address} and {' and '.join(map(str, others))} would swap devices of their host",
        step.at,
        "Each has what the other shall have, and none can be first.",
        "take the device away from one of them in an apply of its own, then give it to the other",
        subject=str(step.address),
    )
