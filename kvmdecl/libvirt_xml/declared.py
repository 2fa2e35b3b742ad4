"""What is declared of an object: what its keys come to, with the manifest's own `xml:` laid over it.

An `xml:` fragment reaches what the model does not name. Its elements find their place by identity, as everywhere: a
disk by its alias, serial or target, a NIC by its MAC address. From here on nobody can tell which field came from where:
the fragment is compared, changed live or at the next boot, and removed again like any other.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kvmdecl.libvirt_xml.build import discard
from kvmdecl.libvirt_xml.definition import file_text
from kvmdecl.libvirt_xml.domain import domain_xml
from kvmdecl.libvirt_xml.fields import fields, open_documents
from kvmdecl.libvirt_xml.network import network_xml
from kvmdecl.libvirt_xml.overlay import merge, to_text
from kvmdecl.libvirt_xml.pool import pool_xml
from kvmdecl.libvirt_xml.safe import BadXml, Element, parse_xml
from kvmdecl.state import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kvmdecl.cluster import ResolvedNetwork, ResolvedPool, ResolvedVm
    from kvmdecl.manifest import Pool

_OURS = ("name", "uuid", "metadata")


def declared_domain(vm: ResolvedVm, pools: Mapping[str, Pool]) -> str:
    """The declared definition of a vm. `pools` are those that it has disks in, by name."""
    keys = domain_xml(vm, pools)
    return _over(without(keys, vm.spec.omit)[0] if vm.spec.omit else keys, vm.spec.xml, Kind.DOMAIN)


def whole_domain(vm: ResolvedVm, pools: Mapping[str, Pool]) -> str:
    """A vm's definition as a file that somebody else starts it from: one element in a line."""
    return file_text(declared_domain(vm, pools))


def without(xml: str, paths: Iterable[str]) -> tuple[str, tuple[str, ...]]:
    """A declared definition without the fields and elements at `paths`, and those paths at which it has nothing.

    Raises:
        BadXml: the definition is not acceptable XML.
    """
    (document,) = open_documents([xml], Kind.DOMAIN)
    unknown = []
    for path in paths:
        where, attribute = document.leaves.get(path, (path, None))
        element = document.originals.get(document.elements[where]) if where in document.elements else None
        if element is None or not path:
            unknown.append(path)
        elif attribute is not None:
            discard(element, attribute)
            if not (element.attrib or len(element) or element.text):
                _take_out(element)  # an empty one would not be found again by what `xml:` says of it
        else:
            _take_out(element)
    return to_text(document.root), tuple(unknown)


def _take_out(element: Element) -> None:
    """Remove an element, and what holds nothing then; the root and its devices stay."""
    above = element.getparent()
    if above is not None:
        above.remove(element)
        if not (len(above) or above.attrib or above.getparent() is None or above.tag == "devices"):
            _take_out(above)


def declared_network(network: ResolvedNetwork) -> str:
    """The declared definition of a network that libvirt runs."""
    return _over(network_xml(network), network.spec.xml, Kind.NETWORK)


def declared_pool(pool: ResolvedPool) -> str:
    """The declared definition of a pool."""
    return _over(pool_xml(pool), pool.spec.xml, Kind.POOL)


def _over(xml: str, fragment: str | None, kind: Kind) -> str:
    return xml if fragment is None else merge(xml, parse_fragment(fragment, kind), kind)


def parse_fragment(text: str, kind: Kind) -> str:
    """A fragment as a whole document: its root may be written or left out.

    Raises:
        BadXml: it is not well-formed, says nothing, or speaks of what is kvmdecl's own.
    """
    whole = re.match(rf"\s*<(?:[!?]|{kind}[\s/>])", text)
    root = parse_xml(text if whole else f"<{kind}>{text}</{kind}>")
    if root.tag != kind:
        raise BadXml(f"its root is <{root.tag}>, not <{kind}>")
    _refuse_ours(root)
    if not fields(to_text(root), kind):
        raise BadXml("it says nothing")
    return to_text(root)


_SECRET = ("devices/graphics[@passwd]", "devices/disk/source/cookies")


def _refuse_ours(root: Element) -> None:
    for tag in _OURS:
        if root.find(tag) is not None:
            raise BadXml(f"<{tag}> is kvmdecl's own")
    if any(root.find(path) is not None for path in _SECRET):
        raise BadXml("what is in it is no secret: plans show it, and the guest's metadata keep it")
    for interface in root.iterfind("devices/interface"):
        if interface.find("mac") is None:
            raise BadXml("an <interface> needs its <mac>: a NIC is found by its address, never by its place")
    for disk in root.iterfind("devices/disk"):
        if disk.find("alias") is None and disk.find("target[@dev]") is None and disk.find("serial") is None:
            raise BadXml(
                "a <disk> needs its <alias>, <serial> or <target>: it is found by that, never by its place"
            )
