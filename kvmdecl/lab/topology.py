"""Another machine's NUMA cells and PCI devices, fabricated: what `lab up --topology` shows to libvirtd.

libvirtd reads a host's hardware from files in /sys. A topology is written as such files, which a lab host
then sees in the place of the real ones. libvirtd reports them as its own; no memory is used and nothing is
bound to a driver, so guests that take a device or huge pages can be planned and defined, but not started.
"""

from __future__ import annotations

import json
import re
import struct
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvmdecl.lab.refusals import refusal
from kvmdecl.text import did_you_mean, quoted, safe_text, set_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

# Directory in the host's folder -> what it replaces.
MOUNTS = {
    "sys/node": "/sys/devices/system/node",
    "sys/cpu": "/sys/devices/system/cpu",
    "sys/pci": "/sys/devices/pci0000:00",
    "sys/bus": "/sys/bus/pci",
    "sys/iommu": "/sys/kernel/iommu_groups",
    "sys/ksm": "/sys/kernel/mm/ksm",
}
# As of a kernel that has just booted.
_KSM = {
    "run": 0,
    "pages_to_scan": 100,
    "sleep_millisecs": 20,
    "merge_across_nodes": 1,
    **dict.fromkeys(("pages_shared", "pages_sharing", "pages_unshared", "pages_volatile", "full_scans"), 0),
}
SHARED = ("/sys/devices/system/node", "/sys/kernel/mm")
"""What all hosts have of this machine or its topology, and none may change."""
_ADDRESS = re.compile(r"[0-9a-f]{4}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]", re.ASCII)
_MAX_VFS = 64
_SAME_CELL, _SAME_SOCKET, _OTHER_SOCKET = 10, 12, 32  # ACPI SLIT distances


@dataclass(frozen=True, slots=True)
class PciDevice:
    """One PCI function.

    Attributes:
        address: `0000:3b:00.0`.
        ids: vendor and device as `8086:1572`.
        class_code: six hex digits, `020000` is an Ethernet controller.
        cell: NUMA node.
        group: IOMMU group; several functions may share one.
        driver: the kernel driver it appears bound to; empty for none.
        vfs: number of SR-IOV virtual functions, each in a group of its own after this one's.
        vf_ids: vendor and device of the virtual functions.
        vf_driver: their driver.
        max_vfs: how many of them there can be; 64 if not given and there are some.
        below: the bridge or port that it is behind, `0000:3a:00.0`; empty at the root.
        mdev_types: types of mediated devices that it can make, and how many of each.
        parent: the physical function, of a virtual one.
    """

    address: str
    ids: str
    class_code: str
    cell: int
    group: int
    driver: str = ""
    vfs: int = 0
    vf_ids: str = "8086:154c"
    vf_driver: str = "iavf"
    max_vfs: int = 0
    below: str = ""
    mdev_types: tuple[tuple[str, int], ...] = ()
    parent: str = ""

    @property
    def is_bridge(self) -> bool:
        """Whether it is a bridge or a port, which others can be behind."""
        return self.class_code.startswith("0604")

    def virtual_functions(self) -> Iterator[PciDevice]:
        """Yield the SR-IOV virtual functions, on the bus of this one from slot 2 on."""
        bus = self.address.rsplit(":", 1)[0]
        for index in range(self.vfs):
            yield PciDevice(
                address=f"{bus}:{2 + index // 8:02x}.{index % 8}",
                ids=self.vf_ids,
                class_code=self.class_code,
                cell=self.cell,
                group=self.group + 1 + index,
                driver=self.vf_driver,
                below=self.below,
                parent=self.address,
            )


@dataclass(frozen=True)
class Topology:
    """A machine. CPU numbers run over all cores first, then over their second threads, as on most servers.

    Attributes:
        sockets: number of CPU sockets; divides `cells`.
        cells: number of NUMA nodes.
        cores: for each cell.
        threads: for each core.
        cell_mib: memory of each cell, in MiB.
        hugepages: page size in KiB to the number of such pages in each cell.
        devices: PCI devices; their virtual functions are not listed.
    """

    sockets: int = 2
    cells: int = 4
    cores: int = 8
    threads: int = 2
    cell_mib: int = 65536
    hugepages: tuple[tuple[int, int], ...] = ((2048, 4096), (1048576, 16))
    devices: tuple[PciDevice, ...] = (
        PciDevice("0000:3a:00.0", "8086:2030", "060400", cell=1, group=19, driver="pcieport"),
        PciDevice(
            "0000:3b:00.0",
            "8086:1572",
            "020000",
            cell=1,
            group=20,
            driver="i40e",
            vfs=4,
            below="0000:3a:00.0",
        ),
        PciDevice(
            "0000:3b:00.1",
            "8086:1572",
            "020000",
            1,
            group=28,
            driver="i40e",
            max_vfs=64,
            below="0000:3a:00.0",
        ),
        PciDevice("0000:5d:00.0", "8086:2030", "060400", cell=2, group=29, driver="pcieport"),
        PciDevice("0000:5e:00.0", "10de:2235", "030200", 2, group=30, driver="nvidia", below="0000:5d:00.0"),
        PciDevice("0000:5d:01.0", "8086:2031", "060400", cell=2, group=29, driver="pcieport"),
        PciDevice(
            "0000:5f:00.0",
            "10de:2235",
            "030200",
            cell=2,
            group=31,
            driver="nvidia",
            below="0000:5d:01.0",
            mdev_types=(("nvidia-563", 24), ("nvidia-564", 12)),
        ),
        PciDevice("0000:00:01.0", "8086:1901", "060400", cell=0, group=1, driver="pcieport"),
        PciDevice("0000:01:00.0", "10de:24b0", "030000", 0, group=1, driver="nouveau", below="0000:00:01.0"),
        PciDevice("0000:01:00.1", "10de:228b", "040300", 0, 1, driver="snd_hda_intel", below="0000:00:01.0"),
        PciDevice("0000:85:00.0", "8086:2030", "060400", cell=3, group=39, driver="pcieport"),
        PciDevice(
            "0000:86:00.0", "144d:a80a", "010802", cell=3, group=40, driver="nvme", below="0000:85:00.0"
        ),
    )

    @property
    def all_cores(self) -> int:
        """Number of cores of the machine."""
        return self.cells * self.cores

    @property
    def all_cpus(self) -> int:
        """Number of logical CPUs of the machine."""
        return self.all_cores * self.threads

    @cached_property
    def functions(self) -> tuple[PciDevice, ...]:
        """All PCI functions, virtual ones too."""
        return tuple(f for device in self.devices for f in (device, *device.virtual_functions()))

    @cached_property
    def by_address(self) -> Mapping[str, PciDevice]:
        """All functions by their address."""
        return {function.address: function for function in self.functions}

    def path(self, function: PciDevice) -> str:
        """Where a function is below the root of its machine: its own address after those of the ports above it."""
        above = [function.address]
        while (below := self.by_address[above[0]].below) and len(above) <= len(self.functions):
            above.insert(0, below)
        return "/".join(above)

    def cpus_of_cell(self, cell: int) -> tuple[int, ...]:
        """Logical CPUs of one cell."""
        cores = range(cell * self.cores, (cell + 1) * self.cores)
        return tuple(core + thread * self.all_cores for thread in range(self.threads) for core in cores)

    def socket_of(self, cell: int) -> int:
        """The socket that a cell belongs to."""
        return cell * self.sockets // self.cells

    def distance(self, one: int, other: int) -> int:
        """ACPI SLIT distance of two cells."""
        if one == other:
            return _SAME_CELL
        return _SAME_SOCKET if self.socket_of(one) == self.socket_of(other) else _OTHER_SOCKET


def load_topology(spec: str) -> Topology:
    """Return the topology called `default`, or the one in a JSON file with the fields of `Topology`.

    Raises:
        Rejected: `lab.bad-topology`.
    """
    if spec == "default":
        return Topology()
    try:
        document = json.loads(Path(spec).read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise _bad(f"{quoted(spec)} cannot be read: {safe_text(str(error))}") from None
    return parse_topology(document)


def parse_topology(document: object) -> Topology:
    """Return the topology that a JSON document describes; what it leaves out is as in the default one.

    Raises:
        Rejected: `lab.bad-topology`.
    """
    values = _known_fields(document, Topology, "the topology")
    if "hugepages" in values:
        pages = values["hugepages"]
        if not isinstance(pages, dict) or not all(k.isdecimal() and type(v) is int for k, v in pages.items()):
            raise _bad("`hugepages` is not an object of page size in KiB and number of pages")
        values["hugepages"] = tuple((int(size), count) for size, count in pages.items())
    if "devices" in values:
        if not isinstance(values["devices"], list):
            raise _bad("`devices` is not a list")
        values["devices"] = tuple(_parse_device(item) for item in values["devices"])
    topology = Topology(**values)
    _check(topology)
    return topology


def write_topology(folder: Path, topology: Topology) -> None:
    """Write the files that replace those of /sys (see MOUNTS) into a host's folder."""
    _write_cells(folder / "sys/node", topology)
    _write_cpus(folder / "sys/cpu", topology)
    _put(folder / "sys/ksm", _KSM)
    _write_pci(folder / "sys", topology)


def _parse_device(item: object) -> PciDevice:
    values = _known_fields(item, PciDevice, "a device")
    if "mdev_types" in values:
        types = values["mdev_types"]
        if not isinstance(types, dict) or not all(_is_type(k) and type(v) is int for k, v in types.items()):
            raise _bad("`mdev_types` is not an object of types and how many of each there can be")
        values["mdev_types"] = tuple(types.items())
    missing = [f.name for f in fields(PciDevice)[:5] if f.name not in values]
    if missing:
        raise _bad(f"a device lacks `{'`, `'.join(missing)}`")
    return PciDevice(**values)


def _is_type(name: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}", name, re.ASCII) is not None


def _known_fields(document: object, kind: type[Topology | PciDevice], what: str) -> dict[str, Any]:
    """Return the document as keyword arguments of a dataclass whose plain fields are int or str."""
    if not isinstance(document, dict):
        raise _bad(f"{what} is not an object")
    types = {field.name: str(field.type) for field in fields(kind)}
    for key, value in document.items():
        if key not in types:
            raise _bad(f"{what} has an unknown field {quoted(key)}", hint=did_you_mean(key, types))
        if types[key] in {"int", "str"} and type(value).__name__ != types[key]:
            raise _bad(f"field `{key}` of {what} is {quoted(json.dumps(value))}, not of type {types[key]}")
    return dict(document)


def _check(topology: Topology) -> None:
    sizes = (topology.sockets, topology.cells, topology.cores, topology.threads, topology.cell_mib)
    if min(sizes) < 1 or topology.all_cpus > 8192 or topology.cells > 256:
        raise _bad("the sizes are not all positive, or above 256 cells or 8192 CPUs")
    if topology.cells % topology.sockets:
        raise _bad(f"{topology.cells} cells cannot be divided among {topology.sockets} sockets")
    addresses = [function.address for function in topology.functions]
    for device in topology.functions:
        hexadecimal = (device.ids.replace(":", "", 1), 8), (device.class_code, 6)
        if not _ADDRESS.fullmatch(device.address) or addresses.count(device.address) > 1:
            raise _bad(f"the PCI address {quoted(device.address)} is not valid, or used twice")
        if (
            not all(re.fullmatch(f"[0-9a-f]{{{n}}}", text) for text, n in hexadecimal)
            or device.ids[4:5] != ":"
        ):
            raise _bad(
                f"device {device.address}: `ids` is not like `8086:1572`, or `class_code` not like `020000`"
            )
        if not re.fullmatch(r"[a-z0-9_-]*", device.driver) or not 0 <= device.cell < topology.cells:
            raise _bad(f"device {device.address}: the driver's name is not valid, or there is no such cell")
        if not (
            device.group >= 0 and 0 <= device.vfs <= 64 and device.max_vfs in {0, *range(device.vfs, 257)}
        ):
            raise _bad(
                f"device {device.address}: negative `group`, `vfs` not from 0 to 64, or `max_vfs` below it"
            )
    _check_ports(topology)


def _check_ports(topology: Topology) -> None:
    for function in topology.functions:
        port = topology.by_address.get(function.below)
        if function.below and (port is None or not port.is_bridge):
            raise _bad(
                f"device {function.address}: no bridge or port (`class_code` 0604..) is at {quoted(function.below)}"
            )
    for function in topology.functions:
        if topology.path(function).count("/") > len(topology.functions) - 1:
            raise _bad(f"device {function.address} is behind itself")


def _bad(summary: str, hint: str = "") -> Exception:
    hint = hint or "`kvmdecl explain lab.bad-topology` shows a complete one"
    return refusal("lab.bad-topology", f"not a topology: {summary}", hint=hint)


def _write_cells(node: Path, topology: Topology) -> None:
    cells = range(topology.cells)
    everywhere = set_of(cells)
    _put(
        node, dict.fromkeys(("online", "possible", "has_cpu", "has_memory", "has_normal_memory"), everywhere)
    )
    kib = topology.cell_mib * 1024
    for cell in cells:
        cpus, folder = topology.cpus_of_cell(cell), node / f"node{cell}"
        memory = {"MemTotal": kib, "MemFree": kib * 3 // 4, "MemUsed": kib // 4}
        _put(
            folder,
            {
                "cpulist": set_of(cpus),
                "cpumap": _mask(cpus, topology.all_cpus),
                "meminfo": "\n".join(f"Node {cell} {name}: {size:>15} kB" for name, size in memory.items()),
                "distance": " ".join(str(topology.distance(cell, other)) for other in cells),
            },
        )
        for size, count in topology.hugepages:
            counters = {"nr_hugepages": count, "free_hugepages": count, "surplus_hugepages": 0}
            _put(folder / f"hugepages/hugepages-{size}kB", counters)
        for cpu in cpus:
            (folder / f"cpu{cpu}").symlink_to(f"../../cpu/cpu{cpu}")


def _write_cpus(folder: Path, topology: Topology) -> None:
    everywhere = set_of(range(topology.all_cpus))
    _put(
        folder,
        dict.fromkeys(("online", "possible", "present"), everywhere) | {"offline": "", "kernel_max": 8191},
    )
    for cell in range(topology.cells):
        for cpu in topology.cpus_of_cell(cell):
            _put(folder / f"cpu{cpu}", {"online": 1})
            _put(folder / f"cpu{cpu}/topology", _cpu_topology(topology, cell, cpu))
            (folder / f"cpu{cpu}/node{cell}").symlink_to(f"../../node/node{cell}")


def _cpu_topology(topology: Topology, cell: int, cpu: int) -> dict[str, object]:
    core = cpu % topology.all_cores
    threads = tuple(core + thread * topology.all_cores for thread in range(topology.threads))
    socket = topology.socket_of(cell)
    mates = [
        c for n in range(topology.cells) if topology.socket_of(n) == socket for c in topology.cpus_of_cell(n)
    ]
    return {
        "physical_package_id": socket,
        "die_id": 0,
        "cluster_id": -1,
        "core_id": core % (topology.all_cores // topology.sockets),
        **_cpu_set("thread_siblings", threads, topology),
        **_cpu_set("core_cpus", threads, topology),
        **_cpu_set("core_siblings", mates, topology),
        **_cpu_set("package_cpus", mates, topology),
    }


def _cpu_set(name: str, cpus: Iterable[int], topology: Topology) -> dict[str, str]:
    numbers = sorted(cpus)
    return {name: _mask(numbers, topology.all_cpus), f"{name}_list": set_of(numbers)}


def _write_pci(sys: Path, topology: Topology) -> None:
    for folder in ("pci", "bus/devices", "bus/drivers", "iommu"):
        (sys / folder).mkdir(parents=True, exist_ok=True)
    _put(sys / "bus", {"drivers_probe": "", "rescan": ""})
    for driver in {"vfio-pci", *(function.driver for function in topology.functions if function.driver)}:
        _put(sys / "bus/drivers" / driver, dict.fromkeys(("bind", "unbind", "new_id", "remove_id"), ""))
    for function in topology.functions:
        _write_function(sys, topology, function)
    for device in topology.devices:
        for index, virtual in enumerate(device.virtual_functions()):
            (sys / "pci" / topology.path(device) / f"virtfn{index}").symlink_to(f"../{virtual.address}")


def _write_function(sys: Path, topology: Topology, function: PciDevice) -> None:
    address, path = function.address, topology.path(function)
    folder = sys / "pci" / path
    _put(folder, _function_files(topology, function))
    (folder / "config").write_bytes(_config_space(topology, function))
    # Relative as the kernel's own links: /sys/devices/pci0000:00/PORT/ADDRESS, /sys/bus/pci/...,
    # /sys/kernel/iommu_groups/...
    top = "../" * (path.count("/") + 3)
    (folder / "subsystem").symlink_to(f"{top}bus/pci")
    (sys / "bus/devices" / address).symlink_to(f"../../../devices/pci0000:00/{path}")
    if function.driver:
        (folder / "driver").symlink_to(f"{top}bus/pci/drivers/{function.driver}")
        (sys / "bus/drivers" / function.driver / address).symlink_to(f"../../../../devices/pci0000:00/{path}")
    group = sys / f"iommu/{function.group}/devices"
    group.mkdir(parents=True, exist_ok=True)
    (group / address).symlink_to(f"../../../../devices/pci0000:00/{path}")
    (folder / "iommu_group").symlink_to(f"{top}kernel/iommu_groups/{function.group}")
    if function.parent:
        (folder / "physfn").symlink_to(f"../{function.parent}")
    if function.vfs or function.max_vfs:
        _put(folder, {"sriov_totalvfs": function.max_vfs or _MAX_VFS, "sriov_numvfs": function.vfs})
    for type_, count in function.mdev_types:
        of = {"name": type_, "device_api": "vfio-pci", "available_instances": count}
        _put(folder / "mdev_supported_types" / type_, of)


def _function_files(topology: Topology, function: PciDevice) -> dict[str, object]:
    vendor, device = function.ids.split(":")
    code = function.class_code
    vendor_upper, device_upper = vendor.upper(), device.upper()
    uevent = {
        **({"DRIVER": function.driver} if function.driver else {}),
        "PCI_CLASS": f"{int(code, 16):X}",
        "PCI_ID": f"{vendor_upper}:{device_upper}",
        "PCI_SUBSYS_ID": f"{vendor_upper}:0001",
        "PCI_SLOT_NAME": function.address,
    }
    return {
        "vendor": f"0x{vendor}",
        "device": f"0x{device}",
        "class": f"0x{code}",
        "subsystem_vendor": f"0x{vendor}",
        "subsystem_device": "0x0001",
        "revision": "0x01",
        "numa_node": function.cell,
        "local_cpus": _mask(topology.cpus_of_cell(function.cell), topology.all_cpus),
        "irq": 0,
        "enable": 1,
        "reset": "",
        "driver_override": "(null)",
        "resource": "\n".join(["0x0000000000000000 " * 2 + "0x0000000000000000"] * 13),
        "modalias": f"pci:v0000{vendor_upper}d0000{device_upper}sv00000000sd00000000"
        f"bc{code[:2]}sc{code[2:4]}i{code[4:]}",
        "uevent": "\n".join(f"{key}={value}" for key, value in uevent.items()),
    }


def _config_space(topology: Topology, function: PciDevice) -> bytes:
    """256 bytes of PCI configuration: header, and a PCI Express capability with reset at 0x40."""
    vendor, device = (int(part, 16) for part in function.ids.split(":"))
    command, status_has_capabilities, revision = 6, 0x10, 1
    space = bytearray(256)
    class_bytes = reversed(bytes.fromhex(function.class_code))
    struct.pack_into(
        "<HHHHBBBB", space, 0, vendor, device, command, status_has_capabilities, revision, *class_bytes
    )
    kind = 0  # an endpoint
    if function.is_bridge:
        below = [int(f.address[5:7], 16) for f in topology.functions if f.below == function.address]
        space[0x0E] = 1  # the header of a bridge, with the numbers of the buses on both sides
        space[0x18:0x1B] = bytes(
            (int(function.address[5:7], 16), min(below, default=0), max(below, default=0))
        )
        depth = topology.path(function).count("/")
        kind = (
            4 if depth == 0 else 6 - depth % 2
        )  # a root port; of switches the upstream and the downstream ports
    space[0x34] = 0x40
    express, version_2, can_reset = 0x10, 2, 1 << 28
    speed_8gt, width_8 = 3, 8 << 4
    link = speed_8gt | width_8
    struct.pack_into("<BBHIHHI", space, 0x40, express, 0, version_2 | kind << 4, can_reset, 0, 0, link)
    struct.pack_into("<HH", space, 0x50, 0, link)
    return bytes(space)


def _put(folder: Path, files: Mapping[str, object]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_text(f"{content}\n")


def _mask(cpus: Iterable[int], total: int) -> str:
    """CPU numbers as the kernel prints a mask: 32-bit hex words, the highest first."""
    bits = sum(1 << cpu for cpu in cpus)
    words = [f"{bits >> shift & 0xFFFFFFFF:08x}" for shift in range(0, total, 32)]
    return ",".join(reversed(words))
