"""Random edits of a manifest, over the whole range of its keys. Each is a valid manifest, if validation takes it.

An edit changes a key of a guest, a network, or what there is; the manifest grows and shrinks within bounds.
"""

from __future__ import annotations

import random
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Manifest = dict[str, Any]
Guest = dict[str, Any]

START: Manifest = {
    "apiVersion": "kvmdecl/v1",
    "cluster": "edits",
    "hosts": {"kvm-1": {"uri": "qemu+tls://kvm-1.example/system"}},
    "networks": {
        "lan": {"bridge": "br0"},
        "inner": {"mode": "isolated", "subnet": "192.168.150.0/24"},
        "outer": {"mode": "nat", "subnet": "192.168.151.0/24"},
    },
    "storage": {"vms": {"path": "/srv/vms"}, "more": {"path": "/srv/more"}},
    "images": {
        "tiny": {"source": "tiny.img", "format": "raw"},
        "a": {"source": "a.iso", "format": "raw"},
        "b": {"source": "b.iso", "format": "raw"},
    },
    "defaults": {"vms": {"type": "qemu", "host": "kvm-1", "shutdown": {"timeout": "1s", "force": True}}},
    "vms": {
        "one": {"image": "tiny", "memory": {"size": "48MiB", "max": "64MiB"}, "cpus": {"count": 1, "max": 4},
                "disk": {"pool": "vms"}, "nics": ["lan"], "cloud_init": {}},
        "two": {"disks": {"data": {"size": "2MiB", "pool": "vms"}}, "memory": "32MiB", "state": "stopped"},
    },
}  # fmt: skip


@dataclass
class Editor:
    """Makes one random edit after the other. The same seed gives the same edits."""

    random: random.Random
    manifest: Manifest = field(default_factory=lambda: deepcopy(START))
    sizes: dict[str, int] = field(default_factory=dict)
    made: int = 0

    def edit(self) -> str:
        """Change the manifest. Returns what was done."""
        before = deepcopy(self.manifest)
        for _ in range(20):
            (name,) = self.random.choices(list(EDITS), [WEIGHTS.get(edit, 1) for edit in EDITS])
            what = EDITS[name](self)
            if self.manifest != before:
                return f"{name} {what}"
        return "nothing"

    # Choices.

    def pick(self, *values: Any) -> Any:
        return self.random.choice(values)

    def guest(self) -> tuple[str, Guest]:
        name = self.pick(*self.manifest["vms"])
        return name, self.manifest["vms"][name]

    def put(self, holder: dict[str, Any], key: str, *values: Any) -> str:
        """Set a key to one of the values; None takes it away."""
        value = self.pick(*values)
        if value is None:
            holder.pop(key, None)
        else:
            holder[key] = value
        return f"{key}={value}"

    def disk(self) -> tuple[str, dict[str, Any]] | None:
        """One of the further disks of a guest."""
        name, guest = self.guest()
        disks = guest.get("disks", {})
        if not disks:
            return None
        disk = self.pick(*disks)
        return f"{name}.{disk}", disks[disk]

    def nic(self) -> tuple[str, dict[str, Any]] | None:
        name, guest = self.guest()
        nics = guest.get("nics", [])
        if not nics:
            return None
        index = self.random.randrange(len(nics))
        if isinstance(nics[index], str):
            nics[index] = {"network": nics[index]}
        return f"{name}.nics[{index}]", nics[index]


# -- edits -------------------------------------------------------------------------------------------------


def cpus(editor: Editor) -> str:
    name, guest = editor.guest()
    spec = guest.setdefault("cpus", {"count": 1, "max": 4})
    for key, values in (
        ("count", (1, 2, 3)), ("max", (3, 4, 6)), ("model", (None, "Nehalem", "qemu64", "maximum")),
        ("features", (None, {"aes": "disable"}, {"x2apic": "disable", "aes": "disable"})),
        ("nested", (None, True)), ("pins", (None, {"0": "0"}, {"0": "0-1", "1": "1"}, {"2": "0"})),
        ("emulator_pin", (None, "0", "0-1")),
    ):  # fmt: skip
        if editor.random.random() < 0.3:
            editor.put(spec, key, *values)
    return f"{name} {spec}"


def memory(editor: Editor) -> str:
    name, guest = editor.guest()
    spec = guest.get("memory")
    spec = guest["memory"] = spec if isinstance(spec, dict) else {"size": spec or "32MiB"}
    for key, values in (
        ("size", ("32MiB", "48MiB", "64MiB")), ("max", (None, "64MiB", "96MiB")),
        ("source", (None, "memfd", "anonymous")), ("access", (None, "shared", "private")), ("ksm", (None, False)),
    ):  # fmt: skip
        if editor.random.random() < 0.4:
            editor.put(spec, key, *values)
    return f"{name} {spec}"


def device(editor: Editor) -> str:
    name, guest = editor.guest()
    key = editor.pick(*DEVICES)
    return f"{name} {editor.put(guest, key, *DEVICES[key])}"


DEVICES: Mapping[str, tuple[Any, ...]] = {
    "rng": (True, False),
    "agent": (True, False),
    "channels": (None, ["org.example.one"], ["org.example.two", "org.example.one"]),
    "balloon": (None, False, {"free_page_reporting": True}),
    "watchdog": (None, "reset", "pause", {"action": "none", "model": "i6300esb"}),
    "graphics": (None, "vnc", {"type": "vnc", "keymap": "de"}, {"type": "vnc", "port": 5999}),
    "video": (None, "vga", "virtio", "none"),
    "inputs": (None, [], [{"type": "tablet", "bus": "usb"}], [{"type": "keyboard", "bus": "virtio"}]),
    "sound": (None, "ich9", "ac97"),
    "panic": (None, "isa"),
    "serial": (None, False, {"log": True}),
    "description": (None, "one", "two"),
    "autostart": (None, True, False),
    "clock": (None, "utc", "localtime"),
    "os": (None, "linux", "bsd"),
    "machine": (None, None, "q35", "pc"),
    "on_poweroff": (None, "destroy", "restart"),
    "on_reboot": (None, "restart"),
    "on_crash": (None, "preserve", "restart", "coredump-destroy"),
    "numa": (None, "0"),
    "restart": (None, "never", "scheduled", "now"),
    "xml": (
        None,
        "<title>front door</title>",
        "<devices><hub type='usb'/></devices>",
        "<features><pvspinlock state='off'/></features>",
        "<devices><shmem name='shm'><model type='ivshmem-plain'/><size unit='M'>1</size></shmem></devices>",
    ),
}


def iothreads(editor: Editor) -> str:
    name, guest = editor.guest()
    return f"{name} {editor.put(guest, 'iothreads', None, 1, 2, 3)}"


def add_disk(editor: Editor) -> str:
    name, guest = editor.guest()
    disks = guest.setdefault("disks", {})
    editor.made += 1
    disk = f"d{editor.made}"  # a volume outlives its disk, so that no name comes back
    if len(disks) < 5:
        disks[disk] = {
            "size": editor.pick("1MiB", "2MiB"), "pool": editor.pick("vms", "more"),
            "bus": editor.pick("virtio", "scsi", "sata"), "format": editor.pick("qcow2", "raw"),
            "preallocation": editor.pick("off", "falloc"),
        }  # fmt: skip
    return f"{name}.{disk}"


def remove_disk(editor: Editor) -> str:
    name, guest = editor.guest()
    disks = guest.get("disks", {})
    if not disks:
        return ""
    disk = editor.pick(*disks)
    del disks[disk]
    guest["boot"] = [entry for entry in guest.get("boot", []) if entry != disk]
    return f"{name}.{disk}"


def grow_disk(editor: Editor) -> str:
    found = editor.disk()
    if found is None:
        return ""
    where, disk = found
    disk["size"] = f"{int(disk['size'].removesuffix('MiB')) + editor.pick(1, 2)}MiB"
    return f"{where} {disk['size']}"


def change_disk(editor: Editor) -> str:
    found = editor.disk()
    if found is None:
        return ""
    where, disk = found
    key = editor.pick(*DISK_KEYS)
    return f"{where} {editor.put(disk, key, *DISK_KEYS[key])}"


DISK_KEYS: Mapping[str, tuple[Any, ...]] = {
    "bus": ("virtio", "scsi", "sata"),
    "cache": (None, "none", "writeback", "directsync"),
    "io": (None, "threads", "native"),
    "discard": (None, "unmap", "ignore"),
    "detect_zeroes": (None, "off", "on", "unmap"),
    "iothread": (None, 1, 2),
    "queues": (None, 1, 2),
    "copy_on_read": (None, True, False),
    "error_policy": (None, "stop", "report", "enospace"),
    "read_error_policy": (None, "report", "ignore"),
    "readonly": (None, True),
    "shareable": (None, True),
    "serial": (None, "S1", "S2"),
    "wwn": (None, "5000c50015ea71aa"),
    "rotation_rate": (None, 1, 7200),
    "iotune": (
        None, {"total_iops_sec": 100}, {"read_iops_sec": 100, "write_bytes_sec": "1MiB"},
        {"total_bytes_sec": "1MiB", "total_bytes_sec_max": "2MiB", "total_bytes_sec_max_length": 3},
    ),
}  # fmt: skip


def cdroms(editor: Editor) -> str:
    name, guest = editor.guest()
    drives = guest.setdefault("cdroms", {})
    drive = editor.pick("cd", "dvd")
    value = editor.pick(None, {}, {"image": "a", "pool": "vms"}, {"image": "b", "pool": "more"})
    if value is None:
        drives.pop(drive, None)
        guest["boot"] = [entry for entry in guest.get("boot", []) if entry != drive]
    else:
        drives[drive] = value
    return f"{name}.{drive} {value}"


def boot(editor: Editor) -> str:
    name, guest = editor.guest()
    known = ["network", *guest.get("disks", {}), *guest.get("cdroms", {})]
    known += ["root"] if "image" in guest else []
    editor.random.shuffle(known)
    guest["boot"] = known[: editor.random.randrange(3)]
    return f"{name} {guest['boot']}"


def add_nic(editor: Editor) -> str:
    name, guest = editor.guest()
    nics = guest.setdefault("nics", [])
    if len(nics) < 4:
        nics.insert(editor.random.randrange(len(nics) + 1), {"network": editor.pick("lan", "inner", "outer")})
    return f"{name} {nics}"


def remove_nic(editor: Editor) -> str:
    name, guest = editor.guest()
    nics = guest.get("nics", [])
    if nics:
        del nics[editor.random.randrange(len(nics))]
    return f"{name} {nics}"


def change_nic(editor: Editor) -> str:
    found = editor.nic()
    if found is None:
        return ""
    where, nic = found
    key = editor.pick(*NIC_KEYS)
    return f"{where} {editor.put(nic, key, *NIC_KEYS[key])}"


NIC_KEYS: Mapping[str, tuple[Any, ...]] = {
    "network": ("lan", "inner", "outer"),
    "mac": (None, "52:54:00:00:00:01", "52:54:00:00:00:02"),
    "model": (None, "virtio", "e1000e", "e1000", "rtl8139"),
    "link": (None, "up", "down"),
    "mtu": (None, 1400, 9000),
    "queues": (None, 2),
    "isolated": (None, True),
    "trust_guest_rx_filters": (None, True),
}


def seed(editor: Editor) -> str:
    name, guest = editor.guest()
    if "image" not in guest:
        return ""
    text = editor.pick("#cloud-config\n{}\n", "#!/bin/sh\n", None)
    guest["cloud_init"] = {} if text is None else {"user_data": text}
    return f"{name} {text!r}"


def power(editor: Editor) -> str:
    name, guest = editor.guest()
    states = ["running", "running", "stopped", *(["absent"] if name.startswith("g") else [])]
    return f"{name} {editor.put(guest, 'state', *states)}"


def dhcp(editor: Editor) -> str:
    network = editor.pick("inner", "outer")
    spec = editor.manifest["networks"][network]
    base = spec["subnet"].removesuffix(".0/24")
    leases = [{"mac": f"52:54:00:00:01:0{n}", "ip": f"{base}.{20 + n}", "name": f"h{n}"} for n in range(3)]
    value = editor.pick(None, {}, {"hosts": leases[:1]}, {"hosts": leases[1:]}, {"hosts": leases})
    if value is None:
        spec.pop("dhcp", None)
    else:
        spec["dhcp"] = {"start": f"{base}.100", "end": f"{base}.{editor.pick(150, 199)}", **value}
    return f"{network} {value}"


def dns(editor: Editor) -> str:
    network = editor.pick("inner", "outer")
    spec = editor.manifest["networks"][network]
    base = spec["subnet"].removesuffix(".0/24")
    value = editor.pick(
        None,
        {"hosts": [{"ip": f"{base}.5", "names": ["a"]}]},
        {"hosts": [{"ip": f"{base}.5", "names": ["a", "b"]}], "txt": [{"name": "t", "value": "v"}]},
        {"txt": [{"name": "t", "value": "w"}]},
    )
    return f"{network} {editor.put(spec, 'dns', value)}"


def network(editor: Editor) -> str:
    name = editor.pick("inner", "outer")
    spec = editor.manifest["networks"][name]
    key = editor.pick("autostart", "domain", "mode")
    values = {
        "autostart": (None, False),
        "domain": (None, "example.test"),
        "mode": ("nat", "isolated", "route"),
    }
    return f"{name} {editor.put(spec, key, *values[key])}"


def pool(editor: Editor) -> str:
    name = editor.pick("vms", "more")
    return f"{name} {editor.put(editor.manifest['storage'][name], 'autostart', None, False)}"


def add_guest(editor: Editor) -> str:
    editor.made += 1
    if len(editor.manifest["vms"]) < 4:
        editor.manifest["vms"][f"g{editor.made}"] = {
            "memory": "32MiB", "nics": [editor.pick("lan", "inner")],
            "firmware": editor.pick("bios", "bios", "uefi"), "disks": {"data": {"size": "1MiB", "pool": "vms"}},
            "state": editor.pick("running", "stopped"),
        }  # fmt: skip
    return f"g{editor.made}"


EDITS: Mapping[str, Callable[[Editor], str]] = {
    edit.__name__: edit
    for edit in (
        cpus, memory, device, iothreads, add_disk, remove_disk, grow_disk, change_disk, cdroms, boot,
        add_nic, remove_nic, change_nic, seed, power, dhcp, dns, network, pool, add_guest,
    )
}  # fmt: skip
WEIGHTS: Mapping[str, int] = {"device": 8, "change_disk": 6, "change_nic": 4, "cpus": 3, "memory": 2}
