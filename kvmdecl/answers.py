"""What a question about a host is answered with: the value that `kvmdecl doctor` shows, and plugins may give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["ok", "advice", "failure", "unknown"]
OUTCOMES: tuple[Outcome, ...] = ("ok", "advice", "failure", "unknown")


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one question about a host.

    Attributes:
        host: that it is about; empty for all together.
        name: of the question, stable: `kvm`, `pool-space`.
        outcome: `ok`; `advice`: it works, and could be better; `failure`: something that is wanted does not work;
            `unknown`: it could not be seen.
        told: what was found, in a line.
        fix: what to do about it; empty if it is well.
    """

    host: str
    name: str
    outcome: Outcome
    told: str
    fix: str = ""
