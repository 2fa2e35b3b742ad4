"""`python -m tests.chaos.kills [STRIDE]`: kill an apply after each record of its journal; the next one ends it.

Four hosts, twelve guests that are restarted by every round. The next apply is a plain one: it knows of no journal.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import libvirt

from kvmdecl.cli import main as program
from kvmdecl.hosts.processes import is_dead
from kvmdecl.hosts.runlock import read_lock
from kvmdecl.journal import Journal, read_runs
from kvmdecl.lab import Lab
from kvmdecl.lab.guest import tiny_image
from kvmdecl.testing import temporary_lab

libvirt.registerErrorHandler(lambda _context, _error: None, None)
HOSTS = ("kvm-1", "kvm-2", "kvm-3", "kvm-4")
_AT_ONCE = {"timeout": "1s", "force": True}  # they have no operating system that would power off


def manifest(number: int) -> dict[str, Any]:
    """Each round gives guests another maximum of memory, which takes a restart, and those that are off another disk."""
    vms: dict[str, Any] = {}
    for host in HOSTS:
        for place in "abc":
            memory = {"size": "16MiB", "max": f"{24 + 8 * (number % 2)}MiB"}
            vms[f"{place}{host[-1]}"] = {"host": host, "memory": memory, "image": "tiny"}
        vms[f"c{host[-1]}"] |= {"state": "stopped", "disks": {f"data-{number % 2}": "1MiB"}}
    vms["b1"] |= {"firmware": "uefi", "memory": {"size": "48MiB", "max": f"{64 + 16 * (number % 2)}MiB"}}
    return {
        "apiVersion": "kvmdecl/v1",
        "cluster": "killed",
        "rollout": {"canary": ["kvm-1"], "max_failed": 4},
        "hosts": {host: {"uri": f"qemu+tls://{host}.example/system"} for host in HOSTS},
        "storage": {"vms": {"path": "/srv/vms"}},
        "images": {"tiny": {"source": "tiny.img", "format": "raw"}},
        "defaults": {"vms": {"restart": "now", "shutdown": _AT_ONCE}},
        "vms": vms,
    }


@dataclass(frozen=True)
class Holdings:
    """What the hosts have: definitions, volumes, firmware variables, and how often each guest was started."""

    definitions: frozenset[str]
    files: frozenset[str]
    starts: Counter[str]


def holdings(lab: Lab) -> Holdings:
    """Look at the hosts without kvmdecl."""
    definitions, files, starts = set[str](), set[str](), Counter[str]()
    for name, host in lab.hosts.items():
        connection = libvirt.open(host.uri())
        things = (
            *connection.listAllDomains(),
            *connection.listAllStoragePools(),
            *connection.listAllNetworks(),
        )
        definitions |= {
            f"{name} {type(thing).__name__} {thing.name()} {thing.UUIDString()}" for thing in things
        }
        connection.close()
        for place in ("srv", "lib/qemu/nvram"):
            found = (path for path in (host.folder / place).rglob("*") if path.is_file())
            files |= {f"{name} {path.relative_to(host.folder)}" for path in found}
        for log in (host.folder / "log/qemu").glob("*.log"):
            starts[log.stem] += log.read_bytes().count(b": starting up libvirt version")
    return Holdings(frozenset(definitions), frozenset(files), starts)


def _run(lab: str, folder: str, arguments: list[str], nth: int) -> None:
    """In a process of its own: run a command, and be killed after the n-th record of its journal (0: never)."""
    os.chdir(folder)
    os.environ |= {"KVMDECL_LAB": lab, "KVMDECL_JOURNAL": f"{folder}/runs", "NO_COLOR": "1"}
    with open("output", "w") as output:  # noqa: PTH123
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    records, write = itertools.count(1), Journal._write

    def cut(journal: Journal, record: dict[str, Any]) -> None:
        write(journal, record)
        journal._flush()
        if next(records) == nth:
            os.kill(os.getpid(), signal.SIGKILL)

    Journal._write = cut  # type: ignore[method-assign]
    os._exit(program.run(arguments))


@dataclass
class Rounds:
    """Applies manifests one after the other, each cut off on its way and then finished by a plain apply."""

    lab: Lab
    folder: Path
    number: int = 0

    def __post_init__(self) -> None:
        tiny_image(self.folder / "tiny.img")
        self._forks = multiprocessing.get_context("forkserver")
        self._forks.set_forkserver_preload(["kvmdecl.cli.applying", "kvmdecl.cli.planning"])
        for _ in range(2):  # so that the disks of both kinds of rounds are there
            self._write()
            assert self._command(["apply", "--yes"]) == 0, self._output()

    def _write(self) -> None:
        self.number += 1
        (self.folder / "cluster.yaml").write_text(json.dumps(manifest(self.number)))

    def _command(self, arguments: list[str], nth: int = 0) -> int | None:
        where = (str(self.lab.directory), str(self.folder))
        process = self._forks.Process(target=_run, args=(*where, arguments, nth))
        process.start()
        process.join(300)
        assert process.exitcode is not None, "it hangs"
        return process.exitcode

    def _output(self) -> str:
        return (self.folder / "output").read_text()

    def cut_after(self, nth: int) -> bool:
        """Apply the next manifest, be killed after a record of the journal, and apply again. Whether there was one."""
        before = holdings(self.lab)
        self._write()
        killed = self._command(["apply", "--yes"], nth) == -signal.SIGKILL
        assert killed or self._output(), nth
        then = holdings(self.lab)
        assert before.definitions <= then.definitions, (nth, before.definitions - then.definitions)
        assert before.files <= then.files, (nth, before.files - then.files)
        if killed:
            run = next(read_runs(self.folder / "runs"))
            assert run.end == ("" if len(run.ends) < run.steps else run.end), "the journal just breaks off"
        assert self._command(["apply", "--yes"]) == 0, self._output()
        after = holdings(self.lab)
        assert after.definitions == before.definitions, nth
        assert after.files == before.files, (nth, "a file that nobody lists")
        restarted = Counter(f"{place}{host[-1]}" for place in "ab" for host in HOSTS)
        assert after.starts - before.starts == restarted, (nth, "each once", after.starts - before.starts)
        assert self._command(["plan", "--detailed-exitcode"]) == 0, self._output()
        assert self._free()
        return killed

    def _free(self) -> bool:
        """Whether no host is held but by the dead: where nothing was left to do, no run came to take it over."""
        connections = [libvirt.open(host.uri()) for host in self.lab.hosts.values()]
        held = [read_lock(connection, "killed") for connection in connections]
        for connection in connections:
            connection.close()
        return all(holder is None or is_dead(holder) for holder in held)


def all_points(rounds: Rounds, first: int = 1, stride: int = 1) -> Iterator[int]:
    """Kill after every record, or every so-manyth; yields the points."""
    nth = first
    while rounds.cut_after(nth):
        yield nth
        nth += stride


def main(stride: int) -> int:
    """Try all points."""
    with temporary_lab(HOSTS) as lab, tempfile.TemporaryDirectory() as folder:
        points = 0
        for nth in all_points(Rounds(lab, Path(folder)), stride=stride):
            points += 1
            print(f"killed after record {nth}: nothing lost, finished by the next run", flush=True)
        print(f"{points} points")
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1))
