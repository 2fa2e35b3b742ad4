"""XML -> keys of the manifest, section by section: the inverse of what `libvirt_xml/domain*.py` writes.

A recogniser proposes; it need not be sure. Every proposal is compiled by the real pipeline and kept only if that
brings the declaration nearer to what is observed (`entry.py`); what none recognises is said in `xml:`. So a new key of
the model needs a row here to be used, and nothing here can make an entry wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from kvmdecl.adopt.guest import (
    Guest,
    Keys,
    amount,
    kib,
    number,
    pci,
    present,
    read,
    said,
    seconds,
    size_of,
    switch,
    text_at,
    word,
)
from kvmdecl.adopt.recognise_board import BOARD
from kvmdecl.adopt.recognise_devices import DEVICES
from kvmdecl.manifest.cpus import BandwidthShare, CacheShare, Cpus, numbers_of
from kvmdecl.manifest.disk_sources import Source
from kvmdecl.manifest.disks import Cdrom, Disk, ScsiController
from kvmdecl.manifest.memory import SLOTS, Memory, MemoryModule
from kvmdecl.manifest.numa import NumaCell
from kvmdecl.names import KIB, format_size
from kvmdecl.words import NESTING

if TYPE_CHECKING:
    from kvmdecl.libvirt_xml.safe import Element

_DEVICE_NAME = re.compile("[a-z0-9][a-z0-9-]{0,19}", re.ASCII)


def proposals(guest: Guest) -> Iterator[Keys]:
    """All proposals, each to be judged for itself; those about one device are one."""
    for recognise in RECOGNISERS:
        for keys in recognise(guest):
            if keys := said(keys):
                yield keys


# -- CPUs and memory -----------------------------------------------------------------------------------------


def _cpus(guest: Guest) -> Iterator[Keys]:
    most = guest.text("vcpu") or "1"
    now = guest.get("vcpu", "current") or most
    count = int(now) if (now, most) != ("1", "1") else None
    yield {"cpus": {"count": count, "max": int(most) if most != now else None}}
    mode = guest.get("cpu", "mode")
    model = guest.text("cpu/model") if mode in {None, "custom"} else mode
    yield {"cpus": {"model": model}}
    match = guest.get("cpu", "match")
    yield {"cpus": {"match": match if match != "exact" else None}}
    if guest.text("cpu/model") and guest.get("cpu/model", "fallback") != "forbid":
        yield {"cpus": {"fallback": "allow"}}
    yield from ({"cpus": {key: value}} for key, value in read(guest.root, Cpus, _CPU).items())
    if guest.get("cpu/maxphysaddr", "mode") == "passthrough":
        yield {"cpus": {"address_bits": "host"}}
    topology = guest.root.find("cpu/topology")
    if topology is not None:
        said_of_it = {n: int(v) for n, v in topology.attrib.items() if v != "1" or n == "sockets"}
        yield {"cpus": {"topology": said_of_it}}
    features = {f.get("name", ""): f.get("policy", "require") for f in guest.all("cpu/feature")}
    yield {"cpus": _nesting(guest, features)}
    yield {"cpus": {"features": features}}


def _nesting(guest: Guest, features: dict[str, str]) -> Keys:
    """What is said of guests within the guest; it is not said once more among the features."""
    said = {features.get(name) for name in NESTING}
    hidden = guest.root.get("type") == "kvm" and guest.usual.is_pc
    if said == {"optional"} or (said == {"disable"} and hidden):
        for name in NESTING:
            del features[name]
        return {"nested": said == {"optional"} or None}
    return {"nested": "host"} if hidden else {}


_CPU_TIME = (
    *("shares", "period", "quota", "emulator_period", "emulator_quota"),
    *("global_period", "global_quota", "iothread_period", "iothread_quota"),
)
_CPU = {
    "check": ("cpu@check", word),
    "vendor": ("cpu/vendor", word),
    "migratable": ("cpu@migratable", switch),
    "cache": ("cpu/cache@mode", word),
    "address_bits": ("cpu/maxphysaddr@bits", number),
    **{name: (f"cputune/{name}", number) for name in _CPU_TIME},
    "emulator_pin": ("cputune/emulatorpin@cpuset", word),
}


def _tuning(guest: Guest) -> Iterator[Keys]:
    for key, tag, whose in (("pins", "vcpupin", "vcpu"), ("iothread_pins", "iothreadpin", "iothread")):
        pins = {pin.get(whose, ""): pin.get("cpuset") for pin in guest.all(f"cputune/{tag}")}
        yield {"cpus": {key: pins}}
    yield {"iothreads": number(guest.text("iothreads"))}
    for key, tag, numbers in _SCHEDULERS:
        yield {"cpus": {key: _scheduler(guest.all(f"cputune/{tag}"), numbers)}}
    for tune in guest.all("cputune/cachetune"):
        shares = [read(share, CacheShare, _CACHE_SHARE) for share in tune.iterfind("cache")]
        yield {"cpus": {"cache_shares": [{"vcpus": tune.get("vcpus"), **keys} for keys in shares]}}
    for tune in guest.all("cputune/memorytune"):
        shares = [read(share, BandwidthShare, _BANDWIDTH_SHARE) for share in tune.iterfind("node")]
        yield {"cpus": {"bandwidth_shares": [{"vcpus": tune.get("vcpus"), **keys} for keys in shares]}}


_SCHEDULERS = (
    ("scheduler", "vcpusched", "vcpus"),
    ("emulator_scheduler", "emulatorsched", ""),
    ("iothread_scheduler", "iothreadsched", "iothreads"),
)
_CACHE_SHARE = {
    "size": ("@size", kib),
    "level": ("@level", word),
    "bank": ("@id", number),
    "type": ("@type", word),
}
_BANDWIDTH_SHARE = {"percent": ("@bandwidth", number), "node": ("@id", number)}


def _scheduler(threads: list[Element], numbers: str) -> Keys | None:
    """One way for the threads that are named; None if they have several."""
    ways = {(thread.get("scheduler"), number(thread.get("priority"))) for thread in threads}
    if len(ways) != 1:
        return None
    ((policy, priority),) = ways
    only = ",".join(thread.get(numbers, "") for thread in threads) if numbers else None
    return {"policy": policy, "priority": priority if priority != 1 else None, "only": only}


def _memory(guest: Guest) -> Iterator[Keys]:
    most, now = size_of(guest.root.find("memory")), size_of(guest.root.find("currentMemory"))
    now = now or most
    yield {"memory": {"size": now, "max": most if most != now else None}}
    for page in guest.all("memoryBacking/hugepages/page"):
        if page.get("nodeset") is None:
            yield {"memory": {"pages": kib(page.get("size", ""))}}
    yield from ({"memory": {key: value}} for key, value in read(guest.root, Memory, _MEMORY).items())


_MEMORY = {
    "source": ("memoryBacking/source@type", word),
    "access": ("memoryBacking/access@mode", word),
    "allocation": ("memoryBacking/allocation@mode", word),
    "allocation_threads": ("memoryBacking/allocation@threads", number),
    "discard": ("memoryBacking/discard", present),
    "locked": ("memoryBacking/locked", present),
    "ksm": ("memoryBacking/nosharepages", lambda _: False),
    **{name: (f"memtune/{name}", kib) for name in ("hard_limit", "soft_limit", "swap_hard_limit")},
}


def _numa(guest: Guest) -> Iterator[Keys]:
    """Cells that the guest sees, with what is plugged into them; and which memory of the host it gets."""
    numa = guest.root.find("numatune/memory")
    if numa is not None:
        mode = numa.get("mode", "strict")
        yield {"numa": {"nodeset": numa.get("nodeset"), "mode": mode if mode != "strict" else None}}
    cells = guest.all("cpu/numa/cell")
    modules = {_alias(module): _module(module) for module in guest.all("devices/memory")}
    if not cells or "" in modules:  # beside a module without a name, which `xml:` says, so does it the sizes
        return
    sizes = [number(cell.get("memory")) or 0 for cell in cells]
    hotplug = guest.root.find("maxMemory")
    slots = number(hotplug.get("slots")) if hotplug is not None else None
    memory = {
        "size": format_size(sum(sizes) * KIB) if hotplug is not None else None,
        "hotplug_max": size_of(hotplug),
        "slots": slots if slots != SLOTS else None,
        "modules": modules,
    }
    yield {"memory": memory, "numa": {"cells": [_cell(guest, cell) for cell in cells]}}


def _cell(guest: Guest, cell: Element) -> Keys:
    id_ = cell.get("id", "")
    nodes = guest.root.find(f"numatune/memnode[@cellid='{id_}']")
    mode = text_at(nodes, "@mode")
    pages = [
        page.get("size", "")
        for page in guest.all("memoryBacking/hugepages/page[@nodeset]")
        if number(id_) in numbers_of(page.get("nodeset", ""))
    ]
    distances = [number(sibling.get("value")) for sibling in cell.iterfind("distances/sibling")]
    return read(cell, NumaCell, _CELL) | {
        "nodeset": text_at(nodes, "@nodeset"),
        "mode": mode if mode != "strict" else None,
        "pages": kib(pages[0]) if pages else None,
        "distances": distances or None,
    }


_CELL = {
    "cpus": ("@cpus", word),
    "memory": ("@memory", kib),
    "access": ("@memAccess", word),
    "discard": ("@discard", switch),
}


def _module(module: Element) -> Keys:
    found = read(module, MemoryModule, _MODULE)
    if found.get("model") == "virtio-mem":
        found |= read(
            module, MemoryModule, {"block": ("target/block", kib), "requested": ("target/requested", kib)}
        )
    return found


_MODULE = {
    "model": ("@model", word),
    "size": ("target/size", kib),
    "cell": ("target/node", number),
    "pages": ("source/pagesize", kib),
    "nodeset": ("source/nodemask", word),
    "path": ("source/path", word),
    "label": ("target/label/size", kib),
}


def _alias(device: Element) -> str:
    """The name that somebody gave a device, empty if nobody did."""
    name = text_at(device, "alias@name") or ""
    return name.removeprefix("ua-") if name.startswith("ua-") else ""


# -- disks ---------------------------------------------------------------------------------------------------


def _disks(guest: Guest) -> Iterator[Keys]:
    """The first disk is the root disk; the others, and drives, are called by their targets."""
    disks = [disk for disk in guest.all("devices/disk") if disk.get("device", "disk") in {"disk", "lun"}]
    for disk in disks:
        if (source := _path(disk) or _elsewhere(disk)) is not None:
            keys = _disk(disk, source)
            yield {"disk": keys} if disk is disks[0] else {"disks": {_name(disk, "ua-"): keys}}
    for drive in guest.all("devices/disk[@device='cdrom']"):
        yield {"cdroms": {_name(drive, "ua-cdrom_"): _drive(drive)}}
    yield {"boot": _boot(guest, disks)}
    for driver in guest.all("devices/controller[@type='scsi'][@index='0']/driver"):
        yield {"scsi_controller": read(driver, ScsiController, _CONTROLLER)}


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


def _elsewhere(disk: Element) -> Keys | None:
    """An NVMe drive, or where a disk on a storage server is.

    Who the host is to the server stays in `xml:`: adopt knows no secret by its name.
    """
    source = disk.find("source")
    if source is not None and disk.get("type") == "nvme":
        return {"nvme": pci(source.find("address")), **read(source, Source, _NVME)}
    if source is None or disk.get("type") != "network":
        return None
    servers = [_server(host) for host in source.iterfind("host[@name]")]
    socket = text_at(source.find("host[@socket]"), "@socket")
    return read(source, Source, _SOURCE) | {"servers": servers or None, "socket": socket}


def _server(host: Element) -> str:
    name, port = host.get("name", ""), host.get("port")
    name = f"[{name}]" if ":" in name else name
    return f"{name}:{port}" if port is not None else name


_NVME = {"namespace": ("@namespace", number), "managed": ("@managed", switch)}
_SOURCE = {
    **{name: (f"@{name}", word) for name in ("protocol", "name", "query")},
    "tls": ("@tls", switch),
    "verify": ("ssl@verify", switch),
    "timeout": ("timeout@seconds", seconds),
    "readahead": ("readahead@size", amount),
    "snapshot": ("snapshot@name", word),
    "config_file": ("config@file", word),
    "initiator": ("initiator/iqn@name", word),
}


def _disk(disk: Element, source: str | Keys) -> Keys:
    limits = [limit for limit in disk.iterfind("iotune/*") if limit.tag != "group_name"]
    return {
        "source": source,
        "format": text_at(disk, "driver@type") or "raw",
        **read(disk, Disk, _DISK),
        "iotune": {str(limit.tag): _limit(limit) for limit in limits},
    }


_DISK = {
    "bus": ("target@bus", word),
    "target": ("target@dev", word),
    **{
        name: (f"driver@{name}", word) for name in ("cache", "io", "discard", "detect_zeroes", "error_policy")
    },
    "read_error_policy": ("driver@rerror_policy", word),
    "iothread": ("driver@iothread", number),
    "queues": ("driver@queues", number),
    "copy_on_read": ("driver@copy_on_read", switch),
    "readonly": ("readonly", present),
    "shareable": ("shareable", present),
    "serial": ("serial", word),
    "wwn": ("wwn", word),
    "rotation_rate": ("target@rotation_rate", number),
    "lun": ("@device", lambda device: device == "lun"),
    "reservations": ("source/reservations@managed", switch),
    "startup_policy": ("source@startupPolicy", word),
}
_DRIVE = {name: _DISK[name] for name in ("bus", "target", "startup_policy")}


_CONTROLLER = {
    **{name: (f"@{name}", number) for name in ("queues", "iothread", "max_sectors")},
    "commands_per_unit": ("@cmd_per_lun", number),
}


def _limit(limit: Element) -> int | str | None:
    name = str(limit.tag)
    is_size = name == "size_iops_sec" or ("bytes" in name and not name.endswith("length"))
    return amount(limit.text or "") if is_size else number(limit.text)


def _drive(drive: Element) -> Keys:
    return {"source": _path(drive), **read(drive, Cdrom, _DRIVE)}


def _boot(guest: Guest, disks: list[Element]) -> list[str]:
    """Disks, drives and NICs in their order; no order unless it is one that the manifest can say."""
    order: dict[int, str] = {}
    for disk in guest.all("devices/disk"):
        prefix = "ua-cdrom_" if disk.get("device") == "cdrom" else "ua-"
        if (number := _order(disk)) is not None:
            order[number] = "root" if disk in disks[:1] else _name(disk, prefix)
    nics = [n for nic in guest.all("devices/interface") if (n := _order(nic)) is not None]
    if nics and nics == list(range(nics[0], nics[0] + len(nics))):
        order[nics[0]] = "network"
    return [order[number] for number in sorted(order)]


def _order(device: Element) -> int | None:
    boot = device.find("boot")
    return None if boot is None else number(boot.get("order"))


RECOGNISERS: tuple[Callable[[Guest], Iterator[Keys]], ...] = (
    *(*BOARD, _cpus, _tuning, _memory, _numa, _disks),
    *DEVICES,
)
