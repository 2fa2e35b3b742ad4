"""`python -m tests.chaos short|long`: all that is done to runs, to hosts and to manifests while nothing may be lost.

A form is a list of commands, of which as many run at once as there are CPUs. Each tells of what it has done as it goes.
One that finds something that must not be is told of with the command that does the same again, and the others go on;
the end of what it printed stands once more at the very end, which is what is kept of a long log.
With `--done FILE`, commands that came to a good end are noted there, and not run again by the next that is given it.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

_KILLS = 50
"""Of one command: those that run at once end at about the same time."""
_TOLD_AGAIN = 200
"""Lines of each command that failed."""
_MUTILATED = (
    "tests/safety/test_mutilated_manifests.py"
    "::test_a_mutilated_manifest_deletes_nothing_and_makes_no_guest_twice"
)


def commands(
    *,
    instants: int,
    libvirtd: int,
    races: int,
    sequences: int,
    seeds: int,
    at_once: int,
) -> Iterator[str]:
    """The modules and their arguments, what takes longest first."""
    yield "tests.chaos.kills --records 1"
    yield "tests.simulation.scale 500 40"
    for number in range(1, instants // _KILLS + 1):
        yield f"tests.chaos.kills --instants {_KILLS} --seed {number}"
        if number <= libvirtd // _KILLS:
            yield f"tests.chaos.kills --libvirtd {_KILLS} --seed {number}"
    for first in range(0, seeds, at_once):
        yield f"tests.simulation.faults {at_once} {first}"
    for number in range(1, sequences // 250 + 1):
        yield f"tests.simulation.differential 250 {number}"
    yield f"tests.chaos.races {races}"
    yield "pytest -q --timeout=1800 -m proof tests/e2e/test_bad_hosts.py"
    for tests in ("moves", "moves_cut_off", "moves_that_break_off"):
        yield f"pytest -q --timeout=1800 -m proof tests/e2e/test_{tests}.py"
    for seed in range(0, 20, 4):  # of 250 manifests each
        chosen = " ".join(f"{_MUTILATED}[{number}]" for number in range(seed, seed + 4))
        yield f"pytest -q --timeout=1800 -m 'proof or not proof' {chosen}"


FORMS = {
    form: list(commands(**sizes))
    for form, sizes in {
        "short": {
            "instants": 200, "libvirtd": 50, "races": 200, "sequences": 500, "seeds": 1000, "at_once": 250,
        },
        "long": {
            "instants": 2000, "libvirtd": 500, "races": 10_000, "sequences": 2000, "seeds": 10_000, "at_once": 500,
        },
    }.items()
}  # fmt: skip


@dataclass
class Session:
    """Runs commands, some at once, and tells of them."""

    done: Path | None
    failed: dict[str, list[str]] = field(default_factory=dict)
    """What each printed that failed."""
    _mouth: threading.Lock = field(default_factory=threading.Lock)

    def run(self, wanted: Iterable[str], at_once: int) -> int:
        """Run those that were not run before. Returns an exit code."""
        before = set(self.done.read_text().splitlines()) if self.done and self.done.exists() else set()
        with ThreadPoolExecutor(at_once) as threads:
            list(threads.map(self._run, (command for command in wanted if command not in before)))
        for command, printed in self.failed.items():
            for line in printed[-_TOLD_AGAIN:]:
                self._say(command, line)
            self._say(command, "failed; the same again: python -m " + command)
        if not self.failed and self.done:
            self.done.unlink(missing_ok=True)
        return 1 if self.failed else 0

    def _run(self, command: str) -> None:
        began, lines = time.monotonic(), list[str]()
        with subprocess.Popen(
            [sys.executable, "-m", *shlex.split(command)], text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        ) as process:  # fmt: skip
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(line.rstrip())
                if not command.startswith("pytest"):
                    self._say(command, lines[-1])
        seconds = time.monotonic() - began
        if process.returncode:
            self.failed[command] = lines
        with self._mouth:
            if self.done and not process.returncode:
                with self.done.open("a") as file:
                    file.write(f"{command}\n")
        self._say(command, f"{'FAILED' if process.returncode else 'good'}, {seconds:.0f} s")

    def _say(self, command: str, line: str) -> None:
        with self._mouth:
            print(f"[{command.removeprefix('tests.')[:48]}] {line}", flush=True)


def main(arguments: list[str]) -> int:
    """Run a form."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("form", choices=sorted(FORMS))
    parser.add_argument(
        "--at-once", type=int, default=os.cpu_count() or 1, metavar="N", help="commands at once"
    )
    parser.add_argument(
        "--done", type=Path, metavar="FILE", help="go on where the last one that was given it ended"
    )
    parser.add_argument("--only", default="", metavar="TEXT", help="commands with this text in them")
    options = parser.parse_args(arguments)
    wanted = [command for command in FORMS[options.form] if options.only in command]
    return Session(options.done).run(wanted, options.at_once)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
