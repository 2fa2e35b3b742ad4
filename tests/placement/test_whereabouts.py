"""`kvmdecl explain vm/NAME`: where a vm is, why, and what stands against other hosts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kvmdecl.cli.planning import find_vm
from kvmdecl.diagnostics import Rejected
from kvmdecl.lock import in_words
from kvmdecl.snapshot import write_snapshots
from kvmdecl.state import HostSnapshot, HostState
from kvmdecl.views.whereabouts import render_whereabouts
from tests.placement.numa import two_cells
from tests.placement.support import domain
from tests.resolve.support import resolved

MANIFEST = """\
apiVersion: kvmdecl/v1
cluster: demo
hosts:
  kvm-{1..4}:
    uri: "qemu+tcp://{name}/system"
    dedicated: "1-3,9-11,5-7,13-15"
  kvm-5: {uri: "qemu+tcp://e/system", maintenance: true}
networks: {lan: {bridge: br0, hosts: [kvm-1, kvm-2, kvm-3, kvm-5]}}
vms:
  here: {nics: [lan], memory: 1GiB}
  named: {host: kvm-2, memory: 1GiB}
  big: {cpus: {count: 6, policy: dedicated}, memory: 1GiB, nics: [lan]}
  full: {count: 2, cpus: {count: 6, policy: dedicated}, host: kvm-3, memory: 1GiB, apart: {group: g, most: 2}}
  one: {cpus: {policy: dedicated}, memory: 1GiB, apart: {group: h}}
  two: {cpus: {policy: dedicated}, memory: 1GiB, apart: {group: h}, host: kvm-2}
  wish: {count: 2, host: kvm-4, memory: 1GiB, apart: {soft: true}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest, and the facts of its hosts: `here` exists on kvm-1."""
    folder = tmp_path_factory.mktemp("cluster")
    (folder / "cluster.yaml").write_text(MANIFEST)
    here = next(vm for vm in resolved(MANIFEST, head="").vms if vm.name == "here")
    xml = f"<domain><name>here</name><uuid>{here.uuid}</uuid><memory>1048576</memory></domain>"
    there = replace(domain(here.uuid), name="here", xml=xml, live_xml=xml)
    states = {1: HostState(domains=(there,))}
    hosts = [
        HostSnapshot(f"kvm-{n}", replace(two_cells(), uuid=str(n)), states.get(n, HostState()))
        for n in range(1, 6)
    ]
    write_snapshots(folder / "facts", hosts)
    return folder


def explained(folder: Path, vm: str) -> list[str]:
    found = find_vm(vm, folder / "cluster.yaml", folder / "facts")
    return render_whereabouts(vm, in_words(found.place), found.why, found.others).splitlines()


@pytest.mark.parametrize(
    ("vm", "told"),
    [
        (
            "here",
            [
                "here is on kvm-1: it exists there and stays",
                "    kvm-2  could have it",
                "    kvm-3  could have it",
                "    kvm-4  no network lan",
                "    kvm-5  is in maintenance",
            ],
        ),
        ("named", ["named is on kvm-2: the manifest says `host: kvm-2`"]),
        ("big", ["big is on kvm-"]),
        ("one", ["one is on kvm-"]),
        (
            "wish-1",
            [
                (
                    "wish-1 is on kvm-4: the manifest says `host: kvm-4`; not as wished: wish-1, wish-2 on kvm-4, "
                    "which are to be apart, at most 1 together"
                )
            ],
        ),
    ],
)
def test_a_vm_is_explained(folder: Path, vm: str, told: list[str]) -> None:
    lines = explained(folder, vm)
    assert [line[: len(start)] for line, start in zip(lines, told, strict=False)] == told


def test_what_stands_against_a_host_is_told(folder: Path) -> None:
    big, one = (
        dict(line.strip().split("  ", 1) for line in explained(folder, vm)[1:]) for vm in ("big", "one")
    )
    assert big["kvm-3"].startswith("cell 0: 0 of 6 dedicated CPUs free, 6 wanted")
    assert big["kvm-4"] == "no network lan"
    assert one["kvm-2"] == "one, two on kvm-2, which are to be apart, at most 1 together"
    assert "could have it" in one.values()


def test_a_vm_that_may_be_on_a_silent_host_is_nowhere_that_is_known(tmp_path: Path) -> None:
    (tmp_path / "cluster.yaml").write_text(MANIFEST)
    write_snapshots(tmp_path / "facts", [HostSnapshot("kvm-2", two_cells(), HostState())])
    told = "big is nowhere that is known: kvm-1, kvm-3, kvm-4, kvm-5 did not answer and may have it"
    assert explained(tmp_path, "big") == [told]


@pytest.mark.parametrize(
    ("vm", "hint"),
    [("on", "did you mean `one`?"), ("full", "it has a `count`: name full-1, full-2")],
)
def test_a_vm_that_there_is_not_is_answered_with_the_nearest(folder: Path, vm: str, hint: str) -> None:
    with pytest.raises(Rejected) as rejected:
        explained(folder, vm)
    (found,) = rejected.value.diagnostics
    assert (found.code, found.hint) == ("explain.unknown-vm", hint)
