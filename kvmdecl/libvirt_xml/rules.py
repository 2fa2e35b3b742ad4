"""One meaning, many spellings: the rules that bring libvirt XML to the form in which it is compared.

Each rule is a row: what it does, for which kind of object, at which elements, and how. A rule changes a copy
of the document and never the document itself. New rules are rows; nothing else has to know of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from ipaddress import ip_network

from lxml import etree

from kvmdecl.libvirt_xml.build import attributes, discard
from kvmdecl.libvirt_xml.safe import Element
from kvmdecl.state import Kind

Apply = Callable[[Element], None]

UNLIMITED_KIB = 9007199254740991
"""VIR_DOMAIN_MEMORY_PARAM_UNLIMITED: KiB that are no limit, and that libvirt does not write."""

_HEX = re.compile(r"0[xX][0-9a-fA-F]+", re.ASCII)
_GENERATED_TAP = re.compile(r"(?:vnet|macvtap|macvlan)[0-9]+", re.ASCII)
_GENERATED_SOCKET = re.compile(r"/channel/(?:target/)?(?:domain-)?[^/]+/", re.ASCII)
_SCALE = {
    **{f"{letter}{suffix}": 1024**power for power, letter in enumerate("KMGTPE", 1) for suffix in ("", "iB")},
    **{f"{letter}B": 1000**power for power, letter in enumerate("KMGTPE", 1)},
    **dict.fromkeys(("B", "BYTE", "BYTES"), 1),
}
_SCALES = {name.upper(): factor for name, factor in _SCALE.items()}  # virScaleInteger ignores case


@dataclass(frozen=True, slots=True)
class Rule:
    """A normalisation. `paths` are patterns of element paths below the root; the root's own path is empty."""

    name: str
    kind: Kind
    paths: tuple[str, ...]
    apply: Apply


def normalised(root: Element, kind: Kind) -> tuple[Element, dict[Element, Element]]:
    """A copy of `root` with every rule of `kind` applied, and a map from its elements to the originals."""
    copy = deepcopy(root)
    originals = dict(zip(copy.iter(etree.Element), root.iter(etree.Element), strict=True))
    for element, path in list(_post_order(copy, "")):
        for rule in _rules_at(kind, path):
            rule.apply(element)
    return copy, originals


def _post_order(element: Element, path: str) -> Iterator[tuple[Element, str]]:
    """Children before parents, so that a rule of a container sees what is left in it."""
    for child in element:
        yield from _post_order(child, f"{path}/{child.tag}" if path else str(child.tag))
    yield element, path


@lru_cache(maxsize=8192)
def _rules_at(kind: Kind, path: str) -> tuple[Rule, ...]:
    return tuple(
        r for r in RULES if r.kind is kind and any(fnmatchcase(path, pattern) for pattern in r.paths)
    )


# -- what rules do -------------------------------------------------------------------------------------------


def drop(element: Element) -> None:
    """The element is no field."""
    parent = element.getparent()
    if parent is not None:
        parent.remove(element)


def drop_if_empty(element: Element) -> None:
    """A container that holds nothing says nothing."""
    if not (len(element) or element.attrib or (element.text or "").strip()):
        drop(element)


def without(*names: str) -> Apply:
    """Drop attributes that report state."""

    def apply(element: Element) -> None:
        for name in names:
            discard(element, name)

    return apply


def default(name: str, value: str) -> Apply:
    """Drop an attribute that says what libvirt assumes without it, and an element that says only that."""

    def apply(element: Element) -> None:
        if element.get(name) == value:
            del element.attrib[name]
            drop_if_empty(element)

    return apply


def lower(*names: str) -> Apply:
    """Compare attributes without case."""

    def apply(element: Element) -> None:
        for name in names:
            if name in element.attrib:
                element.set(name, element.attrib[name].lower())

    return apply


def size(assumed: str = "KiB", scale: int = 1024, attribute: str | None = None) -> Apply:
    """A size in one unit, rounded up as virScaleInteger's callers do; without unit it is in `assumed`."""

    def apply(element: Element) -> None:
        value = element.text if attribute is None else element.get(attribute)
        factor = _SCALES.get(element.get("unit", assumed).upper())
        discard(element, "unit")
        if factor is None or value is None or not value.strip().isdecimal():
            return
        scaled = str(-(-int(value) * factor // scale))
        if attribute is None:
            element.text = scaled
        else:
            element.set(attribute, scaled)

    return apply


def id_set(attribute: str | None = None) -> Apply:
    """A set of CPU or node numbers, written out: `0-3,^2` is `0,1,3`."""

    def apply(element: Element) -> None:
        value = element.text if attribute is None else element.get(attribute)
        numbers = _expand(value or "")
        if numbers is None:
            return
        if attribute is None:
            element.text = numbers
        else:
            element.set(attribute, numbers)

    return apply


def _expand(value: str) -> str | None:
    chosen: set[int] = set()
    for part in value.replace(" ", "").split(","):
        match = re.fullmatch(r"(\^?)(\d{1,6})(?:-(\d{1,6}))?", part, re.ASCII)
        if match is None:
            return None
        numbers = range(int(match[2]), int(match[3] or match[2]) + 1)
        chosen = chosen - set(numbers) if match[1] else chosen | set(numbers)
    return ",".join(map(str, sorted(chosen)))


def numbers(element: Element) -> None:
    """Numbers by value: `0x01`, `0x0001` and `1` are one address."""
    for name, value in attributes(element).items():
        if _HEX.fullmatch(value):
            element.set(name, str(int(value, 16)))
        elif value.isdecimal() and value.isascii() and element.tag == "address":
            element.set(name, str(int(value)))


def _strip_text(element: Element) -> None:
    """Libvirt writes a carriage return bare, and whoever reads that as XML gets a newline."""
    if len(element):
        element.text = None
    elif element.text is not None:
        element.text = element.text.replace("\r\n", "\n").replace("\r", "\n").strip() or None
    element.tail = None


def _drop_generated_alias(element: Element) -> None:
    """Aliases that do not begin `ua-` are libvirt's own (virDomainDeviceAliasIsUserAlias)."""
    if not element.get("name", "").startswith("ua-"):
        drop(element)


def _drop_generated_tap(element: Element) -> None:
    if _GENERATED_TAP.fullmatch(element.get("dev", "")):
        del element.attrib["dev"]
        drop_if_empty(element)


def _drop_generated_channel_source(element: Element) -> None:
    """The socket of a channel is chosen when the guest starts (qemuDomainPrepareChannel)."""
    path = element.get("path")
    if path is None or _GENERATED_SOCKET.search(path):
        drop(element)


def _drop_format_of_nothing(element: Element) -> None:
    """An empty drive has no format: a running one does not show it (virDomainDiskDefFormat)."""
    driver, source = element.find("driver"), element.find("source")
    is_empty = source is None or not (len(source) or source.attrib)
    if driver is not None and element.get("device") == "cdrom" and is_empty:
        discard(driver, "type")


def _drop_terminal(element: Element) -> None:
    """The pseudo-terminal of a running guest is the kernel's choice."""
    if element.get("path", "").startswith("/dev/pts/"):
        drop(element)


def _drop_chosen_ports(element: Element) -> None:
    """With autoport the ports are chosen at every start."""
    if element.get("autoport") == "yes":
        without("port", "tlsPort", "websocket")(element)


def _fill_current_vcpus(element: Element) -> None:
    """Without `current` all vCPUs are there from the start (virDomainVcpuParse)."""
    if element.text and "current" not in element.attrib:
        element.set("current", element.text)


def _fill_current_memory(root: Element) -> None:
    """Without currentMemory the guest has all of its memory, and never more (virDomainDefPostParseMemory)."""
    memory, current = root.find("memory"), root.find("currentMemory")
    if memory is None or not (memory.text or "").isdecimal():
        return
    if current is None:
        current = etree.SubElement(root, "currentMemory")
        current.text = memory.text
    if (current.text or "").isdecimal() and int(current.text or 0) > int(memory.text or 0):
        current.text = memory.text


def _drop_computed_memory(root: Element) -> None:
    """With NUMA cells the memory is their sum, and what else is written is overruled."""
    if root.find("cpu/numa/cell") is not None:
        for tag in ("memory", "currentMemory"):
            for element in root.findall(tag):
                root.remove(element)


def _drop_unlimited(element: Element) -> None:
    if (element.text or "").isdecimal() and int(element.text or 0) >= UNLIMITED_KIB:
        drop(element)


def _drop_negative(element: Element) -> None:
    """So virDomainSetSchedulerParametersFlags leaves a quota that was lifted in the running guest."""
    if (element.text or "").startswith("-"):
        drop(element)


def _plain_uuid(element: Element) -> None:
    digits = (element.text or "").replace("-", "").replace(" ", "").lower()
    if re.fullmatch("[0-9a-f]{32}", digits):
        element.text = "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _prefix(element: Element) -> None:
    """A netmask as the prefix that it stands for; IPv4 is the family when none is named."""
    netmask = element.get("netmask")
    discard(element, "netmask")
    if netmask is not None:
        try:
            element.set("prefix", str(ip_network(f"0.0.0.0/{netmask}").prefixlen))
        except ValueError:
            element.set("netmask", netmask)
    default("family", "ipv4")(element)


def _forward(element: Element) -> None:
    """Addresses are translated unless another mode is named; a device is also the first of the interfaces."""
    if "mode" not in element.attrib:
        element.set("mode", "nat")
    device = element.get("dev")
    discard(element, "dev")
    if device and device not in [child.get("dev") for child in element.findall("interface")]:
        etree.SubElement(element, "interface", dev=device)


def _plain_path(element: Element) -> None:
    element.text = re.sub("/+", "/", element.text or "").rstrip("/") or "/"


def _octal(element: Element) -> None:
    element.text = (element.text or "").lstrip("0") or "0"


def _drop_unset_id(element: Element) -> None:
    if element.text in {"-1", "4294967295"}:
        drop(element)


# -- the table -----------------------------------------------------------------------------------------------

_ROOT = ("",)
_ANY = ("*",)

_EVERYWHERE = tuple(
    rule
    for kind in Kind
    for rule in (
        Rule("Space around a text, and how its lines end, carry no meaning", kind, _ANY, _strip_text),
        Rule("Metadata are notes of whoever wrote them, not part of the object", kind, ("metadata",), drop),
        Rule("Numbers are compared by value", kind, _ANY, numbers),
        Rule("UUIDs are compared without case and dashes", kind, ("uuid",), _plain_uuid),
    )
)

_DOMAIN = tuple(
    Rule(name, Kind.DOMAIN, paths, apply)
    for name, paths, apply in (
        # sizes
        (
            "Memory is compared in KiB",
            (
                *("memory", "currentMemory", "maxMemory", "memtune/*", "devices/memory/target/size"),
                *(
                    "devices/memory/target/block",
                    "devices/memory/target/requested",
                    "devices/memory/target/current",
                ),
                *("devices/memory/target/label/size", "devices/memory/source/pagesize"),
            ),
            size(),
        ),
        ("Sizes of pages are compared in KiB", ("memoryBacking/hugepages/page",), size(attribute="size")),
        ("Parts of a cache are compared in KiB", ("cputune/cachetune/cache",), size(attribute="size")),
        ("Memory of a cell is compared in KiB", ("cpu/numa/cell",), size(attribute="memory")),
        ("Shared memory is compared in bytes", ("devices/shmem/size",), size("B", 1)),
        ("A TSEG without unit is counted in MiB", ("features/smm/tseg",), size("MiB")),
        ("Page tables without unit are counted in bytes", ("features/hpt/maxpagesize",), size("B")),
        (
            "Metadata caches without unit are counted in bytes",
            ("devices/disk/driver/metadata_cache/max_size",),
            size("B", 1),
        ),
        ("A limit that is no limit is not written", ("memtune/*",), _drop_unlimited),
        ("A quota below nothing is none", ("cputune/*quota",), _drop_negative),
        ("With NUMA cells the memory is their sum", _ROOT, _drop_computed_memory),
        ("Without currentMemory the guest has all of its memory", _ROOT, _fill_current_memory),
        ("Without current, all vCPUs are there from the start", ("vcpu",), _fill_current_vcpus),
        # sets
        ("CPU sets are compared as sets", ("vcpu", "cputune/*pin"), id_set("cpuset")),
        ("Sets of vCPUs are compared as sets", ("cputune/vcpusched", "cputune/*tune"), id_set("vcpus")),
        ("Sets of I/O threads are compared as sets", ("cputune/iothreadsched",), id_set("iothreads")),
        ("Node sets are compared as sets", ("numatune/*", "memoryBacking/hugepages/page"), id_set("nodeset")),
        ("The CPUs of a cell are compared as a set", ("cpu/numa/cell",), id_set("cpus")),
        ("Node masks are compared as sets", ("devices/memory/source/nodemask",), id_set()),
        # case
        ("MAC addresses are compared without case", ("devices/interface/mac",), lower("address")),
        ("NIC models are compared without case", ("devices/interface/model",), lower("type")),
        # state
        ("The number of a running domain is state", _ROOT, without("id")),
        ("Aliases that libvirt gives are state", ("devices/*/alias",), _drop_generated_alias),
        ("Names of taps that libvirt gives are state", ("devices/interface/target",), _drop_generated_tap),
        (
            "Numbers of storage nodes are state",
            ("devices/disk/source", "devices/disk*/backingStore", "devices/disk*/backingStore/source"),
            without("index"),
        ),
        ("A running copy job is state", ("devices/disk/mirror",), drop),
        ("An empty drive has no format", ("devices/disk",), _drop_format_of_nothing),
        ("An open tray is state", ("devices/disk/target",), without("tray")),
        ("The port of a running network is state", ("devices/interface/source",), without("portid")),
        ("The terminal of a console is state", ("devices/console", "devices/serial"), without("tty")),
        (
            "The terminal of a console is state",
            ("devices/console/source", "devices/serial/source"),
            _drop_terminal,
        ),
        ("Whether a guest opened a channel is state", ("devices/channel/target",), without("state")),
        ("Labels of running guests are state", ("seclabel/imagelabel",), drop),
        ("Passwords are never compared", ("devices/graphics",), without("passwd", "passwdValidTo")),
        # defaults
        (
            "The socket of a channel is libvirt's choice",
            ("devices/channel/source",),
            _drop_generated_channel_source,
        ),
        ("With autoport the ports are state", ("devices/graphics",), _drop_chosen_ports),
        ("Ports are fixed unless autoport is said", ("devices/graphics",), default("autoport", "no")),
        ("CPU models may fall back unless forbidden", ("cpu/model",), default("fallback", "allow")),
        ("Character devices are raw unless said", ("devices/*/protocol",), default("type", "raw")),
        (
            "Interrupts are not coalesced unless said",
            ("devices/interface/coalesce/rx/frames",),
            default("max", "0"),
        ),
        *(
            (
                "A redirection filter matches anything unless said",
                ("devices/redirfilter/usbdev",),
                default(name, "-1"),
            )
            for name in ("class", "vendor", "product", "version")
        ),
        (
            "Containers without content say nothing",
            (
                *(
                    "features",
                    "devices",
                    "cputune",
                    "memtune",
                    "blkiotune",
                    "memoryBacking",
                    "numatune",
                    "clock",
                ),
                *(
                    "devices/*/address",
                    "devices/*/driver",
                    "devices/interface/coalesce*",
                    "devices/interface/tune",
                ),
            ),
            drop_if_empty,
        ),
    )
)

_NETWORK = tuple(
    Rule(name, Kind.NETWORK, paths, apply)
    for name, paths, apply in (
        ("How many guests are plugged in is state", _ROOT, without("connections")),
        (
            "How many guests are plugged in is state",
            ("forward/interface", "forward/address"),
            without("connections"),
        ),
        ("MAC addresses are compared without case", ("mac",), lower("address")),
        ("MAC addresses are compared without case", ("ip/dhcp/host",), lower("mac")),
        ("A netmask is a prefix", ("ip", "route"), _prefix),
        ("Forwarding translates addresses unless said", ("forward",), _forward),
        ("A bridge does not wait unless said", ("bridge",), default("delay", "0")),
        ("Guests get no IPv6 among themselves unless said", _ROOT, default("ipv6", "no")),
        ("Containers without content say nothing", ("dns", "ip/dhcp", "bandwidth"), drop_if_empty),
    )
)

_POOL = tuple(
    Rule(name, Kind.POOL, paths, apply)
    for name, paths, apply in (
        ("Fill levels are state", ("capacity", "allocation", "available", "source/device/freeExtent"), drop),
        (
            "Paths are compared without doubled and trailing slashes",
            ("target/path", "source/dir"),
            _plain_path,
        ),
        ("A mode is an octal number", ("target/permissions/mode",), _octal),
        (
            "Owners that are not set are not compared",
            ("target/permissions/owner", "target/permissions/group"),
            _drop_unset_id,
        ),
        ("Containers without content say nothing", ("source", "target/permissions", "target"), drop_if_empty),
    )
)

_VOLUME = tuple(
    Rule(name, Kind.VOLUME, paths, apply)
    for name, paths, apply in (
        ("The type of a volume follows from its pool", _ROOT, without("type")),
        (
            "Where a volume is, and how full, is state",
            ("key", "allocation", "physical", "source", "target/path"),
            drop,
        ),
        ("Times are state", ("target/timestamps",), drop),
        ("How a volume was written is not reported back", ("target/nocow",), drop),
        ("Sizes are compared in bytes", ("capacity", "target/clusterSize"), size("B", 1)),
        ("A mode is an octal number", ("*/permissions/mode",), _octal),
        (
            "Owners that are not set are not compared",
            ("*/permissions/owner", "*/permissions/group"),
            _drop_unset_id,
        ),
        ("Containers without content say nothing", ("*/permissions", "target"), drop_if_empty),
    )
)

RULES: tuple[Rule, ...] = (*_EVERYWHERE, *_DOMAIN, *_NETWORK, *_POOL, *_VOLUME)
