"""Hosts are reached through worker processes: none is delayed by another that hangs, none is left over."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kvmdecl.diagnostics import TaskFailed
from kvmdecl.hosts import fleet as fleets
from kvmdecl.hosts.fleet import ConvertingFleet, ReadingFleet, WritingFleet
from kvmdecl.hosts.protocol import ConversionRequest, Scope, TaskRequest
from kvmdecl.state import Address, HostSnapshot, Kind, Unreachable
from kvmdecl.tasks import DefineDomain, DeletePool
from kvmdecl.uri import HostUri, parse_manifest_uri

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TEST = parse_manifest_uri("test:///default")
POOL = TaskRequest(Address("a", Kind.POOL, "vms"), DeletePool("vms", ""), "", "demo", "1")
DOMAIN = DefineDomain(
    "new", "", "<domain type='test'/>", None, (), "keep", autostart=False, cluster="demo", revision="1"
)


def unix(path: Path) -> HostUri:
    return parse_manifest_uri(f"qemu+unix:///system?socket={path}")


@pytest.fixture
def silent_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostUri]:
    """A host that accepts connections and never answers."""
    with socket.socket(socket.AF_UNIX) as listener:
        path = tmp_path_factory.mktemp("s") / "sock"
        listener.bind(str(path))
        listener.listen(50)
        yield unix(path)


@contextmanager
def no_process_left() -> Iterator[Callable[[], set[int]]]:
    """Check that every worker that runs inside ends by the end of the block."""
    mark = f"KVMDECL_TEST={uuid.uuid4()}"
    name, _, value = mark.partition("=")
    os.environ[name] = value
    yield lambda: _workers(mark)
    deadline = time.monotonic() + 10
    while (left := _workers(mark)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not left


def _workers(mark: str) -> set[int]:
    """The worker processes, and what they started, that have this in their environment."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
            environment = (process / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if mark.encode() in environment and _ORPHAN.encode() not in command:
            found.add(int(process.name))
    return found


def test_all_hosts_are_read_at_once():
    with no_process_left(), ReadingFleet({f"h{i}": TEST for i in range(40)}) as fleet:
        seen = fleet.observe(Scope())
    assert list(seen) == [f"h{i}" for i in range(40)]
    for host, snapshot in seen.items():
        assert isinstance(snapshot, HostSnapshot)
        assert snapshot.host == host
        assert [domain.name for domain in snapshot.state.domains] == ["test"]
        assert snapshot.facts.memory == 6 * 2**30


@pytest.mark.parametrize("modules", ["worker, read", "worker, perform, convert, checkin, guests"])
def test_a_worker_starts_without_what_reads_manifests(modules: str):
    """Their models take twice as long to read as all that a worker needs; each plan waits for a worker to start."""
    names = ", ".join(f"kvmdecl.hosts.{name}" for name in modules.split(", "))
    program = f"import sys, {names}; print({{'kvmdecl.manifest', 'ruamel', 'networkx', 'typer'}} & set(sys.modules))"

    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert answer.stdout == "set()\n"


def test_a_fleet_can_be_asked_again():
    with ReadingFleet({"a": TEST}) as fleet:
        assert fleet.observe(Scope()) == fleet.observe(Scope())


def test_no_hosts_is_no_observations():
    with ReadingFleet({}) as fleet:
        assert fleet.observe(Scope()) == {}


def test_a_host_that_is_not_there_is_unreachable_and_the_others_are_read(tmp_path: Path):
    with ReadingFleet({"gone": unix(tmp_path / "none"), "here": TEST}) as fleet:
        seen = fleet.observe(Scope())
    assert isinstance(seen["here"], HostSnapshot)
    assert isinstance(seen["gone"], Unreachable)
    assert seen["gone"].diagnostic.code == "host.unreachable"
    assert seen["gone"].diagnostic.subject == "host/gone"


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> float:
    """Seconds that hosts get to answer: short, but enough for several starts of a worker on this machine as it is."""
    began = time.monotonic()
    with ReadingFleet({"a": TEST}) as fleet:
        fleet.observe(Scope())
    seconds = max(2.0, 6 * (time.monotonic() - began))
    monkeypatch.setattr(fleets, "OPEN_TIMEOUT", seconds)
    return seconds


def test_hosts_that_never_answer_are_given_up_and_delay_no_other(silent_host: HostUri, patience: float):
    silent = {f"silent{i}": silent_host for i in range(20)}  # more than one worker has room for
    began = time.monotonic()
    with (
        no_process_left(),
        ReadingFleet({**silent, **{f"h{i}": TEST for i in range(20)}}, workers=1) as fleet,
    ):
        seen = fleet.observe(Scope())
    assert time.monotonic() - began < 10 * patience  # one after the other they would take twice that
    codes = {host: o.diagnostic.code for host, o in seen.items() if isinstance(o, Unreachable)}
    assert codes == dict.fromkeys(silent, "host.timeout")


def test_ctrl_c_answers_within_a_second_and_ends_the_workers(silent_host: HostUri):
    """The signal comes while a worker hangs in a call that cannot be interrupted."""
    answers = (_seconds_to_answer_ctrl_c(silent_host) for _ in range(3))  # others may take the CPU once
    assert any(seconds < 1 for seconds in answers)


def _seconds_to_answer_ctrl_c(silent_host: HostUri) -> float:
    interrupted: list[float] = []
    with no_process_left() as running:

        def interrupt() -> None:
            while not running():
                time.sleep(0.02)
            time.sleep(0.7)
            interrupted.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=interrupt).start()
        with pytest.raises(KeyboardInterrupt), ReadingFleet({"silent": silent_host, "here": TEST}) as fleet:
            fleet.observe(Scope())
        return time.monotonic() - interrupted[0]


_ORPHAN = """
import sys, threading
from kvmdecl.hosts.fleet import ReadingFleet
from kvmdecl.hosts.protocol import Scope
from kvmdecl.uri import parse_manifest_uri
with ReadingFleet({"silent": parse_manifest_uri(sys.argv[1])}) as fleet:
    print("begun", flush=True)
    fleet.observe(Scope())
"""


def test_workers_end_when_kvmdecl_is_killed(silent_host: HostUri):
    with no_process_left() as running:
        parent = subprocess.Popen(
            [sys.executable, "-c", _ORPHAN, str(silent_host)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path(fleets.__file__).parents[2])},
        )
        with parent:
            assert parent.stdout is not None
            assert parent.stdout.readline() == b"begun\n"
            while not running():
                time.sleep(0.02)
            time.sleep(0.5)
            parent.kill()


@pytest.mark.usefixtures("patience")
def test_the_host_of_a_worker_that_dies_is_tried_again_in_a_new_one(silent_host: HostUri):
    """The second worker is not killed: the host has its full time to answer there."""
    with no_process_left() as running, ReadingFleet({"silent": silent_host}) as fleet:
        threading.Thread(target=_kill_first, args=(running,)).start()
        seen = fleet.observe(Scope())
    assert isinstance(seen["silent"], Unreachable)
    assert seen["silent"].diagnostic.code == "host.timeout"


def test_a_host_whose_workers_die_twice_is_unreachable(silent_host: HostUri):
    with no_process_left() as running, ReadingFleet({"silent": silent_host}) as fleet:

        def kill_two() -> None:
            second = _kill_first(running)
            while not running() - {second}:
                time.sleep(0.02)
            _kill_first(lambda: running() - {second})

        threading.Thread(target=kill_two).start()
        seen = fleet.observe(Scope())
    assert isinstance(seen["silent"], Unreachable)
    assert seen["silent"].diagnostic.code == "host.worker-died"


def _kill_first(running: Callable[[], set[int]]) -> int:
    while not running():
        time.sleep(0.02)
    victim = min(running())
    os.kill(victim, signal.SIGKILL)
    return victim


def test_a_reading_fleet_and_its_workers_have_no_way_to_write():
    from kvmdecl.hosts.worker import Reader

    assert not hasattr(ReadingFleet, "submit")
    assert [name for name in vars(Reader) if not name.startswith("_")] == ["work"]


def test_a_reader_refuses_a_task():
    """Even if one is sent to it over the pipe."""
    crew = fleets._Crew("read", 1)
    crew.start()
    try:
        with pytest.raises(TaskFailed) as failed:
            crew.submit("a", TEST, POOL, 5.0).result(20)
    finally:
        crew.end(gently=True)
    assert failed.value.diagnostic.code == "host.fault"
    assert "carries out no tasks" in failed.value.diagnostic.summary


def test_a_task_for_a_host_that_is_not_there_fails(tmp_path: Path):
    with no_process_left(), WritingFleet({"a": unix(tmp_path / "none")}) as fleet:
        failed = fleet.submit(POOL, lambda _: None).exception(20)
    assert isinstance(failed, TaskFailed)
    assert failed.diagnostic.code == "host.unreachable"


def test_a_task_that_waits_for_a_connection_was_not_begun_when_its_worker_dies(silent_host: HostUri):
    with no_process_left() as running, WritingFleet({"a": silent_host}) as fleet:
        future = fleet.submit(POOL, lambda _: None)
        _kill_first(running)
        failed = future.exception(10)
    assert isinstance(failed, TaskFailed)
    assert failed.diagnostic.code == "host.worker-died"


def test_all_workers_of_a_fleet_take_turns_by_one_file(silent_host: HostUri):
    with no_process_left() as running, WritingFleet(dict.fromkeys("ab", silent_host), workers=2) as fleet:
        for host in "ab":
            fleet.submit(replace(POOL, address=Address(host, Kind.POOL, "vms")), lambda _: None)
        while len(running()) < 2:
            time.sleep(0.02)
        files = [_turns(worker) for worker in running()]
    assert files[0]
    assert files[0] == files[1]


def _turns(process: int) -> set[int]:
    """Which of those files a process has, by inode."""
    found = set()
    for link in Path(f"/proc/{process}/fd").iterdir():
        with suppress(FileNotFoundError):  # a worker that has just begun opens files and closes them
            if "kvmdecl-turns" in str(link.readlink()):
                found.add(link.stat().st_ino)
    return found


def test_leaving_a_fleet_leaves_no_future_open(silent_host: HostUri):
    with no_process_left(), WritingFleet({"a": silent_host}) as fleet:
        future = fleet.submit(POOL, lambda _: None)
    assert isinstance(future.exception(0), TaskFailed)


def test_a_host_that_cannot_convert_definitions_says_so_as_a_failure_and_not_as_a_refusal():
    with no_process_left(), ConvertingFleet({"a": TEST}) as fleet:
        future = fleet.submit(ConversionRequest(Address("a", Kind.DOMAIN, "new"), DOMAIN))
        with pytest.raises(TaskFailed) as failed:
            future.result(20)

    assert failed.value.diagnostic.code == "host.error"
    assert "not supported" in failed.value.diagnostic.summary


def test_a_silent_host_is_given_up_while_it_should_convert(
    silent_host: HostUri, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(fleets, "OPEN_TIMEOUT", 0.5)

    with no_process_left(), ConvertingFleet({"a": silent_host}) as fleet:
        future = fleet.submit(ConversionRequest(Address("a", Kind.DOMAIN, "new"), DOMAIN))
        with pytest.raises(TaskFailed) as failed:
            future.result(20)

    assert failed.value.diagnostic.code == "host.timeout"
