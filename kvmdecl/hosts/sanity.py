"""Whether what a host answered can be about the objects that it speaks of. Pure.

A host that gives something else is taken for one that did not answer: its objects are unknown, and the other hosts
are planned all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.hosts.errors import bad_answer
from kvmdecl.libvirt_xml.observed import parse_head
from kvmdecl.libvirt_xml.safe import BadXml
from kvmdecl.state import HostSnapshot, Unreachable
from kvmdecl.text import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvmdecl.state import (
        HostState,
        Observation,
        ObservedDomain,
        ObservedFilter,
        ObservedNetwork,
        ObservedPool,
    )


def believable(observations: Mapping[str, Observation]) -> dict[str, Observation]:
    """The same observations, with `host.bad-answer` in the place of those that make no sense."""
    return {name: _judged(name, seen) for name, seen in observations.items()}


def _judged(host: str, seen: Observation) -> Observation:
    if not isinstance(seen, HostSnapshot):
        return seen
    try:
        for why in _contradictions(seen.state):
            return Unreachable(host, bad_answer(host, why))
    except BadXml as error:
        return Unreachable(host, bad_answer(host, str(error)))
    return seen


def _contradictions(state: HostState) -> Iterator[str]:
    for listed in (state.domains, state.networks, state.pools, state.filters):
        names, uuids = [thing.name for thing in listed], [thing.uuid for thing in listed if thing.uuid]
        if len(set(names)) < len(names) or len(set(uuids)) < len(uuids):
            yield "it lists an object twice"
    for domain in state.domains:
        yield from _of("domain", domain, domain.xml)
        if domain.live_xml is not None and domain.live_xml is not domain.xml:
            yield from _of("domain", domain, domain.live_xml)
    for network in state.networks:
        yield from _of("network", network, network.xml)
        if network.live_xml is not None:
            yield from _of("network", network, network.live_xml)
    for pool in state.pools:
        yield from _of("pool", pool, pool.xml)
    for filter_ in state.filters:
        yield from _of("filter", filter_, filter_.xml)


def _of(
    tag: str, thing: ObservedDomain | ObservedNetwork | ObservedFilter | ObservedPool, xml: str
) -> Iterator[str]:
    head = parse_head(xml, tag)
    if (head.name, head.uuid) != (thing.name.strip(), thing.uuid.lower()):
        yield f"asked for the {tag} {quoted(thing.name)} it told of {quoted(head.name)} with UUID {quoted(head.uuid)}"
