"""A lab comes up, tells its hosts apart, and leaves nothing behind, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kvmdecl import lab as labs
from kvmdecl.diagnostics import Rejected
from kvmdecl.lab import Lab, State
from kvmdecl.lab.guest import tiny_image
from kvmdecl.lab.namespaces import HUB, find_init, inits
from tests.lab.helpers import (
    TINY_GUEST,
    cgroups,
    connected,
    eventually,
    links,
    mounts,
    processes,
    processes_of,
)

if TYPE_CHECKING:
    from kvmdecl.testing import MakeLab

pytestmark = pytest.mark.lab


def test_down_leaves_no_process_mount_namespace_link_cgroup_or_file(make_lab: MakeLab):
    before = mounts(), links(), cgroups()
    running = make_lab(["kvm-1", "kvm-2"], tls=True, ssh=True)
    assert len(processes_of(running.directory)) > 4
    held = [find_init(running.directory, role) for role in (HUB, "kvm-1", "kvm-2")]
    spaces = {
        str(Path(f"/proc/{pid}/ns/{kind}").readlink()) for pid in held for kind in ("net", "mnt", "pid")
    }
    assert spaces <= {space for process in processes() for space in process.namespaces}
    tiny_image(running.hosts["kvm-1"].folder / "srv/tiny.raw")
    with connected(running.hosts["kvm-1"]) as connection:
        connection.createXML(TINY_GUEST.format(machine="q35"))

    ended = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert labs.down(running.directory)

    assert processes_of(running.directory) == []
    # The kernel gives the number of a namespace that is gone to the next one that anybody makes.
    assert [found for found in processes() if found.namespaces & spaces and found.started <= ended] == []
    assert (mounts(), links(), cgroups()) == before
    assert not running.directory.exists()


def test_down_of_no_lab_is_not_an_error(tmp_path: Path):
    assert not labs.down(tmp_path / "none")


def test_down_refuses_a_directory_that_is_not_a_labs(tmp_path: Path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(Rejected, match=r"lab\.not-a-lab"):
        labs.down(tmp_path)
    with pytest.raises(Rejected, match=r"lab\.not-a-lab"):
        labs.up(tmp_path, ["kvm-1"])
    assert (tmp_path / "thesis.tex").exists()


def test_killing_the_hub_ends_every_process_and_down_cleans_up(make_lab: MakeLab):
    running = make_lab(["kvm-1", "kvm-2"])
    os.kill(find_init(running.directory, HUB) or 0, signal.SIGKILL)

    assert eventually(lambda: processes_of(running.directory) == [])
    assert set(running.status().values()) == {State.OFF}
    assert labs.down(running.directory)
    assert not running.directory.exists()


def test_a_lab_whose_hub_was_killed_can_be_started_again(make_lab: MakeLab):
    running = make_lab(["kvm-1", "kvm-2"])
    os.kill(find_init(running.directory, HUB) or 0, signal.SIGKILL)
    assert eventually(lambda: processes_of(running.directory) == [])

    assert set(labs.up(running.directory, ["kvm-7"], tied=True).status().items()) == {("kvm-7", State.UP)}


@pytest.mark.parametrize("delay", [0.02, 0.1, 0.2, 0.35])
def test_down_removes_what_a_killed_up_has_left(make_lab: MakeLab, delay: float):
    place = make_lab([]).directory
    labs.down(place)
    code = f"from kvmdecl.lab import up; print(flush=True); up({str(place)!r}, ['a', 'b', 'c'], ssh=True)"
    starting = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    starting.stdout.readline()
    time.sleep(delay)
    starting.kill()
    starting.wait()
    starting.stdout.close()

    labs.down(place)

    assert not place.exists()
    assert eventually(lambda: processes_of(place) == [])  # an ssh-keygen of it ends by itself, a moment later


def test_down_removes_folders_that_a_program_of_a_killed_up_still_writes_to(make_lab: MakeLab):
    running = make_lab([])
    folder = running.directory / "ssh"
    folder.mkdir()
    code = f"import itertools; [open(f'{folder}/{{number}}', 'w').close() for number in itertools.count()]"
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL) as writer:
        try:
            assert eventually(lambda: len(list(folder.iterdir())) > 1000)
            labs.down(running.directory)
            assert not running.directory.exists()
            assert writer.wait(timeout=5) == 1  # it wrote until there was no folder to write to
        finally:
            writer.kill()


def test_down_removes_what_daemons_wrote_after_the_rest_was_removed(make_lab: MakeLab):
    running = make_lab(["kvm-1"])
    for entry in running.directory.iterdir():
        if entry.name != "hosts":
            entry.unlink()

    assert labs.down(running.directory)
    assert processes_of(running.directory) == []
    assert not running.directory.exists()


@pytest.mark.parametrize("damage", ["truncate the record", "remove the record", "remove the folder"])
def test_down_needs_no_file_of_the_lab(make_lab: MakeLab, damage: str):
    running = make_lab(["kvm-1"])
    record = running.directory / "lab.json"
    if damage == "truncate the record":
        record.write_text(record.read_text()[:40])
        with pytest.raises(Rejected, match=r"lab\.state-broken"):
            Lab.load(running.directory)
    elif damage == "remove the record":
        record.unlink()
        with pytest.raises(Rejected, match=r"lab\.not-found"):
            Lab.load(running.directory)
    else:
        # As a person would. Something may be left: the daemons write at the same time.
        subprocess.run(["rm", "-rf", running.directory], check=False)

    assert labs.down(running.directory)
    assert processes_of(running.directory) == []
    assert not running.directory.exists()


def test_a_tied_lab_ends_with_the_process_that_started_it(make_lab: MakeLab):
    place = make_lab([]).directory
    labs.down(place)
    code = (
        f"import os, kvmdecl.lab as labs; labs.up({str(place)!r}, ['a'], tied=True); os.kill(os.getpid(), 9)"
    )

    assert subprocess.run([sys.executable, "-c", code]).returncode == -signal.SIGKILL
    assert eventually(lambda: list(inits(place)) == [])


def test_a_running_lab_is_not_started_twice(lab: Lab):
    with pytest.raises(Rejected, match=r"lab\.already-up"):
        labs.up(lab.directory, ["kvm-1"])
    assert set(lab.status().values()) == {State.UP}


def test_every_host_has_its_own_name_uuid_and_storage(clean_lab: Lab):
    seen = set()
    for host in clean_lab.hosts.values():
        with connected(host) as connection:
            uuid = connection.getCapabilities().partition("<uuid>")[2][:36]
            seen.add((connection.getHostname(), uuid))
            assert connection.getType() == "QEMU"
        (host.folder / "srv/own").write_text(host.name)
    assert {name for name, _ in seen} == set(clean_lab.hosts)
    assert len({uuid for _, uuid in seen}) == len(clean_lab.hosts)
    assert clean_lab.run(["cat", "/srv/own"], host="kvm-2").stdout == "kvm-2"


def test_a_loaded_lab_is_the_lab_that_was_started(lab: Lab):
    assert Lab.load(lab.directory) == lab


def test_eight_hosts_come_up_together(make_lab: MakeLab):
    running = make_lab([f"kvm-{i}" for i in range(8)])
    assert set(running.status().values()) == {State.UP}
