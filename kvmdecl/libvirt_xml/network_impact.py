"""What a change does to a running network, and through which libvirt call: a table, read from top to bottom.

virNetworkUpdate changes leases and names of a running network: libvirt tells its dnsmasq, and neither the
bridge nor the guests' NICs notice. Everything else of a running network waits until it is started again. Each
row names the function of libvirt 9.0 that decides it.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kvmdecl.libvirt_xml.fields import (
    Comparison,
    Document,
    FieldDifference,
    compare,
    open_documents,
    plain,
)
from kvmdecl.libvirt_xml.overlay import overlay, to_text
from kvmdecl.plan import Change, ChangeOrigin, Impact
from kvmdecl.state import Kind
from kvmdecl.tasks import NetworkUpdate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from kvmdecl.state import ObservedNetwork, Origin
    from kvmdecl.tasks import Command, Section


def _always(live: Comparison, path: str) -> bool:
    return True


def _same_subnet(live: Comparison, path: str) -> bool:
    """Whether the running network has the declared addresses; libvirt refuses leases of any others."""
    entry = path.partition("/")[0]
    own = {entry, *(f"{entry}@{name}" for name in ("address", "prefix", "family"))}
    return not any(difference.path in own for difference in live.differences)


def _has_no_bridge(live: Comparison, path: str) -> bool:
    """Only networks of macvtap get other devices while they run (virNetworkDefUpdateForwardInterface)."""
    return "bridge@name" not in live.observed


@dataclass(frozen=True, slots=True)
class Row:
    """What a kind of change does.

    Attributes:
        path: plain path of the element; the row is also about everything below it.
        key: the manifest's word for it.
        section: what virNetworkUpdate calls it; None if it is changed by a new start only.
        source: the libvirt function that decides it.
        why: why the impact is no smaller.
        modifiable: whether an entry can be replaced; otherwise it is deleted and added.
        when: further condition.
    """

    path: str
    key: str
    section: Section | None
    source: str
    why: str = ""
    modifiable: bool = False
    when: Callable[[Comparison, str], bool] = _always

    def fits(self, path: str, live: Comparison) -> bool:
        """Whether this row is about a field or element of a definition."""
        below = plain(path)
        return (
            not self.path or below == self.path or below.startswith((f"{self.path}/", f"{self.path}@"))
        ) and self.when(live, path)


_DEFINE, _UPDATE = "virNetworkDefineXML", "virNetworkUpdate"
_SECTIONS = "virNetworkDefUpdateSection"
_NOT_LIVE = "a running network keeps it until it is restarted"
_OTHER_SUBNET = "the running network has another subnet until it is restarted"
_SO_ALREADY = "the running network is so already"
_ONLY_LIVE = "its definition says so already, the running network does not have it"

ROWS: tuple[Row, ...] = (
    Row(
        *("ip/dhcp/host", "dhcp.hosts", "ip-dhcp-host", "virNetworkDefUpdateIPDHCPHost"),
        modifiable=True,
        when=_same_subnet,
    ),
    Row(
        *("ip/dhcp/range", "dhcp", "ip-dhcp-range", "virNetworkDefUpdateIPDHCPRange"),
        when=_same_subnet,
    ),
    Row("ip/dhcp/host", "dhcp.hosts", None, "virNetworkDefUpdateIPDHCPHost", _OTHER_SUBNET),
    Row("ip/dhcp", "dhcp", None, "virNetworkDefUpdateIPDHCPRange", _OTHER_SUBNET),
    Row("dns/host", "dns.hosts", "dns-host", "virNetworkDefUpdateDNSHost"),
    Row("dns/txt", "dns.txt", "dns-txt", "virNetworkDefUpdateDNSTxt"),
    Row("dns/srv", "dns.srv", "dns-srv", "virNetworkDefUpdateDNSSrv"),
    Row("dns/forwarder", "dns.forwarders", None, _SECTIONS, _NOT_LIVE),
    Row("dns", "dns", None, _SECTIONS, _NOT_LIVE),
    Row("portgroup", "portgroups", "portgroup", "virNetworkDefUpdatePortGroup", modifiable=True),
    Row("ip", "subnet", None, "virNetworkDefUpdateIP", _NOT_LIVE),
    Row("route", "routes", None, _SECTIONS, _NOT_LIVE),
    Row("forward@mode", "mode", None, "virNetworkDefUpdateForward", _NOT_LIVE),
    Row(
        *("forward/interface", "device", "forward-interface", "virNetworkDefUpdateForwardInterface"),
        when=_has_no_bridge,
    ),
    Row("forward/nat", "nat", None, "virNetworkDefUpdateForward", _NOT_LIVE),
    Row("forward/address", "pci", None, "virNetworkDefUpdateForward", _NOT_LIVE),
    Row("forward@managed", "managed", None, "virNetworkDefUpdateForward", _NOT_LIVE),
    Row("forward", "device", None, "virNetworkDefUpdateForwardInterface", _NOT_LIVE),
    Row("mtu", "mtu", None, _SECTIONS, _NOT_LIVE),
    Row("mac", "bridge.mac", None, _SECTIONS, _NOT_LIVE),
    Row("bandwidth", "bandwidth", None, _SECTIONS, _NOT_LIVE),
    Row("vlan", "vlan", None, _SECTIONS, _NOT_LIVE),
    Row("virtualport", "openvswitch", None, _SECTIONS, _NOT_LIVE),
    Row("port", "isolated", None, _SECTIONS, _NOT_LIVE),
    Row("bridge", "bridge", None, "virNetworkDefUpdateBridge", _NOT_LIVE),
    Row("domain", "domain", None, "virNetworkDefUpdateDomain", _NOT_LIVE),
    Row("", "", None, _SECTIONS, _NOT_LIVE),
)


@dataclass(frozen=True, slots=True)
class NetworkAssessment:
    """What it takes to bring a network to its declaration: what the plan shows, and the calls while it runs."""

    changes: tuple[Change, ...]
    live: tuple[NetworkUpdate, ...]


def find_row(path: str, live: Comparison) -> Row:
    """The row of the table that a field falls under. `live` compares with what runs."""
    return next(row for row in ROWS if row.fits(path, live))


def assess_network(
    desired: str, base: str | None, observed: ObservedNetwork, origin: Origin
) -> NetworkAssessment:
    """Compare a network with its declaration, both its definition and what runs.

    Args:
        desired: declared definition.
        base: declared definition that was last applied.
        observed: the network on its host. Where it is not known what runs, that is taken to be the definition.
        origin: where the manifest says it.

    Raises:
        BadXml: one of the definitions is not acceptable XML.
    """
    definition = compare(desired, base, observed.xml, Kind.NETWORK)
    found = _joined(definition.differences)
    if not observed.active:
        changes = [_change(d, find_row(d.path, definition), origin, Impact.NONE, _DEFINE) for d in found]
        return NetworkAssessment(_with_origins(changes, definition), ())
    running = observed.live_xml or observed.xml
    live = compare(desired, base, running, Kind.NETWORK)
    told = {difference.path for difference in found}
    changes = [_definition_change(difference, live, origin) for difference in found]
    changes += (
        _change(difference, row, origin, Impact.LIVE, _UPDATE, _ONLY_LIVE)
        for difference in _joined(live.differences)
        if difference.path not in told and (row := find_row(difference.path, live)).section
    )
    return NetworkAssessment(_with_origins(changes, definition), live_updates(desired, base, running))


def live_updates(desired: str, base: str | None, running: str) -> tuple[NetworkUpdate, ...]:
    """The calls that a running network needs, in an order in which no entry is in another's way.

    Args:
        desired: declared definition.
        base: declared definition that was last applied; only what it had is deleted.
        running: the network as it runs now.

    Raises:
        BadXml: one of the definitions is not acceptable XML.
    """
    live = compare(desired, base, running, Kind.NETWORK)
    target = overlay(running, desired, base, kind=Kind.NETWORK)
    now, then = open_documents([running, target], Kind.NETWORK)
    calls = [
        NetworkUpdate(row.section, command, xml)
        for path in sorted(now.members | then.members)
        if (row := find_row(path, live)).section and plain(path) == row.path
        for command, xml in _calls(path, row, now, then)
    ]
    order: tuple[Command, ...] = ("delete", "modify", "add")
    return tuple(sorted(calls, key=lambda call: order.index(call.command)))


def _calls(path: str, row: Row, now: Document, then: Document) -> Iterator[tuple[Command, str]]:
    before, after = _says(now, path), _says(then, path)
    if before == after:
        return
    if before and after and row.modifiable:
        yield "modify", _text(then, path)
        return
    if before:
        yield "delete", _text(now, path, whole=False)
    if after:
        yield "add", _text(then, path)


def _says(document: Document, path: str) -> dict[str, str]:
    """The fields of a member; a member without any other field is one itself."""
    below = (f"{path}/", f"{path}@")
    return {
        field: value for field, value in document.fields.items() if field == path or field.startswith(below)
    }


def _text(document: Document, path: str, *, whole: bool = True) -> str:
    """A member's XML; not `whole`, its attributes alone, which is how an entry to delete is named."""
    element = deepcopy(document.originals[document.elements[path]])
    if not whole:
        del element[:]
    return to_text(element).strip()


def _joined(found: Iterable[FieldDifference]) -> list[FieldDifference]:
    """One dhcp range that comes while one goes is one that changed: it has no name to be known by."""
    found = list(found)
    ranges = [d for d in found if d.path.startswith("ip/dhcp/range")]
    comes = [d for d in ranges if d.before is None]
    goes = [d for d in ranges if d.after is None]
    if len(comes) != 1 or len(goes) != 1:
        return found
    changed = FieldDifference(comes[0].path, goes[0].before, comes[0].after)
    return [changed if d is comes[0] else d for d in found if d is not goes[0]]


def _definition_change(difference: FieldDifference, live: Comparison, origin: Origin) -> Change:
    row = find_row(difference.path, live)
    if difference.path not in {other.path for other in live.differences}:
        return _change(difference, row, origin, Impact.NONE, _DEFINE, _SO_ALREADY)
    if row.section is not None:
        return _change(difference, row, origin, Impact.LIVE, _UPDATE)
    return _change(difference, row, origin, Impact.NEXT_BOOT, _DEFINE, row.why)


def _change(
    difference: FieldDifference, row: Row, origin: Origin, impact: Impact, how: str, why: str = ""
) -> Change:
    further = difference.path.startswith(("ip[", "ip#"))
    key = "subnets" if further else row.key or difference.path
    return Change(
        difference.path, key, difference.before, difference.after, impact, how, why, origin.find(key)
    )


def _with_origins(changes: Iterable[Change], definition: Comparison) -> tuple[Change, ...]:
    """What is declared as it was the last time, and is not so, was changed by somebody else."""
    return tuple(
        replace(change, origin=ChangeOrigin.DRIFT)
        if definition.is_declared_as_before(change.field)
        else change
        for change in changes
    )
