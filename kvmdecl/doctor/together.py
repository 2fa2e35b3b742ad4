"""What is wrong with hosts only beside each other."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from kvmdecl.answers import Answer
from kvmdecl.doctor.by_libvirt import dotted
from kvmdecl.offers import levels
from kvmdecl.text import quoted, safe_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from kvmdecl.doctor.patient import Patient
    from kvmdecl.facts import HostFacts


def together(patients: Iterable[Patient]) -> Iterator[Answer]:
    """Versions, CPUs and identities of all hosts that were read."""
    facts = {patient.host.name: patient.facts for patient in patients}
    if len(facts) < 2:
        return
    yield from _skew("libvirt-skew", "libvirt", {name: each.libvirt for name, each in facts.items()})
    yield from _skew("qemu-skew", "QEMU", {name: each.qemu for name, each in facts.items()})
    yield from _cpus({name: each for name, each in facts.items() if each.cpu_model})
    yield from _identities(facts)


def _cpus(facts: Mapping[str, HostFacts]) -> Iterator[Answer]:
    """What a guest may see on one host and not on another: the model that libvirt calls a CPU, and its features."""
    models = sorted({each.cpu_model for each in facts.values()})
    lacking = _lacking(facts) if len(models) == 1 else {}
    if len(models) < 2 and not lacking:
        if models:
            yield Answer("", "cpu-baseline", "ok", f"all hosts have CPUs of {safe_text(models[0])}")
        return
    told = f"hosts have CPUs of {', '.join(map(quoted, models))}"
    if lacking:
        told = "hosts have the same CPUs but for features: " + "; ".join(
            f"{host} lacks {safe_text(', '.join(names[:4]))}{' and more' * (len(names) > 4)}"
            for host, names in list(lacking.items())[:4]
        )
    level = _common_level(facts.values())
    fix = "say `cpus: {model: baseline}` for guests that may move" + (f"; all have {level}" if level else "")
    yield Answer("", "cpu-baseline", "advice", told, fix)


def _lacking(facts: Mapping[str, HostFacts]) -> dict[str, list[str]]:
    """Features of other hosts that a host lacks, as after an update of microcode or firmware of some."""
    every = {feature for each in facts.values() for feature in each.cpu_features}
    lacking = {host: sorted(every.difference(each.cpu_features)) for host, each in facts.items()}
    return {host: names for host, names in sorted(lacking.items()) if names}


def _identities(facts: Mapping[str, HostFacts]) -> Iterator[Answer]:
    twice = [
        uuid
        for uuid, count in Counter(each.uuid for each in facts.values() if each.uuid).items()
        if count > 1
    ]
    for uuid in twice:
        names = sorted(name for name, each in facts.items() if each.uuid == uuid)
        told = f"{' and '.join(names)} say that they are the same machine ({safe_text(uuid)})"
        yield Answer(
            "", "identity", "failure", told, "give each a `host_uuid` of its own in libvirtd.conf, or one URI"
        )


def _skew(name: str, title: str, versions: Mapping[str, int]) -> Iterator[Answer]:
    known = {host: version // 1_000_000 for host, version in versions.items() if version}
    if len(set(known.values())) < 2:
        return
    told = ", ".join(f"{host} has {title} {dotted(versions[host])}" for host in sorted(known))
    fix = "bring them to one version: guests do not migrate to an older one"
    yield Answer("", name, "advice", told, fix)


def _common_level(facts: Iterable[HostFacts]) -> str:
    """The highest level of x86-64 that all hosts have."""
    sets = [
        set(levels([model for known in each.domain_support for model in known.cpu_models], each.cpu_features))
        for each in facts
    ]
    common = set.intersection(*sets) if sets else set()
    return max(common, default="")
