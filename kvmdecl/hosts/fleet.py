"""All hosts of a cluster at once, through a few worker processes that can be killed when a host hangs.

    with ReadingFleet(uris) as fleet:
        observations = fleet.observe(Scope())

Hosts are dealt out to workers as these have room. A worker in which a call does not come back gets no more
calls, and is killed as soon as its other calls are answered. Nothing here calls libvirt: Ctrl-C always works.
"""

from __future__ import annotations

import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from contextlib import suppress
from dataclasses import dataclass, field
from math import ceil
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from kvmdecl.diagnostics import Diagnostic, TaskFailed
from kvmdecl.gates import LONGEST_LOOK
from kvmdecl.hosts.errors import timed_out
from kvmdecl.hosts.messages import Answered, Call, Opened, Progressed
from kvmdecl.hosts.protocol import (
    CheckIn,
    Conversion,
    ConversionRequest,
    DropLock,
    GuestsSeen,
    LookAtGuests,
    Progress,
    Scope,
    TakeLock,
    TaskRequest,
    TaskResult,
    Work,
)
from kvmdecl.state import HostSnapshot, Unreachable
from kvmdecl.tasks import LeaveDomain, MoveDomain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from kvmdecl.hosts.messages import Report
    from kvmdecl.state import Observation
    from kvmdecl.uri import HostUri

MAX_WORKERS = 4
HOSTS_PER_WORKER = 8
"""A process more costs 0.1 s of CPU time to start; threads read the hosts of one process at once."""
OPEN_TIMEOUT = 10.0
"""Seconds for opening a connection, with the start of the worker."""
REOPEN_TIMEOUT = 5.0
"""The same for a host whose connection stood before."""
SILENCE = 8.0
"""Seconds that an open connection may show no sign of life."""
READ_TIMEOUT = 60.0
"""Seconds for a whole reading of a host that is alive."""
CONVERSION_TIMEOUT = 30.0
"""Seconds for the conversion of a domain's definition, with the wait for others of the same host."""
TASK_SILENCE = 1800.0
"""Seconds that a task may go on without progress on a host that is alive."""
Mode = Literal["read", "convert", "write"]
"""What a worker may do; see kvmdecl.hosts.worker."""
_MAIN = """
import sys
if sys.argv[3] not in sys.path: sys.path.insert(0, sys.argv[3])
from kvmdecl.hosts.worker import main
main(sys.argv[1], int(sys.argv[2]), int(sys.argv[4]))
"""
_ROOT = str(Path(__file__).parents[2])  # a worker imports the same kvmdecl, installed or not
_ROOM = 16  # calls at once in a worker
_FAREWELL = 1.0  # seconds that a worker gets to close its connections


@dataclass(slots=True, eq=False)
class _Job:
    """A call with what becomes of it.

    `limit` is how many seconds it may go on without progress once its connection stands.
    """

    call: Call
    future: Future[Any]
    limit: float
    progress: Callable[[Progress], None] | None = None
    heard: float = 0.0
    progressed: float = 0.0
    opened: bool = False
    retried: bool = False
    fell_silent: bool = False

    def begin(self) -> None:
        """Start the clocks."""
        self.heard = self.progressed = time.monotonic()

    @property
    def deadline(self) -> float:
        """When to give it up, unless something is heard before."""
        if not self.opened:
            return self.heard + (REOPEN_TIMEOUT if self.fell_silent else OPEN_TIMEOUT)
        return min(self.heard + SILENCE, self.progressed + self.limit)

    @property
    def doing(self) -> str:
        """What a call that changes nothing does, empty for one that may change something."""
        match self.call.work:
            case Scope():
                return "reading it"
            case ConversionRequest():
                return "converting a definition"
            case LookAtGuests():
                return "looking at its guests"
            case TakeLock() | DropLock() | CheckIn() | TaskRequest():
                return ""


@dataclass(slots=True, eq=False)
class _Worker:
    """A worker process. One that is retiring gets no more jobs and is killed when it has none."""

    process: subprocess.Popen[bytes]
    connection: Connection
    jobs: dict[int, _Job] = field(default_factory=dict)
    retiring: bool = False

    @classmethod
    def start(cls, mode: Mode, turns: int) -> _Worker:
        """Start a worker in a session of its own: without a terminal ssh cannot ask for a password there.

        `-P` keeps the current directory, whose files may be anybody's, out of the worker's imports. `turns` is the
        file by which workers take turns.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-P", "-c", _MAIN, mode, str(theirs.fileno()), _ROOT, str(turns)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno(), turns],
                start_new_session=True,
            )
        return cls(process, Connection(ours.detach()))

    def give(self, job: _Job) -> None:
        """Send a job. Where the worker is gone already, that is noticed when it is listened to."""
        job.begin()
        self.jobs[job.call.id] = job
        with suppress(OSError):
            self.connection.send(job.call)

    def kill(self) -> None:
        """End the process and everything it started. Its group exists until it is waited for."""
        self.connection.close()
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def dismiss(self) -> None:
        """Let the process close its connections and end."""
        self.connection.close()
        try:
            self.process.wait(_FAREWELL)
        except subprocess.TimeoutExpired:
            self.kill()


class _Crew(threading.Thread):
    """The workers of a fleet, and the thread that deals out jobs and hears what became of them."""

    def __init__(self, mode: Mode, size: int) -> None:
        super().__init__(name="fleet", daemon=True)
        self._mode = mode
        self._size = size
        self._incoming: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._waiting: list[_Job] = []
        self._workers: list[_Worker] = []
        self._homes: dict[str, _Worker] = {}
        self._turns = os.memfd_create("kvmdecl-turns")
        self._wake, self._woken = socket.socketpair()
        self._wake.setblocking(False)
        self._ending: Literal["", "gently", "at once"] = ""
        self._next_id = 0

    # Called from other threads.

    def submit(
        self,
        host: str,
        uri: HostUri,
        work: Work,
        limit: float,
        progress: Callable[[Progress], None] | None = None,
        peer: tuple[str, str] | None = None,
    ) -> Future[Any]:
        self._next_id += 1
        job = _Job(Call(self._next_id, host, str(uri), work, peer), Future(), limit, progress)
        self._incoming.put(job)
        self._rouse()
        return job.future

    def end(self, *, gently: bool) -> None:
        self._ending = "gently" if gently else "at once"
        self._rouse()
        self.join()

    def _rouse(self) -> None:
        with suppress(BlockingIOError):  # the pipe is full of wake-up calls: it will wake
            self._wake.send(b"!")

    # The crew's own thread.

    def run(self) -> None:
        """Work until the end is asked for; then nothing is left: no process, no unanswered future."""
        try:
            while not self._ending:
                self._deal_out()
                heard = self._listen()
                self._give_up([worker for worker in self._workers if worker not in heard])
        finally:
            self._clear_up()

    def _deal_out(self) -> None:
        while not self._incoming.empty():
            self._waiting.append(self._incoming.get())
        still: list[_Job] = []
        for job in self._waiting:
            worker = self._worker_for(job)
            if worker is None:
                still.append(job)
            elif job.retried or job.future.set_running_or_notify_cancel():
                worker.give(job)
        self._waiting = still

    def _worker_for(self, job: _Job) -> _Worker | None:
        """The worker that has the host's connection, else the least busy one; None if it has no room."""
        if job.retried:
            alone = self._start()
            alone.retiring = True
            return alone
        home = self._homes.get(job.call.host)
        if home is not None and not home.retiring:
            return home if len(home.jobs) < _ROOM else None
        hiring = [worker for worker in self._workers if not worker.retiring]
        best = min(hiring, key=lambda worker: len(worker.jobs), default=None)
        if best is None or (best.jobs and len(hiring) < self._size):
            best = self._start()
        if len(best.jobs) >= _ROOM:
            return None
        self._homes[job.call.host] = best
        return best

    def _start(self) -> _Worker:
        worker = _Worker.start(self._mode, self._turns)
        self._workers.append(worker)
        return worker

    def _listen(self) -> list[_Worker]:
        """Wait until a worker or another thread says something, or a deadline has come. Returns who spoke."""
        deadlines = [job.deadline for worker in self._workers for job in worker.jobs.values()]
        timeout = max(0.0, min(deadlines) - time.monotonic()) if deadlines else None
        speakers = {worker.connection: worker for worker in self._workers}
        ready = wait([*speakers, self._woken], timeout)
        if self._woken in ready:
            self._woken.recv(4096)
        heard = [worker for connection, worker in speakers.items() if connection in ready]
        for worker in heard:
            self._hear(worker)
        return heard

    def _hear(self, worker: _Worker) -> None:
        try:
            report: Report = worker.connection.recv()
        except (EOFError, OSError):
            self._bury(worker)
            return
        job = worker.jobs.get(report.id)
        if job is None:
            return  # the answer to a job that was given up
        if isinstance(report, Answered):
            del worker.jobs[report.id]
            lost = job.opened and _is_lost(report.answer)
            worker.retiring |= lost  # other threads may hang on the connection
            if not (lost and self._read_again(job)):
                _settle(job, report.answer)
            self._retire(worker)
            return
        job.heard = time.monotonic()
        if isinstance(report, Opened):
            job.opened, job.progressed = True, job.heard
        elif isinstance(report, Progressed):
            job.progressed = job.heard
            if job.progress is not None:
                job.progress(report.progress)

    def _give_up(self, silent: list[_Worker]) -> None:
        """Give up the jobs whose time is over. Their threads hang, so their workers retire.

        Workers that spoke are spared: after a pause of this process (Ctrl-Z) much is there to be heard first.
        """
        now = time.monotonic()
        for worker in silent:
            late = [job for job in worker.jobs.values() if job.deadline <= now]
            for job in late:
                del worker.jobs[job.call.id]
                worker.retiring = True
                if not self._read_again(job):
                    _settle(job, TaskFailed(_late(job)))
            self._retire(worker)

    def _read_again(self, job: _Job) -> bool:
        """Have a host read once more whose connection stood and fell silent or broke; False for all other jobs.

        It may be alive: while libvirt ends a guest that does not die at once, for 25 s at most, every call that looks
        at that guest waits, and a client with five calls that wait is not heard at all. Or its libvirtd was restarted.
        """
        if job.retried or not job.opened or not isinstance(job.call.work, Scope):
            return False
        job.retried, job.opened, job.fell_silent = True, False, True
        self._waiting.append(job)
        return True

    def _retire(self, worker: _Worker) -> None:
        if worker.retiring and not worker.jobs:
            self._remove(worker)
            worker.kill()

    def _bury(self, worker: _Worker) -> None:
        """A worker died. What changes nothing is tried once more, each in a worker of its own: one is the cause."""
        self._remove(worker)
        worker.kill()
        for job in worker.jobs.values():
            if job.doing and not job.retried:
                job.retried, job.opened = True, False
                self._waiting.append(job)
            else:
                _settle(job, TaskFailed(_lost(job)))

    def _remove(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        self._homes = {host: home for host, home in self._homes.items() if home is not worker}

    def _clear_up(self) -> None:
        for worker in self._workers:
            if self._ending == "gently" and not worker.jobs and not worker.retiring:
                worker.dismiss()
            else:
                worker.kill()
        while not self._incoming.empty():
            self._waiting.append(self._incoming.get())
        for job in (*self._waiting, *(job for worker in self._workers for job in worker.jobs.values())):
            _settle(job, TaskFailed(_lost(job)))
        self._wake.close()
        self._woken.close()
        os.close(self._turns)


class _Fleet:
    """What both kinds of fleets are: a context in which workers may run."""

    _mode: Mode

    def __init__(self, uris: Mapping[str, HostUri], *, workers: int | None = None) -> None:
        self._uris = dict(uris)
        self._crew = _Crew(self._mode, workers or _workers_for(len(self._uris)))

    def __enter__(self) -> Self:
        self._crew.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._crew.end(gently=kind is None)


class ReadingFleet(_Fleet):
    """Reads hosts over read-only connections; has no way to change one. A HostReader."""

    _mode = "read"

    def observe(self, scope: Scope) -> Mapping[str, Observation]:
        """Read every host at once. One that does not answer in time is Unreachable and delays no other."""
        asked = {host: self._crew.submit(host, uri, scope, READ_TIMEOUT) for host, uri in self._uris.items()}
        wait_for(asked.values())
        return {host: _observation(host, future) for host, future in asked.items()}


class ConvertingFleet(_Fleet):
    """Tries definitions over read-write connections, which libvirt demands for it; changes nothing. A HostConverter."""

    _mode = "convert"

    def submit(self, request: ConversionRequest) -> Future[Conversion]:
        """Ask the request's host whether its libvirt takes a definition. The future may raise `TaskFailed`."""
        host = request.address.host
        return self._crew.submit(host, self._uris[host], request, CONVERSION_TIMEOUT)


class WritingFleet(_Fleet):
    """Carries out tasks on hosts, and looks at their guests. A HostWriter and a GuestWatcher."""

    _mode = "write"

    def look_at(self, asked: LookAtGuests) -> Future[GuestsSeen]:
        """Ask a host about its guests. The future may raise `TaskFailed`."""
        return self._crew.submit(asked.host, self._uris[asked.host], asked, LONGEST_LOOK)

    def take_lock(self, asked: TakeLock) -> Future[TaskResult]:
        """Take a host for a run. The future raises `Locked` if another run holds it, else as `submit`."""
        return self._crew.submit(asked.host, self._uris[asked.host], asked, READ_TIMEOUT)

    def drop_lock(self, asked: DropLock) -> Future[TaskResult]:
        """Give a host back. The future raises as `submit`."""
        return self._crew.submit(asked.host, self._uris[asked.host], asked, READ_TIMEOUT)

    def check_in(self, asked: CheckIn) -> Future[TaskResult]:
        """Check in at a host: is it the planned machine, and does it know the cluster's hosts?"""
        return self._crew.submit(asked.host, self._uris[asked.host], asked, READ_TIMEOUT)

    def submit(self, request: TaskRequest, progress: Callable[[Progress], None]) -> Future[TaskResult]:
        """Ask the request's host to carry out a task; `progress` is called from another thread.

        The future raises `Moved` or `TaskFailed`; the latter says so where the outcome is unknown.
        """
        host, task = request.address.host, request.task
        other = task.peer if isinstance(task, MoveDomain | LeaveDomain) else ""
        peer = (other, str(self._uris[other])) if other else None
        return self._crew.submit(host, self._uris[host], request, TASK_SILENCE, progress, peer)


def _workers_for(hosts: int) -> int:
    return max(1, min(MAX_WORKERS, ceil(hosts / HOSTS_PER_WORKER)))


def _observation(host: str, future: Future[HostSnapshot]) -> Observation:
    try:
        return future.result()
    except TaskFailed as failed:
        return Unreachable(host, failed.diagnostic)


def _settle(job: _Job, answer: object) -> None:
    if job.future.done():
        return
    if isinstance(answer, Exception):
        job.future.set_exception(answer)
    else:
        job.future.set_result(answer)


def _is_lost(answer: object) -> bool:
    """Whether a call failed because its connection broke."""
    return isinstance(answer, TaskFailed) and answer.diagnostic.code in {"host.timeout", "host.unreachable"}


def _late(job: _Job) -> Diagnostic:
    if not job.opened:
        return timed_out(job.call.host, "connecting", REOPEN_TIMEOUT if job.fell_silent else OPEN_TIMEOUT)
    silent = job.heard + SILENCE < job.progressed + job.limit
    if job.doing:
        return timed_out(job.call.host, job.doing, SILENCE if silent else job.limit)
    if silent:
        return _unknown_outcome(job, f"the host was silent for {SILENCE:.0f} s")
    return _unknown_outcome(job, f"it made no progress for {job.limit:.0f} s")


def _lost(job: _Job) -> Diagnostic:
    if job.opened and not job.doing:
        return _unknown_outcome(job, "the process that talked to the host ended")
    return Diagnostic(
        code="host.worker-died",
        summary=f"{job.call.host}: the process that talked to the host ended before the host answered",
        cause="Nothing was done to the host.",
        hint="try again; if it happens again, see whether memory runs out or the libvirt library crashes",
        subject=f"host/{job.call.host}",
    )


def _unknown_outcome(job: _Job, reason: str) -> Diagnostic:
    address = job.call.work.address if isinstance(job.call.work, TaskRequest) else job.call.host
    return Diagnostic(
        code="host.outcome-unknown",
        summary=f"{address}: whether it was done is not known: {reason}",
        cause="The host may have done all of it, a part, or nothing.",
        hint="plan again: the next plan reads the host and shows what is left to do",
        subject=f"host/{job.call.host}",
    )
