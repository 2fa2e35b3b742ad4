"""`kvmdecl map` as a user runs it, offline."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema_rs
import pytest
from lxml import etree

from kvmdecl.cli.main import run
from kvmdecl.demand import shape_of
from kvmdecl.lock import lock_text
from kvmdecl.pipeline import load_cluster
from kvmdecl.pluginhost import load_plugins
from kvmdecl.snapshot import write_snapshots
from kvmdecl.solver import Place
from tests.hostmap.support import TRAIN, TRAIN_PLACE, host, stranger

ROOT = Path(__file__).parents[2]
MANIFEST = f"""\
apiVersion: kvmdecl/v1
cluster: demo
hosts:
  kvm-{{1..2}}: {{uri: "qemu+tls://{{name}}.example/system", dedicated: "1-3,9-11,5-7,13-15"}}
vms:
  {TRAIN}
  web: {{count: 2}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A manifest whose lock file says where its vms go, and what its hosts are."""
    monkeypatch.chdir(tmp_path)
    for name in ("KVMDECL_LAB", "KVMDECL_CLUSTER", "CLICOLOR_FORCE"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "cluster.yaml"
    path.write_text(MANIFEST)
    cluster = load_cluster(path, load_plugins())
    places = {"train": TRAIN_PLACE, "web-1": Place("kvm-1", ()), "web-2": Place("kvm-2", ())}
    shapes = {vm.name: shape_of(vm) for vm in cluster.vms}
    (tmp_path / "cluster.lock.yaml").write_text(lock_text("demo", places, shapes))
    write_snapshots(tmp_path / "facts", [host("kvm-1", stranger("old", "3,11")), host("kvm-2")])
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_the_lock_file_is_followed(capsys: pytest.CaptureFixture[str]):
    assert run(["map", "--facts", "facts"]) == 0
    shown = capsys.readouterr().out
    assert "\n    0-3   =aab\n    8-11  =aab\n" in shown
    assert "train  4 CPUs, 4GiB: vCPUs 0-3 on 1,9,2,10" in shown
    assert "old  2 CPUs, 2GiB, not in the manifest: pinned on 3,11" in shown


@pytest.mark.usefixtures("folder")
def test_chosen_hosts_only(capsys: pytest.CaptureFixture[str]):
    assert run(["map", "--facts", "facts", "--host", "kvm-2"]) == 0
    assert [line for line in capsys.readouterr().out.splitlines() if line.startswith("kvm-")] == [
        "kvm-2  16 CPUs; 48GiB"
    ]


@pytest.mark.usefixtures("folder")
def test_a_host_that_the_manifest_does_not_have_is_refused(capsys: pytest.CaptureFixture[str]):
    assert run(["map", "--facts", "facts", "--host", "kvm-l"]) == 1
    error = capsys.readouterr().err
    assert "map.unknown-host" in error
    assert "did you mean `kvm-" in error


def test_a_host_that_was_not_read_ends_it_in_part(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "facts" / "kvm-2.json").unlink()
    assert run(["map", "--facts", "facts"]) == 3
    assert "kvm-2  not read: " in capsys.readouterr().out


@pytest.mark.parametrize("name", ["map.svg", "map.html"])
def test_a_picture_is_one_file(folder: Path, name: str, capsys: pytest.CaptureFixture[str]):
    assert run(["map", "--facts", "facts", "--out", name]) == 0
    assert capsys.readouterr().out == f"wrote {name}\n"
    drawn = etree.fromstring((folder / name).read_bytes())
    shown = sorted(group.get("data-guest") for group in drawn.iter() if group.get("data-guest"))
    assert shown == ["domain/old", "vm/train", "vm/web-1", "vm/web-2"]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("more", [["--out", "map.png"], ["--out", "map.svg", "--format", "json"]])
def test_what_is_no_picture_is_refused(more: list[str], capsys: pytest.CaptureFixture[str]):
    assert run(["map", "--facts", "facts", *more]) == 64
    assert "--out draws a picture" in capsys.readouterr().err


@pytest.mark.usefixtures("folder")
def test_the_json_satisfies_its_published_schema(capsys: pytest.CaptureFixture[str]):
    assert run(["map", "--facts", "facts", "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    jsonschema_rs.validator_for(json.loads((ROOT / "schemas/map.v1.json").read_text())).validate(document)
    assert (document["formatVersion"], document["complete"]) == ("1.0", True)
    core = document["hosts"][0]["cells"][0]["cores"][1]
    assert [cpu["seats"][0] for cpu in core] == [
        {"guest": "vm/train", "role": "vcpu", "number": 0},
        {"guest": "vm/train", "role": "vcpu", "number": 1},
    ]
