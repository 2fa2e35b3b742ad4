"""Whole machines as libvirt tells of them, put together device by device.

    gpu_server()      two sockets, GPUs behind switches with ACS, each in a group of its own; vGPUs; a BMC
    nic_server()      network cards with virtual functions, with some of them, and with none made yet
    desktop()         no ACS: cards share groups with the ports above them; one display of its own
    without_iommu()   a desktop whose IOMMU is off, so that there are no groups

`Machine.facts()` is what a plan reads, `Machine.xml()` what virsh printed, file by file.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from xml.sax.saxutils import escape

from kvmdecl.facts import Cell, HostCpu, HostFacts, HostInterface
from kvmdecl.libvirt_xml.capabilities import parse_node_device
from kvmdecl.names import GIB
from tests.placement.support import facts as plain_facts

PORT, GPU, VGA, AUDIO, NIC, NVME, SATA, USB = (
    "060400", "030200", "030000", "040300", "020000", "010802", "010601", "0c0330",
)  # fmt: skip


@dataclass(frozen=True)
class Pci:
    """A PCI function. `below` is the address of the port above it, empty at the root; `mdevs` id -> instances."""

    address: str
    code: str
    ids: str
    maker: str = ""
    model: str = ""
    driver: str = ""
    group: int | None = None
    cell: int | None = None
    below: str = ""
    physical: str = ""
    virtual: tuple[str, ...] = ()
    max_virtual: int = 0
    mdevs: tuple[tuple[str, int], ...] = ()
    link: tuple[str, int] | None = None

    @property
    def name(self) -> str:
        return node_name(self.address)


def node_name(address: str) -> str:
    """The name of a function's node device."""
    return f"pci_{address.replace(':', '_').replace('.', '_')}"


@dataclass
class Machine:
    """A machine to add to. A function's group is None where no IOMMU is on."""

    cells: int = 1
    iommu: bool = True
    functions: dict[str, Pci] = field(default_factory=dict)
    parts: dict[str, str] = field(default_factory=dict)
    connections: list[HostInterface] = field(default_factory=list)

    def add(self, address: str, code: str, ids: str, **more: object) -> str:
        """A function; `more` as the fields of `Pci`. Returns its address."""
        function = Pci(address, code, ids, **more)  # type: ignore[arg-type]
        self.functions[address] = function if self.iommu else replace(function, group=None)
        return address

    def port(self, address: str, group: int | None = None, **more: object) -> str:
        """A root port, or a port of a switch."""
        names: dict[str, object] = {"maker": "Intel Corporation", "model": "PCIe Port", "driver": "pcieport"}
        return self.add(address, PORT, "8086:352a", group=group, **(names | more))

    def virtual(self, physical: str, count: int, most: int, **more: object) -> list[str]:
        """`count` virtual functions of one that can have `most`: on its bus from slot 2 on, each in its own group."""
        above = self.functions[physical]
        bus, slot = above.address.rpartition(":")[0], 2 + 8 * int(above.address[-1])
        made = [f"{bus}:{slot + index // 8:02x}.{index % 8}" for index in range(count)]
        first = max((f.group for f in self.functions.values() if f.group is not None), default=0) + 1
        self.functions[physical] = replace(above, virtual=tuple(made), max_virtual=most)
        for index, address in enumerate(made):
            same = {"maker": above.maker, "cell": above.cell, "below": above.below, "physical": physical}
            self.add(address, above.code, **{"ids": "8086:154c", "group": first + index, **same, **more})  # type: ignore[arg-type]
        return made

    def interface(self, address: str, name: str, link: str = "up", speed: int = 10000) -> None:
        """The network interface that a function's driver makes."""
        told = f"<link speed='{speed}' state='{link}'/>" if link == "up" else f"<link state='{link}'/>"
        number = int(address.replace(":", "").replace(".", ""), 16) & 0xFFFF
        mac = f"52:54:00:00:{number >> 8:02x}:{number & 0xFF:02x}"
        told = f"<interface>{name}</interface><address>{mac}</address>{told}"
        self._part(f"net_{name}", node_name(address), f"<capability type='net'>{told}</capability>")

    def nvme_disk(self, address: str, name: str, serial: str) -> None:
        """The disk that a function's driver makes."""
        self._part(f"nvme_{name}", node_name(address), "")
        self._storage(f"nvme_{name}", name, serial, "nvme")

    def scsi_disk(self, address: str, host: int, target: int, name: str, serial: str) -> None:
        """A disk on the adapter that a function's driver makes."""
        adapter, place = f"scsi_host{host}", f"scsi_{host}_0_{target}_0"
        self._part(
            adapter, node_name(address), f"<capability type='scsi_host'><host>{host}</host></capability>"
        )
        self._part(f"scsi_target{host}_0_{target}", adapter,
                   f"<capability type='scsi_target'><target>target{host}:0:{target}</target></capability>")  # fmt: skip
        told = f"<host>{host}</host><bus>0</bus><target>{target}</target><lun>0</lun><type>disk</type>"
        self._part(place, f"scsi_target{host}_0_{target}", f"<capability type='scsi'>{told}</capability>")
        self._storage(place, name, serial, "scsi")

    def display(self, address: str, number: int) -> None:
        """The display that a GPU's driver makes."""
        kind = "<capability type='drm'><type>primary</type></capability>"
        self._part(f"drm_card{number}", node_name(address), kind)

    def usb_device(
        self, address: str, place: str, bus: int, device: int, ids: str, title: str, kind: int
    ) -> None:
        """A USB device, with an interface of class `kind`. `place` as in sysfs: `1-3`; a root hub's is `usb1`."""
        vendor, product = ids.split(":")
        name = f"usb_{place.replace('-', '_').replace('.', '_')}"
        told = f"""<bus>{bus}</bus><device>{device}</device><product id='0x{product}'>{title}</product>
          <vendor id='0x{vendor}'>A maker</vendor>"""
        self._part(name, node_name(address), f"<capability type='usb_device'>{told}</capability>")
        told = f"<number>0</number><class>{kind}</class><subclass>0</subclass><protocol>0</protocol>"
        self._part(f"{name}_1_0", name, f"<capability type='usb'>{told}</capability>")

    def mdev(self, uuid: str, parent: str, type_: str, group: int | None) -> None:
        """A mediated device; one without a group is only defined."""
        name = f"mdev_{uuid.replace('-', '_')}"
        there = f"<path>/sys/devices/{uuid}</path>" if group is not None else ""
        of = f"<iommuGroup number='{group}'/>" if group is not None else ""
        told = f"<capability type='mdev'><type id='{type_}'/><uuid>{uuid}</uuid>{of}</capability>"
        self._part(name, node_name(parent), told, there)

    def bridge(self, name: str, *ports: str) -> None:
        """A bridge of the host."""
        self.connections.append(HostInterface(name, "bridge", ports))

    def _storage(self, parent: str, name: str, serial: str, bus: str) -> None:
        told = f"""<block>/dev/{name}</block><bus>{bus}</bus><drive_type>disk</drive_type><model>Disk</model>
          <serial>{serial}</serial><size>960197124096</size>"""
        link = f"<devnode type='link'>/dev/disk/by-id/{bus}-{serial}</devnode>"
        self._part(f"block_{name}", parent, f"<capability type='storage'>{told}</capability>", link)

    def _part(self, name: str, parent: str, capability: str, before: str = "") -> None:
        self.parts[name] = (
            f"<device><name>{name}</name>{before}<parent>{parent}</parent>{capability}</device>"
        )

    # -- what libvirt would tell

    def xml(self) -> dict[str, str]:
        """The XML of each node device by name (virsh nodedev-dumpxml)."""
        groups: dict[int, list[str]] = {}
        for function in self.functions.values():
            if function.group is not None:
                groups.setdefault(function.group, []).append(function.address)
        found = {function.name: _pci_xml(function, groups) for function in self.functions.values()}
        return {"computer": "<device><name>computer</name></device>", **found, **self.parts}

    def facts(self) -> HostFacts:
        """What a plan reads: the devices, 8 CPUs and 64 GiB for each cell."""
        cells = tuple(
            Cell(
                id_,
                64 * GIB,
                tuple(HostCpu(8 * id_ + n, id_, 0, n, (8 * id_ + n,)) for n in range(8)),
                (),
                (),
            )
            for id_ in range(self.cells)
        )
        return replace(
            plain_facts(memory=64 * GIB * self.cells, bridges=tuple(c.name for c in self.connections)),
            cells=cells,
            iommu=self.iommu,
            devices=tuple(
                sorted(map(parse_node_device, self.xml().values()), key=lambda device: device.name)
            ),
            connections=tuple(self.connections),
        )


def _pci_xml(function: Pci, groups: dict[int, list[str]]) -> str:
    domain, bus, rest = function.address.split(":")
    slot, number = rest.split(".")
    vendor, product = function.ids.split(":")
    parts = [f"<class>0x{function.code}</class>"]
    for tag, value in (("domain", domain), ("bus", bus), ("slot", slot), ("function", number)):
        parts.append(f"<{tag}>{int(value, 16)}</{tag}>")
    parts.append(f"<product id='0x{product}'>{escape(function.model)}</product>")
    parts.append(f"<vendor id='0x{vendor}'>{escape(function.maker)}</vendor>")
    if function.physical:
        parts.append(f"<capability type='phys_function'>{_place(function.physical)}</capability>")
    if function.max_virtual:
        made = "".join(map(_place, function.virtual))
        parts.append(
            f"<capability type='virt_functions' maxCount='{function.max_virtual}'>{made}</capability>"
        )
    if function.code == PORT:
        parts.append("<capability type='pci-bridge'/>")
    if function.mdevs:
        types = "".join(
            f"<type id='{id_}'><name>{id_.upper()}</name><deviceAPI>vfio-pci</deviceAPI>"
            f"<availableInstances>{available}</availableInstances></type>"
            for id_, available in function.mdevs
        )
        parts.append(f"<capability type='mdev_types'>{types}</capability>")
    if function.group is not None:
        members = "".join(map(_place, groups[function.group]))
        parts.append(f"<iommuGroup number='{function.group}'>{members}</iommuGroup>")
    if function.cell is not None:
        parts.append(f"<numa node='{function.cell}'/>")
    if function.link is not None:
        speed, width = function.link
        links = (f"<link validity='{kind}' speed='{speed}' width='{width}'/>" for kind in ("cap", "sta"))
        parts.append(f"<pci-express>{''.join(links)}</pci-express>")
    driver = f"<driver><name>{function.driver}</name></driver>" if function.driver else ""
    above = node_name(function.below) if function.below else "computer"
    return f"""<device><name>{function.name}</name><parent>{above}</parent>{driver}
      <capability type='pci'>{"".join(parts)}</capability></device>"""


def _place(address: str) -> str:
    domain, bus, rest = address.split(":")
    slot, function = rest.split(".")
    return f"<address domain='0x{domain}' bus='0x{bus}' slot='0x{slot}' function='0x{function}'/>"


# -- machines ------------------------------------------------------------------------------------------------


def gpu_server() -> Machine:
    """Four A40 behind two switches, one for each cell; a NIC with two ports, two NVMe disks, a SATA disk, a BMC."""
    machine = Machine(cells=2)
    intel = "Intel Corporation"
    machine.add("0000:00:00.0", "060000", "8086:09a2", maker=intel, model="Host bridge", group=0, cell=0)
    machine.add("0000:00:14.0", USB, "8086:a1af", maker=intel, model="USB 3.0 xHCI Controller",
                driver="xhci_hcd", group=1, cell=0)  # fmt: skip
    machine.usb_device("0000:00:14.0", "usb1", 1, 1, "1d6b:0002", "2.0 root hub", 9)
    machine.usb_device("0000:00:14.0", "1-3", 1, 4, "0529:0001", "License dongle", 255)
    machine.add("0000:00:17.0", SATA, "8086:a182", maker=intel, model="SATA Controller", driver="ahci",
                group=2, cell=0)  # fmt: skip
    machine.scsi_disk("0000:00:17.0", 0, 0, "sda", "S4EVNX0R")
    for function, kind in enumerate(("ISA bridge", "Memory controller")):
        code, driver = ("060100", "lpc_ich") if kind == "ISA bridge" else ("058000", "")
        machine.add(f"0000:00:1f.{2 * function}", code, "8086:a1c1", maker=intel, model=kind, driver=driver,
                    group=3, cell=0)  # fmt: skip
    port = machine.port("0000:00:1c.5", 4, cell=0)
    bridge = machine.port("0000:02:00.0", 5, cell=0, below=port, model="PCI Bridge", driver="")
    machine.add("0000:03:00.0", VGA, "1a03:2000", maker="ASPEED Technology, Inc.", model="Graphics Family",
                driver="ast", group=5, cell=0, below=bridge)  # fmt: skip
    machine.display("0000:03:00.0", 0)
    _gpus(machine, root="0000:16:02.0", buses=(0x17, 0x18, 0x19, 0x1A), group=20, cell=0)
    _gpus(machine, root="0000:97:02.0", buses=(0x98, 0x99, 0x9A, 0x9B), group=40, cell=1)
    port = machine.port("0000:4a:02.0", 60, cell=0)
    for number in range(2):
        nic = machine.add(f"0000:4b:00.{number}", NIC, "15b3:101d", maker="Mellanox Technologies",
                          model="MT2892 Family [ConnectX-6 Dx]", driver="mlx5_core", group=61 + number, cell=0,
                          below=port, max_virtual=8, link=("16", 16))  # fmt: skip
        machine.interface(nic, f"ens3f{number}", "up" if number == 0 else "down", 25000)
    machine.bridge("br0", "ens3f0")
    for number, (root, address, cell) in enumerate(
        [("0000:64:02.0", "0000:65:00.0", 0), ("0000:e2:02.0", "0000:e3:00.0", 1)]
    ):
        port = machine.port(root, 70 + 2 * number, cell=cell)
        machine.add(address, NVME, "144d:a80a", maker="Samsung Electronics Co Ltd", model="PM9A3", driver="nvme",
                    group=71 + 2 * number, cell=cell, below=port, link=("16", 4))  # fmt: skip
        machine.nvme_disk(address, f"nvme{number}n1", f"S64GNE0R{number}")
    machine.mdev("3627463d-b7f0-4fea-b468-f1da537d301b", "0000:9b:00.0", "nvidia-563", 90)
    machine.mdev("d069d019-36ea-4111-8f0a-8c9a70e21366", "0000:9b:00.0", "nvidia-563", None)
    return machine


def _gpus(machine: Machine, root: str, buses: tuple[int, int, int, int], group: int, cell: int) -> None:
    """Two GPUs behind a switch whose ports keep them apart. The second of cell 1 makes vGPUs."""
    upstream, downstream, *ends = buses
    port = machine.port(root, group, cell=cell)
    switch = machine.port(f"0000:{upstream:02x}:00.0", group + 1, cell=cell, below=port, model="PEX switch")
    for number, bus in enumerate(ends):
        below = machine.port(f"0000:{downstream:02x}:{4 * number:02x}.0", group + 2 + number, cell=cell,
                             below=switch, model="PEX switch")  # fmt: skip
        makes_vgpus = (cell, number) == (1, 1)
        machine.add(f"0000:{bus:02x}:00.0", GPU, "10de:2235", maker="NVIDIA Corporation", model="GA102GL [A40]",
                    driver="nvidia" if makes_vgpus else "vfio-pci", group=group + 10 + number, cell=cell, below=below,
                    mdevs=(("nvidia-563", 7), ("nvidia-564", 3)) if makes_vgpus else (), link=("16", 16))  # fmt: skip


def nic_server() -> Machine:
    """An X710 whose first port has 8 virtual functions and whose second has none made; one that is the host's own."""
    machine = Machine()
    intel = "Intel Corporation"
    machine.add("0000:00:00.0", "060000", "8086:2020", maker=intel, model="Host bridge", group=0, cell=0)
    port = machine.port("0000:00:1c.0", 1, cell=0)
    own = machine.add("0000:01:00.0", NIC, "8086:1521", maker=intel, model="I350 Gigabit Network Connection",
                      driver="igb", group=2, cell=0, below=port, max_virtual=7)  # fmt: skip
    machine.interface(own, "eno1", speed=1000)
    machine.bridge("br0", "eno1")
    port = machine.port("0000:00:1c.4", 3, cell=0)
    machine.add("0000:02:00.0", NVME, "144d:a808", maker="Samsung Electronics Co Ltd", model="PM981", driver="nvme",
                group=4, cell=0, below=port)  # fmt: skip
    machine.nvme_disk("0000:02:00.0", "nvme0n1", "S4GENX0R")
    port = machine.port("0000:3a:00.0", 10, cell=0)
    for number in range(2):
        nic = machine.add(f"0000:3b:00.{number}", NIC, "8086:1572", maker=intel,
                          model="Ethernet Controller X710 for 10GbE SFP+", driver="i40e", group=11 + number, cell=0,
                          below=port, max_virtual=64, link=("8", 8))  # fmt: skip
        machine.interface(nic, f"ens1f{number}")
    named = {"model": "Ethernet Virtual Function 700 Series"}
    machine.virtual("0000:3b:00.0", 8, 64, driver="iavf", **named)
    machine.virtual("0000:3b:00.1", 0, 64)
    for index in range(2):  # the host keeps two of them for itself
        machine.interface(f"0000:3b:02.{index}", f"ens1f0v{index}")
    return machine


def desktop(*, iommu: bool = True) -> Machine:
    """Two graphics cards below ports without ACS, all in group 1; a chipset whose cards and ports are in group 8."""
    machine = Machine(iommu=iommu)
    intel, nvidia = "Intel Corporation", "NVIDIA Corporation"
    machine.add("0000:00:00.0", "060000", "8086:3e30", maker=intel, model="Host bridge", group=0)
    slots = [
        ("0000:00:01.0", 1, "10de:1e87", "TU104 [GeForce RTX 2080]"),
        ("0000:00:01.1", 2, "10de:1c03", "GP106"),
    ]
    for number, (root, bus, ids, model) in enumerate(slots):
        port = machine.port(root, 1)
        machine.add(f"0000:{bus:02x}:00.0", VGA, ids, maker=nvidia, model=model, driver="nouveau", group=1,
                    below=port)  # fmt: skip
        machine.display(f"0000:{bus:02x}:00.0", number)
        machine.add(f"0000:{bus:02x}:00.1", AUDIO, "10de:10f8", maker=nvidia, model="HD Audio Controller",
                    driver="snd_hda_intel", group=1, below=port)  # fmt: skip
    machine.add("0000:01:00.2", USB, "10de:1ad8", maker=nvidia, model="USB 3.1 Host Controller", driver="xhci_hcd",
                group=1, below="0000:00:01.0")  # fmt: skip
    machine.add("0000:00:14.0", USB, "8086:a36d", maker=intel, model="USB 3.1 xHCI Controller", driver="xhci_hcd",
                group=4)  # fmt: skip
    machine.usb_device("0000:00:14.0", "usb1", 1, 1, "1d6b:0002", "2.0 root hub", 9)
    machine.usb_device("0000:00:14.0", "1-5", 1, 3, "046d:c52b", "Unifying Receiver", 3)
    first, second = machine.port("0000:00:1c.0", 8), machine.port("0000:00:1c.4", 8)
    machine.add("0000:03:00.0", NIC, "8086:1533", maker=intel, model="I210 Gigabit Network Connection", driver="igb",
                group=8, below=first)  # fmt: skip
    machine.interface("0000:03:00.0", "enp3s0", "down")
    machine.add("0000:04:00.0", NVME, "144d:a808", maker="Samsung Electronics Co Ltd", model="970 EVO", driver="nvme",
                group=8, below=second)  # fmt: skip
    machine.nvme_disk("0000:04:00.0", "nvme0n1", "S466NX0M")
    for number, code, model, driver in (
        (0, "060100", "ISA bridge", ""),
        (3, AUDIO, "Cannon Lake PCH cAVS", "snd_hda_intel"),
        (4, "0c0500", "SMBus Controller", "i801_smbus"),
        (6, NIC, "Ethernet Connection (7) I219-V", "e1000e"),
    ):
        machine.add(
            f"0000:00:1f.{number}",
            code,
            f"8086:a30{number}",
            maker=intel,
            model=model,
            driver=driver,
            group=9,
        )
    machine.interface("0000:00:1f.6", "eno1", speed=1000)
    machine.bridge("br0", "eno1")
    return machine


def without_iommu() -> Machine:
    """The desktop with its IOMMU off."""
    return desktop(iommu=False)


MACHINES = {machine.__name__: machine for machine in (gpu_server, nic_server, desktop, without_iommu)}
