"""A worker process: holds connections and makes the calls that may never return.

Opening a connection cannot be interrupted and a frozen host blocks it for ever; SIGKILL ends a process in any
state. So kvmdecl itself never calls libvirt: it asks a worker, and kills it where an answer stays away.

`main` runs in a fresh interpreter and in a session of its own. It ends when the other end of the pipe closes,
so that none outlives kvmdecl, however that ended. What it started (ssh) ends with it.
"""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
import traceback
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

import libvirt

from kvmdecl.diagnostics import Diagnostic, Locked, Moved, Rejected, TaskFailed
from kvmdecl.hosts.errors import bad_answer, diagnose, is_unsupported
from kvmdecl.hosts.ledger import take_turns_by
from kvmdecl.hosts.messages import Alive, Answered, Call, Opened, Progressed, Report
from kvmdecl.hosts.processes import end_with_parent
from kvmdecl.hosts.protocol import (
    CheckIn,
    Conversion,
    ConversionRequest,
    DropLock,
    GuestsSeen,
    LookAtGuests,
    Scope,
    TakeLock,
    TaskRequest,
    TaskResult,
)
from kvmdecl.hosts.runlock import REFRESH, drop_lock, refresh_lock, require_lock, take_lock
from kvmdecl.libvirt_xml.safe import BadXml
from kvmdecl.text import safe_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import NoReturn

    from kvmdecl.hosts.messages import Answer
    from kvmdecl.hosts.perform import Patience
    from kvmdecl.hosts.protocol import Progress, Work
    from kvmdecl.runs import Holder
    from kvmdecl.state import HostSnapshot

    DoWork = Callable[[Call], HostSnapshot | Conversion | GuestsSeen | TaskResult]

KEEPALIVE_INTERVAL, KEEPALIVE_COUNT = 2, 3
"""Seconds and number: a host that does not answer is given up after interval * (count + 1) = 8 s."""

PULSE = 1.0
"""Seconds between two signs of life of a connection."""

TASKS_AT_ONCE = 4
"""Tasks on one connection at once. libvirtd takes 5 calls of a client at a time, and then hears no more."""

_FAREWELL = 0.5  # seconds that connections get to close


class Pipe:
    """The way to kvmdecl, shared by the threads of this process."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def say(self, report: Report) -> None:
        """Send a report. Once nobody listens any more the process is about to end, so nothing is raised."""
        with self._lock:
            try:
                self._connection.send(report)
            except OSError:
                return

    def hear(self) -> Call | None:
        """Wait for the next call; None when the other end is closed."""
        try:
            call = self._connection.recv()
        except (EOFError, OSError):
            return None
        if not isinstance(call, Call):
            raise TypeError(f"not a call: {call!r}")
        return call


class Line:
    """A connection, and a thread that tells kvmdecl that the host at its other end is alive.

    libvirt's keepalive is not enough: when a host freezes, one of the calls that wait on its connection fails
    and the others wait for ever (seen with libvirt 9.0). A line that falls silent is noticed in any case.
    """

    def __init__(self, connection: libvirt.virConnect, pipe: Pipe) -> None:
        self.connection = connection
        self._pipe = pipe
        self._calls: set[int] = set()
        self.room = threading.Semaphore(TASKS_AT_ONCE)
        self.holder: Holder | None = None
        self.guard = threading.Lock()
        self._closed = threading.Event()
        threading.Thread(target=self._beat, name="pulse", daemon=True).start()

    def begin(self, call: Call) -> None:
        """Speak for a call from now on."""
        self._calls.add(call.id)
        self._pipe.say(Opened(call.id))

    def end(self, call: Call) -> None:
        """Speak for a call no longer."""
        self._calls.discard(call.id)

    def close(self) -> None:
        """Close the connection."""
        self._closed.set()
        self.connection.close()

    def _beat(self) -> None:
        """Ask for the version (virConnectGetLibVersion): libvirtd keeps threads free for calls like it.

        Now and then, show whoever looks at the lock that its holder is alive.
        """
        shown = time.monotonic()
        while not self._closed.wait(PULSE):
            try:
                self.connection.getLibVersion()
                if time.monotonic() - shown >= REFRESH:
                    self._show_life()
                    shown = time.monotonic()
            except libvirt.libvirtError:
                return
            for identifier in tuple(self._calls):
                self._pipe.say(Alive(identifier))

    def _show_life(self) -> None:
        with self.guard:  # or a lock that is given back meanwhile would be taken again
            if self.holder is not None:
                refresh_lock(self.connection, self.holder)

    def let_go(self) -> None:
        """Refresh no lock from now on."""
        with self.guard:
            self.holder = None


class Reader:
    """Reads hosts. It has no method that changes anything, and its connections are read-only.

    Only for domain capabilities, which libvirt denies to read-only connections, a full one is opened.
    """

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe

    def work(self, call: Call) -> HostSnapshot:
        """Open, read, close. After a failure nothing is closed, for that could block."""
        from kvmdecl.hosts.read import read_host

        if not isinstance(call.work, Scope):
            raise TypeError("a reader carries out no tasks")
        line = Line(connect(call, read_only=not call.work.domain_support), self._pipe)
        line.begin(call)
        snapshot = read_host(line.connection, call.host, call.work)
        line.close()
        return snapshot


class _Lines:
    """Read-write lines, one for each host, opened at its first call and kept."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._lines: dict[str, Line] = {}

    @contextmanager
    def lines(self, call: Call) -> Iterator[tuple[Line, libvirt.virConnect | None]]:
        """The line to a call's host, and the connection to the other one if it is about two, once both have room.

        Room is taken in the order of the hosts' names: two calls, each with room where the other needs it, would wait
        for ever.
        """
        line = self._line(call)
        line.begin(call)
        try:
            lines = {call.host: line}
            if call.peer is not None:
                host, uri = call.peer
                lines[host] = self._line(replace(call, host=host, uri=uri))
            with ExitStack() as rooms:
                for host in sorted(lines):
                    rooms.enter_context(lines[host].room)
                yield line, lines[call.peer[0]].connection if call.peer else None
        finally:
            line.end(call)

    def _line(self, call: Call) -> Line:
        """The line to the host; a new one if there is none, or if its connection broke."""
        with self._lock:
            lock = self._locks.setdefault(call.host, threading.Lock())
        with lock:
            line = self._lines.get(call.host)
            if line is None or not line.connection.isAlive():
                line = self._lines[call.host] = Line(connect(call, read_only=False), self._pipe)
            return line


class Converter:
    """Tries definitions. It has no method that changes anything, though libvirt wants full connections for it."""

    def __init__(self, pipe: Pipe) -> None:
        self._lines = _Lines(pipe)

    def work(self, call: Call) -> Conversion:
        """Try the definition of a call."""
        from kvmdecl.hosts.convert import convert

        if not isinstance(call.work, ConversionRequest):
            raise TypeError("a converter reads no hosts and carries out no tasks")
        with self._lines.lines(call) as (line, _):
            return convert(line.connection, call.work)


class Writer:
    """Carries out tasks."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._lines = _Lines(pipe)

    def work(self, call: Call) -> TaskResult | GuestsSeen:
        """Carry out the task of a call."""
        with self._lines.lines(call) as (line, peer):
            if isinstance(call.work, DropLock):
                line.let_go()
            result = carry_out(
                line.connection,
                call.work,
                lambda progress: self._pipe.say(Progressed(call.id, progress)),
                peer=peer,
                uri=call.uri,
            )
            if isinstance(call.work, TakeLock):
                line.holder = call.work.holder.now()
            return result


def carry_out(
    connection: libvirt.virConnect,
    work: Work,
    progress: Callable[[Progress], None],
    patience: Patience | None = None,
    *,
    peer: libvirt.virConnect | None = None,
    uri: str = "",
) -> TaskResult | GuestsSeen:
    """Do over an open read-write connection what a writer can be asked. Raises what `answer_to` makes answers of.

    `peer` and `uri` are as in `perform`.
    """
    from kvmdecl.hosts.checkin import check_in
    from kvmdecl.hosts.guests import look_at_guests
    from kvmdecl.hosts.perform import Patience, perform

    match work:
        case TakeLock() as asked:
            return take_lock(connection, asked)
        case DropLock() as asked:
            return drop_lock(connection, asked)
        case CheckIn() as asked:
            require_lock(connection, asked.host, asked.lock)
            return check_in(connection, asked)
        case LookAtGuests() as asked:
            return look_at_guests(connection, asked)
        case TaskRequest() as request:
            return perform(connection, request, progress, patience or Patience(), peer=peer, uri=uri)
    raise TypeError("a writer reads no hosts")


_WORKERS: Mapping[str, Callable[[Pipe], Reader | Converter | Writer]] = {
    "read": Reader,
    "convert": Converter,
    "write": Writer,
}


def connect(call: Call, *, read_only: bool) -> libvirt.virConnect:
    """Open a connection that notices when its host is gone. May block for ever.

    Raises:
        TaskFailed: the host cannot be reached, or refuses.
    """
    try:
        connection = libvirt.openReadOnly(call.uri) if read_only else libvirt.open(call.uri)
        _keep_alive(connection)
    except libvirt.libvirtError as error:
        raise TaskFailed(diagnose(error, call.host, "connecting")) from error
    return connection


def _keep_alive(connection: libvirt.virConnect) -> None:
    """Drivers without a daemon have no keepalive; their connections cannot break."""
    try:
        connection.setKeepAlive(KEEPALIVE_INTERVAL, KEEPALIVE_COUNT)
    except libvirt.libvirtError as error:
        if not is_unsupported(error):
            raise


def start_event_loop() -> None:
    """Run libvirt's event loop, which keepalive needs, in a thread. Before the first connection is opened."""
    libvirt.registerErrorHandler(lambda _context, _error: None, None)  # else errors are printed to stderr too
    libvirt.virEventRegisterDefaultImpl()
    threading.Thread(target=_run_events, name="events", daemon=True).start()


def _run_events() -> None:
    while True:
        libvirt.virEventRunDefaultImpl()


def serve(pipe: Pipe, work: DoWork) -> None:
    """Give every call a thread, until the other end of the pipe closes."""
    start_event_loop()
    threads: list[threading.Thread] = []
    while (call := pipe.hear()) is not None:
        thread = threading.Thread(target=_answer, args=(pipe, work, call), name=call.host, daemon=True)
        thread.start()
        threads = [*filter(threading.Thread.is_alive, threads), thread]
    deadline = time.monotonic() + _FAREWELL
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))


def _answer(pipe: Pipe, work: DoWork, call: Call) -> None:
    """Answer a call, whatever happens: kvmdecl waits for it."""
    pipe.say(Answered(call.id, answer_to(call, work)))


def answer_to(call: Call, work: DoWork) -> Answer:
    """What a call's work returns, or why it failed."""
    try:
        return work(call)
    except (Locked, Moved, TaskFailed) as error:
        return error
    except Exception as error:  # noqa: BLE001 - the border of the process: a fault in one host's call is that host's
        return TaskFailed(_diagnostic(error, call))


def _diagnostic(error: Exception, call: Call) -> Diagnostic:
    match call.work:
        case Scope():
            doing = "reading it"
        case TakeLock():
            doing = "locking it"
        case DropLock():
            doing = "giving it back"
        case CheckIn():
            doing = "noting the cluster's hosts"
        case LookAtGuests():
            doing = "looking at its guests"
        case work:
            doing = f"working on {safe_text(str(work.address))}"
    if isinstance(error, libvirt.libvirtError):
        return diagnose(error, call.host, doing)
    if isinstance(error, Rejected):
        return error.diagnostics[0]
    if isinstance(error, BadXml):
        return bad_answer(call.host, str(error))
    place = "".join(traceback.format_exception(error)).strip().splitlines()
    return Diagnostic(
        code="host.fault",
        summary=f"{call.host}: kvmdecl itself failed while {doing}: {safe_text(place[-1])}",
        cause=safe_text(" ".join(line.strip() for line in place[-4:-1])),
        hint="please report it, with the output of `kvmdecl facts` for this host",
        subject=f"host/{call.host}",
    )


def main(mode: str, descriptor: int, turns: int) -> None:
    """Serve until the pipe closes, then end with everything that was started here.

    Args:
        mode: `read`, `convert` or `write`.
        descriptor: of this process's end of the pipe.
        turns: descriptor of a file that all workers of the fleet have, by which they take turns.
    """
    end_with_parent()
    gc.disable()  # to free a handle that hung in a cycle makes libvirt forget an error that was not looked at yet
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.set_inheritable(descriptor, False)  # else ssh would hold the pipe open
    os.set_inheritable(turns, False)
    take_turns_by(turns)
    pipe = Pipe(Connection(descriptor))
    try:
        serve(pipe, _WORKERS[mode](pipe).work)
    finally:
        end_group()


def end_group() -> NoReturn:
    """End this process and its children, though a thread may hang in a call that nothing else ends."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(0)
