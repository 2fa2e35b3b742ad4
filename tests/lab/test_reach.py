"""All transports answer, and a fabricated topology is what libvirt reports."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kvmdecl.devicemap import Verdict, devices_of
from kvmdecl.diagnostics import Rejected
from kvmdecl.facts import HostInterface
from kvmdecl.hosts.protocol import Scope
from kvmdecl.hosts.read import read_host
from kvmdecl.lab import Lab, Topology, load_topology
from kvmdecl.lab.topology import parse_topology
from kvmdecl.nodedevs import mdev_types
from kvmdecl.pci import pci_tree
from tests.lab.helpers import connected

if TYPE_CHECKING:
    from kvmdecl.lab import LabHost
    from kvmdecl.testing import MakeLab


@pytest.mark.lab
def test_unix_tcp_tls_and_ssh_answer_in_the_labs_network(make_lab: MakeLab):
    running = make_lab(["kvm-1", "rack2.example"], tls=True, ssh=True)
    for host in running.hosts.values():
        assert host.transports == ("unix", "tcp", "tls", "ssh")
        for transport in host.transports:
            done = running.run(["virsh", "--quiet", "--connect", host.uri(transport), "hostname"], timeout=20)
            assert (transport, done.stdout.strip(), done.stderr) == (transport, host.name, "")


@pytest.mark.lab
def test_hosts_cannot_be_reached_from_outside_the_labs_network(lab: Lab):
    routes = Path("/proc/net/route").read_text() + Path("/proc/net/fib_trie").read_text()
    assert lab.hosts["kvm-1"].address not in routes
    assert "kvm-1" not in Path("/etc/hosts").read_text()


@pytest.mark.lab
def test_a_transport_that_was_not_asked_for_is_refused(lab_host: LabHost):
    with pytest.raises(Rejected, match=r"lab\.no-transport"):
        lab_host.uri("tls")


@pytest.mark.lab
def test_guest_networks_of_all_hosts_are_one_lan(lab: Lab):
    for name, address in (("kvm-1", "192.0.2.1"), ("kvm-2", "192.0.2.2")):
        lab.run(["ip", "address", "replace", f"{address}/24", "dev", "br0"], host=name)
    neighbour = "import socket; socket.create_connection(('192.0.2.2', 16509), 5)"
    assert lab.run(["python3", "-c", neighbour], host="kvm-1").returncode == 0


@pytest.mark.lab
def test_a_fabricated_topology_is_seen_in_capabilities_and_devices(make_lab: MakeLab):
    running = make_lab(["big", "small"], topologies={"big": Topology()})
    with connected(running.hosts["big"]) as connection:
        capabilities = ET.fromstring(connection.getCapabilities())
        seen = read_host(connection, "big", Scope(devices=True))
    facts = seen.facts
    cells = capabilities.findall("host/topology/cells/cell")
    assert [len(cell.findall("cpus/cpu")) for cell in cells] == [16] * 4
    assert [cell.findtext("memory") for cell in cells] == [str(65536 * 1024)] * 4
    assert [s.get("value") for s in cells[0].findall("distances/sibling")] == ["10", "12", "32", "32"]
    assert {page.get("size"): page.text for page in cells[1].findall("pages")}["1048576"] == "16"
    tree = pci_tree(facts)
    card, other = tree.functions["0000:3b:00.0"], tree.functions["0000:3b:00.1"]
    assert (len(card.virtual), card.max_virtual, card.cell, card.driver, card.upstream) == (
        4, 64, 1, "i40e", "0000:3a:00.0",
    )  # fmt: skip
    assert (other.virtual, other.max_virtual) == ((), 64)
    assert [(f.address, f.is_bridge) for f in tree.groups[1]] == [
        ("0000:00:01.0", True), ("0000:01:00.0", False), ("0000:01:00.1", False),
    ]  # fmt: skip
    assert [(type_.parent, type_.id, type_.available) for type_ in mdev_types(facts)] == [
        ("0000:5f:00.0", "nvidia-563", 24), ("0000:5f:00.0", "nvidia-564", 12),
    ]  # fmt: skip
    assert HostInterface("br0", "bridge", ("eth1",)) in facts.connections
    verdicts = {of.function.address: (of.verdict, of.along) for of in devices_of(seen).functions}
    assert verdicts["0000:01:00.1"] == (Verdict.HOST, ())  # the graphics card beside it is the only display
    assert verdicts["0000:3b:02.1"] == (Verdict.FREE, ())
    with connected(running.hosts["small"]) as connection:
        assert "pci_0000_3b_00_0" not in connection.listDevices("pci")


def test_a_topology_file_changes_only_what_it_names(tmp_path: Path):
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps({"cells": 2, "hugepages": {"2048": 8}, "devices": []}))
    assert load_topology(str(spec)) == Topology(cells=2, hugepages=((2048, 8),), devices=())


GPU = {"address": "0000:01:00.0", "ids": "10de:2235", "class_code": "030200", "cell": 0, "group": 1}
PORT = {"address": "0000:00:01.0", "ids": "8086:2030", "class_code": "060400", "cell": 0, "group": 1}


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ([], "not an object"),
        ({"cell": 3}, "unknown field `cell`"),
        ({"cells": "3"}, "not of type int"),
        ({"cells": True}, "not of type int"),
        ({"cells": 3}, "cannot be divided among 2 sockets"),
        ({"cores": 0}, "not all positive"),
        ({"hugepages": {"2M": 1}}, "`hugepages` is not"),
        ({"devices": [{"address": "0000:01:00.0"}]}, "lacks `ids`, `class_code`, `cell`, `group`"),
        (
            {"devices": [{"address": "../..", "ids": "1:2", "class_code": "020000", "cell": 0, "group": 1}]},
            "PCI address `../..` is not valid",
        ),
        (
            {
                "devices": [
                    {"address": "0000:01:00.0", "ids": "8086", "class_code": "020000", "cell": 0, "group": 1}
                ]
            },
            "`ids` is not like",
        ),
        ({"devices": [GPU | {"below": "0000:00:01.0"}]}, "no bridge or port (`class_code` 0604..) is at"),
        ({"devices": [GPU, PORT | {"below": GPU["address"]}]}, "no bridge or port"),
        ({"devices": [PORT | {"below": PORT["address"]}]}, "is behind itself"),
        ({"devices": [GPU | {"vfs": 4, "max_vfs": 2}]}, "`max_vfs` below it"),
        ({"devices": [GPU | {"mdev_types": {"../x": 1}}]}, "`mdev_types` is not"),
    ],
)
def test_a_faulty_topology_is_refused_with_the_reason(document: object, reason: str):
    with pytest.raises(Rejected, match=r"lab\.bad-topology") as rejected:
        parse_topology(document)
    assert reason in rejected.value.diagnostics[0].summary


def test_a_topology_that_cannot_be_read_is_refused(tmp_path: Path):
    (tmp_path / "broken.json").write_text("{")
    for path in (tmp_path / "broken.json", tmp_path / "absent.json"):
        with pytest.raises(Rejected, match=r"lab\.bad-topology"):
            load_topology(str(path))
