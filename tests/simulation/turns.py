"""Whose turn it is: the tasks of a run go on one at a time, and at each call a seed says which.

Each has a thread, so that what carries tasks out runs as it is. Only the one whose turn it is runs; all others wait
until it is handed on to them, so that a seed gives the same run every time.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from random import Random
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from kvmdecl import apply
from kvmdecl.apply import _Run

_THREADS = ThreadPoolExecutor(1000)
"""They are kept: to start one takes as long as twenty calls."""


class Killed(BaseException):
    """The process of a run is no more: whatever it would do next, it does not."""


@dataclass(eq=False)
class Turn:
    """One who waits for their turn: a task, or the run itself.

    Attributes:
        work: what it does when it first has its turn; None once it has begun.
        about: whatever its owner wants to know of it.
        ready: whether it can go on.
    """

    work: Callable[[], None] | None = None
    about: Any = None
    ready: Callable[[], bool] = lambda: True
    _go: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._go.acquire()

    def wake(self) -> None:
        self._go.release()

    def sleep(self) -> None:
        self._go.acquire()


class Turns:
    """Hands the turn on. The thread that makes it is the run's own, and has the first.

    Attributes:
        now: whose turn it is.
        over: the run is no more; who gets the turn notices.
        stuck: all waited for each other.
    """

    def __init__(self, seed: str) -> None:
        self._random = Random(f"turns {seed}")
        self._often = self._random.choice((0.1, 0.5, 1.0))
        self.now = Turn()
        self.over = self.stuck = False
        self._all = [self.now]
        self._held: Counter[Any] = Counter()

    def begin(self, work: Callable[[], None], about: Any) -> None:
        """Have a task wait for its first turn."""
        self._all.append(Turn(work, about))

    def hand_on(self, ready: Callable[[], bool] = lambda: True) -> None:
        """Let somebody else go on, or not; returns once it is ready and has the turn.

        Raises:
            Killed: the run is no more.
        """
        if not self.over and not (ready() and self._random.random() >= self._often):
            self._sleep_until(ready)
        if self.over:
            raise Killed

    @contextmanager
    def held(self, *what: Any, most: int = 1) -> Iterator[None]:
        """Wait until so few hold something."""
        self.hand_on(lambda: self._held[what] < most)
        self._held[what] += 1
        try:
            yield
        finally:
            self._held[what] -= 1

    def finish(self) -> None:
        """Let all tasks go on until they have ended."""
        while len(self._all) > 1:
            self._sleep_until(lambda: len(self._all) == 1)

    @contextmanager
    def of_apply(self) -> Iterator[None]:
        """Where `apply` waits for tasks, these have their turns."""
        next_message = _Run._next_message

        def next_after_turns(run: _Run) -> Any:
            self.hand_on(lambda: not run._inbox.empty() or not run._running)
            return next_message(run)

        with patch.object(apply, "wait", self._wait), patch.object(_Run, "_next_message", next_after_turns):
            yield

    def _wait(self, futures: Collection[Future[Any]], _timeout: float, return_when: str = "") -> Any:
        enough = any if return_when == FIRST_COMPLETED else all
        self.hand_on(lambda: enough(future.done() for future in futures))
        return SimpleNamespace(done=[future for future in futures if future.done()])

    def _sleep_until(self, ready: Callable[[], bool]) -> None:
        me = self.now
        me.ready = ready
        if (chosen := self._choose()) is not me:
            self._give(chosen)
            me.sleep()

    def _choose(self) -> Turn:
        able = [turn for turn in self._all if self.over or turn.ready()]
        if not able:
            self.over = self.stuck = True
        return self._random.choice(able or self._all)

    def _give(self, turn: Turn) -> None:
        self.now = turn
        if turn.work is None:
            turn.wake()
        else:
            work, turn.work = turn.work, None
            _THREADS.submit(self._carry_out, turn, work)

    def _carry_out(self, turn: Turn, work: Callable[[], None]) -> None:
        with suppress(Killed):
            if not self.over:
                work()
        self._all.remove(turn)
        self._give(self._choose())
