"""What libvirt fills in by itself: a table of what nobody has to declare for a guest to be what it is.

Each row takes something out of a copy of a definition. What is left is what somebody asked for, or might have: where
that cannot be known (a machine's version, a disk's target), it counts as asked for. Sources are functions of libvirt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lxml import etree

from kvmdecl.libvirt_xml.build import attributes, discard
from kvmdecl.libvirt_xml.ports import is_reserved
from kvmdecl.libvirt_xml.safe import Element, parse_xml

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvmdecl.facts import HostFacts


@dataclass(frozen=True, slots=True)
class Row:
    """A thing that is filled in. `path` leads from the root to the elements that `apply` looks at."""

    name: str
    path: str
    apply: Callable[[Element], None]


def asked_for(xml: str, facts: HostFacts) -> str:
    """A definition without what libvirt fills in.

    Raises:
        BadXml: the definition is not acceptable XML.
    """
    root = parse_xml(xml)
    _drop_default_emulator(root, facts)
    for row in ROWS:
        for element in root.findall(row.path) if row.path else [root]:
            row.apply(element)
    return etree.tostring(root, encoding="unicode")


# -- what rows do --------------------------------------------------------------------------------------------


def _take_out(element: Element) -> None:
    parent = element.getparent()
    if parent is not None:
        parent.remove(element)


def _texts(*texts: str) -> Callable[[Element], None]:
    """Take out an element that says one of these."""

    def apply(element: Element) -> None:
        if (element.text or "").strip() in texts:
            _take_out(element)

    return apply


def _values(name: str, *values: str) -> Callable[[Element], None]:
    """Take out an attribute that has one of these values."""

    def apply(element: Element) -> None:
        if element.get(name) in values:
            discard(element, name)

    return apply


def _only(**values: str) -> Callable[[Element], None]:
    """Take out an element that has these attributes, no others, and no content but a generated address."""

    def apply(element: Element) -> None:
        children = [child for child in element if child.tag not in {"address", "alias"}]
        if attributes(element) == values and not children:
            _take_out(element)

    return apply


def _drop_default_emulator(root: Element, facts: HostFacts) -> None:
    kind, emulator = root.find("os/type"), root.find("devices/emulator")
    if kind is None or emulator is None:
        return
    guest = facts.guest_type(kind.get("arch", ""), root.get("type", ""))
    if guest is not None and guest.emulator == (emulator.text or "").strip():
        _take_out(emulator)


def _is_q35(element: Element) -> bool:
    kind = element.getroottree().getroot().find("os/type")
    return kind is not None and "q35" in kind.get("machine", "")


def _has_own_topology(root: Element) -> bool:
    """Whether buses were laid out by hand: bridges that libvirt never adds by itself."""
    controllers = root.iterfind("devices/controller[@type='pci']")
    return any(controller.get("model") not in _ADDED_BRIDGES for controller in controllers)


_ADDED_BRIDGES = frozenset(
    ("pci-root", "pcie-root", "pcie-root-port", "pci-bridge", "dmi-to-pci-bridge", "pcie-to-pci-bridge", None)
)


def _drop_places(root: Element) -> None:
    """Places on buses (virDomainDeviceInfo). Where buses were laid out by hand, so were the places on them."""
    kept = {"unassigned", "pci"} if _has_own_topology(root) else {"unassigned"}
    for address in root.findall("devices/*/address"):
        if address.get("type") not in kept and not _is_chosen_unit(address):
            _take_out(address)


def _is_chosen_unit(address: Element) -> bool:
    """Whether a disk is not where its target puts it (virDomainDiskDefAssignAddress)."""
    disk = address.getparent()
    target = disk.find("target") if disk is not None and disk.tag == "disk" else None
    if target is None or address.get("type") != "drive":
        return False
    number, bus = _number(target.get("dev", "")), target.get("bus", "")
    place = tuple(int(address.get(name, "0"), 0) for name in ("controller", "bus", "target", "unit"))
    return number is not None and bus in _UNITS and place != _UNITS[bus](number)


_UNITS: dict[str, Callable[[int], tuple[int, ...]]] = {
    "ide": lambda n: (n // 4, n % 4 // 2, 0, n % 2),
    "sata": lambda n: (n // 6, 0, 0, n % 6),
    "scsi": lambda n: (n // 15, 0, 0, n % 15 + (n % 15 >= 7)),  # 7 is the controller itself
    "fdc": lambda n: (n // 2, 0, 0, n % 2),
}


def _number(target: str) -> int | None:
    """`sda` is 0, `sdaa` 26 (virDiskNameParse)."""
    letters, number = target[2:], 0
    for letter in letters:
        number = number * 26 + ord(letter) - ord("a") + 1
    return number - 1 if letters.isalpha() and letters.islower() else None


def _drop_added_controller(controller: Element) -> None:
    """Controllers that a chipset has, or that come with what is plugged into them (qemuDomainDefAddDefaultDevices)."""
    root = controller.getroottree().getroot()
    kind, model, index = controller.get("type"), controller.get("model"), controller.get("index")
    asked = set(controller.attrib) - {"type", "index", "model"}
    children = {child.tag for child in controller} - {"address", "alias"}
    if is_reserved(controller):
        discard(controller, "index")
        for child in (*controller.findall("model"), *controller.findall("target")):
            controller.remove(child)
        return
    if kind == "pci":
        asked_port = (
            controller.find("target[@hotplug]") is not None or controller.find("target/node") is not None
        )
        added = not _has_own_topology(root) and model in _ADDED_BRIDGES and not asked_port and not asked
        children -= {"model", "target"}
    elif kind == "usb":
        added = index == "0" and model in ({"qemu-xhci"} if _is_q35(controller) else {"piix3-uhci", None})
    elif kind in {"ide", "sata", "fdc", "virtio-serial", "ccid"}:
        added = model in {None, "ahci", "piix3", "piix4", "ich6"}
    else:
        added = False
    if added and not asked and not children:
        _take_out(controller)


def _drop_chosen_alias(alias: Element) -> None:
    if not alias.get("name", "").startswith("ua-"):
        _take_out(alias)


def _drop_listen(graphics: Element) -> None:
    """The attribute says again what the first `<listen>` says (virDomainGraphicsDefFormat)."""
    listen = graphics.find("listen")
    if listen is not None and listen.get("address") == graphics.get("listen"):
        discard(graphics, "listen")


def _drop_unmanaged(device: Element) -> None:
    """Only PCI devices are taken from the host's drivers, or not (virDomainHostdevDefFormat writes it for all)."""
    if device.get("type") != "pci" and device.get("managed") == "no":
        discard(device, "managed")


def _drop_port_of_serial(target: Element) -> None:
    """The first ISA port of a PC (qemuDomainChrTargetDefPostParse)."""
    model = target.find("model")
    if target.get("type") == "isa-serial" and (model is None or model.get("name") == "isa-serial"):
        device = target.getparent()
        before = device.itersiblings("serial", preceding=True) if device is not None else ()
        if target.get("port") == str(sum(1 for _ in before)):
            _take_out(target)


def _drop_check(cpu: Element) -> None:
    """How strictly the CPU is compared with the host's (qemuDomainDefCPUPostParse)."""
    mode = cpu.get("mode", "custom")
    usual = "partial" if mode in {"custom", "host-model"} else "none"
    emulated = cpu.findtext("model") in {"qemu64", "qemu32"} and cpu.get("check") == "none"
    if cpu.get("check") == usual or emulated:
        discard(cpu, "check")


def _drop_chosen_build(os: Element) -> None:
    """With `firmware` the build, and the file of its variables, are chosen (qemuFirmwareFillDomain)."""
    if os.get("firmware") is None:
        return
    name = (os.getroottree().getroot().findtext("name") or "").strip()
    for loader in os.findall("loader"):
        _take_out(loader)
    for nvram in os.findall("nvram"):
        if (nvram.text or "").strip() in {"", f"/var/lib/libvirt/qemu/nvram/{name}_VARS.fd"}:
            _take_out(nvram)


def _drop_sole_boot(os: Element) -> None:
    """Without any order the disk is booted (virDomainDefBootOrderPostParse)."""
    boots = os.findall("boot")
    if [boot.get("dev") for boot in boots] == ["hd"]:
        _take_out(boots[0])


def _drop_counted_threads(ids: Element) -> None:
    threads = ids.findall("iothread")
    if all(set(thread.attrib) <= {"id"} and not len(thread) for thread in threads) and (
        [thread.get("id") for thread in threads] == [str(number + 1) for number in range(len(threads))]
    ):
        _take_out(ids)


def _drop_chip_watchdog(watchdog: Element) -> None:
    """Newer libvirt shows the watchdog that every ICH9 has."""
    if _is_q35(watchdog):
        _only(model="itco", action="reset")(watchdog)


def _drop_silent_audio(audio: Element) -> None:
    """Without a backend nobody hears it; with a SPICE console it is SPICE's (qemuDomainDefAddImplicitAudio)."""
    spice = audio.getroottree().getroot().find("devices/graphics[@type='spice']") is not None
    _only(id="1", type="spice" if spice else "none")(audio)


ROWS: tuple[Row, ...] = tuple(
    Row(name, path, apply)
    for name, path, apply in (
        ("Identity is said elsewhere, and metadata are other people's", "uuid", _take_out),
        ("Identity is said elsewhere, and metadata are other people's", "name", _take_out),
        ("Identity is said elsewhere, and metadata are other people's", "metadata", _take_out),
        ("Names of devices are chosen", "devices/*/alias", _drop_chosen_alias),
        ("Places on buses are chosen", "", _drop_places),
        ("Controllers come with the chipset and with devices", "devices/controller", _drop_added_controller),
        ("A guest stays off, starts again, stays off", "on_poweroff", _texts("destroy")),
        ("A guest stays off, starts again, stays off", "on_reboot", _texts("restart")),
        ("A guest stays off, starts again, stays off", "on_crash", _texts("destroy")),
        ("vCPUs are placed where the manifest pins them", "vcpu", _values("placement", "static")),
        ("CPUs are compared as usual", "cpu", _drop_check),
        ("A CPU of the host can migrate", "cpu", _values("migratable", "on")),
        ("A socket has one die", "cpu/topology", _values("clusters", "1")),
        ("The disk is booted", "os", _drop_sole_boot),
        ("A build of the firmware is chosen", "os", _drop_chosen_build),
        ("Threads are counted from 1", "iothreadids", _drop_counted_threads),
        ("Every PC has a keyboard and a mouse", "devices/input", _only(type="mouse", bus="ps2")),
        ("Every PC has a keyboard and a mouse", "devices/input", _only(type="keyboard", bus="ps2")),
        ("Audio goes nowhere", "devices/audio", _drop_silent_audio),
        ("A hub is added when ports run out", "devices/hub", _only(type="usb")),
        ("Every ICH9 has a watchdog", "devices/watchdog", _drop_chip_watchdog),
        ("Consoles listen where they are told", "devices/graphics", _drop_listen),
        (
            "What follows a password goes with it",
            "devices/graphics",
            lambda screen: discard(screen, "connected"),
        ),
        ("Nobody takes what is not on a PCI bus from its driver", "devices/hostdev", _drop_unmanaged),
        ("Ports are numbered", "devices/serial/target", _drop_port_of_serial),
        ("The first card is the primary one", "devices/video/model", _values("primary", "yes")),
        ("A card has one head", "devices/video/model", _values("heads", "1")),
        ("A card has the usual memory", "devices/video/model", _values("ram", "65536")),
        ("A card has the usual memory", "devices/video/model", _values("vram", "65536", "16384")),
        ("A card has the usual memory", "devices/video/model", _values("vgamem", "16384")),
    )
)
