"""What a move asks hosts before it does anything, and what it leaves where it is rather than lose it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import libvirt
import pytest

from kvmdecl.diagnostics import TaskFailed
from kvmdecl.hosts.ledger import LedgerWriter
from kvmdecl.hosts.perform import perform
from kvmdecl.hosts.perform.job import Job
from kvmdecl.hosts.perform.moves import _require_fitting
from kvmdecl.hosts.protocol import TaskRequest
from kvmdecl.hosts.read import read_domain
from kvmdecl.lab import Lab
from kvmdecl.libvirt_xml.fingerprint import fingerprint
from kvmdecl.state import Address, Kind, LedgerEntry
from kvmdecl.tasks import LeaveDomain, MoveDomain
from tests.perform.conftest import CLUSTER, PATIENCE, Hand

pytestmark = pytest.mark.xdist_group("lab")

CPU = "<cpu mode='custom' match='exact'><model>qemu64</model><feature policy='require' name='{}'/></cpu>"
UUID = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff"
GUEST = (
    f"<domain type='qemu'><name>db</name><uuid>{UUID}</uuid><memory unit='MiB'>32</memory>"
    "<os firmware='efi'><type arch='x86_64' machine='q35'>hvm</type></os><features><acpi/></features></domain>"
)


@pytest.mark.parametrize(
    ("machine", "cpu", "why"),
    [
        ("pc", CPU.format("sse4.1"), None),
        ("pc", "<cpu mode='host-passthrough'/>", None),
        ("pc-i440fx-99.9", "", "pc-i440fx-99.9"),
        ("pc", CPU.format("vmx"), "its CPU lacks something that the guest's has"),
    ],
)
def test_a_running_guest_goes_only_where_its_machine_and_cpu_are(
    hand: Hand, machine: str, cpu: str, why: str | None
):
    live = f"<domain type='qemu'><os><type arch='x86_64' machine='{machine}'>hvm</type></os>{cpu}</domain>"
    task = MoveDomain("db", UUID, "kvm-2", "", None, True, "keep", True, CLUSTER, "r1")
    job = Job(
        hand.connection, TaskRequest(hand.address(task), task, "", CLUSTER, "r1"), hand.told.append, PATIENCE
    )

    if why is None:
        _require_fitting(job, task, live)
        return
    with pytest.raises(TaskFailed) as failed:
        _require_fitting(job, task, live)
    found = failed.value.diagnostic
    assert found.code == "step.cannot-run-here"
    assert found.summary.startswith("kvm-1/domain/db stays on kvm-2: ")
    assert why in found.summary


@dataclass
class Place:
    """A host, and where the variables of the guest's firmware are on it."""

    connection: libvirt.virConnect
    variables: Path


@pytest.fixture
def places(clean_lab: Lab) -> Iterator[list[Place]]:
    """kvm-1, which the guest leaves, and kvm-2."""
    found = []
    for host in map(clean_lab.host, ("kvm-1", "kvm-2")):
        variables = host.folder / "lib/qemu/nvram/db_VARS.fd"
        variables.parent.mkdir(parents=True, exist_ok=True)
        found.append(Place(libvirt.open(host.uri()), variables))
    yield found
    for place in found:
        place.variables.unlink(missing_ok=True)
        place.connection.close()


def test_variables_are_deleted_only_where_the_guests_new_host_has_them(places: list[Place]):
    old, new = places
    new.connection.defineXML(GUEST)
    old.variables.write_bytes(b"variables")
    LedgerWriter(old.connection, CLUSTER).note(
        LedgerEntry(Kind.DOMAIN, "db", "db", "firmware", complete=True)
    )
    task = LeaveDomain("db", UUID, "kvm-2", (), ("firmware",))

    def leave() -> None:
        request = TaskRequest(Address("kvm-1", Kind.DOMAIN, "db"), task, fingerprint(None), CLUSTER, "r1")
        perform(old.connection, request, lambda _: None, PATIENCE, peer=new.connection)

    with pytest.raises(TaskFailed, match="is kept: kvm-2, where the guest is, has none") as failed:
        leave()
    assert failed.value.diagnostic.code == "step.only-copy"
    assert old.variables.read_bytes() == b"variables"
    new.variables.write_bytes(b"variables")
    leave()
    assert (old.variables.exists(), new.variables.exists()) == (False, True)


def test_variables_that_are_there_and_nobody_knows_of_are_not_written_over(places: list[Place]):
    source, target = places
    domain = source.connection.defineXML(GUEST)
    source.variables.write_bytes(b"variables")
    target.variables.write_bytes(b"of another guest of that name")
    task = MoveDomain(
        "db", UUID, "kvm-1", GUEST, GUEST, False, "keep", False, CLUSTER, "r1", files=("firmware",)
    )
    planned = fingerprint(read_domain(domain))
    request = TaskRequest(Address("kvm-2", Kind.DOMAIN, "db"), task, planned, CLUSTER, "r1")

    with pytest.raises(TaskFailed, match=r"there is .*db_VARS\.fd already") as failed:
        perform(target.connection, request, lambda _: None, PATIENCE, peer=source.connection)

    assert failed.value.diagnostic.code == "step.state-there"
    assert target.variables.read_bytes() == b"of another guest of that name"
    assert source.variables.read_bytes() == b"variables"
    assert [d.name() for d in source.connection.listAllDomains()] == ["db"]
    assert target.connection.listAllDomains() == []
