"""A status that is written and not observed: Pacemaker takes it for the real thing, and answers as it would."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from kvmdecl_pacemaker.simulate import Running, lose, settle, verify
from kvmdecl_pacemaker.status import milliseconds, nodes_of, operation_digest, with_status
from lxml import etree

from tests.pacemaker.cibs import Guest, Small, random_cluster

needs_pacemaker = pytest.mark.skipif(
    shutil.which("crm_simulate") is None, reason="crm_simulate is not installed"
)
THREE = Small({"n1": 8192, "n2": 8192, "n3": 8192}, (Guest("db", 4096), Guest("web", 1024)))


@pytest.mark.parametrize(
    ("parameters", "timeout", "digest"),
    [
        # As Pacemaker 2.1.5 wrote them into the status of a cluster.
        ({}, None, "f2317cad3d54cec5d7d7aa7d0bf35cf8"),
        ({}, 30_000, "02a5bcf940fc8d3239701acb11438d6a"),
        ({"pcmk_host_list": "n3", "ip": "1.2.3.4"}, None, "bf41b295d50519eb530f955f6800347e"),
        ({"pcmk_host_list": "n3", "ip": "1.2.3.4"}, 20_000, "63587856216faf0deebf5098bfd29a42"),
    ],
)
def test_a_digest_is_the_one_that_pacemaker_makes(
    parameters: dict[str, str], timeout: int | None, digest: str
):
    assert operation_digest(parameters, timeout) == digest


@pytest.mark.parametrize(
    ("text", "expected"),
    [("20", 20_000), ("20s", 20_000), ("500ms", 500), ("2min", 120_000), ("1h", 3_600_000), ("soon", 0)],
)
def test_durations_are_read_as_pacemaker_reads_them(text: str, expected: int):
    assert milliseconds(text) == expected


def test_what_runs_is_written_where_it_runs_and_nowhere_else():
    status = with_status(THREE.cib(), {"db": {"n2"}, "daemon": {"n1", "n2"}}).find("status")

    there = {
        node.get("uname"): [each.get("id") for each in node.iter("lrm_resource")]
        for node in status.iterfind("node_state")
    }
    assert there == {"n1": ["daemon"], "n2": ["daemon", "db"], "n3": []}
    assert [op.get("operation_key") for op in status.iter("lrm_rsc_op")][-2:] == [
        "db_start_0",
        "db_monitor_10000",
    ]


@needs_pacemaker
@pytest.mark.parametrize("value", ["plain", "a &lt; b &amp; 'c' &quot;d&quot;", "größer", "x=1 y"])
def test_a_cluster_at_rest_stays_as_it_is(value: str):
    """A digest that is not right would restart the guest: its definition seems to have changed."""
    small = Small(THREE.nodes, THREE.guests, parameters={"migrate_options": value})

    settled = settle(small.cib(), {"db": {"n3"}, "web": {"n3"}})

    assert (settled.running["db"], settled.running["web"]) == ({"n3"}, {"n3"})
    assert settled.running["daemon"] == {"n1", "n2", "n3"}
    assert settled.restless == ()
    assert verify(with_status(settled.cib, settled.running)) == ()


@needs_pacemaker
@pytest.mark.parametrize("seed", range(3))
def test_answers_are_those_of_a_whole_simulation(seed: int, tmp_path: Path):
    compare(random_cluster(seed), tmp_path)


@needs_pacemaker
@pytest.mark.proof
@pytest.mark.parametrize("seed", range(3, 100))
def test_answers_are_those_of_a_whole_simulation_for_more_clusters(seed: int, tmp_path: Path):
    compare(random_cluster(seed), tmp_path)


def compare(small: Small, folder: Path) -> None:
    """Start an empty cluster and lose each node, by crm_simulate's own means and by a status of ours."""
    cib, start, rest = small.cib(), folder / "start.xml", folder / "rest.xml"
    (folder / "cib.xml").write_bytes(etree.tostring(cib))
    ups = [word for node in nodes_of(cib) for word in ("--node-up", node)]
    simulate(folder / "cib.xml", "--quorum", "1", *ups, "--save-output", start)
    whole = simulate(start, "--save-output", rest)  # fence devices may move once more

    settled = settle(cib)

    assert guests(settled.running) == whole
    for outcome in lose(settled, [(node,) for node in nodes_of(cib)]):
        [lost] = outcome.lost
        assert guests(outcome.running) == simulate(rest, "--node-fail", lost), lost


def simulate(cib: Path, *options: str | Path) -> dict[str, set[str]]:
    argv = ["crm_simulate", "--xml-file", cib, "--simulate", "--output-as=xml", *options]
    answer = etree.fromstring(subprocess.run(argv, capture_output=True, check=True).stdout)
    return {
        str(each.get("id")): {str(node.get("name")) for node in each.iterfind("node")}
        for each in answer.iterfind("revised_cluster_status/resources/resource")
        if "VirtualDomain" in each.get("resource_agent", "") and each.find("node") is not None
    }


def guests(running: Running) -> dict[str, frozenset[str]]:
    return {name: nodes for name, nodes in running.items() if name.startswith("vm")}
