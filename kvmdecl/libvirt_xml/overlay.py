"""The definition to submit: what is observed, with what is declared laid over it.

libvirt replaces a definition as a whole, and invents again whatever the new one leaves out: addresses, MAC
addresses, the machine's version. So a terse definition is only ever submitted for an object that does not
exist yet.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from lxml import etree

from kvmdecl.libvirt_xml.build import attributes, discard
from kvmdecl.libvirt_xml.expanders import place_live, place_on_expanders
from kvmdecl.libvirt_xml.fields import (
    Comparison,
    Document,
    FieldDifference,
    compare_documents,
    plain,
    read_documents,
)
from kvmdecl.libvirt_xml.ports import add_ports, keep_ports_free
from kvmdecl.libvirt_xml.rules import plain_network_nic
from kvmdecl.libvirt_xml.safe import Element, parse_xml
from kvmdecl.state import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

_PREFIXES = {"virtio": "vd", "scsi": "sd", "sata": "sd", "usb": "sd", "ide": "hd", "fdc": "fd"}


def overlay(
    observed: str, desired: str, base: str | None = None, live: str | None = None, kind: Kind = Kind.DOMAIN
) -> str:
    """The definition to submit for an object that exists.

    Every declared field is set, what was declared in `base` and no longer is goes, all else stays as it is.
    Disks that are new get a free target. A device that is new in the definition but already plugged into the
    running guest (`live`) takes the target and address that it has there, so that the next start finds it at
    the same place.

    Args:
        observed: inactive definition, dumped with VIR_DOMAIN_XML_INACTIVE | VIR_DOMAIN_XML_SECURE (a
            definition without its passwords would delete them).
        desired: declared definition.
        base: declared definition that was last applied.
        live: definition of the running guest.
        kind: of the object.

    Raises:
        BadXml: one of the definitions is not acceptable XML.
    """
    empty = f"<{kind}/>"
    texts = [desired, base or empty, observed, live or empty]
    wanted, last, target, running = read_documents(texts, kind, own=2)
    comparison = _lay_over(wanted, last, target, kind)
    if kind is Kind.DOMAIN:
        _place_devices(comparison, target, running)
        place_on_expanders(target.root)
        keep_ports_free(target.root, wanted.root)
        _put_serial_console_first(target.root)
        _put_identity_first(target.root)
    for forward in target.root.iterfind("forward[interface]") if kind is Kind.NETWORK else ():
        discard(forward, "dev")  # libvirt writes the first interface there once more
    return to_text(target.root)


def merge(declared: str, fragment: str, kind: Kind = Kind.DOMAIN) -> str:
    """One declaration with another laid over it. Nothing is placed: it stays a declaration.

    Raises:
        BadXml: one of the definitions is not acceptable XML.
    """
    wanted, last, target = read_documents([fragment, f"<{kind}/>", declared], kind, own=2)
    _lay_over(wanted, last, target, kind)
    return to_text(target.root)


def _lay_over(wanted: Document, last: Document, target: Document, kind: Kind) -> Comparison:
    comparison = compare_documents(wanted, last, target)
    for reset in RESETS if kind is Kind.DOMAIN else ():
        _reset(reset, comparison, wanted, target)
    as_declared = {path: place for place, path in enumerate(wanted.fields, 1)}  # what goes, goes first
    for difference in sorted(comparison.differences, key=lambda d: as_declared.get(d.path, 0)):
        _apply(difference, wanted, target)
    _write_out(wanted, target)
    _prune(comparison, target)
    if kind is Kind.DOMAIN:
        _one_boot_order(target.root, comparison, target)
        _write_current_memory(wanted, target)
        _keep_variables(target.root)
    return comparison


def overlay_device(observed: str, declared: str, base: str | None = None) -> str:
    """The definition of one device to submit for an update: as it is, with what is declared laid over it.

    What an update can take away (a limit, a filter) and `base`, the device as it was last declared, had, goes.
    Its alias stays what it is: libvirt refuses to change one (virDomainDefCompatibleDevice).

    Raises:
        BadXml: one of the definitions is not acceptable XML.
    """
    before, wanted = parse_xml(observed), parse_xml(declared)
    own = before.find("alias")
    for source in before.findall("source"):
        discard(source, "index")  # libvirt's own number; an emptied drive has nothing else there
        if not (len(source) or source.attrib):
            before.remove(source)
    merged = parse_xml(overlay(_alone(before), _alone(wanted), taken_away(base)))
    device = next(merged.iterfind("devices/*"))
    if device.tag == "interface":
        plain_network_nic(device)
    for same in device.findall("alias"):
        device.remove(same)
    if own is not None:
        device.append(own)
    return to_text(device)


def taken_away(base: str | None) -> str | None:
    """A domain with what an update of this device may take away, None if there is nothing."""
    device = parse_xml(base) if base is not None else None
    if device is None or device.tag not in _REMOVABLE:
        return None
    device.attrib.clear()
    device[:] = [child for child in device if child.tag in {"mac", *_REMOVABLE[str(device.tag)]}]
    return _alone(device)


_REMOVABLE: Mapping[str, frozenset[str]] = {  # what else is left out is kept
    "interface": frozenset(
        {"source", "bandwidth", "filterref", "port", "coalesce", "vlan"}
    ),  # qemuDomainChangeNet
    "disk": frozenset({"source", "iotune"}),  # qemuDomainChangeMediaLegacy, qemuDomainSetBlockIoTune
}


def complete(desired: str) -> str:
    """The definition to submit for a new domain: disks get targets, a guest on PCI Express spare ports.

    Raises:
        BadXml: the definition is not acceptable XML.
    """
    root = parse_xml(desired)
    assign_targets(root)
    add_ports(root)
    place_on_expanders(root)
    _put_identity_first(root)
    return to_text(root)


def attachable(declared: str, *definitions: str) -> str:
    """The definition of one new device, to attach: a disk gets a target that is free in all `definitions`.

    Its boot order is left out: it means nothing to a guest that runs, and another device may still have that
    number.

    Raises:
        BadXml: one of the definitions is not acceptable XML.
    """
    device = parse_xml(declared)
    for boot in device.findall("boot"):
        device.remove(boot)
    if device.tag == "disk":
        taken = frozenset(name for text in definitions for name in _targets(parse_xml(text)))
        _assign_target(device, taken)
    if device.tag == "hostdev" and definitions:
        place_live(device, parse_xml(definitions[0]))
    return to_text(device)


def find_device(definition: str, key: str, declared: str | None = None) -> str | None:
    """The definition of the device that `key` names (`disk[data]`), None if there is none.

    `declared` is a declared definition that has the device, for a device that carries no name of ours.

    Raises:
        BadXml: one of the definitions is not acceptable XML.
    """
    _, document = read_documents([declared or "<domain/>", definition], Kind.DOMAIN)
    element = document.elements.get(f"devices/{key}")
    return None if element is None else to_text(deepcopy(document.originals[element]))


def take_out_field(element: Element, path: str) -> None:
    """Remove one field below an element: `@type`, `/model@type`, `/serial`."""
    child, _, attribute = path.removeprefix("/").partition("@")
    holder = element.find(child) if child else element
    if holder is not None and attribute:
        discard(holder, attribute)
        if holder is not element and not (len(holder) or holder.attrib or holder.text):
            _take_out(holder)
    elif holder is not None and holder is not element:
        _take_out(holder)


def to_text(root: Element) -> str:
    """A definition as text, indented by two spaces, the same for the same elements."""
    for element in root.iter(etree.Element):
        element.tail = None
        if len(element) and not (element.text or "").strip():
            element.text = None
    etree.indent(root)
    return etree.tostring(root, encoding="unicode") + "\n"


# -- one difference ------------------------------------------------------------------------------------------


def _apply(difference: FieldDifference, wanted: Document, target: Document) -> None:
    path = difference.path
    if difference.after is None:
        _remove(path, wanted, target)
    elif path in wanted.members and difference.before is None:
        model = wanted.elements[path]
        made = deepcopy(wanted.originals.get(model, model))
        _ensure(_parent(model, wanted), wanted, target).append(made)
        target.elements[path] = target.originals[made] = made
    else:
        element_path, attribute = wanted.leaves[path]
        _set(wanted, element_path, attribute, _ensure(element_path, wanted, target), difference.after)


def _set(wanted: Document, path: str, attribute: str | None, element: Element, value: str) -> None:
    """Write a field as it was declared, or its normal form where a rule made it up."""
    normal = wanted.elements[path]
    original = wanted.originals.get(normal)
    if attribute is not None:
        element.set(attribute, original.get(attribute, value) if original is not None else value)
        return
    discard(element, "unit")
    if original is not None and original.get("unit"):
        element.set("unit", original.attrib["unit"])
    element.text = original.text if original is not None else value


def _ensure(path: str, wanted: Document, target: Document) -> Element:
    """The element of the target's text at a path, made if it is missing."""
    found = target.elements.get(path)
    if found is not None:
        if found not in target.originals:  # a rule made it up
            parent = _ensure(_parent(found, target), wanted, target)
            target.originals[found] = etree.SubElement(parent, found.tag)
        return target.originals[found]
    model = wanted.elements[path]
    parent = _ensure(_parent(model, wanted), wanted, target)
    made = etree.SubElement(parent, model.tag)
    target.elements[path] = made
    target.originals[made] = made
    return made


def _parent(element: Element, document: Document) -> str:
    above = element.getparent()
    return next(path for path, candidate in document.elements.items() if candidate is above)


def _write_out(wanted: Document, target: Document) -> None:
    """Write out what is declared and so far is there by default only: other changes may move the default.

    (Without `current` all vCPUs are there from the start: a higher maximum alone would raise their number.)
    """
    for element_path, attribute in wanted.leaves.values():
        normal = target.elements.get(element_path)
        original = target.originals.get(normal) if normal is not None else None
        if attribute is None or normal is None or original is None or original.get(attribute) is not None:
            continue
        if (implied := normal.get(attribute)) is not None:
            _set(wanted, element_path, attribute, original, implied)


def _remove(path: str, wanted: Document, target: Document) -> None:
    element_path, attribute = target.leaves[path]
    original = target.originals.get(target.elements[element_path])
    if original is None or original.getparent() is None:
        return
    if attribute is not None:
        discard(original, attribute)
    elif element_path not in wanted.elements:
        _take_out(original)
    elif not len(original):
        original.text = None  # the element stays, for the sake of its attributes


def _prune(comparison: Comparison, target: Document) -> None:
    """Take out elements in which only what was removed was said."""
    for difference in comparison.differences:
        if difference.after is None:
            element = target.elements[target.leaves[difference.path][0]]
            for holder in (element, *element.iterancestors()):
                _prune_one(target.originals.get(holder), target.root)


def _prune_one(element: Element | None, root: Element) -> None:
    if element is None or element is root or len(element) or element.attrib or (element.text or "").strip():
        return
    _take_out(element)


def _take_out(element: Element) -> None:
    above = element.getparent()
    if above is not None:
        above.remove(element)


# -- what a change takes along -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reset:
    """What libvirt filled in because of a field, and must fill in anew when that field changes.

    Attributes:
        field: plain path of the field that changes.
        owner: plain path of the element whose content goes.
        elements: paths below the owner that go unless something in them is declared.
        why: the reason.
        attributes: attributes of the owner or below it (`target@dev`) that go unless they are declared.
        when: whether a change from one value to another does it.
    """

    field: str
    owner: str
    elements: tuple[str, ...]
    why: str
    attributes: tuple[str, ...] = ()
    when: Callable[[str | None, str | None], bool] = lambda before, after: before != after


def _other_chipset(before: str | None, after: str | None) -> bool:
    return ("q35" in (before or "")) != ("q35" in (after or ""))


_DISK, _NIC = "devices/disk", "devices/interface"
_BOARD = ("devices/controller", "devices/*/address[@type='pci']", "devices/*/address[@type='drive']")
_BUILD = ("loader",)
_SOURCES = (
    *("source@bridge", "source@network", "source@portgroup", "source@dev", "source@mode"),
    *("source@type", "source@path", "@managed"),
)

RESETS: tuple[Reset, ...] = (
    Reset(
        f"{_DISK}/target@bus", _DISK, ("address",), "addresses and targets belong to a bus", ("target@dev",)
    ),
    Reset(f"{_NIC}/model@type", _NIC, ("address",), "an e1000 cannot sit where a virtio NIC did"),
    Reset(f"{_NIC}@type", _NIC, ("source/*", "backend"), "a bridge's source is no network's", _SOURCES),
    Reset(
        "devices/watchdog@model",
        "devices/watchdog",
        ("address",),
        "one model is a PCI device, the other is not",
    ),
    Reset("devices/iommu@model", "devices/iommu", ("*",), "one is a PCI device, the other is not"),
    Reset(
        "devices/memory@model",
        "devices/memory",
        ("address",),
        "modules have slots, virtio-mem is a PCI device",
    ),
    Reset("devices/memballoon@model", "devices/memballoon", ("*",), "no balloon has no address"),
    Reset(
        "devices/video/model@type",
        "devices/video/model",
        (),
        "each has its memory",
        ("@ram", "@vram", "@vgamem", "@heads"),
    ),
    Reset("devices/video/model@type", "devices/video", ("address",), "no card has no address"),
    *(
        Reset(field, "devices/graphics", (), "libvirt says the first place to listen at twice", ("@listen",))
        for field in ("devices/graphics/listen@address", "devices/graphics/listen@type")
    ),
    Reset("devices/sound@model", "devices/sound", ("*",), "one is a PCI device, the others are not"),
    Reset(
        "devices/graphics",
        "",
        ("devices/audio[@type='spice']", "devices/audio[@type='none']"),
        "without SPICE nobody hears by it, and with it somebody does",
    ),
    Reset(
        "devices/audio@type",
        "devices/audio",
        ("*",),
        "each backend has settings of its own",
        ("@path", "@serverName", "@runtimeDir", "@tryMMap", "@exclusive", "@dspPolicy", "@driver"),
    ),
    Reset("devices/panic@model", "devices/panic", ("*",), "one has a port, the other has none"),
    Reset("devices/tpm/backend@type", "devices/tpm/backend", ("device",), "an emulator has no device"),
    Reset(
        "devices/vsock/cid@auto",
        "devices/vsock/cid",
        (),
        "a chosen address is the guest's own",
        ("@address",),
    ),
    Reset(
        "cpu@mode", "cpu", ("*",), "each mode has settings of its own", ("@match", "@check", "@migratable")
    ),
    *(
        Reset(field, "os", _BUILD, "libvirt chooses the build of the firmware", ("nvram@template",))
        for field in ("os@firmware", "os/firmware/feature@enabled")
    ),
    *(
        Reset(field, "", ("currentMemory",), "what is new the guest has from the start")
        for field in ("devices/memory", "devices/memory/target/size", "cpu/numa/cell", "cpu/numa/cell@memory")
    ),
    Reset("iothreads", "", ("iothreadids",), "the numbers of I/O threads are as many as the threads"),
    Reset("os/type@machine", "", _BOARD, "another chipset has other buses", when=_other_chipset),
)


def _reset(reset: Reset, comparison: Comparison, wanted: Document, target: Document) -> None:
    paths = {target.originals[e]: path for path, e in target.elements.items() if e in target.originals}
    for difference in comparison.differences:
        if plain(difference.path) != reset.field or not reset.when(
            difference.before or "", difference.after or ""
        ):
            continue
        owner = _owner(difference.path, reset.owner, wanted, target)
        if owner is not None:
            _drop_undeclared(reset, owner, paths, comparison, wanted)


def _drop_undeclared(
    reset: Reset, owner: Element, paths: Mapping[Element, str], comparison: Comparison, wanted: Document
) -> None:
    for element in [element for where in reset.elements for element in owner.iterfind(where)]:
        path = paths.get(element)
        made_up = path in wanted.elements and wanted.elements[path] not in wanted.originals  # by a rule
        if made_up or not _declares(comparison, path):
            _take_out(element)
    for where in reset.attributes:
        child, _, name = where.partition("@")
        holder = owner.find(child) if child else owner
        if holder is not None and f"{paths.get(holder)}@{name}" not in comparison.desired:
            discard(holder, name)


def _owner(path: str, plain_owner: str, wanted: Document, target: Document) -> Element | None:
    """The element at or above a field whose plain path is the owner's, None if the target lacks it."""
    document = wanted if path in wanted.leaves else target
    element: Element | None = document.elements[document.leaves[path][0]]
    while element is not None:
        here = next((where for where, candidate in document.elements.items() if candidate is element), "")
        if plain(here) == plain_owner and here in target.elements:
            return target.originals.get(target.elements[here])
        element = element.getparent()
    return None


def _declares(comparison: Comparison, path: str | None) -> bool:
    return path is not None and any(
        f == path or f.startswith((f"{path}/", f"{path}@")) for f in comparison.desired
    )


# -- what only the whole domain can tell ---------------------------------------------------------------------


def _one_boot_order(root: Element, comparison: Comparison, target: Document) -> None:
    """A boot order of devices excludes one of classes, and no two devices share a place in it."""
    orders = {value for path, value in comparison.desired.items() if plain(path).endswith("/boot@order")}
    if not orders:
        return
    for boot in root.findall("os/boot"):
        _take_out(boot)
    for path, value in comparison.observed.items():
        if plain(path).endswith("/boot@order") and path not in comparison.desired and value in orders:
            _take_out(target.originals[target.elements[target.leaves[path][0]]])


def _keep_variables(root: Element) -> None:
    """The variables of UEFI stay where they are, whatever its build; a BIOS has none, and libvirt refuses them."""
    os_, nvram, loader = root.find("os"), root.find("os/nvram"), root.find("os/loader")
    if os_ is None or nvram is None or os_.get("firmware") == "efi":
        return
    if loader is None or loader.get("type") != "pflash":
        os_.remove(nvram)


def _write_current_memory(wanted: Document, target: Document) -> None:
    """What is observed counts what is plugged in, which the comparison does not: written as declared, it is exact."""
    declared, current = wanted.root.find("currentMemory"), target.root.find("currentMemory")
    if declared is not None and current is not None:
        current.text = declared.text
        for name, value in attributes(declared).items():
            current.set(name, value)


def _place_devices(comparison: Comparison, target: Document, running: Document) -> None:
    """Another chipset has places of its own; on the present one devices go where they are plugged in."""
    if any(d.path == "os/type@machine" and _other_chipset(d.before, d.after) for d in comparison.differences):
        add_ports(target.root)
    elif not _other_chipset(_machine(target), _machine(running)):  # the guest may have begun with another one
        _take_places(comparison, target, running)
    assign_targets(target.root, frozenset(_targets(running.root)))


def _machine(document: Document) -> str:
    return document.fields.get("os/type@machine", "")


def _take_places(comparison: Comparison, target: Document, running: Document) -> None:
    """Devices new in the definition and in the running guest already take the place that they have there."""
    addresses = target.root.iterfind("devices/*/address")
    taken = {etree.tostring(address, method="c14n") for address in addresses}
    for difference in comparison.differences:
        path = difference.path
        is_device = path.startswith("devices/") and difference.before is None and path in running.members
        if is_device and path in target.elements:
            there = running.originals[running.elements[path]]
            _take_place(target.originals[target.elements[path]], there, taken)


def _take_place(device: Element, there: Element, taken: set[bytes]) -> None:
    target, address = there.find("target"), there.find("address")
    own_target = device.find("target")
    if (
        device.tag == "disk"
        and target is not None
        and own_target is not None
        and own_target.get("dev") is None
    ):
        own_target.set("dev", target.get("dev", ""))
    if (
        device.find("address") is None
        and address is not None
        and etree.tostring(address, method="c14n") not in taken
    ):
        device.append(deepcopy(address))


def _put_identity_first(root: Element) -> None:
    """What a domain is called goes before all that it is (`ids` in libvirt's domaincommon.rng)."""
    for tag in ("genid", "uuid", "name"):
        for element in root.findall(tag):
            root.insert(0, element)


def _put_serial_console_first(root: Element) -> None:
    """Only the first console can be a serial port (qemuValidateDomainDeviceDefConsole)."""
    consoles = root.findall("devices/console")
    serial = [console for console in consoles if console.find("target[@type='serial']") is not None]
    if serial and serial[0] is not consoles[0]:
        consoles[0].addprevious(serial[0])


def assign_targets(root: Element, taken: frozenset[str] = frozenset()) -> None:
    """Give every disk without a target device the first free name of its bus: `vda`, `vdb`, ..."""
    used = taken | frozenset(_targets(root))
    for disk in root.iterfind("devices/disk"):
        used |= _assign_target(disk, used)


def _assign_target(disk: Element, taken: frozenset[str]) -> frozenset[str]:
    target = disk.find("target")
    if target is None or target.get("dev"):
        return frozenset()
    prefix = _PREFIXES.get(target.get("bus", ""), "sd")
    name = next(name for name in _names(prefix) if name not in taken)
    target.set("dev", name)
    return frozenset({name})


def _names(prefix: str) -> Iterator[str]:
    """`vda`, ..., `vdz`, `vdaa`, ...: as virIndexToDiskName counts."""
    for number in count():
        letters, rest = "", number
        while rest >= 0:
            letters = chr(ord("a") + rest % 26) + letters
            rest = rest // 26 - 1
        yield prefix + letters


def _targets(root: Element) -> Iterable[str]:
    return (target.get("dev", "") for target in root.iterfind("devices/disk/target"))


_SAME = "ua-same"


def _alone(device: Element) -> str:
    """A domain with one device, under an alias by which it is the same in two such domains."""
    for alias in device.findall("alias"):
        device.remove(alias)
    etree.SubElement(device, "alias", name=_SAME)
    domain = etree.Element("domain")
    etree.SubElement(domain, "devices").append(device)
    return etree.tostring(domain, encoding="unicode")
