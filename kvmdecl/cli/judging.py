"""What plan, diff, apply, destroy and undo share: a plan held against policies, by who asks, where and when."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from kvmdecl.diagnostics import Diagnostic, Rejected
from kvmdecl.hosts.processes import user_and_machine
from kvmdecl.policing import PolicyContext, judged, with_file
from kvmdecl.policyfile import read_policies
from kvmdecl.text import did_you_mean, quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmdecl.cluster import ResolvedCluster
    from kvmdecl.plan import Plan
    from kvmdecl.pluginhost import Plugins
    from kvmdecl.policing import OfPlugin
    from kvmdecl.policy import Policies

_CARRIES_OUT = frozenset({"apply", "destroy", "undo"})


def with_policies(cluster: ResolvedCluster, file: Path | None) -> ResolvedCluster:
    """The cluster with the policies of a file beside those of its manifest.

    Raises:
        Rejected: with everything that is wrong in the file.
    """
    return cluster if file is None else replace(cluster, policies=with_file(cluster.policies, _read(file)))


def by_file(plan: Plan, file: Path | None) -> Plan:
    """A plan that was saved, with the policies of a file in the place of those of the file that it was made with.

    Raises:
        Rejected: with everything that is wrong in the file.
    """
    return plan if file is None else replace(plan, policies=with_file(plan.policies, _read(file)))


def judge(plan: Plan, plugins: Plugins, command: str) -> Plan:
    """The plan with what policies say of it to this command, now.

    Raises:
        Rejected: `policy.unknown` for waivers of policies that no plugin offers.
        PluginError: a policy failed.
    """
    offered = plugins.policies()
    if not offered and not plan.policies and not plan.rulings:
        return plan
    _require_known(plan.policies, offered)
    moment = datetime.now(UTC)
    user, machine = user_and_machine()
    context = PolicyContext(command, user, machine, moment if command in _CARRIES_OUT else None)
    return judged(plan, offered, context, moment.date())


def idle(cluster: ResolvedCluster, plan: Plan | None = None) -> tuple[Diagnostic, ...]:
    """Warnings about policies of a manifest that are about nothing, but for those that it accepts."""
    if not cluster.policies.declared:
        return ()
    from kvmdecl.planner.policies import idle as find
    from kvmdecl.rules import accepted

    return accepted(cluster, find(cluster, plan))


def _read(file: Path) -> Policies:
    return read_policies(file, datetime.now(UTC).date())


def _require_known(policies: Policies, offered: Sequence[OfPlugin]) -> None:
    names = [each.policy.name for each in offered]
    unknown = [
        Diagnostic(
            "policy.unknown",
            f"no plugin offers the policy {quoted(waiver.rule)}",
            waiver.at,
            "A waiver of a policy that does not exist accepts nothing.",
            did_you_mean(waiver.rule, names) or "a policy of the file itself says `waive` among its own keys",
        )
        for waiver in policies.waivers
        if waiver.rule not in names
    ]
    if unknown:
        raise Rejected(unknown)
