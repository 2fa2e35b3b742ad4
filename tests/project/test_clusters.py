"""The example manifests."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import jsonschema_rs
import pytest
from lxml import etree

from kvmdecl.diagnostics import Severity
from kvmdecl.lab.guest import tiny_image
from kvmdecl.libvirt_xml.domain import domain_xml
from kvmdecl.pipeline import load_cluster
from kvmdecl.pluginhost import load_plugins
from kvmdecl.rules import judge, site_of, with_choice

ROOT = Path(__file__).parents[2]
CLUSTERS = sorted(path for path in (ROOT / "clusters").iterdir() if path.is_dir())


@pytest.mark.parametrize("folder", CLUSTERS, ids=lambda path: path.name)
def test_every_example_is_valid(folder: Path):
    cluster = load_cluster(folder, load_plugins())

    assert cluster.name == folder.name
    assert cluster.vms


@pytest.mark.parametrize("folder", CLUSTERS, ids=lambda path: path.name)
def test_no_rule_finds_anything_in_an_example_but_the_advice_that_it_names(folder: Path):
    plugins = load_plugins()
    every = site_of(with_choice(load_cluster(folder, plugins), ("all",), ()))
    named = re.findall(
        r"^# advice: (.+)$", "".join(p.read_text() for p in folder.glob("*.yaml")), re.MULTILINE
    )

    found = judge(plugins.rules(), every)

    assert sorted({each.code for each in found}) == sorted(" ".join(named).split())
    assert all(each.severity is Severity.INFO for each in found)


@pytest.mark.parametrize("folder", CLUSTERS, ids=lambda path: path.name)
def test_every_example_says_where_its_schema_is(folder: Path):
    for path in folder.glob("*.yaml"):
        match = re.match(r"# yaml-language-server: \$schema=(\S+)\n", path.read_text())
        assert match, path
        jsonschema_rs.validator_for(json.loads((folder / match.group(1)).read_text()))


def test_a_guest_with_network_and_disk_is_three_lines_past_the_clusters_own():
    text = (ROOT / "clusters/minimal/cluster.yaml").read_text()

    [vms] = re.findall(r"^vms:\n(.*)", text, re.MULTILINE | re.DOTALL)
    name, *lines = vms.splitlines()
    assert name == "  web:"
    assert [line.split(":")[0].strip() for line in lines] == ["image", "disk", "nics"]


def test_one_word_makes_a_guest_that_windows_11_installs_on():
    cluster = load_cluster(ROOT / "clusters/windows", load_plugins())
    [vm], pools = cluster.vms, {pool.name: pool.spec for pool in cluster.pools}

    root = etree.fromstring(domain_xml(vm, pools))

    assert root.find("os").get("firmware") == "efi"
    assert root.find("os/firmware/feature[@name='secure-boot']").get("enabled") == "yes"
    assert root.find("features/smm").get("state") == "on"
    assert root.find("features/hyperv/stimer") is not None
    assert root.find("clock").get("offset") == "localtime"
    assert root.find("devices/tpm/backend").attrib == {"type": "emulator", "version": "2.0"}
    media = [source.get("file") for source in root.iterfind("devices/disk[@device='cdrom']/source")]
    assert [path.split("/")[-1].split(".")[0] for path in media] == ["windows-11", "virtio-win"]


def test_the_demonstration_shows_what_it_promises():
    cluster = load_cluster(ROOT / "clusters/demo", load_plugins())

    assert (len(cluster.hosts), len(cluster.vms), len(cluster.networks), len(cluster.images)) == (3, 6, 2, 1)
    assert [len(pool.hosts) for pool in cluster.pools] == [3]
    assert all(vm.seed for vm in cluster.vms)


def test_the_demonstrations_image_is_the_one_that_is_made_on_the_spot(tmp_path: Path):
    cluster = load_cluster(ROOT / "clusters/demo", load_plugins())

    [image] = cluster.images
    assert image.content.sha256 == hashlib.sha256(tiny_image(tmp_path / "tiny.img").read_bytes()).hexdigest()
