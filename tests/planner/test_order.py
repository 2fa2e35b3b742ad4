"""Guests start and stop in turn: `after:` orders the steps of one plan, over all hosts, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from kvmdecl.cluster import ResolvedCluster
from kvmdecl.pipeline import load_cluster
from kvmdecl.plan import Action, Impact, Step
from kvmdecl.planner.destroy import make_destroy_plan
from kvmdecl.planner.order import in_turn
from kvmdecl.scenario import example_host
from kvmdecl.state import Address, HostState, Kind, Observation
from kvmdecl.tasks import DefineDomain, DeleteDomain, Power
from tests.safety.support import PLUGINS, plan_for
from tests.safety.test_hosts_that_left import guest

if TYPE_CHECKING:
    from pathlib import Path

MANIFEST = """\
apiVersion: kvmdecl/v1
cluster: story
hosts:
  kvm-{1..2}: {uri: "qemu+tls://{name}.example/system"}
vms:
  db: {host: kvm-1}
  web: {host: kvm-2, after: [db]}
"""


def cluster(folder: Path) -> ResolvedCluster:
    path = folder / "cluster.yaml"
    path.write_text(MANIFEST)
    return load_cluster(path, PLUGINS)


def powered(name: str, host: str, power: Power | None) -> Step:
    """A step that does this to a guest's power; None deletes the running guest."""
    task = (
        DeleteDomain(name, "", stop=True)
        if power is None
        else DefineDomain(name, "", "", None, (), power, True, "story", "r1")
    )
    return Step(Address(host, Kind.DOMAIN, name), Action.UPDATE, Impact.NONE, (), "", "x", task)


@pytest.mark.parametrize(
    ("db", "web", "waits"),
    [
        ("start", "start", "web"),
        ("restart", "start", "web"),
        ("restart", "restart", "web"),
        ("shutdown", "shutdown", "db"),
        (None, "shutdown", "db"),
        (None, None, "db"),
        ("keep", "start", ""),
        ("start", "keep", ""),
        ("shutdown", "start", ""),
        ("start", "shutdown", ""),
    ],
)
def test_starts_go_in_order_and_stops_in_the_opposite_one(
    db: Power | None, web: Power | None, waits: str, tmp_path: Path
):
    steps = in_turn(cluster(tmp_path), (powered("db", "kvm-1", db), powered("web", "kvm-2", web)))

    assert [step.address.name for step in steps if step.after] == ([waits] if waits else [])


def test_a_guest_waits_for_one_on_another_host(tmp_path: Path):
    (tmp_path / "cluster.yaml").write_text(MANIFEST)

    plan = plan_for(tmp_path / "cluster.yaml", {})

    after = {step.address.name: step.after for step in plan.steps}
    assert after == {"db": (), "web": (Address("kvm-1", Kind.DOMAIN, "db"),)}


def test_a_guest_that_is_destroyed_outlives_those_that_come_after_it(tmp_path: Path):
    hosts = {name: example_host(name) for name in ("kvm-1", "kvm-2")}
    seen: dict[str, Observation] = {
        name: replace(hosts[name], state=HostState(domains=(guest(vm),)))
        for name, vm in (("kvm-1", "db"), ("kvm-2", "web"))
    }

    plan = make_destroy_plan(cluster(tmp_path), seen, frozenset())

    after = {step.address.name: step.after for step in plan.steps}
    assert after == {"db": (Address("kvm-2", Kind.DOMAIN, "web"),), "web": ()}


def test_an_agent_is_waited_for_as_long_as_the_most_patient_says(tmp_path: Path):
    (tmp_path / "cluster.yaml").write_text(
        MANIFEST.replace("[db]", "[{vm: db, until: agent, timeout: 30s}]")
        + "  app: {host: kvm-2, after: [{vm: db, until: agent, timeout: 2m}]}\n"
    )

    plan = plan_for(tmp_path / "cluster.yaml", {})

    within = {s.address.name: s.task.agent_within for s in plan.steps if isinstance(s.task, DefineDomain)}
    assert within == {"app": 0, "db": 120, "web": 0}
