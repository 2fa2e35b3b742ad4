"""Events as plain lines, for pipes and logs: no colour, no time of day, nothing is ever overwritten.

A step gives a line when it ends. Long steps say how far they are every few seconds, and when nothing else
is to be said a heartbeat names what is running, so that no CI system takes the run for dead.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Self

from kvmdecl.events import (
    ApplyFinished,
    GateEnded,
    RolloutStopped,
    StepDone,
    StepFailed,
    StepProgress,
    StepRefused,
    StepSkipped,
    WaveStarted,
)
from kvmdecl.text import safe_text
from kvmdecl.views.board import Board, conclusion, gate_line, problem_lines, rollout_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kvmdecl.events import Event
    from kvmdecl.plan import Plan
    from kvmdecl.state import Address

HEARTBEAT = 30.0
"""Seconds after which something is said even if nothing happened."""

_PROGRESS_EVERY = 5.0  # seconds, for each step
_MOST_NAMED = 3


class TextView:
    """Shows events as they come. Use it as a context manager: the heartbeat beats until it is left."""

    def __init__(
        self,
        plan: Plan,
        write: Callable[[str], object],
        *,
        heartbeat: float = HEARTBEAT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Show the events of applying `plan`; `write` is given whole lines."""
        self._board = Board(plan, clock)
        self._write = write
        self._heartbeat = heartbeat
        self._clock = clock
        self._width = max(map(len, self._board.hosts), default=0)
        self._said = clock()
        self._told: dict[Address, float] = {}
        self._lock = threading.Lock()
        self._left = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._heart.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._left.set()
        self._heart.join()

    def show(self, event: Event) -> None:
        """Show one event."""
        with self._lock:
            was_interrupted = self._board.interrupted
            self._board.note(event)
            for line in self._lines(event):
                self._say(line)
            if self._board.interrupted and not was_interrupted:
                self._say(f"interrupted: nothing more is begun; {self._running() or 'nothing is running'}")

    def _lines(self, event: Event) -> Iterator[str]:
        match event:
            case StepProgress(address):
                if self._clock() - self._told.setdefault(address, self._clock()) >= _PROGRESS_EVERY:
                    self._told[address] = self._clock()
                    yield self._line(address, self._board.told(event))
            case StepDone(address, seconds, remarks):
                yield self._line(address, f"done  {seconds:.1f} s")
                yield from (self._line(address, f"note: {safe_text(remark)}") for remark in remarks)
            case StepFailed(address) | StepRefused(address):
                first, *more = problem_lines(event)
                yield self._line(address, first)
                yield from (f"{'':<{self._width}}  {line}" for line in more)
            case StepSkipped(address, because) if because is not None:
                yield self._line(address, f"not begun: {safe_text(str(because))} did not succeed")
            case WaveStarted() | RolloutStopped() | GateEnded():
                yield rollout_line(event)
            case ApplyFinished():
                yield conclusion(event)

    def _line(self, address: Address, told: str) -> str:
        return f"{safe_text(address.host):<{self._width}}  {self._board.title(address)}  {told}"

    def _say(self, line: str) -> None:
        self._said = self._clock()
        self._write(f"{line}\n")

    def _running(self) -> str:
        if self._board.gate is not None:
            return gate_line(self._board.gate)
        named = [
            f"{safe_text(address.host)} {self._board.doing(address)}"
            for address in list(self._board.running)[:_MOST_NAMED]
        ]
        more = len(self._board.running) - len(named)
        rest = f" and {more} more" if more else ""
        return f"running: {', '.join(named)}{rest}" if named else ""

    def _beat(self) -> None:
        while not self._left.wait(max(0.01, self._said + self._heartbeat - self._clock())):
            with self._lock:
                if self._clock() - self._said >= self._heartbeat:
                    self._say(self._running() or "waiting")
