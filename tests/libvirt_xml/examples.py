"""Guests to try things on, and what libvirt makes of their definitions."""

from __future__ import annotations

import random
from itertools import count
from typing import Any

from hypothesis import strategies as st
from lxml import etree

from kvmdecl.cluster import ResolvedCdrom, ResolvedDisk, ResolvedNic, ResolvedVm
from kvmdecl.libvirt_xml.domain import domain_xml
from kvmdecl.libvirt_xml.overlay import complete
from kvmdecl.manifest import (
    Balloon,
    Cdrom,
    Cpus,
    Disk,
    Firmware,
    Graphics,
    Memory,
    Nic,
    Numa,
    Pool,
    Vm,
    Watchdog,
)
from kvmdecl.names import GIB, MIB
from kvmdecl.state import ObservedDomain, SeedContent
from tests.libvirt_xml.device_examples import DEVICES

UUID = "1b671a64-40d5-491e-99b0-da01ff1f3341"
POOLS = {"vms": Pool(path="/srv/vms")}
SEED = {"seed": SeedContent(()), "seed_pool": "vms"}
OTHER_SEED = SEED | {"seed": SeedContent((("user-data", "#cloud-config\n"),))}

FOREIGN = """<domain>
  <resource><partition>/theirs</partition></resource>
  <cputune><global_period>50000</global_period></cputune>
  <metadata><app:notes xmlns:app="urn:example:notes"><app:by>ops</app:by></app:notes></metadata>
  <devices>
    <disk type="block" device="disk">
      <source dev="/dev/mapper/theirs"/><target dev="vdz" bus="virtio"/><shareable/>
    </disk>
    <sound model="pcspk"/>
  </devices>
</domain>"""


def disk(name: str = "root", **given: Any) -> ResolvedDisk:
    """A resolved disk; `given` are keys of the manifest, or of what follows from them."""
    follows = {"pool": "vms", "volume": f"web-1.{name}.qcow2", "image": None, "boot_order": None}
    follows |= {"encryption": None, "server_secret": None}
    spec = Disk(**{"size": 8 * MIB} | _rest(given, follows))
    return ResolvedDisk(name=name, spec=spec, **follows | _only(given, follows))


def cdrom(name: str = "cd", medium: str = "", boot_order: int | None = None) -> ResolvedCdrom:
    """A resolved drive, with a volume in it or empty."""
    return ResolvedCdrom(name, Cdrom(), medium, "vms" if medium else "", medium, boot_order)


def nic(number: int = 1, **given: Any) -> ResolvedNic:
    """A resolved NIC, in the same way."""
    mac = f"52:54:00:00:00:{number:02x}"
    follows = {"mac": mac, "source": "br0", "is_bridge": True, "boot_order": None, "failover": ""}
    spec = Nic(**{"network": "lan"} | _rest(given, follows))
    return ResolvedNic(spec=spec, **follows | _only(given, follows))


def vm(**given: Any) -> ResolvedVm:
    """A resolved vm, in the same way; `cpus` and `memory` may be given with their maximum and model beside them.

    `cpu_keys` and `memory_keys` are what else those sections say.
    """
    follows = {
        "name": "web-1",
        "uuid": UUID,
        "host": "kvm-1",
        "type": "qemu",
        "disks": (disk(),),
        "nics": (nic(),),
        "cdroms": (),
        "seed": None,
        "seed_pool": "",
        "tpm_secret": None,
    }
    long = {"cpus": 1, "max_cpus": 2, "cpu_model": None, "memory": 64 * MIB, "max_memory": 128 * MIB}
    long |= {"cpu_keys": {}, "memory_keys": {}}
    sizes = long | _only(given, long)
    cpus = Cpus(count=sizes["cpus"], max=sizes["max_cpus"], model=sizes["cpu_model"], **sizes["cpu_keys"])
    memory = Memory(size=sizes["memory"], max=sizes["max_memory"], **sizes["memory_keys"])
    spec = Vm(cpus=cpus, memory=memory, **_rest(given, follows | long))
    return ResolvedVm(spec=spec, **follows | _only(given, follows))


def _only(given: dict[str, Any], keys: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in given.items() if key in keys}


def _rest(given: dict[str, Any], keys: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in given.items() if key not in keys}


def declared(**given: Any) -> str:
    return domain_xml(vm(**given), POOLS)


def kept(xml: str) -> str:
    """What libvirt keeps of a new definition: places, the machine's version, devices that it adds."""
    root = etree.fromstring(complete(xml))
    places = count(1)
    for device in root.iterfind("devices/*"):
        if (
            device.tag not in {"audio", "graphics", "serial", "console", "video"}
            and device.get("model") != "none"
        ):
            number = f"0x{next(places):02x}"
            etree.SubElement(
                device, "address", type="pci", domain="0x0000", bus=number, slot="0x00", function="0x0"
            )
    for bus, place in enumerate(root.iterfind("devices/controller[@model='pcie-root-port']"), 100):
        place.set("index", str(bus))  # of which all are free
    for port, serial in enumerate(root.iterfind("devices/serial")):
        if serial.find("target") is None:
            etree.SubElement(serial, "target", type="isa-serial", port=str(port))
    machine = root.find("os/type")
    assert machine is not None
    machine.set("machine", {"q35": "pc-q35-7.2", "pc": "pc-i440fx-7.2"}[machine.attrib["machine"]])
    devices = root.find("devices")
    assert devices is not None
    etree.SubElement(devices, "emulator").text = "/usr/bin/qemu-system-x86_64"
    if devices.find("audio") is None:
        etree.SubElement(devices, "audio", id="1", type="none")
    if root.find("on_crash") is None:
        etree.SubElement(root, "on_crash").text = "destroy"
    return etree.tostring(root, encoding="unicode")


def with_foreign(xml: str) -> str:
    """A definition to which somebody else has added settings and devices."""
    root, theirs = etree.fromstring(xml), etree.fromstring(FOREIGN)
    devices, their_devices = root.find("devices"), theirs.find("devices")
    assert devices is not None
    assert their_devices is not None
    devices.extend(list(their_devices))
    for child in [child for child in theirs if child.tag != "devices"]:
        if (ours := root.find(child.tag)) is None:
            root.append(child)
        else:
            ours.extend([setting for setting in child if ours.find(setting.tag) is None])
    for target in root.iterfind("devices/interface"):
        etree.SubElement(target, "driver", name="vhost", queues="4")
    return etree.tostring(root, encoding="unicode")


def respelt(xml: str, seed: int) -> str:
    """The same definition in other words: order, space, units, case."""
    chance = random.Random(seed)
    root = etree.fromstring(xml)
    for element in root.iter(etree.Element):
        if len(element):
            children = list(element)
            by_tag = {
                tag: [c for c in children if c.tag == tag] for tag in sorted({str(c.tag) for c in children})
            }
            tags = [str(child.tag) for child in children]
            chance.shuffle(tags)
            element[:] = [by_tag[tag].pop(0) for tag in tags]
            element.text = chance.choice(["\n\t", " ", "\n\n  "])
        element.tail = chance.choice(["\n", "  "])
    for tag in ("memory", "currentMemory"):
        size = root.find(tag)
        if size is None:
            continue
        scale, unit = chance.choice([(1, "KiB"), (1024, "MiB"), (1, "k")])
        size.text, size.attrib["unit"] = f" {int(size.text or 0) // scale}\n", unit
    for mac in root.iterfind("devices/interface/mac"):
        mac.set("address", mac.attrib["address"].upper())
    for address in root.iterfind("devices/*/address"):
        address.set("bus", str(int(address.attrib["bus"], 16)))
    return etree.tostring(root, encoding="unicode")


def observed(xml: str, live: str | None = None) -> ObservedDomain:
    return ObservedDomain("web-1", UUID, xml, live, live is not None, True, True, False)


_buses = st.sampled_from(["virtio", "scsi", "sata"])
_caches = st.sampled_from([None, "none", "writeback", "directsync"])
_models = st.sampled_from(["virtio", "e1000e", "e1000", "rtl8139"])


@st.composite
def _disks(draw: st.DrawFn) -> tuple[ResolvedDisk, ...]:
    names = draw(st.lists(st.sampled_from(["root", "data", "logs", "seed", "a-b"]), unique=True, max_size=4))
    return tuple(
        disk(
            name,
            bus=draw(_buses),
            cache=draw(_caches),
            discard=draw(st.sampled_from([None, "unmap", "ignore"])),
            serial=draw(st.sampled_from([name, f"S {name}"])),
            io=draw(st.sampled_from([None, "threads", "io_uring"])),
            iotune=draw(st.sampled_from([{}, {"read_iops_sec": 9}, {"total_bytes_sec": "1MiB"}])),
            boot_order=draw(st.sampled_from([None, number])),
        )
        for number, name in enumerate(names, 1)
    )


@st.composite
def _nics(draw: st.DrawFn) -> tuple[ResolvedNic, ...]:
    numbers = draw(st.lists(st.integers(1, 5), unique=True, max_size=3))
    return tuple(
        nic(
            number,
            is_bridge=draw(st.booleans()),
            source=draw(st.sampled_from(["br0", "inner"])),
            model=draw(_models),
            link=draw(st.sampled_from(["up", "down"])),
            mtu=draw(st.sampled_from([None, 9000])),
            boot_order=draw(st.sampled_from([None, 10 + number])),
        )
        for number in numbers
    )


_cpu_keys = st.fixed_dictionaries(
    {},
    optional={
        "features": st.sampled_from([{"aes": "require"}, {"aes": "disable", "pcid": "optional"}]),
        "nested": st.sampled_from([True, False, "host"]),
        "shares": st.sampled_from([512, 2048]),
        "period": st.just(100_000),
        "quota": st.just(50_000),
        "emulator_period": st.just(100_000),
        "emulator_quota": st.just(20_000),
        "pins": st.sampled_from([{"0": "1"}, {"0": "0-1"}]),
        "emulator_pin": st.sampled_from(["0", "0-1"]),
    },
)
_memory_keys = st.fixed_dictionaries(
    {},
    optional={
        "pages": st.just(2 * MIB),
        "source": st.sampled_from(["memfd", "file"]),
        "access": st.sampled_from(["shared", "private"]),
        "locked": st.booleans(),
        "ksm": st.booleans(),
        "hard_limit": st.just(GIB),
        "soft_limit": st.just(MIB),
    },
)


REACH: tuple[dict[str, Any], ...] = (
    {"max_memory": None, "memory_keys": {"hotplug_max": GIB, "modules": {"a": 64 * MIB}}},
    {"max_memory": None, "memory_keys": {"hotplug_max": GIB}},
    {"cpus": 2, "max_cpus": 4, "numa": Numa(cells=[{"nodeset": "0"}, {}]), "memory": 64 * MIB},
    {"cpus": 1, "max_cpus": 2, "cpu_keys": {"scheduler": "fifo", "check": "none", "global_quota": 50_000}},
    {"machine": "q35", "iommu": "virtio", "shared_memory": {"ring": MIB}},
    {"hostdevs": [{"pci": "0000:41:00.0"}, {"usb": {"vendor": "046d", "product": "c52b"}}]},
    {"kernel": "/srv/vmlinuz", "smbios": {"system": {"serial": "1"}}, "features": {"pmu": False}},
    {"security": {"dac": "none"}, "blkio": "500", "perf": ["cpu_clock"]},
    {"firmware": Firmware(type="uefi", loader="/usr/share/OVMF/OVMF_CODE_4M.fd", nvram="/srv/own.fd")},
    {"timers": {"hpet": True, "tsc": {"frequency": "5"}}, "type": "kvm"},
)
"""Keys of which few guests have any."""


@st.composite
def vms(draw: st.DrawFn) -> ResolvedVm:
    """Guests of every kind that a manifest can describe, all with one identity."""
    cpus, memory = draw(st.integers(1, 4)), draw(st.sampled_from([64, 96, 128])) * MIB
    secure, uefi = draw(st.booleans()), draw(st.booleans())
    more = dict(draw(st.sampled_from([{}, *DEVICES.values(), *REACH])))
    given = dict(
        description=draw(st.sampled_from([None, "two\nlines & <more>", " \r\n ä "])),
        type=draw(st.sampled_from(["kvm", "qemu"])),
        machine=draw(st.sampled_from(["q35", "pc"])),
        cpus=cpus,
        max_cpus=cpus + draw(st.integers(0, 4)),
        cpu_model=draw(st.sampled_from(["host-model", "host-passthrough", "maximum", "EPYC-Rome"])),
        memory=memory,
        max_memory=memory * draw(st.integers(1, 2)),
        firmware=Firmware(type="uefi" if uefi else "bios", secure_boot=uefi and secure),
        disks=draw(_disks()),
        nics=draw(_nics()),
        cdroms=draw(st.sampled_from([(), (cdrom(),), (cdrom("cd", "a.iso", 20), cdrom("dvd"))])),
        serial=draw(st.booleans()),
        graphics=Graphics(type=draw(st.sampled_from(["none", "vnc", "spice"])), listen="::1"),
        agent=draw(st.booleans()),
        rng=draw(st.booleans()),
        balloon=draw(st.sampled_from([True, False, Balloon(free_page_reporting=True)])),
        numa=draw(st.sampled_from([None, Numa(nodeset="0-1", mode="interleave")])),
        cpu_keys=draw(_cpu_keys),
        memory_keys=draw(_memory_keys),
        iothreads=draw(st.sampled_from([None, 1, 3])),
        watchdog=draw(st.sampled_from([None, Watchdog(), Watchdog(model="ib700", action="pause")])),
        **(SEED if draw(st.booleans()) else {}),
    )
    return vm(**given | more)
