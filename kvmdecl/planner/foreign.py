"""What nobody declares: fields of our objects, and whole objects of others. Shown when asked for, and never touched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kvmdecl.libvirt_xml.fields import open_documents
from kvmdecl.libvirt_xml.marker import belongs, read_marker
from kvmdecl.plan import ForeignField, ForeignObject, Owner
from kvmdecl.planner.verdict import HostView
from kvmdecl.state import (
    Address,
    DesiredDomain,
    DesiredNetwork,
    DesiredState,
    Kind,
    ObservedDomain,
    ObservedNetwork,
    ObservedPool,
)


def foreign_objects(desired: DesiredState, views: Mapping[str, HostView]) -> tuple[ForeignObject, ...]:
    """By host, kind and name. What is ours and left the manifest, and what is blocked, is told elsewhere."""
    found = [thing for view in views.values() for thing in _on_host(desired, view)]
    return tuple(sorted(found, key=lambda thing: thing.address))


def _on_host(desired: DesiredState, view: HostView) -> Iterator[ForeignObject]:
    declared = {resource.address: resource for resource in desired.resources}
    state = view.state
    for kind, objects in (
        (Kind.POOL, state.pools),
        (Kind.NETWORK, state.networks),
        (Kind.DOMAIN, state.domains),
    ):
        for observed in objects:
            address = Address(view.host, kind, observed.name)
            resource = declared.get(address)
            if resource is None and not _is_ours(observed, view):
                yield ForeignObject(address, ours=False)
            elif isinstance(resource, DesiredDomain | DesiredNetwork) and observed.uuid == resource.uuid:
                yield _fields(resource, observed.xml, view)


def _is_ours(observed: ObservedPool | ObservedNetwork | ObservedDomain, view: HostView) -> bool:
    if isinstance(observed, ObservedPool):
        return view.ledger.find(Kind.POOL, observed.name) is not None
    return belongs(observed.xml, view.cluster, observed.uuid)


def _fields(desired: DesiredDomain | DesiredNetwork, definition: str, view: HostView) -> ForeignObject:
    kind, marker = desired.address.kind, read_marker(definition)
    applied = marker.applied if marker else None
    comparable = marker is not None and marker.left is not None and marker.left.libvirt == view.libvirt
    left = marker.left_definition() if marker and comparable else None
    texts = [desired.xml, applied or f"<{kind}/>", definition, left or f"<{kind}/>"]
    wanted, before, now, then = (document.fields for document in open_documents(texts, kind))
    paths = sorted((now.keys() | then.keys()) - wanted.keys() - before.keys())
    found = (_field(path, then.get(path), now.get(path), known=left is not None) for path in paths)
    return ForeignObject(desired.address, ours=True, declared=len(wanted), fields=tuple(found))


def _field(path: str, before: str | None, after: str | None, *, known: bool) -> ForeignField:
    owner = Owner.UNKNOWN if not known else Owner.LIBVIRT if before == after else Owner.OTHERS
    return ForeignField(path, owner, before, after)
