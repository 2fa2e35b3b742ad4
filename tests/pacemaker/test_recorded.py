"""A CIB in a file: planned from as from the live one, in a place that reaches no host, and without passwords."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from kvmdecl_pacemaker.cib import cib
from kvmdecl_pacemaker.live import query, read_cib
from kvmdecl_pacemaker.manager import Pacemaker
from kvmdecl_pacemaker.ours import overlay
from lxml import etree

from kvmdecl.diagnostics import Rejected
from kvmdecl.manager import Configuration
from kvmdecl.plan import Fate
from kvmdecl.scenario import example_host
from kvmdecl.snapshot import load_manager, write_manager, write_snapshots
from tests.pacemaker.live_cib import EMPTY, FileCluster
from tests.pacemaker.support import configured, manifest, placed, program

if TYPE_CHECKING:
    from kvmdecl_pacemaker.cib import Element

BOTH = manifest("db: {disk: 1GiB, ha: true}, web: {disk: 1GiB, ha: true}", more="services: []")
THEIRS = """<primitive id="shop" class="ocf" provider="heartbeat" type="mysql"><instance_attributes id="shop-i">
<nvpair id="shop-p" name="replication_passwd" value="hunter2"/></instance_attributes></primitive>"""


@pytest.fixture
def cluster(tmp_path: Path) -> FileCluster:
    """One with both vms, in which somebody wrote passwords."""
    program("cibadmin")
    cluster = FileCluster(tmp_path / "cib.xml")
    cluster.write(
        secretive(overlay(read_cib(EMPTY), cib(configured(BOTH)), "edge")),
        {"db": ["kvm-1"], "web": ["kvm-2"]},
    )
    return cluster


def secretive(cib_: Element) -> Element:
    fence = cib_.find(".//primitive[@id='fence-kvm-1']/instance_attributes")
    etree.SubElement(fence, "nvpair", id="by-hand", name="passwd", value="hunter2")
    cib_.find("configuration/resources").append(etree.fromstring(THEIRS))
    return cib_


def seen(cluster: FileCluster) -> Configuration:
    return Configuration(query(cluster.shell("kvm-1")), "kvm-1")


def test_a_plan_from_a_file_is_the_plan_from_the_cluster(cluster: FileCluster, tmp_path: Path):
    program("crm_simulate")
    write_manager(tmp_path / "facts", "pacemaker", Pacemaker(), seen(cluster))
    found = load_manager(tmp_path / "facts", "pacemaker", Pacemaker())
    assert found is not None
    text = placed(BOTH.replace("db: {", "db: {memory: 2GiB, state: stopped, "))
    live, recorded = (Pacemaker().compare(*text, each) for each in (seen(cluster), found))
    assert live.step is not None
    assert recorded.step is not None
    assert (recorded.step.changes, recorded.step.precondition) == (live.step.changes, live.step.precondition)
    assert recorded.prospects == live.prospects
    assert [(each.vm, each.fate) for each in recorded.prospects if each.vm == "db"] == [("db", Fate.STOP)]


def test_no_password_gets_into_a_file_or_a_plan(cluster: FileCluster, tmp_path: Path):
    program("crm_simulate")
    file = write_manager(tmp_path, "pacemaker", Pacemaker(), seen(cluster))
    assert "hunter2" not in file.read_text()
    assert file.stat().st_mode & 0o077 == 0
    recorded = load_manager(tmp_path, "pacemaker", Pacemaker())
    assert recorded is not None
    digests = {
        each.get("id"): each.find("*").get("op-digest")
        for each in read_cib(recorded.text).iter("lrm_resource")
    }
    assert digests["db"]
    assert not digests.get("fence-kvm-1"), "it would tell who guesses whether a guess is right"

    step = Pacemaker().compare(*placed(BOTH), seen(cluster)).step
    assert step is not None
    changes = {change.field: (change.before, change.after) for change in step.changes}
    assert changes == {"fence-kvm-1/parameters.passwd": ("redacted", None)}
    assert "hunter2" not in repr(step)


@pytest.mark.parametrize(
    "document", [{}, {"configuration": ["<cib"]}, {"configuration": ["<pool/>"], "host": "kvm-1"}]
)
def test_a_file_that_is_no_cib_is_refused(document: dict[str, object], tmp_path: Path):
    (tmp_path / "managers").mkdir()
    (tmp_path / "managers/pacemaker.json").write_text(
        json.dumps({"format": "kvmdecl/manager-facts/v1", **document})
    )
    with pytest.raises(Rejected, match=r"facts\.bad-file"):
        load_manager(tmp_path, "pacemaker", Pacemaker())


def test_the_whole_plan_is_made_where_there_are_no_hosts(cluster: FileCluster, tmp_path: Path):
    program("crm_simulate")
    (tmp_path / "cluster.yaml").write_text(BOTH.replace("db: {", "db: {memory: 2GiB, "))
    write_snapshots(tmp_path / "facts", [example_host(f"kvm-{number}") for number in (1, 2, 3)])
    write_manager(tmp_path / "facts", "pacemaker", Pacemaker(), seen(cluster))
    environment = {key: value for key, value in os.environ.items() if not key.startswith("KVMDECL")}
    argv = [Path(sys.executable).with_name("kvmdecl"), "plan", "cluster.yaml", "--facts", "facts"]
    made = subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    assert "db.utilization.hv_memory" in made.stdout
    assert "ha-not-applied" not in made.stderr
