"""`cpus.model: baseline`: the CPU that all hosts can show on which a vm may run, so that it can move among them.

It is found anew by each plan, from the models that the hosts' capabilities tell (which a read-only connection may ask
for), and is stored nowhere: the same hosts give the same CPU.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from kvmdecl.candidates import Candidates
from kvmdecl.diagnostics import Diagnostic, Severity
from kvmdecl.manifest.cpus import BASELINE
from kvmdecl.offers import levels
from kvmdecl.state import Baseline, HostSnapshot
from kvmdecl.text import safe_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from kvmdecl.cluster import PlacedCluster, ResolvedVm
    from kvmdecl.facts import HostFacts
    from kvmdecl.state import Observation


def with_baselines(
    placed: PlacedCluster, observations: Mapping[str, Observation]
) -> tuple[PlacedCluster, tuple[Diagnostic, ...]]:
    """Give each vm of `model: baseline` its CPU, and tell what stands in the way.

    A vm of which a host is not known is taken out, and is in `frozen`: what it shall have cannot be known either.
    """
    wanting = [vm for vm in placed.vms if vm.spec.cpus.model == BASELINE and vm.state != "absent"]
    if not wanting:
        return placed, ()
    finder = _Finder(placed, observations)
    found = {vm.name: finder.find(vm) for vm in wanting}
    vms = tuple(changed for vm in placed.vms if (changed := found.get(vm.name, vm)) is not None)
    frozen = tuple(sorted(name for name, vm in found.items() if vm is None))
    return replace(placed, vms=vms, frozen=frozen, baselines=tuple(finder.baselines)), tuple(finder.told)


class _Finder:
    """The hosts' CPUs, and what came of asking for vms. Vms with the same hosts are answered from memory."""

    def __init__(self, placed: PlacedCluster, observations: Mapping[str, Observation]) -> None:
        cluster = placed.cluster
        self.told: list[Diagnostic] = []
        self.baselines: list[Baseline] = []
        self._candidates = Candidates([host.name for host in cluster.hosts], cluster.pools, cluster.networks)
        self._bound = {vm.name: vm.host for vm in cluster.vms}
        self._facts = {
            name: seen.facts for name, seen in observations.items() if isinstance(seen, HostSnapshot)
        }
        self._known: dict[tuple[str, ...], str | None] = {}

    def find(self, vm: ResolvedVm) -> ResolvedVm | None:
        """The vm with its CPU; None if that cannot be known now."""
        if vm.type != "kvm":
            return _with_model(vm, None)  # an emulator has the same CPU everywhere
        bound = self._bound.get(vm.name)
        hosts = (bound,) if bound is not None else self._candidates.of(vm)
        silent = [host for host in hosts if host not in self._facts]
        if silent:
            self.told.append(_unknown(vm, silent))
            return None
        if hosts not in self._known:
            self._known[hosts] = baseline(self._facts[host] for host in hosts)
        model = self._known[hosts]
        if model is None or vm.arch != "x86_64":
            self.told.append(_nothing_in_common(vm, {host: self._facts[host].cpu_model for host in hosts}))
            return vm
        self.baselines.append(Baseline(vm.name, model, hosts))
        return _with_model(vm, model)


def _with_model(vm: ResolvedVm, model: str | None) -> ResolvedVm:
    cpus = vm.spec.cpus.model_copy(update={"model": model})
    return replace(vm, spec=vm.spec.model_copy(update={"cpus": cpus}))


def _unknown(vm: ResolvedVm, silent: list[str]) -> Diagnostic:
    return Diagnostic(
        "placement.baseline-unknown",
        f"vm {vm.name} is left alone: its CPU is one that {', '.join(silent)} can show, too",
        vm.origin.find("cpus.model"),
        "That host did not answer, so what all hosts have in common is not known.",
        "bring the host back, or name a model or level",
        severity=Severity.WARNING,
        subject=f"vm/{vm.name}",
    )


def _nothing_in_common(vm: ResolvedVm, models: Mapping[str, str]) -> Diagnostic:
    theirs = (f"{host} {safe_text(model) or 'one that it does not tell'}" for host, model in models.items())
    return Diagnostic(
        "placement.no-baseline",
        f"no CPU is known that all hosts of {vm.name} can show",
        vm.origin.find("cpus.model"),
        f"What they have: {', '.join(theirs)}.",
        "name a model or level, or narrow where it may run (`host`, or the `hosts` of its pools and networks)",
    )


def baseline(hosts: Iterable[HostFacts]) -> str | None:
    """The best named model, or level of x86-64, that all hosts can show; None if none is known.

    A host can show what its libvirt calls its CPU, and everything that this has all features of. Hosts of different
    vendors get a level, if there is one: a model of the one would be old for the other.
    """
    there = list(hosts)
    models = {host.cpu_model for host in there}
    if len(models) == 1 and "" not in models:
        return models.pop()
    common = frozenset.intersection(*(_below(model) for model in models))
    named = max(common, key=_AGE.__getitem__, default=None)
    shared = frozenset.intersection(*(frozenset(_levels(host)) for host in there))
    level = max(shared, default=None)
    one_vendor = len({_vendor(model) for model in models}) == 1
    return (named or level) if one_vendor else (level or named)


def _levels(host: HostFacts) -> Iterator[str]:
    """The levels that a host's model is known to have; the oldest is Nehalem's."""
    models = (host.cpu_model, *_below(host.cpu_model))
    found = levels((*models, "Nehalem"), host.cpu_features)
    yield from (level for level in found if level != "x86-64-v2" or "Nehalem" in models or len(found) > 1)


def _vendor(model: str) -> str:
    return next((vendor for prefix, vendor in _VENDORS.items() if model.startswith(prefix)), "Intel")


_VENDORS = {"EPYC": "AMD", "Opteron": "AMD", "Dhyana": "Hygon"}


@cache
def _below(model: str) -> frozenset[str]:
    """The known models whose features this one has all of, with itself; none of one that is not known."""
    if model not in MODELS:
        return frozenset()
    return frozenset({model}).union(*(_below(part) for part in MODELS[model]))


MODELS: Mapping[str, tuple[str, ...]] = {
    "Opteron_G1": (),
    "Conroe": ("Opteron_G1",),
    "Penryn": ("Conroe",),
    "Opteron_G2": ("Opteron_G1",),
    "Nehalem": ("Penryn",),
    "Nehalem-IBRS": ("Nehalem",),
    "Westmere": ("Nehalem",),
    "Opteron_G3": ("Opteron_G2",),
    "Westmere-IBRS": ("Nehalem-IBRS", "Westmere"),
    "SandyBridge": ("Westmere",),
    "SandyBridge-IBRS": ("Westmere-IBRS", "SandyBridge"),
    "Opteron_G4": ("Opteron_G3", "Westmere"),
    "Opteron_G5": ("Opteron_G4",),
    "IvyBridge": ("SandyBridge",),
    "IvyBridge-IBRS": ("SandyBridge-IBRS", "IvyBridge"),
    "Haswell-noTSX": ("SandyBridge",),
    "Haswell-noTSX-IBRS": ("SandyBridge-IBRS", "Haswell-noTSX"),
    "Haswell": ("Haswell-noTSX",),
    "Haswell-IBRS": ("Haswell", "Haswell-noTSX-IBRS"),
    "Broadwell-noTSX": ("Haswell-noTSX",),
    "Broadwell-noTSX-IBRS": ("Broadwell-noTSX", "Haswell-noTSX-IBRS"),
    "Broadwell": ("Haswell", "Broadwell-noTSX"),
    "Broadwell-IBRS": ("Broadwell", "Broadwell-noTSX-IBRS", "Haswell-IBRS"),
    "Skylake-Client-noTSX-IBRS": ("Broadwell-noTSX-IBRS", "IvyBridge-IBRS"),
    "Skylake-Client": ("Broadwell", "IvyBridge"),
    "Skylake-Client-IBRS": ("Broadwell-IBRS", "Skylake-Client", "Skylake-Client-noTSX-IBRS"),
    "Dhyana": ("Nehalem", "Opteron_G3"),
    "EPYC": ("Opteron_G3", "Westmere"),
    "EPYC-IBPB": ("EPYC",),
    "Snowridge": ("Westmere-IBRS",),
    "Skylake-Server-noTSX-IBRS": ("Skylake-Client-noTSX-IBRS",),
    "Skylake-Server": ("Skylake-Client",),
    "Skylake-Server-IBRS": ("Skylake-Client-IBRS", "Skylake-Server-noTSX-IBRS", "Skylake-Server"),
    "Cascadelake-Server-noTSX": ("Skylake-Server-noTSX-IBRS",),
    "Cascadelake-Server": ("Skylake-Server-IBRS", "Cascadelake-Server-noTSX"),
    "EPYC-Rome": ("EPYC-IBPB",),
    "EPYC-Milan": ("EPYC-Rome",),
    "EPYC-Genoa": ("EPYC-Milan",),
    "Cooperlake": ("Broadwell-IBRS", "IvyBridge-IBRS"),
    "Icelake-Client-noTSX": ("Skylake-Client-noTSX-IBRS",),
    "Icelake-Client": ("Skylake-Client-IBRS", "Icelake-Client-noTSX"),
    "Icelake-Server-noTSX": ("Icelake-Client-noTSX", "Cascadelake-Server-noTSX"),
    "Icelake-Server": ("Cascadelake-Server", "Icelake-Client", "Icelake-Server-noTSX"),
    "SapphireRapids": ("Broadwell-IBRS", "IvyBridge-IBRS"),
}
"""Named models of libvirt, from old to new, each with the nearest ones that it has all features of.

By the features that libvirt's `cpu_map` gives them, whoever made them. A test holds the table to the host's own
`cpu_map`.
"""
_AGE = {model: number for number, model in enumerate(MODELS)}
