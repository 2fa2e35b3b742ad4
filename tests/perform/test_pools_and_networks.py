"""Pools are made, started and undefined with their files kept; networks are defined in place and marked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import libvirt
import pytest

from kvmdecl.diagnostics import Moved, TaskFailed
from kvmdecl.libvirt_xml.marker import read_marker
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
    assert hand.ledger.entries == (LedgerEntry(Kind.POOL, "vms", "", "", complete=True),)


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
