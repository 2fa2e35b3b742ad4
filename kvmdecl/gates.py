"""Gates: what has to hold after a wave of a rollout before the next one begins. A plugin looks; here it is judged."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

from kvmdecl.events import Outcome

if TYPE_CHECKING:
    from kvmdecl.manager import ManagerStatus
    from kvmdecl.manifest import Section
    from kvmdecl.plan import PlannedGate
    from kvmdecl.state import Address

LONGEST_LOOK = 30.0
"""Seconds that one look may take."""
_NOTICE_A_CANCEL = 0.2  # seconds
Reading = Literal["power", "agent", "addresses", "managers"]
"""What a host can be asked of its guests: whether they run, their agents, the addresses that it leased to them.

`managers` is how cluster managers are, of which their own hosts are asked.
"""


class Agent(StrEnum):
    """How it stands with a guest's agent. ABSENT: none has opened the channel; the guest may not be up yet."""

    NO_CHANNEL = "no-channel"
    ABSENT = "absent"
    SILENT = "silent"
    ANSWERS = "answers"


@dataclass(frozen=True, slots=True)
class Guest:
    """A guest as its host sees it now.

    Attributes:
        address: of its domain.
        running: None if its host was not asked.
        agent: None if it was not asked about.
        addresses: that the host leased to its NICs, in the host's order.
    """

    address: Address
    running: bool | None = None
    agent: Agent | None = None
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GateRequest:
    """What a gate is asked.

    Attributes:
        options: what the manifest says under `with`, as the gate's own model.
        wave: name of the wave that has ended.
        guests: of that wave, which should run.
        seconds: that the answer may take.
        managers: how each cluster manager of the plan is, or why that is not known, if the gate reads it.
    """

    options: Section
    wave: str
    guests: tuple[Guest, ...]
    seconds: float = LONGEST_LOOK
    managers: Mapping[str, ManagerStatus | str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a gate found, and why; `why` is one line, and empty if it passed."""

    outcome: Outcome
    why: str = ""


@dataclass(frozen=True, slots=True)
class Gate:
    """What a plugin offers.

    Attributes:
        options: model of what the manifest says under `with`.
        look: looks once and says what it found. It may ask others, on the machine that runs kvmdecl, for as long as the
            request says. Failed and inconclusive are not the same: the second says that nobody knows.
        reads: what it needs to know of guests; only that is asked of their hosts.
        timed: whether it is nothing but time, so that the manifest has to say `for`.
    """

    options: type[Section]
    look: Callable[[GateRequest], Verdict]
    reads: frozenset[Reading] = frozenset()
    timed: bool = False


@dataclass(slots=True)
class Watch:
    """Looks at one gate again and again, and knows when it is decided. Times are seconds of one clock."""

    gate: PlannedGate
    began: float
    hold: float
    _since: float | None = None

    def judge(self, found: Verdict, now: float) -> Verdict | None:
        """Take one look's verdict in. Returns that of the gate once it is decided.

        It passes when it has passed without interruption for as long as it has to hold. Otherwise it has until its
        timeout, and is then what the last look was.
        """
        if found.outcome is Outcome.PASSED:
            self._since = now if self._since is None else self._since
            return found if now - self._since >= self.hold else None
        self._since = None
        return found if now - self.began >= self.gate.timeout else None

    def wait(self, now: float) -> float:
        """Seconds until the next look."""
        if self._since is not None:
            return min(float(self.gate.every), max(0.0, self._since + self.hold - now))
        return min(float(self.gate.every), max(0.0, self.began + self.gate.timeout - now))


def decide(
    gate: PlannedGate, hold: float, look: Callable[[], Future[Verdict]], stopping: Callable[[], bool]
) -> Verdict | None:
    """Look until a gate is decided; None once `stopping`. A look that does not come back is inconclusive.

    Args:
        gate: what is looked through.
        hold: seconds for which it has to hold.
        look: begins one look.
        stopping: whether nobody wants to know any more.
    """
    watch = Watch(gate, time.monotonic(), hold)
    while not stopping():
        answer = look()
        until = time.monotonic() + LONGEST_LOOK
        while not answer.done() and time.monotonic() < until and not stopping():
            wait_for([answer], _NOTICE_A_CANCEL)
        if not answer.done():
            late = Verdict(Outcome.INCONCLUSIVE, f"no answer within {LONGEST_LOOK:.0f} s")
            return None if stopping() else late
        if (verdict := watch.judge(answer.result(), time.monotonic())) is not None:
            return verdict
        until = time.monotonic() + watch.wait(time.monotonic())
        while (left := until - time.monotonic()) > 0 and not stopping():
            time.sleep(min(left, _NOTICE_A_CANCEL))
    return None
