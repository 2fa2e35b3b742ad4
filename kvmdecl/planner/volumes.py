"""Volumes: made, filled and grown. Nothing here shrinks, replaces or deletes one."""

from __future__ import annotations

from dataclasses import replace

from kvmdecl.diagnostics import Diagnostic
from kvmdecl.libvirt_xml.chains import disk_files, writes_to
from kvmdecl.names import format_size
from kvmdecl.plan import Action, Change, Impact
from kvmdecl.planner.verdict import AS_DECLARED, HostView, Verdict, blocked, not_ours, note, step
from kvmdecl.state import (
    Address,
    DesiredVolume,
    FileContent,
    Kind,
    LedgerEntry,
    ObservedDomain,
    ObservedVolume,
    Role,
    SeedContent,
    begins_as,
)
from kvmdecl.tasks import CreateVolume, ResizeVolume


def plan_volume(desired: DesiredVolume, view: HostView) -> Verdict:
    """Compare a declared volume with the host's volume of that name and with what the ledger knows of it."""
    observed = view.volumes.get(desired.address.name)
    entry = view.ledger.find(Kind.VOLUME, desired.address.name)
    if desired.moves_from and entry is not None and entry.complete:
        return _brought_back(desired, observed, view)
    if entry is None and desired.shared:
        entry = view.around.entry(desired.address.name)
        observed = view.around.volume(desired.address.name) or observed
    if observed is None:
        return _missing(desired, entry, view)
    if entry is None:
        if desired.shared and not view.around.complete:
            return AS_DECLARED  # a host that did not answer may have made it
        return not_ours(desired, "volume")
    if not entry.complete and _is_used(desired, observed, view):
        entry = replace(entry, complete=True)  # its guest arrived, and brought what is in it
    if not entry.complete:
        return _uncopyable(desired, view) or _finish(desired, observed)
    return _compare(desired, observed, entry, view)


def _missing(desired: DesiredVolume, entry: LedgerEntry | None, view: HostView) -> Verdict:
    """A volume that is not seen is new, or hidden in a stopped pool, or lost: a lost disk is never made anew."""
    pool = view.pools.get(desired.pool)
    if entry is not None and entry.complete and pool is not None:
        if not pool.active:
            return AS_DECLARED  # as far as anybody can know before the pool is started
        if desired.role is Role.DISK:
            return _vanished(desired)
    return _uncopyable(desired, view) or step(
        desired, Action.CREATE, _create(desired), None, _describe(desired), after=_after(desired)
    )


def _vanished(desired: DesiredVolume) -> Verdict:
    key, host = _key(desired), desired.address.host
    return blocked(
        desired,
        "plan.volume-vanished",
        f"{key} of {desired.vm} was made on {host}, and its volume {desired.address.name} is not there any more",
        "In its place the guest would get an empty disk, while its data may be on a file system that is not mounted.",
        f"bring the volume back to {host}; if its data are lost for good, make one of that name with virsh.",
        key=key,
    )


def _uncopyable(desired: DesiredVolume, view: HostView) -> Verdict | None:
    """Why the volume that a new disk would be a copy of cannot be copied now, as far as can be seen."""
    if desired.clone is None:
        return None
    source = view.volumes.get(desired.clone)
    if source is None:
        return _nothing_to_copy(desired, view)
    user = next((domain.name for domain in view.state.domains if _is_writing(domain, source)), None)
    what = f"{_key(desired)} of {desired.vm} would be a copy of {desired.clone}"
    if user is not None:
        return blocked(
            desired,
            "plan.cannot-copy",
            f"{what}, and {user} is writing to that",
            "A copy that is taken meanwhile holds a part of each write, and may be of no use.",
            f"shut {user} down first, or have `kvmdecl snapshot create` move it on to another file.",
            key=_key(desired),
        )
    if source.encrypted:
        return blocked(
            desired,
            "plan.cannot-copy",
            f"{what}, which is encrypted",
            "libvirt does not remember which secret opens a volume, so it cannot read this one.",
            "copy the data inside of a guest.",
            key=_key(desired),
        )
    if desired.capacity is not None and desired.capacity < source.capacity:
        return blocked(
            desired,
            "plan.cannot-copy",
            f"{what}, which has {format_size(source.capacity)} and not {format_size(desired.capacity)}",
            "The guest would find the end of its file system cut off.",
            f"write `{format_size(source.capacity)}` or more, or leave the size out.",
            key=f"{_key(desired)}.size",
        )
    return None


def _nothing_to_copy(desired: DesiredVolume, view: HostView) -> Verdict | None:
    """Refuse to copy what is not there, unless it may be there once the plan is done."""
    clone = desired.clone or ""
    pool = view.pools.get(clone.partition("/")[0])
    if pool is None or not pool.active or _address_of(desired, clone) in desired.needs:
        return None
    return blocked(
        desired,
        "plan.cannot-copy",
        f"{_key(desired)} of {desired.vm} would be a copy of {clone}, which {desired.address.host} does not have",
        "What a disk is cloned from has to be on its host.",
        f"bring it there (`virsh pool-refresh {pool.name}` if libvirt has not seen it yet), or name another volume.",
        key=_key(desired),
    )


def _is_writing(domain: ObservedDomain, volume: ObservedVolume) -> bool:
    return domain.active and writes_to(domain.live_xml or domain.xml, volume.pool, volume.name, volume.path)


def _is_used(desired: DesiredVolume, volume: ObservedVolume, view: HostView) -> bool:
    """Whether its guest has it here: a disk is part of a definition only once it is whole."""
    domain = view.domains.get(desired.vm or "")
    return domain is not None and writes_to(domain.xml, volume.pool, volume.name, volume.path)


def _brought_back(desired: DesiredVolume, observed: ObservedVolume | None, view: HostView) -> Verdict:
    """A volume that was made here before, and has to be again for what its guest brings: only if it is gone."""
    pool = view.pools.get(desired.pool)
    if observed is not None or pool is None or not pool.active:
        return _left_here(desired)
    return step(desired, Action.CREATE, _create(desired), None, _describe(desired), after=_after(desired))


def _left_here(desired: DesiredVolume) -> Verdict:
    host, name = desired.address.host, desired.address.name
    return blocked(
        desired,
        "move.disk-there",
        f"{_key(desired)} of {desired.vm} would be copied to {host}, which has its volume {name} already",
        "It is what was left there when the guest moved away, or was made for it; nothing is written over it.",
        f"if nobody needs it any more, delete it: `virsh vol-delete --pool {desired.pool} {desired.name}`;"
        " else give it another name first.",
        key=_key(desired),
    )


def _create(desired: DesiredVolume) -> CreateVolume:
    return CreateVolume(
        pool=desired.pool,
        name=desired.name,
        role=desired.role,
        format=desired.format,
        capacity=desired.capacity,
        preallocation=desired.preallocation,
        backing=desired.backing,
        content=desired.content,
        owner=desired.vm or "",
        encryption=desired.encryption,
        options=desired.options,
        clone=desired.clone,
        moves_from=desired.moves_from,
    )


def _describe(desired: DesiredVolume) -> str:
    size = format_size(desired.capacity) if desired.capacity is not None else ""
    parts = [size, desired.format]
    if desired.role is Role.SEED:
        plain = isinstance(desired.content, SeedContent) and desired.content.plain
        parts = ["Ignition configuration" if plain else "cloud-init seed"]
        if isinstance(desired.content, SeedContent) and desired.content.secrets:
            said = (f"{secret.name} from {secret.source}" for secret in desired.content.secrets)
            parts.append(f"with the values of {', '.join(said)}")
    elif isinstance(desired.content, FileContent):
        upload = f", {format_size(desired.content.size)}" if desired.content.size is not None else ""
        parts = [f"{desired.format} image, uploaded{upload}"]
    elif desired.backing:
        parts = [size, f"{desired.format} on {desired.backing}"]
    elif desired.clone:
        parts = [size, f"{desired.format}, a full copy of {desired.clone}"]
    if desired.encryption is not None:
        parts.append("encrypted")
    if desired.moves_from:
        parts.append(f"for what its guest brings from {desired.moves_from}")
    return " ".join(part for part in parts if part)


def _after(desired: DesiredVolume) -> tuple[Address, ...]:
    pool = Address(desired.address.host, Kind.POOL, desired.pool)
    if desired.backing is None:
        return (pool, *desired.needs)
    return (pool, _address_of(desired, f"{desired.pool}/{desired.backing}"), *desired.needs)


def _address_of(desired: DesiredVolume, volume: str) -> Address:
    return Address(desired.address.host, Kind.VOLUME, volume)


def _finish(desired: DesiredVolume, observed: ObservedVolume) -> Verdict:
    summary = f"{_describe(desired)}; an earlier run was interrupted while making it, and this finishes it"
    return step(desired, Action.CREATE, _create(desired), observed, summary, after=_after(desired))


def _compare(desired: DesiredVolume, observed: ObservedVolume, entry: LedgerEntry, view: HostView) -> Verdict:
    key = _key(desired)
    if desired.role is not Role.DISK:
        return AS_DECLARED  # its name carries the digest of its content, so a complete one is the right one
    if observed.format != desired.format:
        return blocked(
            desired,
            "plan.volume-format",
            f"{key} of {desired.vm} is a {observed.format} volume and the manifest says {desired.format}",
            "Changing the format means copying the disk; kvmdecl does not replace a disk that holds data.",
            f"say `format: {observed.format}`, or declare a new disk and copy the data in the guest.",
            key=f"{key}.format",
            usable=True,
        )
    if observed.encrypted != (desired.encryption is not None):
        return _refuse_other_encryption(desired, key)
    notes = _image_notes(desired, entry)
    if desired.capacity is None or observed.capacity == desired.capacity:
        return Verdict(notes=notes)
    if observed.capacity > desired.capacity:
        return _refuse_shrinking(desired, observed, desired.capacity, key)
    if observed.encrypted and not _runs(desired, view):
        return _refuse_growing(desired, key)
    return replace(_grow(desired, observed, desired.capacity, view, key), notes=notes)


def _image_notes(desired: DesiredVolume, entry: LedgerEntry) -> tuple[Diagnostic, ...]:
    """A disk keeps the image that it began as: another image in the manifest is for new disks."""
    declared = begins_as(desired.backing, desired.clone)
    if not entry.applied or entry.applied == declared:
        return ()
    now = declared or "no image"
    summary = f"{desired.vm}'s disk began as {entry.applied} and keeps it; the manifest now says {now}"
    return (
        note(
            desired,
            "plan.image-kept",
            summary,
            "The disk holds the guest's data; its image is not replaced under it.",
        ),
    )


def _refuse_shrinking(desired: DesiredVolume, observed: ObservedVolume, capacity: int, key: str) -> Verdict:
    before, after = format_size(observed.capacity), format_size(capacity)
    return blocked(
        desired,
        "plan.volume-shrink",
        f"{key} of {desired.vm} would shrink from {before} to {after}",
        "Shrinking cuts off the end of the disk, and with it whatever the guest keeps there.",
        f"write `{before}` or more.",
        key=f"{key}.size",
        usable=True,
    )


def _refuse_other_encryption(desired: DesiredVolume, key: str) -> Verdict:
    was, says = (
        ("in the clear", "that it is encrypted") if desired.encryption else ("encrypted", "nothing of that")
    )
    return blocked(
        desired,
        "plan.volume-encryption",
        f"{key} of {desired.vm} is stored {was}, and the manifest says {says}",
        "A disk is encrypted from its first byte on or not at all; kvmdecl does not replace one that holds data.",
        "put `encryption` back as it was, or declare a new disk and copy the data in the guest.",
        key=f"{key}.encryption",
    )


def _refuse_growing(desired: DesiredVolume, key: str) -> Verdict:
    return blocked(
        desired,
        "plan.volume-encryption",
        f"{key} of {desired.vm} is encrypted and grows only while the guest runs",
        "libvirt does not remember which secret opens a volume, and QEMU, which knows, is not running.",
        "start the guest, then apply again.",
        key=f"{key}.size",
        usable=True,
    )


def _runs(desired: DesiredVolume, view: HostView) -> bool:
    domain = view.domains.get(desired.vm or "")
    return domain is not None and domain.active


def _grow(
    desired: DesiredVolume, observed: ObservedVolume, capacity: int, view: HostView, key: str
) -> Verdict:
    domain, running = view.domains.get(desired.vm or ""), _runs(desired, view)
    maker = view.around.makers.get(desired.address.name, view.host) if desired.shared else view.host
    if domain is not None and any(observed.path in disk.files[1:] for disk in disk_files(domain.xml)):
        return _refuse_growing_beneath(desired, key)
    change = Change(
        field="capacity",
        key=f"{key}.size",
        before=format_size(observed.capacity),
        after=format_size(capacity),
        impact=Impact.LIVE if running else Impact.NONE,
        how="virDomainBlockResize" if running else "virStorageVolResize",
        at=desired.origin.find(f"{key}.size"),
    )
    uuid = domain.uuid if domain and running else None
    maker = maker if maker != view.host else ""
    task = ResizeVolume(desired.pool, desired.name, capacity, uuid, maker, desired.vm or "")
    return step(desired, Action.UPDATE, task, observed, "", changes=(change,), after=_after(desired))


def _refuse_growing_beneath(desired: DesiredVolume, key: str) -> Verdict:
    return blocked(
        desired,
        "plan.disk-has-snapshots",
        f"{key} of {desired.vm} cannot grow while there are snapshots of it",
        "The guest writes to a file on top of the volume, and the snapshots have the size that it had.",
        f"delete them first: `kvmdecl snapshot list` names them, `kvmdecl snapshot delete PATH {desired.vm} NAME`.",
        key=f"{key}.size",
        usable=True,
    )


def _key(desired: DesiredVolume) -> str:
    """The manifest's key of the disk: `disk` for the root disk, `disks.data` for another one."""
    disk = desired.name.removeprefix(f"{desired.vm}.").rpartition(".")[0]
    return "disk" if disk == "root" else f"disks.{disk}"
