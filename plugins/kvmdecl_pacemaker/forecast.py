"""What a change of the live CIB makes of its guests: the scheduler is asked with the change and without it."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmdecl.api import Fate, Impact, Prospect
from kvmdecl_pacemaker.ours import GUEST
from kvmdecl_pacemaker.simulate import ask
from kvmdecl_pacemaker.status import operations_of, primitives_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from kvmdecl.api import Span
    from kvmdecl_pacemaker.cib import Element
    from kvmdecl_pacemaker.simulate import Action

_FATES = {
    "start": Fate.START,
    "migrate": Fate.MIGRATE,
    "move": Fate.RESTART,
    "restart": Fate.RESTART,
    "recover": Fate.RESTART,
    "stop": Fate.STOP,
}


@dataclass(frozen=True, slots=True)
class Handled:
    """Guests whose resources change.

    Of those that go on, `released` are forgotten by Pacemaker while they run, and `refreshed` are handled so that it
    learns of new parameters; `touched` are all of which a value changes.
    """

    released: frozenset[str] = frozenset()
    refreshed: frozenset[str] = frozenset()
    touched: frozenset[str] = frozenset()


def prospects(
    before: Element, after: Element, handled: Handled, at: Callable[[str], Span | None]
) -> tuple[Prospect, ...]:
    """What becomes of each guest because of a change, and would not without it; sorted by name.

    Args:
        before: the live CIB with its status.
        after: the same with the change.
        handled: guests whose resources change.
        at: where the manifest speaks of a guest.

    Raises:
        Rejected: `ha.missing-tool`, `ha.tool-failed`.
    """
    running = running_in(before)
    anyway = {_key(action) for action in ask(before)}
    comes = {
        action.resource: action
        for action in ask(_as_done(after, handled.released, handled.refreshed))
        if not action.blocked and action.action in _FATES and _key(action) not in anyway
    }
    guests = {
        each.get("id", "")
        for cib in (before, after)
        for each in primitives_of(cib)
        if each.get("type") == GUEST
    }
    changed = handled.released | handled.refreshed | handled.touched
    return tuple(
        _prospect(name, running.get(name, ""), comes.get(name), at(name), changes=name in changed)
        for name in sorted(guests | handled.released)
    )


def interruptions(found: Iterable[Prospect]) -> tuple[str, ...]:
    """What the plan has to have told of: `web: restart`."""
    return tuple(f"{each.vm}: {each.fate}" for each in found if each.fate.impact >= Impact.RESTART)


def _prospect(name: str, host: str, action: Action | None, at: Span | None, *, changes: bool) -> Prospect:
    if action is None:
        return Prospect(name, Fate.LIVE if changes and host else Fate.NONE, host, host, at=at)
    return Prospect(name, _FATES[action.action], action.source, action.dest, action.reason, at)


def running_in(cib: Element) -> dict[str, str]:
    """The host of each guest that runs now, as far as the CIB's status tells."""
    hosts: dict[str, str] = {}
    for state in cib.iterfind("status/node_state"):
        for resource in state.iterfind("lrm/lrm_resources/lrm_resource"):
            if resource.get("type") == GUEST and _is_active(resource):
                hosts[resource.get("id", "")] = state.get("uname", "")
    return hosts


def _is_active(resource: Element) -> bool:
    done = sorted(resource.iterfind("lrm_rsc_op"), key=lambda op: int(op.get("call-id") or 0))
    active = False
    for operation in done:
        if operation.get("rc-code") == "0":
            active = operation.get("operation") not in {"stop", "migrate_to"}
        elif operation.get("operation") == "monitor" and operation.get("rc-code") == "7":
            active = False
    return active


def _as_done(after: Element, released: Collection[str], refreshed: Collection[str]) -> Element:
    whole = deepcopy(after)
    digests = {
        each.get("id"): {
            (name, str(interval)): digest for name, interval, digest in operations_of(whole, each)
        }
        for each in primitives_of(whole)
        if each.get("id") in refreshed
    }
    for resource in list(whole.iterfind("status/node_state/lrm/lrm_resources/lrm_resource")):
        if resource.get("id") in released:
            parent = resource.getparent()
            if parent is not None:
                parent.remove(resource)
        for operation in resource.iterfind("lrm_rsc_op") if resource.get("id") in refreshed else ():
            known = digests.get(resource.get("id"), {})
            start = known.get(("start", "0"), "")
            digest = known.get((operation.get("operation", ""), operation.get("interval", "0")), start)
            operation.set("op-digest", digest)
            for other in ("op-force-restart", "op-restart-digest", "op-secure-params", "op-secure-digest"):
                if operation.get(other) is not None:
                    del operation.attrib[other]
    return whole


def _key(action: Action) -> tuple[str, str, str, str]:
    return action.resource, action.action, action.source, action.dest
