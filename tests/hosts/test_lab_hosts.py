"""Real libvirtd daemons are read, and their faults are noticed in time."""

from __future__ import annotations

import re
import threading
import time
from typing import TYPE_CHECKING, Any

import libvirt
import pytest

from kvmdecl.diagnostics import TaskFailed
from kvmdecl.hosts import fleet as fleets
from kvmdecl.hosts.errors import diagnose
from kvmdecl.hosts.fleet import ReadingFleet, WritingFleet
from kvmdecl.hosts.messages import Call
from kvmdecl.hosts.protocol import Scope, TaskRequest
from kvmdecl.hosts.read import read_domain, read_host, read_network, read_pool
from kvmdecl.hosts.worker import connect, start_event_loop
from kvmdecl.state import Address, HostSnapshot, Kind, Unreachable
from kvmdecl.tasks import DeletePool
from kvmdecl.uri import HostUri, parse_manifest_uri

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kvmdecl.lab import Lab, LabHost

DOMAIN = """<domain type='qemu'><name>{name}</name><memory unit='MiB'>16</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='pc'>hvm</type></os></domain>"""
NETWORK = "<network><name>lan</name><bridge name='lan0'/></network>"


def uris(lab: Lab) -> dict[str, HostUri]:
    return {name: parse_manifest_uri(host.uri()) for name, host in lab.hosts.items()}


def fill(host: LabHost, folder: str = "pool") -> libvirt.virConnect:
    """Two domains of which one runs, a network, and a pool with a volume and one on top of it."""
    connection = libvirt.open(host.uri())
    connection.defineXML(DOMAIN.format(name="still")).setAutostart(1)
    connection.defineXML(DOMAIN.format(name="running")).create()
    connection.networkDefineXML(NETWORK)
    path = host.folder / "srv" / folder
    path.mkdir()
    pool = connection.storagePoolDefineXML(
        f"<pool type='dir'><name>vms</name><target><path>/srv/{folder}</path></target></pool>"
    )
    pool.create()
    pool.setAutostart(1)
    pool.createXML(
        "<volume><name>base</name><capacity>1048576</capacity>"
        "<target><format type='qcow2'/></target></volume>"
    )
    pool.createXML(
        f"""<volume><name>top</name><capacity>2097152</capacity><target><format type='qcow2'/></target>
        <backingStore><path>/srv/{folder}/base</path><format type='qcow2'/></backingStore></volume>"""
    )
    return connection


def test_everything_on_a_host_is_read(clean_lab: Lab):
    host = next(iter(clean_lab.hosts))
    connection = fill(clean_lab.hosts[host])
    with ReadingFleet(uris(clean_lab)) as fleet:
        seen = fleet.observe(Scope(pools=frozenset({"vms"}), devices=True))
    snapshot = seen[host]
    assert isinstance(snapshot, HostSnapshot)
    running, still = snapshot.state.domains
    assert (running.name, running.active, running.persistent, running.autostart) == (
        "running",
        True,
        True,
        False,
    )
    assert running.live_xml is not None
    assert "<domain type='qemu' id=" in running.live_xml
    assert "<domain type='qemu'>" in running.xml
    assert (still.name, still.active, still.live_xml, still.autostart) == ("still", False, None, True)
    assert [(network.name, network.active) for network in snapshot.state.networks] == [("lan", False)]
    (pool,) = snapshot.state.pools
    assert (pool.name, pool.active, pool.autostart) == ("vms", True, True)
    assert pool.capacity > pool.available > 0
    base, top = pool.volumes
    assert (base.name, base.format, base.capacity, base.backing) == ("base", "qcow2", 2**20, None)
    assert (top.name, top.path, top.backing) == ("top", "/srv/pool/top", "/srv/pool/base")
    assert snapshot.facts.uuid == parse_uuid(connection)
    assert snapshot.facts.libvirt == libvirt.getVersion()
    assert snapshot.facts.domain_support == ()
    assert snapshot.facts.guest_type("x86_64", "qemu") is not None
    interfaces = {
        dict(d.properties).get("interface") for d in snapshot.facts.devices if d.capability == "net"
    }
    assert "lo" in interfaces


def parse_uuid(connection: libvirt.virConnect) -> str:
    return str(connection.getCapabilities().partition("<uuid>")[2].partition("</uuid>")[0])


def test_reading_one_object_gives_the_same_as_reading_the_host(clean_lab: Lab):
    name = next(iter(clean_lab.hosts))
    connection = fill(clean_lab.hosts[name])
    state = read_host(connection, name, Scope(pools=frozenset({"vms"}))).state
    assert (
        tuple(read_domain(connection.lookupByName(domain.name)) for domain in state.domains) == state.domains
    )
    assert (read_network(connection.networkLookupByName("lan")),) == state.networks
    assert (read_pool(connection.storagePoolLookupByName("vms")),) == state.pools


def cut_start(lab: Lab, host: LabHost, guest: str) -> Path:
    """Leave what a libvirtd leaves that is killed before it noted the process of a guest that it starts."""
    note = host.folder / f"run/libvirt/qemu/{guest}.xml"
    noted = note.read_text()
    connection = libvirt.open(host.uri())
    connection.lookupByName(guest).destroy()
    connection.close()
    lab.kill(host.name)
    start = "<domstatus state='paused' reason='starting up' pid='0'>\n  <job type='none' async='start'/>"
    note.write_text(re.sub("<domstatus [^>]*>", start, noted))
    lab.start(host.name)
    return note


def test_a_guest_whose_libvirtd_was_killed_as_it_started_it_is_told_from_one_that_is_paused(
    clean_lab: Lab, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("kvmdecl.hosts.read._STARTING_SECONDS", 0.5)
    name, host = next(iter(clean_lab.hosts.items()))
    connection = fill(host)
    connection.defineXML(DOMAIN.format(name="paused")).create()
    connection.lookupByName("paused").suspend()
    connection.close()
    note = cut_start(clean_lab, host, "running")

    def read() -> dict[str, tuple[bool, bool]]:
        connection = libvirt.open(host.uri())
        return {d.name: (d.active, d.starting) for d in read_host(connection, name, Scope()).state.domains}

    assert read() == {"paused": (True, False), "running": (True, True), "still": (False, False)}

    clean_lab.restart(name)
    assert read()["running"] == (True, True), "that libvirtd is started again does not help"

    clean_lab.kill(name)
    note.unlink()
    clean_lab.start(name)
    assert read()["running"] == (False, False)


def test_volumes_are_read_in_the_pools_in_scope_only(clean_lab: Lab):
    name = next(iter(clean_lab.hosts))
    connection = fill(clean_lab.hosts[name])
    assert [pool.volumes for pool in read_host(connection, name, Scope()).state.pools] == [()]


def test_a_domain_that_vanishes_while_it_is_read_is_left_out(clean_lab: Lab):
    name, host = next(iter(clean_lab.hosts.items()))
    connection = libvirt.open(host.uri())
    for number in range(30):
        connection.defineXML(DOMAIN.format(name=f"d{number:02}"))
    vanishing = Vanishing(connection)
    seen = read_host(vanishing, name, Scope()).state.domains
    assert [domain.name for domain in seen] == [f"d{number:02}" for number in range(1, 30)]


class Vanishing:
    """A connection on which the first domain is undefined between the list and the reading."""

    def __init__(self, connection: libvirt.virConnect) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> object:
        return getattr(self._connection, name)

    def listAllDomains(self, flags: int) -> list[libvirt.virDomain]:  # noqa: N802 - libvirt's name
        listed = self._connection.listAllDomains(flags)
        if flags == 0:
            self._connection.lookupByName("d00").undefine()
        return list(listed)


def test_a_domain_that_ends_between_the_list_and_the_reading_is_read_as_off(clean_lab: Lab):
    name, host = next(iter(clean_lab.hosts.items()))
    connection = fill(host)

    seen = read_host(Ending(connection), name, Scope()).state.domains

    assert [(domain.name, domain.active, domain.live_xml) for domain in seen] == [
        ("running", False, None),
        ("still", False, None),
    ]


class Ending(Vanishing):
    """A connection on which the domain that runs is ended between all lists and the reading."""

    def listAllDomains(self, flags: int) -> list[Any]:  # noqa: N802 - libvirt's name
        return [Late(domain) for domain in self._connection.listAllDomains(flags)]


class Late:
    """A domain that ends as it is first read."""

    def __init__(self, domain: libvirt.virDomain) -> None:
        self._domain = domain

    def __getattr__(self, name: str) -> object:
        return getattr(self._domain, name)

    def XMLDesc(self, flags: int) -> str:  # noqa: N802 - libvirt's name
        if self._domain.isActive():
            self._domain.destroy()
        return str(self._domain.XMLDesc(flags))


def test_domain_capabilities_are_read_over_a_full_connection(lab: Lab):
    with ReadingFleet(dict([next(iter(uris(lab).items()))])) as fleet:
        (seen,) = fleet.observe(Scope(domain_support=True)).values()
    assert isinstance(seen, HostSnapshot)
    found = {
        (support.arch, support.type, support.machine.partition("-")[2][:3])
        for support in seen.facts.domain_support
    }
    assert ("x86_64", "qemu", "q35") in found


def test_a_connection_for_reading_cannot_write(lab_host: LabHost):
    start_event_loop_once()
    connection = connect(Call(1, "kvm-1", lab_host.uri(), Scope()), read_only=True)
    with pytest.raises(libvirt.libvirtError) as refused:
        connection.defineXML(DOMAIN.format(name="never"))
    assert refused.value.get_error_code() == libvirt.VIR_ERR_OPERATION_DENIED
    assert diagnose(refused.value, "kvm-1", "writing").code == "host.refused"


_started: list[bool] = []


def start_event_loop_once() -> None:
    if not _started:
        _started.append(True)
        start_event_loop()


def test_a_dead_libvirtd_is_unreachable_at_once_and_the_others_are_read(clean_lab: Lab):
    dead, *others = clean_lab.hosts
    clean_lab.kill(dead)
    began = time.monotonic()
    try:
        with ReadingFleet(uris(clean_lab)) as fleet:
            seen = fleet.observe(Scope())
    finally:
        clean_lab.start(dead)
    assert time.monotonic() - began < 10
    assert isinstance(seen[dead], Unreachable)
    assert seen[dead].diagnostic.code == "host.unreachable"
    assert all(isinstance(seen[other], HostSnapshot) for other in others)


def test_a_libvirtd_frozen_before_is_unreachable_within_15_s(clean_lab: Lab):
    assert_frozen_is_noticed(clean_lab, clean_lab.freeze)


def test_a_libvirtd_that_freezes_while_it_is_read_is_unreachable_within_15_s(clean_lab: Lab):
    """It freezes once its reading has begun, and has 300 domains to tell about."""
    frozen = next(iter(clean_lab.hosts))
    connection = libvirt.open(clean_lab.hosts[frozen].uri())
    for number in range(300):
        connection.defineXML(DOMAIN.format(name=f"d{number}"))

    def freeze_soon(host: str) -> None:
        threading.Timer(0.45, clean_lab.freeze, [host]).start()

    assert_frozen_is_noticed(clean_lab, freeze_soon)


def assert_frozen_is_noticed(lab: Lab, freeze: Callable[[str], None]) -> None:
    frozen, *others = lab.hosts
    freeze(frozen)
    began = time.monotonic()
    try:
        with ReadingFleet(uris(lab)) as fleet:
            seen = fleet.observe(Scope())
            while isinstance(seen[frozen], HostSnapshot) and time.monotonic() - began < 15:
                seen = fleet.observe(Scope())  # it was faster than the frost: read until it comes
    finally:
        lab.thaw(frozen)
    assert time.monotonic() - began < 15
    assert isinstance(seen[frozen], Unreachable)
    assert seen[frozen].diagnostic.code == "host.timeout"
    assert all(isinstance(seen[other], HostSnapshot) for other in others)


def test_a_host_that_is_busy_ending_a_guest_is_read_after_it(clean_lab: Lab, monkeypatch: pytest.MonkeyPatch):
    """libvirt hears nothing of a reader meanwhile: it answers five calls of a client at once, and they all wait.

    The first reader is given up after 2 s, and the second has as long: the guest ends in the middle of that.
    """
    monkeypatch.setattr(fleets, "SILENCE", 2.0)
    name, host = next(iter(clean_lab.hosts.items()))
    connection = libvirt.open(host.uri())
    guest = connection.defineXML(DOMAIN.format(name="stuck"))
    guest.create()
    pid = (host.folder / "run/libvirt/qemu/stuck.pid").read_text()
    clean_lab.run(["kill", "-STOP", pid], host=name)  # so that it does not end when it is told to
    ending = threading.Thread(target=guest.destroy)
    ending.start()
    threading.Timer(3.2, clean_lab.run, [["kill", "-CONT", pid]], {"host": name}).start()
    began = time.monotonic()

    with ReadingFleet(uris(clean_lab)) as fleet:
        seen = fleet.observe(Scope())
    ending.join()

    assert isinstance(seen[name], HostSnapshot)
    assert time.monotonic() - began > 3, "it was not busy at all"


def test_a_frozen_host_fails_a_task_in_time(clean_lab: Lab, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fleets, "OPEN_TIMEOUT", 3.0)
    frozen = next(iter(clean_lab.hosts))
    clean_lab.freeze(frozen)
    try:
        with WritingFleet(uris(clean_lab)) as fleet:
            request = TaskRequest(Address(frozen, Kind.POOL, "vms"), DeletePool("vms", ""), "", "demo", "1")
            failed = fleet.submit(request, lambda _: None).exception(15)
    finally:
        clean_lab.thaw(frozen)
    assert isinstance(failed, TaskFailed)
    assert failed.diagnostic.code == "host.timeout"
