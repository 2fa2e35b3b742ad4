"""Where vms go when hosts are lost: Pacemaker's answer, and what is found about it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import jsonschema_rs
import pytest
from kvmdecl_pacemaker import simulate
from kvmdecl_pacemaker.model import Ha
from kvmdecl_pacemaker.quorum import votes_after

from kvmdecl.diagnostics import Rejected
from kvmdecl.names import GIB
from kvmdecl.pipeline import compile_cluster, load_cluster
from kvmdecl.pluginhost import load_plugins
from kvmdecl.scenario import example_host
from kvmdecl.survivors import prove
from kvmdecl.views.survivors import proof_schema, render_proof, render_proof_json
from tests.pacemaker.support import FENCING, LINKS, configured, hosts, manifest, program

if TYPE_CHECKING:
    from pathlib import Path

    from kvmdecl.takeover import Proof


@pytest.fixture(autouse=True)
def _pacemaker() -> None:
    program("crm_simulate")


def proof(tmp_path: Path, text: str, lose: int = 1, memory: int = 64, *, blind: bool = False) -> Proof:
    """Of empty hosts with 16 CPUs and so many GiB. `blind`: Pacemaker does not know who has a place where."""
    path = tmp_path / "cluster.yaml"
    path.write_text(text)
    plugins = load_plugins()
    cluster = load_cluster(path, plugins)
    observations = {host.name: example_host(host.name) for host in cluster.hosts}
    observations = {
        name: replace(seen, facts=replace(seen.facts, memory=memory * GIB))
        for name, seen in observations.items()
    }
    placed = compile_cluster(cluster, observations, plugins).placed
    placed = replace(placed, elsewhere={}) if blind else placed
    return prove(placed, observations, lose, plugins)


def codes(found: Proof) -> list[tuple[str, str]]:
    return [(each.code, each.subject) for each in found.findings]


def test_a_vm_of_a_lost_host_runs_again_and_others_stay(tmp_path: Path):
    found = proof(tmp_path, manifest("db: {memory: 8GiB, ha: true}, web: {count: 2, memory: 4GiB, ha: true}"))

    assert (found.survives, found.complete, found.findings) == (True, True, ())
    assert sorted(found.start) == ["db", "web-1", "web-2"]
    for takeover in found.takeovers:
        there = {name for name, host in found.start.items() if host in takeover.lost}
        assert (set(takeover.homes), takeover.moved, takeover.down) == (there, {}, ())
        assert not set(takeover.homes.values()) & set(takeover.lost)


def test_a_vm_without_ha_keeps_its_room_and_is_lost_with_its_host(tmp_path: Path):
    found = proof(tmp_path, manifest("db: {memory: 8GiB, ha: true}, old: {memory: 60GiB, host: kvm-1}"))

    assert found.survives
    assert set(found.start) == {"db"}
    assert all(set(takeover.homes) <= {"db"} for takeover in found.takeovers)


def test_vms_that_are_kept_apart_share_a_host_while_one_is_lost_if_they_may(tmp_path: Path):
    found = proof(tmp_path, manifest("web: {count: 3, memory: 4GiB, apart: host, ha: {crowd: true}}"))

    assert (found.survives, found.findings, found.disputed) == (True, (), ())
    assert sum(len(takeover.homes) for takeover in found.takeovers) == 3


def test_where_there_is_no_room_the_smallest_set_is_told_at_its_line(tmp_path: Path):
    found = proof(tmp_path, manifest("big: {count: 3, memory: 40GiB, ha: true}"))

    assert not found.survives
    assert {code for code, _ in codes(found)} == {"failover.no-home"}
    assert found.findings[0].at is not None
    assert "there is no room for all of: big-" in found.findings[0].cause


def test_who_may_stay_down_does_so_without_an_error(tmp_path: Path):
    vms = "big: {count: 2, memory: 40GiB, ha: {priority: 1}}, toy: {memory: 40GiB, ha: {best_effort: true}}"
    found = proof(tmp_path, manifest(vms))

    assert found.survives
    assert any(takeover.down == ("toy",) for takeover in found.takeovers)


def test_what_pacemaker_leaves_down_though_there_is_room_is_told(tmp_path: Path):
    """The manifest's own priorities make it begin with the small ones."""
    small = ", ".join(f"s{n}: {{memory: 24GiB, ha: {{priority: 9}}}}" for n in range(3))
    found = proof(tmp_path, manifest(f"{small}, big: {{memory: 56GiB, ha: true}}", count=4))

    assert ("failover.stranded", "vm/big") in codes(found)


@pytest.mark.parametrize("searched", [True, False])
def test_an_order_is_searched_that_strands_nobody(
    searched: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """CPUs are short, and those that want the most of them have the least memory."""
    if not searched:
        monkeypatch.setattr("kvmdecl_pacemaker.priorities.search", lambda _, usual: usual)
    vms = "busy: {count: 3, cpus: 32, memory: 8GiB, ha: true}, wide: {count: 2, cpus: 16, memory: 16GiB, ha: true}"
    found = proof(tmp_path, manifest(vms))

    assert found.survives == searched, found
    assert searched or {code for code, _ in codes(found)} == {"failover.stranded"}


def test_a_host_that_has_no_cell_left_for_a_vm_is_no_home(tmp_path: Path):
    """Pacemaker counts the CPUs of hosts; each cell of the two hosts has six for vms, and three vms want six."""
    cpus = "cpus: {count: 6, policy: dedicated}, memory: 8GiB, ha: true"
    text = manifest(
        f"one: {{{cpus}, host: kvm-1}}, two: {{{cpus}, host: kvm-2}}, three: {{{cpus}, host: kvm-2}}", count=2
    )
    text = text.replace(hosts(2), hosts(2, ", dedicated: '2-7,10-15'")) + "placement: numa\n"

    with pytest.raises(Rejected) as refused:
        proof(tmp_path, text)
    homeless = {each.subject for each in refused.value.diagnostics if each.code == "ha.no-second-home"}
    assert homeless == {"vm/one", "vm/two"}, "three gets the cell that is free on kvm-1"

    best = text.replace("ha: true", "ha: {best_effort: true}")
    found = proof(tmp_path, best)
    assert codes(found) == []
    assert {takeover.lost: takeover.down for takeover in found.takeovers} == {
        ("kvm-1",): ("one",),
        ("kvm-2",): ("two",),
    }
    assert {code for code, _ in codes(proof(tmp_path, best, blind=True))} == {"failover.unfit-home"}


def test_without_quorum_all_is_stopped(tmp_path: Path):
    found = proof(
        tmp_path, manifest("db: {memory: 8GiB, ha: true}, web: {count: 2, memory: 4GiB, ha: true}"), lose=2
    )

    assert codes(found) == [("ha.no-quorum", "")]
    assert {takeover.down for takeover in found.takeovers} == {("db", "web-1", "web-2")}


def test_a_frozen_part_keeps_what_it_runs(tmp_path: Path):
    text = manifest("db: {memory: 8GiB, ha: true}", ha=f"{FENCING}, {LINKS}, quorum: {{lost: freeze}}")
    found = proof(tmp_path, text, lose=2)

    [home] = found.start.values()
    assert [takeover.down for takeover in found.takeovers if home not in takeover.lost] == [()]


@pytest.mark.parametrize(
    ("count", "quorum", "survived"),
    [
        (2, "{}", 1),
        (2, "{device: q}", 1),
        (3, "{}", 1),
        (4, "{}", 1),
        (4, "{device: q}", 2),
        (5, "{}", 2),
        (5, "{device: {host: q, algorithm: lms}}", 4),
        (16, "{}", 7),
    ],
)
def test_votes_are_counted_as_votequorum_does(count: int, quorum: str, survived: int):
    configuration = configured(
        f"{manifest('a: {memory: 1GiB, ha: true}', f'{FENCING}, {LINKS}, quorum: {quorum}, survive: 0', count)}"
    )

    assert max(lost for lost in range(count) if votes_after(configuration, lost).enough) == survived


SITES = {
    "two hosts and a vote from outside": (
        2,
        "db: {memory: 8GiB, ha: true}, web: {memory: 4GiB, ha: true}",
        "",
        1,
    ),
    "three hosts": (3, "db: {memory: 8GiB, ha: true}, web: {count: 5, memory: 9GiB, ha: true}", "", 1),
    "five hosts in racks": (
        5,
        "db: {count: 3, memory: 8GiB, apart: rack, ha: true}, web: {count: 9, memory: 9GiB, ha: true}",
        ", labels: {rack: 'r{n}'}",
        2,
    ),
    "sixteen hosts": (
        16,
        "db: {count: 4, memory: 40GiB, apart: host, ha: true}, web: {count: 12, memory: 8GiB, ha: true}",
        "",
        1,
    ),
}


@pytest.mark.parametrize("site", SITES)
def test_pacemaker_keeps_to_the_rules_of_placement_whatever_is_lost(site: str, tmp_path: Path):
    count, vms, more, lose = SITES[site]
    quorum = ", quorum: {device: qnetd}" if count == 2 else ""
    text = manifest(vms, f"{FENCING}, {LINKS}{quorum}", count).replace(hosts(count), hosts(count, more))

    found = proof(tmp_path, text, lose)

    assert (found.findings, found.survives, found.complete) == ((), True, True)
    assert sum(len(takeover.homes) for takeover in found.takeovers) > 0


def test_the_table_and_the_json_tell_the_same(tmp_path: Path):
    found = proof(tmp_path, manifest("db: {memory: 8GiB, host: kvm-2, ha: true}"))

    assert render_proof(found).splitlines()[:4] == [
        "without  vm  from   to",
        "kvm-2    db  kvm-2  kvm-1",
        "kvm-1    -   -      -",
        "kvm-3    -   -      -",
    ]
    document = json.loads(render_proof_json(found))
    jsonschema_rs.validator_for(proof_schema()).validate(document)
    assert document["takeovers"][0]["homes"] == {"db": "kvm-1"}


def test_without_pacemakers_programs_the_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(simulate, "_SEARCH_PATH", str(tmp_path))

    with pytest.raises(Rejected, match=r"ha\.missing-tool.*crm_verify"):
        proof(tmp_path, manifest("db: {memory: 8GiB, ha: true}"))


def test_a_program_that_fails_is_not_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name, does in {"crm_verify": "exit 0", "crm_simulate": "echo broken >&2; exit 3"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    with pytest.raises(Rejected, match=r"ha\.tool-failed.*broken"):
        proof(tmp_path, manifest("db: {memory: 8GiB, ha: true}"))


def test_what_crm_verify_refuses_is_not_simulated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("kvmdecl_pacemaker.proof.verify", lambda _: ("no such thing",))

    with pytest.raises(Rejected, match=r"ha\.refused: .*no such thing"):
        proof(tmp_path, manifest("db: {memory: 8GiB, ha: true}"))


def test_the_section_says_how_many_hosts_may_be_lost():
    assert Ha().survive == 1
