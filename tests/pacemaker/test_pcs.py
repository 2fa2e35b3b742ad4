"""The commands, run by pcs on a file: what they come to is the CIB."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from kvmdecl_pacemaker.cib import cib
from kvmdecl_pacemaker.commands import cib_commands
from lxml import etree

from tests.pacemaker.support import configured, manifest, program

Element = etree._Element

TIMEOUT = "stonith-watchdog-timeout"
PDU = "{agent: fence_apc_snmp, address: pdu, plugs: {kvm-1: 1, kvm-2: 2}}"
BMC = "{agent: fence_ipmilan, address: '{name}-bmc', user: ha, password: {env: KVMDECL_SECRET_BMC}}"
LINKS = "links: ['10.1.0.{n}', '10.2.0.{n}']"
EVERYTHING = manifest(
    "db: {count: 2, disk: 1GiB, apart: {scope: rack, group: g}, ha: {crowd: true}},"
    " web: {disk: 1GiB, together: {group: w}, after: [db-1], ha: {migrate: false}, state: stopped},"
    " app: {disk: 1GiB, together: {group: w}, ha: true, host: kvm-1}",
    f"fencing: {{bmc: {BMC}, pdu: {PDU}}}, sbd: 5s, quorum: q.example, {LINKS}",
    2,
    more="mounts: {vms: {device: 'nas:/vms', type: nfs4, options: hard}}",
).replace("{uri: ", "{labels: {rack: 'r{n}'}, uri: ")


@pytest.mark.proof
def test_what_pcs_makes_of_the_commands_is_the_cib(tmp_path: Path):
    program("pcs")
    found = configured(EVERYTHING)
    wanted = cib(found)
    file = tmp_path / "cib.xml"
    file.write_bytes(etree.tostring(bare(cib(found))))

    for command in cib_commands(found):
        answer = pcs(file, command)
        if "while SBD is disabled" in answer.stderr:  # on this machine, and not in the file: pcs asks systemd
            answer = pcs(file, re.sub(rf" {TIMEOUT}=\S+", "", command))
            for said in wanted.findall(f".//nvpair[@name='{TIMEOUT}']"):
                said.getparent().remove(said)
        assert answer.returncode == 0, f"{command}: {answer.stderr}"
        assert "Deprecation" not in answer.stderr, f"{command}: {answer.stderr}"

    assert meaning(etree.parse(file).getroot()) == meaning(wanted)


def pcs(file: Path, command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(f"pcs -f {file} {command}", shell=True, capture_output=True, text=True, check=False)


def bare(root: Element) -> Element:
    """A CIB in which there are hosts, of which nothing is said."""
    for part in root.find("configuration"):
        if part.tag == "nodes":
            for node in part:
                node[:] = []
        elif part.tag in {"crm_config", "resources", "constraints"}:
            part[:] = []
        else:
            part.getparent().remove(part)
    return root


def meaning(root: Element) -> set[object]:
    """What a CIB says, without the ids that pcs makes up."""
    said: set[object] = set()
    for pair in root.iterfind(".//nvpair"):
        owner = pair.getparent().getparent()
        who = owner.get("uname") or owner.get("id") or owner.tag
        said.add((pair.getparent().tag, who, pair.get("name"), pair.get("value")))
    for primitive in root.iterfind(".//primitive"):
        above = primitive.getparent().get("id")
        said.add((above, *(primitive.get(key) for key in ("id", "class", "provider", "type"))))
        for operation in primitive.iterfind("operations/op"):
            said.add((primitive.get("id"), *(operation.get(key) for key in ("name", "interval", "timeout"))))
    for rule in root.iterfind(".//constraints/*"):
        sets = tuple((each.get("sequential"), *(ref.get("id") for ref in each)) for each in rule)
        said.add((rule.tag, tuple(sorted(rule.attrib.items())), sets))
    for level in root.iterfind(".//fencing-level"):
        said.add(("level", level.get("target"), level.get("index"), level.get("devices")))
    said |= {("tag", tag.get("id"), *(ref.get("id") for ref in tag)) for tag in root.iterfind(".//tag")}
    return said
