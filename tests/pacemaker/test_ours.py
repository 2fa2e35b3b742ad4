"""What is ours of a live CIB becomes what is wanted, and nothing else is touched, whatever others wrote into it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kvmdecl_pacemaker.cib import Element, cib
from kvmdecl_pacemaker.live import read_cib
from kvmdecl_pacemaker.ours import compare, conflicts, mark_of, overlay
from lxml import etree

from tests.pacemaker.live_cib import EMPTY, FileCluster
from tests.pacemaker.support import (
    FENCING,
    LINKS,
    SCHEMAS,
    configured,
    manifest,
    program,
    run,
    with_hosts_online,
)
from tests.pacemaker.test_pcs import meaning

ONE = "db: {disk: 1GiB, memory: 4GiB, ha: true}"
TWO = f"{ONE}, web: {{count: 2, disk: 1GiB, apart: host, after: [db], ha: true}}"
PDU = "{agent: fence_apc_snmp, address: pdu, plugs: {kvm-1: 1, kvm-2: 2, kvm-3: 3}}"
MOUNTS = "mounts: {vms: {device: 'nas:/v', type: nfs4}}"
MANIFESTS = (
    manifest(ONE),
    manifest(TWO),
    manifest(TWO.replace("4GiB", "6GiB"), more="stickiness: 500, migration: {options: --auto-converge}"),
    manifest(TWO.replace("ha: true", "host: kvm-2, ha: {migrate: false}", 1), more="services: []"),
    manifest(f"{ONE}, web: {{disk: 1GiB, state: stopped, ha: true}}", more=MOUNTS),
    manifest(TWO, f"fencing: {{bmc: {FENCING.partition(': ')[2]}, pdu: {PDU}}}, sbd: 5s, {LINKS}"),
)  # fmt: skip
"""So different that every part of a CIB comes, changes and goes."""


@cache
def wanted_text(number: int) -> bytes:
    return etree.tostring(cib(configured(MANIFESTS[number])))


def wanted(number: int) -> Element:
    return read_cib(wanted_text(number).decode())


def loaded(number: int) -> Element:
    """A cluster that was given this configuration."""
    return overlay(read_cib(EMPTY), wanted(number), "edge")


def pair(id_: str, name: str, value: str) -> str:
    return f'<nvpair id="{id_}" name="{name}" value="{value}"/>'


def pairs(tag: str, id_: str, name: str, value: str) -> str:
    return f'<{tag} id="{id_}">{pair(f"{id_}-1", name, value)}</{tag}>'


DB = "configuration/resources/primitive[@id='db']"
FOREIGN = {
    # Where somebody else's element is put -> the element.
    "configuration/resources": '<primitive id="theirs" class="ocf" provider="pacemaker" type="Dummy"/>',
    "configuration/constraints": '<rsc_location id="cli-ban-db" rsc="db" node="kvm-1" score="-INFINITY"/>',
    "configuration/crm_config/cluster_property_set": pair("recheck", "cluster-recheck-interval", "5min"),
    "configuration/nodes/node": pairs("instance_attributes", "nodes-1", "standby", "on"),
    DB: pairs("meta_attributes", "db-meta_attributes", "maintenance", "true"),
    f"{DB}/instance_attributes": pair("downtime", "migration_downtime", "300"),
    f"{DB}/operations": '<op id="deep" name="monitor" interval="3600s" timeout="60s"/>',
    "configuration/rsc_defaults": pairs("meta_attributes", "theirs-too", "failure-window", "1h"),
}
THEIRS = {each.get("id") for xml in FOREIGN.values() for each in etree.fromstring(xml).iter()}


def find(cib_: Element, xml: str) -> Element:
    """The element that was put there, wherever it is."""
    id_ = etree.fromstring(xml).get("id")
    return next(element for element in cib_.iter() if element.get("id") == id_)


@st.composite
def clusters(draw: st.DrawFn) -> tuple[Element, list[str]]:
    """A cluster that was given some configuration, into which others wrote; and what they wrote."""
    found = loaded(draw(st.sampled_from(range(len(MANIFESTS)))))
    theirs = draw(st.lists(st.sampled_from(list(FOREIGN)), unique=True))
    for path in theirs:
        found.find(path).append(etree.fromstring(FOREIGN[path]))
    ours = [pair for pair in found.iter("nvpair") if pair.get("id") not in THEIRS]
    for each in draw(st.lists(st.sampled_from(ours), max_size=5)):
        each.set("value", draw(st.sampled_from(["7", "true", "60s"])))
    rules = [rule for rule in found.find("configuration/constraints") if rule.get("id") not in THEIRS]
    for rule in draw(st.lists(st.sampled_from(rules), unique=True, max_size=2)) if rules else ():
        rule.getparent().remove(rule)
    return found, [FOREIGN[path] for path in theirs]


@settings(max_examples=40, deadline=None)
@given(clusters(), st.sampled_from(range(len(MANIFESTS))))
def test_what_is_ours_becomes_what_is_wanted_and_the_rest_stays(
    cluster: tuple[Element, list[str]], number: int
):
    found, theirs = cluster
    before = etree.tostring(found)
    after = overlay(found, wanted(number), "edge")

    assert etree.tostring(found) == before
    assert compare(after, wanted(number), "edge") == ()
    assert mark_of(after, "edge") == mark_of(wanted(number), "edge")
    assert etree.tostring(overlay(after, wanted(number), "edge")) == etree.tostring(after)
    assert [etree.tostring(find(after, xml)).decode() for xml in theirs] == theirs
    # Without what others wrote it is what was wanted, and nothing of the configuration before.
    for element in [*(find(after, xml) for xml in theirs), after.find(".//nvpair[@name='cluster-name']")]:
        element.getparent().remove(element)
    assert meaning(after) == meaning(wanted(number))


@pytest.mark.parametrize("number", range(len(MANIFESTS)))
def test_pacemaker_takes_what_comes_of_each_change(number: int, tmp_path: Path):
    """Its own schema, and crm_verify without a warning, with what others wrote beside it."""
    program("crm_verify")
    found = loaded((number + 1) % len(MANIFESTS))
    for path, xml in FOREIGN.items():
        found.find(path).append(etree.fromstring(xml))
    after = overlay(found, wanted(number), "edge")
    schema = etree.RelaxNG(etree.parse(SCHEMAS / "pacemaker-3.9.rng"))
    schema.assertValid(etree.fromstring(etree.tostring(after)))
    file = tmp_path / "cib.xml"
    file.write_text(with_hosts_online(etree.tostring(after, encoding="unicode")))
    answer = run("crm_verify", "--xml-file", file, "--verbose")
    assert (answer.returncode, answer.stderr) == (0, "")


GUEST = "ocf:heartbeat:VirtualDomain"
CHANGES = [
    # Manifest before, after -> owner.field, before, after.
    (1, 1, []),
    (0, 1, [("web-1", None, GUEST), ("web-2", None, GUEST)]),
    (1, 0, [("web-1", GUEST, None), ("web-2", GUEST, None)]),
    (1, 2, [("defaults.resource-stickiness", "1000", "500"),
            ("db.parameters.migrate_options", None, "--auto-converge")]),
    (1, 3, [("db.meta.allow-migrate", "true", "false"), ("db-likes-kvm-2", None, "node=kvm-2 rsc=db score=100"),
            ("libvirtd-clone", "clone", None), ("db.operations.migrate_to.0s", "120s", None)]),
    (1, 5, [("level kvm-1 1", None, "bmc-kvm-1"), ("options.stonith-watchdog-timeout", None, "10s")]),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after", "expected"), CHANGES)
def test_fields_are_found_by_identity(
    before: int, after: int, expected: list[tuple[str, str | None, str | None]]
):
    found = {
        (f"{c.owner}.{c.field}" if c.field else c.owner, c.before, c.after)
        for c in compare(loaded(before), wanted(after), "edge")
    }
    assert found >= set(expected)
    assert bool(found) == bool(expected)


def test_an_option_is_set_where_it_outweighs_others():
    """What stands in `cib-bootstrap-options` outweighs every other set, whatever the order."""
    found = loaded(0)
    options = found.find("configuration/crm_config/cluster_property_set[@id='cib-bootstrap-options']")
    etree.SubElement(options, "nvpair", id="by-hand", name="stonith-enabled", value="false")
    after = overlay(found, wanted(0), "edge")
    assert {pair.get("value") for pair in after.iterfind(".//nvpair[@name='stonith-enabled']")} == {"true"}


def test_hosts_keep_the_numbers_that_corosync_gave_them():
    found = read_cib(EMPTY.replace('id="1" uname="kvm-1"', 'id="77" uname="kvm-1"'))
    after = overlay(found, wanted(0), "edge")
    assert [node.get("id") for node in after.iterfind("configuration/nodes/node")] == ["77", "2", "3"]


def test_a_resource_of_somebody_else_is_no_resource_of_ours():
    found = read_cib(EMPTY)
    found.find("configuration/resources").append(
        etree.fromstring('<primitive id="db" class="ocf" provider="pacemaker" type="Dummy"/>')
    )
    assert conflicts(found, wanted(0), "edge") == ("db",)
    assert conflicts(loaded(0), wanted(1), "edge") == ()


def test_another_clusters_resources_stay():
    """Two manifests on one Pacemaker: each names its own in a tag of its own."""
    other = configured(MANIFESTS[0].replace("cluster: edge", "cluster: edge-2").replace("db:", "shop:"))
    both = overlay(loaded(1), cib(other), "edge-2")
    after = overlay(both, wanted(0), "edge")
    names = {each.get("id") for each in after.iterfind("configuration/resources/primitive")}
    assert {"shop", "db"} <= names
    assert "web-1" not in names


def test_cibadmin_makes_of_the_patch_what_was_meant(tmp_path: Path):
    from kvmdecl_pacemaker.live import patch, query

    program("cibadmin")
    cluster = FileCluster(tmp_path / "cib.xml")
    cluster.write(loaded(1))
    shell = cluster.shell("kvm-1")
    seen = read_cib(query(shell))
    after = overlay(seen, wanted(2), "edge")
    assert patch(shell, seen, after)
    assert compare(read_cib(query(shell)), wanted(2), "edge") == ()
    assert not patch(shell, seen, after), "the same patch fits no other version"
