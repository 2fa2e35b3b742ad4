"""What somebody did to a live cluster by hand and may have forgot: no manifest shows it, no `crm_verify` tells it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Diagnostic, Severity, safe_text
from kvmdecl_pacemaker.ours import HELPER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvmdecl.api import ResolvedVm, Span
    from kvmdecl_pacemaker.cib import Element

_BY_HAND = ("cli-ban-", "cli-prefer-", "cli-standby-")
_SAYS = {"maintenance": "true", "is-managed": "false", "target-role": "Stopped"}
_DECLARED = {"stopped": "target-role", "unmanaged": "is-managed"}
_TRUE = ("true", "on", "yes", "1")


def left_over(cib: Element, vms: Mapping[str, ResolvedVm], at: Span | None) -> Iterator[Diagnostic]:
    """Moves and bans that still hold, and what Pacemaker was told to leave alone.

    Args:
        cib: the live one.
        vms: those that Pacemaker runs, by name.
        at: where the manifest speaks of the whole cluster.
    """
    yield from _moved(cib, vms)
    for resource in cib.iterfind("configuration/resources//primitive"):
        if (vm := vms.get(resource.get("id", ""))) is not None:
            yield from _set_by_hand(resource, vm)
    yield from _paused(cib, at)


def _moved(cib: Element, vms: Mapping[str, ResolvedVm]) -> Iterator[Diagnostic]:
    for rule in cib.iterfind("configuration/constraints/rsc_location"):
        vm = vms.get(rule.get("rsc", ""))
        if vm is not None and rule.get("id", "").startswith(_BY_HAND):
            yield Diagnostic(
                "ha.left-over-rule",
                f"{safe_text(rule.get('id', ''))} still holds: somebody moved or banned {vm.name} by hand",
                vm.origin.at,
                "Until it goes, Pacemaker has fewer hosts for the vm than the manifest says, or holds it where it is.",
                f"`crm_resource --clear --resource {vm.name}`",
                severity=Severity.WARNING,
                subject=f"vm/{vm.name}",
            )


def _set_by_hand(resource: Element, vm: ResolvedVm) -> Iterator[Diagnostic]:
    for pairs in resource.iterfind("meta_attributes"):
        if pairs.get("id", "").endswith(f"-{HELPER}"):
            continue  # a change of ours that did not come to its end
        for pair in pairs.iterfind("nvpair"):
            name, value = pair.get("name", ""), pair.get("value", "")
            if _SAYS.get(name) == value and name != _DECLARED.get(vm.state):
                yield _told(vm, name, value)


def _told(vm: ResolvedVm, name: str, value: str) -> Diagnostic:
    hint = "apply undoes it, as the plan shows; say `state: stopped` or `state: unmanaged` to keep it"
    if name == "maintenance":  # which no manifest says of a vm
        hint = f"`crm_resource --resource {vm.name} --meta --delete-parameter {name}` once you are done"
    return Diagnostic(
        "ha.set-by-hand",
        f"Pacemaker was told by hand: {name}={value} of {vm.name}",
        vm.origin.at,
        "It does not start the vm elsewhere as long as that is so.",
        hint,
        severity=Severity.WARNING,
        subject=f"vm/{vm.name}",
    )


def _paused(cib: Element, at: Span | None) -> Iterator[Diagnostic]:
    """The whole cluster, or a host of it, in maintenance or standby."""
    options = cib.iterfind("configuration/crm_config/cluster_property_set/nvpair[@name='maintenance-mode']")
    if any(pair.get("value") in _TRUE for pair in options):
        cause = "Pacemaker starts, stops and watches nothing."
        hint = "`crm_attribute --name maintenance-mode --delete` once you are done"
        yield _pause("the whole cluster is in maintenance", cause, hint, at)
    for node in cib.iterfind("configuration/nodes/node"):
        host = safe_text(node.get("uname", ""))
        by_hand = [s for s in node.iterfind("instance_attributes") if s.get("id") != f"node-{host}"]
        for pair in (pair for pairs in by_hand for pair in pairs.iterfind("nvpair")):
            name = pair.get("name", "")
            if name in {"standby", "maintenance"} and pair.get("value") in _TRUE:
                cause = "It takes no vms over." if name == "standby" else "Nothing is watched on it."
                hint = f"`crm_attribute --node {host} --name {name} --delete` once you are done"
                yield _pause(f"{host} is in {name}, by hand", cause, hint, at)


def _pause(summary: str, cause: str, hint: str, at: Span | None) -> Diagnostic:
    return Diagnostic("ha.paused", summary, at, cause, hint, severity=Severity.WARNING)
