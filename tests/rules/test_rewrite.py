"""`kvmdecl set` and `unset`: one value where it is written, and no other byte."""

from __future__ import annotations

from difflib import SequenceMatcher
from pathlib import Path

import pytest

from kvmdecl.cli.main import run
from kvmdecl.diagnostics import Rejected
from kvmdecl.load import written
from kvmdecl.rewrite import rewritten

MANIFEST = """\
apiVersion: kvmdecl/v1 # the first
cluster: edge
hosts: {kvm-1: "qemu:///system"}
storage: {vms: /srv/vms}
networks:
  lan:   {bridge: br0}   # ours
profiles:
  small:
    memory:  1GiB
vms:
  # web servers
  web:
    count: 2
    profile: small
    cpus:
    disk: { size: 20GiB }
    nics:
      - network: lan
        model: virtio   # fast
      - lan
  db: {memory: 4GiB, disk: 40GiB, nics: [lan], clock: utc}

"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "cluster.yaml"
    found.write_text(MANIFEST)
    return found


@pytest.mark.parametrize(
    ("key", "value", "before", "after"),
    [
        ("vms.db.memory", "8GiB", "memory: 4GiB", "memory: 8GiB"),
        ("vms.web.disk.size", "30GiB", "{ size: 20GiB }", "{ size: 30GiB }"),
        ("vms.web.disk", "30GiB", "{ size: 20GiB }", "30GiB"),
        ("vms.web.nics.0.model", "e1000e", "model: virtio   # fast", "model: e1000e   # fast"),
        ("vms.web.nics.1", "{network: lan, mtu: 9000}", "      - lan", "      - {network: lan, mtu: 9000}"),
        ("profiles.small.memory", "2GiB", "memory:  1GiB", "memory:  2GiB"),
        ("vms.web.memory", "3GiB", "      - lan\n", "      - lan\n    memory: 3GiB\n"),
        ("vms.web.cpus", "4", "    cpus:\n", "    cpus: 4\n"),
        ("vms.web.cpus.count", "4", "    cpus:\n", "    cpus: {count: 4}\n"),
        ("vms.db.cpus.count", "4", "clock: utc}", "clock: utc, cpus: 4}"),
        ("vms.db.disk.pool", "vms", "disk: 40GiB", "disk: {size: 40GiB, pool: vms}"),
        ("vms.db.clock", None, ", clock: utc", ""),
        ("vms.web.count", None, "    count: 2\n", ""),
        # lists
        ("vms.web.nics[0].model", "e1000e", "model: virtio   # fast", "model: e1000e   # fast"),
        ("vms.web.nics.0.mtu", "9000", "# fast\n", "# fast\n        mtu: 9000\n"),
        ("vms.web.nics.2", "lan", "      - lan\n", "      - lan\n      - lan\n"),
        ("vms.db.nics.1", "lan", "[lan]", "[lan, lan]"),
        ("vms.db.disks.data.size", "1GiB", "clock: utc}", "clock: utc, disks: {data: {size: 1GiB}}}"),
        ("vms.web.boot.0", "root", "      - lan\n", "      - lan\n    boot: [root]\n"),
        ("vms.db.nics.0", None, "[lan]", "[]"),
        ("vms.web.nics.1", None, "      - lan\n", ""),
        # what has several lines, or is the only one
        (
            "vms.db",
            "{profile: small}",
            "{memory: 4GiB, disk: 40GiB, nics: [lan], clock: utc}",
            "{profile: small}",
        ),
        ("profiles.small", "{memory: 2GiB}", "small:\n    memory:  1GiB\n", "small: {memory: 2GiB}\n"),
        ("profiles.small.memory", None, "small:\n    memory:  1GiB\n", "small: {}\n"),
        # entries and sections that are begun
        ("vms.mail", "{profile: small}", "clock: utc}\n", "clock: utc}\n  mail: {profile: small}\n"),
        ("limits.deletes.total", "3", "clock: utc}\n", "clock: utc}\nlimits: {deletes: {total: 3}}\n"),
        # names with dots
        ('hosts."kvm-1"', "qemu+tls://a/system", '"qemu:///system"', '"qemu+tls://a/system"'),
        (
            "vms.web.description",
            "Shop, and more",
            "      - lan\n",
            '      - lan\n    description: "Shop, and more"\n',
        ),
    ],
)
def test_a_value_is_changed_where_it_is_written(
    path: Path, key: str, value: str | None, before: str, after: str
):
    assert MANIFEST.count(before) == 1
    assert rewritten(path, key, value) == {path: MANIFEST.replace(before, after)}


@pytest.mark.parametrize(
    ("key", "value", "code"),
    [
        ("vms.web.nics.7.model", "virtio", "set.no-place"),
        ("vms.web.nics", "[lan]", "set.no-place"),
        ("vms.web.nics.3", "lan", "set.no-place"),
        ("vms..memory", "8GiB", "set.no-place"),
        ("vms.web-1.memory", "8GiB", "set.unknown-entry"),
        ("vms.wbe.memory", "8GiB", "set.unknown-entry"),
        ("vms.web.clock", None, "set.no-place"),
        ("vms.db.memory", "8GiB # x", "set.bad-value"),
        ("vms.db.memory", "a: b", "set.bad-value"),
        ("vms.db.memory", "8GiB\nvms: {}", "set.bad-value"),
        ("vms.db.memory", "8GiB, nics: []", "set.bad-value"),
        ("vms.db.memory", "", "set.bad-value"),
        ("vms.db.memory", "[lan", "set.bad-value"),
        ("vms.db.memory", "'8GiB", "set.bad-value"),
        ("vms.db.memory", "*same", "set.bad-value"),
    ],
)
def test_what_has_no_one_place_or_value_is_refused(path: Path, key: str, value: str | None, code: str):
    with pytest.raises(Rejected) as rejected:
        rewritten(path, key, value)
    assert rejected.value.diagnostics[0].code == code


def test_each_value_of_the_clusters_can_be_set_to_itself_and_back():
    for file in sorted(Path("clusters").rglob("*.yaml")):
        text = file.read_text()
        for line in text.splitlines():
            key, colon, value = line.strip().partition(": ")
            if colon and not key.startswith(("-", "#")) and line.startswith("    ") and value.isalnum():
                vms = written(file).child("vms")
                for name in vms.node.entries if vms else ():
                    changed = rewritten(file, f"vms.{name}.{key}", value)
                    assert all(_lines(text, after) <= 1 for after in changed.values())


def _lines(before: str, after: str) -> int:
    ops = SequenceMatcher(None, before.split("\n"), after.split("\n"), autojunk=False).get_opcodes()
    return sum(max(op[2] - op[1], op[4] - op[3]) for op in ops if op[0] != "equal")


def test_a_change_is_checked_shown_and_written(path: Path, capsys: pytest.CaptureFixture[str]):
    text = MANIFEST.replace("    cpus:\n", "")
    path.write_text(text)
    assert run(["set", "vms.db.memory", "8GiB", str(path), "--dry-run"]) == 0
    assert "+  db: {memory: 8GiB" in capsys.readouterr().out
    assert path.read_text() == text

    assert run(["set", "vms.db.memory", "8GB", str(path)]) == 1
    assert "error[unit.ambiguous]" in capsys.readouterr().err
    assert path.read_text() == text

    assert run(["set", "vms.db.memory", "8GiB", str(path)]) == 0
    assert run(["unset", "vms.db.clock", str(path)]) == 0
    assert path.read_text() == text.replace("4GiB", "8GiB").replace(", clock: utc", "")
    assert run(["set", "vms.db.memory", "8GiB", str(path)]) == 0
    assert "It says so already." in capsys.readouterr().out
