"""XML -> keys of the manifest, section by section: the inverse of what `libvirt_xml/domain*.py` writes.

A recogniser proposes; it need not be sure. Every proposal is compiled by the real pipeline and kept only if that
brings the declaration nearer to what is observed (`entry.py`); what none recognises is said in `xml:`. So a new key of
the model needs a row here to be used, and nothing here can make an entry wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kvmdecl.manifest.devices import AGENT_CHANNEL, SPICE_CHANNEL
from kvmdecl.manifest.guest_os import HYPERV
from kvmdecl.names import KIB, format_size

if TYPE_CHECKING:
    from kvmdecl.libvirt_xml.safe import Element

Keys = dict[str, Any]
"""Keys of a vm with plain values; below `cpus` and its like they are merged with those of other proposals."""

_DEVICE_NAME = re.compile("[a-z0-9][a-z0-9-]{0,19}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Networks:
    """The manifest's networks by what a NIC is plugged into: `bridge:br0`, `network:default`."""

    names: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Guest:
    """A definition that is being recognised. `root` holds what was asked for (see `filled_in`)."""

    root: Element
    networks: Networks

    def all(self, path: str) -> list[Element]:
        """The elements at a path."""
        return self.root.findall(path)

    def text(self, path: str) -> str | None:
        """The text of the first element at a path, None if there is none."""
        text = self.root.findtext(path)
        return None if text is None else text.strip()

    def get(self, path: str, name: str) -> str | None:
        """An attribute of the first element at a path."""
        element = self.root.find(path)
        return None if element is None else element.get(name)


def proposals(guest: Guest) -> Iterator[Keys]:
    """All proposals, each to be judged for itself; those about one device are one."""
    for recognise in RECOGNISERS:
        for keys in recognise(guest):
            if keys := _said(keys):
                yield keys


def _said(value: Any) -> Any:  # noqa: ANN401 - a tree of plain values
    """Without what is None and without mappings that say nothing."""
    if isinstance(value, dict):
        below = {key: _said(v) for key, v in value.items()}
        return {key: v for key, v in below.items() if v is not None and v != {}}
    if isinstance(value, list):
        return [_said(item) for item in value]
    return value


def short(section: Keys, key: str) -> Any:  # noqa: ANN401 - a tree of plain values
    """The short form of a section that says nothing but its key."""
    said = _said(section)
    return said[key] if set(said) == {key} else said


# -- the guest itself ----------------------------------------------------------------------------------------


def _head(guest: Guest) -> Iterator[Keys]:
    yield {"description": guest.text("description")}
    machine, arch = guest.get("os/type", "machine"), guest.get("os/type", "arch")
    if arch in {"x86_64", "i686"}:
        yield {"machine": machine, "arch": arch if arch != "x86_64" else None}
    if guest.get("os", "firmware") == "efi":
        yield {"firmware": "uefi"}
        yield {"firmware": {"type": "uefi", "secure_boot": True}}
    if guest.get("clock", "offset") == "localtime":
        yield {"clock": "localtime"}
    if all(guest.get(f"features/hyperv/{name}", "state") == "on" for name in HYPERV):
        yield {"hyperv": True}
    for event in ("on_poweroff", "on_reboot", "on_crash"):
        yield {event: guest.text(event)}


def _cpus(guest: Guest) -> Iterator[Keys]:
    most = guest.text("vcpu") or "1"
    now = guest.get("vcpu", "current") or most
    yield {
        "cpus": {
            "count": int(now) if (now, most) != ("1", "1") else None,
            "max": int(most) if most != now else None,
        }
    }
    mode = guest.get("cpu", "mode")
    model = guest.text("cpu/model") if mode in {None, "custom"} else mode
    yield {"cpus": {"model": model}}
    cpu = {name: guest.get("cpu", name) for name in ("match", "check")}
    yield {"cpus": {"match": cpu["match"] if cpu["match"] != "exact" else None}}
    if guest.text("cpu/model") and guest.get("cpu/model", "fallback") != "forbid":
        yield {"cpus": {"fallback": "allow"}}
    yield {"cpus": {"check": cpu["check"]}}
    yield {"cpus": {"vendor": guest.text("cpu/vendor")}}
    yield {"cpus": {"migratable": _flag(guest.get("cpu", "migratable"), "on", "off")}}
    yield {"cpus": {"cache": guest.get("cpu/cache", "mode")}}
    topology = guest.root.find("cpu/topology")
    if topology is not None:
        yield {
            "cpus": {
                "topology": {n: int(v) for n, v in topology.attrib.items() if v != "1" or n == "sockets"}
            }
        }
    features = {f.get("name", ""): f.get("policy", "require") for f in guest.all("cpu/feature")}
    yield {"cpus": {"features": features}}


def _tuning(guest: Guest) -> Iterator[Keys]:
    for name in _CPU_TIME:
        yield {"cpus": {name: _number(guest.text(f"cputune/{name}"))}}
    pins = {pin.get("vcpu", ""): pin.get("cpuset") for pin in guest.all("cputune/vcpupin")}
    yield {"cpus": {"pins": pins}}
    yield {"cpus": {"emulator_pin": guest.get("cputune/emulatorpin", "cpuset")}}
    threads = {pin.get("iothread", ""): pin.get("cpuset") for pin in guest.all("cputune/iothreadpin")}
    yield {"cpus": {"iothread_pins": threads}}
    numa = guest.root.find("numatune/memory")
    if numa is not None:
        mode = numa.get("mode", "strict")
        section = {"nodeset": numa.get("nodeset"), "mode": mode if mode != "strict" else None}
        yield {"numa": short(section, "nodeset")}
    yield {"iothreads": _number(guest.text("iothreads"))}


_CPU_TIME = (
    *("shares", "period", "quota", "emulator_period", "emulator_quota"),
    *("global_period", "global_quota", "iothread_period", "iothread_quota"),
)


def _memory(guest: Guest) -> Iterator[Keys]:
    most, now = _size(guest.root.find("memory")), _size(guest.root.find("currentMemory"))
    now = now or most
    yield {"memory": {"size": now, "max": most if most != now else None}}
    page = guest.root.find("memoryBacking/hugepages/page")
    if page is not None:
        size = int(page.get("size", "0")) * _UNITS.get(page.get("unit", "KiB"), 0)
        yield {"memory": {"pages": format_size(size)}}
    yield {"memory": {"source": guest.get("memoryBacking/source", "type")}}
    yield {"memory": {"access": guest.get("memoryBacking/access", "mode")}}
    yield {"memory": {"locked": _there(guest, "memoryBacking/locked")}}
    yield {"memory": {"ksm": False if _there(guest, "memoryBacking/nosharepages") else None}}
    limits = ("hard_limit", "soft_limit", "swap_hard_limit")
    yield {"memory": {name: _size(guest.root.find(f"memtune/{name}")) for name in limits}}


# -- disks and NICs ------------------------------------------------------------------------------------------


def _disks(guest: Guest) -> Iterator[Keys]:
    """The first disk is the root disk; the others, and drives, are called by their targets."""
    disks = [disk for disk in guest.all("devices/disk") if disk.get("device", "disk") == "disk"]
    for disk in disks:
        if (source := _path(disk) or _on_a_server(disk)) is not None:
            keys = _disk(disk, source)
            yield {"disk": keys} if disk is disks[0] else {"disks": {_name(disk, "ua-"): keys}}
    for drive in guest.all("devices/disk[@device='cdrom']"):
        yield {"cdroms": {_name(drive, "ua-cdrom_"): _drive(drive)}}
    yield {"boot": _boot(guest, disks)}


def _path(disk: Element) -> str | None:
    """Where a disk is, None if it is no file or device of the host."""
    source = disk.find("source")
    name = {"file": "file", "block": "dev"}.get(disk.get("type", ""), "")
    return source.get(name) if source is not None and name else None


def _name(disk: Element, prefix: str) -> str:
    alias, target = disk.find("alias"), disk.find("target")
    given = alias.get("name", "") if alias is not None else ""
    name = given.removeprefix(prefix) if given.startswith(prefix) else ""
    if _DEVICE_NAME.fullmatch(name):
        return name
    return target.get("dev", "") if target is not None else ""


def _on_a_server(disk: Element) -> Keys | None:
    """Where a disk on a storage server is. Who the host is to it stays in `xml:`: adopt knows no secret by its name."""
    source = disk.find("source")
    if source is None or disk.get("type") != "network":
        return None
    hosts = [_attributes(host) for host in source.iterfind("host")]
    return {
        **{key: source.get(key) for key in ("protocol", "name", "query")},
        "servers": [_server(host) for host in hosts if "name" in host] or None,
        "socket": next((host["socket"] for host in hosts if "socket" in host), None),
        "tls": _flag(source.get("tls"), "yes", "no"),
        "verify": _flag(_attributes(source.find("ssl")).get("verify"), "yes", "no"),
        "timeout": _attributes(source.find("timeout")).get("seconds"),
        "readahead": _number(_attributes(source.find("readahead")).get("size")),
        "snapshot": _attributes(source.find("snapshot")).get("name"),
        "config_file": _attributes(source.find("config")).get("file"),
        "initiator": _attributes(source.find("initiator/iqn")).get("name"),
    }


def _server(host: Mapping[str, str]) -> str:
    name = f"[{host['name']}]" if ":" in host["name"] else host["name"]
    return f"{name}:{host['port']}" if "port" in host else name


def _disk(disk: Element, source: str | Keys) -> Keys:
    driver, target = _attributes(disk.find("driver")), _attributes(disk.find("target"))
    bus = target.get("bus")
    return {
        "source": source,
        "format": driver.get("type", "raw"),
        "bus": bus if bus != "virtio" else None,
        "target": target.get("dev"),
        **{key: driver.get(name) for key, name in _DRIVER.items()},
        "iothread": _number(driver.get("iothread")),
        "queues": _number(driver.get("queues")),
        "copy_on_read": _flag(driver.get("copy_on_read"), "on", "off"),
        "readonly": True if disk.find("readonly") is not None else None,
        "shareable": True if disk.find("shareable") is not None else None,
        "iotune": {
            limit.tag: _limit(limit) for limit in disk.iterfind("iotune/*") if limit.tag != "group_name"
        },
        "serial": disk.findtext("serial"),
        "wwn": disk.findtext("wwn"),
        "rotation_rate": _number(target.get("rotation_rate")),
    }


_DRIVER = {
    **{name: name for name in ("cache", "io", "discard", "detect_zeroes", "error_policy")},
    "read_error_policy": "rerror_policy",
}


def _limit(limit: Element) -> int | str:
    value = int(limit.text or "0")
    return (
        format_size(value) if "bytes" in str(limit.tag) and not str(limit.tag).endswith("length") else value
    )


def _drive(drive: Element) -> Keys:
    target = _attributes(drive.find("target"))
    bus = target.get("bus")
    return {"source": _path(drive), "bus": bus if bus != "sata" else None, "target": target.get("dev")}


def _boot(guest: Guest, disks: list[Element]) -> list[str]:
    """Disks, drives and NICs in their order; no order unless it is one that the manifest can say."""
    order: dict[int, str] = {}
    for disk in guest.all("devices/disk"):
        prefix = "ua-cdrom_" if disk.get("device") == "cdrom" else "ua-"
        if (number := _order(disk)) is not None:
            order[number] = "root" if disk in disks[:1] else _name(disk, prefix)
    nics = [_order(nic) for nic in guest.all("devices/interface")]
    if nics and nics[0] is not None and nics == list(range(nics[0], nics[0] + len(nics))):
        order[nics[0]] = "network"
    return [order[number] for number in sorted(order)]


def _order(device: Element) -> int | None:
    boot = device.find("boot")
    return None if boot is None else _number(boot.get("order"))


def _nics(guest: Guest) -> Iterator[Keys]:
    for nic in guest.all("devices/interface"):
        kind, source, mac = nic.get("type", ""), nic.find("source"), nic.find("mac")
        network = guest.networks.names.get(f"{kind}:{source.get(kind)}") if source is not None else None
        if network is not None and mac is not None:
            yield {"nics": [_nic(nic, network, mac.get("address", ""))]}


def _nic(nic: Element, network: str, mac: str) -> Keys:
    model, link = _attributes(nic.find("model")), _attributes(nic.find("link"))
    mtu, driver, port = (_attributes(nic.find(tag)) for tag in ("mtu", "driver", "port"))
    return {
        "network": network,
        "mac": mac.lower(),
        "model": model.get("type") if model.get("type") != "virtio" else None,
        "link": link.get("state") if link.get("state") == "down" else None,
        "mtu": _number(mtu.get("size")),
        "queues": _number(driver.get("queues")),
        "bandwidth": {way: _rate(nic.find(f"bandwidth/{way}")) for way in ("inbound", "outbound")},
        "filter": _filter(nic.find("filterref")),
        "isolated": _flag(port.get("isolated"), "yes", "no"),
        "trust_guest_rx_filters": _flag(nic.get("trustGuestRxFilters"), "yes", "no"),
    }


def _rate(rate: Element | None) -> Keys | None:
    if rate is None:
        return None
    return {
        name: format_size(int(value) * KIB) for name, value in _attributes(rate).items() if value.isdecimal()
    }


def _filter(filter_: Element | None) -> Keys | None:
    if filter_ is None:
        return None
    values: dict[str, list[str]] = {}
    for parameter in filter_.iterfind("parameter"):
        values.setdefault(parameter.get("name", ""), []).append(parameter.get("value", ""))
    parameters = {name: several if len(several) > 1 else several[0] for name, several in values.items()}
    return {"name": filter_.get("filter"), "parameters": parameters}


def _shares(guest: Guest) -> Iterator[Keys]:
    for share in guest.all("devices/filesystem"):
        source, driver = _attributes(share.find("source")), _attributes(share.find("driver"))
        access, name = share.get("accessmode"), _attributes(share.find("target")).get("dir", "")
        is_virtiofs = driver.get("type") == "virtiofs"
        keys = {
            "path": source.get("dir"),
            "socket": source.get("socket"),
            "driver": None if is_virtiofs else "9p",
            "readonly": True if share.find("readonly") is not None else None,
            "access": access if access != "passthrough" else None,
            "file_mode": _mode(share.get("fmode")),
            "dir_mode": _mode(share.get("dmode")),
            "several_devices": share.get("multidevs"),
            "write_through": True if driver.get("wrpolicy") == "immediate" else None,
            "queue_size": driver.get("queue"),
            "daemon": _daemon(share.find("binary")),
        }
        if _DEVICE_NAME.fullmatch(name):
            yield {"shares": {name: short(keys, "path")}}


def _mode(text: str | None) -> str | None:
    return None if text is None else text[-3:]


def _daemon(binary: Element | None) -> Keys | None:
    if binary is None:
        return None
    lock = _attributes(binary.find("lock"))
    return {
        "path": binary.get("path"),
        "cache": _attributes(binary.find("cache")).get("mode"),
        "xattr": _flag(binary.get("xattr"), "on", "off"),
        "sandbox": _attributes(binary.find("sandbox")).get("mode"),
        "threads": _number(_attributes(binary.find("thread_pool")).get("size")),
        "posix_locks": _flag(lock.get("posix"), "on", "off"),
        "flocks": _flag(lock.get("flock"), "on", "off"),
    }


# -- other devices -------------------------------------------------------------------------------------------


def _consoles(guest: Guest) -> Iterator[Keys]:
    serials, graphics = guest.all("devices/serial"), guest.all("devices/graphics")
    if [serial.get("type") for serial in serials] != ["pty"]:
        yield {"serial": False}
    yield from ({"graphics": _graphics(screen)} for screen in graphics[:1])
    for card in guest.all("devices/video/model")[:1]:
        resolution = card.find("resolution")
        size = f"{resolution.get('x')}x{resolution.get('y')}" if resolution is not None else None
        video = {"model": card.get("type"), "heads": _number(card.get("heads")), "resolution": size}
        yield {"video": short(video, "model")}
    inputs = [_input(device) for device in guest.all("devices/input")]
    if inputs != ([{"type": "tablet", "bus": None}] if graphics else []):
        yield {"inputs": [short(device, "type") for device in inputs]}


def _graphics(screen: Element) -> Keys:
    listen = screen.find("listen")
    address = listen.get("address") if listen is not None else screen.get("listen")
    fixed = screen.get("autoport") != "yes"
    return {
        "type": screen.get("type"),
        "listen": address if address != "127.0.0.1" else None,
        "expose": True if address in {"0.0.0.0", "::"} else None,  # noqa: S104 - said, not done
        "port": _number(screen.get("port")) if fixed else None,
        "keymap": screen.get("keymap"),
    }


def _input(device: Element) -> Keys:
    bus = device.get("bus")
    return {"type": device.get("type"), "bus": bus if bus != "usb" else None}


def _channels(guest: Guest) -> Iterator[Keys]:
    names = [_attributes(channel.find("target")).get("name") for channel in guest.all("devices/channel")]
    if AGENT_CHANNEL not in names:
        yield {"agent": False}
    for channel, name in zip(guest.all("devices/channel"), names, strict=True):
        if name == SPICE_CHANNEL:
            yield {"channels": [{"name": name, "type": "spice"}]}
        elif (
            name not in {AGENT_CHANNEL, None}
            and channel.get("type") == "unix"
            and channel.find("source") is None
        ):
            yield {"channels": [name]}


def _others(guest: Guest) -> Iterator[Keys]:
    rngs = [(rng.get("model"), rng.find("backend")) for rng in guest.all("devices/rng")]
    if not any(model == "virtio" and _is_urandom(backend) for model, backend in rngs):
        yield {"rng": False}
    if guest.get("devices/memballoon", "model") in {"none", None}:
        yield {"balloon": False}
    elif guest.get("devices/memballoon", "freePageReporting") == "on":
        yield {"balloon": {"free_page_reporting": True}}
    for sound in guest.all("devices/sound")[:1]:
        yield {"sound": sound.get("model")}
    for watchdog in guest.all("devices/watchdog")[:1]:
        model = watchdog.get("model")
        section = {"action": watchdog.get("action"), "model": model if model != "i6300esb" else None}
        yield {"watchdog": short(section, "action")}
    for panic in guest.all("devices/panic")[:1]:
        yield {"panic": panic.get("model")}
    for tpm in guest.all("devices/tpm")[:1]:
        backend = _attributes(tpm.find("backend"))
        model, version = tpm.get("model"), backend.get("version")
        section = {"type": backend.get("type"), "model": model if model != "tpm-crb" else None}
        section |= {"version": version if version != "2.0" else None}
        yield {"tpm": short(section, "type")}
    for cid in guest.all("devices/vsock/cid")[:1]:
        yield {"vsock": "auto" if cid.get("auto") == "yes" else _number(cid.get("address"))}


def _is_urandom(backend: Element | None) -> bool:
    return backend is not None and (backend.get("model"), backend.text) == ("random", "/dev/urandom")


RECOGNISERS: tuple[Callable[[Guest], Iterator[Keys]], ...] = (
    *(_head, _cpus, _tuning, _memory),
    *(_disks, _shares, _nics, _consoles, _channels, _others),
)


# -- values --------------------------------------------------------------------------------------------------

_UNITS = {"b": 1, "bytes": 1, "KiB": KIB, "k": KIB, "M": KIB**2, "MiB": KIB**2, "G": KIB**3, "GiB": KIB**3}


def _attributes(element: Element | None) -> dict[str, str]:
    return {} if element is None else {str(name): str(value) for name, value in element.attrib.items()}


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and re.fullmatch("-?[0-9]{1,18}", text.strip(), re.ASCII) else None


def _size(element: Element | None) -> str | None:
    number = _number(element.text) if element is not None else None
    return (
        None
        if element is None or number is None
        else format_size(number * _UNITS.get(element.get("unit", "KiB"), 0))
    )


def _flag(text: str | None, yes: str, no: str) -> bool | None:
    return {yes: True, no: False}.get(text or "")


def _there(guest: Guest, path: str) -> bool | None:
    return True if guest.root.find(path) is not None else None
