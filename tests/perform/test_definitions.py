"""Files from which a cluster manager starts guests: written over, finished, taken over; guests handed over to it."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import libvirt
import pytest

from kvmdecl.diagnostics import Moved, TaskFailed
from kvmdecl.hosts.ledger import LedgerWriter
from kvmdecl.hosts.read import read_volume
from kvmdecl.libvirt_xml.definition import file_text, noted
from kvmdecl.names import derive_uuid
from kvmdecl.tasks import DeleteDefinition, HandOverDomain, WriteDefinition

if TYPE_CHECKING:
    from tests.perform.conftest import Hand

UUID = derive_uuid("edge", "domain", "db")
NAME = "vms/db.xml"


def declared(title: str = "", name: str = "db") -> str:
    return (
        f"<domain type='qemu'><name>{name}</name><uuid>{UUID}</uuid><title>{title}</title>"
        "<memory unit='MiB'>16</memory><vcpu>1</vcpu>"
        "<os><type arch='x86_64' machine='pc'>hvm</type></os></domain>"
    )


def write(title: str = "") -> WriteDefinition:
    return WriteDefinition("vms", "db.xml", "db", UUID, declared(title), "Pacemaker")


@pytest.fixture
def file(hand: Hand, pool: libvirt.virStoragePool):
    return hand.path("/srv/vms/db.xml")


def test_a_connection_that_only_reads_can_tell_that_nobody_else_wrote(hand: Hand, file):
    hand.do(write("one"))
    assert file.read_text() == file_text(declared("one"))

    (entry,) = hand.ledger.entries
    reader = libvirt.openReadOnly(hand.host.uri())
    volume = reader.storagePoolLookupByName("vms").storageVolLookupByName("db.xml")
    assert (entry.complete, noted(entry.applied).stamp) == (True, read_volume(volume).stamp)
    file.write_text(file.read_text().replace("one", "two"))  # as long as it was
    assert noted(entry.applied).stamp != read_volume(volume).stamp
    reader.close()


def test_whoever_reads_meanwhile_finds_a_file_with_the_name(hand: Hand, file):
    hand.do(write())
    lost: list[str] = []
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            text = file.read_text()
            if "\n  <name>db</name>\n" not in text:
                lost.append(text)

    agent = threading.Thread(target=look)
    agent.start()
    for number in range(10):
        hand.do(write("x" * (5000 if number % 2 else 0)))
    over.set()
    agent.join()
    assert lost == []
    assert file.read_text().rstrip() == file_text(declared("x" * 5000)).rstrip()


def test_what_was_torn_is_finished_and_knows_what_was_declared_before(hand: Hand, file):
    hand.do(write("one"))
    (entry,) = hand.ledger.entries
    LedgerWriter(hand.connection, "edge").note(replace(entry, complete=False))
    file.write_text(file.read_text()[:200])

    hand.do(write("two"))
    assert file.read_text() == file_text(declared("two"))
    assert hand.ledger.entries[0].complete


def test_a_file_that_others_wrote_is_taken_over_if_it_is_of_the_same_guest(hand: Hand, file):
    take = replace(write("ours"), take_over=True)
    file.write_text(file_text(declared("theirs", name="other")))
    hand.connection.storagePoolLookupByName("vms").refresh()
    with pytest.raises(TaskFailed) as refused:
        hand.do(take)
    assert refused.value.diagnostic.code == "step.not-ours"
    assert "theirs" in file.read_text()
    assert hand.ledger.entries == ()

    file.write_text(file_text(declared("theirs")))
    hand.do(take)
    assert file.read_text().rstrip() == file_text(declared("ours")).rstrip()


def test_a_file_is_deleted_only_if_it_is_what_was_planned(hand: Hand, file):
    hand.do(write())
    delete = DeleteDefinition("vms", "db.xml", "db", UUID, "Pacemaker")
    planned = hand.look(hand.address(delete))
    file.write_text("<domain/>")
    with pytest.raises(Moved):
        hand.do(delete, planned=planned)
    hand.do(delete)
    assert (file.exists(), hand.ledger.entries) == (False, ())


def test_a_guest_is_handed_over_running_or_not_and_not_while_it_has_saved_states(hand: Hand):
    task = HandOverDomain("db", UUID, declared(), None, (), "Pacemaker", NAME)
    domain = hand.connection.defineXML(file_text(declared()))
    domain.setAutostart(True)
    hand.do(task)
    assert hand.connection.listAllDomains() == []

    domain = hand.connection.defineXML(file_text(declared()))
    domain.create()
    head = "<name>before</name><state>shutoff</state><creationTime>1</creationTime>"
    saved = f"<domainsnapshot>{head}{domain.XMLDesc()}</domainsnapshot>"
    domain.snapshotCreateXML(saved, libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE)
    with pytest.raises(TaskFailed) as refused:
        hand.do(task)
    assert (refused.value.diagnostic.code, bool(domain.isPersistent())) == ("step.saved-states", True)
    domain.snapshotLookupByName("before").delete(libvirt.VIR_DOMAIN_SNAPSHOT_DELETE_METADATA_ONLY)

    number = domain.ID()
    hand.do(task)
    assert (domain.ID(), bool(domain.isPersistent())) == (number, False)
    domain.destroy()
