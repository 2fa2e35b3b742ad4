"""The program as a user runs it, against real libvirtd daemons."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import libvirt
import pytest

from kvmdecl.lab import Lab
from kvmdecl.lab.guest import tiny_image
from tests.program import kvmdecl

HOSTS = ("kvm-1", "kvm-2", "kvm-3")


@dataclass(frozen=True)
class Answer:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def plan(self) -> Any:
        """Its output as a JSON plan."""
        return json.loads(self.out)


@dataclass
class Story:
    """A manifest in a folder of its own, and the lab that stands in for its hosts."""

    folder: Path
    lab: Lab

    def write(self, text: str) -> Path:
        """Write the manifest."""
        path = self.folder / "cluster.yaml"
        path.write_text(text)
        return path

    def edit(self, before: str, after: str) -> None:
        """Replace a text of the manifest that stands in it once."""
        path = self.folder / "cluster.yaml"
        text = path.read_text()
        assert text.count(before) == 1, f"{before!r} stands {text.count(before)} times in the manifest"
        path.write_text(text.replace(before, after))

    def environment(self, *, rehearse: bool) -> dict[str, str]:
        """What the program is told by its surroundings; it works on the lab if that is a rehearsal."""
        env = {**os.environ, "NO_COLOR": "1", "COLUMNS": "120", "HOME": str(self.folder)}
        env.pop("KVMDECL_LAB", None)
        return env | ({"KVMDECL_LAB": str(self.lab.directory)} if rehearse else {})

    def start(self, *args: str, rehearse: bool = True, prefix: Sequence[str] = ()) -> subprocess.Popen[str]:
        """Begin `kvmdecl ARGS` in the manifest's folder."""
        command = [*prefix, sys.executable, "-m", "kvmdecl", *args]
        return subprocess.Popen(
            command, cwd=self.folder, env=self.environment(rehearse=rehearse), text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(
        self, *args: str, rehearse: bool = True, prefix: Sequence[str] = (), timeout: float = 100
    ) -> Answer:
        """Run `kvmdecl ARGS` to its end; no traceback is ever acceptable."""
        if not prefix:
            env = self.environment(rehearse=rehearse)
            done = kvmdecl(*args, cwd=self.folder, env=env, timeout=timeout)
            assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
            return Answer(done.returncode, done.stdout, done.stderr)
        process = self.start(*args, rehearse=rehearse, prefix=prefix)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        assert "Traceback" not in out + err, out + err
        return Answer(process.returncode, out, err)

    def ok(self, *args: str, **options: Any) -> Answer:
        """Run a command that must end with 0."""
        answer = self.run(*args, **options)
        assert answer.code == 0, f"exit {answer.code}\n{answer.out}\n{answer.err}"
        return answer

    def consents(self, *addresses: str) -> list[str]:
        """Options that consent to deletions, in the plan as it is now."""
        digest = self.run("plan", "--format", "json").plan["digest"]
        return [part for address in addresses for part in ("--allow-delete", f"{address}@{digest}")]

    def git(self, *words: str) -> None:
        """Run git in the manifest's folder."""
        who = [f"GIT_{role}_{what}" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")]
        env = self.environment(rehearse=False) | dict.fromkeys(who, "a@example")
        subprocess.run(["git", *words], cwd=self.folder, env=env, check=True)

    def connect(self, host: str) -> Connection:
        """A connection to a lab host, to look at it without kvmdecl."""
        return Connection(self.lab.hosts[host].uri())


class Connection:
    """A libvirt connection that is closed at the end of a with block."""

    def __init__(self, uri: str) -> None:
        self.uri = uri

    def __enter__(self) -> libvirt.virConnect:
        self.connection = libvirt.open(self.uri)
        return self.connection

    def __exit__(self, *_: object) -> None:
        self.connection.close()


@pytest.fixture
def story(clean_lab: Lab, tmp_path: Path) -> Story:
    """A story on the session's lab of three hosts, which is empty when it begins."""
    tiny_image(tmp_path / "tiny.img")
    return Story(tmp_path, clean_lab)


@pytest.fixture
def own_story(make_lab: Callable[..., Lab], tmp_path: Path) -> Story:
    """A story that may break its lab."""
    tiny_image(tmp_path / "tiny.img")
    return Story(tmp_path, make_lab(HOSTS))


def find_vm(story: Story, vm: str) -> str:
    """Name of the lab host that has a domain; it must be exactly one."""
    found = []
    for host in HOSTS:
        with story.connect(host) as connection:
            found += [host for domain in connection.listAllDomains() if domain.name() == vm]
    assert len(found) == 1, f"{vm} is on {found}"
    return found[0]


def qemu_pid(story: Story, host: str, vm: str) -> int:
    """Pid of the guest's QEMU, as the host's own PID namespace counts."""
    folder = story.lab.hosts[host].folder
    return int((folder / "run" / "libvirt" / "qemu" / f"{vm}.pid").read_text())


def sha256(path: Path) -> str:
    """Digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
