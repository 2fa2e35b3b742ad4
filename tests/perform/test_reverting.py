"""The way back to a snapshot of a guest that is off: what it kept is untouched, and what was written since stays."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import libvirt
import pytest

from kvmdecl.diagnostics import TaskFailed
from kvmdecl.libvirt_xml.chains import layers
from kvmdecl.names import MIB
from kvmdecl.tasks import ChangeSnapshots, CreateVolume, RevertSnapshot

if TYPE_CHECKING:
    from kvmdecl.lab import Lab
    from tests.perform.conftest import Hand

pytestmark = [
    pytest.mark.xdist_group("lab"),
    pytest.mark.skipif(not shutil.which("qemu-io"), reason="writes to disks with qemu-io"),
]

DATA, PLAIN = "/srv/vms/db.data.qcow2", "/srv/vms/db.plain.raw"
DOMAIN = f"""<domain type='qemu'><name>db</name><memory unit='MiB'>64</memory><os><type>hvm</type></os><devices>
<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{DATA}'/><target dev='vda'/></disk>
<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{PLAIN}'/><target dev='vdb'/></disk>
</devices></domain>"""


@dataclass
class Guest:
    """A guest that is off, with two disks."""

    hand: Hand
    lab: Lab
    domain: libvirt.virDomain = field(init=False)

    def __post_init__(self) -> None:
        for name, format_ in (("db.data.qcow2", "qcow2"), ("db.plain.raw", "raw")):
            self.hand.do(CreateVolume("vms", name, "disk", format_, 8 * MIB, "off", None, None, "db"))
        self.domain = self.hand.connection.defineXML(DOMAIN)

    def files(self) -> dict[str, list[str]]:
        """What each disk is made of, as its definition says."""
        found = layers(self.domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
        return {target: [layer.file for layer in files] for target, files in found.items()}

    def write(self, byte: int) -> None:
        """Write a byte to both disks, at a place of its own."""
        for files in self.files().values():
            format_ = "raw" if files[0].endswith("raw") else "qcow2"
            command = f"write -P {byte} {byte}k 1k"
            self._run("qemu-io", "-f", format_, "-c", command, files[0])

    def written(self, file: str) -> list[int]:
        self._run("qemu-img", "convert", "-O", "raw", file, "/srv/content.raw")
        content = self.hand.path("/srv/content.raw").read_bytes()
        return [
            byte for byte in range(1, 9) if content[byte * 1024 : (byte + 1) * 1024] == bytes([byte]) * 1024
        ]

    def _run(self, *command: str) -> None:
        subprocess.run(self.lab.host_command("kvm-1", command), check=True, capture_output=True)

    def snapshot(self, take: str = "", drop: tuple[str, ...] = ()) -> None:
        disks = ((("vda", f"{DATA}@{take}"), ("vdb", f"{PLAIN}@{take}"))) if take else ()
        self.hand.do(
            ChangeSnapshots(
                "db", self.domain.UUIDString(), take, "command", quiesce=False, disks=disks, drop=drop
            )
        )

    def revert(self, stamp: str, *, discard: bool = False) -> tuple[str, ...]:
        disks = (("vda", f"{DATA}@one.{stamp}"), ("vdb", f"{PLAIN}@one.{stamp}"))
        return self.hand.do(RevertSnapshot("db", self.domain.UUIDString(), "one", disks, discard)).remarks


@pytest.fixture
def guest(hand: Hand, pool: libvirt.virStoragePool, clean_lab: Lab) -> Guest:
    """The guest, having written 1, with a snapshot, having written 2."""
    made = Guest(hand, clean_lab)
    made.write(1)
    made.snapshot("one")
    made.write(2)
    return made


def test_a_snapshot_of_a_guest_that_is_off_is_known_with_all_that_it_stands_on(guest: Guest):
    assert guest.files() == {"vda": [f"{DATA}@one", DATA], "vdb": [f"{PLAIN}@one", PLAIN]}
    guest.snapshot("two")
    assert guest.files()["vda"] == [f"{DATA}@two", f"{DATA}@one", DATA]


def test_the_disks_are_as_they_were_and_what_was_written_since_is_kept(guest: Guest):
    (remark,) = guest.revert("r1")

    assert remark == f"what was written since one is kept: {DATA}@one, {PLAIN}@one"
    assert guest.files() == {"vda": [f"{DATA}@one.r1", DATA], "vdb": [f"{PLAIN}@one.r1", PLAIN]}
    assert [guest.written(file[0]) for file in guest.files().values()] == [[1], [1]]
    assert [guest.written(f"{file}@one") for file in (DATA, PLAIN)] == [[1, 2], [1, 2]]
    guest.write(3)
    assert guest.revert("r2", discard=True) == ()
    assert [guest.written(file[0]) for file in guest.files().values()] == [[1], [1]]
    assert not guest.hand.path(f"{DATA}@one.r1").exists()
    assert {entry.name for entry in guest.hand.ledger.entries} >= {
        "vms/db.data.qcow2@one",
        "vms/db.data.qcow2@one.r2",
    }


def test_a_snapshot_is_merged_after_the_way_back_unless_that_destroys_what_was_written_before(guest: Guest):
    guest.revert("r1")
    guest.write(3)
    guest.domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)

    with pytest.raises(TaskFailed) as failed:
        guest.snapshot(drop=("one",))
    assert failed.value.diagnostic.code == "step.layer-shared"
    for name in ("db.data.qcow2@one", "db.plain.raw@one"):
        guest.hand.connection.storagePoolLookupByName("vms").storageVolLookupByName(name).delete()
    guest.snapshot(drop=("one",))

    guest.domain.destroy()
    assert guest.files() == {"vda": [DATA], "vdb": [PLAIN]}
    assert guest.written(DATA) == guest.written(PLAIN) == [1, 3]
    assert guest.domain.listAllSnapshots() == []


def test_there_is_no_way_back_past_what_others_did_nor_beside_a_saved_state(guest: Guest):
    guest.domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
    guest.domain.managedSave()
    for wish in (lambda: guest.revert("r1"), lambda: guest.snapshot("two")):
        with pytest.raises(TaskFailed, match="managed-save"):
            wish()
    guest.domain.managedSaveRemove()

    guest.hand.connection.defineXML(
        DOMAIN.replace("</name>", f"</name><uuid>{guest.domain.UUIDString()}</uuid>")
    )
    before = guest.files()
    with pytest.raises(TaskFailed) as failed:
        guest.revert("r1")
    assert failed.value.diagnostic.code == "step.cannot-revert"
    assert guest.files() == before
