"""`python -m tests.chaos.kills`: kill an apply, or a libvirtd under it, anywhere on its way; a plain apply ends it.

Four hosts, twelve guests. Every round restarts four of them, describes four anew, gives the others another disk, and
uploads an image for one more: to and fro, so that the next round needs no other lab. `--records STRIDE` kills the apply
after each record of its journal, or every so-manyth; `--instants N` so often at a random instant; `--libvirtd N` kills
a host's libvirtd instead, and starts it again after a while. The next apply knows of no journal, and guests may take
longer than until then to do what the one that was killed has told them.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import json
import multiprocessing
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import libvirt

from kvmdecl.cli import main as program
from kvmdecl.hosts.ledger import read_ledgers
from kvmdecl.hosts.processes import end_with_parent, is_dead
from kvmdecl.hosts.protocol import Scope
from kvmdecl.hosts.read import read_host
from kvmdecl.hosts.runlock import read_lock
from kvmdecl.journal import Journal, read_runs
from kvmdecl.lab import Lab
from kvmdecl.lab.guest import tiny_image
from kvmdecl.pipeline import load_cluster, plan_cluster
from kvmdecl.plan import Plan
from kvmdecl.pluginhost import load_plugins
from kvmdecl.state import HostSnapshot, Kind
from kvmdecl.testing import temporary_lab

libvirt.registerErrorHandler(lambda _context, _error: None, None)
HOSTS = ("kvm-1", "kvm-2", "kvm-3", "kvm-4")
_AT_ONCE = {"timeout": "1s", "force": True}  # some have nothing, or nothing yet, that would power off
_FIRMWARE = "/var/lib/libvirt/firmware"
_OF_A_LAB = 50  # each leaves two volumes
_START = ": starting up libvirt version"
_FORKS = multiprocessing.get_context("fork")  # nothing here has threads or connections then
_READ_BEFORE = ("kvmdecl.cli.apply", "kvmdecl.cli.applying", "networkx")  # so that no fork has to read it
_LONGER = 1.01  # so that the end of an apply is hit, too, when the machine has more to do than before
_CUT = "libvirtd quit during handshake"
_HOLD = """
pids=$(pidof qemu-system-x86_64) && kill -STOP $pids
sleep $1
kill -CONT $pids
"""
_NOTES = rf"{_START}|{_CUT}|reason=\w+"


def _lucky(number: int) -> str:
    """The host on which a round makes volumes that no round before it made."""
    return HOSTS[number % len(HOSTS)]


def restarted(number: int) -> frozenset[str]:
    """The guests that a round restarts: of each host one of its two that run."""
    return frozenset(f"{'ab'[number % 2]}{host[-1]}" for host in HOSTS)


def manifest(number: int) -> dict[str, Any]:
    """A round gives half of the guests that run another maximum of memory, which takes a restart, the other half
    another description, and those that are off another disk.
    """
    vms: dict[str, Any] = {}
    for host in HOSTS:
        for place, grown, told in (
            ("a", number // 2, (number + 1) // 2),
            ("b", (number + 1) // 2, number // 2),
        ):
            memory = {"size": "16MiB", "max": f"{24 + 8 * (grown % 2)}MiB"}
            vm = {"host": host, "memory": memory, "image": "tiny", "description": f"note {told}"}
            vms[f"{place}{host[-1]}"] = vm
        off = {"host": host, "memory": "16MiB", "image": "tiny", "state": "stopped"}
        vms[f"c{host[-1]}"] = off | {"disks": {f"data-{number % 2}": "1MiB"}}
    most = 64 + 16 * ((number + 1) // 2 % 2)
    firmware = {"loader": f"{_FIRMWARE}/code.fd", "nvram_template": f"{_FIRMWARE}/variables.fd"}
    vms["b1"] |= {"firmware": {"type": "uefi", **firmware}, "memory": {"size": "48MiB", "max": f"{most}MiB"}}
    vms[f"c{_lucky(number)[-1]}"]["disks"][f"new-{number}"] = {"image": f"copied-{number}"}
    return {
        "apiVersion": "kvmdecl/v1",
        "cluster": "killed",
        "rollout": {"canary": ["kvm-1"], "max_failed": 4},
        "hosts": {host: {"uri": f"qemu+tls://{host}.example/system"} for host in HOSTS},
        "storage": {"vms": {"path": "/srv/vms"}},
        "images": {
            "tiny": {"source": "tiny.img", "format": "raw"},
            f"copied-{number}": {"source": "copied.img", "format": "raw"},
        },
        "defaults": {"vms": {"type": "qemu", "restart": "now", "shutdown": _AT_ONCE}},
        "vms": vms,
    }


@dataclass(frozen=True)
class Holdings:
    """What the hosts have.

    Attributes:
        definitions: of domains, pools and networks.
        files: volumes and firmware variables, each with its inode: one that was made anew is another.
        unlisted: files in a pool that its ledger does not know.
        logs: of each guest, in which libvirt notes its starts and ends.
    """

    definitions: frozenset[str]
    files: frozenset[tuple[str, int]]
    unlisted: frozenset[str]
    logs: dict[str, str]


def holdings(lab: Lab) -> Holdings:
    """Look at the hosts without what plans."""
    definitions, files, noted, logs = set[str](), set[tuple[str, int]](), set[str](), dict[str, str]()
    for name, host in lab.hosts.items():
        connection = _connect(lab, name)
        things = (
            *connection.listAllDomains(),
            *connection.listAllStoragePools(),
            *connection.listAllNetworks(),
        )
        definitions |= {
            f"{name} {type(thing).__name__} {thing.name()} {thing.UUIDString()}" for thing in things
        }
        entries = (entry for ledger in read_ledgers(connection) for entry in ledger.entries)
        noted |= {f"{name} srv/{entry.name}" for entry in entries if entry.kind is Kind.VOLUME}
        connection.close()
        for place in ("srv", "lib/qemu/nvram"):
            found = (path for path in (host.folder / place).rglob("*") if path.is_file())
            files |= {(f"{name} {path.relative_to(host.folder)}", path.stat().st_ino) for path in found}
        for log in (host.folder / "log/qemu").glob("*.log"):
            logs[log.stem] = log.read_text(errors="replace")
    unlisted = frozenset(file for file, _ in files if " srv/" in file) - noted
    return Holdings(frozenset(definitions), frozenset(files), unlisted, logs)


def _connect(lab: Lab, name: str) -> libvirt.virConnect:
    """Connect to a host. A libvirtd that did not survive the death of its client is started again, as by systemd."""
    try:
        return libvirt.open(lab.host(name).uri())
    except libvirt.libvirtError as error:
        time.sleep(1)
        print(f"{name}, whose state is {lab.status()[name]}: {error}", flush=True)
        lab.start(name)
        return libvirt.open(lab.host(name).uri())


def write_firmware(folder: Path) -> None:
    """A firmware that halts at once, where another takes seconds of CPU to find that it has nothing to start.

    A processor begins 16 bytes below 4 GiB, where the end of the first flash is: cli; hlt; jmp to the hlt.
    """
    folder.mkdir()
    (folder / "code.fd").write_bytes(bytes.fromhex("fa f4 eb fd").ljust(16, b"\0").rjust(1 << 16, b"\0"))
    (folder / "variables.fd").write_bytes(bytes(1 << 16))


def restarts(before: Holdings, after: Holdings) -> Counter[str]:
    """How often each guest was started, or ended by somebody after that.

    A start that libvirtd did not live to finish is none: its QEMU never ran the guest. It ends by itself, which the
    next libvirtd takes for a crash, or that ends it (reason `daemon`), as one does that fails to start one (`failed`).
    """
    found = Counter[str]()
    for guest, log in after.logs.items():
        since = re.findall(_NOTES, log[len(before.logs[guest]) :])
        if _START in since:
            again = since[since.index(_START) :]
            ends = [note for before, note in itertools.pairwise(again) if before != _CUT]
            found[guest] = 1 + sum(
                note not in {_START, _CUT, "reason=daemon", "reason=failed"} for note in ends
            )
    return found


def _run(lab: str, folder: str, arguments: list[str], nth: int) -> None:
    """In a process of its own: run a command, and be killed after the n-th record of its journal (0: never)."""
    end_with_parent()
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
    random: random.Random = field(default_factory=random.Random)
    number: int = 0
    whole: float = 0.0
    """Seconds that an apply takes that nobody cuts off: as the last did, and a little more each time one was."""

    _holding: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._hold = [self.lab.host_command(host, ["sh", "-c", _HOLD, "sh"]) for host in HOSTS]
        tiny_image(self.folder / "tiny.img")
        self._plugins = load_plugins()
        for module in _READ_BEFORE:
            importlib.import_module(module)
        for host in self.lab.hosts.values():
            write_firmware(host.folder / "lib" / Path(_FIRMWARE).name)
        for _ in range(3):  # so that the disks of both kinds of rounds are there
            self._write()
            began = time.monotonic()
            assert self._command(["apply", "--yes"]) == 0, self._output()
            self.whole = time.monotonic() - began

    def _write(self) -> None:
        self.number += 1
        (self.folder / "copied.img").write_bytes(self.number.to_bytes(2, "big") * (1 << 19))
        (self.folder / "cluster.yaml").write_text(json.dumps(manifest(self.number)))

    def _start(self, arguments: list[str], nth: int = 0) -> BaseProcess:
        process = _FORKS.Process(
            target=_run, args=(str(self.lab.directory), str(self.folder), arguments, nth)
        )
        process.start()
        return process

    def _command(self, arguments: list[str]) -> int | None:
        return _end_of(self._start(arguments))

    def _output(self) -> str:
        return (self.folder / "output").read_text()

    def cut_after(self, nth: int) -> bool:
        """Kill an apply after a record of its journal. Whether there was one."""
        return self._round(lambda: self._is_killed(self._start(["apply", "--yes"], nth)), f"record {nth}")

    def cut_at_random(self) -> bool:
        """Kill an apply at any instant. Whether it ran until then."""
        delay = self.random.uniform(0, self.whole)

        def cut() -> bool:
            process = self._start(["apply", "--yes"])
            self._await(process, delay)
            process.kill()
            return self._is_killed(process)

        return self._round(cut, f"{delay:.3f} s")

    def cut_libvirtd(self) -> bool:
        """Kill a host's libvirtd at any instant of an apply, and start it again. Whether it ran until then."""
        host, delay, pause = (
            self.random.choice(HOSTS),
            self.random.uniform(0, self.whole),
            self.random.uniform(0, 5),
        )

        def cut() -> bool:
            process = self._start(["apply", "--yes"])
            on_the_way = self._await(process, delay)
            self.lab.kill(host)
            process.join(pause)
            self.lab.start(host)
            _end_of(process)
            return on_the_way

        return self._round(cut, f"libvirtd of {host}, {delay:.3f} s, for {pause:.3f} s")

    def _round(self, cut: Callable[[], bool], when: str) -> bool:
        """Apply the next manifest, which is cut off, and apply again. Returns what `cut` does."""
        when = f"round {self.number + 1}, {when}"
        before = holdings(self.lab)
        self._write()
        was_cut = cut()
        then = holdings(self.lab)
        assert before.definitions <= then.definitions, (when, before.definitions - then.definitions)
        assert before.files <= then.files, (when, before.files - then.files)
        assert not then.unlisted, (when, then.unlisted)
        assert self._command(["apply", "--yes"]) == 0, (when, self._output()[-1500:])
        for process in self._holding:
            process.wait()
        after = holdings(self.lab)
        assert after.definitions == before.definitions, when
        made = {file for file, _ in after.files - before.files}
        assert made == self._made(), (when, made)
        assert before.files <= after.files, (when, before.files - after.files)
        assert not after.unlisted, (when, after.unlisted)
        assert restarts(before, after) == Counter(restarted(self.number)), (when, restarts(before, after))
        left = self._plan()
        told = [f"{step.address}: {step.summary} {step.changes}" for step in left.steps]
        assert (told, left.blocked) == ([], ()), (when, told)
        assert self._free(), when
        return was_cut

    def tell(self) -> None:
        """Print what is known of a round that went wrong: no other may go the same way."""
        for run in itertools.islice(read_runs(self.folder / "runs"), 2):
            print(run, flush=True)
        print(self._output(), self.lab.status(), flush=True)
        for host in self.lab.hosts.values():
            for log in (host.folder / "log/libvirtd.log", *(host.folder / "log/qemu").glob("*.log")):
                lines = [
                    line for line in log.read_text(errors="replace").splitlines() if line.startswith("20")
                ]
                print(f"{host.name} {log.name}", *lines[-6:], sep="\n  ", flush=True)

    def _plan(self) -> Plan:
        """What is left to do, without the processes that read hosts when a user asks."""
        cluster = load_cluster(self.folder / "cluster.yaml", self._plugins)
        return plan_cluster(cluster, self, self._plugins)[0]

    def observe(self, scope: Scope) -> dict[str, HostSnapshot]:
        """A HostReader."""
        found = {}
        for name in self.lab.hosts:
            connection = _connect(self.lab, name)
            found[name] = read_host(connection, name, scope)
            connection.close()
        return found

    def _await(self, process: BaseProcess, seconds: float) -> bool:
        """Let an apply work for a while. Whether it still does."""
        began = time.monotonic()
        process.join(seconds)
        if still := process.is_alive():
            self.whole *= _LONGER
        else:
            self.whole = time.monotonic() - began
        return still

    def _hold_guests(self) -> None:
        """Have guests stand still for up to a second: they power off while the next apply plans, or acts."""
        seconds = f"{self.random.uniform(0, 1):.3f}"
        self._holding = [
            subprocess.Popen([*command, seconds], stderr=subprocess.DEVNULL) for command in self._hold
        ]

    def _is_killed(self, process: BaseProcess) -> bool:
        if _end_of(process) != -signal.SIGKILL:
            return False
        self._hold_guests()
        run = next(read_runs(self.folder / "runs"))
        assert run.end == ("" if len(run.ends) < run.steps else run.end), "the journal just breaks off"
        return True

    def _made(self) -> frozenset[str]:
        """The files that this round makes."""
        host = _lucky(self.number)
        copied = next((self.lab.host(host).folder / "srv/vms").glob(f"copied-{self.number}.*"))
        assert copied.read_bytes() == (self.folder / "copied.img").read_bytes()
        return frozenset(
            {f"{host} srv/vms/{copied.name}", f"{host} srv/vms/c{host[-1]}.new-{self.number}.qcow2"}
        )

    def _free(self) -> bool:
        """Whether no host is held but by the dead: where nothing was left to do, no run came to take it over."""
        connections = [_connect(self.lab, name) for name in self.lab.hosts]
        held = [read_lock(connection, "killed") for connection in connections]
        for connection in connections:
            connection.close()
        return all(holder is None or is_dead(holder) for holder in held)


def _end_of(process: BaseProcess) -> int | None:
    process.join(300)
    assert process.exitcode is not None, "it hangs"
    return process.exitcode


def all_points(rounds: Rounds, first: int = 1, stride: int = 1) -> Iterator[int]:
    """Kill after every record, or every so-manyth; yields the points."""
    nth = first
    while rounds.cut_after(nth):
        yield nth
        nth += stride


def often(cut: Callable[[], bool], times: int, told: str) -> None:
    """Cut so often; where an apply was over before, it does not count."""
    done = 0
    while done < times:
        if cut() and (done := done + 1) % 10 == 0:
            print(f"{told}: {done} of {times}: nothing lost, each ended by the next run", flush=True)


@contextmanager
def _rounds(seed: str) -> Iterator[Rounds]:
    with temporary_lab(HOSTS) as lab, tempfile.TemporaryDirectory() as folder:
        rounds = Rounds(lab, Path(folder), random.Random(seed))
        try:
            yield rounds
        except Exception:
            rounds.tell()
            raise


def main(arguments: list[str]) -> int:
    """Kill as often as was asked for, now and then in a new lab."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.kills")
    parser.add_argument("--records", type=int, default=0, metavar="STRIDE", help="0 for none")
    parser.add_argument("--instants", type=int, default=0, metavar="N")
    parser.add_argument("--libvirtd", type=int, default=0, metavar="N")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    began = time.monotonic()
    if options.records:
        with _rounds(f"{options.seed} records") as rounds:
            for point in all_points(rounds, stride=options.records):
                if point % 10 == 0:
                    print(
                        f"killed after record {point}: nothing lost, each ended by the next run", flush=True
                    )
        print(f"killed after each of {point} records of the journal", flush=True)
    for way in ("instants", "libvirtd"):
        times = getattr(options, way)
        for done in range(0, times, _OF_A_LAB):
            with _rounds(f"{options.seed} {way} {done}") as rounds:
                cut = rounds.cut_at_random if way == "instants" else rounds.cut_libvirtd
                often(cut, min(_OF_A_LAB, times - done), f"{way}, seed {options.seed}, {done} and")
    print(f"{' '.join(arguments)}: {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
