"""How hosts would be if they held exactly what is declared: so that two revisions are compared without any host."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kvmdecl import __version__
from kvmdecl.facts import Cell, GuestType, HostCpu, HostFacts, Machine, PagePool
from kvmdecl.libvirt_xml.definition import Written, note
from kvmdecl.libvirt_xml.marker import Marker, with_marker
from kvmdecl.libvirt_xml.nwfilter import digest
from kvmdecl.libvirt_xml.safe import parse_xml
from kvmdecl.libvirt_xml.trace import pool_note
from kvmdecl.names import GIB, KIB, MIB, TIB, derive_uuid
from kvmdecl.settings import HUGE_PAGES, KSM, huge_pages, note_of
from kvmdecl.state import (
    DesiredDefinition,
    DesiredDomain,
    DesiredFilter,
    DesiredNetwork,
    DesiredPool,
    DesiredSecret,
    DesiredSettings,
    DesiredState,
    DesiredVolume,
    FileContent,
    HostSnapshot,
    HostState,
    Kind,
    Ledger,
    LedgerEntry,
    Member,
    ObservedDomain,
    ObservedFilter,
    ObservedNetwork,
    ObservedPool,
    ObservedSecret,
    ObservedSettings,
    ObservedVolume,
    begins_as,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from kvmdecl.state import Address, Desired

_ROOM = 1024 * TIB  # more than any pool of a manifest is told to have


def as_applied(desired: DesiredState, seen: Mapping[str, HostSnapshot]) -> dict[str, HostSnapshot]:
    """The hosts with what is declared and nothing else, as `apply` leaves them; to plan the same again changes nothing.

    Args:
        desired: what every host should hold.
        seen: what each host is; of what exists on it only numbers of the host itself are kept, such as its huge pages.
    """
    members = tuple(sorted(Member(name, host.facts.uuid) for name, host in seen.items()))
    shared = [each for each in desired.resources if isinstance(each, DesiredVolume) and each.shared]
    files = [each for each in desired.resources if isinstance(each, DesiredDefinition)]
    by_guest = {each.uuid: each.address for each in reversed(files)}
    first = frozenset(by_guest.values())  # a guest that may run on several hosts is taken to run there
    return {
        name: replace(host, state=_state(desired, host, shared, members, first))
        for name, host in seen.items()
    }


def _state(
    desired: DesiredState,
    host: HostSnapshot,
    shared: Sequence[DesiredVolume],
    members: tuple[Member, ...],
    first: Collection[Address],
) -> HostState:
    own = [each for each in desired.resources if each.address.host == host.host]
    pools = [each for each in own if isinstance(each, DesiredPool)]
    names = {pool.address.name for pool in pools}
    volumes = [each for each in own if isinstance(each, DesiredVolume) and not each.shared]
    volumes += {each.address.name: each for each in shared if each.pool in names}.values()
    files = [each for each in own if isinstance(each, DesiredDefinition)]
    entries = (
        *_entries(own, host.facts.libvirt),
        *(_volume_entry(each) for each in volumes if not each.shared or each.address.host == host.host),
        *map(_file_entry, files),
    )
    settings = [each for each in own if isinstance(each, DesiredSettings)]
    return HostState(
        domains=(
            *(_domain(each, desired) for each in own if isinstance(each, DesiredDomain)),
            *(_managed(each) for each in files if each.address in first),
        ),
        networks=tuple(_network(each, desired) for each in own if isinstance(each, DesiredNetwork)),
        pools=tuple(_pool(each, volumes, files) for each in pools),
        secrets=tuple(
            ObservedSecret(each.uuid, each.usage, each.usage_id, each.ephemeral)
            for each in own
            if isinstance(each, DesiredSecret)
        ),
        ledgers=(Ledger(desired.cluster, tuple(sorted(entries, key=lambda e: (e.kind, e.name))), members),),
        filters=tuple(
            ObservedFilter(each.address.name, each.uuid, each.xml)
            for each in own
            if isinstance(each, DesiredFilter)
        ),
        settings=tuple(_set(each, settings) for each in host.state.settings),
    )


def _domain(declared: DesiredDomain, desired: DesiredState) -> ObservedDomain:
    name = declared.address.name
    marker = Marker(desired.cluster, declared.uuid, name, desired.revision, __version__, declared.xml)
    xml = with_marker(declared.xml, marker)
    runs = declared.running is not False
    return ObservedDomain(
        name, declared.uuid, xml, xml if runs else None, runs, True, declared.autostart, managed_save=False
    )  # fmt: skip


def _managed(file: DesiredDefinition) -> ObservedDomain:
    """A guest that a cluster manager runs, on any of its hosts."""
    return ObservedDomain(
        file.vm, file.uuid, file.xml, file.xml, True, persistent=False, autostart=False, managed_save=False
    )  # fmt: skip


def _network(declared: DesiredNetwork, desired: DesiredState) -> ObservedNetwork:
    name = declared.address.name
    marker = Marker(desired.cluster, declared.uuid, name, desired.revision, __version__, declared.xml)
    xml = with_marker(declared.xml, marker)
    return ObservedNetwork(name, declared.uuid, xml, True, declared.autostart, xml)


def _pool(
    declared: DesiredPool, volumes: Iterable[DesiredVolume], files: Iterable[DesiredDefinition]
) -> ObservedPool:
    path = parse_xml(declared.xml).findtext("target/path") or ""
    name = declared.address.name
    held = (
        *(_volume(each, path) for each in volumes if each.pool == name),
        *(
            ObservedVolume(name, each.name, f"{path}/{each.name}", "raw", 0, 0, None)
            for each in files
            if each.pool == name
        ),
    )
    return ObservedPool(name, declared.uuid, declared.xml, True, declared.autostart, _ROOM, _ROOM, held)


def _volume(declared: DesiredVolume, path: str) -> ObservedVolume:
    size = declared.content.size if isinstance(declared.content, FileContent) else 0
    return ObservedVolume(
        pool=declared.pool,
        name=declared.name,
        path=f"{path}/{declared.name}",
        format=declared.format,
        capacity=declared.capacity or size or 0,
        allocation=0,
        backing=f"{path}/{declared.backing}" if declared.backing else None,
        encrypted=declared.encryption is not None,
    )


def _volume_entry(declared: DesiredVolume) -> LedgerEntry:
    began = begins_as(declared.backing, declared.clone)
    applied = declared.content.sha256 if isinstance(declared.content, FileContent) else began
    return LedgerEntry(Kind.VOLUME, declared.address.name, declared.vm or "", applied, complete=True)


def _file_entry(file: DesiredDefinition) -> LedgerEntry:
    applied = note(Written("", file.xml))
    return LedgerEntry(Kind.VOLUME, file.address.name, file.vm, applied, complete=True)


def _entries(own: Iterable[Desired], libvirt: int) -> Iterable[LedgerEntry]:
    for each in own:
        match each:
            case DesiredPool():
                applied = pool_note(each.xml, libvirt)
            case DesiredFilter():
                applied = digest(each.xml)
            case DesiredSecret():
                applied = each.version
            case DesiredSettings():
                applied = note_of(dict(each.values))
            case _:
                continue
        yield LedgerEntry(each.address.kind, each.address.name, "", applied, complete=True)


def _set(seen: ObservedSettings, declared: Iterable[DesiredSettings]) -> ObservedSettings:
    values = dict(seen.values)
    for each in declared:
        if each.address.name == seen.name:
            values |= dict(each.values)
    return replace(seen, values=tuple(sorted(values.items())))


def roomy_host(name: str) -> HostSnapshot:
    """A stand-in for a host of which nothing is known: one on which every guest fits, with 64 cells of 64 CPUs."""
    machines = (Machine("pc", "pc", 255), Machine("q35", "q35", 4096))
    facts = HostFacts(
        uuid=derive_uuid("roomy", "host", name),
        arch="x86_64",
        cpu_model="",
        cpu_features=(),
        memory=64 * TIB,
        cells=tuple(_roomy_cell(number) for number in range(64)),
        iommu=True,
        guests=tuple(
            GuestType("x86_64", kind, "/usr/bin/qemu-system-x86_64", machines) for kind in ("kvm", "qemu")
        ),
        domain_support=(),
        devices=(),
        libvirt=11_003_000,
        qemu=9_002_000,
    )
    pages = ObservedSettings(HUGE_PAGES, tuple(sorted(huge_pages(facts.cells).items())))
    return HostSnapshot(name, facts, HostState(settings=(pages, ObservedSettings(KSM, ()))))


def _roomy_cell(number: int) -> Cell:
    pages = (PagePool(4 * KIB, 128 * 1024 * MIB // KIB), PagePool(2 * MIB, 128 * 1024), PagePool(GIB, 512))
    return plain_cell(number, 64, 64, TIB, pages)


def plain_cell(number: int, cells: int, cpus: int, memory: int, pages: tuple[PagePool, ...]) -> Cell:
    """A cell of a machine that is made up: `cells` alike, each a socket with so many CPUs, two threads to a core.

    CPUs are numbered through, the threads of a core beside each other; every other cell is twice as far as its own.
    `memory` in bytes.
    """
    first = number * cpus
    threads = tuple(
        HostCpu(first + i, number, 0, i // 2, (first + i // 2 * 2, first + i // 2 * 2 + 1))
        for i in range(cpus)
    )
    distances = tuple((other, 10 if other == number else 20) for other in range(cells))
    return Cell(number, memory, threads, pages, distances)
