"""Acceptance: yaml-language-server, which VS Code and others use, offers what one would write next in the examples."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from kvmdecl.cli.main import run

SERVER = "yaml-language-server@1.25.0"
ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.proof,
    pytest.mark.timeout(600),
    pytest.mark.skipif(shutil.which("npm") is None, reason="no npm here"),
]

# The file, a line of it, what is written below that line (or instead of it, after `=`), and what shall be offered where
# that ends (or at `^`: editors close brackets).
PLACES = [
    ("minimal/cluster.yaml", "cluster: minimal", "ho", "hosts"),
    ("minimal/cluster.yaml", "cluster: minimal", "def", "defaults"),
    ("minimal/cluster.yaml", "cluster: minimal", "pro", "profiles"),
    ("minimal/cluster.yaml", "cluster: minimal", "lim", "limits"),
    ("minimal/cluster.yaml", "cluster: minimal", "roll", "rollout"),
    ("minimal/cluster.yaml", "cluster: minimal", "ha", "ha"),
    ("minimal/cluster.yaml", "    image: debian-13", "    mem", "memory"),
    ("minimal/cluster.yaml", "    image: debian-13", "    ", "watchdog"),
    ("minimal/cluster.yaml", "    image: debian-13", "    coun", "count"),
    ("minimal/cluster.yaml", "    image: debian-13", "    memory: {m^}", "max"),
    ("minimal/cluster.yaml", "    image: debian-13", "    cpus: {count: 2, t^}", "topology"),
    ("minimal/cluster.yaml", "    image: debian-13", "    cpus: {count: 2, topology: {c^}}", "cores"),
    ("minimal/cluster.yaml", "    image: debian-13", "    state: ", "unmanaged"),
    ("minimal/cluster.yaml", "    image: debian-13", "    graphics: ", "vnc"),
    ("minimal/cluster.yaml", "    image: debian-13", "    cloud_init:\n      ", "user_data"),
    ("minimal/cluster.yaml", "    image: debian-13", "    disks:\n      data:\n        ca", "cache"),
    ("minimal/cluster.yaml", "    image: debian-13", "    profile: ", "small"),
    ("minimal/cluster.yaml", "    image: debian-13", "    host: ", "kvm-1"),
    ("minimal/cluster.yaml", "    image: debian-13", "=    image: ", "debian-13"),
    ("minimal/cluster.yaml", "    nics: [lan]", "=    nics:\n      - network: ", "lan"),
    ("minimal/cluster.yaml", "    nics: [lan]", "=    nics:\n      - network: lan\n        mod", "model"),
    ("minimal/cluster.yaml", "    nics: [lan]", "=    nics:\n      - network: lan\n        model: ", "e1000e"),
    ("windows/cluster.yaml", "    os: windows-11", "=    os: ", "windows"),
    ("windows/cluster.yaml", "    memory: 8GiB", "    tp", "tpm"),
    ("windows/cluster.yaml", "    memory: 8GiB", "    firmware:\n      ", "secure_boot"),
    ("windows/cluster.yaml", "    format: raw", "    sha", "sha256"),
    ("edge/hosts.yaml", "    mode: nat", "=    mode: ", "isolated"),
    ("edge/hosts.yaml", "    mode: nat", "    mt", "mtu"),
    ("edge/hosts.yaml", "storage:", "  fast:\n    ", "path"),
    ("edge/hosts.yaml", "defaults:", "  ", "vms"),
    ("edge/guests.yaml", "    extends: server", "    dis", "disks"),
    ("edge/guests.yaml", "    for: {site: [north, south]}", "    apart: ", "rack"),
    ("edge/guests.yaml", "    host: kvm-3", "    dev", "devices"),
    ("demo/cluster.yaml", "    watchdog: reset", "=    watchdog: ", "poweroff"),
]  # fmt: skip


@dataclass
class Editor:
    """The editor's end of the Language Server Protocol: one request at a time."""

    process: subprocess.Popen[bytes]
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def tell(self, method: str, parameters: dict[str, Any]) -> None:
        self._send({"method": method, "params": parameters})

    def ask(self, method: str, parameters: dict[str, Any]) -> Any:
        number = next(self.numbers)
        self._send({"id": number, "method": method, "params": parameters})
        while True:
            message = self._receive()
            if "method" not in message and message.get("id") == number:
                return message.get("result")
            if "method" in message and "id" in message:  # it asks us: for settings, to register something
                items = message["params"].get("items", [])
                self._send({"id": message["id"], "result": [{} for _ in items] or None})

    def _send(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self.process.stdin is not None
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self.process.stdin.flush()

    def _receive(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        length = 0
        while line := self.process.stdout.readline().strip():
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        found: dict[str, Any] = json.loads(self.process.stdout.read(length))
        return found


@pytest.fixture(scope="module")
def editor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Editor]:
    folder = os.environ.get("KVMDECL_YAML_LANGUAGE_SERVER") or str(tmp_path_factory.mktemp("npm"))
    program = Path(folder, "node_modules/yaml-language-server/bin/yaml-language-server")
    if not program.exists():
        subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--prefix", folder, SERVER], check=True)
    with subprocess.Popen(
        ["node", str(program), "--stdio"], stdin=-1, stdout=-1, stderr=subprocess.DEVNULL
    ) as process:
        editor = Editor(process)
        snippets = {"textDocument": {"completion": {"completionItem": {"snippetSupport": True}}}}
        editor.ask("initialize", {"processId": None, "rootUri": None, "capabilities": snippets})
        editor.tell("initialized", {})
        yaml = {"completion": True, "validate": True, "hover": True, "schemaStore": {"enable": False}}
        editor.tell("workspace/didChangeConfiguration", {"settings": {"yaml": yaml}})
        yield editor
        process.kill()


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A schema with the names of a manifest."""
    folder = tmp_path_factory.mktemp("named")
    text = (ROOT / "clusters/minimal/cluster.yaml").read_text()
    (folder / "cluster.yaml").write_text(text + "profiles: {small: {memory: 1GiB}}\n")
    schema = folder / "cluster.v1.json"
    assert run(["schema", "--with-names", str(folder), "--output", str(schema)]) == 0
    return schema


@pytest.mark.parametrize(("name", "line", "typed", "wanted"), PLACES)
def test_what_one_would_write_next_is_offered(
    editor: Editor, named: Path, name: str, line: str, typed: str, wanted: str
):
    text = (ROOT / "clusters" / name).read_text().replace("../../schemas/cluster.v1.json", str(named))
    before, found, after = text.partition(f"\n{line}\n")
    assert found
    typed, _, closing = typed.partition("^")
    head = f"{before}\n{typed[1:]}" if typed.startswith("=") else f"{before}\n{line}\n{typed}"
    uri = (ROOT / "clusters" / name).as_uri()
    document = {
        "uri": uri,
        "languageId": "yaml",
        "version": next(editor.numbers),
        "text": f"{head}{closing}\n{after}",
    }
    editor.tell("textDocument/didOpen", {"textDocument": document})
    place = {"line": head.count("\n"), "character": len(head) - head.rfind("\n") - 1}
    answer = editor.ask("textDocument/completion", {"textDocument": {"uri": uri}, "position": place})
    editor.tell("textDocument/didClose", {"textDocument": {"uri": uri}})
    items = answer["items"] if isinstance(answer, dict) else answer

    assert wanted in [item["label"] for item in items]
