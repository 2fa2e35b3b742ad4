"""What is written out, judged by those who have to take it: Pacemaker's schemas and crm_verify, and corosync."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from lxml import etree

from tests.pacemaker.support import SCHEMAS, program, run, with_hosts_online

STORIES = Path(__file__).parents[1] / "scenarios"
EXPECTED = sorted(path.parent for path in STORIES.glob("ha-*/expected/ha/cib.xml"))

pytestmark = pytest.mark.parametrize("folder", EXPECTED, ids=lambda folder: folder.parents[1].name)


def test_pacemaker_finds_nothing_to_warn_of(folder: Path, tmp_path: Path):
    file = tmp_path / "cib.xml"
    file.write_text(with_hosts_online((folder / "cib.xml").read_text()))

    answer = run("crm_verify", "--verbose", "--verbose", "--xml-file", file)

    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")


def test_the_cib_is_of_the_version_that_it_names(folder: Path):
    program("crm_verify")  # whose package brings the schemas
    document = etree.parse(folder / "cib.xml")
    schema = etree.RelaxNG(etree.parse(SCHEMAS / f"{document.getroot().get('validate-with')}.rng"))

    schema.assertValid(document)


def test_corosync_takes_its_configuration(folder: Path, tmp_path: Path):
    key = tmp_path / "authkey"
    key.write_bytes(bytes(256))
    file = tmp_path / "corosync.conf"
    text = (folder / "corosync.conf").read_text()
    file.write_text(text.replace("totem {\n", f"totem {{\n    keyfile: {key}\n", 1))

    # It takes no configuration in which the machine that it runs on is not one of the hosts.
    program("corosync")
    host = re.search(r"name: (\S+)\n +nodeid", text)
    assert host
    script = 'hostname "$0" && exec corosync -t -c "$1"'
    answer = run("unshare", "--uts", "sh", "-c", script, host[1], file)

    assert answer.returncode == 0, answer.stderr
