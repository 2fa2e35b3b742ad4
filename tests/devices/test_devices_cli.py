"""`kvmdecl devices` as a user runs it, offline."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema_rs
import pytest
from lxml import etree

from kvmdecl.cli.main import run
from kvmdecl.pipeline import load_cluster
from kvmdecl.pluginhost import load_plugins
from kvmdecl.snapshot import write_snapshots
from tests.devices.machines import desktop, gpu_server, nic_server, without_iommu
from tests.devices.support import guest, passed, snapshot

ROOT = Path(__file__).parents[2]
SVG = "{http://www.w3.org/2000/svg}"
MANIFEST = """\
apiVersion: kvmdecl/v1
cluster: demo
hosts:
  kvm-{1..4}: {uri: "qemu+tls://{name}.example/system"}
vms:
  train: {host: kvm-1, hostdevs: [{pci: "0000:19:00.0"}, {usb: {vendor: "0529", product: "0001"}}]}
  old: {host: kvm-1}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A manifest and four machines; one guest of the manifest and one of nobody's have a device."""
    monkeypatch.chdir(tmp_path)
    for name in ("KVMDECL_LAB", "KVMDECL_CLUSTER", "CLICOLOR_FORCE"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "cluster.yaml"
    path.write_text(MANIFEST)
    uuid = next(vm.uuid for vm in load_cluster(path, load_plugins()).vms if vm.name == "old")
    mine, other = (
        guest("old", passed("0000:1a:00.0"), active=False, uuid=uuid),
        guest("x", passed("0000:9a:00.0")),
    )
    machines = [nic_server(), desktop(), without_iommu()]
    hosts = [snapshot(f"kvm-{number}", machine) for number, machine in enumerate(machines, 2)]
    write_snapshots(tmp_path / "facts", [snapshot("kvm-1", gpu_server(), domains=(mine, other)), *hosts])
    return tmp_path


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run(["devices", *arguments, "--facts", "facts"]) == 0
    return capsys.readouterr().out


@pytest.mark.usefixtures("folder")
def test_a_tree_says_who_has_what(capsys: pytest.CaptureFixture[str]):
    text = shown(capsys, "kvm-1")
    assert text.startswith(
        "kvm-1  IOMMU on, 27 PCI functions in 25 groups, 1 USB device\n    group  PCI function\n"
    )
    assert (
        """
       20  16:02.0  Intel Corporation PCIe Port
       21    17:00.0  Intel Corporation PEX switch
       22      18:00.0  Intel Corporation PEX switch
  #    30        19:00.0  NVIDIA Corporation GA102GL [A40], vfio-pci, cell 0:
                          train (planned)
       23      18:04.0  Intel Corporation PEX switch
  #    31        1a:00.0  NVIDIA Corporation GA102GL [A40], vfio-pci, cell 0:
                          old (off)
"""
        in text
    )
    assert "9a:00.0  NVIDIA Corporation GA102GL [A40], vfio-pci, cell 1:\n" in text
    assert "guest x, not in the manifest\n" in text
    assert "nvidia-563  7 more can be made\n" in text
    assert f"  +    90          nvidia-563  {'3627463d-b7f0-4fea-b468-f1da537d301b'}\n" in text
    assert "  # 1.4  0529:0001 A maker License dongle: train (planned)\n" in text


@pytest.mark.usefixtures("folder")
def test_virtual_functions_that_are_alike_stand_in_one_line(capsys: pytest.CaptureFixture[str]):
    text = shown(capsys, "kvm-2")
    assert "i40e, cell 0, 8 of 64 virtual functions: ens1f0 has a link\n" in text
    assert "  + 13-20      3b:02.0 to 02.7  8 of Intel Corporation Ethernet Virtual Function\n" in text


@pytest.mark.usefixtures("folder")
def test_without_an_iommu_there_are_no_groups(capsys: pytest.CaptureFixture[str]):
    text = shown(capsys, "kvm-4")
    assert text.startswith("kvm-4  IOMMU off, 17 PCI functions, 1 USB device\n    PCI function\n")
    assert "\n      03:00.0  Intel Corporation I210 Gigabit Network Connection, igb\n" in text


@pytest.mark.usefixtures("folder")
def test_lines_are_no_longer_than_a_screen_is_wide(capsys: pytest.CaptureFixture[str]):
    assert max(map(len, shown(capsys).splitlines())) <= 80


def test_without_a_manifest_guests_are_nobodys(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "cluster.yaml").unlink()
    assert "guest old (off), not in the manifest" in shown(capsys, "kvm-1")


@pytest.mark.usefixtures("folder")
def test_a_path_may_stand_alone(capsys: pytest.CaptureFixture[str]):
    assert shown(capsys, "cluster.yaml") == shown(capsys)


def test_a_host_that_nobody_knows_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert run(["devices", "kvm-l", "--facts", "facts"]) == 1
    error = capsys.readouterr().err
    assert "devices.unknown-host" in error
    assert "did you mean `kvm-" in error
    (folder / "cluster.yaml").unlink()
    assert run(["devices", "kvm-9", "--facts", "facts"]) == 1


def test_a_host_that_was_not_read_ends_it_in_part(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "facts" / "kvm-2.json").unlink()
    assert run(["devices", "--facts", "facts"]) == 3
    assert "kvm-2  not read: " in capsys.readouterr().out


@pytest.mark.usefixtures("folder")
def test_the_json_is_as_its_schema_says(capsys: pytest.CaptureFixture[str]):
    text = shown(capsys, "--format", "json")
    document = json.loads(text)
    schema = json.loads((ROOT / "schemas/devices.v1.json").read_text())
    assert jsonschema_rs.validator_for(schema).is_valid(document)
    assert (document["formatVersion"], document["cluster"], len(document["hosts"])) == ("1.0", "demo", 4)
    assert shown(capsys, "--format", "json") == text


@pytest.mark.parametrize("name", ["devices.svg", "devices.html"])
def test_a_picture_has_each_host_and_each_device_once(
    folder: Path, name: str, capsys: pytest.CaptureFixture[str]
):
    assert shown(capsys, "--out", name) == f"wrote {name}\n"
    root = etree.fromstring((folder / name).read_bytes())
    hosts = [group.get("id") for group in root.iter(f"{SVG}g") if group.get("id")]
    assert hosts == [f"host-kvm-{number}" for number in range(1, 5)]
    tips = [title.text or "" for title in root.iter(f"{SVG}title")]
    assert sum(tip.startswith("19:00.0 NVIDIA Corporation GA102GL [A40]") for tip in tips) == 1
    assert any("PCI Express x16 at 16 of x16 at 16 GT/s" in tip for tip in tips)
    before = (folder / name).read_bytes()
    shown(capsys, "--out", name)
    assert (folder / name).read_bytes() == before


def test_a_picture_of_a_hostile_host_is_still_one(folder: Path, capsys: pytest.CaptureFixture[str]):
    hostile = "</title><script>alert(1)</script>\x1b[2J\u202e"
    machine = nic_server()
    machine.add("0000:05:00.0", "020000", "8086:1521", model=hostile.replace("\x1b", ""), group=99)
    write_snapshots(folder / "facts", [snapshot("kvm-2", machine), snapshot("<script>", nic_server())])
    (folder / "cluster.yaml").unlink()  # without it a host is called as its file
    shown(capsys, "--out", "devices.html")
    assert b"<script" not in (folder / "devices.html").read_bytes()
    assert "\u202e" not in shown(capsys)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    "arguments", [["--out", "devices.png"], ["--out", "devices.svg", "--format", "json"]]
)
def test_a_picture_is_svg_or_html(arguments: list[str], capsys: pytest.CaptureFixture[str]):
    assert run(["devices", "--facts", "facts", *arguments]) == 64
    assert "ends in .svg or .html" in " ".join(capsys.readouterr().err.split())
