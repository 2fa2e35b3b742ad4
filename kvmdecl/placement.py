"""ResolvedCluster -> PlacedCluster: a host for every vm. What is somewhere stays; a solver does the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.candidates import Candidates
from kvmdecl.cluster import PlacedCluster
from kvmdecl.diagnostics import Diagnostic, Note, Rejected
from kvmdecl.membership import membership
from kvmdecl.names import format_size
from kvmdecl.pages import needs_of, ordinary_memory, pages_there, shortages
from kvmdecl.rooms import group_of, rooms
from kvmdecl.solver import PlaceRequest, VmToPlace
from kvmdecl.state import HostSnapshot
from kvmdecl.text import safe_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from kvmdecl.cluster import ResolvedCluster, ResolvedVm
    from kvmdecl.pages import PageNeed, PagesByCell
    from kvmdecl.solver import PlaceAnswer, Solver
    from kvmdecl.state import Observation


def place(cluster: ResolvedCluster, observations: Mapping[str, Observation], solver: Solver) -> PlacedCluster:
    """Decide where each vm runs.

    In this order: a vm that exists on a host stays there; one that names a host goes there; one that may
    exist on a host that did not answer, was not read, or left the manifest is undecided, and not in `vms`, whatever
    host it names in the case of one that left; one whose disks are on
    a host goes to them; the solver places the others among the hosts that have all that they need. A vm that
    shall be absent and is nowhere is in neither.

    Raises:
        Rejected: `placement.move`, `placement.twice`, `placement.stranded`, `placement.no-host`, or
            `placement.bad-answer` when the solver did not keep to the rules.
    """
    placer = _Placer(cluster, observations)
    settled: list[ResolvedVm] = []
    undecided: list[str] = []
    homeless: list[ResolvedVm] = []
    for vm in cluster.vms:
        host = placer.settle(vm)
        if host is not None and not placer.may_have_left(vm, host):
            settled.append(vm.on(host))
        elif placer.may_be_hidden(vm):
            undecided.append(vm.name)
        elif vm.state != "absent":
            home = placer.home(vm)
            if home is not None:
                settled.append(vm.on(home))
            else:
                homeless.append(vm)
    chosen = placer.solve(homeless, settled, solver) if homeless and not placer.found else {}
    if placer.found:
        raise Rejected(placer.found)
    placed = [*settled, *(vm.on(chosen[vm.name]) for vm in homeless)]
    return PlacedCluster(cluster, tuple(sorted(placed, key=lambda vm: vm.name)), tuple(sorted(undecided)))


class _Placer:
    """What the hosts' answers say about where vms are and can be."""

    def __init__(self, cluster: ResolvedCluster, observations: Mapping[str, Observation]) -> None:
        self.found: list[Diagnostic] = []
        self._cluster = cluster
        self._candidates = Candidates((h.name for h in cluster.hosts), cluster.pools, cluster.networks)
        self._snapshots = {
            host.name: seen
            for host in cluster.hosts
            if isinstance(seen := observations.get(host.name), HostSnapshot)
        }
        self._unknown = frozenset(host.name for host in cluster.hosts) - self._snapshots.keys()
        self._departed = bool(membership(cluster, observations).departed)
        self._able_hosts: dict[tuple[tuple[str, ...], str, str], tuple[str, ...]] = {}
        self._where: dict[str, list[str]] = {}
        for name, snapshot in self._snapshots.items():
            for domain in snapshot.state.domains:
                self._where.setdefault(domain.uuid, []).append(name)

    def settle(self, vm: ResolvedVm) -> str | None:
        """The host of a vm that needs no choice."""
        hosts = self._where.get(vm.uuid, [])
        if not hosts:
            return vm.host
        if vm.state != "absent":
            self.found += self._misplaced(vm, hosts)
        return hosts[0]

    def _misplaced(self, vm: ResolvedVm, hosts: list[str]) -> Iterator[Diagnostic]:
        if len(hosts) > 1:
            yield Diagnostic(
                "placement.twice",
                f"{vm.name} is defined on {' and '.join(hosts)}",
                vm.origin.at,
                "It is one guest with one set of disks; run twice, they would be destroyed.",
                "undefine it on the host where it does not belong",
                subject=f"vm/{vm.name}",
            )
        elif vm.host not in {None, hosts[0]}:
            yield Diagnostic(
                "placement.move",
                f"{vm.name} is on {hosts[0]} and the manifest says {vm.host}",
                vm.origin.find("host"),
                "Moving a guest with its disks is not done by this version.",
                f"say `host: {hosts[0]}`, or move the guest and its volumes yourself first",
                subject=f"vm/{vm.name}",
            )
        elif missing := self._candidates.missing(vm, hosts[0]):
            yield Diagnostic(
                "placement.stranded",
                f"{vm.name} is on {hosts[0]}, which does not get {' and '.join(missing)}",
                vm.origin.at,
                "A guest stays where it is; there it would lack what the manifest gives it.",
                f"add {hosts[0]} to the `hosts:` of {' and '.join(missing)}",
                subject=f"vm/{vm.name}",
            )

    def may_be_hidden(self, vm: ResolvedVm) -> bool:
        """Whether a vm that was not found may exist on a host that gave no answer, or that left the manifest.

        Any such host may have it: which hosts could take it by the manifest of today does not say where it was made.
        """
        return bool(self._unknown) or self._departed

    def home(self, vm: ResolvedVm) -> str | None:
        """The one host that has disks of a vm which is nowhere: it was undefined, or an apply was interrupted."""
        homes = [name for name in self._candidates.of(vm) if self._has_disks(vm, name)]
        return homes[0] if len(homes) == 1 else None

    def may_have_left(self, vm: ResolvedVm, host: str) -> bool:
        """Whether a vm that names a host may be elsewhere: on one that left the manifest, or on a silent one.

        The latter only if it was made on the host that it names and is not there any more.
        """
        if vm.state == "absent" or vm.uuid in self._where or host not in self._snapshots:
            return False
        return self._departed or (bool(self._unknown) and self._has_disks(vm, host))

    def _has_disks(self, vm: ResolvedVm, host: str) -> bool:
        """Whether the host's ledger says that disks of the vm were made there."""
        disks = {f"{disk.pool}/{disk.volume}" for disk in vm.disks}
        entries = self._snapshots[host].state.ledger(self._cluster.name).entries
        return any(entry.owner == vm.name and entry.name in disks for entry in entries)

    def solve(self, vms: list[ResolvedVm], settled: list[ResolvedVm], solver: Solver) -> Mapping[str, str]:
        """Ask the solver for the vms that can run anywhere at all, and check what it says."""
        pages = _Pages(self._cluster, self._snapshots, settled)
        able = {
            vm.name: pages.enough(vm, self._able(self._candidates.of(vm), vm.arch, vm.type)) for vm in vms
        }
        askable = sorted((vm for vm in vms if able[vm.name]), key=lambda vm: vm.name)
        request = PlaceRequest(
            tuple(
                VmToPlace(vm.name, vm.cpus, ordinary_memory(vm), group_of(vm), able[vm.name])
                for vm in askable
            ),
            rooms(self._cluster, self._snapshots, settled),
        )
        answer = solver(request)
        if faults := list(_faults(request, answer)):
            self.found.append(self._bad_answer(faults))
            return {}
        self.found += (
            self._no_host(vm, answer.refused.get(vm.name, {}), pages)
            for vm in vms
            if vm.name not in answer.hosts
        )
        return answer.hosts

    def _able(self, candidates: tuple[str, ...], arch: str, type_: str) -> tuple[str, ...]:
        """Those that can run such a guest. Many vms share their candidates."""
        key = (candidates, arch, type_)
        if key not in self._able_hosts:
            facts = ((name, self._snapshots[name].facts) for name in sorted(candidates))
            self._able_hosts[key] = tuple(name for name, fact in facts if fact.guest_type(arch, type_))
        return self._able_hosts[key]

    def _no_host(self, vm: ResolvedVm, reasons: Mapping[str, str], pages: _Pages) -> Diagnostic:
        notes = [Note(f"{host}: {safe_text(reason)}") for host, reason in sorted(reasons.items())]
        for host in sorted(host.name for host in self._cluster.hosts):
            if host not in reasons:
                missing = " and ".join(f"no {what}" for what in self._candidates.missing(vm, host))
                able = self._able((host,), vm.arch, vm.type)
                lacking = pages.lacking(vm, host) if able else f"offers no {vm.type} guests of {vm.arch}"
                notes.append(Note(f"{host}: {missing or lacking}"))
        wanted = f"{vm.cpus} CPU{'s' * (vm.cpus > 1)} and {format_size(vm.memory)}"
        return Diagnostic(
            "placement.no-host",
            f"no host can take {vm.name}, which wants {wanted}",
            vm.origin.at,
            hint="make room, add a host, ask for less, or put it on a host all the same with `host:`",
            notes=tuple(notes),
            subject=f"vm/{vm.name}",
        )

    def _bad_answer(self, faults: list[str]) -> Diagnostic:
        return Diagnostic(
            "placement.bad-answer",
            f"the solver {self._cluster.solver} gave an answer that cannot be used: {safe_text(faults[0])}",
            cause="A solver answers for every vm, with one of its candidates or with reasons.",
            hint="choose another solver (`placement: spread`), and tell the plugin's author",
            notes=tuple(Note(safe_text(fault)) for fault in faults[1:10]),
        )


class _Pages:
    """The hosts' huge pages, and the guests that have them already. A vm that needs none goes anywhere."""

    def __init__(
        self, cluster: ResolvedCluster, snapshots: Mapping[str, HostSnapshot], settled: Iterable[ResolvedVm]
    ) -> None:
        self._hosts = {host.name: host for host in cluster.hosts}
        self._snapshots = snapshots
        self._settled = list(settled)
        self._there: dict[str, tuple[PagesByCell, list[PageNeed]]] = {}

    def enough(self, vm: ResolvedVm, hosts: tuple[str, ...]) -> tuple[str, ...]:
        """Those of the hosts that have all pages that it needs."""
        return tuple(host for host in hosts if not self.lacking(vm, host)) if any(needs_of(vm)) else hosts

    def lacking(self, vm: ResolvedVm, host: str) -> str:
        """What a host has too little of, in words; empty if nothing, or if its pages were not read."""
        there, taken = self._known(host)
        needs = list(needs_of(vm))
        short = next(shortages([*needs, *taken], there), None) if needs and there else None
        if short is None:
            return ""
        where = f" in cell {' and '.join(map(str, sorted(short.nodes)))}" if short.nodes is not None else ""
        pages = f"{short.there} pages of {format_size(short.size)}{where}"
        return f"{pages}, {short.needed} wanted with those of its guests"

    def _known(self, host: str) -> tuple[PagesByCell, list[PageNeed]]:
        if host not in self._there:
            running = [vm for vm in self._settled if vm.host == host and vm.state == "running"]
            needs = [need for vm in running for need in needs_of(vm)]
            self._there[host] = pages_there(self._hosts[host], self._snapshots[host].facts), needs
        return self._there[host]


def _faults(request: PlaceRequest, answer: PlaceAnswer) -> Iterator[str]:
    for vm in request.vms:
        host = answer.hosts.get(vm.name)
        if host is None and not answer.refused.get(vm.name):
            yield f"it says nothing about {vm.name}"
        elif host is not None and host not in vm.candidates:
            yield f"it puts {vm.name} on {host}, which is not among its candidates"
    asked = {vm.name for vm in request.vms}
    for name in sorted({*answer.hosts} - asked):
        yield f"it speaks of {name}, which it was not asked about"
