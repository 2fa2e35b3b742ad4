"""The way back to a snapshot of a guest that is off: new files on top of what the snapshot kept.

libvirt can do it by itself from 9.10 on only, and then deletes what was written since; here that stays unless somebody
said otherwise. The order of steps is such that a run that is interrupted leaves the guest on one side or the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NoReturn

from kvmdecl.hosts.perform.domains import find_domain
from kvmdecl.hosts.perform.snapshots import delete_layer, note_layer, pool_of, require_no_saved_state
from kvmdecl.hosts.protocol import TaskResult
from kvmdecl.hosts.read import read_domain, read_volume
from kvmdecl.libvirt_xml.chains import Layer, layers, with_layers
from kvmdecl.libvirt_xml.overlay import to_text
from kvmdecl.libvirt_xml.safe import parse_xml
from kvmdecl.libvirt_xml.volume import volume_xml

if TYPE_CHECKING:
    import libvirt

    from kvmdecl.hosts.perform.job import Job
    from kvmdecl.tasks import RevertSnapshot


@dataclass(frozen=True, slots=True)
class _Disk:
    """A disk on its way back. `kept` is what the snapshot kept, and what that stands on; `since` was written after."""

    target: str
    new: str
    since: str
    kept: tuple[Layer, ...]


def revert_snapshot(job: Job, task: RevertSnapshot) -> TaskResult:
    """Go back: new files, then the snapshot's note of them, then the guest's definition, all of its disks at once."""
    import libvirt

    domain = find_domain(job.connection, task.name)
    job.require_unmoved(read_domain(domain) if domain else None)
    if domain is None:
        raise job.moved("vanished")
    job.require_identity(domain.UUIDString(), task.uuid)
    require_no_saved_state(job, domain)
    snapshot = domain.snapshotLookupByName(task.snapshot)
    disks = _disks(job, task, domain, snapshot)
    for disk in disks:
        _make(job, task, disk)
    renamed = _with_files(snapshot.getXMLDesc(libvirt.VIR_DOMAIN_SNAPSHOT_XML_SECURE), disks)
    domain.snapshotCreateXML(renamed, libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE)
    _move(job, domain, disks)
    if task.discard:
        for disk in disks:
            delete_layer(job, disk.since)
        return TaskResult()
    return TaskResult(
        (f"what was written since {task.snapshot} is kept: {', '.join(d.since for d in disks)}",)
    )


def _disks(
    job: Job, task: RevertSnapshot, domain: libvirt.virDomain, snapshot: libvirt.virDomainSnapshot
) -> list[_Disk]:
    """Each disk of the snapshot, which has to be directly beneath what the guest writes to now."""
    import libvirt

    described = parse_xml(snapshot.getXMLDesc())
    taken = {d.get("name", "") for d in described.iterfind("disks/disk[@snapshot='external']")}
    if taken != {target for target, _ in task.disks}:
        _refuse(job, "the guest has other disks than the snapshot")
    (guest,) = described.iterfind("domain")
    then = layers(to_text(guest))
    now = layers(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
    found = []
    for target, new in task.disks:
        top, *beneath = now[target]
        kept = then[target][0]
        if _backing(job, top.file) != kept.file:
            _refuse(job, f"{top.file} does not stand on {kept.file}, which is what the snapshot kept")
        found.append(_Disk(target, new, top.file, (kept, *beneath[1:])))
    return found


def _refuse(job: Job, why: str) -> NoReturn:
    job.fail(
        "step.cannot-revert",
        f"{job.request.address} cannot go back: {why}; nothing was done to it",
        "Somebody changed its disks by other means since the snapshot was taken.",
        "look at it with `virsh domblklist --inactive`, `virsh snapshot-dumpxml` and `qemu-img info --backing-chain`.",
    )


def _backing(job: Job, file: str) -> str | None:
    """What a file stands on, as its pool says."""
    pool = pool_of(job, file)
    name = PurePosixPath(file).name
    if pool is None or name not in pool.listVolumes():
        _refuse(job, f"{file} is in no pool of its host")
    return read_volume(pool.storageVolLookupByName(name)).backing


def _make(job: Job, task: RevertSnapshot, disk: _Disk) -> None:
    """A new file on top of what was kept."""
    kept = disk.kept[0]
    pool = pool_of(job, kept.file)
    if pool is None:
        _refuse(job, f"{kept.file} is in no pool of its host")
    capacity = read_volume(pool.storageVolLookupByName(PurePosixPath(kept.file).name)).capacity
    name = PurePosixPath(disk.new).name
    pool.createXML(volume_xml(name, "qcow2", capacity, backing_path=kept.file, backing_format=kept.format), 0)
    note_layer(job, task.name, disk.new)


def _with_files(description: str, disks: list[_Disk]) -> str:
    """The snapshot, whose layers are the new files: to delete it will be to merge these."""
    root = parse_xml(description)
    new = {disk.target: disk.new for disk in disks}
    for disk in root.iterfind("disks/disk[@snapshot='external']"):
        for source in disk.iterfind("source"):
            source.set("file", new[disk.get("name", "")])
    return to_text(root)


def _move(job: Job, domain: libvirt.virDomain, disks: list[_Disk]) -> None:
    import libvirt

    xml = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE)
    moved = with_layers(xml, {disk.target: (Layer(disk.new, "qcow2"), *disk.kept) for disk in disks})
    job.connection.defineXMLFlags(moved, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
    now = layers(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
    for disk in disks:
        job.require_value(f"file of {disk.target}", now[disk.target][0].file, disk.new)
