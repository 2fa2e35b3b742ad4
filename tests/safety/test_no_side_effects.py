"""Whoever writes a manifest runs nothing, reaches nobody and writes nothing on the machine that reads it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kvmdecl.snapshot import load_snapshots, write_snapshots
from tests.safety.support import BEFORE

# Runs `kvmdecl ARGS` for each list of arguments. Tells, as JSON, what each did beyond reading and printing.
WATCHED = """
import io, json, os, sys
seen = []
REACHING = ("subprocess.", "os.exec", "os.posix_spawn", "os.spawn", "os.system", "os.fork", "socket.connect",
            "socket.bind", "socket.getaddrinfo", "socket.sendto", "pty.spawn", "ctypes.dlopen", "os.remove",
            "os.rename", "os.symlink", "os.chmod", "shutil.", "os.kill")
def hook(event, args):
    if event.startswith(REACHING):
        seen.append([event, repr(args)[:200]])
    elif event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        seen.append([event, repr(args)[:200]])
    elif event == "open" and "canary" in str(args[0]):
        seen.append(["read", repr(args)[:200]])
from kvmdecl.cli.main import run
sys.dont_write_bytecode = True
sys.addaudithook(hook)
answers = []
for arguments in json.loads(sys.argv[1]):
    sys.stdout = sys.stderr = output = io.TextIOWrapper(io.BytesIO(), "utf-8")
    seen.clear()
    try:
        code = int(run(arguments))
    finally:
        output.flush()
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
    answers.append([code, list(seen), output.buffer.getvalue().decode()])
sys.stdout.write(json.dumps(answers))
"""

MANIFEST = (BEFORE / "cluster.yaml").read_text()
URI = '"qemu+tls://kvm-1.example/system"'
URIS = [
    "qemu+ssh://kvm-1/system?command=/tmp/canary", "qemu+ext://kvm-1/system?command=/tmp/canary",
    "qemu+ssh://kvm-1/system?COMMAND=/tmp/canary", "qemu+ssh://kvm-1/system?c%6fmmand=/tmp/canary",
    "qemu+ssh://kvm-1/system?netcat=/tmp/canary", "qemu+ssh://-oProxyCommand=canary/system",
    "qemu+ssh://-oProxyCommand=canary@kvm-1/system", "qemu+ssh://kvm-1%20-oProxyCommand=canary/system",
    "qemu+ssh://a%0ab/system", "qemu+unix:///system?socket=/tmp/../tmp/canary", "qemu+tls://kvm-1/system?no_verify=1",
    "qemu+ssh://root:canary@kvm-1/system", "esx://canary/", "file:///tmp/canary", "test:///../canary",
    "qemu+ssh://kvm-1/system?keyfile=$(canary)", "qemu+ssh://kvm-1/system#canary", "qemu+tls://[::1%25canary]/system",
]  # fmt: skip
IMAGES = [
    "../canary", "/proc/self/mem", "/dev/zero", "fifo", "loop", "canary-link/../../etc", "|canary", "$(canary)",
    "https://canary.example/a.img", "-canary", "tiny.img\\0", "/dev/stdin",
]  # fmt: skip
TEXTS = ["../canary", "/etc/canary", "canary-link", "fifo", "loop", "/dev/zero", "sub/../../canary"]
NAMES = [
    '"../canary"',
    '"$(canary)"',
    '"-canary"',
    '"a\\e[2J"',
    '"a\\u202eb"',
    '"{{7*7}}"',
    '!!python/name:os.system ""',
]


def hostile() -> dict[str, str]:
    """Manifests, by what is wrong with them."""
    found = {f"uri {uri}": MANIFEST.replace(URI, json.dumps(uri)) for uri in URIS}
    for source in IMAGES:
        for digest in ("", ", sha256: " + "0" * 64):
            image = f'images:\n  tiny: {{source: "{source}", format: raw{digest}}}\nvms:'
            found[f"image {source}{digest[:8]}"] = (
                MANIFEST[: MANIFEST.index("images:")] + image + MANIFEST.split("vms:\n")[-1].join(["\n", ""])
            )
    for text in TEXTS:
        found[f"text {text}"] = MANIFEST + f'    cloud_init: {{user_data_file: "{text}"}}\n'
    for name in NAMES:
        found[f"name {name}"] = MANIFEST.replace("  db:\n", f"  {name}:\n")
    return found


HOSTILE = hostile()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with traps, and facts of its hosts."""
    home = tmp_path_factory.mktemp("traps")
    folder = home / "cluster"
    folder.mkdir()
    (home / "canary").write_text("#cloud-config\n# a secret of this machine\n")
    (folder / "canary-link").symlink_to(home / "canary")
    (folder / "loop").symlink_to("loop")
    os.mkfifo(folder / "fifo")
    write_snapshots(folder / "facts", load_snapshots(BEFORE / "observed").values())
    return folder


def watch(folder: Path, *commands: tuple[str, ...]) -> list[tuple[int, list[list[str]], str]]:
    """Run commands: for each its exit code, what it did, and what it printed."""
    env = {"PATH": "/nonexistent", "HOME": str(folder), "COLUMNS": "100", "LANG": "C.UTF-8"}
    ended = subprocess.run(
        [sys.executable, "-c", WATCHED, json.dumps(commands)], cwd=folder, env=env, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return [(code, done, output) for code, done, output in json.loads(ended.stdout)]


def test_the_watch_sees_what_is_done(folder: Path):
    """A control: without it the other tests could not fail."""
    shutil.copyfile(BEFORE / "cluster.yaml", folder / "cluster.yaml")
    ((_, done, _),) = watch(folder, ("plan", "cluster.yaml", "--facts", "facts", "--out", "plan.json"))
    assert "open" in {event for event, _ in done}
    (folder / "plan.json").unlink()


def unexpected(what: str, done: list[list[str]], folder: Path) -> list[list[str]]:
    """What was done, without what an image may cause: it is read wherever it lies, and its digest is remembered."""
    if not what.startswith("image "):
        return done
    cache = f"{folder}/.cache/kvmdecl/"
    return [[event, args] for event, args in done if event != "read" and cache not in args]


@pytest.mark.parametrize(
    "command", [("validate",), ("plan", "--facts", "facts"), ("show", "db")], ids=lambda command: command[0]
)
def test_a_hostile_manifest_runs_nothing_reaches_nobody_and_writes_nothing(
    command: tuple[str, ...], folder: Path
):
    calls = []
    for number, text in enumerate(HOSTILE.values()):
        name = f"case-{number}.yaml"
        (folder / name).write_text(text)
        calls.append((*command, name))

    for what, (code, done, output) in zip(HOSTILE, watch(folder, *calls), strict=True):
        assert unexpected(what, done, folder) == [], f"{what}: {command}"
        assert "Traceback" not in output, f"{what}: {output}"
        assert "a secret of this machine" not in output, what
        assert not any(char in output for char in "\x1b\u202e"), what
        assert code in {0, 1, 3}, f"{what}: {code} {output}"
