"""What a host is: hardware and capabilities, as libvirt reports them. Values only: libvirt_xml reads the XML."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HostCpu:
    """A logical CPU of the host (capabilities: host/topology/cells/cell/cpus/cpu)."""

    id: int
    socket: int
    die: int
    core: int
    siblings: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PagePool:
    """Memory pages of one size in one cell. `size` in bytes."""

    size: int
    count: int


@dataclass(frozen=True, slots=True)
class Cell:
    """A NUMA cell of the host. `memory` in bytes; `distances` by cell id, 10 being local."""

    id: int
    memory: int
    cpus: tuple[HostCpu, ...]
    pages: tuple[PagePool, ...]
    distances: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class CacheBank:
    """A bank of the host's CPU cache (capabilities: host/cache/bank). Sizes in bytes.

    `parts` says what can be had of it for vCPUs alone: type of what is cached (`both`, `code`, `data`), granularity and
    minimum; empty where the host cannot divide it.
    """

    id: int
    level: int
    size: int
    parts: tuple[tuple[str, int, int], ...]


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine type of an emulator. `canonical` is what an alias such as `q35` stands for, else the name itself."""

    name: str
    canonical: str
    max_cpus: int


@dataclass(frozen=True, slots=True)
class GuestType:
    """What the host can run for one architecture and libvirt domain type (capabilities: guest/arch/domain)."""

    arch: str
    type: str
    emulator: str
    machines: tuple[Machine, ...]


@dataclass(frozen=True, slots=True)
class DomainSupport:
    """Domain capabilities of one (arch, type, machine), from virConnectGetDomainCapabilities.

    `enums` maps the XML path of each enumeration (for example `os/firmware`, `devices/disk/bus`, `cpu/mode`) to its
    values.
    """

    arch: str
    type: str
    machine: str
    max_cpus: int
    enums: tuple[tuple[str, tuple[str, ...]], ...]
    cpu_models: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NodeDevice:
    """A device of the host (virNodeDevice). `capability` is libvirt's type: pci, net, storage, usb_device, mdev...

    `properties` are the facts of that type, flat and sorted, for example `iommu_group`, `numa_cell`, `driver`,
    `interface`, `address`, `vendor`, `product`, `physical_function`, `virtual_functions`. `pci` and `nodedevs` have
    them typed.
    """

    name: str
    parent: str
    capability: str
    properties: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class HostInterface:
    """A network interface of the host (virInterface). `kind` is libvirt's type: ethernet, bridge, bond, vlan.

    `over` are the interfaces that it is made of: the ports of a bridge, the members of a bond, what a VLAN is on.
    libvirt lists these as parts of it only. `addresses` are known where libvirt was built with netcf, and nowhere else.
    """

    name: str
    kind: str
    over: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HostFacts:
    """Everything that planning needs to know of a host's hardware and software.

    `memory` in bytes. `libvirt` and `qemu` as libvirt counts versions: major * 1,000,000 + minor * 1,000 + release.
    `interfaces` are the names of its network interfaces with its bridges (virConnectListAllInterfaces; node devices do
    not list bridges), empty where libvirt has no interface driver. `domain_support` is empty where
    the host was read over a read-only connection, which libvirt denies it to. `bandwidth_nodes` are the memory
    controllers whose bandwidth can be divided, `security_models` the drivers that confine guests (`selinux`, `dac`).
    `caches` and these two are empty in facts from before kvmdecl read them. `pool_types` are the types of storage
    pools that its libvirt has a backend for; None where that was not read. `connections` are its network interfaces
    with what they are made of. `in_use` says what on the host depends on a network interface, disk or display, by its
    name (`dependents.with_uses`); it is worked out where it is needed, and in no file.
    """

    uuid: str
    arch: str
    cpu_model: str
    cpu_features: tuple[str, ...]
    memory: int
    cells: tuple[Cell, ...]
    iommu: bool
    guests: tuple[GuestType, ...]
    domain_support: tuple[DomainSupport, ...]
    devices: tuple[NodeDevice, ...]
    libvirt: int
    qemu: int
    interfaces: tuple[str, ...] = ()
    caches: tuple[CacheBank, ...] = ()
    bandwidth_nodes: tuple[int, ...] = ()
    security_models: tuple[str, ...] = ()
    pool_types: tuple[str, ...] | None = None
    connections: tuple[HostInterface, ...] = ()
    in_use: tuple[tuple[str, str], ...] = ()

    @property
    def vfio(self) -> bool | None:
        """Whether guests can be given PCI devices (domain capabilities, hostdev/pciBackend); None if not read."""
        enums = [dict(support.enums) for support in self.domain_support]
        told = [found[path] for found in enums if (path := "devices/hostdev/pciBackend") in found]
        return any("vfio" in backends for backends in told) if told else None

    @property
    def cpus(self) -> tuple[HostCpu, ...]:
        """All logical CPUs, in order of their ids."""
        return tuple(sorted((cpu for cell in self.cells for cpu in cell.cpus), key=lambda cpu: cpu.id))

    def guest_type(self, arch: str, type_: str) -> GuestType | None:
        """The emulator for an architecture and domain type; None if the host cannot run such guests."""
        return next((guest for guest in self.guests if (guest.arch, guest.type) == (arch, type_)), None)
