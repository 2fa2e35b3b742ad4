"""`kvmdecl lab` from the command line."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from kvmdecl.cli.lab import app
from kvmdecl.diagnostics import Rejected

if TYPE_CHECKING:
    from pathlib import Path

    from kvmdecl.lab import Lab
    from kvmdecl.testing import MakeLab


def run(*argv: str, directory: Path | None = None) -> str:
    done = CliRunner().invoke(app, list(argv), env={"KVMDECL_LAB": str(directory) if directory else None})
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def output_of(*argv: str, directory: Path, capfd: pytest.CaptureFixture[str]) -> str:
    """Of a command that replaces the process: run it in a child."""
    capfd.readouterr()
    pid = os.fork()
    if pid == 0:
        try:
            CliRunner().invoke(app, list(argv), env={"KVMDECL_LAB": str(directory)})
        finally:
            os._exit(70)
    assert os.waitpid(pid, 0)[1] == 0
    return capfd.readouterr().out


@pytest.mark.lab
def test_a_lab_is_started_used_broken_and_ended(make_lab: MakeLab, monkeypatch: pytest.MonkeyPatch):
    place = make_lab([]).directory
    run("down", directory=place)
    try:
        assert "2 hosts up in" in run("up", "--hosts", "2", "--topology", "kvm-2=default", directory=place)
        assert run("env", directory=place) == f"export KVMDECL_LAB={shlex.quote(str(place))}\n"
        assert run("uri", "kvm-1", "tcp", directory=place) == "qemu+tcp://kvm-1/system\n"

        run("freeze", "kvm-1", directory=place)
        run("power-off", "kvm-2", directory=place)
        assert [line.split()[:2] for line in run("status", directory=place).splitlines()] == [
            ["kvm-1", "frozen"],
            ["kvm-2", "off"],
        ]
        run("thaw", "kvm-1", directory=place)
        run("kill", "kvm-1", directory=place)
        assert "no libvirtd" in run("status", directory=place)
        run("start", "kvm-1", directory=place)
        run("power-on", "kvm-2", directory=place)
        assert {line.split()[1] for line in run("status", directory=place).splitlines()} == {"up"}
    finally:
        assert run("down", directory=place) == f"The lab in {place} is gone.\n"
    assert run("down", directory=place) == "There is no lab to end.\n"


@pytest.mark.lab
def test_exec_runs_in_the_network_and_sh_on_a_host(clean_lab: Lab, capfd: pytest.CaptureFixture[str]):
    place = clean_lab.directory
    virsh = ("virsh", "-q", "-c", "qemu+tcp://kvm-2/system", "hostname")
    assert output_of("exec", "--", *virsh, directory=place, capfd=capfd).strip() == "kvm-2"
    assert output_of("exec", *virsh, directory=place, capfd=capfd).strip() == "kvm-2"
    assert output_of("sh", "kvm-3", "--", "hostname", directory=place, capfd=capfd) == "kvm-3\n"
    assert output_of("sh", "kvm-3", "ls", "/srv", directory=place, capfd=capfd) == ""
    assert output_of("sh", "kvm-3", "cd /srv && pwd", directory=place, capfd=capfd) == "/srv\n"


@pytest.mark.lab
def test_a_lab_takes_its_hosts_from_a_manifest(make_lab: MakeLab, tmp_path: Path):
    place = make_lab([]).directory
    run("down", directory=place)
    manifest = tmp_path / "cluster.yaml"
    manifest.write_text(
        "cluster: demo\nhosts:\n  rack{1..2}: qemu+tls://rack.example/system\n  spare: test:///default\n"
    )
    try:
        started = run("up", "--from", str(manifest), directory=place)
        assert [line.split()[0] for line in started.splitlines()] == ["rack1", "rack2", "spare", "3"]
    finally:
        run("down", directory=place)


def test_hosts_and_from_exclude_each_other(tmp_path: Path):
    done = CliRunner().invoke(app, ["--dir", str(tmp_path), "up", "--hosts", "2", "--from", "cluster.yaml"])
    assert done.exit_code == 2
    assert "exclude each other" in done.output


def test_a_topology_for_an_unknown_host_is_refused(tmp_path: Path):
    with pytest.raises(Rejected, match=r"lab\.unknown-host"):
        run("--dir", str(tmp_path / "lab"), "up", "--hosts", "2", "--topology", "kvm-3=default")
    assert not (tmp_path / "lab").exists()
