"""The gate `pacemaker`: passed, failed, or nobody knows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from kvmdecl_pacemaker.cib import cib
from kvmdecl_pacemaker.gate import GATES
from kvmdecl_pacemaker.live import read_cib
from kvmdecl_pacemaker.manager import Pacemaker
from kvmdecl_pacemaker.ours import overlay

from kvmdecl.cli import applying
from kvmdecl.events import Outcome
from kvmdecl.gatekeeper import Gatekeeper
from kvmdecl.manager import Failure, ManagerStatus, MemberState, ResourceState
from kvmdecl.plan import HostStatus, PlannedGate, PlannedHost, PlannedManager
from kvmdecl.state import Address, Kind
from tests.pacemaker.live_cib import EMPTY, FileCluster
from tests.pacemaker.support import configured, manifest, program
from tests.views.plans import plan_of

if TYPE_CHECKING:
    from pathlib import Path

    from kvmdecl.gates import Verdict
    from kvmdecl.hosts.protocol import GuestWatcher

GATE = PlannedGate("pacemaker", {}, (), 0, 60, 1)
HOSTS = tuple(MemberState(f"kvm-{n}", "online", n == 1) for n in (1, 2, 3))
WEB = ResourceState("web", "vm", "running", ("kvm-1",))
DAEMON = ResourceState("libvirtd", "service", "running", ("kvm-1", "kvm-2", "kvm-3"))
FINE = ManagerStatus("Pacemaker 2.1.5", "edge", "kvm-1", True, HOSTS, (WEB, DAEMON))
LOST = Failure("web", "kvm-2", "start: no such file")


def look(told: ManagerStatus | str | None) -> Verdict:
    asked = {} if told is None else {"pacemaker": told}
    return Gatekeeper(GATES, NOBODY, lambda: asked).look(GATE, "canary", GUESTS).result(5)


class _Nobody:
    """No host is asked about guests."""


NOBODY: GuestWatcher = _Nobody()  # type: ignore[assignment]
GUESTS = (Address("kvm-1", Kind.DOMAIN, "web"),)


def with_host(state: str) -> ManagerStatus:
    return replace(FINE, hosts=(*HOSTS[:2], MemberState("kvm-3", state)))


def with_web(**changes: object) -> ManagerStatus:
    return replace(FINE, resources=(replace(WEB, **changes), DAEMON))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("told", "outcome", "why"),
    [
        (FINE, Outcome.PASSED, ""),
        (with_host("standby"), Outcome.PASSED, ""),
        (with_web(state="stopped", hosts=()), Outcome.PASSED, ""),
        (with_web(remarks=("unmanaged",)), Outcome.PASSED, ""),
        (replace(FINE, quorum=False), Outcome.FAILED, "kvm-1 has no quorum"),
        (replace(FINE, failures=(LOST,)), Outcome.FAILED, "web on kvm-2: start: no such file"),
        (with_host("offline"), Outcome.FAILED, "kvm-3 is offline"),
        (with_host("unclean"), Outcome.FAILED, "kvm-3 is unclean"),
        (with_host("pending"), Outcome.FAILED, "kvm-3 is pending"),
        (with_web(state="down", hosts=()), Outcome.FAILED, "web does not run"),
        (with_web(state="migrating"), Outcome.FAILED, "web is migrating"),
        (with_web(hosts=("kvm-1", "kvm-2")), Outcome.FAILED, "web runs on kvm-1 and kvm-2"),
        (with_web(remarks=("failed",)), Outcome.FAILED, "web has failed"),
        (with_web(remarks=("maintenance",)), Outcome.INCONCLUSIVE, "web is in maintenance, and nobody looks after it"),
        (with_host("maintenance"), Outcome.INCONCLUSIVE, "kvm-3 is in maintenance, where nothing is looked after"),
        ("no host answers", Outcome.INCONCLUSIVE, "no host answers"),
        (None, Outcome.INCONCLUSIVE, "the plan knows of no cluster manager of that name that it could ask"),
        (replace(with_web(remarks=("maintenance",)), quorum=False), Outcome.FAILED, "kvm-1 has no quorum"),
    ],
)  # fmt: skip
def test_failed_is_told_from_unknown(told: ManagerStatus | str | None, outcome: Outcome, why: str):
    found = look(told)
    assert (found.outcome, found.why) == (outcome, why)


def test_the_live_cluster_of_a_plan_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    program("crm_mon")
    cluster = FileCluster(tmp_path / "cib.xml")
    whole = overlay(read_cib(EMPTY), cib(configured(manifest(more="services: []"))), "edge")
    fences = {f"fence-kvm-{n}": [f"kvm-{n % 3 + 1}"] for n in (1, 2, 3)}
    hosts = tuple(PlannedHost(host.host, "qemu:///system", HostStatus.OK) for host in HOSTS)
    plan = replace(plan_of(), hosts=hosts, managers=(PlannedManager("pacemaker", HostStatus.OK, "kvm-1"),))
    monkeypatch.setattr("kvmdecl.cli.common.reach", lambda _uris: cluster)
    monkeypatch.setattr("kvmdecl.pluginhost.Plugins.managers", lambda _self: {"pacemaker": Pacemaker()})

    def asked() -> Verdict:
        states = applying.manager_states(plan, [host.host for host in HOSTS])
        return Gatekeeper(GATES, NOBODY, lambda: states).look(GATE, "canary", GUESTS).result(5)

    cluster.write(whole, {"web": ["kvm-1"], **fences})
    assert asked().outcome is Outcome.PASSED, asked()
    cluster.write(whole, fences)
    assert (asked().outcome, asked().why) == (Outcome.FAILED, "web does not run")
    cluster.silent = [host.host for host in HOSTS]
    assert asked().outcome is Outcome.INCONCLUSIVE
