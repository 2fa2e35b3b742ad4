"""Consents as a reviewed file: what may be deleted in which plan, who agreed to it, and why."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kvmdecl.diagnostics import Diagnostic, Severity, Span
from kvmdecl.manifest.consents import ConsentFile
from kvmdecl.written import read_written

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Consent:
    """That an object may be deleted in the plan of a digest."""

    address: str
    plan: str
    by: str
    why: str
    at: Span | None = field(compare=False, default=None)


def read_consents(path: Path) -> tuple[Consent, ...]:
    """Read a file of consents.

    Raises:
        Rejected: with everything that is wrong in it.
    """
    file, span = read_written(path, ConsentFile)
    return tuple(
        Consent(each.allow, each.plan, each.by, each.why, span("consents", number, "plan"))
        for number, each in enumerate(file.consents)
    )


def given_to(
    consents: Iterable[Consent], digests: Collection[str], deletions: Collection[str]
) -> Iterator[Consent]:
    """Those that are about deletions of a plan.

    Args:
        consents: of a file.
        digests: of the plan, and of the one that it is a part of.
        deletions: their names.
    """
    return (each for each in consents if each.plan in digests and each.address in deletions)


def not_used(
    consents: Iterable[Consent], digests: Collection[str], deletions: Collection[str]
) -> Iterator[Diagnostic]:
    """What is to be told of the others: that they are about another plan, or about nothing that this one deletes."""
    for each in consents:
        if each.plan not in digests:
            yield Diagnostic(
                "apply.stale-consent",
                f"the consent to {each.address} is to plan {each.plan}, and this one is {min(digests)}",
                each.at,
                "It is not used: the manifest, or something on the hosts, changed since it was given, or it was done.",
                "take it out if it was done; else look at the plan, and consent to this one.",
                severity=Severity.WARNING,
                subject=each.address,
            )
        elif each.address not in deletions:
            yield Diagnostic(
                "apply.unknown-consent",
                f"the plan does not delete {each.address}",
                each.at,
                "A consent names exactly what it allows.",
                "take it out.",
                subject=each.address,
            )
