"""Daemons of libvirt that fail are started again, and their guests go on: Pacemaker's scheduler says so."""

from __future__ import annotations

from pathlib import Path

import pytest
from kvmdecl_pacemaker.cib import cib
from kvmdecl_pacemaker.simulate import settle
from kvmdecl_pacemaker.status import with_status
from lxml import etree

from tests.pacemaker.support import configured, manifest, program, run

GUESTS = "web: {count: 2, disk: 1GiB, apart: host, ha: true, after: [db]}, db: {disk: 1GiB, ha: true}"


@pytest.mark.parametrize(("kind", "restarted"), [("Optional", 0), ("Mandatory", 1)])
def test_a_daemon_that_fails_takes_no_guest_along(kind: str, restarted: int, tmp_path: Path):
    program("crm_simulate")
    settled = settle(cib(configured(manifest(GUESTS))))
    document = with_status(settled.cib, settled.running)
    (order,) = document.iterfind('.//rsc_order[@id="order-services"]')
    assert order.get("kind") == "Optional"
    order.set("kind", kind)
    (failed,) = document.iterfind(
        './/node_state[@uname="kvm-1"]//lrm_resource[@id="libvirtd"]/lrm_rsc_op[@operation="monitor"]'
    )
    failed.set("rc-code", "7")
    failed.set("call-id", "99")
    file = tmp_path / "cib.xml"
    file.write_bytes(etree.tostring(document))

    answer = run("crm_simulate", "--xml-file", file, "--run").stdout
    summary = answer.partition("Transition Summary:")[2].partition("\n\n")[0]

    assert "Recover    libvirtd:0" in summary
    assert (
        summary.count("Restart ") == restarted
    )  # an order that is mandatory would, and is not what we write
