"""What nobody declares: fields of our objects, and whole objects of others. Shown when asked for, and never touched."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from kvmdecl.libvirt_xml.fields import fields, read_documents
from kvmdecl.libvirt_xml.marker import belongs, read_marker
from kvmdecl.libvirt_xml.trace import is_directory_permission, pool_marker
from kvmdecl.names import derive_uuid
from kvmdecl.plan import ForeignField, ForeignObject, Owner
from kvmdecl.planner.verdict import HostView
from kvmdecl.state import (
    Address,
    DesiredDomain,
    DesiredFilter,
    DesiredNetwork,
    DesiredPool,
    DesiredSecret,
    DesiredState,
    Kind,
    ObservedDomain,
    ObservedFilter,
    ObservedNetwork,
    ObservedPool,
)

_Whole = ObservedDomain | ObservedNetwork | ObservedPool | ObservedFilter
_Declared = DesiredDomain | DesiredNetwork | DesiredPool | DesiredFilter


def foreign_objects(desired: DesiredState, views: Mapping[str, HostView]) -> tuple[ForeignObject, ...]:
    """By host, kind and name. What is ours and left the manifest, and what is blocked, is told elsewhere."""
    found = [thing for view in views.values() for thing in _on_host(desired, view)]
    return tuple(sorted(found, key=lambda thing: thing.address))


def _on_host(desired: DesiredState, view: HostView) -> Iterator[ForeignObject]:
    declared = {resource.address: resource for resource in desired.resources}
    state = view.state
    for kind, objects in (
        (Kind.POOL, state.pools),
        (Kind.NWFILTER, state.filters),
        (Kind.NETWORK, state.networks),
        (Kind.DOMAIN, state.domains),
    ):
        for observed in objects:
            address = Address(view.host, kind, observed.name)
            resource = declared.get(address)
            if resource is None and not _is_ours(kind, observed, view):
                yield ForeignObject(address, ours=False)
            elif isinstance(resource, _Declared) and observed.uuid == resource.uuid:
                yield _object(resource, observed.xml, view)
    yield from _secrets((r for r in declared.values() if isinstance(r, DesiredSecret)), view)
    for name in view.volumes:
        address = Address(view.host, Kind.VOLUME, name)
        if address not in declared and view.ledger.find(Kind.VOLUME, name) is None:
            yield ForeignObject(address, ours=False)


def _is_ours(kind: Kind, observed: _Whole, view: HostView) -> bool:
    if isinstance(observed, ObservedPool | ObservedFilter):
        return view.ledger.find(kind, observed.name) is not None
    return belongs(observed.xml, view.cluster, observed.uuid)


def _object(desired: _Declared, definition: str, view: HostView) -> ForeignObject:
    """One of ours. A filter is declared as a whole: whatever else it says is a difference."""
    kind, left = desired.address.kind, None
    noted = view.ledger.find(kind, desired.address.name) if isinstance(desired, DesiredPool) else None
    marker = pool_marker(noted.applied) if noted else read_marker(definition)
    if marker is not None and marker.left is not None and marker.left.libvirt == view.libvirt:
        left = marker.left_definition()
    empty = f"<{kind.tag}/>"
    texts = [desired.xml, (marker.applied if marker else None) or empty, definition, left or empty]
    wanted, before, now, then = (document.fields for document in read_documents(texts, kind))
    told = (_field(path, then.get(path), now.get(path), known=left is not None)
            for path in sorted((now.keys() | then.keys()) - wanted.keys() - before.keys())
            if not (path not in now and is_directory_permission(path, kind)))  # fmt: skip
    return ForeignObject(
        desired.address,
        ours=True,
        declared=len(wanted),
        fields=() if kind is Kind.NWFILTER else tuple(told),
    )


def _field(path: str, before: str | None, after: str | None, *, known: bool) -> ForeignField:
    owner = Owner.UNKNOWN if not known else Owner.LIBVIRT if before == after else Owner.OTHERS
    return ForeignField(path, owner, before, after)


def _secrets(declared: Iterable[DesiredSecret], view: HostView) -> Iterator[ForeignObject]:
    """Ours say nothing but what is declared. Others have no name but their UUID."""
    ours = {secret.uuid: secret for secret in declared}
    noted = {
        derive_uuid(view.cluster, Kind.SECRET, entry.name)
        for entry in view.ledger.entries
        if entry.kind is Kind.SECRET
    }
    for uuid in view.secrets:
        if (secret := ours.get(uuid)) is not None:
            yield ForeignObject(secret.address, ours=True, declared=len(fields(secret.xml, Kind.SECRET)))
        elif uuid not in noted:
            yield ForeignObject(Address(view.host, Kind.SECRET, uuid), ours=False)
