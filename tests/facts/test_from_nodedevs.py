"""`kvmdecl facts --from-xml` gives what node devices state, read here once more in the plainest way.

KVMDECL_NODEDEVS names folders (`:` between them) of other files from `virsh nodedev-dumpxml`, to be held to the same.
"""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvmdecl.cli.main import run
from kvmdecl.nodedevs import mdev_types, mdevs
from kvmdecl.pci import PciTree, pci_tree
from kvmdecl.snapshot import load_snapshots
from tests.devices.machines import MACHINES
from tests.facts.test_capabilities import CAPABILITIES


def _saved(folder: Path, files: dict[str, str]) -> Path:
    (folder / "kvm-1/nodedev").mkdir(parents=True)
    (folder / "kvm-1/capabilities.xml").write_text(CAPABILITIES)
    for name, text in files.items():
        (folder / f"kvm-1/nodedev/{name}.xml").write_text(text)
    return folder


def _facts(folder: Path):
    assert run(["facts", "--from-xml", str(folder), "--out", str(folder / "facts")]) == 0
    return load_snapshots(folder / "facts")["kvm-1"].facts


def _place(address: ET.Element) -> str:
    domain, bus, slot, function = (
        int(address.get(part, "0"), 16) for part in ("domain", "bus", "slot", "function")
    )
    return f"{domain:04x}:{bus:02x}:{slot:02x}.{function:x}"


def _hold_pci(root: ET.Element, tree: PciTree) -> None:
    """Everything that the document of a function states is in the tree."""
    capability = root.find("capability")
    assert capability is not None
    part = {name: int(capability.findtext(name, "0")) for name in ("domain", "bus", "slot", "function")}
    if part["bus"] > 255:  # a number that is none, in libvirt's own test data; its name tells the place
        assert root.findtext("name", "") == "pci_0000_00_02_0"
        part["bus"] = 0
    address = f"{part['domain']:04x}:{part['bus']:02x}:{part['slot']:02x}.{part['function']:x}"
    function = tree.functions[address]
    assert function.driver == root.findtext("driver/name", "")
    assert function.virtual == tuple(
        map(_place, capability.iterfind("capability[@type='virt_functions']/address"))
    )
    most = capability.find("capability[@type='virt_functions']")
    assert function.max_virtual == int("0" if most is None else most.get("maxCount", "0"))
    physical = capability.find("capability[@type='phys_function']/address")
    assert function.physical == ("" if physical is None else _place(physical))
    group = capability.find("iommuGroup")
    assert function.group == (None if group is None else int(group.get("number", "")))
    if group is not None:
        there = {member.address for member in tree.groups[int(group.get("number", ""))]}
        assert there >= {address, *map(_place, group.iterfind("address"))}


def _hold(roots: list[ET.Element], folder: Path) -> None:
    facts = _facts(folder)
    tree = pci_tree(facts)
    for root in roots:
        if root.find("capability[@type='pci']") is not None:
            _hold_pci(root, tree)
    stated = {
        (type_.get("id"), type_.findtext("deviceAPI"), type_.findtext("availableInstances"))
        for root in roots
        for type_ in root.iterfind("capability/capability[@type='mdev_types']/type")
    }
    assert {(type_.id, type_.api, str(type_.available)) for type_ in mdev_types(facts)} == stated
    made = {root.findtext("name", "") for root in roots if root.find("capability[@type='mdev']") is not None}
    assert {f"mdev_{mdev.uuid}".replace("-", "_") for mdev in mdevs(facts)} == {
        name.replace("-", "_") for name in made
    }


def _cases() -> Iterator[tuple[str, dict[str, str]]]:
    """Whole machines, and the files that were given, each for itself: they need not be of one host."""
    yield from ((name, machine().xml()) for name, machine in MACHINES.items())
    for folder in filter(None, os.environ.get("KVMDECL_NODEDEVS", "").split(":")):
        for path in sorted(Path(folder).glob("*.xml")):
            yield path.stem, {path.stem: path.read_text()}


CASES = dict(_cases())


@pytest.mark.parametrize("case", CASES)
def test_the_facts_are_what_node_devices_state(case: str, tmp_path: Path):
    _hold([ET.fromstring(text) for text in CASES[case].values()], _saved(tmp_path, CASES[case]))
