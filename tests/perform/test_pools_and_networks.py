"""Pools are made, started and undefined with their files kept; networks are defined in place and marked."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import libvirt
import pytest

from kvmdecl.diagnostics import Moved, TaskFailed
from kvmdecl.hosts.ledger import LedgerWriter
from kvmdecl.libvirt_xml.fields import FieldDifference, differences
from kvmdecl.libvirt_xml.marker import read_marker
from kvmdecl.libvirt_xml.network_impact import live_updates
from kvmdecl.libvirt_xml.trace import pool_changed_outside
from kvmdecl.names import derive_uuid
from kvmdecl.state import Kind, LedgerEntry
from kvmdecl.tasks import CreatePool, DefineNetwork, DeleteNetwork, DeletePool, UpdatePool

if TYPE_CHECKING:
    from tests.perform.conftest import Hand

CLUSTER = "edge"

POOL_UUID = derive_uuid(CLUSTER, "pool", "vms")
POOL_XML = (
    f"<pool type='dir'><name>vms</name><uuid>{POOL_UUID}</uuid><target><path>/srv/vms</path></target></pool>"
)
CREATE = CreatePool("vms", POOL_UUID, POOL_XML, autostart=True)

NET_UUID = derive_uuid(CLUSTER, "network", "lan")


def network_xml(domain: str = "edge.example", extra: str = "") -> str:
    return (
        f"<network><name>lan</name><uuid>{NET_UUID}</uuid><bridge name='kd-lan'/><domain name='{domain}'/>"
        f"{extra}<ip address='192.168.140.1' prefix='24'/></network>"
    )


def define(xml: str, base: str | None = None, *, start: bool = True, autostart: bool = True) -> DefineNetwork:
    return DefineNetwork("lan", NET_UUID, xml, base, start=start, autostart=autostart)


def test_a_new_pool_is_built_started_and_noted_in_the_ledger(hand: Hand):
    hand.do(CREATE)
    pool = hand.connection.storagePoolLookupByUUIDString(POOL_UUID)
    assert (pool.isActive(), pool.autostart()) == (1, 1)
    assert hand.path("/srv/vms").is_dir()
    (entry,) = hand.ledger.entries
    libvirt_, xml = hand.connection.getLibVersion(), pool.XMLDesc(libvirt.VIR_STORAGE_XML_INACTIVE)
    assert replace(entry, applied="") == LedgerEntry(Kind.POOL, "vms", "", "", complete=True)
    assert pool_changed_outside(entry.applied, xml, POOL_XML, libvirt_) == ()
    (found,) = pool_changed_outside(entry.applied, xml.replace("0711", "0700"), POOL_XML, libvirt_)
    assert found == FieldDifference("target/permissions/mode", "711", "700")


def test_a_folder_that_another_host_makes_just_before_is_no_reason_to_fail(
    hand: Hand, monkeypatch: pytest.MonkeyPatch
):
    """libvirt looks whether there is one, and then makes it; in a shared pool all hosts do so at once."""
    build = libvirt.virStoragePool.build

    def late(pool: libvirt.virStoragePool, flags: int = 0) -> int:
        monkeypatch.undo()
        hand.path("/srv/vms").mkdir()
        raise libvirt.libvirtError("failed to create directory '/srv/vms': File exists")

    monkeypatch.setattr(libvirt.virStoragePool, "build", late)
    hand.do(CREATE)
    assert libvirt.virStoragePool.build is build
    assert hand.connection.storagePoolLookupByName("vms").isActive()


def test_a_folder_that_cannot_be_made_fails_the_step_and_leaves_no_pool(hand: Hand):
    hand.path("/srv/file").write_bytes(b"in the way")
    with pytest.raises(TaskFailed) as failed:
        hand.do(replace(CREATE, xml=POOL_XML.replace("/srv/vms", "/srv/file/vms")))
    assert failed.value.diagnostic.code == "host.error"
    assert hand.connection.listAllStoragePools() == []


def test_what_an_earlier_version_did_not_note_of_a_pool_is_noted_when_it_is_started(hand: Hand):
    hand.do(CREATE)
    (entry,) = hand.ledger.entries
    hand.connection.storagePoolLookupByUUIDString(POOL_UUID).destroy()
    LedgerWriter(hand.connection, CLUSTER).note(replace(entry, applied=""))

    hand.do(UpdatePool("vms", POOL_UUID, start=True, autostart=True))

    assert hand.ledger.entries[0].applied.startswith(f"{hand.connection.getLibVersion()}:")


def test_a_stopped_pool_is_started_again(hand: Hand):
    hand.do(CREATE)
    pool = hand.connection.storagePoolLookupByUUIDString(POOL_UUID)
    pool.destroy()
    hand.do(UpdatePool("vms", POOL_UUID, start=True, autostart=False))
    assert (pool.isActive(), pool.autostart()) == (1, 0)


def test_a_deleted_pool_leaves_its_files_alone(hand: Hand):
    hand.do(CREATE)
    (hand.path("/srv/vms") / "precious").write_text("data")
    hand.do(DeletePool("vms", POOL_UUID))
    assert hand.connection.listAllStoragePools() == []
    assert (hand.path("/srv/vms") / "precious").read_text() == "data"
    assert hand.ledger.entries == ()


def test_a_pool_that_somebody_made_meanwhile_is_not_touched(hand: Hand, pool: libvirt.virStoragePool):
    before = pool.XMLDesc()
    with pytest.raises(Moved) as moved:
        hand.do(CREATE, planned=None)
    assert moved.value.diagnostic.code == "step.moved"
    assert moved.value.diagnostic.summary.startswith("kvm-1/pool/vms appeared")
    assert pool.XMLDesc() == before


def test_a_pool_that_is_gone_meanwhile_is_reported_as_moved(hand: Hand, pool: libvirt.virStoragePool):
    planned = hand.look(hand.address(CREATE))
    pool.destroy()
    pool.undefine()
    with pytest.raises(Moved, match="vanished"):
        hand.do(DeletePool("vms", POOL_UUID), planned=planned)


def test_a_pool_that_libvirt_refuses_is_a_failed_step_with_libvirts_words(hand: Hand):
    with pytest.raises(TaskFailed) as failed:
        hand.do(CreatePool("vms", POOL_UUID, POOL_XML.replace("/srv/vms", "/proc/no/where"), autostart=False))
    assert failed.value.diagnostic.subject == "kvm-1/pool/vms"
    assert "/proc/no" in failed.value.diagnostic.summary


def test_a_new_network_is_started_and_says_whose_it_is(hand: Hand):
    hand.do(define(network_xml()))
    network = hand.connection.networkLookupByName("lan")
    assert (network.isActive(), network.autostart()) == (1, 1)
    marker = read_marker(network.XMLDesc(libvirt.VIR_NETWORK_XML_INACTIVE))
    assert marker is not None
    assert (marker.cluster, marker.uuid, marker.revision) == (CLUSTER, NET_UUID, "r1")


def test_a_running_network_is_redefined_in_place_and_keeps_running_as_it_was(hand: Hand):
    hand.do(define(network_xml(extra="<mac address='52:54:00:aa:bb:cc'/>")))
    network = hand.connection.networkLookupByName("lan")
    result = hand.do(define(network_xml("new.example"), network_xml(), start=False, autostart=False))
    (remark,) = result.remarks
    assert "keeps running as it was defined before" in remark
    kept = network.XMLDesc(libvirt.VIR_NETWORK_XML_INACTIVE)
    assert "new.example" in kept
    assert "52:54:00:aa:bb:cc" in kept  # what only the host knows stays
    assert "edge.example" in network.XMLDesc()
    assert (network.isActive(), network.autostart()) == (1, 0)


def test_a_network_that_was_edited_meanwhile_is_not_touched(hand: Hand):
    hand.do(define(network_xml()))
    network = hand.connection.networkLookupByName("lan")
    planned = hand.look(hand.address(define(network_xml())))
    hand.connection.networkDefineXML(network_xml("edited.example"))
    before = network.XMLDesc(libvirt.VIR_NETWORK_XML_INACTIVE)
    with pytest.raises(Moved) as moved:
        hand.do(define(network_xml("new.example"), network_xml()), planned=planned)
    assert [note.text for note in moved.value.diagnostic.notes] == [
        "differs from the manifest now: domain@name"
    ]
    assert network.XMLDesc(libvirt.VIR_NETWORK_XML_INACTIVE) == before


def test_a_deleted_network_is_gone(hand: Hand):
    hand.do(define(network_xml()))
    hand.do(DeleteNetwork("lan", NET_UUID))
    assert hand.connection.listAllNetworks() == []


def test_a_pool_whose_making_was_interrupted_is_finished(hand: Hand):
    hand.connection.storagePoolDefineXML(POOL_XML.replace("/srv/vms", "/srv/not/yet"))
    hand.do(UpdatePool("vms", POOL_UUID, start=True, autostart=True))
    assert hand.connection.storagePoolLookupByName("vms").isActive()
    assert hand.path("/srv/not/yet").is_dir()
    assert hand.ledger.find(Kind.POOL, "vms") is not None


def test_a_finished_pool_whose_directory_is_missing_is_not_given_an_empty_one(hand: Hand):
    hand.do(CREATE)
    hand.connection.storagePoolLookupByName("vms").destroy()
    hand.path("/srv/vms").rename(hand.path("/srv/elsewhere"))
    with pytest.raises(TaskFailed):
        hand.do(UpdatePool("vms", POOL_UUID, start=True, autostart=True))
    assert not hand.path("/srv/vms").exists()
    hand.path("/srv/elsewhere").rename(hand.path("/srv/vms"))


STRANGER = "11111111-2222-3333-4444-555555555555"


@pytest.mark.parametrize(
    "task",
    [DeletePool("vms", POOL_UUID), UpdatePool("vms", POOL_UUID, start=True, autostart=True)],
    ids=lambda task: task.task,
)
def test_somebody_elses_pool_is_refused_even_if_it_was_planned(hand: Hand, task: DeletePool | UpdatePool):
    hand.path("/srv/vms").mkdir(parents=True, exist_ok=True)
    hand.connection.storagePoolDefineXML(POOL_XML.replace(POOL_UUID, STRANGER)).create()
    with pytest.raises(TaskFailed, match=r"step\.not-ours"):
        hand.do(task)
    assert hand.connection.storagePoolLookupByUUIDString(STRANGER).isActive()


@pytest.mark.parametrize(
    "task", [DeleteNetwork("lan", NET_UUID), define(network_xml())], ids=lambda t: t.task
)
def test_somebody_elses_network_is_refused_even_if_it_was_planned(
    hand: Hand, task: DeleteNetwork | DefineNetwork
):
    hand.connection.networkDefineXML(network_xml().replace(NET_UUID, STRANGER))
    with pytest.raises(TaskFailed, match=r"step\.not-ours"):
        hand.do(task)
    assert hand.connection.networkLookupByUUIDString(STRANGER).name() == "lan"


LEASE = "<host mac='52:54:00:00:00:01' name='web' ip='192.168.140.5'/>"
NAMES = "<host ip='192.168.140.2'><hostname>gw</hostname></host>"


def served(ranges: str = "10-20", leases: str = "", dns: str = "", domain: str = "edge.example") -> str:
    start, _, end = ranges.partition("-")
    return (
        f"<network><name>lan</name><uuid>{NET_UUID}</uuid><bridge name='kd-lan'/><domain name='{domain}'/>"
        f"<dns>{dns}</dns><ip address='192.168.140.1' prefix='24'><dhcp>"
        f"<range start='192.168.140.{start}' end='192.168.140.{end}'/>{leases}</dhcp></ip></network>"
    )


def change(hand: Hand, desired: str, base: str) -> DefineNetwork:
    """The task that a plan has for a change of the network as it is."""
    live = live_updates(desired, base, hand.connection.networkLookupByName("lan").XMLDesc())
    return replace(define(desired, base, start=False), live=live)


def test_leases_and_names_change_in_the_running_network_and_in_its_definition(hand: Hand):
    old = served(dns="<txt name='note' value='old'/>")
    new = served("10-30", LEASE, NAMES + "<txt name='note' value='new'/>")
    hand.do(define(old))
    network = hand.connection.networkLookupByName("lan")

    assert hand.do(change(hand, new, old)).remarks == ()

    for flags in (0, libvirt.VIR_NETWORK_XML_INACTIVE):
        assert differences(new, old, network.XMLDesc(flags), Kind.NETWORK) == ()

    assert hand.do(change(hand, old, new)).remarks == ()
    for flags in (0, libvirt.VIR_NETWORK_XML_INACTIVE):
        assert differences(old, new, network.XMLDesc(flags), Kind.NETWORK) == ()
        assert "52:54:00:00:00:01" not in network.XMLDesc(flags)


def test_a_change_that_was_interrupted_after_some_calls_is_finished(hand: Hand):
    old, new = served(), served("10-30", LEASE, NAMES)
    hand.do(define(old))
    network = hand.connection.networkLookupByName("lan")
    task = change(hand, new, old)
    network.update(
        libvirt.VIR_NETWORK_UPDATE_COMMAND_ADD_LAST, libvirt.VIR_NETWORK_SECTION_IP_DHCP_HOST, -1, LEASE,
        libvirt.VIR_NETWORK_UPDATE_AFFECT_LIVE,
    )  # fmt: skip
    network.update(
        libvirt.VIR_NETWORK_UPDATE_COMMAND_DELETE, libvirt.VIR_NETWORK_SECTION_IP_DHCP_RANGE, -1,
        "<range start='192.168.140.10' end='192.168.140.20'/>", libvirt.VIR_NETWORK_UPDATE_AFFECT_LIVE,
    )  # fmt: skip

    hand.do(task)

    assert differences(new, old, network.XMLDesc(), Kind.NETWORK) == ()
    hand.do(task)
    assert network.XMLDesc().count("<host mac=") == 1


def test_what_cannot_be_live_is_said_beside_what_is(hand: Hand):
    old, new = served(), served(leases=LEASE, domain="new.example")
    hand.do(define(old))

    (remark,) = hand.do(change(hand, new, old)).remarks

    live = hand.connection.networkLookupByName("lan").XMLDesc()
    assert "keeps running as it was defined before" in remark
    assert "192.168.140.5" in live
    assert "new.example" not in live


def test_a_call_that_the_plan_does_not_have_is_not_made(hand: Hand):
    old, new = served(), served(leases=LEASE)
    hand.do(define(old))

    hand.do(define(new, old, start=False))

    assert "192.168.140.5" not in hand.connection.networkLookupByName("lan").XMLDesc()
