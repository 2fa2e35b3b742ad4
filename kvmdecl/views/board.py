"""Where an apply stands: what every view of its events has to remember."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kvmdecl.events import (
    ApplyFinished,
    GateEnded,
    GateStarted,
    Outcome,
    RolloutStopped,
    StepDone,
    StepFailed,
    StepProgress,
    StepRefused,
    StepSkipped,
    StepStarted,
    WaveStarted,
)
from kvmdecl.text import safe_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvmdecl.events import Event
    from kvmdecl.plan import Plan
    from kvmdecl.state import Address

_MOST_HOSTS = 6
_PACE_FROM = 2.0  # seconds that a transfer has to go on before it can be told how long it will
_IN_MINUTES = 120.0  # seconds from which on nobody counts them
_SCALES = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


@dataclass(slots=True)
class HostTally:
    """How many steps a host has, and how many of them ended how."""

    steps: int = 0
    done: int = 0
    failed: int = 0
    refused: int = 0
    skipped: int = 0

    @property
    def ended(self) -> int:
        """Steps that ended, well or not."""
        return self.done + self.failed + self.refused + self.skipped


@dataclass(slots=True)
class Board:
    """Kept up to date by `note`, read by the views."""

    plan: Plan
    clock: Callable[[], float] = time.monotonic
    hosts: dict[str, HostTally] = field(default_factory=dict)
    running: dict[Address, StepProgress | None] = field(default_factory=dict)
    problems: list[StepFailed | StepRefused] = field(default_factory=list)
    interrupted: bool = False
    gate: GateStarted | None = None
    finished: ApplyFinished | None = None
    _marks: dict[Address, str] = field(default_factory=dict)
    _paces: dict[Address, tuple[float, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for step in self.plan.steps:
            self.hosts.setdefault(step.address.host, HostTally()).steps += 1
            self._marks[step.address] = step.action.mark

    def note(self, event: Event) -> None:
        """Take an event in."""
        match event:
            case StepStarted(address):
                self.running[address] = None
            case StepProgress(address, done):
                self.running[address] = event
                self._paces.setdefault(address, (self.clock(), done))
            case StepDone(address):
                self._end(address).done += 1
            case StepFailed(address):
                self._end(address).failed += 1
                self.problems.append(event)
            case StepRefused(address):
                self._end(address).refused += 1
                self.problems.append(event)
            case StepSkipped(address, because, gate):
                self._end(address).skipped += 1
                self.interrupted |= because is None and not gate
            case GateStarted():
                self.gate = event
            case GateEnded():
                self.gate = None
            case ApplyFinished():
                self.finished = event

    def _end(self, address: Address) -> HostTally:
        self.running.pop(address, None)
        self._paces.pop(address, None)
        return self.hosts.setdefault(address.host, HostTally())

    def title(self, address: Address) -> str:
        """`+ domain web-1`: an object without its host, with the mark that the plan shows."""
        return f"{self._marks.get(address, '?')} {address.kind} {safe_text(address.name)}"

    def doing(self, address: Address) -> str:
        """A running step and how far it is."""
        progress = self.running.get(address)
        return self.title(address) + (f"  {self.told(progress)}" if progress else "")

    def told(self, progress: StepProgress) -> str:
        """How far a step is, and of a transfer how long it will take at the pace that it had so far."""
        began, first = self._paces.get(progress.address, (self.clock(), progress.done))
        seconds, moved = self.clock() - began, progress.done - first
        if progress.unit != "bytes" or seconds < _PACE_FROM or moved <= 0:
            return describe(progress)
        left = max(0.0, (progress.total - progress.done) * seconds / moved)
        shown = f"{left / 60:.0f} min" if left >= _IN_MINUTES else f"{left:.0f} s"
        return f"{describe(progress)}, about {shown} left"


def describe(progress: StepProgress) -> str:
    """Say how far a step is: `12.0 MiB of 40.0 MiB (30 %)` or `waiting, 12 s of at most 120 s`."""
    if progress.unit == "seconds":
        return f"waiting, {progress.done} s of at most {progress.total} s"
    percent = 100 * progress.done // progress.total if progress.total else 100
    return f"{_size(progress.done)} of {_size(progress.total)} ({percent} %)"


def _size(size: int) -> str:
    scale, unit = next(((scale, unit) for scale, unit in _SCALES if size >= scale), (1, "B"))
    return f"{size / scale:.1f} {unit}" if scale > 1 else f"{size} B"


def gate_line(event: GateStarted | GateEnded) -> str:
    """Say that a gate is looked at, or what it came to."""
    head = f"gate {event.gate} after {event.wave}"
    if isinstance(event, GateStarted):
        asked = "1 guest" if event.guests == 1 else f"{event.guests} guests"
        return safe_text(f"{head}: looking at {asked}")
    if event.outcome is Outcome.PASSED:
        return safe_text(f"{head}: passed  {event.seconds:.1f} s")
    return safe_text(
        f"{head}: {event.outcome} after {event.seconds:.1f} s: {event.why}; nothing more is begun"
    )


def rollout_line(event: WaveStarted | RolloutStopped | GateStarted | GateEnded) -> str:
    """Say that a wave begins, what a gate came to, or why nothing begins any more."""
    if isinstance(event, GateStarted | GateEnded):
        return gate_line(event)
    if isinstance(event, WaveStarted):
        hosts = " ".join(event.hosts[:_MOST_HOSTS]) + (" ..." if len(event.hosts) > _MOST_HOSTS else "")
        return safe_text(f"wave {event.number} of {event.waves}: {event.name} ({hosts})")
    failed = ", ".join(event.failed)
    return safe_text(
        f"stopped: something failed on {failed}, and it may on {event.allowed}; nothing more is begun"
    )


def conclusion(finished: ApplyFinished) -> str:
    """Say how it ended: `17 of 20 steps done, 1 failed, 2 not begun, in 4.2 s`."""
    total = finished.done + finished.failed + finished.refused + finished.skipped
    others = ((finished.failed, "failed"), (finished.refused, "refused"), (finished.skipped, "not begun"))
    rest = "".join(f", {count} {word}" for count, word in others if count)
    noun = "step" if total == 1 else "steps"
    return f"{finished.done} of {total} {noun} done{rest}, in {finished.seconds:.1f} s."


def problem_lines(problem: StepFailed | StepRefused) -> list[str]:
    """A failed or refused step in full: what, why, and what to do."""
    found = problem.diagnostic
    word = "failed" if isinstance(problem, StepFailed) else "refused"
    lines = [f"{word}[{safe_text(found.code)}]: {safe_text(found.summary)}"]
    lines += [f"  {safe_text(line)}" for line in found.cause.splitlines()]
    lines += [f"  note: {safe_text(note.text)}" for note in found.notes]
    if found.hint:
        lines.append(f"  hint: {safe_text(found.hint)}")
    return lines
