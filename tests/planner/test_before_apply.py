"""What apply asks hosts before it changes anything: whether they can give new and changed guests what these ask for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kvmdecl.diagnostics import Rejected
from kvmdecl.facts import DomainSupport
from kvmdecl.hosts.fake import FakeReader
from kvmdecl.pipeline import load_cluster, plan_cluster
from kvmdecl.plan import Plan
from kvmdecl.pluginhost import load_plugins
from kvmdecl.snapshot import load_snapshots

STORY = Path(__file__).parents[1] / "scenarios/host-joined"
"""Here `db` is as declared, with the CPU Skylake-Server-IBRS, and `web` gets Haswell-noTSX-IBRS."""


def plan_on_hosts_that_show(*models: str, to_apply: bool) -> tuple[Plan, FakeReader]:
    support = (DomainSupport("x86_64", "kvm", "pc-q35-9.2", 288, (), models),)
    snapshots = {
        name: replace(seen, facts=replace(seen.facts, domain_support=support if to_apply else ()))
        for name, seen in load_snapshots(STORY / "observed").items()
    }
    reader, plugins = FakeReader(snapshots), load_plugins()
    cluster = load_cluster(STORY / "cluster.yaml", plugins)
    plan, _ = plan_cluster(cluster, reader, plugins, to_apply=to_apply)
    return plan, reader


def test_a_changed_guest_is_held_against_what_its_host_offers():
    with pytest.raises(Rejected) as rejected:
        plan_on_hosts_that_show("EPYC", to_apply=True)
    assert [(d.code, d.at and d.at.line) for d in rejected.value.diagnostics] == [("check.no-cpu-model", 10)]
    assert "Haswell-noTSX-IBRS" in rejected.value.diagnostics[0].summary


def test_a_guest_that_stays_as_it_is_stands_in_nobodys_way():
    plan, _ = plan_on_hosts_that_show("Haswell-noTSX-IBRS", to_apply=True)
    assert [step.address.name for step in plan.steps] == ["web"]


def test_hosts_are_asked_for_the_guests_of_the_cluster_alone_and_only_by_apply():
    _, reader = plan_on_hosts_that_show("Haswell-noTSX-IBRS", to_apply=True)
    assert (reader.asked[0].domain_support, reader.asked[0].guests) == (True, {("x86_64", "kvm", "q35")})
    _, reader = plan_on_hosts_that_show(to_apply=False)
    assert not reader.asked[0].domain_support
