"""What libvirt says of a host -> facts: capabilities, domain capabilities, node devices. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmdecl.facts import (
    CacheBank,
    Cell,
    DomainSupport,
    GuestType,
    HostCpu,
    HostFacts,
    HostInterface,
    Machine,
    NodeDevice,
    PagePool,
)
from kvmdecl.libvirt_xml.safe import BadXml, parse_xml

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kvmdecl.libvirt_xml.safe import Element

_UNITS = {
    "b": 1,
    "bytes": 1,
    "KB": 10**3,
    "k": 2**10,
    "KiB": 2**10,
    "MB": 10**6,
    "M": 2**20,
    "MiB": 2**20,
    "GB": 10**9,
    "G": 2**30,
    "GiB": 2**30,
    "TB": 10**12,
    "T": 2**40,
    "TiB": 2**40,
}
_NUMBER = re.compile(r"[0-9]{1,19}", re.ASCII)
_RANGE = re.compile(r"([0-9]{1,6})(?:-([0-9]{1,6}))?", re.ASCII)
_LONGEST_RANGE = 65536
_MOST = (0xFFFFFFFF, 0xFF, 0x1F, 7)  # domain (Intel VMD has ones beyond 16 bits), bus, slot, function
_PCI_NAME = re.compile(r"pci_([0-9a-f]{4,8})_([0-9a-f]{2})_([01][0-9a-f])_([0-7])", re.ASCII)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What `virsh capabilities` prints. `memory` in bytes; `uuid` is empty if not told."""

    uuid: str
    arch: str
    cpu_model: str
    cpu_features: tuple[str, ...]
    memory: int
    cells: tuple[Cell, ...]
    iommu: bool
    guests: tuple[GuestType, ...]
    caches: tuple[CacheBank, ...] = ()
    bandwidth_nodes: tuple[int, ...] = ()
    security_models: tuple[str, ...] = ()

    def facts(
        self,
        *,
        libvirt: int,
        qemu: int,
        devices: Iterable[NodeDevice],
        domain_support: Iterable[DomainSupport],
        interfaces: Iterable[str] = (),
        pool_types: tuple[str, ...] | None = None,
        connections: Iterable[HostInterface] = (),
    ) -> HostFacts:
        """Put the facts of the host together."""
        return HostFacts(
            uuid=self.uuid,
            arch=self.arch,
            cpu_model=self.cpu_model,
            cpu_features=self.cpu_features,
            memory=self.memory,
            cells=self.cells,
            iommu=self.iommu,
            guests=self.guests,
            domain_support=tuple(sorted(domain_support, key=lambda s: (s.arch, s.type, s.machine))),
            devices=tuple(sorted(devices, key=lambda device: device.name)),
            libvirt=libvirt,
            qemu=qemu,
            interfaces=tuple(sorted(interfaces)),
            caches=self.caches,
            bandwidth_nodes=self.bandwidth_nodes,
            security_models=self.security_models,
            pool_types=pool_types,
            connections=_once(connections),
        )


def parse_capabilities(text: str) -> Capabilities:
    """Read the answer of virConnectGetCapabilities.

    Raises:
        BadXml: not such a document.
    """
    root = _root(text, "capabilities")
    host = root.find("host")
    if host is None:
        raise BadXml("the capabilities do not describe a host")
    cells = tuple(_cell(cell) for cell in host.iterfind("topology/cells/cell"))
    return Capabilities(
        uuid=_text(host, "uuid").lower(),
        arch=_text(host, "cpu/arch"),
        cpu_model=_text(host, "cpu/model"),
        cpu_features=tuple(sorted({name for f in host.iterfind("cpu/feature") if (name := f.get("name"))})),
        memory=sum(cell.memory for cell in cells),
        cells=cells,
        iommu=_attribute(host, "iommu", "support") == "yes",
        guests=tuple(guest for arch in root.iterfind("guest/arch") for guest in _guests(arch)),
        caches=tuple(_bank(bank) for bank in host.iterfind("cache/bank")),
        bandwidth_nodes=tuple(
            _number(controller.get("id"), "memory_bandwidth/node/@id")
            for controller in host.iterfind("memory_bandwidth/node[control]")
        ),
        security_models=tuple(sorted({_text(model, "model") for model in host.iterfind("secmodel")})),
    )


def parse_pool_types(text: str) -> tuple[str, ...]:
    """Read the types of storage pools that a host offers, from virConnectGetStoragePoolCapabilities.

    Raises:
        BadXml: not such a document.
    """
    pools = _root(text, "storagepoolCapabilities").iterfind("pool")
    return tuple(sorted(pool.get("type", "") for pool in pools if pool.get("supported") == "yes"))


def parse_domain_capabilities(text: str) -> DomainSupport:
    """Read the answer of virConnectGetDomainCapabilities.

    The enumeration `cpu/mode` holds the supported CPU modes, `os/loader` the firmware files, `devices` the
    kinds of devices and `features` the features that the host supports at all, and `unsupported` the paths of all
    parts that it says it does not (`devices/tpm`). `cpu/nested` holds `yes` where its guests can have guests, and is
    missing where that is not told.

    Raises:
        BadXml: not such a document.
    """
    root = _root(text, "domainCapabilities")
    enums = dict(_enumerations(root, ""))
    for group in ("devices", "features"):
        enums[group] = _supported_children(root, group)
    enums["unsupported"] = tuple(sorted(_unsupported(root, "")))
    enums["cpu/mode"] = tuple(
        sorted(mode.get("name", "") for mode in root.iterfind("cpu/mode[@supported='yes']"))
    )
    enums |= _nesting(root)
    models = root.iterfind("cpu/mode[@name='custom']/model[@usable='yes']")
    return DomainSupport(
        arch=_text(root, "arch"),
        type=_text(root, "domain"),
        machine=_text(root, "machine"),
        max_cpus=_number(_attribute(root, "vcpu", "max") or "0", "vcpu/@max"),
        enums=tuple(sorted(enums.items())),
        cpu_models=tuple(sorted({(model.text or "").strip() for model in models})),
    )


def _nesting(root: Element) -> dict[str, tuple[str, ...]]:
    """Of nested guests only the features of `host-model` tell; some models of AMD's have `svm` without saying so."""
    mode = root.find("cpu/mode[@name='host-model'][@supported='yes']")
    if mode is None:
        return {}
    policies = {
        feature.get("policy") for feature in mode.iterfind("feature") if feature.get("name") in {"vmx", "svm"}
    }
    if "require" in policies:
        return {"cpu/nested": ("yes",)}
    return {"cpu/nested": ()} if policies or _text(mode, "vendor") == "Intel" else {}


def parse_node_device(text: str) -> NodeDevice:
    """Read the answer of virNodeDeviceGetXMLDesc. A device without a capability has an empty one.

    Raises:
        BadXml: not such a document.
    """
    root = _root(text, "device")
    name = _text(root, "name")
    if not name:
        raise BadXml("a node device has no name")
    capability = root.find("capability")
    kind = "" if capability is None else capability.get("type", "")
    properties = {} if capability is None else _device_properties(kind, name, capability)
    properties["driver"] = _text(root, "driver/name")
    if kind == "mdev":
        properties["active"] = "yes" if root.find("path") is not None else ""
    if kind == "storage":
        properties["links"] = " ".join(_links(root))
    return NodeDevice(
        name=name,
        parent=_text(root, "parent"),
        capability=kind,
        properties=tuple(sorted((key, value) for key, value in properties.items() if value)),
    )


def parse_interface(text: str) -> tuple[HostInterface, ...]:
    """Read the answer of virInterfaceGetXMLDesc: an interface, and those that it is made of.

    Raises:
        BadXml: not such a document.
    """
    root = _root(text, "interface")
    if not root.get("name"):
        raise BadXml("a network interface has no name")
    return tuple(_interface(found) for found in root.iter("interface") if found.get("name"))


def _interface(element: Element) -> HostInterface:
    """Of a VLAN in another interface libvirt tells no more than the name."""
    parts = element.iterfind("*/interface")
    addresses = (ip.get("address", "") for ip in element.iterfind("protocol/ip"))
    return HostInterface(
        element.get("name", ""),
        element.get("type", ""),
        tuple(sorted(filter(None, (part.get("name", "") for part in parts)))),
        tuple(sorted(filter(None, addresses))),
    )


def _once(interfaces: Iterable[HostInterface]) -> tuple[HostInterface, ...]:
    """By name. One that is a part of another is told of there, too, with less or more."""
    found: dict[str, HostInterface] = {}
    for interface in interfaces:
        known = found.get(interface.name)
        if known is None or (len(interface.over), len(interface.addresses)) > (
            len(known.over),
            len(known.addresses),
        ):
            found[interface.name] = interface
    return tuple(found[name] for name in sorted(found))


# -- capabilities -------------------------------------------------------------------------------------------


def _cell(cell: Element) -> Cell:
    identifier = _number(cell.get("id"), "cell/@id")
    memory = cell.find("memory")
    return Cell(
        id=identifier,
        memory=0 if memory is None else _size(memory, memory.text),
        cpus=tuple(_cpu(cpu) for cpu in cell.iterfind("cpus/cpu")),
        pages=tuple(
            PagePool(_size(page, page.get("size")), _number(page.text, "cell/pages"))
            for page in cell.iterfind("pages")
        ),
        distances=tuple(
            (_number(other.get("id"), "sibling/@id"), _number(other.get("value"), "sibling/@value"))
            for other in cell.iterfind("distances/sibling")
        ),
    )


def _bank(bank: Element) -> CacheBank:
    return CacheBank(
        id=_number(bank.get("id"), "bank/@id"),
        level=_number(bank.get("level"), "bank/@level"),
        size=_size(bank, bank.get("size")),
        parts=tuple(
            (
                control.get("type", ""),
                _size(control, control.get("granularity")),
                _size(control, control.get("min") or control.get("granularity")),
            )
            for control in bank.iterfind("control")
        ),
    )


def _cpu(cpu: Element) -> HostCpu:
    """An offline CPU has an id alone; it counts as a core of its own."""
    identifier = _number(cpu.get("id"), "cpu/@id")
    return HostCpu(
        id=identifier,
        socket=_number(cpu.get("socket_id", "0"), "cpu/@socket_id"),
        die=_number(cpu.get("die_id", "0"), "cpu/@die_id"),
        core=_number(cpu.get("core_id") or str(identifier), "cpu/@core_id"),
        siblings=_id_set(cpu.get("siblings") or str(identifier)),
    )


def _id_set(text: str) -> tuple[int, ...]:
    """A set of ids as libvirt writes it: `0-2,5`."""
    ids: set[int] = set()
    for part in text.split(","):
        match = _RANGE.fullmatch(part.strip())
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not 0 <= last - first < _LONGEST_RANGE:
            raise BadXml(f"{text!r:.80} is not a set of CPUs")
        ids.update(range(first, last + 1))
    return tuple(sorted(ids))


def _guests(arch: Element) -> Iterator[GuestType]:
    """One guest type for each domain type. A type's own emulator and machines override the architecture's."""
    name = arch.get("name", "")
    for domain in arch.iterfind("domain"):
        machines = domain.findall("machine") or arch.findall("machine")
        yield GuestType(
            arch=name,
            type=domain.get("type", ""),
            emulator=_text(domain, "emulator") or _text(arch, "emulator"),
            machines=tuple(sorted({_machine(machine) for machine in machines}, key=lambda m: m.name)),
        )


def _machine(machine: Element) -> Machine:
    name = (machine.text or "").strip()
    return Machine(
        name, machine.get("canonical") or name, _number(machine.get("maxCpus", "0"), "machine/@maxCpus")
    )


# -- domain capabilities ------------------------------------------------------------------------------------


def _enumerations(element: Element, path: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Every `<enum>` and every bare list of `<value>`, under the path of its element. CPU modes are apart."""
    for child in element:
        name = str(child.tag)
        if name == "enum":
            yield f"{path}{child.get('name', '')}", _values(child)
        elif child.get("supported") != "no" and name != "mode":
            if child.find("value") is not None:
                yield f"{path}{name}", _values(child)
            yield from _enumerations(child, f"{path}{name}/")


def _unsupported(element: Element, path: str) -> Iterator[str]:
    """Where the host says no. What a version of libvirt does not know of is not told at all."""
    for child in element:
        where = f"{path}{child.tag}"
        if child.get("supported") == "no" and child.tag != "mode":
            yield where
        else:
            yield from _unsupported(child, f"{where}/")


def _values(element: Element) -> tuple[str, ...]:
    return tuple((value.text or "").strip() for value in element.iterfind("value"))


def _supported_children(root: Element, group: str) -> tuple[str, ...]:
    return tuple(sorted({str(child.tag) for child in root.iterfind(f"{group}/*[@supported='yes']")}))


# -- node devices -------------------------------------------------------------------------------------------


def _device_properties(kind: str, name: str, capability: Element) -> dict[str, str]:
    """The plain facts of any device, and by name those that planning asks for."""
    properties = _plain(capability)
    if (types := capability.find("capability[@type='mdev_types']")) is not None:
        properties |= _mdev_types(types)
    if kind == "pci":
        properties |= _pci(name, capability)
    elif kind == "net" and (link := capability.find("link")) is not None:
        properties |= {"link": link.get("state", ""), "speed": link.get("speed", "")}
    elif kind == "mdev":
        properties["iommu_group"] = _attribute(capability, "iommuGroup", "number")
    elif kind in {"scsi_host", "scsi_target"}:  # of Fibre Channel: what they are called in the fabric
        for more in capability.iterfind("capability"):
            properties |= _plain(more)
    elif kind == "css" and (channel := capability.find("channel_dev_addr")) is not None:
        properties |= {f"channel_{key}": value for key, value in _plain(channel).items()}
    return properties


def _plain(capability: Element) -> dict[str, str]:
    """What stands in a line. Where libvirt gives an id (vendor, product), the text beside it is only its name."""
    found: dict[str, str] = {}
    for child in capability:
        if len(child) == 0 and child.tag != "capability":
            id_, text = child.get("id"), (child.text or "").strip()
            found |= {str(child.tag): id_ or text} | ({f"{child.tag}_name": text} if id_ else {})
    return found


def _mdev_types(types: Element) -> dict[str, str]:
    """What each type is besides its id, under `mdev_type.ID.`."""
    found = {"mdev_types": " ".join(sorted(type_.get("id", "") for type_ in types.iterfind("type")))}
    for type_ in types.iterfind("type"):
        for key, tag in (("name", "name"), ("api", "deviceAPI"), ("available", "availableInstances")):
            found[f"mdev_type.{type_.get('id', '')}.{key}"] = _text(type_, tag)
    return found


def _links(device: Element) -> Iterator[str]:
    """The other names of a block device (`/dev/disk/by-id/...`), in which udev leaves no space."""
    names = ((link.text or "").strip() for link in device.iterfind("devnode[@type='link']"))
    return (name for name in sorted(names) if name and not re.search(r"\s", name))


def _pci(name: str, capability: Element) -> dict[str, str]:
    more = {str(part.get("type") or part.tag): part for part in capability if len(part) or part.get("type")}
    physical, virtual = more.get("phys_function"), more.get("virt_functions")
    found = {
        "address": _own_address(name, capability),
        "bridge": "yes" if "pci-bridge" in more or "cardbus-bridge" in more else "",
        "physical_function": ""
        if physical is None
        else " ".join(map(_address, physical.iterfind("address"))),
        "numa_cell": _attribute(capability, "numa", "node"),
    }
    if virtual is not None:
        found["virtual_functions"] = " ".join(map(_address, virtual.iterfind("address")))
        found["max_virtual_functions"] = virtual.get("maxCount", "")
    if (group := capability.find("iommuGroup")) is not None:
        found["iommu_group"] = group.get("number", "")
        found["iommu_members"] = " ".join(sorted(map(_address, group.iterfind("address"))))
    for link in more["pci-express"].iterfind("link") if "pci-express" in more else ():
        kind = "max_link" if link.get("validity") == "cap" else "link"
        found |= {f"{kind}_speed": link.get("speed", ""), f"{kind}_width": link.get("width", "")}
    if (vpd := more.get("vpd")) is not None:
        found["vpd.name"] = _text(vpd, "name")
        for key in ("part_number", "serial_number"):
            found[f"vpd.{key}"] = _text(vpd, f"fields/{key}")
    return found


def _own_address(name: str, capability: Element) -> str:
    """From its numbers, or from its name where these are none that PCI has."""
    numbers = [
        _number(_text(capability, part) or "0", part) for part in ("domain", "bus", "slot", "function")
    ]
    if all(number <= most for number, most in zip(numbers, _MOST, strict=True)):
        return _pci_address(*numbers)
    match = _PCI_NAME.fullmatch(name)
    return "{}:{}:{}.{}".format(*match.groups()) if match else ""


def _address(element: Element) -> str:
    parts = ("domain", "bus", "slot", "function")
    return _pci_address(*(_hexadecimal(element.get(part, "0")) for part in parts))


def _pci_address(domain: int, bus: int, slot: int, function: int) -> str:
    return f"{domain:04x}:{bus:02x}:{slot:02x}.{function:x}"


def _hexadecimal(text: str) -> int:
    if not re.fullmatch(r"(?:0x)?[0-9a-fA-F]{1,8}", text):
        raise BadXml(f"{text!r:.80} is not part of a PCI address")
    return int(text, 16)


# -- all ----------------------------------------------------------------------------------------------------


def _root(text: str, tag: str) -> Element:
    root = parse_xml(text)
    if root.tag != tag:
        raise BadXml(f"the document is a <{root.tag!s:.80}>, not a <{tag}>")
    return root


def _text(element: Element, path: str) -> str:
    return (element.findtext(path) or "").strip()


def _attribute(element: Element, path: str, name: str) -> str:
    found = element.find(path)
    return "" if found is None else found.get(name, "")


def _number(text: str | None, what: str) -> int:
    stripped = (text or "").strip()
    if not _NUMBER.fullmatch(stripped):
        raise BadXml(f"{what} is {stripped!r:.80}, not a number")
    return int(stripped)


def _size(element: Element, text: str | None) -> int:
    """A number with the unit of its element, in bytes; KiB is libvirt's default here."""
    unit = element.get("unit", "KiB")
    if unit not in _UNITS:
        raise BadXml(f"{unit!r:.80} is not a unit of size")
    return _number(text, f"<{element.tag}>") * _UNITS[unit]
