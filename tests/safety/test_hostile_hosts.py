"""What a host answers is not trusted: it can spoil its own part of a plan, and neither the others' nor a terminal."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

import pytest

from kvmdecl.cli.main import run
from kvmdecl.libvirt_xml.marker import Marker, with_marker
from kvmdecl.names import derive_uuid
from kvmdecl.plan import Action, HostStatus
from kvmdecl.snapshot import load_snapshots, write_snapshots
from kvmdecl.state import (
    HostSnapshot,
    HostState,
    Kind,
    ObservedDomain,
    ObservedNetwork,
    ObservedPool,
    ObservedVolume,
)
from tests.safety.support import BEFORE, plan_for, with_state

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

STRANGER = "11111111-1111-1111-1111-111111111111"
OTHER = "22222222-2222-2222-2222-222222222222"
NONSENSE = {
    "no XML": "not xml at all",
    "nothing": "",
    "a doctype with an entity": '<!DOCTYPE d [<!ENTITY a "b">]><domain><name>&a;</name></domain>',
    "nine megabytes": "<domain>" + "x" * 9_000_000 + "</domain>",
    "three thousand levels": "<a>" * 3000 + "</a>" * 3000,
    "a NUL": "<domain>\x00</domain>",
    "a lone surrogate": "<domain>\ud800</domain>",
    "another kind of object": "<interface><name>x</name></interface>",
    "no name": "<domain/>",
    "another object": f"<domain><name>payroll</name><uuid>{STRANGER}</uuid></domain>",
}


def recorded() -> HostSnapshot:
    return load_snapshots(BEFORE / "observed")["kvm-1"]


def foreign_domain(state: HostState, xml: str) -> HostState:
    domain = ObservedDomain("stranger", OTHER, xml, None, False, True, False, False)
    return replace(state, domains=(*state.domains, domain))


def own_domain(state: HostState, xml: str) -> HostState:
    return replace(state, domains=tuple(replace(domain, xml=xml) for domain in state.domains))


def running_domain(state: HostState, xml: str) -> HostState:
    return replace(state, domains=tuple(replace(domain, live_xml=xml) for domain in state.domains))


def own_network(state: HostState, xml: str) -> HostState:
    return replace(state, networks=tuple(replace(network, xml=xml) for network in state.networks))


def own_pool(state: HostState, xml: str) -> HostState:
    return replace(state, pools=tuple(replace(pool, xml=xml) for pool in state.pools))


@pytest.mark.parametrize("place", [foreign_domain, own_domain, running_domain, own_network, own_pool])
@pytest.mark.parametrize("what", NONSENSE)
def test_nonsense_freezes_the_host_that_says_it_and_no_other(
    what: str, place: Callable[[HostState, str], HostState]
):
    seen = recorded()
    plan = plan_for(
        BEFORE / "cluster.yaml", {"kvm-1": replace(seen, state=place(seen.state, NONSENSE[what]))}
    )

    first, second = plan.hosts
    assert (first.name, first.status) == ("kvm-1", HostStatus.UNREACHABLE)
    assert "makes no sense" in first.reason
    assert second.status is HostStatus.OK
    assert {step.address.host for step in plan.steps} == {"kvm-2"}
    assert not any(step.address.kind is Kind.DOMAIN for step in plan.steps)


HOSTILE = "a\u202eb\x9b31m\u2066\u200b\x85c" + "d" * 300
POOL = "<pool type='dir'><name>{}</name><uuid>{}</uuid><target><path>{}</path></target></pool>"


def dressed(name: str) -> HostState:
    """A host whose every text is hostile, some of it with the cluster's own marker."""
    text = escape(name)
    xml = f"<domain><name>{text}</name><uuid>{STRANGER}</uuid><description>{text}</description></domain>"
    marked = with_marker(xml, Marker("story", STRANGER, name, name, name, "<domain/>"))
    net = f"<network><name>{text}</name><uuid>{STRANGER}</uuid></network>"
    marked_net = with_marker(net, Marker("story", STRANGER, name, name, name, "<network/>"))
    volume = ObservedVolume("vms", name, f"/srv/{name}", name, 1, 1, f"/{name}")
    pools = (
        ObservedPool(name, STRANGER, POOL.format(text, STRANGER, f"/{text}"), True, False, 1, 1, (volume,)),
        ObservedPool("vms", OTHER, POOL.format("vms", OTHER, f"/{text}"), True, False, 1, 1, (volume,)),
    )
    domain = ObservedDomain(name, STRANGER, marked, marked, True, True, False, False)
    return HostState((domain,), (ObservedNetwork(name, STRANGER, marked_net, True, False),), pools)


@pytest.mark.parametrize("command", ["text", "json"])
def test_no_text_of_a_host_acts_on_a_terminal(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("NO_COLOR", "1")
    write_snapshots(
        tmp_path / "facts", [with_state("kvm-1", dressed(HOSTILE)), with_state("kvm-2", HostState())]
    )

    run(["plan", str(BEFORE / "cluster.yaml"), "--facts", str(tmp_path / "facts"), "--format", command])

    captured = capsys.readouterr()
    shown = captured.out + captured.err
    assert "Traceback" not in shown
    assert "plan.orphan" in shown
    assert "plan.not-ours" in shown
    for char in "\u202e\x9b\u2066\u200b\x85\x1b":
        assert char not in shown


def test_a_host_that_lists_an_object_twice_is_not_believed():
    seen = recorded()
    doubled = replace(seen.state, domains=seen.state.domains * 2, pools=seen.state.pools * 2)

    plan = plan_for(BEFORE / "cluster.yaml", {"kvm-1": replace(seen, state=doubled)})

    assert plan.hosts[0].status is HostStatus.UNREACHABLE
    assert "lists an object twice" in plan.hosts[0].reason


def test_hosts_that_changed_places_are_never_given_a_guest_twice():
    seen = recorded()
    swapped = {
        "kvm-1": with_state("kvm-1", HostState()),
        "kvm-2": replace(seen, host="kvm-2"),
    }
    uuid = derive_uuid("story", Kind.DOMAIN, "db")
    assert uuid in {domain.uuid for domain in seen.state.domains}

    plan = plan_for(BEFORE / "cluster.yaml", swapped)

    guests = [step for step in plan.steps if step.address.kind is Kind.DOMAIN]
    assert [(step.action, step.seat.host, step.address.host) for step in guests] == [
        (Action.MOVE, "kvm-2", "kvm-1")
    ]  # it is brought back from where it is, and not made
