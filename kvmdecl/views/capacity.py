"""How many more vms fit, as text and as JSON.

`formatVersion` is MAJOR.MINOR: a reader ignores keys that it does not know, and refuses another major version.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from kvmdecl.capacity import MOST
from kvmdecl.text import safe_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from kvmdecl.capacity import Capacity, HostCapacity

FORMAT_VERSION = "1.0"
_MOST_NAMES = 6


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
    document = {
        "formatVersion": FORMAT_VERSION,
        "complete": complete,
        "mostPerHost": MOST,
        "kinds": [
            {
                "kind": each.kind,
                "there": each.there,
                "more": each.more,
                "hosts": [
                    {
                        "host": host.host,
                        "more": host.more,
                        "cells": [{"cell": id_, "more": count} for id_, count in host.cells.items()],
                        "blocked": host.blocked,
                    }
                    for host in each.hosts
                ],
            }
            for each in found
        ],
    }
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=True) + "\n"
