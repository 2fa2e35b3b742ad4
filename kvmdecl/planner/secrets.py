"""Secrets: made, set again when their version changes, deleted. What a value is nobody here knows."""

from __future__ import annotations

from kvmdecl.libvirt_xml.marker import belongs
from kvmdecl.libvirt_xml.secret import uses
from kvmdecl.names import derive_uuid
from kvmdecl.plan import Action, Change, Impact
from kvmdecl.planner.verdict import AS_DECLARED, HostView, Verdict, blocked, not_ours, step
from kvmdecl.state import (
    Absent,
    Address,
    DesiredSecret,
    Kind,
    LedgerEntry,
    ObservedDomain,
    ObservedPool,
    ObservedSecret,
)
from kvmdecl.tasks import DefineSecret, DeleteSecret

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


def plan_absent_secret(absent: Absent, uuid: str, view: HostView) -> Verdict:
    """A secret that shall not exist. Guests and pools of this cluster that use it now give it up first."""
    observed = view.secrets.get(uuid)
    if observed is None:
        return AS_DECLARED
    guests = [domain for domain in view.state.domains if _is_used_by(domain, observed)]
    pools = [pool for pool in view.state.pools if uses(pool.xml, observed)]
    strangers = [domain.name for domain in guests if not belongs(domain.xml, view.cluster, domain.uuid)]
    strangers += [pool.name for pool in pools if not _is_ours(pool, view)]
    if strangers:
        return blocked(
            absent,
            "plan.secret-in-use",
            f"secret {absent.address.name} on {view.host} is used by {', '.join(sorted(strangers))}",
            "That is not of this cluster; without the secret, nothing opens what it uses.",
            "take the secret out of them first, or keep it.",
        )
    after = (
        *(Address(view.host, Kind.DOMAIN, domain.name) for domain in guests),
        *(Address(view.host, Kind.POOL, pool.name) for pool in pools),
    )
    task = DeleteSecret(absent.address.name, observed.uuid)
    summary, impact = what_goes_with(observed)
    return step(absent, Action.DELETE, task, observed, summary, impact=impact, after=after)


def what_goes_with(secret: ObservedSecret) -> tuple[str, Impact]:
    """What the deletion of a secret means, and how bad it is: a value that nobody else has is lost."""
    if secret.usage not in _OPENS_WHAT_IS_THERE:
        return "undefined, with its value", Impact.NONE
    what = "encrypted volumes" if secret.usage == "volume" else "the state of a TPM"
    return f"undefined, with its value: on this host, nothing opens {what} of it any more", Impact.DATA_LOSS


def _is_used_by(domain: ObservedDomain, secret: ObservedSecret) -> bool:
    return uses(domain.xml, secret) or (domain.live_xml is not None and uses(domain.live_xml, secret))


def _is_ours(pool: ObservedPool, view: HostView) -> bool:
    return pool.uuid == derive_uuid(view.cluster, Kind.POOL, pool.name)


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
