"""`cpus.model: baseline`: what all hosts can show on which a vm may run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from lxml import etree

from kvmdecl.baseline import MODELS, baseline, with_baselines
from kvmdecl.diagnostics import Diagnostic, Severity
from kvmdecl.libvirt_xml.declared import declared_domain
from kvmdecl.placement import place
from kvmdecl.pluginhost import load_plugins
from kvmdecl.state import HostSnapshot, HostState, Observation, ObservedDomain, Unreachable
from tests.placement.support import domain, facts
from tests.resolve.support import resolved

WEB = "vms: {web: {cpus: {count: 2, model: baseline}}}\n"
NARROW = "storage: {vms: {path: /srv/vms, hosts: [kvm-1, kvm-2]}}\n" + WEB.replace(
    "{cpus", "{disk: 1GiB, cpus"
)
_HOME = 1
CPU_MAP = Path("/usr/share/libvirt/cpu_map")


def machine(name: str, model: str, guest: ObservedDomain | None = None) -> HostSnapshot:
    return HostSnapshot(name, replace(facts(), cpu_model=model), HostState((guest,) if guest else ()))


def cpus(text: str, *models: str) -> tuple[dict[str, str | None], tuple[Diagnostic, ...], tuple[str, ...]]:
    """The CPU of each vm, what is told, and the vms that are left alone. A host without a model does not answer."""
    cluster = resolved(text)
    seen: dict[str, Observation] = {
        f"kvm-{number}": machine(
            f"kvm-{number}", model, domain(cluster.vms[0].uuid) if number == _HOME else None
        )
        if model
        else Unreachable(f"kvm-{number}", Diagnostic("host.timeout", "silent"))
        for number, model in enumerate(models, 1)
    }
    placed = place(cluster, seen, load_plugins().solver(cluster.solver))
    done, told = with_baselines(placed, seen)
    return {vm.name: vm.spec.cpus.model for vm in done.vms}, told, done.frozen


@pytest.mark.parametrize(
    ("models", "common"),
    [
        ("EPYC-Milan EPYC-Milan", "EPYC-Milan"),
        ("EPYC-Milan EPYC-Rome EPYC-Genoa", "EPYC-Rome"),
        ("Haswell-noTSX-IBRS Skylake-Server-IBRS", "Haswell-noTSX-IBRS"),
        ("Haswell-IBRS Broadwell-noTSX", "Haswell-noTSX"),  # what neither lacks of TSX and of IBRS
        ("Westmere-IBRS SandyBridge", "Westmere"),
        ("IvyBridge-IBRS Haswell-IBRS", "SandyBridge-IBRS"),
        ("Skylake-Server-IBRS EPYC-Rome", "x86-64-v3"),
        ("Icelake-Server EPYC-Genoa", "x86-64-v4"),
        ("Westmere EPYC", "x86-64-v2"),
        ("SapphireRapids GraniteRapids", "x86-64-v4"),  # of the newer one only its level is known
        ("Conroe Opteron_G1", "Opteron_G1"),
        ("FutureLake FutureLake", "FutureLake"),
        ("FutureLake EPYC", None),
        ("Opteron_G3 FutureLake", None),
        ("EPYC ", None),
    ],
)
def test_the_best_cpu_that_all_can_show(models: str, common: str | None):
    hosts = [replace(facts(), cpu_model=model) for model in models.split(" ")]
    assert baseline(hosts) == common
    assert baseline(reversed(hosts)) == common


@pytest.mark.skipif(not CPU_MAP.is_dir(), reason="libvirt's CPU models are not installed")
def test_a_model_has_all_features_of_those_below_it():
    found = {model.get("name"): model for file in CPU_MAP.glob("x86_*.xml") for model in _models(file)}

    def features(name: str | None) -> set[str | None]:
        model = found[name]
        own = {f.get("name") for f in model.iterfind("feature") if f.get("removed") != "yes"}
        return own.union(*(features(part.get("name")) for part in model.iterfind("model")))

    known = {name: below for name, below in MODELS.items() if name in found}
    assert len(known) > 30
    for name, below in known.items():
        for part in below:
            assert features(part) < features(name), (part, name)


def _models(file: Path) -> list[etree._Element]:
    return etree.parse(str(file)).findall("model")


def test_the_hosts_that_have_all_that_a_vm_needs_count_and_no_other():
    intel = ("Haswell-noTSX-IBRS", "Skylake-Server-IBRS")
    assert cpus(WEB, *intel, "EPYC-Rome") == ({"web": "x86-64-v3"}, (), ())
    assert cpus(NARROW, *intel, "EPYC-Rome") == ({"web": "Haswell-noTSX-IBRS"}, (), ())
    bound = WEB.replace("{cpus", "{host: kvm-1, cpus")
    assert cpus(bound, *intel, "EPYC-Rome") == ({"web": "Haswell-noTSX-IBRS"}, (), ())


def test_a_vm_is_left_alone_while_one_of_its_hosts_does_not_answer():
    models, told, frozen = cpus(WEB, "EPYC", "EPYC", "")
    assert (models, frozen) == ({}, ("web",))
    assert [(d.code, d.severity) for d in told] == [("placement.baseline-unknown", Severity.WARNING)]
    assert "kvm-3" in told[0].summary

    assert cpus(NARROW, "EPYC", "EPYC", "") == ({"web": "EPYC"}, (), ())  # it cannot run there


def test_what_is_not_known_is_told_at_the_line_that_asks():
    _, told, frozen = cpus(WEB, "FutureLake", "EPYC", "EPYC")
    assert [(d.code, d.severity) for d in told] == [("placement.no-baseline", Severity.ERROR)]
    assert told[0].at is not None
    assert told[0].cause == "What they have: kvm-1 FutureLake, kvm-2 EPYC, kvm-3 EPYC."
    assert frozen == ()


def test_an_emulated_guest_has_the_emulators_cpu():
    cluster = resolved(WEB.replace("{cpus", "{type: qemu, cpus"))
    hosts: dict[str, Observation] = {f"kvm-{n}": machine(f"kvm-{n}", "EPYC") for n in (1, 2, 3)}
    placed, _ = with_baselines(place(cluster, hosts, load_plugins().solver(cluster.solver)), hosts)
    assert '<cpu mode="maximum"' in declared_domain(placed.vms[0], {})
