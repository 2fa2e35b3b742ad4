"""Golden scenarios: a folder that tells one story, run without touching a host, compared as whole outputs.

my-story/
  cluster.yaml          the manifest; its first comment is the story in a sentence
  observed/HOST.json    what the hosts hold, as `kvmdecl facts --out observed` writes it (optional: fresh hosts)
  expected/             plan.txt, diagnostics.txt, desired/HOST/NAME.xml, and SECTION/FILE as plugins write them out:
                        exactly the files that the story gives
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kvmdecl.as_applied import plain_cell
from kvmdecl.cluster import ResolvedCluster
from kvmdecl.diagnostics import Diagnostic, Rejected
from kvmdecl.facts import Cell, GuestType, HostFacts, Machine, PagePool
from kvmdecl.names import GIB, KIB, MIB, derive_uuid
from kvmdecl.pipeline import compile_cluster, facts_of, load_cluster
from kvmdecl.planner import make_plan
from kvmdecl.pluginhost import Plugins, load_plugins
from kvmdecl.settings import HUGE_PAGES, KSM, huge_pages
from kvmdecl.snapshot import load_snapshots
from kvmdecl.source import line_reader
from kvmdecl.state import (
    DesiredDomain,
    DesiredNetwork,
    DesiredPool,
    HostSnapshot,
    HostState,
    Observation,
    ObservedSettings,
    Unreachable,
)
from kvmdecl.views.diagnostics_text import render
from kvmdecl.views.plan_text import render_plan


def example_host(name: str) -> HostSnapshot:
    """A host with nothing on it: two NUMA cells of eight threads and 32 GiB each, KVM, q35 and pc, a bridge `br0`."""
    machines = (Machine("pc", "pc-i440fx-9.2", 255), Machine("pc-i440fx-9.2", "pc-i440fx-9.2", 255),
                Machine("pc-q35-9.2", "pc-q35-9.2", 288), Machine("q35", "pc-q35-9.2", 288))  # fmt: skip
    emulator = "/usr/bin/qemu-system-x86_64"
    facts = HostFacts(
        uuid=derive_uuid("example", "host", name),
        arch="x86_64",
        cpu_model="EPYC-Rome",
        cpu_features=(),
        memory=64 * GIB,
        cells=tuple(_example_cell(number) for number in (0, 1)),
        iommu=True,
        guests=tuple(GuestType("x86_64", type_, emulator, machines) for type_ in ("kvm", "qemu")),
        domain_support=(),
        devices=(),
        libvirt=11_003_000,
        qemu=9_002_000,
        interfaces=("br0", "eth0", "eth1", "lo"),
    )
    pages = ObservedSettings(HUGE_PAGES, tuple(sorted(huge_pages(facts.cells).items())))
    ksm = ObservedSettings(KSM, (("merge_across_nodes", 1), ("pages_to_scan", 100), ("sleep_millisecs", 20)))
    return HostSnapshot(name, facts, HostState(settings=(pages, ksm)))


def _example_cell(number: int) -> Cell:
    pages = (PagePool(4 * KIB, 8 * MIB), PagePool(2 * MIB, 0), PagePool(GIB, 0))
    return plain_cell(number, 2, 8, 32 * GIB, pages)


def run_scenario(folder: Path, plugins: Plugins | None = None) -> dict[str, str]:
    """Tell the story in `folder`: relative file name -> text, as `expected/` should hold them.

    Args:
        folder: of the scenario. For a host that `observed/` does not have, `example_host` stands in.
        plugins: to run with; those that are installed if not given.
    """
    try:
        return _tell(folder, plugins or load_plugins())
    except Rejected as rejected:
        return _diagnostics(folder, rejected.diagnostics)


def _tell(folder: Path, plugins: Plugins) -> dict[str, str]:
    cluster = load_cluster(folder / "cluster.yaml", plugins)
    observations = _observe(folder / "observed", cluster)
    compiled = compile_cluster(cluster, observations, plugins)
    plan = make_plan(cluster, compiled.desired, observations)
    definitions = {
        f"desired/{resource.address.host}/{resource.address.name}.xml": resource.xml
        for resource in compiled.desired.resources
        if isinstance(resource, DesiredPool | DesiredNetwork | DesiredDomain)
    }
    artifacts = plugins.emit(compiled.placed, facts_of(observations))
    text = render_plan(plan, color=False, next_command="kvmdecl apply")
    return {
        "plan.txt": _relative(text, folder),
        **definitions,
        **{f"{artifact.section}/{artifact.path}": artifact.text for artifact in artifacts},
        **_diagnostics(folder, (*plan.blocked, *compiled.warnings, *plan.notes)),
    }


def _observe(folder: Path, cluster: ResolvedCluster) -> Mapping[str, Observation]:
    """A file `HOST.unreachable` stands for a host that does not answer; its text is the reason."""
    recorded: dict[str, Observation] = dict(load_snapshots(folder)) if folder.is_dir() else {}
    for host in cluster.hosts:
        silent = folder / f"{host.name}.unreachable"
        if silent.exists():
            recorded[host.name] = Unreachable(
                host.name, Diagnostic("host.unreachable", silent.read_text().strip())
            )
        elif host.name not in recorded:
            recorded[host.name] = example_host(host.name)
    return recorded


def _diagnostics(folder: Path, diagnostics: tuple[Diagnostic, ...]) -> dict[str, str]:
    if not diagnostics:
        return {}
    return {"diagnostics.txt": _relative(render(diagnostics, color=False, read_line=line_reader()), folder)}


def _relative(text: str, folder: Path) -> str:
    """The output as it is when the program runs inside of the folder."""
    return text.replace(f"{folder}/", "")
