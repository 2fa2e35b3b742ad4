"""Two revisions of a manifest without a host: what is as it was is no change, and what is not has its impact."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvmdecl.compare import compare
from kvmdecl.images import Care
from kvmdecl.pipeline import load_cluster
from kvmdecl.plan import Impact, Plan
from kvmdecl.pluginhost import load_plugins
from kvmdecl.scenario import example_host
from kvmdecl.state import Kind

ROOT = Path(__file__).parents[2]
REFUSED = {"lock-outdated"}
"""Stories of manifests that no plan comes of."""
SCENARIOS = sorted(
    path.parent for path in ROOT.glob("tests/scenarios/*/cluster.yaml") if path.parent.name not in REFUSED
)
CERTAIN = {"dedicated-cpus", "lock-followed"}
"""Those whose guests ask for certain CPUs."""

BEFORE = """\
apiVersion: kvmdecl/v1
cluster: edge
hosts: {kvm-1: "qemu:///system", kvm-2: "qemu+tls://kvm-2.example/system"}
storage: {vms: /srv/vms, all: {path: /srv/all, shared: true}}
networks: {lan: {bridge: br0}, inner: {mode: nat, subnet: 10.1.0.0/24}}
filters: {clean: {rules: [{action: drop, direction: in, protocol: arp}]}}
secrets: {disk: {usage: volume, value: {env: KVMDECL_SECRET_DISK}}}
vms:
  web: {count: 2, cpus: 2, memory: 2GiB, disk: {size: 20GiB, pool: vms}, nics: [lan, {network: inner, filter: clean}]}
  db: {host: kvm-1, memory: 4GiB, disk: {size: 40GiB, pool: all, encryption: {secret: disk}}, state: stopped}
"""


def plan(tmp_path: Path, before: str | None, after: str) -> Plan:
    plugins, found = load_plugins(), []
    for text in before, after:
        (tmp_path / "cluster.yaml").write_text(text or "")
        found.append(load_cluster(tmp_path / "cluster.yaml", plugins, Care.IGNORE) if text else None)
    old, new = found
    assert new is not None
    return compare(old, new, {}, plugins)


@pytest.mark.parametrize("folder", [*SCENARIOS, *sorted(ROOT.glob("clusters/*"))], ids=lambda path: path.name)
def test_what_is_as_it_was_is_no_change(folder: Path):
    manifest = folder / "cluster.yaml" if folder.parent.name == "scenarios" else folder
    plugins = load_plugins()
    cluster = load_cluster(manifest, plugins, Care.IGNORE)
    known = cluster.hosts if folder.name in CERTAIN else ()

    found = compare(cluster, cluster, {host.name: example_host(host.name) for host in known}, plugins)

    assert (found.steps, found.blocked) == ((), ())
    assert found.unchanged > 0


def test_every_kind_of_object_is_held(tmp_path: Path):
    found = plan(tmp_path, BEFORE, BEFORE)
    assert (found.steps, found.blocked, found.unchanged) == ((), (), 15)


@pytest.mark.parametrize(
    ("this", "that", "told"),
    [
        ("cpus: 2", "cpus: 4", [("domain/web-1", Impact.NEXT_BOOT), ("domain/web-2", Impact.NEXT_BOOT)]),
        ("memory: 4GiB", "memory: 8GiB", [("domain/db", Impact.NONE)]),
        (
            "size: 20GiB",
            "size: 30GiB",
            [("volume/vms/web-1.root.qcow2", Impact.LIVE), ("volume/vms/web-2.root.qcow2", Impact.LIVE)],
        ),
        (", state: stopped", "", [("domain/db", Impact.NONE)]),
        (
            "count: 2",
            "count: 3",
            [("volume/vms/web-3.root.qcow2", Impact.NONE), ("domain/web-3", Impact.NONE)],
        ),
        ("protocol: arp", "protocol: ip", [("nwfilter/clean", Impact.LIVE)] * 2),
    ],
)
def test_an_edit_has_its_impact(tmp_path: Path, this: str, that: str, told: list[tuple[str, Impact]]):
    found = plan(tmp_path, BEFORE, BEFORE.replace(this, that))
    assert sorted((f"{s.address.kind}/{s.address.name}", s.impact) for s in found.steps) == sorted(told)
    assert not found.blocked


def test_a_shrunk_disk_is_refused(tmp_path: Path):
    found = plan(tmp_path, BEFORE, BEFORE.replace("40GiB", "30GiB"))
    assert [each.code for each in found.blocked] == ["plan.volume-shrink"]


def test_a_new_cluster_is_made_whole(tmp_path: Path):
    assert len(plan(tmp_path, None, BEFORE).steps) == 15


def test_a_guest_that_leaves_the_manifest_is_only_noted(tmp_path: Path):
    found = plan(tmp_path, BEFORE, BEFORE[: BEFORE.index("  db:")])
    assert found.steps == ()
    assert "plan.orphan" in {each.code for each in found.notes}


def test_an_image_that_is_not_read_has_a_name_without_its_digest(tmp_path: Path):
    after = BEFORE.replace("vms:\n", "images: {tiny: {source: tiny.img, format: raw}}\nvms:\n", 1).replace(
        "memory: 4GiB, disk: {", "memory: 4GiB, disk: {image: tiny, "
    )
    after = after.replace(", encryption: {secret: disk}", "")
    made = {
        step.address.name for step in plan(tmp_path, None, after).steps if step.address.kind is Kind.VOLUME
    }
    assert "all/tiny.raw" in made
