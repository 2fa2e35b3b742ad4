"""How a cluster is, as its manager sees it, as text and as JSON.

`formatVersion` of the JSON is MAJOR.MINOR: a reader ignores keys that it does not know, and refuses another major
version.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from kvmdecl.manager import Failure, ManagerStatus, MemberState, ResourceState
from kvmdecl.text import safe_text
from kvmdecl.views.document import as_json, schema_of
from kvmdecl.views.pen import columns

if TYPE_CHECKING:
    from collections.abc import Iterator

FORMAT_VERSION = "1.0"


@dataclass(frozen=True, slots=True)
class _Document:
    """How a cluster is, as the manager of the host `seenFrom` sees it.

    `healthy`: it has quorum, all hosts are there, and nothing failed or is down.
    """

    manager: str
    cluster: str
    seenFrom: str  # noqa: N815 - the document's own key
    healthy: bool
    quorum: bool
    hosts: list[MemberState]
    resources: list[ResourceState]
    failures: list[Failure]


_DOCUMENT = TypeAdapter(_Document)


def render_status(status: ManagerStatus) -> str:
    """As text: tables of hosts, of what runs, and of what failed."""
    return "\n".join(_lines(status)) + "\n"


def _lines(status: ManagerStatus) -> Iterator[str]:
    quorum = "has quorum" if status.quorum else "has NO quorum"
    yield safe_text(f"{status.cluster}: {status.manager} {quorum}, as {status.seen_from} sees it")
    yield ""
    hosts = [
        (
            host.host,
            host.state + (", coordinates" if host.coordinates else ""),
            " ".join(each.name for each in status.resources if host.host in each.hosts and each.kind == "vm"),
        )
        for host in status.hosts
    ]
    yield from columns([("host", "state", "runs"), *hosts])
    for kind, title in (("vm", "vm"), ("service", "service"), ("fencing", "fencing")):
        rows = [
            (each.name, each.state, " ".join(each.hosts) or "-", " ".join(each.remarks))
            for each in status.resources
            if each.kind == kind
        ]
        if rows:
            yield ""
            yield from columns([(title, "state", "on", ""), *rows])
    if status.failures:
        yield ""
        rows_ = [(f.resource, f.host, f.what, f.when) for f in status.failures]
        yield from columns([("failed", "on", "what", "when"), *rows_])


def render_status_json(status: ManagerStatus) -> str:
    """As JSON, with sorted keys."""
    document = _Document(
        status.manager,
        status.cluster,
        status.seen_from,
        status.healthy,
        status.quorum,
        list(status.hosts),
        list(status.resources),
        list(status.failures),
    )
    return as_json(FORMAT_VERSION, _DOCUMENT.dump_python(document, mode="json"))


def status_schema() -> dict[str, Any]:
    """JSON Schema of the document."""
    return schema_of(_DOCUMENT, "kvmdecl ha status")
