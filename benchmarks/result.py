"""One measurement and its promise."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Result:
    """What was measured. Without a target it is told for comparison only."""

    name: str
    value: float
    unit: str
    target: float | None = None

    @property
    def missed(self) -> bool:
        """Whether it is worse than was promised."""
        return self.target is not None and self.value > self.target


@dataclass(frozen=True, slots=True)
class Cost:
    """What a process took: seconds by the clock, and bytes of memory at its peak without its children's."""

    seconds: float
    peak: int


def cost_of(command: Sequence[str | Path], cwd: Path, env: Mapping[str, str] | None = None) -> Cost:
    """Run a command, which must succeed, and return what it took."""
    # As installed: pip compiles what it installs, and a checkout keeps what was compiled unless that is forbidden.
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", **(env or {})}
    began = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=cwd, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{command} ended with {process.returncode}: {errors.decode()}")
    return Cost(time.perf_counter() - began, usage.ru_maxrss * 1024)


def middle(costs: Sequence[Cost]) -> Cost:
    """The median time and the median peak."""
    return Cost(median(cost.seconds for cost in costs), int(median(cost.peak for cost in costs)))
