"""Policies as values: what a plan is held against, and what was found. Who judges is `policing`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from kvmdecl.diagnostics import Span
from kvmdecl.state import Address
from kvmdecl.waivers import Waiver

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MANIFEST, FILE = "manifest", "file"
_DAY = 24 * 60  # minutes


class Effect(StrEnum):
    """What comes of it where a policy does not hold: nothing of the plan is carried out, or it is told."""

    DENY = "deny"
    WARN = "warn"


@dataclass(frozen=True, slots=True)
class Window:
    """Hours of some days of the week, in a time zone.

    Attributes:
        days: on which it begins, 0 for Monday.
        begin: minutes after midnight.
        end: minutes after midnight; not after `begin` for a window that ends on the next day.
        zone: as the IANA names it, such as `Europe/Berlin`.
    """

    days: tuple[int, ...]
    begin: int
    end: int
    zone: str

    def holds(self, moment: datetime) -> bool:
        """Whether a moment, which knows its time zone, is in it."""
        from zoneinfo import ZoneInfo  # most plans need none

        there = moment.astimezone(ZoneInfo(self.zone))
        minute = there.hour * 60 + there.minute
        if self.begin < self.end:
            return there.weekday() in self.days and self.begin <= minute < self.end
        yesterday = (there - timedelta(days=1)).weekday()
        return (there.weekday() in self.days and minute >= self.begin) or (
            yesterday in self.days and minute < self.end
        )

    def __str__(self) -> str:
        """`mon-fri 08:00-18:00 Europe/Berlin`."""
        hours = "-".join(f"{each // 60:02}:{each % 60:02}" for each in (self.begin, self.end))
        whole = (self.begin, self.end) == (0, _DAY)
        days = _days(self.days) if len(self.days) < len(DAYS) else ""
        return " ".join(part for part in (days, "" if whole else hours, self.zone) if part)


def _days(numbers: tuple[int, ...]) -> str:
    """0, 1, 2, 5 -> `mon-wed,sat`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join("-".join(dict.fromkeys((DAYS[run[0]], DAYS[run[-1]]))) for run in runs)


@dataclass(frozen=True, slots=True)
class Policy:
    """What a plan must not do. It is about the steps that fit all that is said; what is empty excludes nothing.

    Attributes:
        name: among those of its source.
        effect: what comes of it.
        reason: why, for who is denied something.
        source: `manifest` or `file`.
        objects: patterns of `KIND/NAME`.
        vms: names or patterns of vms, or names of entries; with what belongs to their guests.
        hosts: names or patterns.
        labels: that hosts have, with patterns of what they say.
        actions: that are planned.
        impact: the least impact on guests, as its word; empty for any.
        fields: patterns of keys that change.
        more_than: how many objects it lets pass: a number, or a share (`20%`) of those that there are.
        during: the only time in which it holds; `outside` the only one in which it does not.
        waivers: what is accepted for now.
        there: how many objects are as it says, whatever is planned for them; None if that was not counted.
    """

    name: str
    effect: Effect
    reason: str
    source: str
    objects: tuple[str, ...] = ()
    vms: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    actions: tuple[str, ...] = ()
    impact: str = ""
    fields: tuple[str, ...] = ()
    more_than: str = "0"
    during: Window | None = None
    outside: Window | None = None
    waivers: tuple[Waiver, ...] = ()
    there: int | None = None
    at: Span | None = field(compare=False, default=None)

    @property
    def when(self) -> str:
        """When it holds, in words; empty for always."""
        told = (("in", self.during), ("outside of", self.outside))
        return " and ".join(f"{word} {window}" for word, window in told if window is not None)

    def holds_at(self, moment: datetime) -> bool:
        """Whether it holds at a moment."""
        inside = self.during is None or self.during.holds(moment)
        return inside and not (self.outside is not None and self.outside.holds(moment))


@dataclass(frozen=True, slots=True)
class Policies:
    """What is declared: by the manifest and by a file. `waivers` accept what policies of plugins find."""

    declared: tuple[Policy, ...] = ()
    waivers: tuple[Waiver, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.declared or self.waivers)


NO_POLICIES = Policies()


@dataclass(frozen=True, slots=True)
class Objection:
    """What a policy has against a plan: an object (None for the plan as a whole), and what is done to it.

    `at` is where the manifest says so.
    """

    address: Address | None
    what: str
    at: Span | None = None


@dataclass(frozen=True, slots=True)
class Ruling:
    """A policy that does not hold.

    Attributes:
        policy: its name.
        effect: what comes of it.
        reason: why.
        source: `manifest`, `file`, or `plugin NAME`.
        objections: what it is about, in the order of the plan; at least one.
        beyond: how many that are of how many, and how many may be, in words; empty if none may be.
        at: where the policy is written.
        when: when it holds, in words; empty for always.
        decided: False while nobody knows whether it will hold when the plan is carried out.
        waiver: that accepts it.
    """

    policy: str
    effect: Effect
    reason: str
    source: str
    objections: tuple[Objection, ...]
    beyond: str = ""
    at: Span | None = None
    when: str = ""
    decided: bool = True
    waiver: Waiver | None = None

    @property
    def denies(self) -> bool:
        """Whether nothing of the plan may be carried out."""
        return self.effect is Effect.DENY and self.decided and self.waiver is None
