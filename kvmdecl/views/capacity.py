"""How many more vms fit, as text and as JSON.

`formatVersion` is MAJOR.MINOR: a reader ignores keys that it does not know, and refuses another major version.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from kvmdecl.capacity import MOST
from kvmdecl.text import safe_text
from kvmdecl.views.document import as_json, schema_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from kvmdecl.capacity import Capacity, HostCapacity

FORMAT_VERSION = "1.0"
_MOST_NAMES = 6


@dataclass(frozen=True, slots=True)
class _Cell:
    """How many cells of vms fit into a NUMA cell of the host, `cell` by its id."""

    cell: int
    more: int


@dataclass(frozen=True, slots=True)
class _Host:
    """How many more fit on a host, in which of its cells if they are bound to such, and why not one more."""

    host: str
    more: int
    cells: list[_Cell]
    blocked: str


@dataclass(frozen=True, slots=True)
class _Kind:
    """How many vms of a kind there are, and how many more fit; `kind` is as `vms/web-1` or `profiles/db`."""

    kind: str
    there: int
    more: int
    hosts: list[_Host]


@dataclass(frozen=True, slots=True)
class _Document:
    """How many more vms of each kind fit.

    `complete`: whether every host answered; `mostPerHost`: more than so many are not counted on one host.
    """

    complete: bool
    mostPerHost: int  # noqa: N815 - as it is written
    kinds: list[_Kind]


_DOCUMENT = TypeAdapter(_Document)


def render_capacity(found: Sequence[Capacity]) -> str:
    """As text: per kind how many more fit, then per host, those that are alike in one line."""
    width = max((len(_kind(each)) for each in found), default=0)
    return "\n".join(line for each in found for line in _lines(each, width)) + "\n"


def _kind(found: Capacity) -> str:
    section, _, name = found.kind.partition("/")
    return f"profile {name}" if section == "profiles" else name


def _lines(found: Capacity, width: int) -> Iterator[str]:
    there = f", {found.there} there" if found.there else ""
    yield f"{_kind(found):<{width}}  {_count(found.more, found.hosts)} more{there}"
    if not found.hosts:
        yield "    no host may have it"
    alike: dict[tuple[int, tuple[tuple[int, int], ...], str], list[str]] = {}
    for host in found.hosts:
        alike.setdefault((host.more, tuple(host.cells.items()), host.blocked), []).append(host.host)
    for (more, cells, blocked), names in alike.items():
        each = " each" if len(names) > 1 else ""
        where = (
            f" ({', '.join(f'cell {id_}: {count}' for id_, count in cells if count)})"
            if more and cells
            else ""
        )
        why = f"; then {safe_text(blocked)}" if blocked else ""
        yield f"    {_names(names)}: {more}{each}{where}{why}"


def _count(more: int, hosts: Iterable[HostCapacity]) -> str:
    return f"{more} or" if any(host.more >= MOST for host in hosts) else str(more)


def _names(names: list[str]) -> str:
    shown = ", ".join(names[:_MOST_NAMES])
    return shown if len(names) <= _MOST_NAMES else f"{shown} and {len(names) - _MOST_NAMES} more"


def render_capacity_json(found: Sequence[Capacity], *, complete: bool) -> str:
    """As JSON: sorted keys, no times, so that the same answer is the same bytes."""
    kinds = [_Kind(each.kind, each.there, each.more, list(map(_host, each.hosts))) for each in found]
    written = _DOCUMENT.dump_python(_Document(complete, MOST, kinds), mode="json")
    return as_json(FORMAT_VERSION, written)


def _host(found: HostCapacity) -> _Host:
    cells = [_Cell(id_, count) for id_, count in found.cells.items()]
    return _Host(found.host, found.more, cells, found.blocked)


def capacity_schema() -> dict[str, Any]:
    """JSON Schema of the document."""
    return schema_of(_DOCUMENT, "kvmdecl capacity")
