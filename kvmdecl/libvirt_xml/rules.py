"""One meaning, many spellings: the rules that bring libvirt XML to the form in which it is compared.

Each rule is a row: what it does, for which kind of object, at which elements, and how. A rule changes a copy
of the document and never the document itself. New rules are rows; nothing else has to know of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from ipaddress import ip_network

from lxml import etree

from kvmdecl.libvirt_xml.build import attributes, discard
from kvmdecl.libvirt_xml.nodes import Place, below, root_of
from kvmdecl.libvirt_xml.safe import Element
from kvmdecl.state import Kind

Apply = Callable[[Element], None]

UNLIMITED_KIB = 9007199254740991
"""VIR_DOMAIN_MEMORY_PARAM_UNLIMITED: KiB that are no limit, and that libvirt does not write."""

_HEX = re.compile(r"0[xX][0-9a-fA-F]+", re.ASCII)
_GENERATED_TAP = re.compile(r"(?:vnet|macvtap|macvlan)[0-9]+", re.ASCII)
_GUESTS_FOLDER = re.compile(r"/domain-[0-9]+-[^/]+/[a-z]+\.sock$", re.ASCII)
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
    normalise(copy, kind)
    return copy, originals


def normalise(root: Element, kind: Kind) -> None:
    """Apply every rule of `kind` to a document of one's own."""
    _apply_rules(root, root_of(kind))


def _apply_rules(element: Element, place: Place) -> None:
    """Children before parents, so that a rule of a container sees what is left in it."""
    for child in list(element):
        _apply_rules(child, below(place, str(child.tag)))
    for apply in _rules_at(place):
        apply(element)


@lru_cache(maxsize=8192)
def _rules_at(place: Place) -> tuple[Apply, ...]:
    return tuple(
        r.apply
        for r in RULES
        if r.kind is place.kind and any(fnmatchcase(place.path, pattern) for pattern in r.paths)
    )


# -- what rules do -------------------------------------------------------------------------------------------


def drop(element: Element) -> None:
    """The element is no field."""
    parent = element.getparent()
    if parent is not None:
        parent.remove(element)


def drop_if_empty(element: Element) -> None:
    """An element that holds nothing says nothing, unless its being there is what it says."""
    holds = len(element) or element.attrib or (element.text or "").strip()
    if not (holds or _is_flag(element)):
        drop(element)


_FLAGS = frozenset(
    {
        *("readonly", "shareable", "transient", "pmem", "backingStore"),  # devices/*
        "genid",
        *("apic", "pae", "hap", "viridian", "privnet", "xen"),  # features
        *("hugepages", "nosharepages", "locked", "discard"),  # memoryBacking
        *("sha1", "sha256", "sha384", "sha512"),  # devices/tpm/backend/active_pcr_banks
        *("lazy_refcounts", "extended_l2"),  # a volume's target/features
    }
)


def _is_flag(element: Element) -> bool:
    above = element.getparent()
    where = None if above is None else above.tag
    return (
        element.tag in _FLAGS
        or where == "devices"
        or (where == "features" and element.tag in {"acpi", "kvm"})
    )


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


def fill(name: str, value: str) -> Apply:
    """Write out what libvirt assumes, and writes, where an attribute is left out."""

    def apply(element: Element) -> None:
        if name not in element.attrib:
            element.set(name, value)

    return apply


def defaults(value: str) -> Apply:
    """Drop all attributes with this value, and an element that says only that."""

    def apply(element: Element) -> None:
        for name in [name for name, said in attributes(element).items() if said == value]:
            default(name, value)(element)

    return apply


def drop_text(value: str) -> Apply:
    """Drop an element whose text says what libvirt assumes without it."""

    def apply(element: Element) -> None:
        if element.text == value:
            drop(element)

    return apply


def upper(*names: str) -> Apply:
    """Compare attributes that libvirt writes in capitals."""

    def apply(element: Element) -> None:
        for name in names:
            if name in element.attrib:
                element.set(name, element.attrib[name].upper())

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
        if value[:1] == "0" and _HEX.fullmatch(value):
            element.set(name, str(int(value, 16)))
        elif element.tag == "address" and value.isdecimal() and value.isascii():
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


def one_for_each(attribute: str) -> Apply:
    """An element for a set of ids as one element for each of them (virDomainFormatSchedDef)."""

    def apply(element: Element) -> None:
        ids = (_expand(element.get(attribute, "")) or "").split(",")
        element.set(attribute, ids[0])
        for place, number in enumerate(ids[1:], 1):
            other = deepcopy(element)
            other.set(attribute, number)
            element.getparent().insert(element.getparent().index(element) + place, other)  # type: ignore[union-attr]

    return apply


def _drop_generated_tap(element: Element) -> None:
    if _GENERATED_TAP.fullmatch(element.get("dev", "")):
        del element.attrib["dev"]
        drop_if_empty(element)


def _drop_generated_channel_source(element: Element) -> None:
    """The socket of a channel is chosen when the guest starts (qemuDomainPrepareChannel)."""
    path, channel = element.get("path"), element.getparent()
    is_socket = channel is not None and channel.get("type", "unix") == "unix"
    if is_socket and (path is None or _GENERATED_SOCKET.search(path)):
        without("path")(element)
        default("mode", "bind")(element)
        drop_if_empty(element)


def _drive(element: Element) -> None:
    """An empty drive has no format, as a running one shows, and is a file (virDomainDiskDefParseSourceXML)."""
    driver, source = element.find("driver"), element.find("source")
    is_empty = source is None or not (len(source) or source.attrib)
    if element.get("device") in {"cdrom", "floppy"} and is_empty:
        element.set("type", "file")
        if driver is not None:
            discard(driver, "type")


def _aio_is_raw(element: Element) -> None:
    """A format's name from the days of Xen (virDomainDiskDefDriverParseXML)."""
    if element.get("type") == "aio":
        element.set("type", "raw")


def _snapshot(element: Element) -> None:
    """What cannot be written to is in no snapshot (virDomainDiskDefParseXML)."""
    if element.get("device") in {"cdrom", "floppy"} or element.find("readonly") is not None:
        default("snapshot", "no")(element)


def _first_lun(element: Element) -> None:
    """An iSCSI target without a unit means its unit 0 (virStorageSourceParse, virDomainHostdevSubsysSCSI)."""
    name = element.get("name", "")
    if element.get("protocol") == "iscsi" and name and "/" not in name:
        element.set("name", f"{name}/0")


_PORTS = {
    "http": "80",
    "https": "443",
    "ftp": "21",
    "ftps": "990",
    "tftp": "69",
    "nfs": "2049",
    "ssh": "22",
    "nbd": "10809",
    "iscsi": "3260",
    "gluster": "24007",
    "sheepdog": "7000",
    "vxhs": "9999",
}


def _usual_port(element: Element) -> None:
    """A server without a port has the protocol's (virStorageSourceNetworkDefaultPort)."""
    usual = _PORTS.get(element.get("protocol", ""))
    for host in element.iterfind("host[@port]"):
        if host.get("port") == usual:
            discard(host, "port")


def _primary_first(devices: Element) -> None:
    """The primary card is the first (virDomainDefPostParseVideo)."""
    cards = devices.findall("video")
    primary = next((card for card in cards if card.find("model[@primary='yes']") is not None), None)
    if primary is not None:
        cards[0].addprevious(primary)
    for model in devices.findall("video/model"):
        discard(model, "primary")


def _console(element: Element) -> None:
    """Consoles are numbered in their order; one of a serial port is that port, and sits where it does."""
    target = element.find("target")
    kind = "serial" if target is None else target.get("type", "serial")
    if target is not None:
        discard(target, "port")
        drop_if_empty(target)
    if kind == "serial":
        for address in element.findall("address"):
            element.remove(address)


def _enough_threads(root: Element) -> None:
    """There are at least as many I/O threads as are named (virDomainDefParseIOThreads)."""
    threads, named = root.find("iothreads"), root.findall("iothreadids/iothread")
    if threads is not None and (threads.text or "").isdecimal():
        threads.text = str(max(int(threads.text or 0), len(named)))


def _no_model(element: Element) -> None:
    """What a CPU without a model would fall back to is not written (virCPUDefFormatBuf)."""
    if not element.text:
        discard(element, "fallback")


def _host_cpu(element: Element) -> None:
    """A CPU that is the host's has no model that it could match more or less exactly (virCPUDefFormatBuf)."""
    if element.get("mode", "custom") != "custom":
        default("match", "exact")(element)


def _only_if(attribute: str, value: str, *dropped: str) -> Apply:
    """Attributes that libvirt forgets unless another one has this value."""

    def apply(element: Element) -> None:
        if element.get(attribute) != value:
            without(*dropped)(element)

    return apply


def _off_is_all(element: Element) -> None:
    """What is switched off has no settings."""
    if element.get("state") == "off":
        element[:] = []
        without(*[name for name in attributes(element) if name != "state"])(element)


def _none_is_nowhere(element: Element) -> None:
    """A balloon that is none sits nowhere (virDomainMemballoonDefFormat)."""
    if element.get("model") == "none":
        for address in element.findall("address"):
            element.remove(address)


def _clock(element: Element) -> None:
    """A clock that is off by seconds is a variable one (virDomainClockDefParseXML)."""
    seconds = element.get("adjustment", "reset")
    if element.get("offset") in {"utc", "localtime"} and seconds != "reset":
        element.set("basis", element.attrib["offset"])
        element.set("offset", "variable")
    if element.get("offset") == "variable":
        fill("basis", "utc")(element)
        fill("adjustment", "0")(element)


def _automatic_placement(root: Element) -> None:
    """Where numad chooses nodes it chooses CPUs too, unless something is pinned (virDomainDefParseXML)."""
    vcpu, memory = root.find("vcpu"), root.find("numatune/memory")
    pins = ("cputune/vcpupin", "cputune/emulatorpin", "cputune/iothreadpin")
    is_pinned = any(root.find(pin) is not None for pin in pins)
    automatic = memory is not None and memory.get("placement") == "auto"
    if memory is not None and automatic:
        discard(memory, "nodeset")
    if vcpu is not None and automatic and not is_pinned and "cpuset" not in vcpu.attrib:
        vcpu.set("placement", "auto")
    if vcpu is not None and vcpu.get("placement") == "auto":
        discard(vcpu, "cpuset")


def _whole_modules(root: Element) -> None:
    """POWER takes memory in pieces of 256 MiB (qemuDomainDefPostParse, ppc64 only)."""
    if not root.findtext("os/type") or not (root.find("os/type").get("arch") or "").startswith("ppc64"):  # type: ignore[union-attr]
        return
    for memory in root.findall("devices/memory"):
        size_, label = memory.find("target/size"), memory.findtext("target/label/size") or "0"
        if size_ is None or not ((size_.text or "").isdecimal() and label.isdecimal()):
            continue
        whole, own = int(size_.text or 0), int(label)
        up = 0 if memory.get("model") == "nvdimm" else _POWER_MODULE - 1
        size_.text = str((whole - own + up) // _POWER_MODULE * _POWER_MODULE + own)


_POWER_MODULE = 256 * 1024


def _version(element: Element) -> None:
    """A version of USB has two digits behind its point (virDomainRedirFilterUSBVersionHelper)."""
    whole, point, part = element.get("version", "").partition(".")
    if point and part.isdecimal():
        element.set("version", f"{whole}.{part:0<2}")


def _channels(element: Element) -> None:
    """A channel in the mode that all have is not written (virDomainGraphicsDefFormatSpice)."""
    default("defaultMode", "any")(element)
    usual = element.get("defaultMode", "any")
    for channel in element.findall("channel"):
        if channel.get("mode") == usual:
            element.remove(channel)


def plain_network_nic(element: Element) -> None:
    """A NIC on a network, as it was declared: while it runs it is shown as what the network made of it.

    (virDomainNetDefFormat: the actual type, and the bridge or device beside the network's name.)
    """
    source = element.find("source[@network]")
    if source is not None:
        element.set("type", "network")
        for name in ("bridge", "dev", "mode"):
            discard(source, name)


def _drop_terminal(element: Element) -> None:
    """The pseudo-terminal of a running guest is the kernel's choice."""
    if element.get("path", "").startswith("/dev/pts/"):
        drop(element)


def _drop_chosen_ports(element: Element) -> None:
    """With autoport, and for one that is -1, ports are chosen at every start; that there is a websocket is said."""
    if element.get("port") == "-1" and element.get("tlsPort", "-1") == "-1":
        element.set("autoport", "yes")
    if element.get("autoport") == "yes":
        without("port", "tlsPort")(element)
        if "websocket" in element.attrib:
            element.set("websocket", "-1")


def _drop_chosen_socket(element: Element) -> None:
    """The socket of a console is chosen when the guest starts (qemuProcessGraphicsSetupListen)."""
    if _GUESTS_FOLDER.search(element.get("socket", "")):
        del element.attrib["socket"]


def _fill_current_vcpus(element: Element) -> None:
    """Without `current` all vCPUs are there from the start (virDomainVcpuParse)."""
    if element.text and "current" not in element.attrib:
        element.set("current", element.text)


def _fill_current_memory(root: Element) -> None:
    """Without currentMemory the guest has all of its memory, and never more (virDomainDefPostParseMemory).

    With NUMA cells that is what is plugged in, too.
    """
    memory, current = root.find("memory"), root.find("currentMemory")
    if memory is None or not (memory.text or "").isdecimal():
        return
    most = int(memory.text or 0) + (plugged_in(root) if root.find("cpu/numa/cell") is not None else 0)
    if current is None:
        current = etree.SubElement(root, "currentMemory")
        current.text = str(most)
    if (current.text or "").isdecimal() and int(current.text or 0) > most:
        current.text = str(most)


def plugged_in(root: Element) -> int:
    """KiB of all memory devices of a normalised domain."""
    sizes = (size_.text or "" for size_ in root.iterfind("devices/memory/target/size"))
    return sum(int(text) for text in sizes if text.isdecimal())


def _drop_usual_check(root: Element) -> None:
    """How a CPU is compared with the host's unless said (qemuDomainDefCPUPostParse)."""
    cpu = root.find("cpu")
    if cpu is None:
        return
    mode = cpu.get("mode", "custom")
    free = mode in {"host-passthrough", "maximum"} or (mode == "custom" and root.get("type") == "qemu")
    default("check", "none" if free else "partial")(cpu)


def _sum_up_cells(root: Element) -> None:
    """With NUMA cells the memory is their sum, whatever is written; what is plugged in is counted by itself."""
    parts = [cell.get("memory") for cell in root.iterfind("cpu/numa/cell")]
    if not parts:
        return
    memory = root.find("memory")
    if memory is None:
        memory = etree.SubElement(root, "memory")
    memory.text = str(sum(int(part) if part and part.isdecimal() else 0 for part in parts))


def _drop_unlimited(element: Element) -> None:
    if (element.text or "").isdecimal() and int(element.text or 0) >= UNLIMITED_KIB:
        drop(element)


def _drop_negative(element: Element) -> None:
    """So virDomainSetSchedulerParametersFlags leaves a quota that was lifted in the running guest."""
    if (element.text or "").startswith("-"):
        drop(element)


def uuid(attribute: str | None = None) -> Apply:
    """A UUID without case, dashes and spaces (virUUIDParse)."""

    def apply(element: Element) -> None:
        value = element.text if attribute is None else element.get(attribute)
        digits = (value or "").replace("-", "").replace(" ", "").lower()
        if not re.fullmatch("[0-9a-f]{32}", digits):
            return
        plain = "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
        if attribute is None:
            element.text = plain
        else:
            element.set(attribute, plain)

    return apply


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


def _plain_number(element: Element) -> None:
    if element.text and element.text.isdecimal() and element.text.isascii():
        element.text = str(int(element.text))


def _hex_text(element: Element) -> None:
    if _HEX.fullmatch(element.text or ""):
        element.text = str(int(element.text or "", 16))


def _octal_modes(element: Element) -> None:
    for name, mode in attributes(element).items():
        if name in {"fmode", "dmode"}:
            element.set(name, mode.lstrip("0") or "0")


def _drop_unset_id(element: Element) -> None:
    if element.text in {"-1", "4294967295"}:
        drop(element)


# -- the table -----------------------------------------------------------------------------------------------

_ROOT = ("",)
_ANY = ("*",)

_SWITCHES = tuple(
    f"features/{name}"
    for name in (
        "pmu",
        "pvspinlock",
        "vmport",
        "smm",
        "vmcoreinfo",
        "htm",
        "nested-hv",
        "ccf-assist",
        "async-teardown",
    )
)  # virDomainFeaturesDefParse

_EVERYWHERE = tuple(
    rule
    for kind in Kind
    for rule in (
        Rule("Space around a text, and how its lines end, carry no meaning", kind, _ANY, _strip_text),
        Rule("Metadata are notes of whoever wrote them, not part of the object", kind, ("metadata",), drop),
        Rule("Numbers are compared by value", kind, _ANY, numbers),
        Rule("UUIDs are compared without case and dashes", kind, ("uuid", "genid"), uuid()),
        Rule("UUIDs are compared without case and dashes", kind, ("*/secret",), uuid("uuid")),
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
        (
            "Sizes without unit are counted in bytes",
            ("devices/shmem/size", "devices/filesystem/space_*_limit"),
            size("B", 1),
        ),
        (
            "Sizes of parts are compared in KiB",
            ("devices/controller/pcihole64", "devices/memory/source/alignsize", "features/tcg/tb-cache"),
            size(),
        ),
        (
            "Caches are compared in KiB",
            ("cpu/numa/cell/cache/size",),
            size(attribute="value"),
        ),
        ("Lines of caches are compared in bytes", ("cpu/numa/cell/cache/line",), size("B", 1, "value")),
        ("Bandwidths are compared in KiB", ("cpu/numa/interconnects/bandwidth",), size(attribute="value")),
        ("A TSEG without unit is counted in MiB", ("features/smm/tseg",), size("MiB")),
        ("Page tables without unit are counted in bytes", ("features/hpt/maxpagesize",), size("B")),
        (
            "Metadata caches without unit are counted in bytes",
            ("devices/disk*/metadata_cache/max_size",),
            size("B", 1),
        ),
        ("A limit that is no limit is not written", ("memtune/*",), _drop_unlimited),
        ("A quota below nothing is none", ("cputune/*quota",), _drop_negative),
        ("With NUMA cells the memory is their sum", _ROOT, _sum_up_cells),
        ("POWER takes memory in whole modules", _ROOT, _whole_modules),
        ("Without currentMemory the guest has all of its memory", _ROOT, _fill_current_memory),
        ("A CPU is compared with the host's as is usual for its mode", _ROOT, _drop_usual_check),
        ("A CPU that is the host's matches no model", ("cpu",), _host_cpu),
        ("There are as many I/O threads as are named", _ROOT, _enough_threads),
        ("Without current, all vCPUs are there from the start", ("vcpu",), _fill_current_vcpus),
        # sets
        ("CPU sets are compared as sets", ("vcpu", "cputune/*pin"), id_set("cpuset")),
        (
            "Sets of vCPUs are compared as sets",
            ("cputune/*tune", "cputune/cachetune/monitor"),
            id_set("vcpus"),
        ),
        ("Each vCPU has its scheduler", ("cputune/vcpusched",), one_for_each("vcpus")),
        ("Each I/O thread has its scheduler", ("cputune/iothreadsched",), one_for_each("iothreads")),
        ("Where numad places, nobody else does", _ROOT, _automatic_placement),
        ("Node sets are compared as sets", ("numatune/*", "memoryBacking/hugepages/page"), id_set("nodeset")),
        ("The CPUs of a cell are compared as a set", ("cpu/numa/cell",), id_set("cpus")),
        ("Node masks are compared as sets", ("devices/memory/source/nodemask",), id_set()),
        # case
        ("MAC addresses are compared without case", ("devices/interface/mac",), lower("address")),
        ("NIC models are compared without case", ("devices/interface/model",), lower("type")),
        ("Load parameters are written in capitals", ("devices/*/boot", "os/loadparm"), upper("loadparm")),
        # numbers
        ("Modes are octal numbers", ("devices/filesystem",), _octal_modes),
        ("Numbers are compared by value", ("launchSecurity/*",), _hex_text),
        (
            "Numbers are compared by value",
            ("vcpu", "iothreads", "cputune/*", "blkiotune/*", "blkiotune/device/*", "devices/disk/iotune/*"),
            _plain_number,
        ),
        ("Versions of USB have two digits behind the point", ("devices/redirfilter/usbdev",), _version),
        ("UUIDs are compared without case and dashes", ("devices/hostdev/source/address",), uuid("uuid")),
        *(
            (
                "UUIDs are compared without case and dashes",
                ("devices/interface/virtualport/parameters",),
                uuid(name),
            )
            for name in ("interfaceid", "instanceid")
        ),
        ("UUIDs are compared without case and dashes", ("devices/tpm/backend/encryption",), uuid("secret")),
        # order
        ("The primary card is the first", ("devices",), _primary_first),
        ("Consoles have no number but their place", ("devices/console",), _console),
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
        ("An empty drive has no format, and is a file", ("devices/disk",), _drive),
        ("Asynchronous I/O is no format", ("devices/disk/driver",), _aio_is_raw),
        ("What is only read is in no snapshot", ("devices/disk",), _snapshot),
        (
            "An iSCSI target means its first unit",
            ("devices/disk*/source", "devices/hostdev/source"),
            _first_lun,
        ),
        ("A protocol has its own port", ("devices/disk*/source",), _usual_port),
        ("An open tray is state", ("devices/disk/target",), without("tray")),
        ("The port of a running network is state", ("devices/interface/source",), without("portid")),
        ("What a network comes to in a running guest is state", ("devices/interface",), plain_network_nic),
        (
            "The terminal of a console is state",
            ("devices/console", "devices/serial", "devices/parallel", "devices/channel"),
            without("tty"),
        ),
        (
            "The terminal of a console is state",
            ("devices/console/source", "devices/serial/source"),
            _drop_terminal,
        ),
        ("Whether a guest opened a channel is state", ("devices/channel/target",), without("state")),
        ("Labels of running guests are state", ("seclabel/imagelabel",), drop),
        ("Passwords are never compared", ("devices/graphics",), without("passwd", "passwdValidTo")),
        ("Passwords are never compared", ("devices/disk*/source/cookies",), drop),
        # defaults
        ("Defaults of drivers are not written", ("devices/*/driver",), defaults("default")),
        (
            "A default of a file system is not written",
            ("devices/filesystem",),
            default("multidevs", "default"),
        ),
        ("A model that libvirt chooses is no model", ("devices/controller",), default("model", "auto")),
        ("A display bus is no peer unless said", ("devices/graphics",), default("p2p", "no")),
        ("Channels are open as all are", ("devices/graphics",), _channels),
        ("Backing is not shared unless said", ("devices/disk/transient",), default("shareBacking", "no")),
        ("A menu that is not shown has no timeout", ("os/bootmenu",), _only_if("enable", "yes", "timeout")),
        ("What is off has no settings", ("features/hyperv/*", "features/kvm/*"), _off_is_all),
        ("A balloon that is none sits nowhere", ("devices/memballoon",), _none_is_nowhere),
        ("A clock that is off is a variable one", ("clock",), _clock),
        (
            "No limit is no limit",
            (
                "devices/disk/iotune/*",
                "cputune/*period",
                "cputune/*quota",
                "blkiotune/*",
                "blkiotune/device/*",
            ),
            drop_text("0"),
        ),
        *(
            ("No bandwidth is no limit", ("devices/interface/bandwidth/*bound",), default(name, "0"))
            for name in ("peak", "burst", "floor")
        ),
        ("One pair of queues is what every NIC has", ("devices/interface/driver",), default("queues", "1")),
        ("A lease begins at the beginning", ("devices/lease/target",), default("offset", "0")),
        ("A feature is on unless said", _SWITCHES, fill("state", "on")),
        (
            "The socket of a channel is libvirt's choice",
            ("devices/channel/source",),
            _drop_generated_channel_source,
        ),
        ("With autoport the ports are state", ("devices/graphics",), _drop_chosen_ports),
        (
            "The socket of a console is libvirt's choice",
            ("devices/graphics", "devices/graphics/listen"),
            _drop_chosen_socket,
        ),
        ("A character device speaks no TLS unless said", ("devices/*/source",), default("tls", "no")),
        ("Ports are fixed unless autoport is said", ("devices/graphics",), default("autoport", "no")),
        ("CPU models may fall back unless forbidden", ("cpu/model",), default("fallback", "allow")),
        ("What is no model does not fall back", ("cpu/model",), _no_model),
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
        ("Devices are managed by others unless said", ("forward",), default("managed", "no")),
        ("A group is no default unless said", ("portgroup",), default("default", "no")),
        *(
            ("UUIDs are compared without case and dashes", ("*virtualport/parameters",), uuid(name))
            for name in ("interfaceid", "instanceid")
        ),
        *(
            ("What is 0 is not written", ("dns/srv",), default(name, "0"))
            for name in ("port", "priority", "weight")
        ),
        *(
            ("No bandwidth is no limit", ("*bandwidth/*bound",), default(name, "0"))
            for name in ("peak", "burst", "floor")
        ),
        ("A bridge does not wait unless said", ("bridge",), default("delay", "0")),
        ("Guests get no IPv6 among themselves unless said", _ROOT, default("ipv6", "no")),
    )
)

_FILTERED_MACS = tuple(
    f"{where}{part}" for where in ("src", "dst", "arpsrc", "arpdst") for part in ("macaddr", "macmask")
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
            "Numbers are compared by value",
            ("target/permissions/owner", "target/permissions/group"),
            _plain_number,
        ),
        (
            "Owners that are not set are not compared",
            ("target/permissions/owner", "target/permissions/group"),
            _drop_unset_id,
        ),
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
        ("Numbers are compared by value", ("*/permissions/owner", "*/permissions/group"), _plain_number),
        (
            "Owners that are not set are not compared",
            ("*/permissions/owner", "*/permissions/group"),
            _drop_unset_id,
        ),
    )
)

_NWFILTER = tuple(
    Rule(name, Kind.NWFILTER, paths, apply)
    for name, paths, apply in (
        ("Chains have priority 0 unless said", _ROOT, default("priority", "0")),
        ("Rules have priority 500 unless said", ("rule",), default("priority", "500")),
        ("MAC addresses are compared without case", ("rule/*",), lower(*_FILTERED_MACS)),
    )
)

_LAST = tuple(  # in a filter, `<all/>` says something
    Rule("What holds nothing says nothing", kind, _ANY, drop_if_empty)
    for kind in Kind
    if kind is not Kind.NWFILTER
)

RULES: tuple[Rule, ...] = (*_EVERYWHERE, *_DOMAIN, *_NETWORK, *_NWFILTER, *_POOL, *_VOLUME, *_LAST)
