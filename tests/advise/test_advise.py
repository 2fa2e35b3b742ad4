"""What is proposed for a guest: rules find nothing after it, nothing else changes, and hosts have what it takes."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import jsonschema_rs
import pytest

from kvmdecl.advise import advise
from kvmdecl.diagnostics import Rejected
from kvmdecl.excerpt import Excerpt
from kvmdecl.images import Care
from kvmdecl.pipeline import load_cluster
from kvmdecl.pluginhost import load_plugins
from kvmdecl.proposals import Advice
from kvmdecl.rules import judge, site_of
from kvmdecl.state import HostSnapshot, HostState
from kvmdecl.views.advice import advice_schema, render_advice, render_advice_json, render_patch
from tests.placement.numa import two_cells
from tests.program import kvmdecl

PLUGINS = load_plugins()
MANIFEST = """\
apiVersion: kvmdecl/v1
cluster: demo
hosts:
  kvm-1: {uri: "qemu+tls://kvm-1.example/system", dedicated: "2-7", huge_pages: {2MiB: 8192}}
  kvm-2: {uri: "qemu+tls://kvm-2.example/system"}
networks: {lan: {bridge: br0}}
storage: {vms: /srv/vms}
images:
  debian-13: {source: debian-13.qcow2, sha256: "ZEROS"}
  virtio-win: {source: virtio-win.iso, format: raw, sha256: "ONES"}
profiles:
  small: {image: debian-13, disk: 20GiB, nics: [lan]}   # of many
vms:
  web:                   # the front
    count: 3
    profile: small
    nics: [lan, lan]     # two ways out
    cpus: 8
  db:
    # keeps everything
    profile: small
    memory: 8GiB         # six of them for buffers
    disks: {data: 100GiB}
    snapshots: {keep: 7}
  net: {cpus: 4, memory: {size: 4GiB, max: 8GiB}, disks: {data: 1GiB}, nics: [lan]}  # in the middle
  train:
    memory: 8GiB
    devices: [{pci: {vendor: 10de}}]  # one of them
    disks:
      data: 10GiB
  desk:
    cpus: 4
    firmware: {type: uefi, secure_boot: true}
    tpm: emulator
    disks: {data: {size: 10GiB, bus: sata}}
    nics:
    - lan  # the only one
  seat: {}
  quiet: {host: kvm-2}
""".replace("ZEROS", "0" * 64).replace("ONES", "1" * 64)
ASKED = (
    ("web", "web"), ("web-2", "web"), ("db", "database"), ("net", "latency"), ("train", "gpu"), ("desk", "windows"),
    ("desk", "vdi"), ("seat", "vdi"),
)  # fmt: skip
LOUD = "rules: {workloads: {%s: %s}}\n"


def _written(folder: Path, text: str = MANIFEST) -> Path:
    path = folder / "cluster.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(("vm", "workload"), ASKED)
def test_afterwards_the_rules_of_the_workload_find_nothing_and_nothing_else_changed(
    vm: str, workload: str, tmp_path: Path
) -> None:
    path = _written(tmp_path)
    advice = advise(path, vm, workload, PLUGINS)
    assert advice.made
    assert advice.left == ()
    before = load_cluster(path, PLUGINS, Care.IGNORE)
    path.write_text(advice.after)
    after = load_cluster(path, PLUGINS, Care.IGNORE)
    others = {each.name: each for each in after.vms if each.name not in advice.vms}
    assert others == {each.name: each for each in before.vms if each.name not in advice.vms}
    assert len(before.vms) == len(after.vms)
    for line in MANIFEST.splitlines():
        comment = line.partition("#")[2]
        assert not comment or f"#{comment}" in advice.after
    assert advise(path, vm, workload, PLUGINS).made == ()
    held = "".join(LOUD % (name, workload) for name in advice.vms[:1])
    path.write_text(held + advice.after)
    found = judge(PLUGINS.rules(), site_of(load_cluster(path, PLUGINS, Care.IGNORE)))
    assert [each.code for each in found if each.subject == f"vm/{advice.vms[0]}"] == []


def test_what_a_profile_lends_as_a_list_is_left_and_the_profile_stays_as_it_is(tmp_path: Path) -> None:
    path = _written(tmp_path, MANIFEST.replace("    nics: [lan, lan]     # two ways out\n", ""))
    advice = advise(path, "web", "web", PLUGINS)
    assert [(left.rule.code, left.why.partition(":")[0]) for left in advice.left] == [
        ("network.one-queue", "something else than this entry says it, such as a profile")
    ]
    assert "small: {image: debian-13, disk: 20GiB, nics: [lan]}   # of many" in advice.after


def test_the_patch_is_one_that_git_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = _written(Path())
    advice = advise(path, "db", "database", PLUGINS)
    subprocess.run(["git", "apply", "-p0"], input=render_advice(advice), text=True, check=True)
    assert path.read_text() == advice.after


def test_a_patch_of_a_file_without_a_last_line_end_says_so(tmp_path: Path) -> None:
    advice = advise(
        _written(tmp_path, MANIFEST.replace("  quiet: {host: kvm-2}\n", "  quiet: {host: kvm-2}").rstrip()),
        "quiet",
        "database",
        PLUGINS,
    )
    assert render_patch(advice).count("\\ No newline at end of file") == 2


def test_a_name_that_no_vm_has_is_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(Rejected) as rejected:
        advise(_written(tmp_path), "quite", "web", PLUGINS)
    (found,) = rejected.value.diagnostics
    assert (found.code, found.hint) == ("advise.unknown-vm", "did you mean `quiet`?")


@pytest.mark.parametrize("many", [(), ("more.yaml",)])
@pytest.mark.parametrize("style", ["block", "flow", "anchor", "last"])
def test_an_entry_among_others_is_changed_as_if_it_were_alone(
    many: tuple[str, ...], style: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = MANIFEST.partition("profiles:")[0]
    disks = "disks: {data: 1GiB}"
    entries = {
        "block": f"vms:\n  a: {{}}\n\n  # ours\n  db:\n    memory: 8GiB   # six\n    {disks}\n  z:\n    memory: 1GiB\n",
        "flow": f"vms: {{a: {{}}, db: {{memory: 8GiB, {disks}}}, z: {{}}}}  # all\nlimits: {{}}\n",
        "anchor": f"vms:\n  a: &a {{memory: 8GiB, {disks}}}\n  db: *a\n",
        "last": f"vms:\n  a: {{}}\n  db:\n    {disks}\n    memory: 8GiB",
    }
    (tmp_path / "base.yaml").write_text(head)
    (tmp_path / "vms.yaml").write_text(entries[style])
    for name in many:
        (tmp_path / name).write_text("vms:\n  others: {count: 2}\n")
    advice = advise(tmp_path, "db", "database", PLUGINS)
    monkeypatch.setattr("kvmdecl.advise.excerpt", lambda roots, section, file, name: Excerpt(file, {}))
    assert advice == advise(tmp_path, "db", "database", PLUGINS), "as when each change is tried on all of it"
    assert advice.before == entries[style]
    assert bool(advice.made) == (style != "anchor")
    load_cluster(tmp_path, PLUGINS, Care.IGNORE, {tmp_path / "vms.yaml": advice.after})


# -- with hosts --------------------------------------------------------------------------------------------------

_VM = """\
apiVersion: kvmdecl/v1
cluster: demo
hosts: {kvm-1: {uri: "qemu+tls://kvm-1.example/system"%s}}
vms:
  db: {%s}
"""


def _on_two_cells(folder: Path, host: str, vm: str, workload: str) -> Advice:
    """Two cells of eight CPUs without huge pages."""
    cells = tuple(replace(cell, pages=cell.pages[:1]) for cell in two_cells().cells)
    seen = {"kvm-1": HostSnapshot("kvm-1", replace(two_cells(), cells=cells), HostState())}
    return advise(_written(folder, _VM % (host, vm)), "db", workload, PLUGINS, seen)


def _changes(advice: Advice) -> set[str]:
    return {f"{change.key}={change.value}" for proposal in advice.made for change in proposal.changes}


def _left(advice: Advice) -> dict[str, str]:
    return {left.rule.code: left.why for left in advice.left}


def test_without_hosts_it_says_what_it_could_not_know(tmp_path: Path) -> None:
    advice = advise(_written(tmp_path, _VM % ("", "memory: 2GiB")), "db", "database", PLUGINS)
    assert [rule.code for rule in advice.unknown] == ["workload.one-cell"]
    assert "not known without hosts" in render_advice(advice)


def test_a_guest_that_fits_into_a_cell_of_its_host_is_bound_to_one(tmp_path: Path) -> None:
    advice = _on_two_cells(tmp_path, "", "cpus: 4, memory: 2GiB", "database")
    assert "numa={bind: true}" in _changes(advice)
    assert advice.unknown == ()


def test_a_guest_that_is_wider_than_a_cell_is_given_two(tmp_path: Path) -> None:
    advice = _on_two_cells(tmp_path, "", "cpus: 12, memory: 2GiB", "database")
    assert "numa={bind: true, cells: [{}, {}]}" in _changes(advice)


def test_pages_that_no_host_has_are_not_proposed_but_what_to_do_first(tmp_path: Path) -> None:
    advice = _on_two_cells(tmp_path, "", "memory: 4GiB", "database")
    assert not any("pages" in change for change in _changes(advice))
    assert "`huge_pages: {2MiB: 2048}` of one first" in _left(advice)["workload.huge-pages"]


def test_what_would_leave_a_guest_without_a_place_is_not_proposed(tmp_path: Path) -> None:
    advice = _on_two_cells(tmp_path, ", dedicated: '1-3,9-11'", "cpus: 6, memory: 2GiB", "latency")
    assert "cpus.policy=dedicated" in _changes(advice)
    taken = "cpus: 6, memory: 2GiB}\n  old: {host: kvm-1, cpus: {count: 6, policy: dedicated}, memory: 1GiB"
    advice = _on_two_cells(tmp_path, ", dedicated: '1-3,9-11'", taken, "latency")
    assert "cpus.policy=dedicated" not in _changes(advice)
    assert _left(advice)["workload.dedicated-cpus"].startswith("it cannot be so: ")


def test_which_cpus_a_host_could_set_aside_is_said_in_whole_cores_without_that_of_cpu_0(
    tmp_path: Path,
) -> None:
    why = _left(_on_two_cells(tmp_path, "", "cpus: 4, memory: 2GiB", "latency"))["workload.dedicated-cpus"]
    assert why == 'no host sets that many CPUs aside: say `dedicated: "6,7,14,15"` of kvm-1 first'


# -- the command -------------------------------------------------------------------------------------------------


def test_json_keeps_to_its_schema_and_holds_the_patch(tmp_path: Path) -> None:
    advice = advise(_written(tmp_path), "db", "database", PLUGINS)
    document = json.loads(render_advice_json(advice))
    jsonschema_rs.validator_for(advice_schema()).validate(document)
    assert document["patch"] == render_patch(advice)
    assert document["proposals"][0]["source"]


def test_the_command_shows_and_writes_only_when_it_is_told_to(tmp_path: Path) -> None:
    path = _written(tmp_path)
    ask = ("advise", "db", str(path), "--workload", "database")
    where = {"cwd": tmp_path, "env": dict(os.environ)}
    shown = kvmdecl(*ask, **where)
    assert path.read_text() == MANIFEST
    written = kvmdecl(*ask, "--write", **where)
    assert written.stdout == shown.stdout
    assert path.read_text() != MANIFEST
    assert "nothing to propose" in kvmdecl(*ask, **where).stdout
