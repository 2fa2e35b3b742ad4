"""Where each vm runs, may run, and goes when its host is lost: one table, one picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from lxml import etree

from kvmdecl.candidates import Barred, homes
from kvmdecl.homes import home_map
from kvmdecl.pipeline import compile_cluster, load_cluster
from kvmdecl.pluginhost import load_plugins
from kvmdecl.scenario import example_host
from kvmdecl.survivors import prove
from kvmdecl.views.home_map import render_home_map, render_home_map_svg
from tests.pacemaker.support import URI, manifest, program

if TYPE_CHECKING:
    from pathlib import Path

    from kvmdecl.cluster import PlacedCluster
    from kvmdecl.homes import HomeMap

HOSTS = ", ".join(
    f"kvm-{n}: {{uri: {URI.replace('{name}', f'kvm-{n}')}, labels: {{rack: r{n % 2}}}}}" for n in range(1, 5)
)
POOLS = "vms: {path: /srv/vms, shared: true}, ssd: {path: /srv/ssd, shared: true, hosts: [kvm-1, kvm-2]}"
VMS = """
  db: {host: kvm-1, disk: {size: 1GiB, pool: ssd}, ha: true},
  web: {host: kvm-2, disk: {size: 1GiB, pool: vms}, host_labels: {rack: r0}, ha: true},
  any: {host: kvm-3, disk: {size: 1GiB, pool: vms}, ha: true}
"""


@pytest.fixture
def placed(tmp_path: Path) -> PlacedCluster:
    (tmp_path / "cluster.yaml").write_text(manifest(VMS, on=HOSTS, pools=POOLS))
    plugins = load_plugins()
    cluster = load_cluster(tmp_path / "cluster.yaml", plugins)
    return compile_cluster(cluster, {h.name: example_host(h.name) for h in cluster.hosts}, plugins).placed


@pytest.fixture
def found(placed: PlacedCluster) -> HomeMap:
    program("crm_simulate")
    seen = {host.name: example_host(host.name) for host in placed.cluster.hosts}
    facts = {name: each.facts for name, each in seen.items()}
    return home_map(placed, facts, prove(placed, seen, 1, load_plugins()))


def test_each_vm_has_a_line_with_what_keeps_hosts_from_having_it(found: HomeMap):
    head, any_, db, web, *_ = render_home_map(found).splitlines()

    assert head.split() == ["kvm-1", "kvm-2", "kvm-3", "kvm-4"]
    assert sorted(any_.split()) == ["any", "may", "may", "next", "runs"]
    assert db.split(None, 5) == ["db", "runs", "next", "-", "-", "kvm-3, kvm-4: gets no pool ssd"]
    assert web.split(None, 5) == ["web", "-", "runs", "-", "next", "kvm-1, kvm-3: has no label rack=r0"]


def test_the_picture_has_a_sign_for_each_vm_and_host_and_says_what_it_means(found: HomeMap):
    picture = etree.fromstring(render_home_map_svg(found))
    ns = {"s": "http://www.w3.org/2000/svg"}

    signs = picture.xpath("//s:g[@class='home']", namespaces=ns)
    said = [sign.findtext("s:title", namespaces=ns) for sign in signs]
    assert len(signs) == 12
    assert {"db runs on kvm-1", "db goes, when kvm-1 is lost, to kvm-2", "kvm-4: gets no pool ssd"} <= set(
        said
    )
    assert picture.xpath("//s:script|//@href", namespaces=ns) == []


def test_a_host_is_barred_exactly_if_it_is_no_home(placed: PlacedCluster):
    barred = Barred(placed, {})

    for vm in placed.vms:
        free = [host.name for host in placed.cluster.hosts if not barred.why(vm, host.name)]
        assert tuple(free) == homes(placed, {})[vm.name]
