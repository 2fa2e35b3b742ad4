"""`python -m tests.simulation.differential [SEQUENCES] [SEED]`: the same random calls, to a real libvirtd and another.

The other one is simulated.
After each call both have to have answered alike, an error by its virErrorNumber, and to have the same objects.
"""

from __future__ import annotations

import random
import sys
import time
import uuid
from collections.abc import Callable, Container, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import libvirt
from lxml import etree

from kvmdecl.lab import Lab
from kvmdecl.source import gc_paused
from kvmdecl.testing import empty, temporary_lab
from tests.simulation.libvirtd import SimulatedHost

libvirt.registerErrorHandler(lambda _context, _error: None, None)

CALLS = 20
"""In a sequence."""
_NAMES = ("one", "two")
_DISKS = ("", "/srv/one/a", "/srv/two/b", "/srv/one/none")
_METADATA = ("<note at='{}'/>", "<k:note xmlns:k='urn:differential' at='{}'/>")
"""Of the second libvirt says that it cannot make its namespace."""
_GONE = {libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_OPERATION_INVALID}
_SETTLES = 3.0
"""Seconds that the real one has to get over what another left, or a restart: a difference lasts."""
_DEFINES = {"defineXMLFlags", "networkDefineXML", "storagePoolDefineXML", "secretDefineXML"}
Ask = Callable[["Side"], Any]


@dataclass
class Side:
    """One of the two, with the handles that it gave out: they may be of objects that are gone by now."""

    open: Callable[[], Any]
    restart: Callable[[], None]
    sequence: str
    handles: dict[tuple[str, str], Any] = field(default_factory=dict)
    connection: Any = None

    def __post_init__(self) -> None:
        self.connection = self.open()

    def answer(self, ask: Callable[[Side], Any]) -> object:
        """What comes of something: a plain value, or the number of an error."""
        try:
            found = ask(self)
        except libvirt.libvirtError as error:
            return f"error {error.get_error_code()}"
        return found if isinstance(found, int | str | bool) else None

    def look(self, uuids: Container[str]) -> list[tuple[Any, ...]]:
        """Its inventory; anew where something that was listed had ended by itself before it was asked."""
        until = time.monotonic() + _SETTLES
        while True:
            try:
                return inventory(self.connection, uuids)
            except libvirt.libvirtError as error:
                if error.get_error_code() not in _GONE or time.monotonic() > until:
                    raise

    def look_until(self, expected: list[tuple[Any, ...]], uuids: Container[str]) -> list[tuple[Any, ...]]:
        """Its inventory, which has a while to become what is expected."""
        until = time.monotonic() + _SETTLES
        while (found := self.look(uuids)) != expected and time.monotonic() < until:
            time.sleep(0.05)
        return found

    def begin_again(self) -> None:
        self.handles.clear()
        self.connection.close()
        self.restart()
        self.connection = self.open()


def domain_xml(name: str, key: str, memory: int, disk: str, network: str) -> str:
    """A guest without an operating system."""
    drive = f"<disk type='file'><driver name='qemu' type='qcow2'/><source file='{disk}'/><target dev='vda'/></disk>"
    nic = f"<interface type='network'><source network='{network}'/><model type='virtio'/></interface>"
    return (
        f"<domain type='qemu'><name>{name}</name><uuid>{key}</uuid><memory unit='MiB'>{memory}</memory><vcpu>1</vcpu>"
        "<os><type arch='x86_64' machine='pc'>hvm</type></os>"
        f"<devices>{drive if disk else ''}{nic if network else ''}</devices></domain>"
    )


def network_xml(name: str, key: str) -> str:
    """A network without a firewall's rules and a server of names: to make those takes longer than all else."""
    address = f"<dns enable='no'/><ip address='192.168.15{_NAMES.index(name)}.1' prefix='24'/>"
    return (
        f"<network><name>{name}</name><uuid>{key}</uuid><forward mode='open'/><bridge name='dif{name}'/>{address}"
        "</network>"
    )


def pool_xml(name: str, key: str) -> str:
    return f"<pool type='dir'><name>{name}</name><uuid>{key}</uuid><target><path>/srv/{name}</path></target></pool>"


def volume_xml(name: str, mib: int, backing: str) -> str:
    below = f"<backingStore><path>/srv/one/{backing}</path><format type='qcow2'/></backingStore>"
    return (
        f"<volume><name>{name}</name><capacity unit='MiB'>{mib}</capacity><target><format type='qcow2'/></target>"
        f"{below if backing else ''}</volume>"
    )


def secret_xml(key: str, use: str, ephemeral: str) -> str:
    return (
        f"<secret ephemeral='{ephemeral}' private='no'><uuid>{key}</uuid>"
        f"<usage type='ceph'><name>{use}</name></usage></secret>"
    )


# -- what is asked ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Asker:
    """Asks at random. UUIDs are a sequence's own: libvirt may bring back a secret of an earlier one (see `kept`)."""

    random: random.Random
    uuids: tuple[str, ...]

    def begin(self) -> list[tuple[str, Ask]]:
        """What most sequences start from: otherwise most answers would be that there is no such thing."""
        if self.random.random() < 0.3:
            return []
        one = self.uuids[0]
        return [
            _define("storagePoolDefineXML", pool_xml("one", one)), _method("pool", "one", False, "build", 0),
            _method("pool", "one", False, "create", 0),
            _method("pool", "one", False, "createXML", volume_xml("a", 1, ""), 0),
            _define("networkDefineXML", network_xml("one", one)), _method("network", "one", False, "create"),
            _define("secretDefineXML", secret_xml(one, f"one {one}", "yes"), 0),
            _define("defineXMLFlags", domain_xml("one", one, 16, "/srv/one/a", "one"), 0),
        ]  # fmt: skip

    def ask(self) -> tuple[str, Ask]:
        """Something at random, in words and as a function."""
        kind = self.random.choice(
            ("domain", "domain", "domain", "domain", "network", "pool", "volume", "secret")
        )
        name = self.random.choice(_NAMES)
        usual = self.uuids[_NAMES.index(name)]
        key = self.random.choice(self.uuids) if self.random.random() < 0.25 else usual
        method, *args = self.random.choice(list(getattr(self, f"_{kind}")(name, key)))
        if kind == "volume":
            return _volume(name, self.random.choice("ab"), method, *args)
        if method in _DEFINES:
            return _define(method, *args)
        return _method(kind, name, self.random.random() < 0.3, method, *args)

    def _domain(self, name: str, key: str) -> Iterator[tuple[Any, ...]]:
        r = self.random
        xml = domain_xml(
            name, key, r.choice((16, 24)), r.choice(_DISKS), r.choice(("", "", "one", "two", "none"))
        )
        flags = libvirt.VIR_DOMAIN_AFFECT_CONFIG if r.random() < 0.7 else libvirt.VIR_DOMAIN_AFFECT_LIVE
        note = r.choice(_METADATA).format(r.randint(1, 9))
        yield from [("defineXMLFlags", xml, 0)] * 4
        yield from [("create",)] * 3
        yield from [("destroyFlags", 0), ("shutdown",), ("managedSave", 0), ("hasManagedSaveImage",)]
        yield from (("undefineFlags", flag) for flag in (0, libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM))
        yield "setAutostart", r.randint(0, 1)
        yield "setMetadata", libvirt.VIR_DOMAIN_METADATA_ELEMENT, note, "k", "urn:differential", flags
        yield "setMetadata", libvirt.VIR_DOMAIN_METADATA_TITLE, r.choice(("t1", "t2", "")), None, None, flags
        yield "defineXMLFlags", xml.replace("<memory unit='MiB'>", "<x>").replace("</memory>", "</x>"), 0
        yield "defineXMLFlags", xml[:-3], 0
        yield "defineXMLFlags", xml.replace(f"<name>{name}</name>", ""), 0

    def _network(self, name: str, key: str) -> Iterator[tuple[Any, ...]]:
        xml = network_xml(name, key)
        yield from [("networkDefineXML", xml)] * 3
        yield from [("create",), ("create",), ("destroy",), ("undefine",)]
        yield "setAutostart", self.random.randint(0, 1)
        yield "networkDefineXML", xml.replace(f"<name>{name}</name>", "")

    def _pool(self, name: str, key: str) -> Iterator[tuple[Any, ...]]:
        r = self.random
        yield from [("storagePoolDefineXML", pool_xml(name, key))] * 3
        yield from [("build", 0), ("create", 0), ("create", 0), ("destroy",), ("undefine",), ("refresh", 0)]
        yield "setAutostart", r.randint(0, 1)
        for _ in range(3):
            yield "createXML", volume_xml(r.choice("ab"), r.randint(1, 2), r.choice(("", "", "a", "none"))), 0

    def _volume(self, _name: str, _key: str) -> Iterator[tuple[Any, ...]]:
        yield from [("delete", 0), ("name",), ("resize", self.random.randint(1, 3) << 20, 0)]

    def _secret(self, name: str, key: str) -> Iterator[tuple[Any, ...]]:
        use = f"{name} {self.uuids[0]}"
        yield from (("secretDefineXML", secret_xml(key, use, ephemeral), 0) for ephemeral in ("yes", "no"))
        yield from [("undefine",), ("setValue", b"x", 0), ("usageID",)]


def _find(side: Side, kind: str, name: str, *, old: bool) -> Any:
    """An object by its name, or what was found under it before."""
    if old and (kind, name) in side.handles:
        return side.handles[kind, name]
    ceph = libvirt.VIR_SECRET_USAGE_TYPE_CEPH
    look = {
        "domain": lambda: side.connection.lookupByName(name),
        "network": lambda: side.connection.networkLookupByName(name),
        "pool": lambda: side.connection.storagePoolLookupByName(name),
        "secret": lambda: side.connection.secretLookupByUsage(ceph, f"{name} {side.sequence}"),
    }
    found = side.handles[kind, name] = look[kind]()
    return found


def _method(kind: str, name: str, old: bool, method: str, *args: Any) -> tuple[str, Ask]:
    words = f"{kind} {name}{' (of before)' if old else ''} {method} {args}"
    return words, lambda side: getattr(_find(side, kind, name, old=old), method)(*args)


def _volume(pool: str, volume: str, method: str, *args: Any) -> tuple[str, Ask]:
    def ask(side: Side) -> Any:
        return getattr(_find(side, "pool", pool, old=False).storageVolLookupByName(volume), method)(*args)

    return f"volume {pool}/{volume} {method} {args}", ask


def _define(method: str, xml: str, *flags: int) -> tuple[str, Ask]:
    return f"{method} {xml}", lambda side: getattr(side.connection, method)(xml, *flags)


# -- what is there ---------------------------------------------------------------------------------------------


def inventory(connection: Any, uuids: Container[str]) -> list[tuple[Any, ...]]:
    """All objects, with what these calls may have changed."""
    found: list[tuple[Any, ...]] = []
    for domain in connection.listAllDomains():
        kept = bool(domain.isPersistent())
        autostart, saved = kept and bool(domain.autostart()), kept and bool(domain.hasManagedSaveImage())
        texts = domain.XMLDesc(0), domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
        found.append((*_who(domain), kept, autostart, saved, *map(_facts, texts)))
    for network in connection.listAllNetworks():
        kept = bool(network.isPersistent())
        found.append((*_who(network), kept, kept and bool(network.autostart())))
    for pool in connection.listAllStoragePools():
        volumes = [(v.name(), v.info()[1]) for v in pool.listAllVolumes()] if pool.isActive() else []
        found.append((*_who(pool), bool(pool.isPersistent()), bool(pool.autostart()), *sorted(volumes)))
    for secret in connection.listAllSecrets():
        if secret.UUIDString() in uuids:
            ephemeral = etree.fromstring(secret.XMLDesc()).get("ephemeral")
            found.append((secret.UUIDString(), secret.usageType(), secret.usageID(), ephemeral))
    return sorted(found, key=repr)


def _who(thing: Any) -> tuple[str, str, bool]:
    return thing.name(), thing.UUIDString(), bool(thing.isActive())


def _facts(xml: str) -> tuple[Any, ...]:
    root = etree.fromstring(xml)
    memory, note = root.find("memory"), root.find("metadata/{urn:differential}note")
    source = root.find("devices/disk/source")
    assert memory is not None
    kib = int(memory.text or 0) << {"MiB": 10}.get(memory.get("unit", ""), 0)
    return (
        kib,
        root.findtext("title"),
        *(None if e is None else dict(e.attrib).get(k) for e, k in ((note, "at"), (source, "file"))),
    )


def differ(lab: Lab, seed: str) -> list[str]:
    """One sequence, on a host that is up. Returns what was done, ending with the first difference, or nothing.

    Handles that are collected between a call that failed and the look at its error would reset that.
    """
    with gc_paused():
        return _differ(lab, seed)


def _differ(lab: Lab, seed: str) -> list[str]:
    host, simulated = lab.host("kvm-1"), SimulatedHost("kvm-1", deaf={*_NAMES})
    empty(host)
    uuids = tuple(str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{seed} {number}")) for number in range(4))
    real = Side(lambda: libvirt.open(host.uri()), lambda: _restart(lab), uuids[0])
    both = (real, Side(simulated.connect, simulated.restart, uuids[0]))
    asker = Asker(random.Random(seed), uuids)
    todo, done = asker.begin(), list[str]()
    for _ in range(CALLS):
        if not todo and asker.random.random() < 0.06:
            done.append("restart")
            for side in both:
                side.begin_again()
        words, ask = todo.pop(0) if todo else asker.ask()
        answers = [side.answer(ask) for side in both]
        simulated_has = both[1].look(uuids)
        has = real.look_until(simulated_has, uuids)
        done.append(f"{words}: {answers[0]}")
        if answers[0] != answers[1]:
            return [*done, f"real {answers[0]}, simulated {answers[1]}"]
        if has != simulated_has:
            return [
                *done,
                f"real {set(has) - set(simulated_has)}",
                f"simulated {set(simulated_has) - set(has)}",
            ]
    return []


def _restart(lab: Lab) -> None:
    """Restart the daemon, until it has found its guests again.

    It answers before: who destroys a guest meanwhile ends it, and is told that it does not run. A question to QEMU
    waits for that (virDomainMemoryStats).
    """
    lab.restart("kvm-1")
    connection = libvirt.open(lab.host("kvm-1").uri())
    for domain in connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE):
        with suppress(libvirt.libvirtError):  # it has ended
            domain.memoryStats()
    connection.close()


def main(sequences: int, seed: int) -> int:
    """Compare so many sequences."""
    wrong = 0
    with temporary_lab(["kvm-1"]) as lab:
        for number in range(sequences):
            if number % 50 == 49:
                print(f"{number + 1} of {sequences} sequences, {wrong} with a difference", flush=True)
            if told := differ(lab, f"{seed}.{number}"):
                wrong += 1
                print(f"sequence {seed}.{number}:", *told, sep="\n  ", flush=True)
    print(f"{sequences} sequences of {CALLS} calls, {wrong} with a difference")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*(int(argument) for argument in [*sys.argv[1:], "300", "1"][:2])))
