"""Guests of a host have more memory than it has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity, about_size, footprint, room_of, set_aside

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import HostFacts, ResolvedHost, Site


def check(site: Site) -> Iterator[Finding]:
    """Find hosts; a guest that is larger than its host is refused without any rule."""
    for host in site.cluster.hosts:
        facts = site.facts.get(host.name)
        if facts is None:
            continue
        vms = [vm for vm in site.vms_on.get(host.name, ()) if vm.memory <= facts.memory]
        promised = sum(footprint(vm).memory for vm in vms)
        room = room_of(host, facts).memory
        if promised > (room * 3 // 2 if host.ksm else room):
            yield Finding(host, "", _told(host, facts, promised, room))


def _told(host: ResolvedHost, facts: HostFacts, promised: int, room: int) -> str:
    told = f"the guests of {host.name} have {about_size(promised)} of memory, and it has {about_size(room)} for them"
    pages = set_aside(host, facts)
    return f"{told} beside {about_size(pages)} of huge pages" if pages else told


RULE = Rule(
    code="memory.overcommit",
    title="guests of a host have more memory than it has",
    severity=Severity.WARNING,
    why=(
        "Placement never does that; guests that name their host, or that were there before, can. They "
        "rarely use all of theirs at once. When they do, the host swaps, or kills one of them. Where the "
        "manifest says how the host merges equal pages (`ksm`) half as much again is taken for meant."
    ),
    source="Red Hat, Virtualization Deployment and Administration Guide, overcommitting; Linux kernel, mm/concepts.rst",
    fix="move guests to other hosts, give them less memory, or say `ksm` of a host whose guests are alike",
    bad="""\
vms:
  a: {host: kvm-1, memory: 6GiB}
  b: {host: kvm-1, memory: 6GiB}
""",
    good="""\
vms:
  a: {host: kvm-1, memory: 3GiB}
  b: {host: kvm-1, memory: 3GiB}
""",
    check=check,
    needs_hosts=True,
    machine={"memory": 8},
)
