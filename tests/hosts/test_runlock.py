"""One run at a time holds a host, everybody can read who it is, and the dead hold nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import libvirt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvmdecl.diagnostics import Locked, TaskFailed
from kvmdecl.hosts.processes import is_dead, this_run
from kvmdecl.hosts.protocol import DropLock, TakeLock
from kvmdecl.hosts.runlock import drop_lock, read_lock, refresh_lock, require_lock, take_lock
from kvmdecl.lab import LabHost
from kvmdecl.runs import Holder, dump_holder, load_holder

lab_tests = pytest.mark.xdist_group("lab")
ELSEWHERE = {"space": "another boot pid:[1]", "machine": "ci-7", "user": "alice", "pid": 4242, "started": 1}


@pytest.fixture
def host(lab_host: LabHost) -> Iterator[libvirt.virConnect]:
    connection = libvirt.open(lab_host.uri())
    yield connection
    for secret in connection.listAllSecrets():
        secret.undefine()
    connection.close()


@lab_tests
def test_who_holds_a_host_is_read_over_a_read_only_connection(host: libvirt.virConnect, lab_host: LabHost):
    mine = this_run("edge")

    take_lock(host, TakeLock("kvm-1", mine))

    found = read_lock(libvirt.openReadOnly(lab_host.uri()), "edge")
    assert found is not None
    assert replace(found, since="", refreshed="") == mine
    assert found.since.endswith("Z")
    assert read_lock(host, "other") is None


@lab_tests
@pytest.mark.parametrize("other", [{}, ELSEWHERE, {"space": ""}], ids=["alive", "elsewhere", "unknown"])
def test_a_host_that_is_held_is_refused_to_others_and_the_refusal_says_by_whom(
    host: libvirt.virConnect, other: dict[str, str | int]
):
    first = replace(this_run("edge"), **other)
    take_lock(host, TakeLock("kvm-1", first))

    with pytest.raises(Locked) as refused:
        take_lock(host, TakeLock("kvm-1", this_run("edge")))

    assert refused.value.diagnostic.code == "run.locked"
    assert str(first) in refused.value.diagnostic.summary
    assert f"`kvmdecl unlock {first.run}`" in refused.value.diagnostic.hint
    take_lock(host, TakeLock("kvm-1", this_run("other cluster")))


@lab_tests
def test_the_dead_hold_nothing(host: libvirt.virConnect):
    code = "from kvmdecl.hosts.processes import this_run; from kvmdecl.runs import dump_holder\n"
    out = subprocess.run(
        [sys.executable, "-c", code + "print(dump_holder(this_run('edge')))"], capture_output=True, check=True
    ).stdout
    dead = load_holder(out.decode(), this_run("edge").token, "edge")
    take_lock(host, TakeLock("kvm-1", dead))
    mine = this_run("edge")

    result = take_lock(host, TakeLock("kvm-1", mine))

    assert result.remarks == (f"kvm-1 was held by {dead}, which is dead",)
    require_lock(host, "kvm-1", mine.token)


@lab_tests
def test_who_lost_the_lock_notices_and_does_not_take_it_back(host: libvirt.virConnect):
    mine = this_run("edge")
    take_lock(host, TakeLock("kvm-1", mine))
    other = replace(mine, run="other")
    assert drop_lock(host, DropLock("kvm-1", "edge", other.run, by_force=True)).remarks == ()
    require_lock(host, "kvm-1", mine.token)
    with pytest.raises(TaskFailed, match=r"run\.alive"):
        drop_lock(host, DropLock("kvm-1", "edge", mine.run, by_force=True))

    drop_lock(host, DropLock("kvm-1", "edge", mine.run))
    refresh_lock(host, mine)

    assert read_lock(host, "edge") is None
    with pytest.raises(TaskFailed, match=r"run\.lock-lost"):
        require_lock(host, "kvm-1", mine.token)


@lab_tests
def test_a_holder_shows_signs_of_life(host: libvirt.virConnect):
    mine = replace(this_run("edge"), since="2026-01-01T00:00:00Z", refreshed="2026-01-01T00:00:00Z")
    take_lock(host, TakeLock("kvm-1", mine))

    refresh_lock(host, mine)

    found = read_lock(host, "edge")
    assert found is not None
    assert found.since == mine.since
    assert found.refreshed > mine.refreshed


@pytest.mark.parametrize(
    ("other", "dead"),
    [
        ({}, False),
        ({"started": 1}, True),
        ({"pid": 2**30}, True),
        ({"pid": 2**30, "space": ""}, False),
        (ELSEWHERE, False),
        ({"started": 0, "pid": 2**30}, False),
    ],
)
def test_only_who_would_be_in_sight_and_is_not_there_is_dead(other: dict[str, str | int], dead: bool):
    assert is_dead(replace(this_run("edge"), **other)) is dead


@given(st.text())
def test_a_lock_that_says_nonsense_is_held_by_somebody_unknown(text: str):
    assert load_holder(text, "token", "edge") == Holder("?", "token", "edge")


@given(st.builds(Holder, *[st.text()] * 6, st.integers(), st.integers(), *[st.text()] * 2))
def test_what_a_holder_says_is_read_back(holder: Holder):
    assert load_holder(dump_holder(holder), holder.token, holder.cluster) == holder
