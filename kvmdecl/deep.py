"""Plan -> plan: what the hosts' libvirt itself says to the domains of a plan, before anything is defined.

libvirt accepts definitions that it can never start: an unknown CPU model, a NUMA cell or huge pages that are
not there. Converting a definition to QEMU's command line finds these, and changes nothing.
"""

from __future__ import annotations

import re
from concurrent.futures import wait
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kvmdecl.diagnostics import Diagnostic, TaskFailed, in_order
from kvmdecl.hosts.protocol import ConversionRequest
from kvmdecl.plan import HostStatus
from kvmdecl.state import Kind
from kvmdecl.tasks import DefineDomain, WriteDefinition

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from concurrent.futures import Future

    from kvmdecl.diagnostics import Span
    from kvmdecl.hosts.protocol import Conversion, HostConverter
    from kvmdecl.plan import Plan, PlannedHost, Step
    from kvmdecl.state import Address

# virErrorNumber: an object that is not there. The plan may be about to make it.
_MISSING = {43: Kind.NETWORK, 49: Kind.POOL, 50: Kind.VOLUME}


@dataclass(frozen=True, slots=True)
class _Known:
    """A refusal whose cause is known: the manifest's key that asks for it, and what to do."""

    pattern: str
    key: str
    hint: str


_KNOWN = (
    _Known(
        "unknown cpu model",
        "cpus.model",
        "choose a model that `virsh cpu-models x86_64` lists on the host, or `host-model`.",
    ),
    _Known(
        "cpu mode '.*' .* not supported", "cpus.model", "name a CPU model; this mode needs KVM on the host."
    ),
    _Known(
        "unknown cpu feature", "cpus", "leave the feature out; `virsh domcapabilities` lists what there is."
    ),
    _Known("maximum cpus greater", "cpus", "ask for fewer CPUs, or for a machine type that has more."),
    _Known("numa node .* unavailable", "", "name a NUMA cell that `virsh capabilities` lists on the host."),
    _Known("hugetlbfs", "memory", "mount hugetlbfs on the host and reserve huge pages there."),
    _Known("machine type", "machine", "choose a machine type that `virsh capabilities` lists on the host."),
    _Known("firmware|uefi|loader", "firmware", "install firmware of that kind (ovmf) on the host."),
    _Known("no emulator found|invalid.* emulator", "", "install QEMU for this architecture on the host."),
    _Known("tpm", "", "install swtpm on the host."),
    _Known(
        "pci passthrough|vfio|iommu", "", "switch the host's IOMMU on (firmware and kernel command line)."
    ),
)
_UNKNOWN = _Known("", "", "compare with `virsh domcapabilities` on the host.")


def deepen(plan: Plan, converter: HostConverter) -> Plan:
    """Have every new or changed domain of a plan converted by its host, all at once.

    The file from which a cluster manager starts a guest is tried by each host that may start it from there.

    Returns:
        The plan without the domains and files that hosts refuse; these are blocked (`plan.deep-refused`). A host that
        does not answer is unreachable then, and its objects are left alone.
    """
    up = {host.name for host in plan.hosts if host.status is HostStatus.OK}
    asked = {
        (step.address, host): converter.submit(ConversionRequest(replace(step.address, host=host), step.task))
        for step in plan.steps
        if isinstance(step.task, DefineDomain | WriteDefinition)
        for host in _starters(step, up)
    }
    wait(asked.values())
    silent = _silent(asked)
    steps = [step for step in plan.steps if step.address.host not in silent]
    refused = [
        (step.address, found)
        for step in steps
        for host in _starters(step, up - silent.keys())
        if (step.address, host) in asked
        if (found := _refusal(step, host, plan.steps, asked[step.address, host].result()))
    ]
    blocked = {address for address, _ in refused}
    return replace(
        plan,
        hosts=tuple(_host(host, silent, plan.steps) for host in plan.hosts),
        steps=tuple(step for step in steps if step.address not in blocked),
        blocked=in_order([*plan.blocked, *(found for _, found in refused)]),
    )


def _starters(step: Step, up: Collection[str]) -> tuple[str, ...]:
    """The hosts that start a guest from what a step makes, of those that answer."""
    readers = step.task.readers if isinstance(step.task, WriteDefinition) else ()
    return (step.address.host, *(host for host in readers if host in up))


def _silent(asked: Mapping[tuple[Address, str], Future[Conversion]]) -> dict[str, Diagnostic]:
    """The hosts that gave no answer to one of their questions, with the reason."""
    found: dict[str, Diagnostic] = {}
    for (_, host), future in asked.items():
        error = future.exception()
        if isinstance(error, TaskFailed):
            found.setdefault(host, error.diagnostic)
    return found


def _host(host: PlannedHost, silent: Mapping[str, Diagnostic], steps: tuple[Step, ...]) -> PlannedHost:
    if host.name not in silent:
        return host
    frozen = tuple(str(step.address) for step in steps if step.address.host == host.name)
    reason = silent[host.name].summary
    return replace(host, status=HostStatus.UNREACHABLE, reason=reason, frozen=frozen)


def _refusal(step: Step, host: str, steps: Iterable[Step], answer: Conversion) -> Diagnostic | None:
    """What is wrong with a domain, None if nothing is that the plan itself will not have mended by then."""
    if not answer.refusal:
        return None
    made = {address.kind for address in step.after}
    if host != step.address.host:
        made = {other.address.kind for other in steps if other.address.host == host}
    if _MISSING.get(answer.number) in made:
        return None
    guest = step.task.owner if isinstance(step.task, WriteDefinition) else step.address.name
    known = next((k for k in _KNOWN if re.search(k.pattern, answer.refusal, re.IGNORECASE)), _UNKNOWN)
    return Diagnostic(
        code="plan.deep-refused",
        summary=f"{host} could not start {guest}: {answer.refusal}",
        at=_place(step, known.key),
        cause="Its libvirt can make no QEMU command line of the definition. Nothing was defined.",
        hint=known.hint,
        subject=str(step.address),
    )


def _place(step: Step, key: str) -> Span | None:
    """Where the manifest changes what is refused; the vm where that is not known."""
    found = (change.at for change in step.changes if key and change.key.startswith(key))
    return next((at for at in found if at), step.at)
