"""Hosts to place on, made of nothing but what a test says."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema_rs

from kvmdecl.diagnostics import Diagnostic
from kvmdecl.facts import Cell, DomainSupport, GuestType, HostCpu, HostFacts, Machine
from kvmdecl.names import GIB
from kvmdecl.state import HostSnapshot, HostState, ObservedDomain, Unreachable

MACHINES = (Machine("pc-q35-9.2", "pc-q35-9.2", 288), Machine("q35", "pc-q35-9.2", 288))


def facts(
    *,
    memory: int = 64 * GIB,
    cpus: int = 16,
    types: tuple[str, ...] = ("kvm", "qemu"),
    bridges: tuple[str, ...] = ("br0",),
    support: tuple[DomainSupport, ...] = (),
) -> HostFacts:
    threads = tuple(HostCpu(number, 0, 0, number, (number,)) for number in range(cpus))
    return HostFacts(
        uuid="",
        arch="x86_64",
        cpu_model="EPYC",
        cpu_features=(),
        memory=memory,
        cells=(Cell(0, memory, threads, (), ()),),
        iommu=False,
        guests=tuple(GuestType("x86_64", type_, "/usr/bin/qemu", MACHINES) for type_ in types),
        domain_support=support,
        devices=(),
        libvirt=11_000_000,
        qemu=9_002_000,
        interfaces=bridges,
    )


def host(name: str, *domains: ObservedDomain, memory: int = 64 * GIB, cpus: int = 16) -> HostSnapshot:
    return HostSnapshot(name, facts(memory=memory, cpus=cpus), HostState(domains=domains))


def hosts(**by_name: HostSnapshot) -> dict[str, HostSnapshot]:
    """kvm-1 to kvm-3, empty but for those that are given as `kvm_1=host(...)`."""
    given = {name.replace("_", "-"): snapshot for name, snapshot in by_name.items()}
    return {name: given.get(name) or host(name) for name in ("kvm-1", "kvm-2", "kvm-3")}


def domain(uuid: str, *, memory: int = GIB, cpus: int = 1, active: bool = True) -> ObservedDomain:
    xml = f"<domain><memory unit='KiB'>{memory // 1024}</memory><vcpu>{cpus}</vcpu></domain>"
    return ObservedDomain(
        name="guest",
        uuid=uuid,
        xml=xml,
        live_xml=xml if active else None,
        active=active,
        persistent=True,
        autostart=False,
        managed_save=False,
    )


def silent(name: str) -> Unreachable:
    return Unreachable(name, Diagnostic("host.unreachable", f"{name} does not answer"))


def published(name: str) -> jsonschema_rs.Draft202012Validator:
    """The schema of that name, as it stands in the repository."""
    folder = Path(__file__).parents[2] / "schemas"
    return jsonschema_rs.Draft202012Validator(json.loads((folder / f"{name}.v1.json").read_text()))
