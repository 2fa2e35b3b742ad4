"""Read a host through an open connection, read-only or not. Runs in a worker process.

libvirt-python lets go of the interpreter during a call, and libvirt sends many calls of one connection at
once: threads here cost one round trip where a loop would cost one for each object.
"""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar

import libvirt

from kvmdecl.hosts import runlock
from kvmdecl.hosts.errors import is_denied, is_gone, is_unsupported
from kvmdecl.hosts.ledger import USAGE_PREFIX, read_ledgers
from kvmdecl.libvirt_xml.capabilities import (
    parse_capabilities,
    parse_domain_capabilities,
    parse_interface,
    parse_node_device,
    parse_pool_types,
)
from kvmdecl.libvirt_xml.observed import checked, parse_snapshot, parse_volume
from kvmdecl.libvirt_xml.secret import parse_secret
from kvmdecl.settings import HUGE_PAGES, KSM, KSM_COUNTERS, KSM_NUMBERS, huge_pages, split_page_name
from kvmdecl.state import (
    DomainLoad,
    HostSnapshot,
    HostState,
    Kind,
    ObservedDomain,
    ObservedFilter,
    ObservedNetwork,
    ObservedPool,
    ObservedSecret,
    ObservedSettings,
    ObservedVolume,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Future

    from kvmdecl.facts import Cell, DomainSupport, GuestType, HostFacts, HostInterface
    from kvmdecl.hosts.protocol import Scope
    from kvmdecl.libvirt_xml.capabilities import Capabilities
    from kvmdecl.state import Ledger

_CALLS_AT_ONCE = 16
_STARTING_SECONDS = 10.0
_RUNS = re.compile(r"\s*<domain\b[^>]*\sid=")

T = TypeVar("T")
R = TypeVar("R")


def read_host(connection: libvirt.virConnect, host: str, scope: Scope) -> HostSnapshot:
    """Read everything in scope. What vanishes while it is read is left out: it is gone.

    Raises:
        libvirt.libvirtError: the host did not answer, or refused.
        BadXml: an answer makes no sense.
        Rejected: a ledger is broken.
    """
    calls = ThreadPoolExecutor(_CALLS_AT_ONCE, thread_name_prefix=host)
    try:
        return _read(connection, host, scope, _Calls(calls))
    finally:
        calls.shutdown(wait=False, cancel_futures=True)  # a call on a broken connection may never return


def read_domain(domain: libvirt.virDomain) -> ObservedDomain:
    """Read one domain (virDomainGetXMLDesc and its flags). Raises libvirt.libvirtError."""
    return _domain(
        domain,
        active=bool(domain.isActive()),
        persistent=bool(domain.isPersistent()),
        autostart=bool(domain.autostart()),
        managed_save=bool(domain.hasManagedSaveImage()),
    )


def read_network(network: libvirt.virNetwork) -> ObservedNetwork:
    """Read one network (virNetworkGetXMLDesc and its flags). Raises libvirt.libvirtError."""
    return _network(network, active=bool(network.isActive()), autostart=bool(network.autostart()))


def read_pool(pool: libvirt.virStoragePool, *, volumes: bool = True) -> ObservedPool:
    """Read one pool (virStoragePoolGetXMLDesc, virStoragePoolGetInfo), with its volumes if it is active.

    Raises:
        libvirt.libvirtError: the host did not answer, or refused.
        BadXml: an answer makes no sense.
    """
    found = _pool(pool, active=bool(pool.isActive()), autostart=bool(pool.autostart()))
    listed = pool.listAllVolumes(0) if found.active and volumes else []
    read = (_unless_gone(read_volume, volume) for volume in listed)
    return replace(found, volumes=tuple(sorted(filter(None, read), key=lambda volume: volume.name)))


def read_filter(found: libvirt.virNWFilter) -> ObservedFilter:
    """Read one network filter (virNWFilterGetXMLDesc). Raises as `read_pool`."""
    return ObservedFilter(found.name(), found.UUIDString(), checked(found.XMLDesc(0)))


def read_volume(volume: libvirt.virStorageVol) -> ObservedVolume:
    """Read one volume (virStorageVolGetXMLDesc). Raises as `read_pool`."""
    return parse_volume(volume.XMLDesc(0), volume.storagePoolLookupByVolume().name())


def read_secret(secret: libvirt.virSecret) -> ObservedSecret:
    """Read one secret without its value (virSecretGetXMLDesc). Raises as `read_pool`."""
    return parse_secret(secret.XMLDesc())


def read_huge_pages(connection: libvirt.virConnect, cells: Sequence[Cell]) -> ObservedSettings:
    """Complete what the capabilities tell of huge pages by those in use (virNodeGetFreePages).

    Raises:
        libvirt.libvirtError: the host did not answer, or refused.
    """
    used: dict[str, int] = {}
    for cell in cells:
        values = huge_pages([cell])
        sizes = {split_page_name(name)[0] // 1024: name for name in values}
        told = connection.getFreePages(list(sizes), cell.id, 1, 0) if sizes else {}
        for kib, free in told.get(cell.id, {}).items():
            used[sizes[kib]] = max(0, values[sizes[kib]] - int(free))
    return ObservedSettings(HUGE_PAGES, tuple(sorted(huge_pages(cells).items())), tuple(sorted(used.items())))


def read_ksm(connection: libvirt.virConnect) -> ObservedSettings | None:
    """Read KSM's numbers (virNodeGetMemoryParameters); None where libvirt knows of none.

    Raises:
        libvirt.libvirtError: the host did not answer, or refused.
    """
    try:
        found = connection.getMemoryParameters(0)
    except libvirt.libvirtError as error:
        if is_unsupported(error):
            return None
        raise
    numbers = {str(name).removeprefix("shm_"): int(number) for name, number in found.items()}
    values, counters = (
        tuple((name, numbers[name]) for name in names if name in numbers)
        for names in (KSM_NUMBERS, KSM_COUNTERS)
    )
    return ObservedSettings(KSM, values, counters)


def read_loads(connection: libvirt.virConnect) -> tuple[DomainLoad, ...]:
    """What running domains used and waited for (virConnectGetAllDomainStats); none where libvirt cannot say.

    Raises:
        libvirt.libvirtError: the host did not answer, or refused.
    """
    of_cpus = libvirt.VIR_DOMAIN_STATS_VCPU | libvirt.VIR_DOMAIN_STATS_CPU_TOTAL
    wanted = of_cpus | libvirt.VIR_DOMAIN_STATS_BALLOON
    try:
        told = connection.getAllDomainStats(wanted, libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE)
    except libvirt.libvirtError as error:
        if is_unsupported(error):
            return ()
        raise
    return tuple(sorted((_load(domain.name(), stats) for domain, stats in told), key=lambda load: load.name))


def _load(name: str, stats: Mapping[str, int]) -> DomainLoad:
    vcpus = int(stats.get("vcpu.current", 0))
    times, delays, waits = (
        sum(int(stats.get(f"vcpu.{number}.{what}", 0)) for number in range(vcpus))
        for what in ("time", "delay", "wait")
    )
    balloon, most = (int(stats.get(f"balloon.{what}", 0)) * 1024 for what in ("current", "maximum"))
    polled = int(stats.get("cpu.haltpoll.fail.time", 0))
    return DomainLoad(name, vcpus, times, delays, balloon, most, waits, polled)


class _Calls:
    """Calls over one connection, many at once."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        self.ask = pool.submit

    def each(self, function: Callable[[T], R | None], things: Iterable[T]) -> tuple[R, ...]:
        """Apply a function to all things at once; those that are gone by now, or tell nothing, are left out."""
        answers = self._pool.map(lambda thing: _unless_gone(function, thing), things)
        return tuple(answer for answer in answers if answer is not None)


class _Listing:
    """All objects of a kind with their flags, from one filtered list for each flag.

    Asking every object for its flags would take a call for each flag of each object.
    """

    def __init__(self, calls: _Calls, function: Callable[[int], list[Any]], **flags: int) -> None:
        self._all = calls.ask(function, 0)
        self._flagged = {name: calls.ask(function, flag) for name, flag in flags.items()}

    def result(self) -> list[tuple[Any, dict[str, bool]]]:
        """Each object with its flags by name, sorted by the object's name."""
        flagged = {name: {o.UUIDString() for o in _or_none(asked)} for name, asked in self._flagged.items()}
        objects = sorted(_or_none(self._all), key=lambda o: str(o.name()))
        return [(o, {name: o.UUIDString() in uuids for name, uuids in flagged.items()}) for o in objects]


def _read(connection: libvirt.virConnect, host: str, scope: Scope, calls: _Calls) -> HostSnapshot:
    """Ask for all lists at once, and for all objects as soon as their list is there."""
    domains, networks, pools = (
        _list_domains(connection, calls),
        _list_networks(connection, calls),
        _list_pools(connection, calls),
    )
    ledgers = calls.ask(_ledgers, connection)
    filters = calls.ask(connection.listAllNWFilters, 0) if scope.filters else None
    secrets = calls.ask(connection.listAllSecrets) if scope.secrets else None
    facts = _facts(connection, scope, calls)
    noted = ledgers.result()
    settings: tuple[ObservedSettings, ...] = ()
    if scope.settings or any(entry.kind is Kind.HOST for ledger in noted for entry in ledger.entries):
        pages, ksm = calls.ask(read_huge_pages, connection, facts.cells), calls.ask(read_ksm, connection)
        settings = tuple(filter(None, (pages.result(), ksm.result())))
    loads = calls.ask(read_loads, connection) if scope.loads else None
    state = HostState(
        domains=calls.each(lambda found: _domain_in(scope, found[0], found[1]), domains.result()),
        networks=calls.each(lambda found: _network(found[0], **found[1]), networks.result()),
        pools=_pools(pools.result(), scope, calls),
        secrets=calls.each(read_secret, _without_notes(_or_none(secrets))),
        ledgers=noted,
        filters=tuple(sorted(calls.each(read_filter, _or_none(filters)), key=lambda found: found.name)),
        settings=settings,
        loads=loads.result() if loads is not None else (),
    )
    return HostSnapshot(host, facts, state)


def _list_domains(connection: libvirt.virConnect, calls: _Calls) -> _Listing:
    return _Listing(
        calls,
        connection.listAllDomains,
        active=libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE,
        persistent=libvirt.VIR_CONNECT_LIST_DOMAINS_PERSISTENT,
        autostart=libvirt.VIR_CONNECT_LIST_DOMAINS_AUTOSTART,
        managed_save=libvirt.VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE,
        paused=libvirt.VIR_CONNECT_LIST_DOMAINS_PAUSED,
    )


def _list_networks(connection: libvirt.virConnect, calls: _Calls) -> _Listing:
    return _Listing(
        calls,
        connection.listAllNetworks,
        active=libvirt.VIR_CONNECT_LIST_NETWORKS_ACTIVE,
        autostart=libvirt.VIR_CONNECT_LIST_NETWORKS_AUTOSTART,
    )


def _list_pools(connection: libvirt.virConnect, calls: _Calls) -> _Listing:
    return _Listing(
        calls,
        connection.listAllStoragePools,
        active=libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE,
        autostart=libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_AUTOSTART,
    )


def _facts(connection: libvirt.virConnect, scope: Scope, calls: _Calls) -> HostFacts:
    devices = calls.ask(connection.listAllDevices, 0) if scope.devices else None
    asked_interfaces = scope.interfaces or scope.devices
    interfaces = calls.ask(connection.listAllInterfaces, 0) if asked_interfaces else None
    pool_types = calls.ask(_pool_types, connection) if scope.pool_types else None
    qemu, library = calls.ask(connection.getVersion), calls.ask(connection.getLibVersion)
    capabilities = parse_capabilities(connection.getCapabilities())
    listed = _or_none(interfaces)
    asked = _emulators(capabilities, scope.guests) if scope.domain_support else ()
    return capabilities.facts(
        libvirt=library.result(),
        qemu=qemu.result(),
        devices=calls.each(lambda device: parse_node_device(device.XMLDesc(0)), _or_none(devices)),
        interfaces=[interface.name() for interface in listed],
        connections=chain.from_iterable(calls.each(_connections, listed)) if scope.devices else (),
        pool_types=pool_types.result() if pool_types else None,
        domain_support=calls.each(lambda emulator: _domain_support(connection, *emulator), asked),
    )


def _connections(interface: libvirt.virInterface) -> tuple[HostInterface, ...] | None:
    """An interface and what it is made of; None where libvirt cannot say, as of some that others made by hand."""
    try:
        return parse_interface(interface.XMLDesc(0))
    except libvirt.libvirtError as error:
        if error.get_error_code() in {libvirt.VIR_ERR_NO_INTERFACE, libvirt.VIR_ERR_INTERNAL_ERROR}:
            return None
        raise


def _pool_types(connection: libvirt.virConnect) -> tuple[str, ...] | None:
    """None where libvirt cannot say (before 5.2, or another driver)."""
    try:
        return parse_pool_types(connection.getStoragePoolCapabilities())
    except libvirt.libvirtError as error:
        if is_unsupported(error):
            return None
        raise


def _emulators(
    capabilities: Capabilities, wanted: frozenset[tuple[str, str, str]]
) -> Iterator[tuple[GuestType, str]]:
    """The machine types to ask for: those that are wanted, or what the aliases (`pc`, `q35`, `virt`) stand for now."""
    for guest in capabilities.guests:
        if wanted:
            names = {name for arch, type_, name in wanted if (arch, type_) == (guest.arch, guest.type)}
            there = {machine.canonical for machine in guest.machines if machine.name in names}
            yield from ((guest, machine) for machine in sorted(there))
            continue
        current = {machine.canonical for machine in guest.machines if machine.canonical != machine.name}
        for machine in sorted(current or {machine.name for machine in guest.machines}):
            yield guest, machine


def _domain_support(connection: libvirt.virConnect, guest: GuestType, machine: str) -> DomainSupport | None:
    """None where libvirt's driver has no such question, or answers it to those alone who may change things."""
    try:
        told = connection.getDomainCapabilities(guest.emulator or None, guest.arch, machine, guest.type, 0)
    except libvirt.libvirtError as error:
        if is_unsupported(error) or is_denied(error):
            return None
        raise
    return parse_domain_capabilities(told)


def _pools(found: list[tuple[Any, dict[str, bool]]], scope: Scope, calls: _Calls) -> tuple[ObservedPool, ...]:
    by_name = {pool.name(): pool for pool, _ in found}
    pools = calls.each(lambda pair: _pool(pair[0], **pair[1]), found)
    return tuple(
        replace(pool, volumes=_volumes(by_name[pool.name], calls))
        if pool.active and pool.name in scope.pools
        else pool
        for pool in pools
    )


def _volumes(pool: libvirt.virStoragePool, calls: _Calls) -> tuple[ObservedVolume, ...]:
    listed = _unless_gone(lambda of: of.listAllVolumes(0), pool) or []
    volumes = calls.each(lambda volume: parse_volume(volume.XMLDesc(0), pool.name()), listed)
    return tuple(sorted(volumes, key=lambda volume: volume.name))


def is_halted(domain: libvirt.virDomain) -> bool:
    """Whether a migration halted it (virDomainGetState)."""
    return tuple(domain.state()) == (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_MIGRATION)


def _keeps_starting(domain: libvirt.virDomain) -> bool:
    """Whether it is being started, and still is after a while (virDomainGetState).

    It is for ever where libvirtd was killed between two notes that it makes of a guest that it starts: the first has no
    process yet, and of a guest without one the next libvirtd (9.0: qemuProcessReconnectHelper) ends no job.
    """
    deadline = time.monotonic() + _STARTING_SECONDS
    while tuple(domain.state()) == (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_STARTING_UP):
        if time.monotonic() > deadline:
            return True
        time.sleep(0.1)
    return False


def _domain(
    domain: libvirt.virDomain,
    *,
    active: bool,
    persistent: bool,
    autostart: bool,
    managed_save: bool,
    paused: bool = False,
) -> ObservedDomain:
    """One that has ended since it was listed is read as off; only what runs has an id (virDomainGetXMLDesc)."""
    live = checked(domain.XMLDesc(0)) if active else None
    if live is not None and not _RUNS.match(live):
        active, live = False, None
    kept = checked(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
    return ObservedDomain(
        name=domain.name(),
        uuid=domain.UUIDString(),
        xml=kept,
        live_xml=live,
        active=active,
        persistent=persistent,
        autostart=autostart,
        managed_save=managed_save,
        halted=paused and is_halted(domain),
        starting=paused and _keeps_starting(domain),
    )


def _domain_in(scope: Scope, domain: libvirt.virDomain, flags: dict[str, bool]) -> ObservedDomain:
    found = _domain(domain, **flags)
    if not scope.snapshots:
        return found
    snapshots = (parse_snapshot(snapshot.getXMLDesc()) for snapshot in domain.listAllSnapshots())
    return replace(found, snapshots=tuple(sorted(snapshots, key=lambda s: (s.created, s.name))))


def _network(network: libvirt.virNetwork, *, active: bool, autostart: bool) -> ObservedNetwork:
    return ObservedNetwork(
        name=network.name(),
        uuid=network.UUIDString(),
        xml=_definition(network, libvirt.VIR_NETWORK_XML_INACTIVE),
        active=active,
        autostart=autostart,
        live_xml=checked(network.XMLDesc(0)) if active else None,
    )


def _pool(pool: libvirt.virStoragePool, *, active: bool, autostart: bool) -> ObservedPool:
    _, capacity, _, available = pool.info()
    return ObservedPool(
        name=pool.name(),
        uuid=pool.UUIDString(),
        xml=_definition(pool, libvirt.VIR_STORAGE_XML_INACTIVE),
        active=active,
        autostart=autostart,
        capacity=int(capacity) if active else 0,
        available=int(available) if active else 0,
        volumes=(),
    )


def _definition(thing: Any, inactive: int) -> str:  # noqa: ANN401 - libvirt-python has no types
    """The persistent definition. libvirt's test driver has but one, and refuses the flag."""
    try:
        return checked(thing.XMLDesc(inactive))
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_INVALID_ARG:
            return checked(thing.XMLDesc(0))
        raise


def _without_notes(secrets: list[libvirt.virSecret]) -> list[libvirt.virSecret]:
    ours = (s for s in secrets if not s.usageID().startswith((USAGE_PREFIX, runlock.USAGE_PREFIX)))
    return sorted(ours, key=lambda secret: str(secret.UUIDString()))


def _ledgers(connection: libvirt.virConnect) -> tuple[Ledger, ...]:
    """A host without the driver for secrets, where ledgers are kept, has none."""
    try:
        return read_ledgers(connection)
    except libvirt.libvirtError as error:
        if is_unsupported(error):
            return ()
        raise


def _or_none(asked: Future[list[T]] | None) -> list[T]:
    """A list that was asked for; empty where the host's driver has no such objects."""
    try:
        return asked.result() if asked is not None else []
    except libvirt.libvirtError as error:
        if is_unsupported(error):
            return []
        raise


def _unless_gone(function: Callable[[T], R], thing: T) -> R | None:
    try:
        return function(thing)
    except libvirt.libvirtError as error:
        if is_gone(error):
            return None
        raise
