"""What is wrong with hosts before anything is planned for them. Pure: readings in, one line for each question out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kvmdecl.answers import GROUP, Answer
from kvmdecl.doctor import by_libvirt, by_programs
from kvmdecl.doctor.patient import Patient
from kvmdecl.doctor.together import together
from kvmdecl.hosts.errors import part_of
from kvmdecl.inside import NO_WAY, Inside, Unseen
from kvmdecl.state import HostSnapshot, Unreachable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kvmdecl.cluster import ResolvedCluster, ResolvedHost
    from kvmdecl.inside import Certificate
    from kvmdecl.state import Observation
    from kvmdecl.waivers import Waiver

_OF_THE_MACHINE = frozenset({"confinement", "contention", "io-wait", "pressure", "reserve", "thp"})
"""What hosts of a lab have from the one machine that they all are on: its kernel, its memory and how busy it is."""


def examine(
    cluster: ResolvedCluster,
    observations: Mapping[str, Observation],
    inside: Mapping[str, Inside | Unseen] = {},
    certificates: Mapping[str, Certificate] = {},
    *,
    now: float = 0.0,
    is_lab: bool = False,
) -> tuple[Answer, ...]:
    """Every question about every host of a cluster that was read, and about all of them together.

    Args:
        cluster: what is wanted of the hosts.
        observations: what libvirt told of them.
        inside: what programs on them told, or why none was asked (`NO_WAY` for a host that is not there).
        certificates: that hosts show, by host, and this machine's own under an empty name.
        now: seconds since 1970.
        is_lab: a lab stands in for the hosts.
    """
    found: list[Answer] = []
    read: dict[str, Patient] = {}
    for host in sorted(cluster.hosts, key=lambda host: host.name):
        seen = observations.get(host.name)
        if isinstance(seen, Unreachable):
            found.append(_unreached(host, seen))
        elif isinstance(seen, HostSnapshot):
            vms = tuple(vm for vm in cluster.vms if vm.state != "absent" and vm.host in {None, host.name})
            told = inside.get(host.name, NO_WAY)
            patient = Patient(host, seen.facts, seen.state, cluster, vms, told, now, is_lab)
            read[host.name] = patient
            answers = [answer for question in by_libvirt.QUESTIONS for answer in question(patient)]
            answers += by_programs.answers(patient, certificates.get(host.name))
            found += map(_in_a_lab, answers) if is_lab else answers
    return (*found, *together(read.values()), *by_programs.own_certificate(certificates.get(""), now))


def with_choice(cluster: ResolvedCluster, answers: Iterable[Answer]) -> tuple[Answer, ...]:
    """The answers without what the manifest ignores (`doctor.ksm`), and with what it accepts for now as `accepted`."""
    choice = cluster.rules
    left = (each for each in answers if each.outcome == "ok" or _codes(each).isdisjoint(choice.ignore))
    return tuple(_accepted(each, choice.waivers) for each in left)


def _codes(answer: Answer) -> frozenset[str]:
    return frozenset({f"{GROUP}.{answer.name}", GROUP})


def _accepted(answer: Answer, waivers: Iterable[Waiver]) -> Answer:
    owner = f"host/{answer.host}" if answer.host else "cluster"
    for waiver in waivers if answer.outcome != "ok" else ():
        if waiver.rule in _codes(answer) and waiver.is_for(owner):
            told = f"{answer.told} (until {waiver.until.isoformat()}: {waiver.reason})"
            return replace(answer, outcome="accepted", told=told, fix="")
    return answer


def _in_a_lab(answer: Answer) -> Answer:
    """A lab tells nothing of the machine that it is on: no host of it is better or worse for that."""
    if answer.name not in _OF_THE_MACHINE or answer.outcome == "ok":
        return answer
    return replace(answer, outcome="ok", told=f"{answer.told} (the machine that the lab is on)", fix="")


def _unreached(host: ResolvedHost, seen: Unreachable) -> Answer:
    told = seen.diagnostic.summary
    name = part_of(seen.diagnostic)
    return Answer(host.name, name, "failure", told, seen.diagnostic.hint or seen.diagnostic.cause)
