"""`python -m tests.chaos.races N`: runs race for a host, and are paused and killed on the way; two never write at once.

Each contender is a process that takes the host's lock, writes a few times, and gives it back, as a run does. Meanwhile
processes are stopped (SIGSTOP) and go on later, and some are killed. A writer makes a file that must not be there yet,
and takes it away after.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

import libvirt

from kvmdecl.diagnostics import Locked, TaskFailed
from kvmdecl.hosts.processes import is_dead, this_run
from kvmdecl.hosts.protocol import DropLock, TakeLock
from kvmdecl.hosts.runlock import drop_lock, require_lock, take_lock
from kvmdecl.runs import Holder, dump_holder, load_holder
from kvmdecl.testing import temporary_lab

WRITES = 3


def contend(uri: str, folder: Path, cluster: str = "races") -> None:
    """Take, write, give back, for ever."""
    libvirt.registerErrorHandler(lambda _context, _error: None, None)
    connection = libvirt.open(uri)
    while True:
        holder = this_run(cluster)
        try:
            took_over = take_lock(connection, TakeLock("kvm-1", holder)).remarks
        except (Locked, TaskFailed):
            time.sleep(random.random() / 500)
            continue
        _note(folder / "taken", "dead\n" if took_over else "free\n")
        for _ in range(WRITES):
            require_lock(connection, "kvm-1", holder.token)
            _write(folder, holder)
        drop_lock(connection, DropLock("kvm-1", cluster, holder.run))


def _write(folder: Path, holder: Holder) -> None:
    """Be alone in the room. What one left who was killed in it does not count."""
    room = folder / "writing"
    mine = folder / f"writing.{os.getpid()}"
    mine.write_text(dump_holder(holder))
    try:
        os.link(mine, room)
    except FileExistsError:
        with suppress(FileNotFoundError):
            other = load_holder(room.read_text(), "", holder.cluster)
            if not is_dead(other):
                _note(folder / "together", f"{holder.run} {other.run}\n")
        mine.replace(room)
    time.sleep(random.random() / 3000)
    with suppress(FileNotFoundError):
        room.unlink()


def _note(path: Path, line: str) -> None:
    with path.open("a") as file:
        file.write(line)


def lines(path: Path) -> list[str]:
    """What was noted; nothing if nobody did."""
    return path.read_text().splitlines() if path.exists() else []


@dataclass
class Race:
    """Contenders for one host, and who disturbs them."""

    uri: str
    folder: Path
    contenders: int = 4
    haste: int = 200
    random: random.Random = field(default_factory=lambda: random.Random(1))
    kills: int = 0
    pauses: int = 0

    def run(self, races: int, seconds: float) -> tuple[list[str], list[str]]:
        """Race until the host was taken so often, or for so long. Returns each taking, and each time two were there."""
        forks = multiprocessing.get_context("fork")

        def start() -> BaseProcess:
            process = forks.Process(target=contend, args=(self.uri, self.folder), daemon=True)
            process.start()
            return process

        running = [start() for _ in range(self.contenders)]
        deadline = time.monotonic() + seconds
        try:
            while len(lines(self.folder / "taken")) < races and time.monotonic() < deadline:
                if lines(self.folder / "together"):
                    break
                self._disturb(running, start)
        finally:
            for process in running:
                process.kill()
                process.join()
        return lines(self.folder / "taken"), lines(self.folder / "together")

    def _disturb(self, running: list[BaseProcess], start) -> None:
        chosen = self.random.randrange(len(running))
        pid = running[chosen].pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        self.pauses += 1
        time.sleep(self.random.random() / self.haste)
        if self.random.random() < 0.2:
            running[
                chosen
            ].kill()  # while it is stopped; it is joined later, so that it is a zombie meanwhile
            self.kills += 1
            time.sleep(self.random.random() / self.haste)
            running[chosen].join()
            running[chosen] = start()
        else:
            os.kill(pid, signal.SIGCONT)


def main(races: int) -> int:
    """Race so often."""
    with temporary_lab(["kvm-1"]) as lab, tempfile.TemporaryDirectory() as folder:
        race = Race(lab.host("kvm-1").uri(), Path(folder), contenders=16, haste=50)
        began = time.monotonic()
        taken, together = race.run(races, seconds=3600)
        print(
            f"{len(taken)} races in {time.monotonic() - began:.0f} s, {race.pauses} pauses, {race.kills} kills,"
            f" {taken.count('dead')} locks of the dead taken over; two writers at once: {len(together)}"
        )
        return 1 if together or len(taken) < races else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000))
