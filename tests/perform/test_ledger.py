"""A cluster's notes about pools and volumes live on the host, and are never taken for empty when damaged."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import libvirt
import pytest

from kvmdecl.diagnostics import Rejected
from kvmdecl.hosts.ledger import LedgerWriter, read_ledgers
from kvmdecl.names import derive_uuid
from kvmdecl.state import Kind, Ledger, LedgerEntry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.lab import Lab

POOL = LedgerEntry(Kind.POOL, "vms", "", "", complete=True)
DISK = LedgerEntry(Kind.VOLUME, "vms/web-1.root.qcow2", "web-1", "img.qcow2", complete=False)


@pytest.fixture
def connection(clean_lab: Lab) -> Iterator[libvirt.virConnect]:
    connection = libvirt.open(clean_lab.host("kvm-1").uri())
    yield connection
    connection.close()


def define(connection: libvirt.virConnect, description: str) -> None:
    uuid = derive_uuid("edge", "ledger", "edge")
    usage = "<usage type='ceph'><name>kvmdecl-ledger-edge</name></usage>"
    connection.secretDefineXML(
        f"<secret ephemeral='no' private='no'><uuid>{uuid}</uuid><description>{description}</description>"
        f"{usage}</secret>"
    )


def test_a_host_that_kvmdecl_never_touched_has_no_ledger(connection: libvirt.virConnect):
    assert read_ledgers(connection) == ()
    assert LedgerWriter(connection, "edge").read() == Ledger("edge")


def test_what_is_noted_is_read_back_over_a_read_only_connection(
    clean_lab: Lab, connection: libvirt.virConnect
):
    writer = LedgerWriter(connection, "edge")
    writer.note(POOL)
    writer.note(DISK)
    read_only = libvirt.openReadOnly(clean_lab.host("kvm-1").uri())
    assert read_ledgers(read_only) == (Ledger("edge", (POOL, DISK)),)
    read_only.close()


def test_a_newer_note_replaces_the_older_one_and_a_forgotten_object_is_gone(connection: libvirt.virConnect):
    writer = LedgerWriter(connection, "edge")
    writer.note(DISK)
    whole = LedgerEntry(DISK.kind, DISK.name, DISK.owner, DISK.applied, complete=True)
    writer.note(whole)
    assert writer.read().entries == (whole,)
    writer.forget(DISK.kind, DISK.name)
    assert writer.read().entries == ()


def test_clusters_keep_separate_ledgers_and_other_secrets_are_none(connection: libvirt.virConnect):
    connection.secretDefineXML("<secret><usage type='ceph'><name>client.libvirt</name></usage></secret>")
    LedgerWriter(connection, "edge").note(POOL)
    LedgerWriter(connection, "core").note(POOL)
    assert [ledger.cluster for ledger in read_ledgers(connection)] == ["core", "edge"]


def test_threads_that_write_at_once_lose_nothing(connection: libvirt.virConnect):
    entries = [LedgerEntry(Kind.VOLUME, f"vms/{n:02}", "", "", complete=True) for n in range(24)]
    threads = [
        threading.Thread(target=LedgerWriter(connection, "edge").note, args=(entry,)) for entry in entries
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert LedgerWriter(connection, "edge").read().entries == tuple(entries)


_NOTES = """
import sys, libvirt
from kvmdecl.hosts.ledger import LedgerWriter, take_turns_by
from kvmdecl.state import Kind, LedgerEntry

take_turns_by(int(sys.argv[2]))
writer = LedgerWriter(libvirt.open(sys.argv[1]), "edge")
for number in range(50):
    writer.note(LedgerEntry(Kind.VOLUME, f"vms/{sys.argv[3]}{number:02}", "", "", complete=True))
"""


def test_processes_of_a_run_that_write_at_once_lose_nothing(clean_lab: Lab, connection: libvirt.virConnect):
    """As those do of which one retires, for a call to another host did not come back."""
    turns, uri = os.memfd_create("turns"), clean_lab.host("kvm-1").uri()
    writers = [
        subprocess.Popen([sys.executable, "-c", _NOTES, uri, str(turns), name], pass_fds=[turns])
        for name in "abc"
    ]
    ends = [writer.wait(60) for writer in writers]
    os.close(turns)

    names = [entry.name for entry in LedgerWriter(connection, "edge").read().entries]
    assert ends == [0, 0, 0]
    assert names == [f"vms/{name}{number:02}" for name in "abc" for number in range(50)]


@pytest.mark.parametrize(
    "description",
    [
        "",
        "{",
        "[]",
        '{"format":2,"cluster":"edge","entries":[]}',
        '{"format":1,"cluster":"core","entries":[]}',
        '{"format":1,"cluster":"edge","entries":[["volume","vms/a","",""]]}',
        '{"format":1,"cluster":"edge","entries":[["volume","vms/a","","","yes"]]}',
        '{"format":1,"cluster":"edge","entries":[["ship","vms/a","","",true]]}',
        "[" * 5000,
    ],
)
def test_a_damaged_ledger_is_reported_and_never_overwritten(connection: libvirt.virConnect, description: str):
    define(connection, description)
    secret = connection.secretLookupByUUIDString(derive_uuid("edge", "ledger", "edge"))
    before = secret.XMLDesc()
    for use in (lambda: read_ledgers(connection), lambda: LedgerWriter(connection, "edge").note(POOL)):
        with pytest.raises(Rejected) as rejected:
            use()
        (diagnostic,) = rejected.value.diagnostics
        assert diagnostic.code == "host.ledger-broken"
    assert secret.XMLDesc() == before
