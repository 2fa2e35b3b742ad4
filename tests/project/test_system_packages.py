"""What `make` installs on a fresh machine: the script, with the package manager played by the test."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts/system-packages.sh"


@dataclass(frozen=True)
class Machine:
    """A machine whose programs note down how they were called."""

    tools: Path

    def has(self, name: str, script: str) -> None:
        path = self.tools / name
        path.write_text(f'#!/bin/sh\n{script}\n[ -n "$quiet" ] || echo "{name} $*" >>"{self.log}"\n')
        path.chmod(0o755)

    @property
    def log(self) -> Path:
        return self.tools.parent / "log"

    def run(self, what: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return self.call(SCRIPT, what, **variables)

    def call(self, script: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": str(self.tools), "SYSTEM_PYTHON": "", **variables}
        return subprocess.run(["/bin/sh", script, *words], env=environment, capture_output=True, text=True)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A Debian with a Python that needs nothing, run by root; `$installed` packages are there."""
    (tmp_path / "bin").mkdir()
    machine = Machine(tmp_path / "bin")
    for tool in ("cat", "dirname"):
        (machine.tools / tool).symlink_to(str(shutil.which(tool)))
    machine.has(
        "dpkg-query",
        'quiet=1; for name; do :; done; case " $installed " in *" $name "*) echo installed;; esac',
    )
    machine.has("id", "quiet=1; echo ${uid:-0}")
    machine.has("python3", "quiet=1; cat >/dev/null")
    for tool in ("apt-get", "tee", "chmod", "rm", "env"):
        machine.has(tool, "")
    machine.has("sudo", 'quiet=1; echo "sudo $1" >>"$log"')
    return machine


def wanted(machine: Machine, what: str) -> list[str]:
    said = machine.run(what).stdout
    return said.removeprefix("Installing with apt-get: ").split()


def test_what_is_installed_is_said_and_is_what_is_needed(machine: Machine):
    demo, test, bench = (wanted(machine, what) for what in ("demo", "test", "bench"))

    assert {"libvirt-daemon-system", "qemu-system-x86", "libvirt-dev", "pkg-config", "gcc"} <= set(demo)
    assert set(test) - set(demo) == {
        "openssl",
        "openssh-client",
        "openssh-server",
        "swtpm",
        "swtpm-tools",
        "qemu-system-arm",
        "pacemaker",
        "pacemaker-cli-utils",
        "corosync",
        "pcs",
        "resource-agents",
        "fence-agents",
    }
    assert set(bench) - set(demo) == {"hyperfine"}
    assert set(wanted(machine, "pages")) - set(test) == {"graphviz", "jq"}
    assert set(wanted(machine, "acceptance")) - set(test) == {"mmdebstrap", "e2fsprogs"}


def test_where_all_is_there_nothing_is_said_or_done(machine: Machine):
    everything = " ".join(wanted(machine, "test"))
    machine.log.unlink()

    answer = machine.run("test", installed=everything)

    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")
    assert not machine.log.exists()


def test_only_what_is_missing_is_installed_after_one_update(machine: Machine):
    everything = " ".join(wanted(machine, "bench")).replace("hyperfine", "")
    machine.log.unlink()

    assert machine.run("bench", installed=everything).stdout == "Installing with apt-get: hyperfine\n"

    update, install = [line for line in machine.log.read_text().splitlines() if "apt-get" in line]
    assert update == "apt-get update --quiet=2"
    assert install.startswith("env DEBIAN_FRONTEND=noninteractive apt-get install ")
    assert install.endswith(" --yes --no-install-recommends hyperfine")


def test_an_ordinary_user_is_asked_by_sudo(machine: Machine):
    answer = machine.run("demo", uid="1000", log=str(machine.log))

    assert answer.returncode == 0, answer.stderr
    called = machine.log.read_text().splitlines()
    assert "sudo apt-get" in called
    assert all(line.startswith("sudo ") for line in called)


def test_a_python_without_headers_gets_them(machine: Machine):
    machine.has("python3", "quiet=1; case $1 in -c) exit 0;; *) exit 1;; esac")

    assert {"python3-venv", "python3-dev"} <= set(wanted(machine, "demo"))


def test_the_distributions_python_comes_first_unless_another_is_named(machine: Machine):
    find = SCRIPT.with_name("find-python.sh")
    for name in ("python3", "system-python", "my-python"):
        machine.has(name, "quiet=1")

    assert machine.call(find).stdout == "python3\n"
    assert machine.call(find, SYSTEM_PYTHON="system-python").stdout == "system-python\n"
    assert machine.call(find, SYSTEM_PYTHON="system-python", PYTHON="my-python").stdout == "my-python\n"


def test_elsewhere_the_packages_are_named_and_nothing_fails(machine: Machine):
    (machine.tools / "apt-get").unlink()

    answer = machine.run("demo")

    assert answer.returncode == 0
    assert "libvirt-dev" in answer.stdout


def test_an_unknown_purpose_is_wrong_usage(machine: Machine):
    assert machine.run("everything").returncode == 64
