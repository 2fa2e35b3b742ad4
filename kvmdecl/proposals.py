"""What is proposed for the vms of an entry of a manifest: values that `advise` makes and views show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from kvmdecl.rules import Change, Rule


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a rule finds, and the changes of the entry that it asks for."""

    rule: Rule
    told: str
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Left:
    """What a rule finds and no change of this entry mends; `why` there is none, and what to do."""

    rule: Rule
    told: str
    why: str


@dataclass(frozen=True, slots=True)
class Advice:
    """What is proposed for an entry of vms.

    Attributes:
        entry: the key that it is written under.
        vms: all that it is written for.
        workload: what they are for.
        file: that says it.
        before: its text; `after`: with all proposals made.
        made: the proposals; `left`: what remains to be decided by somebody.
        unknown: rules that could not be asked, since no host was read.
    """

    entry: str
    vms: tuple[str, ...]
    workload: str
    file: Path
    before: str
    after: str
    made: tuple[Proposal, ...]
    left: tuple[Left, ...]
    unknown: tuple[Rule, ...]
