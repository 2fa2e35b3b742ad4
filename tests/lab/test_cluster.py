"""A lab's hosts that can form a Pacemaker cluster: what they share, and the switches that they have for each other."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kvmdecl import lab as labs
from kvmdecl.diagnostics import Rejected
from kvmdecl.lab import State, fence_agent
from kvmdecl.lab.cluster import AGENT, write_corosync
from kvmdecl.lab.record import new_hosts
from tests.lab.helpers import eventually, processes_of

if TYPE_CHECKING:
    from kvmdecl.lab import Lab
    from kvmdecl.testing import MakeLab


def fence(lab: Lab, *options: str) -> tuple[int, str]:
    """What the agent ends with and says, on kvm-1."""
    script = f"printf '%s\\n' {' '.join(options)} | {AGENT}"
    done = lab.run(["sh", "-c", script], host="kvm-1")
    return done.returncode, done.stdout + done.stderr


def test_hosts_of_a_cluster_share_a_folder_and_switch_each_other_off_and_on(make_lab: MakeLab):
    lab = make_lab(["kvm-1", "kvm-2"], pacemaker=True)

    (lab.directory / "shared/disk").write_text("one for all")
    assert {lab.run(["cat", "/srv/shared/disk"], host=name).stdout for name in lab.hosts} == {"one for all"}
    for ring in ("10.78.0.1/24", "10.79.0.1/24"):
        assert ring in lab.run(["ip", "address"], host="kvm-1").stdout

    assert fence(lab, "action=monitor") == (0, "")
    assert fence(lab, "action=list") == (0, "kvm-1,\nkvm-2,\n")
    assert fence(lab, "action=status", "port=kvm-2") == (0, "")
    assert fence(lab, "action=off", "port=kvm-2") == (0, "")
    assert lab.status()["kvm-2"] is State.OFF
    assert fence(lab, "action=status", "port=kvm-2") == (2, "")
    assert fence(lab, "action=reboot", "port=kvm-2") == (0, "")
    assert lab.status()["kvm-2"] is State.UP
    assert fence(lab, "action=off", "port=kvm-7") == (1, "")

    assert labs.down(lab.directory)
    assert eventually(lambda: processes_of(lab.directory) == [])


def test_the_agent_describes_itself(capsys: pytest.CaptureFixture[str]):
    assert fence_agent.main("/nowhere", ["-o", "metadata"]) == 0
    assert f'<resource-agent name="{AGENT}"' in capsys.readouterr().out


def test_a_cluster_needs_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(labs.cluster, "require_tools", lambda _: None)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(Rejected, match=r"lab\.needs-root"):
        labs.up(tmp_path / "lab", ["kvm-1"], pacemaker=True)
    assert not (tmp_path / "lab").exists()


def test_a_lab_that_was_not_made_for_a_cluster_forms_none(tmp_path: Path):
    with pytest.raises(Rejected, match=r"lab\.no-cluster"):
        write_corosync(new_hosts(tmp_path, ["kvm-1"], tls=False, ssh=False), "totem {}\n")
