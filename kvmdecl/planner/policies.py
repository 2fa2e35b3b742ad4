"""The objects that there are and that a policy is about: how many, which its share is one of, and whether any."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from kvmdecl.diagnostics import Diagnostic, Severity
from kvmdecl.plan import HostStatus
from kvmdecl.policing import is_about, is_meant
from kvmdecl.policy import MANIFEST
from kvmdecl.state import Absent, DesiredVolume, Existing, Kind
from kvmdecl.text import did_you_mean, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.cluster import ResolvedCluster
    from kvmdecl.plan import Plan
    from kvmdecl.policy import Policies, Policy
    from kvmdecl.state import Desired


def counted(policies: Policies, cluster: ResolvedCluster, desired: Iterable[Desired]) -> Policies:
    """The policies, those that allow a share with how many objects of the cluster are as they say."""
    if not any(policy.more_than.endswith("%") for policy in policies.declared):
        return policies
    labels = {host.name: host.labels for host in cluster.hosts}
    there = [(each.address, _guest(each)) for each in desired if not isinstance(each, Existing | Absent)]
    declared = tuple(
        replace(
            policy, there=sum(is_about(policy, each, guest, (each.host,), labels) for each, guest in there)
        )
        for policy in policies.declared
    )
    return replace(policies, declared=declared)


def _guest(resource: Desired) -> str:
    """The guest that an object is or belongs to, empty for none."""
    if isinstance(resource, DesiredVolume):
        return resource.vm or ""
    return resource.address.name if resource.address.kind is Kind.DOMAIN else ""


# -- policies that are about nothing ---------------------------------------------------------------------------

_LISTED = frozenset({Kind.DOMAIN, Kind.NETWORK, Kind.POOL, Kind.NWFILTER, Kind.SECRET})
"""Kinds of which the manifest names every object. Volumes are made for guests and images."""


def idle(cluster: ResolvedCluster, plan: Plan | None = None) -> Iterator[Diagnostic]:
    """What policies of the manifest name and nothing is called: a slip, or they outlived what they were for.

    Those of a file are for any number of clusters, and are not looked at.

    Args:
        cluster: the manifest.
        plan: whose objects may have left the manifest. Waivers may be for just these, and are looked at if there is a
            plan, and all hosts answered.
    """
    there = {*_listed(cluster), *(_planned(plan) if plan is not None else ())}
    seen = plan is not None and all(host.status is HostStatus.OK for host in plan.hosts)
    for policy in cluster.policies.declared:
        if policy.source == MANIFEST:
            yield from _idle(policy, cluster, there)
            yield from _idle_waivers(policy, there) if seen else ()


def _planned(plan: Plan) -> Iterator[str]:
    yield from (f"{step.address.kind}/{step.address.name}" for step in plan.steps)
    yield from (found.subject.partition("/")[2] for found in plan.blocked)


def _listed(cluster: ResolvedCluster) -> Iterator[str]:
    yield from (f"{Kind.DOMAIN}/{vm.name}" for vm in cluster.vms)
    yield from (f"{Kind.NETWORK}/{network.name}" for network in cluster.networks)
    yield from (f"{Kind.POOL}/{pool.name}" for pool in cluster.pools)
    yield from (f"{Kind.NWFILTER}/{each.name}" for each in cluster.filters)
    yield from (f"{Kind.SECRET}/{secret.name}" for secret in cluster.secrets)


def _idle(policy: Policy, cluster: ResolvedCluster, there: set[str]) -> Iterator[Diagnostic]:
    at = f"policies.{policy.name}"
    hosts = {host.name: host.labels for host in cluster.hosts}
    for number, name in enumerate(policy.hosts):
        if not any(fnmatchcase(host, name) for host in hosts):
            yield _about_nothing(
                policy, cluster, f"{at}.hosts.{number}", f"no host is called {quoted(name)}", (name, hosts)
            )
    for label, value in policy.labels.items():
        if not any(label in said and fnmatchcase(said[label], value) for said in hosts.values()):
            summary = f"no host has the label {quoted(f'{label}: {value}')}"
            yield _about_nothing(policy, cluster, f"{at}.labels.{label}", summary)
    guests = {name.partition("/")[2] for name in there if name.startswith(f"{Kind.DOMAIN}/")}
    entries = {guest.rpartition("-")[0] for guest in guests}
    for number, name in enumerate(policy.vms):
        if not any(is_meant(guest, name) for guest in guests):
            yield _about_nothing(
                policy,
                cluster,
                f"{at}.vms.{number}",
                f"no vm is called {quoted(name)}",
                (name, guests | entries),
            )
    for number, pattern in enumerate(policy.objects):
        if _is_missed(pattern, there):
            summary = f"nothing is called {quoted(pattern)}"
            yield _about_nothing(policy, cluster, f"{at}.objects.{number}", summary, (pattern, there))


def _idle_waivers(policy: Policy, there: set[str]) -> Iterator[Diagnostic]:
    for waiver in policy.waivers:
        for pattern in waiver.on:
            if _is_missed(pattern, there):
                yield Diagnostic(
                    "policy.nothing",
                    f"a waiver of policy {policy.name} is for {quoted(pattern)}, and nothing is called so",
                    waiver.at,
                    "Neither the manifest nor what is planned has such an object, so nothing is accepted.",
                    did_you_mean(pattern, there) or "take it out if it was done",
                    severity=Severity.WARNING,
                    subject=f"policy/{policy.name}",
                )


def _is_missed(pattern: str, there: set[str]) -> bool:
    """Whether a pattern is about objects that are all known, and none of them fits."""
    kind = pattern.partition("/")[0]
    return kind in _LISTED and not any(fnmatchcase(name, pattern) for name in there)


def _about_nothing(
    policy: Policy,
    cluster: ResolvedCluster,
    key: str,
    summary: str,
    near: tuple[str, Iterable[str]] | None = None,
) -> Diagnostic:
    return Diagnostic(
        "policy.nothing",
        f"policy {policy.name} is about less than it says: {summary}",
        cluster.origin.find(key),
        "What is not there cannot be denied or warned of.",
        (did_you_mean(*near) if near else "") or "mend the name, or take it out",
        severity=Severity.WARNING,
        subject=f"policy/{policy.name}",
    )
