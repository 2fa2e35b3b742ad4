"""Whether vms have a home after hosts fail, as text and as JSON.

`formatVersion` is MAJOR.MINOR: a reader ignores keys that it does not know, and refuses another major version.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from kvmdecl.views.document import as_json, schema_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.failover import Loss, Survival

FORMAT_VERSION = "1.0"
_MOST_LINES = 10


@dataclass(frozen=True, slots=True)
class _Loss:
    """What comes of the loss of some hosts.

    `homes`: the new host of each vm that was on them; `moved`: of each other that has to make room; `unfit`: vms that
    do not fit together on what is left, the `smallest` such set or not.
    """

    hosts: list[str]
    homes: dict[str, str]
    moved: dict[str, str]
    unfit: list[str]
    smallest: bool


@dataclass(frozen=True, slots=True)
class _Document:
    """What comes of the loss of any `lose` hosts.

    `complete`: whether every host answered; `survives`: whether all vms have a home after each loss that was tried;
    `exact`: whether all `combinations` of hosts were tried.
    """

    complete: bool
    lose: int
    survives: bool
    exact: bool
    combinations: int
    losses: list[_Loss]


_DOCUMENT = TypeAdapter(_Document)


def render_survival(found: Survival) -> str:
    """As text: the answer, then who goes where, or who does not fit."""
    return "\n".join(_lines(found)) + "\n"


def _lines(found: Survival) -> Iterator[str]:
    hosts = f"any {found.lose} hosts" if found.lose > 1 else "any host"
    if not found.combinations:
        yield "Nothing was tried: fewer hosts answered than are to be lost."
    elif found.survives:
        yield f"All vms have a home after the loss of {hosts}{_tried(found)}."
        told = [loss for loss in found.losses if loss.homes]
        yield from (f"    {_homes(loss)}" for loss in told[:_MOST_LINES])
        if len(told) > _MOST_LINES:
            yield f"    and {len(told) - _MOST_LINES} more (--format json has all)"
    else:
        yield from _failed(found.losses[-1])


def _tried(found: Survival) -> str:
    if found.exact:
        return ""
    return f", as far as was tried: {len(found.losses)} of {found.combinations} combinations, the fullest hosts first"


def _homes(loss: Loss) -> str:
    gone = ", ".join(f"{vm} to {host}" for vm, host in loss.homes.items())
    moved = ", ".join(f"{vm} to {host}" for vm, host in loss.moved.items())
    room = f"; to make room, {moved}" if moved else ""
    return f"without {' and '.join(loss.hosts)}: {gone}{room}"


def _failed(loss: Loss) -> Iterator[str]:
    yield f"Not all vms have a home after the loss of {' and '.join(loss.hosts)}."
    names = ", ".join(loss.unfit)
    if len(loss.unfit) == 1:
        yield f"    {names} fits on no host that is left"
    elif loss.smallest:
        yield f"    these do not fit together, and without any one of them the others do: {names}"
    else:
        yield f"    these do not fit together, and it may be that fewer do not: {names}"


def render_survival_json(found: Survival, *, complete: bool) -> str:
    """As JSON: sorted keys, no times, so that the same answer is the same bytes."""
    losses = [
        _Loss(list(loss.hosts), dict(loss.homes), dict(loss.moved), list(loss.unfit), loss.smallest)
        for loss in found.losses
    ]
    document = _Document(complete, found.lose, found.survives, found.exact, found.combinations, losses)
    return as_json(FORMAT_VERSION, _DOCUMENT.dump_python(document, mode="json"))


def survival_schema() -> dict[str, Any]:
    """JSON Schema of the document."""
    return schema_of(_DOCUMENT, "kvmdecl capacity --lose")
