"""What notifiers are told beside the events of a run: that it begins, how it ended, and of drift.

Counts and names of the cluster, the run and who began it. What a step is given is in none of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from kvmdecl.events import (
    ApplyFinished,
    ApplyStarted,
    GateEnded,
    GateStarted,
    RolloutStopped,
    StepDone,
    StepFailed,
    StepRefused,
    StepSkipped,
    StepStarted,
    WaveStarted,
)

Notifier = Callable[[Iterator[Mapping[str, Any]]], None]
"""Tells somebody else: of notices as they come, each as its JSON document. It runs in a process of its own."""


class Result(StrEnum):
    """How a run ended. FAILED: an error stopped it; BROKE_OFF: its process is gone without a word."""

    DONE = "done"
    IN_PART = "done-in-part"
    PAUSED = "paused"
    INTERRUPTED = "interrupted"
    LOCKED = "locked"
    FAILED = "failed"
    BROKE_OFF = "broke-off"


@dataclass(frozen=True, slots=True)
class RunBegan:
    """A plan is going to be carried out.

    Attributes:
        cluster: whose.
        run: its name.
        command: `apply`, `destroy`, `undo` or `snapshot`.
        user: who began it.
        machine: where.
        job: address of the job that it is part of, as the CI system tells it; empty for none.
        steps: of the plan.
    """

    cluster: str
    run: str
    command: str
    user: str
    machine: str
    job: str
    steps: int
    event: Literal["run-began"] = "run-began"


@dataclass(frozen=True, slots=True)
class RunEnded:
    """How a run ended: of its `steps` so many ended in each way; the rest was not reached. `seconds` it took."""

    cluster: str
    run: str
    command: str
    user: str
    machine: str
    job: str
    steps: int
    result: Result
    done: int
    failed: int
    refused: int
    skipped: int
    seconds: float
    event: Literal["run-ended"] = "run-ended"


@dataclass(frozen=True, slots=True)
class DriftSeen:
    """What `kvmdecl drift` found, also that it found nothing.

    Attributes:
        cluster: whose.
        user: who looked.
        machine: where.
        job: address of the job that it is part of; empty for none.
        found: whether anything changed on a host that the manifest is no reason for.
        hosts: of the manifest, and cluster managers.
        silent: how many of them did not answer.
        changed: objects of which a declared field is not what was last applied.
        missing: objects that were made and are gone.
        outside: objects of which fields changed that nobody declares.
        unapplied: objects that are not as declared, which is no drift.
    """

    cluster: str
    user: str
    machine: str
    job: str
    found: bool
    hosts: int
    silent: int
    changed: int
    missing: int
    outside: int
    unapplied: int
    event: Literal["drift-seen"] = "drift-seen"


Notice = (
    RunBegan
    | ApplyStarted
    | WaveStarted
    | RolloutStopped
    | GateStarted
    | GateEnded
    | StepStarted
    | StepDone
    | StepFailed
    | StepRefused
    | StepSkipped
    | ApplyFinished
    | RunEnded
    | DriftSeen
)
"""The events of a run but for the progress of single steps, and what there is before, after and beside them."""


def ended(began: RunBegan, result: Result, events: Counter[str], seconds: float) -> RunEnded:
    """How a run ended, from how many of each event (`step-done`) there were."""
    done, failed, refused, skipped = (
        events[f"step-{end}"] for end in ("done", "failed", "refused", "skipped")
    )
    return RunEnded(
        began.cluster, began.run, began.command, began.user, began.machine, began.job, began.steps,
        result, done, failed, refused, skipped, round(seconds, 1),
    )  # fmt: skip
