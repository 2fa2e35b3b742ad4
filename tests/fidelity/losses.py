"""What libvirt takes and then drops or overrules: no comparison is wrong there, the definition is.

kvmdecl says so right after it defined such a thing. Each row names the fields, when, and where in libvirt that is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kvmdecl.libvirt_xml.fields import FieldDifference, plain
from kvmdecl.libvirt_xml.safe import Element, parse_xml
from kvmdecl.state import Kind


@dataclass(frozen=True, slots=True)
class Loss:
    """Fields that are lost.

    Attributes:
        kind: of the object.
        fields: what their plain paths begin with.
        when: whether a declared definition has the cause.
        why: in a sentence.
    """

    kind: Kind
    fields: tuple[str, ...]
    when: Callable[[Element], bool]
    why: str


def _has(xpath: str) -> Callable[[Element], bool]:
    return lambda root: bool(root.xpath(xpath))


def _uncovered(root: Element) -> bool:
    """Cells that do not hold every vCPU."""
    from kvmdecl.libvirt_xml.rules import _expand

    cells = [(_expand(cell.get("cpus", "")) or "").split(",") for cell in root.findall("cpu/numa/cell")]
    return bool(cells) and sum(len(cell) for cell in cells if cell != [""]) != int(root.findtext("vcpu") or 1)


LOSSES: tuple[Loss, ...] = (
    Loss(
        Kind.DOMAIN,
        ("devices/interface/filterref",),
        _has("devices/interface[not(@type='ethernet' or @type='bridge' or @type='network')]/filterref"),
        "only NICs with a tap have a filter (virDomainNetDefParseXML)",
    ),
    Loss(
        Kind.DOMAIN,
        ("devices/interface/driver", "devices/interface/backend"),
        _has("devices/interface[not(starts-with(model/@type, 'virtio'))]/*[self::driver or self::backend]"),
        "only virtio NICs have a driver (virDomainNetDefParseXML)",
    ),
    Loss(
        Kind.DOMAIN,
        ("devices/disk/source/seclabel", "devices/disk/backingStore/source/seclabel", "seclabel"),
        _has("//seclabel"),
        "labels of a security driver that the host does not have (virSecurityManagerGenLabel)",
    ),
    Loss(
        Kind.DOMAIN,
        ("devices/serial/target", "devices/serial/address"),
        _has("os/type[not(contains(@arch, '86'))]"),
        "an ISA port on a machine without ISA becomes the machine's own (qemuDomainChrDefPostParse)",
    ),
    Loss(
        Kind.DOMAIN,
        ("cpu/numa/cell@cpus",),
        _uncovered,
        "vCPUs in no cell go to the first (virDomainNumaFillCPUsInNode)",
    ),
    Loss(
        Kind.VOLUME,
        ("target/permissions/label",),
        _has("target/permissions/label"),
        "there is no SELinux to label with",
    ),
    Loss(Kind.VOLUME, ("capacity",), _has("capacity[. = '0']"), "an image is as large as its content"),
    Loss(
        Kind.POOL, ("target/path",), _has("self::*[@type='logical']"), "a volume group is always below /dev"
    ),
)


def losses(declared: str, kind: Kind, found: Sequence[FieldDifference]) -> dict[str, str]:
    """Those of the differences between a declaration and what libvirt made of it that are losses: path and reason."""
    root = parse_xml(declared)
    causes = [loss for loss in LOSSES if loss.kind is kind and loss.when(root)]
    return {
        difference.path: loss.why
        for difference in found
        for loss in causes
        if plain(difference.path).startswith(loss.fields)
    }
