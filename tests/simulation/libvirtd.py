"""A simulation of a libvirtd with QEMU: the calls of libvirt-python that kvmdecl makes, in memory.

It stands in at libvirt-python's border, so that all that reads and changes hosts runs on it as it is. What it does and
refuses was measured on a real libvirtd 9.0, and `test_differential.py` holds it against one. It knows of guests no more
than whether they run, and whether they obey the power button.

    host = SimulatedHost("kvm-1")
    connection = host.connect()             # has the methods of libvirt.virConnect
    host.meddle = ...                       # told of each call before it takes effect
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, wraps
from typing import Any, NoReturn

import libvirt
from lxml import etree

Meddle = Callable[["Connection", str, Callable[[], Any]], Any]
"""What may happen to a call: it is given the connection, the method's name and its effect, which it may call or not."""

GIB = 1 << 30
NVRAM = "/var/lib/libvirt/qemu/nvram"
_UNITS = {None: 1, "bytes": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": GIB}
_USAGES = {
    "volume": (libvirt.VIR_SECRET_USAGE_TYPE_VOLUME, "volume"),
    "ceph": (libvirt.VIR_SECRET_USAGE_TYPE_CEPH, "name"),
    "iscsi": (libvirt.VIR_SECRET_USAGE_TYPE_ISCSI, "target"),
    "tls": (libvirt.VIR_SECRET_USAGE_TYPE_TLS, "name"),
    "vtpm": (libvirt.VIR_SECRET_USAGE_TYPE_VTPM, "name"),
}
_CAPABILITIES = """<capabilities><host><uuid>{uuid}</uuid><cpu><arch>x86_64</arch><model>EPYC-Rome</model></cpu>
<topology><cells num='1'><cell id='0'><memory unit='KiB'>{memory}</memory><cpus num='{cpus}'>{each}</cpus></cell>
</cells></topology></host><guest><os_type>hvm</os_type><arch name='x86_64'><wordsize>64</wordsize>
<emulator>/usr/bin/qemu-system-x86_64</emulator>
<machine maxCpus='255'>pc-i440fx-7.2</machine><machine canonical='pc-i440fx-7.2' maxCpus='255'>pc</machine>
<machine maxCpus='288'>pc-q35-7.2</machine><machine canonical='pc-q35-7.2' maxCpus='288'>q35</machine>
<domain type='qemu'/></arch></guest></capabilities>"""


def fail(number: int, message: str, domain: int = libvirt.VIR_FROM_NONE) -> NoReturn:
    """Raise what libvirt-python raises. `number` is a virErrorNumber, `domain` a virErrorDomain."""
    error = libvirt.libvirtError(message)
    error.err = (number, domain, message, 2, "", "", "", 0, 0)
    raise error


def undisturbed(_line: Connection, _name: str, effect: Callable[[], Any]) -> Any:
    """Nobody meddles with a call."""
    return effect()


# -- what a host has -------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Guest:
    """A domain: what is kept of it, and what runs. One without `config` is transient.

    Attributes:
        undefined: what was kept of one that went on running; the daemon shows it for as long as it lives.
        incoming: the connection over which it comes from another host; it does not run yet.
        leaving: the connection over which it goes to another host.
        halted: by its migration, which has to end one way or the other.
    """

    uuid: str
    name: str
    config: etree._Element | None = None
    live: etree._Element | None = None
    autostart: bool = False
    saved: etree._Element | None = None
    undefined: etree._Element | None = None
    incoming: Connection | None = None
    leaving: Connection | None = None
    halted: bool = False
    _held: tuple[etree._Element | None, frozenset[str | None]] = (None, frozenset())

    @property
    def files(self) -> frozenset[str | None]:
        """What it writes to, as long as it runs; QEMU locks them."""
        if self._held[0] is not self.live:
            sources = self.live.iterfind("devices/disk/source[@file]") if self.live is not None else ()
            self._held = self.live, frozenset(source.get("file") for source in sources)
        return self._held[1]

    @property
    def runs(self) -> bool:
        return self.live is not None and not self.incoming and not self.halted


@dataclass(eq=False)
class Thing:
    """A network or a pool."""

    uuid: str
    name: str
    config: etree._Element | None
    live: etree._Element | None = None
    autostart: bool = False


@dataclass(eq=False)
class File:
    """A volume's file. `content` is what was uploaded."""

    format: str
    capacity: int
    backing: tuple[str, str] | None = None
    content: bytes = b""


@dataclass(eq=False)
class Hidden:
    """A secret with its value."""

    uuid: str
    config: etree._Element
    value: bytes | None = None

    @property
    def ephemeral(self) -> bool:
        return self.config.get("ephemeral") == "yes"

    @cached_property
    def usage(self) -> tuple[int, str]:
        found = self.config.find("usage")
        if found is None:
            return libvirt.VIR_SECRET_USAGE_TYPE_NONE, ""
        number, tag = _USAGES[found.get("type", "")]
        return number, found.findtext(tag) or ""


@dataclass(eq=False)
class SimulatedHost:
    """A machine with its libvirtd.

    Attributes:
        kept: secrets that the next daemon will have: no ephemeral ones, but for those that became it later.
        files: of its disk by path, volumes and firmware variables; `folders` has the directories.
        deaf: guests that do not obey the power button, by name.
        starts: how often each guest was started, by UUID; `ends`, how often one that ran was ended.
        meddle: what may happen to each call.
    """

    name: str
    uuid: str = ""
    cpus: int = 64
    memory: int = 256 * GIB
    guests: dict[str, Guest] = field(default_factory=dict)
    networks: dict[str, Thing] = field(default_factory=dict)
    pools: dict[str, Thing] = field(default_factory=dict)
    secrets: dict[str, Hidden] = field(default_factory=dict)
    kept: dict[str, Hidden] = field(default_factory=dict)
    files: dict[str, File] = field(default_factory=dict)
    folders: set[str] = field(default_factory=lambda: {"/srv"})
    deaf: set[str] = field(default_factory=set)
    starts: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    meddle: Meddle = undisturbed
    lines: list[Connection] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.uuid = self.uuid or str(uuid.uuid5(uuid.NAMESPACE_DNS, self.name))

    def connect(self) -> Connection:
        """libvirt.open."""
        line = Connection(self)
        self.lines.append(line)
        return line

    def restart(self) -> None:
        """The daemon ends and another begins: guests go on, connections break, ephemeral secrets are gone.

        Every pool whose directory is there is active then. What is to be started with the host is not: it has begun.
        """
        for line in self.lines:
            line.broken = True
            self.hang_up(line)
        self.lines.clear()
        self.secrets = dict(self.kept)
        for guest in self.guests.values():
            guest.undefined = None
        for thing in self.pools.values():
            if thing.live is None and thing.config is not None and Pool.path_of(thing) in self.folders:
                thing.live = _copy(thing.config)

    def hang_up(self, line: Connection) -> None:
        """A client is gone. A guest that came over its connection is none; one that went goes on here, unless its
        other self may run by now: then it stays halted (qemuMigrationSrcCleanup, qemuProcessRecoverMigrationOut).
        """
        for guest in list(self.guests.values()):
            if guest.leaving is line:
                guest.leaving = None
            if guest.incoming is line:
                guest.live = guest.incoming = None
                if guest.config is None:
                    del self.guests[guest.uuid]


# -- what libvirt-python gives -----------------------------------------------------------------------------------


def call(method: Callable[..., Any]) -> Callable[..., Any]:
    """A call to the daemon: the connection has to stand, and somebody may meddle with it."""

    @wraps(method)
    def over_the_line(self: Any, *args: Any) -> Any:
        line: Connection = getattr(self, "line", self)
        return line.carry(method.__name__, lambda: method(self, *args))

    return over_the_line


class Connection:
    """virConnect."""

    def __init__(self, host: SimulatedHost) -> None:
        self.host = host
        self.broken = False
        self.owner: Any = None  # whose it is, for those who meddle

    def carry(self, name: str, effect: Callable[[], Any]) -> Any:
        self.require_whole()
        return self.host.meddle(self, name, effect)

    def require_whole(self) -> None:
        """Who meddles may have had the connection break in the meantime."""
        if self.broken:
            fail(
                libvirt.VIR_ERR_INTERNAL_ERROR,
                "internal error: client socket is closed",
                libvirt.VIR_FROM_RPC,
            )

    def isAlive(self) -> int:  # noqa: N802 - libvirt's names, here and below
        return not self.broken

    def close(self) -> int:
        return 0

    def getURI(self) -> str:  # noqa: N802
        return f"qemu+unix:///system?socket=/{self.host.name}"

    @call
    def getLibVersion(self) -> int:  # noqa: N802
        return 9_000_000

    @call
    def getVersion(self) -> int:  # noqa: N802
        return 7_002_000

    @call
    def getCapabilities(self) -> str:  # noqa: N802
        host = self.host
        each = "".join(
            f"<cpu id='{n}' socket_id='0' core_id='{n}' siblings='{n}'/>" for n in range(host.cpus)
        )
        return _CAPABILITIES.format(uuid=host.uuid, memory=host.memory >> 10, cpus=host.cpus, each=each)

    # Domains.

    @call
    def listAllDomains(self, flags: int = 0) -> list[Domain]:  # noqa: N802
        tests = {
            libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE: lambda guest: guest.live is not None,
            libvirt.VIR_CONNECT_LIST_DOMAINS_PERSISTENT: lambda guest: guest.config is not None,
            libvirt.VIR_CONNECT_LIST_DOMAINS_AUTOSTART: lambda guest: guest.autostart,
            libvirt.VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE: lambda guest: guest.saved is not None,
        }
        wanted = tests.get(flags, lambda _: True)
        return [Domain(self, guest) for guest in self.host.guests.values() if wanted(guest)]

    @call
    def lookupByName(self, name: str) -> Domain:  # noqa: N802
        return Domain(self, _by_name(self.host.guests, name) or fail(*_no("domain", name)))

    @call
    def lookupByUUIDString(self, key: str) -> Domain:  # noqa: N802
        return Domain(self, self.host.guests.get(key) or fail(*_no("domain", key)))

    @call
    def defineXMLFlags(self, xml: str, _flags: int = 0) -> Domain:  # noqa: N802
        root, name, key = _parse(xml, "domain")
        if root.find("memory") is None:
            fail(libvirt.VIR_ERR_XML_ERROR, "XML error: missing memory element")
        guests = self.host.guests
        _require_own_name(guests, "domain", name, key)
        guest = guests.setdefault(key, Guest(key, name))
        _number_controllers(root)
        guest.config = root
        return Domain(self, guest)

    @call
    def getDomainCapabilities(self, *_: Any) -> str:  # noqa: N802
        return "<domainCapabilities/>"

    @call
    def compareHypervisorCPU(self, *_: Any) -> int:  # noqa: N802
        return libvirt.VIR_CPU_COMPARE_IDENTICAL

    @call
    def migratePrepare3(self, key: str, name: str, xml: str) -> None:  # noqa: N802
        """virDomainMigratePrepare3Params, to which the client's migrate3 comes down."""
        guests = self.host.guests
        _require_own_name(guests, "domain", name, key)
        if key in guests and guests[key].live is not None:
            _invalid(f"domain '{name}' is already active")
        root = etree.fromstring(xml)
        _require_parts(self.host, root)
        if root.find("os[@firmware='efi']") is not None:
            self.host.files.setdefault(f"{NVRAM}/{name}_VARS.fd", File("raw", 0))
        guest = guests.setdefault(key, Guest(key, name))
        guest.live, guest.incoming = root, self

    @call
    def migrateFinish3(self, key: str, xml: str) -> None:  # noqa: N802
        """virDomainMigrateFinish3Params: from here on it runs here."""
        guest = self.host.guests.get(key)
        if guest is None or guest.incoming is not self:
            fail(*_no("domain", key))
        guest.incoming, guest.config = None, etree.fromstring(xml)
        _number_controllers(guest.config)

    # Networks.

    @call
    def listAllNetworks(self, flags: int = 0) -> list[Network]:  # noqa: N802
        active, autostart = (
            libvirt.VIR_CONNECT_LIST_NETWORKS_ACTIVE,
            libvirt.VIR_CONNECT_LIST_NETWORKS_AUTOSTART,
        )
        return [Network(self, thing) for thing in _listed(self.host.networks, flags, active, autostart)]

    @call
    def networkLookupByName(self, name: str) -> Network:  # noqa: N802
        return Network(self, _by_name(self.host.networks, name) or fail(*_no("network", name)))

    @call
    def networkDefineXML(self, xml: str) -> Network:  # noqa: N802
        return Network(self, _define(self.host.networks, "network", xml))

    # Storage.

    @call
    def listAllStoragePools(self, flags: int = 0) -> list[Pool]:  # noqa: N802
        active, autostart = (
            libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE,
            libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_AUTOSTART,
        )
        return [Pool(self, thing) for thing in _listed(self.host.pools, flags, active, autostart)]

    @call
    def storagePoolLookupByName(self, name: str) -> Pool:  # noqa: N802
        return Pool(self, _by_name(self.host.pools, name) or fail(*_no("pool", name)))

    @call
    def storagePoolDefineXML(self, xml: str) -> Pool:  # noqa: N802
        return Pool(self, _define(self.host.pools, "pool", xml))

    def newStream(self, _flags: int = 0) -> Stream:  # noqa: N802
        return Stream(self)

    # Secrets.

    @call
    def listAllSecrets(self, _flags: int = 0) -> list[Secret]:  # noqa: N802
        return [Secret(self, secret) for secret in self.host.secrets.values()]

    @call
    def secretLookupByUUIDString(self, key: str) -> Secret:  # noqa: N802
        return Secret(self, self.host.secrets.get(key) or fail(*_no("secret", key)))

    @call
    def secretLookupByUsage(self, kind: int, name: str) -> Secret:  # noqa: N802
        found = (s for s in self.host.secrets.values() if s.usage == (kind, name))
        return Secret(self, next(found, None) or fail(*_no("secret", name)))

    @call
    def secretDefineXML(self, xml: str, _flags: int = 0) -> Secret:  # noqa: N802
        root = etree.fromstring(xml)
        new = Hidden(root.findtext("uuid") or str(uuid.uuid4()), root)
        old = self.host.secrets.get(new.uuid)
        if old is not None and old.usage != new.usage:
            fail(libvirt.VIR_ERR_INTERNAL_ERROR, f"a secret with UUID {new.uuid} is defined for another use")
        if old is None and any(s.usage == new.usage and new.usage[1] for s in self.host.secrets.values()):
            fail(libvirt.VIR_ERR_INTERNAL_ERROR, "a secret is already defined for that use")
        new.value = old.value if old else None
        self.host.secrets[new.uuid] = new
        if not new.ephemeral:
            self.host.kept[new.uuid] = new
        return Secret(self, new)


def _number_controllers(root: etree._Element) -> None:
    """Controllers of a type are numbered; libvirt fills in what is not said (virDomainDefAddController)."""
    taken = Counter[str]()
    for controller in root.iterfind("devices/controller"):
        kind = controller.get("type", "")
        if controller.get("index") is None:
            controller.set("index", str(taken[kind]))
        taken[kind] = max(taken[kind], int(controller.get("index", "0"))) + 1


def _parse(xml: str, tag: str) -> tuple[etree._Element, str, str]:
    try:
        root = etree.fromstring(xml)
    except etree.XMLSyntaxError:
        fail(libvirt.VIR_ERR_XML_DETAIL, "XML is broken")
    name = root.findtext("name")
    if root.tag != tag or not name:
        fail(_NAMELESS[tag], f"XML error: no {tag} with a name")
    key = root.find("uuid")
    if key is None:
        key = etree.SubElement(root, "uuid")
        key.text = str(uuid.uuid4())
    return root, name, key.text or ""


_NAMELESS = {
    "domain": libvirt.VIR_ERR_NO_NAME,
    "network": libvirt.VIR_ERR_NO_NAME,
    "pool": libvirt.VIR_ERR_XML_ERROR,
}
_MISSING = {
    "domain": libvirt.VIR_ERR_NO_DOMAIN, "network": libvirt.VIR_ERR_NO_NETWORK, "pool": libvirt.VIR_ERR_NO_STORAGE_POOL,
    "volume": libvirt.VIR_ERR_NO_STORAGE_VOL, "secret": libvirt.VIR_ERR_NO_SECRET,
}  # fmt: skip


def _no(kind: str, name: str | None) -> tuple[int, str]:
    return _MISSING[kind], f"{kind} not found: no {kind} {name!r}"


def _invalid(what: str) -> NoReturn:
    fail(libvirt.VIR_ERR_OPERATION_INVALID, f"Requested operation is not valid: {what}")


def _by_name(things: dict[str, Any], name: str | None) -> Any:
    return next((thing for thing in things.values() if thing.name == name), None)


def _require_own_name(things: dict[str, Any], kind: str, name: str, key: str) -> None:
    """A name has one UUID, and a UUID one name."""
    other = _by_name(things, name)
    if other is not None and other.uuid != key:
        fail(
            libvirt.VIR_ERR_OPERATION_FAILED,
            f"operation failed: {kind} '{name}' already exists with uuid {other.uuid}",
        )
    if key in things and things[key].name != name:
        fail(
            libvirt.VIR_ERR_OPERATION_FAILED,
            f"operation failed: {kind} is already defined with uuid {key} as {things[key].name}",
        )


def _define(things: dict[str, Thing], kind: str, xml: str) -> Thing:
    root, name, key = _parse(xml, kind)
    _require_own_name(things, kind, name, key)
    thing = things.setdefault(key, Thing(key, name, root))
    thing.config = root
    return thing


def _listed(things: dict[str, Thing], flags: int, active: int, autostart: int) -> list[Thing]:
    return [
        thing
        for thing in things.values()
        if not (flags & active and thing.live is None) and not (flags & autostart and not thing.autostart)
    ]


def _text(root: etree._Element) -> str:
    return etree.tostring(root, encoding="unicode")


class Domain:
    """virDomain."""

    def __init__(self, line: Connection, guest: Guest) -> None:
        self.line = line
        self._key, self._name = guest.uuid, guest.name

    def name(self) -> str:
        return self._name

    def UUIDString(self) -> str:  # noqa: N802
        return self._key

    @property
    def _guest(self) -> Guest:
        return self.line.host.guests.get(self._key) or fail(*_no("domain", self._name))

    def _running(self) -> Guest:
        if self._guest.live is None:
            _invalid("domain is not running")
        return self._guest

    @call
    def XMLDesc(self, flags: int = 0) -> str:  # noqa: N802
        guest = self._guest
        inactive = bool(flags & libvirt.VIR_DOMAIN_XML_INACTIVE)
        if guest.live is not None and not inactive:
            text = _text(guest.live)
            if flags & libvirt.VIR_DOMAIN_XML_MIGRATABLE:
                return text
            return text.replace("<domain ", f"<domain id='{self.line.host.starts[self._key]}' ", 1)
        kept = next(xml for xml in (guest.config, guest.undefined, guest.live) if xml is not None)
        return _text(kept)

    @call
    def isActive(self) -> int:  # noqa: N802
        return self._guest.live is not None

    @call
    def isPersistent(self) -> int:  # noqa: N802
        return self._guest.config is not None

    @call
    def state(self, _flags: int = 0) -> list[int]:
        if self._guest.live is not None:
            if not self._guest.runs:
                return [libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_MIGRATION]
            return [libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_BOOTED]
        return [libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_UNKNOWN]

    @call
    def autostart(self) -> int:
        return self._guest.autostart

    @call
    def setAutostart(self, on: int) -> int:  # noqa: N802
        if self._guest.config is None:
            _invalid("cannot set autostart for transient domain")
        self._guest.autostart = bool(on)
        return 0

    @call
    def hasManagedSaveImage(self, _flags: int = 0) -> int:  # noqa: N802
        return self._guest.saved is not None

    @call
    def managedSave(self, _flags: int = 0) -> int:  # noqa: N802
        guest = self._running()
        if guest.config is None:
            _invalid("cannot do managed save for transient domain")
        guest.saved = guest.live
        self._end()
        return 0

    @call
    def create(self) -> int:
        guest = self._guest
        if guest.live is not None:
            _invalid("domain is already running")
        assert guest.config is not None
        starting = guest.saved if guest.saved is not None else guest.config
        _require_parts(self.line.host, starting)
        if starting.find("os[@firmware='efi']") is not None:
            self.line.host.files.setdefault(f"{NVRAM}/{guest.name}_VARS.fd", File("raw", 0))
        guest.live, guest.saved = _copy(starting), None
        self.line.host.starts[self._key] += 1
        return 0

    @call
    def shutdown(self) -> int:
        guest = self._running()
        if guest.runs and guest.name not in self.line.host.deaf:
            self._end()
        return 0

    @call
    def destroyFlags(self, _flags: int = 0) -> int:  # noqa: N802
        self._running()
        self._end()
        return 0

    def _end(self) -> None:
        """The guest is off; a transient one is gone."""
        guest = self._guest
        self.line.host.ends[self._key] += guest.runs  # what a migration halted has not run since
        guest.live, guest.halted = None, False
        if guest.config is None:
            del self.line.host.guests[self._key]

    @call
    def undefineFlags(self, flags: int = 0) -> int:  # noqa: N802
        guest, files = self._guest, self.line.host.files
        if guest.config is None:
            _invalid("cannot undefine transient domain")
        if guest.saved is not None and not flags & libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE:
            _invalid("Refusing to undefine while domain managed save image exists")
        variables = f"{NVRAM}/{guest.name}_VARS.fd"
        if guest.config.find("os[@firmware='efi']") is not None and variables in files:
            if flags & libvirt.VIR_DOMAIN_UNDEFINE_NVRAM:
                del files[variables]
            elif not flags & libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM:
                _invalid("cannot undefine domain with nvram")
        guest.undefined = guest.config
        guest.config, guest.autostart, guest.saved = None, False, None
        if guest.live is None:
            del self.line.host.guests[self._key]
        return 0

    @call
    def setMetadata(  # noqa: N802
        self, kind: int, text: str | None, prefix: str | None, uri: str | None, flags: int = 0
    ) -> int:
        guest = self._guest
        roots: list[Any] = []
        if flags & libvirt.VIR_DOMAIN_AFFECT_CONFIG:
            if guest.config is None:
                _invalid("transient domains do not have any persistent config")
            roots.append(guest.config)
        if flags & libvirt.VIR_DOMAIN_AFFECT_LIVE:
            roots.append(self._running().live)
        for root in roots:
            if kind == libvirt.VIR_DOMAIN_METADATA_ELEMENT:
                _set_element(root, text, prefix or "", uri or "")
            else:
                _set_text(root, "title" if kind == libvirt.VIR_DOMAIN_METADATA_TITLE else "description", text)
        return 0

    # Migrations, that the client leads (virDomainMigrateVersion3Full).

    def migrate3(self, target: Connection, parameters: dict[str, Any], _flags: int) -> None:
        """Each phase is a call of its own."""
        xml = self.migrateBegin3(parameters.get(libvirt.VIR_MIGRATE_PARAM_DEST_XML))
        try:
            target.migratePrepare3(self._key, self._name, xml)
            self.migratePerform3(target, parameters.get(libvirt.VIR_MIGRATE_PARAM_MIGRATE_DISKS, []))
            target.migrateFinish3(self._key, parameters[libvirt.VIR_MIGRATE_PARAM_PERSIST_XML])
        except libvirt.libvirtError:
            target.host.hang_up(target)  # Finish3, cancelled
            with suppress(libvirt.libvirtError):
                self.migrateConfirm3(1)
            raise
        with suppress(libvirt.libvirtError):  # it has arrived, and is not asked for
            self.migrateConfirm3(0)

    @call
    def migrateBegin3(self, arrives: str | None) -> str:  # noqa: N802
        guest = self._running()
        if not guest.runs:
            _invalid("domain is not running")
        if guest.leaving is not None:
            _invalid("another migration job is already running for this domain")
        guest.leaving = self.line
        return arrives or _text(guest.live)

    @call
    def migratePerform3(self, target: Connection, disks: list[str]) -> None:  # noqa: N802
        guest = self._running()
        for disk in guest.live.iterfind("devices/disk"):
            if disk.find("target").get("dev") in disks:
                path = disk.find("source").get("file")
                target.host.files[path].content = self.line.host.files[path].content
        guest.halted = True

    @call
    def migrateConfirm3(self, cancelled: int) -> None:  # noqa: N802
        guest = self._guest
        guest.leaving, guest.halted = None, False
        if not cancelled:
            del self.line.host.guests[self._key]

    @call
    def jobInfo(self) -> list[int]:  # noqa: N802
        busy = self._guest.leaving is not None
        return [libvirt.VIR_DOMAIN_JOB_UNBOUNDED if busy else libvirt.VIR_DOMAIN_JOB_NONE]

    @call
    def jobStats(self, _flags: int = 0) -> dict[str, Any]:  # noqa: N802
        return {}

    @call
    def resume(self) -> int:
        guest = self._running()
        if guest.leaving is not None or guest.incoming is not None:
            _invalid("another migration job is already running for this domain")
        guest.halted = False
        return 0

    def listAllSnapshots(self, _flags: int = 0) -> list[Any]:  # noqa: N802
        return []

    def listAllCheckpoints(self, _flags: int = 0) -> list[Any]:  # noqa: N802
        return []


def _require_parts(host: SimulatedHost, root: etree._Element) -> None:
    """A guest does not start without its disks and networks."""
    for source in root.iterfind("devices/interface/source[@network]"):
        network = _by_name(host.networks, source.get("network"))
        if network is None:
            fail(*_no("network", source.get("network")))
        if network.live is None:
            _invalid(f"network '{network.name}' is not active")
    for source in root.iterfind("devices/disk/source[@file]"):
        path = source.get("file")
        if any(path in guest.files for guest in host.guests.values()):
            fail(
                libvirt.VIR_ERR_INTERNAL_ERROR,
                "internal error: qemu unexpectedly closed: Failed to get write lock",
            )
        while path:
            if path not in host.files:
                fail(libvirt.VIR_ERR_SYSTEM_ERROR, f"Cannot access storage file '{path}'")
            backing = host.files[path].backing
            path = backing[0] if backing else None


def _copy(root: etree._Element) -> etree._Element:
    return etree.fromstring(etree.tostring(root))


def _set_element(root: etree._Element, text: str | None, prefix: str, uri: str) -> None:
    """libvirt puts the element and all in it into the namespace, which it must not declare itself."""
    new = etree.fromstring(text) if text else None
    if new is not None and prefix in new.nsmap:
        fail(libvirt.VIR_ERR_INTERNAL_ERROR, "internal error: failed to create a new XML namespace")
    metadata = root.find("metadata")
    if metadata is None:
        metadata = etree.SubElement(root, "metadata")
    for old in metadata.findall(f"{{{uri}}}*"):
        metadata.remove(old)
    if new is not None:
        metadata.append(_in_namespace(new, prefix, uri))


def _in_namespace(element: etree._Element, prefix: str, uri: str) -> etree._Element:
    moved = etree.Element(f"{{{uri}}}{etree.QName(element).localname}", dict(element.attrib), {prefix: uri})
    moved.text, moved.tail = element.text, element.tail
    moved.extend(_in_namespace(child, prefix, uri) for child in element)
    return moved


def _set_text(root: etree._Element, tag: str, text: str | None) -> None:
    found = root.find(tag)
    if not text:
        if found is not None:
            root.remove(found)
        return
    if found is None:
        found = etree.Element(tag)
        root.insert(1, found)
    found.text = text


class _Startable:
    """What networks and pools share."""

    kind: str

    def __init__(self, line: Connection, thing: Thing) -> None:
        self.line = line
        self._key, self._name = thing.uuid, thing.name

    @property
    def _things(self) -> dict[str, Thing]:
        raise NotImplementedError

    @property
    def _thing(self) -> Thing:
        return self._things.get(self._key) or fail(*_no(self.kind, self._name))

    def name(self) -> str:
        return self._name

    def UUIDString(self) -> str:  # noqa: N802
        return self._key

    @call
    def XMLDesc(self, flags: int = 0) -> str:  # noqa: N802
        thing = self._thing
        inactive = bool(flags & libvirt.VIR_NETWORK_XML_INACTIVE)
        shown = (
            thing.live
            if thing.live is not None and not (inactive and thing.config is not None)
            else thing.config
        )
        assert shown is not None
        return _text(shown)

    @call
    def isActive(self) -> int:  # noqa: N802
        return self._thing.live is not None

    @call
    def isPersistent(self) -> int:  # noqa: N802
        return self._thing.config is not None

    @call
    def autostart(self) -> int:
        return self._thing.autostart

    @call
    def setAutostart(self, on: int) -> int:  # noqa: N802
        if self._thing.config is None:
            _invalid(f"cannot set autostart for transient {self.kind}")
        self._thing.autostart = bool(on)
        return 0

    @call
    def create(self, _flags: int = 0) -> int:
        if self._thing.live is not None:
            _invalid(f"{self.kind} is already active")
        self._require_parts()
        assert self._thing.config is not None
        self._thing.live = _copy(self._thing.config)
        return 0

    def _require_parts(self) -> None:
        """What it does not start without."""

    @call
    def destroy(self) -> int:
        if self._thing.live is None:
            _invalid(f"{self.kind} is not active")
        self._thing.live = None
        return 0

    @call
    def undefine(self) -> int:
        if self._thing.live is not None and self.kind == "pool":
            _invalid("storage pool is still active")
        if self._thing.live is not None:
            self._thing.config, self._thing.autostart = None, False
        else:
            del self._things[self._key]
        return 0


class Network(_Startable):
    """virNetwork."""

    kind = "network"

    @property
    def _things(self) -> dict[str, Thing]:
        return self.line.host.networks

    @call
    def destroy(self) -> int:
        if self._thing.live is None:
            _invalid("network is not active")
        self._thing.live = None
        if self._thing.config is None:
            del self._things[self._key]
        return 0


class Pool(_Startable):
    """virStoragePool, of a directory."""

    kind = "pool"

    @property
    def _things(self) -> dict[str, Thing]:
        return self.line.host.pools

    @property
    def path(self) -> str:
        return self.path_of(self._thing)

    @staticmethod
    def path_of(thing: Thing) -> str:
        assert thing.config is not None
        return thing.config.findtext("target/path") or ""

    def _require_parts(self) -> None:
        if self.path not in self.line.host.folders:
            fail(
                libvirt.VIR_ERR_SYSTEM_ERROR,
                f"cannot open directory '{self.path}': No such file or directory",
            )

    def _active(self) -> None:
        if self._thing.live is None:
            _invalid(f"storage pool '{self._name}' is not active")

    @call
    def build(self, _flags: int = 0) -> int:
        if self._thing.live is not None:
            _invalid(f"storage pool '{self._name}' is already active")
        self.line.host.folders.add(self.path)
        return 0

    @call
    def refresh(self, _flags: int = 0) -> int:
        self._active()
        return 0

    @call
    def info(self) -> list[int]:
        if self._thing.live is None:
            return [libvirt.VIR_STORAGE_POOL_INACTIVE, 0, 0, 0]
        return [libvirt.VIR_STORAGE_POOL_RUNNING, 1000 * GIB, 10 * GIB, 990 * GIB]

    def _paths(self) -> list[str]:
        return [path for path in self.line.host.files if path.rpartition("/")[0] == self.path]

    @call
    def listAllVolumes(self, _flags: int = 0) -> list[Volume]:  # noqa: N802
        self._active()
        return [Volume(self.line, path) for path in self._paths()]

    @call
    def storageVolLookupByName(self, name: str) -> Volume:  # noqa: N802
        self._active()
        path = f"{self.path}/{name}"
        if path not in self.line.host.files:
            fail(*_no("volume", name))
        return Volume(self.line, path)

    @call
    def createXML(self, xml: str, _flags: int = 0) -> Volume:  # noqa: N802
        self._active()
        root = etree.fromstring(xml)
        name, size, kind = root.findtext("name"), root.find("capacity"), root.find("target/format")
        path = f"{self.path}/{name}"
        if path in self.line.host.files:
            fail(libvirt.VIR_ERR_STORAGE_VOL_EXIST, f"storage volume '{name}' exists already")
        backing = root.find("backingStore")
        below = (
            (backing.findtext("path") or "", _type(backing.find("format"))) if backing is not None else None
        )
        if below and below[0] not in self.line.host.files:
            fail(libvirt.VIR_ERR_SYSTEM_ERROR, f"inaccessible backing store volume {below[0]}")
        assert size is not None
        capacity = int(size.text or 0) * _UNITS[size.get("unit")]
        self.line.host.files[path] = File(_type(kind), capacity, below)
        return Volume(self.line, path)


def _type(element: etree._Element | None) -> str:
    return "raw" if element is None else element.get("type", "raw")


class Volume:
    """virStorageVol."""

    def __init__(self, line: Connection, path: str) -> None:
        self.line = line
        self._path = path

    def name(self) -> str:
        return self._path.rpartition("/")[2]

    def path(self) -> str:
        return self._path

    @property
    def _file(self) -> File:
        return self.line.host.files.get(self._path) or fail(*_no("volume", self.name()))

    @call
    def storagePoolLookupByVolume(self) -> Pool:  # noqa: N802
        folder = self._path.rpartition("/")[0]
        for thing in self.line.host.pools.values():
            pool = Pool(self.line, thing)
            if pool.path == folder:
                return pool
        fail(*_no("pool", folder))

    @call
    def XMLDesc(self, _flags: int = 0) -> str:  # noqa: N802
        file = self._file
        backing = ""
        if file.backing:
            backing = f"<backingStore><path>{file.backing[0]}</path><format type='{file.backing[1]}'/></backingStore>"
        return (
            f"<volume type='file'><name>{self.name()}</name><key>{self._path}</key>"
            f"<capacity unit='bytes'>{file.capacity}</capacity>"
            f"<allocation unit='bytes'>{len(file.content)}</allocation>"
            f"<target><path>{self._path}</path><format type='{file.format}'/></target>{backing}</volume>"
        )

    @call
    def info(self) -> list[int]:
        return [libvirt.VIR_STORAGE_VOL_FILE, self._file.capacity, len(self._file.content)]

    @call
    def resize(self, capacity: int, _flags: int = 0) -> int:
        if capacity < self._file.capacity:
            fail(
                libvirt.VIR_ERR_INVALID_ARG,
                "Can't shrink capacity below current capacity unless shrink flag is given",
            )
        if any(self._path in guest.files for guest in self.line.host.guests.values()):
            fail(libvirt.VIR_ERR_INTERNAL_ERROR, "internal error: qemu-img: Failed to get write lock")
        self._file.capacity = capacity
        return 0

    @call
    def delete(self, _flags: int = 0) -> int:
        _ = self._file
        del self.line.host.files[self._path]
        return 0

    @call
    def upload(self, stream: Stream, _offset: int, _length: int, _flags: int = 0) -> int:
        stream.file = self._file
        return 0


class Stream:
    """virStream, of an upload."""

    def __init__(self, line: Connection) -> None:
        self.line = line
        self.file: File | None = None

    @call
    def send(self, piece: bytes) -> int:
        assert self.file is not None
        self.file.content += piece
        return len(piece)

    @call
    def sendHole(self, length: int, _flags: int = 0) -> int:  # noqa: N802
        assert self.file is not None
        self.file.content += bytes(length)
        return 0

    @call
    def finish(self) -> int:
        return 0

    @call
    def abort(self) -> int:
        return 0


class Secret:
    """virSecret."""

    def __init__(self, line: Connection, secret: Hidden) -> None:
        self.line = line
        self._key, self._usage = secret.uuid, secret.usage

    @property
    def _secret(self) -> Hidden:
        return self.line.host.secrets.get(self._key) or fail(*_no("secret", self._key))

    def UUIDString(self) -> str:  # noqa: N802
        return self._key

    def usageType(self) -> int:  # noqa: N802
        return self._usage[0]

    def usageID(self) -> str:  # noqa: N802
        return self._usage[1]

    @call
    def XMLDesc(self, _flags: int = 0) -> str:  # noqa: N802
        return _text(self._secret.config)

    @call
    def setValue(self, value: bytes, _flags: int = 0) -> int:  # noqa: N802
        self._secret.value = value
        return 0

    @call
    def undefine(self) -> int:
        if not self._secret.ephemeral:
            del self.line.host.kept[self._key]
        del self.line.host.secrets[self._key]
        return 0
