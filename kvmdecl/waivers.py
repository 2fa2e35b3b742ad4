"""Waivers: what is accepted although it should not be, for whom, why, and up to which day (UTC)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from fnmatch import fnmatchcase

from kvmdecl.diagnostics import Diagnostic, Span


@dataclass(frozen=True, slots=True)
class Waiver:
    """A rule or policy that some objects (`vm/web-*`) need not follow up to a day."""

    rule: str
    on: tuple[str, ...]
    until: date
    reason: str
    at: Span | None = field(compare=False, default=None)

    def is_for(self, owner: str) -> bool:
        """Whether it is about what has this name."""
        return any(fnmatchcase(owner, pattern) for pattern in self.on)


def expired(waivers: Iterable[Waiver], today: date, code: str, hint: str) -> Iterator[Diagnostic]:
    """The waivers whose day is over, as errors of this code: it has to be decided again."""
    for waiver in waivers:
        if waiver.until < today:
            yield Diagnostic(
                code,
                f"{waiver.rule} was accepted until {waiver.until.isoformat()}",
                waiver.at,
                f"The reason was: {waiver.reason}",
                hint,
            )
