"""What Pacemaker would do when hosts are lost: its own scheduler's answer, and what that takes for granted.

The scheduler knows rooms, rules and priorities. It takes for granted that those who are left have quorum, which is
looked at here; that a lost host can be switched off, and that disks are there wherever a vm goes, checks have seen to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Diagnostic, Rejected, Severity, Takeover, Takeovers
from kvmdecl_pacemaker.cib import cib
from kvmdecl_pacemaker.configure import configure, site_of
from kvmdecl_pacemaker.quorum import votes_after
from kvmdecl_pacemaker.simulate import lose, pacemaker, settle, verify
from kvmdecl_pacemaker.status import with_status

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from kvmdecl.api import HostFacts, PlacedCluster
    from kvmdecl_pacemaker.cib import Element
    from kvmdecl_pacemaker.configuration import Configuration
    from kvmdecl_pacemaker.simulate import Outcome, Running
    from kvmdecl_pacemaker.site import Site


def takeovers(
    placed: PlacedCluster,
    facts: Mapping[str, HostFacts],
    running: Mapping[str, str],
    losses: Sequence[tuple[str, ...]],
) -> Takeovers:
    """Ask Pacemaker what it would do about each loss.

    Args:
        placed: every vm.
        facts: what each host is.
        running: the host of each vm that runs now; Pacemaker decides where others start.
        losses: hosts that are lost at once.

    Raises:
        Rejected: as `configure`; `ha.refused`, `ha.missing-tool`, `ha.tool-failed`.
    """
    site = site_of(placed, facts)
    configuration = configure(placed, facts)
    document = cib(configuration)
    _accepted(site, document)
    vms = {vm.name for vm in site.vms if vm.state == "running"}
    settled = settle(document, {name: (host,) for name, host in running.items() if name in vms} or None)
    start = _hosts(settled.running, vms)
    asked = [lost for lost in losses if votes_after(configuration, len(lost)).enough]
    outcomes = {outcome.lost: outcome for outcome in lose(settled, asked)}
    return Takeovers(
        f"Pacemaker {pacemaker()}",
        tuple(sorted(vms)),
        start,
        tuple(_takeover(lost, start, outcomes.get(lost), configuration) for lost in losses),
        (*_not_started(site, start), *_without_quorum(site, configuration, losses)),
        site.ha.survive,
    )


def _hosts(running: Running, vms: set[str]) -> dict[str, str]:
    return {name: min(running[name]) for name in sorted(vms) if running.get(name)}


def _takeover(
    lost: tuple[str, ...], start: Mapping[str, str], outcome: Outcome | None, configuration: Configuration
) -> Takeover:
    """Without quorum, which is without an answer, nothing is started again, and what runs is stopped unless frozen."""
    if outcome is None:
        frozen = dict(configuration.options).get("no-quorum-policy") == "freeze"
        return Takeover(lost, {}, {}, tuple(vm for vm, host in start.items() if host in lost or not frozen))
    now = _hosts(outcome.running, set(start))
    return Takeover(
        lost,
        {vm: now[vm] for vm, host in start.items() if vm in now and host in lost},
        {vm: now[vm] for vm, host in start.items() if vm in now and host not in lost and now[vm] != host},
        tuple(vm for vm in start if vm not in now),
    )


def _accepted(site: Site, document: Element) -> None:
    """Raises Rejected (`ha.refused`) if crm_verify has something against what is asked about."""
    said = verify(with_status(document, {}))
    if said:
        raise Rejected(
            [
                Diagnostic(
                    "ha.refused",
                    f"Pacemaker does not accept its configuration: {'; '.join(said)}",
                    site.cluster.origin.find("ha"),
                    "crm_verify looked at what `kvmdecl ha emit` writes.",
                    "if `ha.pacemaker` is the version of your hosts, this is a bug in kvmdecl: please report it",
                )
            ]
        )


def _not_started(site: Site, start: Mapping[str, str]) -> Iterator[Diagnostic]:
    for vm in site.vms:
        if vm.state == "running" and vm.name not in start:
            yield Diagnostic(
                "ha.not-started",
                f"Pacemaker would not start {vm.name}, with all hosts up",
                vm.origin.find("ha"),
                "Its rules, or the room that the hosts have, leave it no host.",
                f"`kvmdecl explain vm/{vm.name}` tells what stands against each host",
                severity=Severity.WARNING if vm.spec.ha and vm.spec.ha.best_effort else Severity.ERROR,
                subject=f"vm/{vm.name}",
            )


def _without_quorum(
    site: Site, configuration: Configuration, losses: Sequence[tuple[str, ...]]
) -> Iterator[Diagnostic]:
    for count in sorted({len(lost) for lost in losses}):
        votes = votes_after(configuration, count)
        if not votes.enough:
            yield Diagnostic(
                "ha.no-quorum",
                f"{len(site.hosts)} hosts do not go on when {count} are lost",
                site.cluster.origin.find("ha.quorum"),
                f"Of {votes.needed} votes that they need, {votes.left} are left; without quorum nothing is started.",
                "add hosts, or a vote from outside: `quorum: {device: qnetd.example}`",
            )
