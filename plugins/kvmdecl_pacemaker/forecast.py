"""What a change of the live CIB makes of its guests: the scheduler is asked with the change and without it."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

from kvmdecl.api import FieldChange as Change
from kvmdecl.api import Impact
from kvmdecl_pacemaker.ours import GUEST
from kvmdecl_pacemaker.simulate import ask
from kvmdecl_pacemaker.status import operations_of, primitives_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from kvmdecl.api import Span
    from kvmdecl_pacemaker.cib import Element
    from kvmdecl_pacemaker.simulate import Action

_IMPACTS = {
    "start": Impact.NONE,
    "migrate": Impact.MIGRATE,
    "move": Impact.RESTART,
    "restart": Impact.RESTART,
    "recover": Impact.RESTART,
    "stop": Impact.DOWNTIME,
}


def effects(
    before: Element,
    after: Element,
    released: Collection[str],
    refreshed: Collection[str],
    at: Callable[[str], Span | None],
) -> tuple[Change, ...]:
    """What becomes of each guest because of a change, and would not without it.

    Args:
        before: the live CIB with its status.
        after: the same with the change.
        released: guests that Pacemaker forgets while they run.
        refreshed: guests of which it learns new parameters while they run.
        at: where the manifest speaks of a guest.

    Raises:
        Rejected: `ha.missing-tool`, `ha.tool-failed`.
    """
    coming = ask(_as_done(after, released, refreshed))
    anyway = {_key(action) for action in ask(before)}
    guests = {
        each.get("id", "")
        for cib in (before, after)
        for each in primitives_of(cib)
        if each.get("type") == GUEST
    }
    found = (
        action
        for action in coming
        if action.resource in guests
        and not action.blocked
        and action.action in _IMPACTS
        and _key(action) not in anyway
    )
    return tuple(_change(action, at(action.resource)) for action in sorted(found, key=_key))


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


def _change(action: Action, at: Span | None) -> Change:
    source = f"runs on {action.source}" if action.source else None
    dest = f"runs on {action.dest}" if action.dest else None
    if source == dest and dest is not None:
        dest = f"restarted on {action.dest}"
    return Change(
        f"effect/{action.resource}",
        action.resource,
        source,
        dest,
        _IMPACTS[action.action],
        f"Pacemaker: {action.action}",
        action.reason,
        at,
    )
