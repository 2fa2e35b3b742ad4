"""The values that cross the pipe between kvmdecl and its worker processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kvmdecl.diagnostics import Locked, Moved, TaskFailed
    from kvmdecl.hosts.protocol import Conversion, GuestsSeen, Progress, TaskResult, Work
    from kvmdecl.state import HostSnapshot

    Answer = HostSnapshot | Conversion | GuestsSeen | TaskResult | Locked | Moved | TaskFailed


@dataclass(frozen=True, slots=True)
class Call:
    """To a worker: reach `host` at `uri` and read it (a Scope), lock it, try a definition, carry out a task.

    `peer` is another host that a task is about, and its URI.
    """

    id: int
    host: str
    uri: str
    work: Work
    peer: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Opened:
    """From a worker: the connection for a call stands; the work begins."""

    id: int


@dataclass(frozen=True, slots=True)
class Alive:
    """From a worker: the host at the other end of a call's connection answered just now."""

    id: int


@dataclass(frozen=True, slots=True)
class Progressed:
    """From a worker: how far a call is."""

    id: int
    progress: Progress


@dataclass(frozen=True, slots=True)
class Answered:
    """From a worker: a call's end."""

    id: int
    answer: Answer


Report = Opened | Alive | Progressed | Answered
"""What a worker says."""
