"""Hosts that stories of devices are told of: a machine of `machines.py`, changed a little, and what exists on it."""

from __future__ import annotations

from dataclasses import replace

from kvmdecl.facts import DomainSupport, HostFacts, HostInterface
from kvmdecl.names import derive_uuid
from kvmdecl.state import HostSnapshot, HostState, ObservedDomain, ObservedNetwork, ObservedPool
from tests.devices.machines import (
    AUDIO,
    GPU,
    NIC,
    NVME,
    VGA,
    Machine,
    desktop,
    gpu_server,
    nic_server,
    node_name,
    without_iommu,
)

CLUSTER = "demo"


def _driven(machine: Machine, *addresses: str, by: str = "vfio-pci") -> Machine:
    """The machine with another driver of these functions: what the old one made of them is gone."""
    for address in addresses:
        machine.functions[address] = replace(machine.functions[address], driver=by)
        gone = {node_name(address)}
        while below := {
            name for name, xml in machine.parts.items() if any(f"<parent>{g}</parent>" in xml for g in gone)
        }:
            gone |= below
            machine.parts = {name: xml for name, xml in machine.parts.items() if name not in below}
    return machine


def guest_with(name: str, *addresses: str, active: bool = True, autostart: bool = False) -> ObservedDomain:
    """A domain that functions are passed to; one of the cluster's own if the manifest has a vm of that name."""
    places = ((address[:4], address[5:7], address[8:10], address[11]) for address in addresses)
    devices = "".join(
        "<hostdev mode='subsystem' type='pci' managed='yes'><source>"
        f"<address domain='0x{domain}' bus='0x{bus}' slot='0x{slot}' function='0x{function}'/></source></hostdev>"
        for domain, bus, slot, function in places
    )
    uuid = derive_uuid(CLUSTER, "domain", name)
    xml = (
        f"<domain type='kvm'><name>{name}</name><uuid>{uuid}</uuid><memory unit='KiB'>1048576</memory><vcpu>1</vcpu>"
        f"<os><type arch='x86_64' machine='pc-q35-9.2'>hvm</type></os><devices>{devices}</devices></domain>"
    )
    return ObservedDomain(name, uuid, xml, xml if active else None, active, True, autostart, False)


def _network(name: str, forward: str) -> ObservedNetwork:
    uuid = derive_uuid("other", "network", name)
    forward = f"<forward mode='hostdev' managed='yes'>{forward}</forward>"
    xml = f"<network><name>{name}</name><uuid>{uuid}</uuid>{forward}</network>"
    return ObservedNetwork(name, uuid, xml, True, True)


def _pool(device: str) -> ObservedPool:
    uuid = derive_uuid("other", "pool", "vg")
    xml = (
        f"<pool type='logical'><name>vg</name><uuid>{uuid}</uuid><source><device path='{device}'/></source>"
        "<target><path>/dev/vg</path></target></pool>"
    )
    return ObservedPool("vg", uuid, xml, True, True, 0, 0, ())


def _workstation() -> Machine:
    """A desktop with its GPU and the sound of it in one group of their own, and another GPU for the screen."""
    machine = Machine()
    port = machine.port("0000:00:01.0", 1)
    machine.add("0000:01:00.0", VGA, "10de:2204", maker="NVIDIA Corporation", model="GA102 [GeForce RTX 3090]",
                driver="nouveau", group=16, below=port)  # fmt: skip
    machine.add("0000:01:00.1", AUDIO, "10de:1aef", maker="NVIDIA Corporation", model="GA102 HD Audio",
                driver="snd_hda_intel", group=16, below=port)  # fmt: skip
    machine.add("0000:00:02.0", VGA, "8086:3e98", maker="Intel Corporation", model="UHD Graphics 630", driver="i915",
                group=0)  # fmt: skip
    machine.display("0000:00:02.0", 0)
    return machine


def _apart() -> Machine:
    """The workstation with the sound of the GPU in a group of its own."""
    machine = _workstation()
    machine.functions["0000:01:00.1"] = replace(machine.functions["0000:01:00.1"], group=17)
    return machine


def _headless() -> Machine:
    """A server whose only display is the GPU."""
    machine = Machine()
    port = machine.port("0000:00:01.0", 1)
    machine.add(
        "0000:01:00.0", VGA, "1002:73bf", maker="AMD", model="Navi 21", driver="amdgpu", group=2, below=port
    )
    machine.display("0000:01:00.0", 0)
    return machine


def _below_port() -> Machine:
    """A NIC in one group with the port above it, and nothing else."""
    machine = Machine()
    port = machine.port("0000:00:1c.0", 7)
    machine.add("0000:05:00.0", NIC, "8086:1533", maker="Intel Corporation", model="I210", driver="igb", group=7,
                below=port)  # fmt: skip
    machine.interface("0000:05:00.0", "enp5s0", "down")
    return machine


def _conventional() -> Machine:
    """Two cards on a conventional PCI bus, which the bridge above makes one to the IOMMU."""
    machine = Machine()
    bridge = machine.port("0000:00:1e.0", 5, model="82801 PCI Bridge", driver="")
    for slot in (1, 2):
        machine.add(f"0000:06:0{slot}.0", NIC, "8086:107c", maker="Intel Corporation", model="82541PI", driver="e1000",
                    group=5, below=bridge)  # fmt: skip
        machine.interface(f"0000:06:0{slot}.0", f"enp6s{slot}", "down")
    return machine


def _drives(*drivers: str) -> Machine:
    """A server with NVMe drives, each in a group of its own."""
    machine = Machine()
    for number, driver in enumerate(drivers):
        port = machine.port(f"0000:00:{number + 1:02x}.0", 10 + number)
        machine.add(f"0000:0{number + 1}:00.0", NVME, "144d:a808", maker="Samsung", model="PM981", driver=driver,
                    group=20 + number, below=port)  # fmt: skip
        if driver == "nvme":
            machine.nvme_disk(f"0000:0{number + 1}:00.0", f"nvme{number}n1", f"S4{number}")
    return machine


def _no_group() -> Machine:
    """A device that the IOMMU does not serve."""
    machine = _below_port()
    machine.functions["0000:05:00.0"] = replace(machine.functions["0000:05:00.0"], group=None)
    return machine


def _shared_virtual() -> Machine:
    """A card without ACS: all of its virtual functions are in one group with it."""
    machine = nic_server()
    for address, function in machine.functions.items():
        if function.physical == "0000:3b:00.0" or address == "0000:3b:00.0":
            machine.functions[address] = replace(function, group=11)
    return machine


def _far() -> Machine:
    """A NIC at the second of two cells, kept for guests."""
    machine = Machine(cells=2)
    port = machine.port("0000:80:01.0", 30, cell=1)
    machine.add("0000:81:00.0", NIC, "8086:1572", maker="Intel Corporation", model="X710", driver="vfio-pci", group=31,
                cell=1, below=port)  # fmt: skip
    return machine


def _support(*backends: str) -> DomainSupport:
    enums = (("devices/hostdev/pciBackend", backends), ("devices/hostdev/subsysType", ("usb", "pci", "scsi")))
    return DomainSupport("x86_64", "kvm", "pc-q35-9.2", 288, enums, ())


def _with(facts: HostFacts, *, support: tuple[DomainSupport, ...] = (), **more: object) -> HostFacts:
    return replace(facts, domain_support=support, **more)  # type: ignore[arg-type]


_MANAGED = HostInterface("enp5s0", "ethernet", (), ("10.0.0.1",))


def _gpus() -> Machine:
    """Two GPUs, each in a group of its own, kept for guests."""
    machine = Machine()
    for number in (1, 2):
        port = machine.port(f"0000:00:0{number}.0", number)
        machine.add(f"0000:0{number}:00.0", GPU, "10de:20b0", maker="NVIDIA Corporation", model="GA100 [A100]",
                    driver="vfio-pci", group=10 + number, below=port)  # fmt: skip
    return machine


_MACHINES = {
    "gpu-server": gpu_server,
    "nic-server": nic_server,
    "desktop": desktop,
    "without-iommu": without_iommu,
    "workstation": _workstation,
    "workstation-prepared": lambda: _driven(_workstation(), "0000:01:00.0", "0000:01:00.1"),
    "workstation-silent": lambda: _driven(_driven(_workstation(), "0000:01:00.0"), "0000:01:00.1", by=""),
    "workstation-apart": lambda: _driven(_apart(), "0000:01:00.0"),
    "headless": _headless,
    "headless-prepared": lambda: _driven(_headless(), "0000:01:00.0"),
    "below-port": _below_port,
    "below-port-prepared": lambda: _driven(_below_port(), "0000:05:00.0"),
    "conventional": _conventional,
    "conventional-driven": lambda: _driven(
        _driven(_conventional(), "0000:06:01.0", "0000:06:02.0"), "0000:00:1e.0", by="shpchp"
    ),
    "conventional-prepared": lambda: _driven(_conventional(), "0000:06:01.0", "0000:06:02.0"),
    "drives": lambda: _drives("nvme", "nvme", "vfio-pci"),
    "isa-free": lambda: _driven(gpu_server(), "0000:00:1f.0", by=""),
    "no-group": _no_group,
    "shared-virtual": _shared_virtual,
    "far": _far,
    "card-kept": lambda: _driven(nic_server(), "0000:3b:00.1"),
    "gpus": _gpus,
}  # fmt: skip


_STATES = {
    "another-guest-runs": HostState(domains=(guest_with("theirs", "0000:01:00.0"),)),
    "another-guest-is-off": HostState(domains=(guest_with("theirs", "0000:01:00.0", active=False),)),
    "another-guest-starts-with-the-host": HostState(
        domains=(guest_with("theirs", "0000:01:00.0", active=False, autostart=True),)
    ),
    "another-guest-has-the-other-card": HostState(domains=(guest_with("theirs", "0000:06:02.0"),)),
    "web-has-it": HostState(domains=(guest_with("web", "0000:01:00.0"),)),
    "web-and-audio": HostState(domains=(guest_with("web", "0000:01:00.0", "0000:01:00.1"),)),
    "unmanaged-runs": HostState(domains=(guest_with("other", "0000:01:00.0"),)),
    "another-network": HostState(
        networks=(
            _network("theirs", "<address type='pci' domain='0x0000' bus='0x3b' slot='0x02' function='0x5'/>"),
        )
    ),
    "pool-on-first-drive": HostState(pools=(_pool("/dev/nvme0n1"),)),
}
_FACTS = {
    "vfio-offered": lambda facts: _with(facts, support=(_support("default", "vfio"),)),
    "vfio-not-offered": lambda facts: _with(facts, support=(_support(),)),
    "managed-by-it": lambda facts: _with(facts, connections=(_MANAGED,)),
    "no-cable": lambda facts: facts,
}


def story_host(name: str, words: str) -> HostSnapshot:
    """A host from what a story says of it: a machine, and what else is so (`workstation, web-has-it`)."""
    machine, *more = (word.strip() for word in words.split(","))
    facts, state = _MACHINES[machine]().facts(), HostState()
    named = {dict(device.properties).get("interface", "lo") for device in facts.devices}
    facts = replace(
        facts,
        uuid=derive_uuid(CLUSTER, "host", name),
        interfaces=tuple(sorted(named | set(facts.interfaces))),
    )
    for word in more:
        if word in _STATES:
            state = _STATES[word]
        else:
            facts = _FACTS[word](facts)
    return HostSnapshot(name, facts, state)
