"""A network filter as libvirt XML, and what differs between two of them.

A filter is ours as a whole: a rule that somebody added would let traffic pass, or stop it, that the manifest says
nothing of. So it is compared both ways, and replaced, never merged.
"""

from __future__ import annotations

from difflib import SequenceMatcher
from hashlib import sha256
from typing import TYPE_CHECKING

from kvmdecl.libvirt_xml.build import attributes, node
from kvmdecl.libvirt_xml.overlay import to_text
from kvmdecl.libvirt_xml.rules import normalised
from kvmdecl.libvirt_xml.safe import parse_xml
from kvmdecl.state import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from kvmdecl.cluster import ResolvedFilter
    from kvmdecl.libvirt_xml.safe import Element
    from kvmdecl.manifest.filters import FilterParameters, FilterRule
    from kvmdecl.state import ObservedDomain, ObservedFilter


def filter_xml(filter_: ResolvedFilter) -> str:
    """The declared definition of a network filter."""
    spec = filter_.spec
    priority = _usual_priority(spec.chain) if spec.priority is None else spec.priority
    return to_text(
        node(
            "filter",
            node("uuid", filter_.uuid),
            *map(_entry, spec.rules),
            name=filter_.name,
            chain=spec.chain,
            priority=str(priority) if priority else None,  # libvirt does not write 0
        )
    )


_USUAL_PRIORITIES = {
    "stp": -810,
    "mac": -800,
    "vlan": -750,
    "ipv4": -700,
    "ipv6": -600,
    "arp": -500,
    "rarp": -400,
}


def _usual_priority(chain: str) -> int:
    """What libvirt takes for a chain of that name (virNWFilterDefParseXML)."""
    return next((number for kind, number in _USUAL_PRIORITIES.items() if chain.startswith(kind)), 0)


def filterref(name: str, parameters: FilterParameters) -> Element:
    """A reference to a filter, with values for its variables."""
    values = ((key, (value,) if isinstance(value, str) else value) for key, value in parameters.items())
    children = (node("parameter", name=key, value=value) for key, several in values for value in several)
    return node("filterref", *children, filter=name)


_NAMES: Mapping[str, str] = {
    "src_mac": "srcmacaddr",
    "src_mac_mask": "srcmacmask",
    "dst_mac": "dstmacaddr",
    "dst_mac_mask": "dstmacmask",
    "tcp_flags": "flags",
    "icmp_type": "type",
    "icmp_code": "code",
    "dscp": "dscp",
    "connections_above": "connlimit-above",
    "ip_protocol": "protocol",
    "vlan": "vlanid",
    "arp_opcode": "opcode",
    "arp_src_mac": "arpsrcmacaddr",
    "arp_src_ip": "arpsrcipaddr",
    "arp_dst_mac": "arpdstmacaddr",
    "arp_dst_ip": "arpdstipaddr",
    "comment": "comment",
}


def _entry(rule: FilterRule) -> Element:
    if rule.filter is not None:
        return filterref(rule.filter, rule.parameters)
    traffic = node(rule.protocol, **_traffic(rule)) if rule.protocol else None
    return node(
        "rule",
        traffic,
        action=rule.action,
        direction=rule.direction,
        priority=str(rule.priority),
        statematch=None if rule.stateful else "false",
    )


def _traffic(rule: FilterRule) -> dict[str, str]:
    """The attributes that say what traffic a rule is about."""
    found: dict[str, str] = {} if rule.match else {"match": "no"}
    found |= {name: str(value) for key, name in _NAMES.items() if (value := getattr(rule, key)) is not None}
    for side in ("src", "dst"):
        found |= _addresses(f"{side}ip", getattr(rule, f"{side}_ip"))
        start, dash, end = (getattr(rule, f"{side}_port") or "").partition("-")
        found |= {f"{side}portstart": start} if start else {}
        found |= {f"{side}portend": end} if dash else {}
    if rule.state:
        found["state"] = ",".join(rule.state)
    if rule.ether_type is not None:
        found["protocolid" if rule.protocol == "mac" else "encap-protocol"] = rule.ether_type
    if rule.ipset is not None:
        found |= {"ipset": rule.ipset.name, "ipsetflags": rule.ipset.flags}
    if rule.gratuitous is not None:
        found["gratuitous"] = str(rule.gratuitous).lower()
    return found


def _addresses(prefix: str, value: str | None) -> dict[str, str]:
    """`10.0.0.0/8` is an address and a mask, `10.0.0.5-10.0.0.9` a range."""
    if value is None:
        return {}
    first, dash, last = value.partition("-")
    if dash:
        return {f"{prefix}from": first, f"{prefix}to": last}
    address, slash, mask = value.partition("/")
    return {f"{prefix}addr": address} | ({f"{prefix}mask": mask} if slash else {})


def digest(xml: str) -> str:
    """What the ledger keeps of a declaration: it tells whether the manifest changed since, or the host."""
    return sha256(xml.encode()).hexdigest()


# -- comparison ----------------------------------------------------------------------------------------------


def filter_differences(desired: str, observed: str) -> tuple[tuple[str, str | None, str | None], ...]:
    """What must change for a filter to be as declared: the manifest's key, what is there, what shall be.

    Raises:
        BadXml: one of the definitions is not acceptable XML.
    """
    wanted, there = (normalised(parse_xml(text), Kind.NWFILTER)[0] for text in (desired, observed))
    found = [
        (name, there.get(name), wanted.get(name))
        for name in ("chain", "priority")
        if there.get(name) != wanted.get(name)
    ]
    return (*found, *_rule_differences(list(_lines(wanted)), list(_lines(there))))


def _rule_differences(wanted: list[str], there: list[str]) -> Iterator[tuple[str, str | None, str | None]]:
    for tag, low, high, at, end in SequenceMatcher(None, there, wanted, autojunk=False).get_opcodes():
        if tag == "equal":
            continue
        before, after = there[low:high], wanted[at:end]
        for number in range(max(len(before), len(after))):
            place = f"rules.{at + number}" if number < len(after) else "rules"
            yield (
                place,
                before[number] if number < len(before) else None,
                after[number] if number < len(after) else None,
            )


def _lines(root: Element) -> Iterator[str]:
    """Each entry in one line: `accept in tcp dstportstart=22`, `filter clean-traffic IP=10.0.0.5`."""
    for entry in root:
        if entry.tag == "filterref":
            values = (f"{p.get('name')}={p.get('value')}" for p in entry)
            yield " ".join(("filter", entry.get("filter", ""), *sorted(values)))
        elif entry.tag == "rule":
            traffic = (part for child in entry for part in (str(child.tag), *_told(child)))
            rest = {k: v for k, v in attributes(entry).items() if k not in {"action", "direction"}}
            words = (entry.get("action", ""), entry.get("direction", ""), *traffic)
            yield " ".join((*words, *(f"{key}={value}" for key, value in sorted(rest.items()))))


def _told(element: Element) -> Iterator[str]:
    return (f"{name}={value}" for name, value in sorted(attributes(element).items()))


# -- who uses a filter ---------------------------------------------------------------------------------------


def filters_in(xml: str) -> frozenset[str]:
    """The filters that a guest's NICs, or a filter's entries, refer to.

    Raises:
        BadXml: the definition is not acceptable XML.
    """
    root = parse_xml(xml)
    where = "devices/interface/filterref" if root.tag == "domain" else "filterref"
    return frozenset(found.get("filter", "") for found in root.iterfind(where))


def leading_to(name: str, filters: Iterable[ObservedFilter]) -> frozenset[str]:
    """A filter and all that lead to it by their references.

    Raises:
        BadXml: a definition is not acceptable XML.
    """
    references = {found.name: filters_in(found.xml) for found in filters}
    known, new = {name}, {name}
    while new:
        new = {other for other, named in references.items() if named & new} - known
        known |= new
    return frozenset(known)


def users_of(names: frozenset[str], domains: Iterable[ObservedDomain]) -> Iterator[ObservedDomain]:
    """The guests that use one of these filters, in their definition or as they run.

    Raises:
        BadXml: a definition is not acceptable XML.
    """
    for domain in domains:
        if any(filters_in(xml) & names for xml in (domain.xml, domain.live_xml) if xml):
            yield domain
