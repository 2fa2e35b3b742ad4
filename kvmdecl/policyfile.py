"""Policies as they are written -> as values; those of the manifest, and those of a file of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.diagnostics import Rejected
from kvmdecl.manifest.policies import PolicyFile
from kvmdecl.policy import DAYS, FILE, Effect, Policies, Policy, Window
from kvmdecl.waivers import Waiver, expired
from kvmdecl.written import read_written

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import date
    from pathlib import Path

    from kvmdecl.diagnostics import Diagnostic, Span
    from kvmdecl.manifest.policies import Policy as Written
    from kvmdecl.manifest.policies import PolicyWaiver, PolicyWindow
    from kvmdecl.written import SpanOf

OVER = "let the policy hold, or decide again until when it is accepted"


def read_policies(path: Path, today: date) -> Policies:
    """Read a file of policies.

    Raises:
        Rejected: with everything that is wrong in it, and waivers whose day is over.
    """
    file, span = read_written(path, PolicyFile)
    declared = tuple(declared_policies(file.policies, FILE, span))
    waivers = tuple(
        _waiver(each.policy, each, span("waive", number, "until")) for number, each in enumerate(file.waive)
    )
    policies = Policies(declared, waivers)
    if found := list(overdue(policies, today)):
        raise Rejected(found)
    return policies


def overdue(policies: Policies, today: date) -> Iterator[Diagnostic]:
    """The waivers whose day is over."""
    waivers = [*policies.waivers, *(waiver for policy in policies.declared for waiver in policy.waivers)]
    return expired(waivers, today, "policy.waiver-expired", OVER)


def declared_policies(written: Mapping[str, Written], source: str, span: SpanOf) -> Iterator[Policy]:
    """Policies as values.

    Args:
        written: by name.
        source: `manifest` or `file`.
        span: where something is written, by the way to it from the top.
    """
    for name, spec in written.items():
        way = ("policies", name)
        waivers = (
            _waiver(name, each, span(*way, "waive", number, "until"))
            for number, each in enumerate(spec.waive)
        )
        yield Policy(
            name,
            Effect.WARN if spec.deny is None else Effect.DENY,
            spec.deny or spec.warn or "",
            source,
            objects=spec.objects,
            vms=spec.vms,
            hosts=spec.hosts,
            labels=spec.labels,
            actions=spec.actions,
            impact=spec.impact or "",
            fields=spec.fields,
            more_than=spec.more_than,
            during=_window(spec.during),
            outside=_window(spec.outside),
            waivers=tuple(waivers),
            at=span(*way, "warn" if spec.deny is None else "deny"),
        )


def _waiver(name: str, spec: PolicyWaiver, at: Span) -> Waiver:
    return Waiver(name, spec.on, spec.until, spec.reason, at)


def _window(spec: PolicyWindow | None) -> Window | None:
    if spec is None:
        return None
    return Window(tuple(_days(spec.days)), _minutes(spec.from_), _minutes(spec.to), spec.zone)


def _days(text: str) -> Iterable[int]:
    """`mon-wed,sat` -> 0, 1, 2, 5; `sat-mon` goes over the end of the week."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        begin = DAYS.index(first)
        number = (DAYS.index(last or first) - begin) % len(DAYS) + 1
        found |= {(begin + day) % len(DAYS) for day in range(number)}
    return sorted(found)


def _minutes(text: str) -> int:
    hours, minutes = text.split(":")
    return int(hours) * 60 + int(minutes)
