"""Secrets: made, and their values set again when their version changes. What a value is nobody here knows."""

from __future__ import annotations

from kvmdecl.plan import Action, Change, Impact
from kvmdecl.planner.verdict import AS_DECLARED, HostView, Verdict, blocked, not_ours, step
from kvmdecl.state import DesiredSecret, Kind, LedgerEntry, ObservedSecret
from kvmdecl.tasks import DefineSecret

_OPENS_WHAT_IS_THERE = frozenset({"volume", "vtpm"})


def plan_secret(desired: DesiredSecret, view: HostView) -> Verdict:
    """Compare a declared secret with the host's secret of that UUID and with what the ledger knows of it."""
    observed = view.secrets.get(desired.uuid)
    entry = view.ledger.find(Kind.SECRET, desired.address.name)
    task = DefineSecret(
        desired.address.name, desired.uuid, desired.usage, desired.xml, desired.version, desired.source
    )
    where = f"{desired.usage} secret, its value from {desired.source}"
    if observed is None:
        if any((s.usage, s.usage_id) == (desired.usage, desired.usage_id) for s in view.secrets.values()):
            return not_ours(desired, "secret")
        return step(desired, Action.CREATE, task, None, where)
    if entry is None or not entry.complete:
        summary = f"{where}; an earlier run was interrupted before it was set"
        return step(desired, Action.UPDATE, task, observed, summary)
    changes = _changes(desired, observed, entry)
    if not changes:
        return AS_DECLARED
    if entry.applied != desired.version and desired.usage in _OPENS_WHAT_IS_THERE:
        return blocked(
            desired,
            "plan.secret-kept",
            f"the value of secret {desired.address.name} on {desired.address.host} would be set again",
            "What was encrypted with the old value is not opened by another one.",
            f"write `version: {entry.applied}`, and declare another secret for what is new.",
            key="version",
            usable=True,
        )
    return step(desired, Action.UPDATE, task, observed, where, changes=changes)


def _changes(desired: DesiredSecret, observed: ObservedSecret, entry: LedgerEntry) -> tuple[Change, ...]:
    found = (
        ("value", "version", entry.applied, desired.version, "virSecretSetValue"),
        (
            "@ephemeral",
            "ephemeral",
            _word(observed.ephemeral),
            _word(desired.ephemeral),
            "virSecretDefineXML",
        ),
    )
    return tuple(
        Change(field, key, before, after, Impact.NONE, how, at=desired.origin.find(key))
        for field, key, before, after, how in found
        if before != after
    )


def _word(value: bool) -> str:
    return str(value).lower()
