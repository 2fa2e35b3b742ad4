"""Notices handed to the notifiers of plugins, each in a process of its own, so that none slows, hangs or breaks a run.

A notifier's process is a fresh interpreter in a session of its own. It reads lines of JSON until the pipe ends, which
is also how it learns that kvmdecl was killed; then it has some seconds left, and an alarm of the kernel ends it. Nobody
waits for the pipe here: what it does not take is kept, within limits, and offered again later.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from queue import SimpleQueue
from typing import IO, TYPE_CHECKING, Any

from kvmdecl.diagnostics import Diagnostic, Severity
from kvmdecl.notices import Result, RunBegan, ended
from kvmdecl.text import safe_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from kvmdecl.notices import Notice

PATIENCE = 10
"""Seconds that notifiers have once everything is told."""
_MOST_KEPT = 16 * 1024 * 1024  # bytes of lines that a notifier's process has not taken yet
_ROOT = str(Path(__file__).parents[1])
_MAIN = """
import sys
if sys.argv[2] not in sys.path: sys.path.insert(0, sys.argv[2])
from kvmdecl.notifying import work
sys.exit(work(sys.argv[1]))
"""


class Notifying:
    """Notifiers at work. Nothing raises, and only `close` waits. Those that nobody waits for end by themselves."""

    def __init__(self, names: Iterable[str]) -> None:
        """Begin a process for each."""
        self._posts = [_Post(name) for name in names]
        self._told = 0
        self.events: Counter[str] = Counter()

    def tell(self, notice: Notice) -> None:
        """Tell all of them."""
        self.events[notice.event] += 1
        if not self._posts:
            return
        from kvmdecl.views.notices_json import render_notice  # its models take time

        self._told += 1
        line = render_notice(notice, self._told).encode()
        for post in self._posts:
            post.send(line)

    def close(self, patience: float = PATIENCE) -> tuple[Diagnostic, ...]:
        """Wait until all of them are done, and end those that are not in time; what did not work, as warnings.

        Ctrl-C ends the waiting and no notifier: those that are left end by themselves.
        """
        deadline = time.monotonic() + patience
        try:
            return tuple(found for post in self._posts for found in post.close(deadline))
        except KeyboardInterrupt:
            return ()


class _Post:
    """The way to the process of one notifier."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._kept = bytearray()
        self._lost = 0
        self._why = ""
        self._work: _Work | None = None
        try:
            self._work = _Work.start(name)
        except OSError as error:
            self._why = f"it cannot be started: {error.strerror}"

    def send(self, line: bytes) -> None:
        if len(self._kept) + len(line) > _MOST_KEPT:
            self._lost += 1
        elif self._work is not None:
            self._kept += line
            self._push(self._work)

    def _push(self, work: _Work) -> None:
        """Write what the pipe takes; a process that has ended takes all, and `close` sees how it did."""
        while self._kept and (taken := work.take(bytes(self._kept[:65536]))):
            del self._kept[:taken]

    def close(self, deadline: float) -> Iterator[Diagnostic]:
        if self._work is not None:
            while self._kept and (left := deadline - time.monotonic()) > 0:
                select.select([], [self._work.pipe], [], left)
                self._push(self._work)
            self._why = self._work.end(max(0, deadline - time.monotonic()))
        if self._lost:
            self._why = f"{self._lost} notices were not taken in time. {self._why}".rstrip()
        if self._why:
            yield _failed(self._name, self._why)


@dataclass(frozen=True, slots=True)
class _Work:
    """A process, the pipe to it, and what it says on standard error."""

    process: subprocess.Popen[bytes]
    pipe: IO[bytes]
    said: IO[bytes]

    @classmethod
    def start(cls, name: str) -> _Work:
        """Start it. `-P` keeps the current directory, whose files may be anybody's, out of its imports.

        Raises:
            OSError: there is no process, or no file, to be had.
        """
        said = tempfile.TemporaryFile()  # noqa: SIM115 - it lasts as long as the process
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", _MAIN, name, _ROOT],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=said,
            start_new_session=True,
        )
        assert process.stdin is not None  # noqa: S101 - for the type; it was asked for
        os.set_blocking(process.stdin.fileno(), False)
        return cls(process, process.stdin, said)

    def take(self, data: bytes) -> int:
        """How many bytes went into the pipe."""
        try:
            return os.write(self.pipe.fileno(), data)
        except BlockingIOError:
            return 0
        except OSError:
            return len(data)

    def end(self, seconds: float) -> str:
        """Wait, or else end it with everything that it started; why it did not do its work, empty if it did."""
        self.pipe.close()
        with self.said:
            try:
                code = self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
                code = -signal.SIGALRM
            if code == -signal.SIGALRM:
                return f"it was not done {PATIENCE} s after the end, and was stopped"
            self.said.seek(max(0, self.said.seek(0, os.SEEK_END) - 2000))
            last = self.said.read().decode("utf-8", "replace").strip().rpartition("\n")[2]
            return (last or f"its process ended with {code}") if code else ""


def _failed(name: str, why: str) -> Diagnostic:
    return Diagnostic(
        "notify.failed",
        f"notifier {safe_text(name)} did not tell all: {safe_text(why)[:300]}",
        cause="What was done does not depend on it.",
        severity=Severity.WARNING,
        subject=f"notifier/{name}",
    )


# -- in the process of a notifier ------------------------------------------------------------------------------


def work(name: str) -> int:
    """Be the process of a notifier: its exit code. What goes wrong is the last line on standard error."""
    lines: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_take, args=[lines], daemon=True).start()
    try:
        from kvmdecl.pluginhost import load_plugins

        load_plugins().notifiers()[name](_documents(lines))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told in a line
        sys.stderr.write(f"\n{type(error).__name__}: {error}\n")
        return 1
    return 0


def _take(lines: SimpleQueue[bytes]) -> None:
    """Take lines as they come, so that nobody waits for the notifier; after the last one this process soon ends."""
    with open(os.dup(0), "rb") as pipe:  # noqa: PTH123 - of its own: at its end Python wants the lock of sys.stdin
        for line in pipe:
            lines.put(line)
    signal.alarm(PATIENCE)
    lines.put(b"")


def _documents(lines: SimpleQueue[bytes]) -> Iterator[Mapping[str, Any]]:
    """Notices as documents; of a run that ends without a word it is told that it broke off."""
    began: RunBegan | None = None
    start, events = time.monotonic(), Counter[str]()
    document: dict[str, Any] = {}
    while line := lines.get():
        document = json.loads(line)
        events[document["event"]] += 1
        if document["event"] == "run-began":
            began = RunBegan(**{each.name: document[each.name] for each in fields(RunBegan)})
        yield document
    if began is not None and not events["run-ended"]:
        last = ended(began, Result.BROKE_OFF, events, time.monotonic() - start)
        yield {
            "formatVersion": document["formatVersion"],
            "sequence": document["sequence"] + 1,
            **asdict(last),
        }
