"""What apply says while it works: one stream of typed events that every view reads."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from kvmdecl.diagnostics import Diagnostic
from kvmdecl.state import Address


@dataclass(frozen=True, slots=True)
class ApplyStarted:
    """The first event. `steps` in the order of the plan; `run` is the run's name, empty if it has none."""

    cluster: str
    steps: tuple[Address, ...]
    run: str = ""
    event: Literal["apply-started"] = "apply-started"


@dataclass(frozen=True, slots=True)
class WaveStarted:
    """The steps of a wave begin; those of the ones before it have ended. It is the `number`th of `waves`."""

    number: int
    waves: int
    name: str
    hosts: tuple[str, ...]
    event: Literal["wave-started"] = "wave-started"


@dataclass(frozen=True, slots=True)
class RolloutStopped:
    """No further step begins: something failed on these hosts, or they did not answer, and only so many may."""

    failed: tuple[str, ...]
    allowed: int
    event: Literal["rollout-stopped"] = "rollout-stopped"


class Outcome(StrEnum):
    """What a gate says. INCONCLUSIVE: nobody knows, so the rollout pauses instead of calling it a failure."""

    PASSED = "passed"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class GateStarted:
    """The steps of a wave have ended, and a gate is looked at before the next one; it asks so many guests."""

    wave: str
    gate: str
    guests: int
    event: Literal["gate-started"] = "gate-started"


@dataclass(frozen=True, slots=True)
class GateEnded:
    """What a gate came to. After anything but `passed` no further step begins; `why` says what was found then."""

    wave: str
    gate: str
    outcome: Outcome
    why: str
    seconds: float
    event: Literal["gate-ended"] = "gate-ended"


@dataclass(frozen=True, slots=True)
class StepStarted:
    """A host was asked to carry out a step."""

    address: Address
    event: Literal["step-started"] = "step-started"


@dataclass(frozen=True, slots=True)
class StepProgress:
    """How far a long step is: bytes of an upload, or seconds of a wait (`unit`)."""

    address: Address
    done: int
    total: int
    unit: Literal["bytes", "seconds"]
    event: Literal["step-progress"] = "step-progress"


@dataclass(frozen=True, slots=True)
class StepDone:
    """A step was carried out and read back. `seconds` it took; `remarks` are things the user should know."""

    address: Address
    seconds: float
    remarks: tuple[str, ...] = ()
    event: Literal["step-done"] = "step-done"


@dataclass(frozen=True, slots=True)
class StepFailed:
    """A step was begun and failed; the host holds what the diagnostic says."""

    address: Address
    diagnostic: Diagnostic
    event: Literal["step-failed"] = "step-failed"


@dataclass(frozen=True, slots=True)
class StepRefused:
    """A step was not begun: the object is no longer what it was when the plan was made, or nobody consented."""

    address: Address
    diagnostic: Diagnostic
    event: Literal["step-refused"] = "step-refused"


@dataclass(frozen=True, slots=True)
class StepSkipped:
    """A step was not begun: `because` did not succeed, or the `gate` did not pass, or else the run was stopped."""

    address: Address
    because: Address | None
    gate: str = ""
    event: Literal["step-skipped"] = "step-skipped"


@dataclass(frozen=True, slots=True)
class ApplyFinished:
    """The last event: how many steps ended how."""

    done: int
    failed: int
    refused: int
    skipped: int
    seconds: float
    event: Literal["apply-finished"] = "apply-finished"


Event = (
    ApplyStarted
    | WaveStarted
    | RolloutStopped
    | GateStarted
    | GateEnded
    | StepStarted
    | StepProgress
    | StepDone
    | StepFailed
    | StepRefused
    | StepSkipped
    | ApplyFinished
)
