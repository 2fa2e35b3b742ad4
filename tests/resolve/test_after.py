"""`after:` names vms that there are, and never leads back to where it began."""

from __future__ import annotations

import networkx as nx
from hypothesis import given, settings
from hypothesis import strategies as st

from kvmdecl.diagnostics import Rejected
from tests.resolve.support import rejected, resolved, told

NAMES = "abcdef"


def test_a_vm_waits_for_one_that_is_there():
    assert told("vms:\n  db-1: {}\n  web: {after: [db]}\n") == [("reference.unknown-vm", "db")]


def test_an_agent_is_waited_for_only_where_there_is_one():
    text = "vms:\n  db: {agent: false}\n  web: {after: [{vm: db, until: agent}]}\n"
    assert told(text) == [("reference.no-agent", "agent")]


def test_a_ring_is_told_once_with_all_who_are_in_it():
    (found,) = rejected("vms:\n  a: {after: [c]}\n  b: {after: [a]}\n  c: {after: [b]}\n  d: {after: [a]}\n")

    assert found.summary == "vms wait for each other: a waits for c waits for b waits for a"


def test_who_names_an_entry_with_a_count_is_told_its_members():
    (found,) = rejected("vms:\n  db: {count: 2}\n  web: {after: [db]}\n")

    assert (found.code, found.hint) == ("reference.unknown-vm", "it has a `count`: name db-1, db-2")


def test_copies_of_an_entry_can_wait_for_copies_of_another():
    cluster = resolved("vms:\n  db: {count: 2}\n  web: {count: 2, after: ['db-{n}']}\n")

    assert [[other.vm for other in vm.spec.after] for vm in cluster.vms] == [[], [], ["db-1"], ["db-2"]]


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(NAMES), st.lists(st.sampled_from(NAMES), max_size=3, unique=True)))
def test_a_cluster_is_refused_exactly_when_there_is_a_ring(after: dict[str, list[str]]):
    lines = [f"  {name}: {{after: [{', '.join(after.get(name, []))}]}}\n" for name in NAMES]
    try:
        resolved("vms:\n" + "".join(lines))
        refused = False
    except Rejected as error:
        refused = all(found.code == "reference.ring" for found in error.diagnostics)

    graph = nx.DiGraph([(one, other) for one, others in after.items() for other in others])
    assert refused == (not nx.is_directed_acyclic_graph(graph))
