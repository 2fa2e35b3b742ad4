"""How functions, groups and ways out are put into words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Note, safe_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from kvmdecl.api import Function, PciTree
    from kvmdecl_vfio.view import View

_MOST_WAYS = 3
_MOST_NAMES = 5
_CLASSES = {
    "0101": "IDE controller", "0104": "RAID controller", "0106": "SATA controller", "0107": "SAS controller",
    "0108": "NVMe drive", "0200": "network card", "0207": "InfiniBand card", "0300": "GPU", "0302": "GPU",
    "0403": "audio", "0601": "ISA bridge", "0604": "PCI bridge", "0c03": "USB controller", "0c05": "SMBus",
    "1200": "accelerator",
}  # fmt: skip


def title(function: Function) -> str:
    """What it is, in words: its product, else its class."""
    kind = _CLASSES.get(function.class_code[:4], "device")
    return safe_text(function.title) or kind


def members(view: View, number: int, about: Mapping[str, str]) -> tuple[Note, ...]:
    """All functions of a group with what the host does with them; `about` has more to say of some."""
    return tuple(
        Note(f"group {number} on {view.name}: {_member(function, about.get(function.address, ''))}")
        for function in view.tree.groups[number]
    )


def _member(function: Function, about: str) -> str:
    said = [state(function), *uses(function), about]
    return f"{function.address} {title(function)}: {', '.join(filter(None, said))}"


def state(function: Function) -> str:
    """Who drives it."""
    if function.is_bridge:
        return "bridge or port, stays with the host"
    if not function.driver:
        return "no driver"
    if not function.is_held_by_host:
        return f"kept for guests by {safe_text(function.driver)}"
    return f"driver {safe_text(function.driver)} of the host"


def uses(function: Function) -> Iterator[str]:
    """What the host has through it: `eth0 (port of bridge br0)`."""
    for use in function.uses:
        yield safe_text(use.name) + (f" ({safe_text(use.purpose)})" if use.purpose else "")


def why_together(tree: PciTree, number: int) -> str:
    """Why the functions of a group are one: which bridge above joins them."""
    group = tree.groups[number]
    bridges = [function for function in group if function.is_bridge]
    ends = [function for function in group if not function.is_bridge]
    if bridges:
        above = {bridge.address for bridge in bridges}
        tops = [bridge.address for bridge in bridges if bridge.upstream not in above]
        return (
            f"{listed(tops)} above {'does' if len(tops) == 1 else 'do'} not keep apart what is below"
            f" {them(tops)} (no ACS, or a bridge to conventional PCI)."
        )
    if len({function.slot for function in ends}) == 1:
        return "They are parts of one device, and it does not keep its functions apart (no ACS between them)."
    common = _common(tree, ends)
    where = f"{common} above them" if common else "What is above them"
    return f"{where} does not keep them apart (no ACS): they could reach each other's memory past the IOMMU."


def _common(tree: PciTree, functions: Sequence[Function]) -> str:
    """The nearest bridge that is above them all."""
    chains = [[bridge.address for bridge in tree.above(function)] for function in functions]
    return next((address for address in chains[0] if all(address in chain for chain in chains)), "")


def ways(views: Iterable[View], view: View, function: Function) -> str:
    """Other functions like it that a guest could be given, those of the same host first; empty if there are none."""
    hosts = sorted(views, key=lambda other: (other.name != view.name, other.name))
    for like in (_same_product, _same_class):
        found = [
            (other.address, host.name)
            for host in hosts
            for other in host.tree.functions.values()
            if like(function, other) and (other.address != function.address or host.name != view.name)
            if host.is_free(other)
        ]
        if found:
            shown: dict[str, list[str]] = {}
            for address, host_name in found[:_MOST_WAYS]:
                shown.setdefault(host_name, []).append(address)
            words = [f"{' and '.join(addresses)} on {host_name}" for host_name, addresses in shown.items()]
            more = [f"{len(found) - _MOST_WAYS} more"] if len(found) > _MOST_WAYS else []
            whole = "its whole group" if len(found) == 1 else "their whole groups"
            return f"{listed([*words, *more])} could be given with {whole}"
    return ""


def is_display(function: Function) -> bool:
    """Whether it is a card with a screen of its own (VGA), not one that only computes."""
    return function.class_code.startswith("0300")


def _same_product(one: Function, other: Function) -> bool:
    return bool(one.vendor) and (one.vendor, one.product) == (other.vendor, other.product)


def _same_class(one: Function, other: Function) -> bool:
    same = bool(one.class_code) and one.class_code[:4] == other.class_code[:4]
    return same and bool(one.physical) == bool(other.physical)


def listed(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1] if words else "")))


def few(names: Sequence[str]) -> str:
    """The first of many."""
    more = [f"{len(names) - _MOST_NAMES} more"] if len(names) > _MOST_NAMES else []
    return listed([*names[:_MOST_NAMES], *more])


def them(words: Sequence[str]) -> str:
    """`it` or `them`."""
    return "it" if len(words) == 1 else "them"
