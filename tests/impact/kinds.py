"""Kinds of changes of a running guest, and what each is said to do to it. Data only: `test_kinds.py` tries them.

A change is laid over the guest `web` as a JSON merge patch (RFC 7396): None takes a key away.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Patch = dict[str, Any]

MAC = "52:54:00:00:00:1{}"

MANIFEST: Patch = {
    "apiVersion": "kvmdecl/v1",
    "cluster": "kinds",
    "hosts": {"kvm-1": {"uri": "qemu+tls://kvm-1.example/system"}},
    "networks": {
        "lan": {"bridge": "br0"},
        "inner": {
            "mode": "isolated",
            "subnet": "192.168.150.0/24",
            "dhcp": {"start": "192.168.150.10", "end": "192.168.150.99"},
        },
    },
    "storage": {"vms": {"path": "/srv/vms"}},
    "images": {
        "tiny": {"source": "tiny.img", "format": "raw"},
        "a": {"source": "a.iso", "format": "raw"},
        "b": {"source": "b.iso", "format": "raw"},
    },
    "defaults": {"vms": {"type": "qemu", "host": "kvm-1"}},
    "vms": {
        "web": {
            "image": "tiny",
            "description": "a guest",
            "cpus": {"count": 2, "max": 4, "pins": {"1": "0"}, "emulator_pin": "0"},
            "memory": {"size": "64MiB", "max": "128MiB"},
            "disks": {
                "data": "8MiB",
                "limited": {"size": "8MiB", "cache": "none", "iotune": {"total_iops_sec": 1000}},
                "served": {"size": "8MiB", "iothread": 1},
                "raw": {"size": "8MiB", "format": "raw"},
                "scsi": {"size": "8MiB", "bus": "scsi"},
                "scsi-2": {"size": "8MiB", "bus": "scsi"},
                "sata": {"size": "8MiB", "bus": "sata"},
            },
            "cdroms": {"cd": "a", "empty": {}},
            "iothreads": 2,
            "nics": [
                {"network": "lan", "mac": MAC.format(1)},
                {"network": "inner", "mac": MAC.format(2), "link": "down"},
            ],
            "channels": ["org.example.one"],
            "on_crash": "preserve",
            "watchdog": "reset",
            "serial": {"log": True},
        },
        # Variables of firmware lie beside this one, and a snapshot of it: no change may touch them.
        "keeper": {"firmware": "uefi", "memory": "32MiB", "disks": {"data": "8MiB"}, "nics": ["lan"]},
    },
}


@dataclass(frozen=True)
class KindOfChange:
    """A change, and what it does to the running guest.

    `begin` is laid over the guest before it, where the manifest above is not where it begins. `files` are patterns of
    files that the change makes or rewrites. `starts`: whether a host of the lab can start the guest with it.
    """

    name: str
    change: Patch
    impact: str
    begin: Patch = field(default_factory=dict)
    files: tuple[str, ...] = ()
    starts: bool = True


def _disk(name: str, **keys: object) -> Patch:
    return {"disks": {name: keys}}


def _nics(*second: Patch, **first: object) -> Patch:
    nics = MANIFEST["vms"]["web"]["nics"]
    return {"nics": [nics[0] | first, *(second or nics[1:])]}


LIVE, NEXT_BOOT, METADATA, NONE, DOWNTIME, RESTART = (
    "live",
    "next-boot",
    "metadata",
    "none",
    "downtime",
    "restart",
)
_K = KindOfChange
_LEASE = {"lockspace": "cluster-1", "path": "/srv/leases"}
_INNER = MANIFEST["vms"]["web"]["nics"][1]

KINDS: tuple[KindOfChange, ...] = (
    # CPUs and memory
    _K("a vCPU more", {"cpus": {"count": 3}}, LIVE),
    _K("a vCPU less", {"cpus": {"count": 1}}, NEXT_BOOT),
    _K("more vCPUs than it began with", {"cpus": {"max": 8}}, NEXT_BOOT),
    _K("another CPU model", {"cpus": {"model": "Nehalem"}}, NEXT_BOOT),
    _K("another topology", {"cpus": {"topology": {"cores": 4}}}, NEXT_BOOT),
    _K("a CPU feature", {"cpus": {"features": {"aes": "disable"}}}, NEXT_BOOT),
    _K("nested guests", {"cpus": {"nested": True}}, NEXT_BOOT),
    _K("a pin of a vCPU that it has", {"cpus": {"pins": {"0": "0"}}}, LIVE),
    _K("another pin", {"cpus": {"pins": {"1": "0-1"}}}, LIVE),
    _K("a pin taken away", {"cpus": {"pins": None}}, NEXT_BOOT),
    _K("a pin of a vCPU that it has not", {"cpus": {"pins": {"3": "0"}}}, NEXT_BOOT),
    _K("another pin of QEMU", {"cpus": {"emulator_pin": "0-1"}}, LIVE),
    _K("the pin of QEMU taken away", {"cpus": {"emulator_pin": None}}, NEXT_BOOT),
    _K("more memory than it began with", {"memory": {"max": "256MiB"}}, NEXT_BOOT),
    _K("a lower maximum of memory", {"memory": {"max": "96MiB"}}, NEXT_BOOT),
    _K("memory of a memfd", {"memory": {"source": "memfd"}}, NEXT_BOOT),
    _K("shared memory", {"memory": {"access": "shared"}}, NEXT_BOOT),
    _K("memory that is not merged", {"memory": {"ksm": False}}, NEXT_BOOT),
    _K("memory that is not swapped", {"memory": {"locked": True}}, NEXT_BOOT, starts=False),
    _K("a NUMA node of the host", {"numa": "0"}, NEXT_BOOT),
    _K("no balloon", {"balloon": False}, NEXT_BOOT),
    _K("free page reporting", {"balloon": {"free_page_reporting": True}}, NEXT_BOOT),
    # the board
    _K("another chipset", {"machine": "pc"}, NEXT_BOOT),
    _K("uefi", {"firmware": "uefi"}, NEXT_BOOT),
    _K("local time", {"clock": "localtime"}, NEXT_BOOT),
    _K("what follows a power-off", {"on_poweroff": "restart"}, LIVE),
    _K("what follows a reboot", {"on_reboot": "destroy"}, LIVE),
    _K("what follows a crash", {"on_crash": "restart"}, LIVE),
    _K("what follows a crash, by default", {"on_crash": None}, LIVE),
    _K("another description", {"description": "another guest"}, METADATA),
    _K("no description", {"description": None}, METADATA),
    _K("a boot order", {"boot": ["root", "network"]}, NEXT_BOOT),
    _K("another I/O thread", {"iothreads": 3}, LIVE),
    _K("an I/O thread less", {"iothreads": 1}, LIVE),
    # disks
    _K("a virtio disk more", _disk("more", size="8MiB"), LIVE, files=("*/web.more.qcow2",)),
    _K("a virtio disk less", {"disks": {"data": None}}, LIVE),
    _K("a SCSI disk more", _disk("more", size="8MiB", bus="scsi"), LIVE, files=("*/web.more.qcow2",)),
    _K("a SCSI disk less", {"disks": {"scsi-2": None}}, LIVE),
    _K("a SATA disk more", _disk("more", size="8MiB", bus="sata"), NEXT_BOOT, files=("*/web.more.qcow2",)),
    _K("a SATA disk less", {"disks": {"sata": None}}, NEXT_BOOT),
    _K("a disk with limits and a thread more",
       _disk("more", size="8MiB", iothread=2, iotune={"read_iops_sec": 500}), LIVE, files=("*/web.more.qcow2",)),
    _K("a disk that grows", _disk("grown", size="16MiB"), LIVE,
       begin=_disk("grown", size="8MiB"), files=("*/web.grown.qcow2",)),
    _K("a raw disk that grows", _disk("grown-raw", size="16MiB"), LIVE,
       begin=_disk("grown-raw", size="8MiB", format="raw"), files=("*/web.grown-raw.raw",)),
    _K("another bus", _disk("sata", bus="virtio"), NEXT_BOOT),
    _K("a cache mode", _disk("served", cache="writethrough"), NEXT_BOOT),
    _K("no cache mode", _disk("limited", cache=None), NEXT_BOOT),
    _K("another way of I/O", _disk("limited", io="native"), NEXT_BOOT),
    _K("discards", _disk("served", discard="unmap"), NEXT_BOOT),
    _K("detection of zeros", _disk("served", detect_zeroes="on"), NEXT_BOOT),
    _K("an I/O thread for a disk", _disk("served", iothread=2), NEXT_BOOT),
    _K("queues of a disk", _disk("served", queues=2), NEXT_BOOT),
    _K("copy on read", _disk("served", copy_on_read=True), NEXT_BOOT),
    _K("an error policy", _disk("served", error_policy="stop"), NEXT_BOOT),
    _K("a policy for read errors", _disk("served", read_error_policy="report"), NEXT_BOOT),
    _K("a read-only disk", _disk("served", readonly=True), NEXT_BOOT),
    _K("a shared disk", _disk("raw", shareable=True), NEXT_BOOT),
    _K("a serial number", _disk("served", serial="S1"), NEXT_BOOT),
    _K("a World Wide Name", _disk("scsi", wwn="5000c50015ea71aa"), NEXT_BOOT),
    _K("a rotation rate", _disk("scsi", rotation_rate=1), NEXT_BOOT),
    _K("a limit", _disk("served", iotune={"total_bytes_sec": "1MiB"}), LIVE),
    _K("another limit", _disk("limited", iotune={"total_iops_sec": 2000}), LIVE),
    _K("bursts beyond a limit",
       _disk("limited", iotune={"total_iops_sec_max": 4000, "total_iops_sec_max_length": 5}), LIVE),
    _K("a limit of reading in place of one of all",
       _disk("limited", iotune={"total_iops_sec": None, "read_iops_sec": 7}), LIVE),
    _K("no limit", _disk("limited", iotune=None), LIVE),
    # drives
    _K("another medium", {"cdroms": {"cd": "b"}}, LIVE, files=("*/b.*.raw",)),
    _K("an ejected medium", {"cdroms": {"cd": {"image": None}}}, LIVE),
    _K("a medium for an empty drive", {"cdroms": {"empty": {"image": "a"}}}, LIVE),
    _K("a drive more", {"cdroms": {"more": {}}}, NEXT_BOOT),
    _K("a drive less", {"cdroms": {"empty": None}}, NEXT_BOOT),
    _K("other user-data", {"cloud_init": {"user_data": "#cloud-config\n{}\n"}}, LIVE, files=("*/web.seed.*",)),
    # NICs
    _K("a NIC more", {"nics": [*_nics()["nics"], {"network": "lan", "mac": MAC.format(3)}]}, LIVE),
    _K("a NIC less", {"nics": _nics()["nics"][:1]}, LIVE),
    _K("an unplugged cable", _nics(link="down"), LIVE),
    _K("a plugged cable", _nics(_INNER | {"link": "up"}), LIVE),
    _K("another network", _nics(_INNER | {"network": "lan"}), LIVE),
    _K("another MAC address", _nics(mac=MAC.format(9)), LIVE),
    _K("an isolated port", _nics(isolated=True), LIVE),
    _K("another model", _nics(model="e1000e"), NEXT_BOOT),
    _K("another MTU", _nics(mtu=1400), NEXT_BOOT),
    _K("queues of a NIC", _nics(queues=2), NEXT_BOOT),
    _K("trust in the guest's filters", _nics(trust_guest_rx_filters=True), NEXT_BOOT),
    # further devices
    _K("no random numbers", {"rng": False}, LIVE),
    _K("random numbers", {"rng": True}, LIVE, begin={"rng": False}),
    _K("no agent", {"agent": False}, LIVE),
    _K("an agent", {"agent": True}, LIVE, begin={"agent": False}),
    _K("a channel more", {"channels": ["org.example.one", "org.example.two"]}, LIVE),
    _K("a channel less", {"channels": []}, LIVE),
    _K("a graphical console", {"graphics": "vnc"}, NEXT_BOOT),
    _K("a graphics card", {"video": "virtio"}, NEXT_BOOT),
    _K("an input device", {"inputs": [{"type": "tablet", "bus": "usb"}]}, NEXT_BOOT),
    _K("a sound card", {"sound": "ich9"}, NEXT_BOOT),
    _K("another action of the watchdog", {"watchdog": "pause"}, NEXT_BOOT),
    _K("a lease", {"leases": {"data": _LEASE}}, LIVE),
    _K("no lease", {"leases": None}, LIVE, begin={"leases": {"data": _LEASE}}),
    _K("a lease elsewhere", {"leases": {"data": {"offset": "1MiB"}}}, NEXT_BOOT, begin={"leases": {"data": _LEASE}}),
    _K("reserved ports", {"hotplug_ports": 2}, NEXT_BOOT),
    _K("more ports than it began with", {"hotplug_ports": 6}, NEXT_BOOT),
    _K("no watchdog", {"watchdog": None}, NEXT_BOOT),
    _K("a panic device", {"panic": "isa"}, NEXT_BOOT),
    _K("no log of the serial console", {"serial": {"log": None}}, NEXT_BOOT),
    _K("no serial console", {"serial": False}, NEXT_BOOT),
    _K("a title, as XML", {"xml": "<title>front door</title>"}, METADATA),
    _K("a device as XML", {"xml": "<devices><hub type='usb'/></devices>"}, NEXT_BOOT),
    # the guest as a whole
    _K("no start with the host", {"autostart": False}, NONE),
    _K("a restart for what waits", {"memory": {"max": "256MiB"}, "restart": "now"}, RESTART),
    _K("a power-off", {"state": "stopped"}, DOWNTIME),
    _K("a start", {"state": "running"}, NONE, begin={"state": "stopped"}),
)  # fmt: skip


def laid_over(patch: Patch, on: Patch) -> Patch:
    """A JSON merge patch, applied."""
    merged = dict(on)
    for key, value in patch.items():
        before = merged.get(key)
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            merged[key] = laid_over(value, before if isinstance(before, dict) else {})
        else:
            merged[key] = value
    return merged


def with_web(*patches: Patch) -> Patch:
    """The manifest with patches laid over the guest `web`."""
    manifest = MANIFEST
    for patch in patches:
        manifest = laid_over({"vms": {"web": patch}}, manifest)
    return manifest
