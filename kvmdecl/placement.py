"""ResolvedCluster -> PlacedCluster: a host for every vm. What is somewhere stays; a solver does the rest."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice, product
from typing import TYPE_CHECKING

from kvmdecl.asking import Relock, place_request, to_place
from kvmdecl.candidates import Candidates, pools_of
from kvmdecl.cluster import LockedPlace, PlacedCluster
from kvmdecl.conflict_set import Question
from kvmdecl.diagnostics import Diagnostic, Note, Rejected, Severity
from kvmdecl.infeasible import Advice, advise, bars
from kvmdecl.lock import lock_faults, unfit_lock
from kvmdecl.membership import membership
from kvmdecl.moving_room import fits, less, room_of, takes_of
from kvmdecl.names import format_size
from kvmdecl.offered import HostDevices, asked_for
from kvmdecl.pages import needs_of, pages_there, shortages
from kvmdecl.pinning import kept_off, with_devices, with_place
from kvmdecl.solver import Place, PlaceAnswer, PlaceRequest
from kvmdecl.state import HostSnapshot
from kvmdecl.text import safe_text
from kvmdecl.turns import Mover, Turns, turns
from kvmdecl.verdict import faults, group_faults, with_unfit_asked

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kvmdecl.cluster import ResolvedCluster, ResolvedVm
    from kvmdecl.pages import PageNeed, PagesByCell
    from kvmdecl.solver import HostRoom, Solver
    from kvmdecl.state import Observation


_MOST_KEPT = 4


def place(
    cluster: ResolvedCluster,
    observations: Mapping[str, Observation],
    solver: Solver,
    relock: Relock | None = None,
) -> PlacedCluster:
    """Decide where each vm runs.

    In this order: a vm that exists on a host stays there, unless the manifest or the lock file puts it on another one,
    or its host is in maintenance and the solver finds it another; one that names a host goes there; so does one that
    the lock file puts on a host; one that may exist on a host that did not answer, was not read, or left the manifest
    is undecided, and not in `vms`, whatever host it names; one whose disks are on a host goes to them; the solver
    places the others among the hosts that have all that they need. A vm that shall be absent and is nowhere is in
    neither.

    Where there is a lock file, no solver is asked: it is followed, or it is refused. With `relock` it is written anew:
    what is in it keeps its place, as far as `relock` says, and the solver places the rest.

    Raises:
        Rejected: `placement.twice`, `placement.stranded`, `placement.no-host`, or
            `placement.bad-answer` when the solver did not keep to the rules; `lock.missing`, `lock.disagrees` or
            `lock.unfit` when the lock file cannot be followed.
    """
    placer = _Placer(cluster, observations, relock)
    if cluster.lock is not None and relock is None:
        placer.found += lock_faults(cluster, cluster.lock)
    settled: list[ResolvedVm] = []
    undecided: list[str] = []
    homeless: list[ResolvedVm] = []
    for vm in cluster.vms:
        host = placer.settle(vm)
        if vm.name in placer.draining:
            homeless.append(vm)
        elif host is not None and not placer.may_have_left(vm, host):
            settled.append(vm.on(host))
        elif placer.may_be_hidden(vm):
            undecided.append(vm.name)
        elif vm.state != "absent":
            home = placer.home(vm)
            if home is not None:
                settled.append(vm.on(home))
            else:
                homeless.append(vm)
    if not placer.found:
        placed, places = placer.solve(homeless, settled, solver)
    if placer.found:
        raise Rejected(placer.found)
    moves = {vm.name: placer.moves[vm.name] for vm in placed if vm.name in placer.moves}
    way = placer.ways(placed, moves) if moves else Turns()
    return PlacedCluster(
        cluster,
        tuple(sorted(placed, key=lambda vm: vm.name)),
        tuple(sorted(undecided)),
        places=places,
        moves=moves,
        stays=tuple(placer.stays),
        legs=way.legs,
        stuck=way.stuck,
    )


def with_elsewhere(
    placed: PlacedCluster, observations: Mapping[str, Observation], solver: Solver
) -> PlacedCluster:
    """The same with what vms that a cluster manager runs would have of each other host that may start them.

    That is for vms with cells or devices of their host. Where their host fails, all that were on it may come to one
    other host at once, so there each has what no guest there has, and none of those that come with it. One for which
    there is no such place is not started there.
    """
    bound = [vm for vm in placed.vms if vm.spec.is_ha and vm.spec.is_placed and vm.state != "absent"]
    if not bound:
        return placed
    return replace(
        placed, elsewhere=_Placer(placed.cluster, observations, None).elsewhere(placed, bound, solver)
    )


def open_hosts(
    cluster: ResolvedCluster, observations: Mapping[str, Observation], vms: Iterable[ResolvedVm]
) -> dict[str, tuple[str, ...]]:
    """By name, the hosts that each of some vms may be given: that answered, and have all that it needs but room."""
    return _Placer(cluster, observations, None).open_to(vms)


def why_there(cluster: ResolvedCluster, observations: Mapping[str, Observation], vm: ResolvedVm) -> str:
    """Why a vm that is placed is on its host, in the order of `place`; as one that follows "it is there because"."""
    return _Placer(cluster, observations, None).why_there(vm)


def why_not(
    cluster: ResolvedCluster, observations: Mapping[str, Observation], vm: ResolvedVm, hosts: Iterable[str]
) -> dict[str, str]:
    """What stands against a vm on each of some hosts, however much room there is; empty if nothing does."""
    return _Placer(cluster, observations, None).why_not(vm, hosts)


def _as_it_is(plain: ResolvedVm, placed: ResolvedVm) -> ResolvedVm:
    """The vm without what its host gave it, and with the CPU that was found for all hosts."""
    return plain.with_spec(cpus=plain.spec.cpus.model_copy(update={"model": placed.spec.cpus.model}))


class _Placer:
    """What the hosts' answers say about where vms are and can be."""

    def __init__(
        self, cluster: ResolvedCluster, observations: Mapping[str, Observation], relock: Relock | None
    ) -> None:
        self.found: list[Diagnostic] = []
        self.moves: dict[str, str] = {}
        self.draining: dict[str, ResolvedVm] = {}
        self.stays: list[Diagnostic] = []
        self._relock = relock
        self._lock = cluster.lock or {}
        self._named = {vm.name: vm.host for vm in cluster.vms}
        self._cluster = cluster
        self._hosts = {host.name: host for host in cluster.hosts}
        self._candidates = Candidates((h.name for h in cluster.hosts), cluster.pools, cluster.networks)
        self._snapshots = {
            host.name: seen
            for host in cluster.hosts
            if isinstance(seen := observations.get(host.name), HostSnapshot)
        }
        self._unknown = frozenset(host.name for host in cluster.hosts) - self._snapshots.keys()
        self._departed = bool(membership(cluster, observations).departed)
        self._able_hosts: dict[tuple[tuple[str, ...], str, str], tuple[str, ...]] = {}
        self._open_hosts: dict[tuple[tuple[str, ...], tuple[tuple[str, str], ...]], tuple[str, ...]] = {}
        self._settled: dict[str, ResolvedVm] = {}
        self._of_hosts: dict[str, HostDevices] = {}
        self._disks: dict[str, set[tuple[str, str]]] = {}
        self._where: dict[str, list[str]] = {}
        self._active: dict[str, str] = {}
        self._running: set[tuple[str, str]] = set()
        self._halted: set[tuple[str, str]] = set()
        for name, snapshot in self._snapshots.items():
            for entry in snapshot.state.ledger(cluster.name).entries:
                self._disks.setdefault(entry.owner, set()).add((name, entry.name))
            for domain in snapshot.state.domains:
                self._where.setdefault(domain.uuid, []).append(name)
                if domain.active and domain.halted:
                    self._halted.add((domain.uuid, name))
                if domain.active:
                    self._active.setdefault(domain.uuid, name)
                    self._running.add((domain.uuid, name))

    def settle(self, vm: ResolvedVm) -> str | None:
        """The host of a vm that needs no choice; what is in the way is noted, and so is a move."""
        hosts = self._where.get(vm.uuid, [])
        if not hosts:
            return vm.host or self._locked(vm)
        if vm.spec.is_ha:
            return self._active.get(vm.uuid, hosts[0])  # where it runs is the cluster manager's to say
        if vm.state == "absent":
            return hosts[0]
        there = self._one_of(vm, hosts)
        if there is None:
            self.found.append(_twice(vm, hosts))
            return hosts[0]
        home = vm.host or self._locked(vm) or there
        if home not in self._hosts:
            home = there  # a lock file that names no host of the manifest is told of elsewhere
        if home == there and self._hosts[there].maintenance:
            self._drain(vm, there)
        if missing := self._candidates.missing(vm, home):
            self.found.append(_stranded(vm, there, home, missing))
        if home != there and home in self._snapshots:
            self.moves[vm.name] = there
        return home

    def _one_of(self, vm: ResolvedVm, hosts: list[str]) -> str | None:
        """Which of the hosts that have its definition has the vm; None if that cannot be told.

        It is the one on which it runs. A move that was interrupted may have left a definition that does not run, or the
        guest itself, halted since it went on elsewhere; of two definitions the one counts that the manifest or the
        lock file wants, or that is not to be emptied.
        """
        if len(hosts) == 1:
            return hosts[0]
        running = [host for host in hosts if (vm.uuid, host) in self._running]
        running = [host for host in running if (vm.uuid, host) not in self._halted] or running
        if running:
            return running[0] if len(running) == 1 else None
        wanted = vm.host or self._locked(vm)
        if wanted in hosts:
            return wanted
        kept = [host for host in hosts if not self._hosts[host].maintenance]
        return kept[0] if len(kept) == 1 else None

    def _drain(self, vm: ResolvedVm, there: str) -> None:
        """Have a vm leave a host that is in maintenance, if it may and can."""
        if vm.host is not None:
            self.stays.append(_stays(vm, there, f"the manifest says `host: {there}`", "take `host` away"))
        elif self._cluster.lock is not None and self._relock is None:
            self.stays.append(_stays(vm, there, "the lock file says so", "run `kvmdecl lock`, and review it"))
        elif vm.spec.hostdevs or vm.spec.device_requests:
            self.stays.append(
                _stays(vm, there, "it has devices of its host", "say with `host:` where it goes")
            )
        else:
            self.draining[vm.name] = vm.on(there)
            self.moves[vm.name] = there

    def _locked(self, vm: ResolvedVm) -> str | None:
        """Where the lock file puts a vm that is nowhere; when it is written anew, only if that host is still open."""
        locked = self._lock.get(vm.name)
        if locked is None or vm.state == "absent":
            return None
        host = locked.place.host
        if self._relock is None:
            return host
        stays = locked.agrees and vm.name not in self._relock.update and host in self._open(vm)
        return host if stays else None

    def may_be_hidden(self, vm: ResolvedVm) -> bool:
        """Whether a vm that was not found may exist on a host that gave no answer, or that left the manifest.

        Any such host may have it: neither which hosts could take it by the manifest of today nor which one it names
        says where it was made. Only the user can say that it never was.
        """
        return (bool(self._unknown) or self._departed) and vm.name not in self._cluster.newcomers

    def home(self, vm: ResolvedVm) -> str | None:
        """The one host that has disks of a vm which is nowhere: it was undefined, or an apply was interrupted."""
        if vm.name not in self._disks or vm.spec.is_ha:
            return None  # the disks of a vm that a cluster manager runs are seen by all of its hosts
        homes = [name for name in self._candidates.of(vm) if self._has_disks(vm, name)]
        return homes[0] if len(homes) == 1 else None

    def may_have_left(self, vm: ResolvedVm, host: str) -> bool:
        """Whether a vm that goes to a host which answered may be on another one.

        That host does not have it; or has it, halted by a migration that may have got to its end on one that nobody
        can ask.
        """
        if vm.state == "absent" or host not in self._snapshots:
            return False
        if vm.uuid in self._where:
            return (bool(self._unknown) or self._departed) and self._is_halted(vm)
        return self.may_be_hidden(vm)

    def _is_halted(self, vm: ResolvedVm) -> bool:
        """Whether a migration halted it wherever it runs."""
        running = [where for host in self._where[vm.uuid] if (where := (vm.uuid, host)) in self._running]
        return bool(running) and self._halted.issuperset(running)

    def _has_disks(self, vm: ResolvedVm, host: str) -> bool:
        """Whether the host's ledger says that disks of the vm were made there."""
        disks = {(host, f"{disk.pool}/{disk.volume}") for disk in vm.disks}
        return not disks.isdisjoint(self._disks.get(vm.name, ()))

    def solve(
        self, vms: list[ResolvedVm], settled: list[ResolvedVm], solver: Solver
    ) -> tuple[list[ResolvedVm], Mapping[str, Place]]:
        """Give vms the places that the lock file has for them, or else those that the solver chooses."""
        self._settled = {vm.name: vm for vm in settled}
        pages = _Pages(self._cluster, self._snapshots, settled)
        able = {vm.name: self._fit_for(vm, self._read(self._open(vm)), pages) for vm in vms}
        open_to = {name: hosts for name, hosts in able.items() if hosts}
        request = place_request(self._cluster, self._snapshots, settled, open_to, self._relock or Relock())
        request, answer = self._ask(request, solver)
        if not self.found and (stuck := [name for name in self.draining if name not in answer.hosts]):
            return self.solve(*self._staying(stuck, vms, settled, answer, pages), solver)
        wanting = able.keys() | {vm.name for vm in request.vms}
        homeless = [vm for vm in (*vms, *settled) if vm.name in wanting and vm.name not in answer.hosts]
        if homeless and not self.found:
            advice = self._advice(vms, settled, pages, answer, solver)
            told = [
                self._no_host(vm, answer.refused.get(vm.name, {}), pages, advice.get(vm.name, Advice()))
                for vm in homeless
            ]
            proof = _proof(answer, len(request.vms))
            self.found += (replace(found, notes=(*found.notes, *proof)) for found in told)
        if self.found:
            return [], {}
        rooms = {room.name: room for room in request.hosts}
        homed = (*settled, *(vm.on(answer.hosts[vm.name]) for vm in vms))
        there = [vm for vm in homed if vm.host in rooms and vm.state != "absent"]
        places = {vm.name: Place(vm.host, ()) for vm in there if vm.host is not None} | dict(answer.places)
        return [self._seated(vm, answer, rooms) for vm in homed], places

    def _staying(
        self,
        stuck: list[str],
        vms: list[ResolvedVm],
        settled: list[ResolvedVm],
        answer: PlaceAnswer,
        pages: _Pages,
    ) -> tuple[list[ResolvedVm], list[ResolvedVm]]:
        """Who still needs a host, and who has one, when some of those that were to leave theirs find no other."""
        kept = [self.draining.pop(name) for name in stuck]
        for vm in kept:
            there = self.moves.pop(vm.name)
            reasons = dict(answer.refused.get(vm.name, {}))
            others = sorted(self._hosts.keys() - {there})
            notes = tuple(
                Note(f"{host}: {safe_text(reasons.get(host) or self._why_not(vm, host, pages))}")
                for host in others
            )
            found = _stays(vm, there, "no other host can take it", "make room on another host, or add one")
            self.stays.append(replace(found, notes=notes))
        return [vm for vm in vms if vm.name not in stuck], [*settled, *kept]

    def ways(self, placed: list[ResolvedVm], moves: Mapping[str, str]) -> Turns:
        """In which turn vms move, so that their hosts have room for them, and who has to go by a third host."""
        pages = _Pages(self._cluster, self._snapshots, ())
        pools = {pool.name: pool.spec.is_shared for pool in self._cluster.pools}
        takes = {vm.name: takes_of(vm) for vm in placed}
        movers = [
            Mover(
                vm.name,
                moves[vm.name],
                vm.host or "",
                takes[vm.name] if (vm.uuid, moves[vm.name]) in self._running else {},
                () if vm.spec.is_bound or vm.spec.device_requests or not all(pools[name] for name in pools_of(vm))
                else self._fit_for(vm, self._read(self._open(vm)), pages),
            )
            for vm in placed
            if vm.name in moves
        ]  # fmt: skip
        here = [(moves.get(vm.name, vm.host), vm) for vm in placed if vm.state != "absent"]
        now = [(host, takes[vm.name]) for host, vm in here if (vm.uuid, host) in self._running]
        then = [(vm.host, takes[vm.name]) for vm in placed if vm.state == "running"]
        ours = {vm.uuid for vm in self._cluster.vms}
        targets = {mover.target for mover in movers} | {host for mover in movers for host in mover.via}
        free: dict[str, Mapping[int, int]] = {}
        for name in targets & self._snapshots.keys():
            room = room_of(self._hosts[name], self._snapshots[name], ours)
            if fits(less(room, (of for host, of in then if host == name))):
                free[name] = less(room, (of for host, of in now if host == name))
        return turns(movers, free)  # a host that the manifest fills beyond its room by name is not judged

    def _ask(self, request: PlaceRequest, solver: Solver) -> tuple[PlaceRequest, PlaceAnswer]:
        """What the solver says, or, where a lock file is followed, what that says; and what was asked in the end."""
        if self._cluster.lock is not None and self._relock is None:
            answer = _as_they_are(request)
            if wrong := list(faults(request, answer)):
                self.found.append(unfit_lock(wrong))
            return request, answer
        self.found += (_ill_grouped(text) for text in group_faults(request, _as_they_are(request)))
        if self.found:
            return request, _as_they_are(request)
        request = with_unfit_asked(request)
        answer = solver(request) if request.vms else _as_they_are(request)
        if wrong := list(faults(request, answer)):
            self.found.append(self._bad_answer(wrong))
        return request, answer

    def _seated(self, vm: ResolvedVm, answer: PlaceAnswer, rooms: Mapping[str, HostRoom]) -> ResolvedVm:
        """The vm with the CPUs and the memory that it was given."""
        room = rooms.get(vm.host or "")
        if room is None or vm.state == "absent":
            return vm
        if vm.spec.is_bound:
            seated = with_place(vm, answer.places[vm.name], room)
        else:
            seated = kept_off(vm, room) if self._hosts[room.name].dedicated else vm
        if not vm.spec.device_requests:
            return seated
        return with_devices(seated, answer.places[vm.name], room, self._devices(room.name).companions)

    def elsewhere(
        self, placed: PlacedCluster, bound: list[ResolvedVm], solver: Solver
    ) -> dict[str, dict[str, ResolvedVm]]:
        """See `with_elsewhere`."""
        plain = {vm.name: vm for vm in self._cluster.vms}
        there = [plain[vm.name].on(vm.host) for vm in placed.vms if vm.host is not None]
        self._settled = {vm.name: vm for vm in there}
        locked = {name: LockedPlace(place, agrees=True) for name, place in placed.places.items()}
        request = place_request(
            replace(self._cluster, lock=locked), self._snapshots, there, {}, self._relock or Relock()
        )
        open_to = self.open_to([replace(plain[vm.name], host=None) for vm in bound])
        found: dict[str, dict[str, ResolvedVm]] = {vm.name: {} for vm in bound}
        for lost, room in product(sorted({vm.host or "" for vm in bound}), request.hosts):
            comers = [
                _as_it_is(plain[vm.name], vm)
                for vm in bound
                if vm.host == lost != room.name and room.name in open_to[vm.name]
            ]
            taken = tuple(each for each in request.residents if each.place and each.place.host == room.name)
            for vm in comers:
                asked = PlaceRequest((to_place(vm, (room.name,)),), (room,), taken)
                answer = solver(asked)
                if vm.name not in answer.hosts or next(iter(faults(asked, answer)), None):
                    continue
                found[vm.name][room.name] = self._seated(vm.on(room.name), answer, {room.name: room})
                taken = (*taken, replace(asked.vms[0], place=answer.places[vm.name]))
        return found

    def _devices(self, host: str) -> HostDevices:
        if host not in self._of_hosts:
            asked = asked_for(self._cluster.vms)
            where = {name: vm.host for name, vm in self._settled.items() if vm.host is not None}
            self._of_hosts[host] = HostDevices(host, self._snapshots[host], self._cluster, asked, where)
        return self._of_hosts[host]

    def why_there(self, vm: ResolvedVm) -> str:
        """In words, the rule by which it has its host."""
        locked = self._lock.get(vm.name)
        if vm.uuid in self._where:
            there = self._where[vm.uuid]
            agrees = locked is not None and locked.place.host == vm.host
            if vm.host in there:
                return "it exists there and stays" + (", as the lock file says" if agrees else "")
            if agrees:
                return f"the lock file says so; it is on {there[0]} and moves"
            if self._hosts[there[0]].maintenance and not self._named.get(vm.name):
                return f"it leaves {there[0]}, which is in maintenance, and the solver {self._cluster.solver} chose it"
            return f"the manifest says `host: {vm.host}`; it is on {there[0]} and moves"
        if (named := self._named.get(vm.name)) is not None:
            return f"the manifest says `host: {named}`"
        if locked is not None:
            return "the lock file says so"
        if self.home(vm) is not None:
            return "its disks are there"
        return f"the solver {self._cluster.solver} chose it"

    def why_not(self, vm: ResolvedVm, hosts: Iterable[str]) -> dict[str, str]:
        """What stands against hosts but too little room."""
        pages = _Pages(self._cluster, self._snapshots, ())
        return {
            host: self._why_not(vm, host, pages) if host in self._snapshots else "did not answer"
            for host in hosts
        }

    def open_to(self, vms: Iterable[ResolvedVm]) -> dict[str, tuple[str, ...]]:
        """The hosts that each of the vms may be given: the one that it names, or those that placement chooses from."""
        pages = _Pages(self._cluster, self._snapshots, ())
        found: dict[str, tuple[str, ...]] = {}
        for vm in vms:
            hosts = (vm.host,) if vm.host is not None else self._open(vm)
            known = tuple(host for host in hosts if host in self._snapshots)
            found[vm.name] = self._fit_for(vm, known, pages)
        return found

    def _fit_for(self, vm: ResolvedVm, hosts: tuple[str, ...], pages: _Pages) -> tuple[str, ...]:
        """Those that can run such a guest and have the huge pages for it."""
        return pages.enough(vm, self._able(hosts, vm.arch, vm.type))

    def _open(self, vm: ResolvedVm) -> tuple[str, ...]:
        """The hosts that may be given it. Many vms have the same."""
        key = (self._candidates.of(vm), tuple(vm.spec.host_labels.items()))
        if key not in self._open_hosts:
            hosts = [self._hosts[name] for name in key[0] if not self._hosts[name].maintenance]
            wanted = vm.spec.host_labels.items()
            self._open_hosts[key] = tuple(host.name for host in hosts if wanted <= host.labels.items())
        return self._open_hosts[key]

    def _read(self, hosts: tuple[str, ...]) -> tuple[str, ...]:
        """Those that answered."""
        return tuple(host for host in hosts if host in self._snapshots) if self._unknown else hosts

    def _able(self, candidates: tuple[str, ...], arch: str, type_: str) -> tuple[str, ...]:
        """Those that can run such a guest. Many vms share their candidates."""
        key = (candidates, arch, type_)
        if key not in self._able_hosts:
            facts = ((name, self._snapshots[name].facts) for name in sorted(candidates))
            self._able_hosts[key] = tuple(name for name, fact in facts if fact.guest_type(arch, type_))
        return self._able_hosts[key]

    def _advice(
        self,
        vms: list[ResolvedVm],
        settled: list[ResolvedVm],
        pages: _Pages,
        answer: PlaceAnswer,
        solver: Solver,
    ) -> Mapping[str, Advice]:
        """What conflicts and what would help, for those without a host that there are hosts for."""
        able = {vm.name: self._fit_for(vm, self._candidates.of(vm), pages) for vm in vms}
        wide = {name: hosts for name, hosts in able.items() if hosts}
        request = place_request(self._cluster, self._snapshots, settled, wide, self._relock or Relock())
        question = Question(with_unfit_asked(request), bars(self._cluster, wide))
        return advise(self._cluster, question, answer, solver)

    def _no_host(
        self, vm: ResolvedVm, reasons: Mapping[str, str], pages: _Pages, advice: Advice
    ) -> Diagnostic:
        notes = [Note(f"{host}: {safe_text(reason)}") for host, reason in sorted(reasons.items())]
        notes += [
            Note(f"{host}: {text}")
            for host in sorted(reasons)
            for text in self._kept(vm, host, reasons[host])
        ]
        others = sorted(self._hosts.keys() - reasons.keys())
        notes += [Note(f"{host}: {self._why_not(vm, host, pages)}") for host in others]
        wanted = f"{vm.cpus} CPU{'s' * (vm.cpus > 1)} and {format_size(vm.memory)}"
        return Diagnostic(
            "placement.no-host",
            f"no host can take {vm.name}, which wants {wanted}",
            vm.origin.at,
            hint=advice.hint or self._general_hint(vm),
            notes=(*notes, *advice.notes),
            subject=f"vm/{vm.name}",
        )

    def _kept(self, vm: ResolvedVm, host: str, reason: str) -> list[str]:
        """Devices of a host that a vm might have meant, with what keeps each: if it is devices that it is short of."""
        words = [request.word for _, request in vm.spec.device_requests if request.word in reason]
        kept = (text for word in words for text in self._devices(host).against(word))
        return [safe_text(text) for text in islice(kept, _MOST_KEPT)]

    def _general_hint(self, vm: ResolvedVm) -> str:
        if not vm.spec.is_bound:
            return "make room, add a host, ask for less, or put it on a host all the same with `host:`"
        if vm.spec.cpus.is_dedicated and not any(host.dedicated for host in self._cluster.hosts):
            return "set CPUs of a host aside for such guests, for example `dedicated: 2-15`"
        return "make room, add a host, set more of one aside, or ask for less"

    def _why_not(self, vm: ResolvedVm, host: str, pages: _Pages) -> str:
        if missing := self._candidates.missing(vm, host):
            return " and ".join(f"no {what}" for what in missing)
        if host not in self._snapshots:
            return "did not answer"
        if self._hosts[host].maintenance:
            return "is in maintenance"
        labels = self._hosts[host].labels
        for label, value in sorted(vm.spec.host_labels.items()):
            if labels.get(label) != value:
                return f"{label} is {labels.get(label, 'not given')}, {value} wanted"
        if not self._able((host,), vm.arch, vm.type):
            return f"offers no {vm.type} guests of {vm.arch}"
        return pages.lacking(vm, host)

    def _bad_answer(self, wrong: list[str]) -> Diagnostic:
        return Diagnostic(
            "placement.bad-answer",
            f"the solver {self._cluster.solver} gave an answer that cannot be used: {safe_text(wrong[0])}",
            cause="A solver answers for every vm, and what it puts on a host must fit there; this was not used.",
            hint="leave `placement` out to have one chosen that can do it; if that one was, tell its author",
            notes=tuple(Note(safe_text(fault)) for fault in wrong[1:10]),
        )


def _twice(vm: ResolvedVm, hosts: list[str]) -> Diagnostic:
    return Diagnostic(
        "placement.twice",
        f"{vm.name} is defined on {' and '.join(hosts)}",
        vm.origin.at,
        "It is one guest with one set of disks; run twice, they would be destroyed.",
        "undefine it on the host where it does not belong",
        subject=f"vm/{vm.name}",
    )


def _stranded(vm: ResolvedVm, there: str, home: str, missing: tuple[str, ...]) -> Diagnostic:
    what = " and ".join(missing)
    goes = f"would go from {there} to {home}" if home != there else f"is on {there}"
    return Diagnostic(
        "placement.stranded",
        f"{vm.name} {goes}, which does not get {what}",
        vm.origin.find("host") if home != there else vm.origin.at,
        "There it would lack what the manifest gives it.",
        f"add {home} to the `hosts:` of {what}, or give the vm another `host:`",
        subject=f"vm/{vm.name}",
    )


def _stays(vm: ResolvedVm, there: str, why: str, hint: str) -> Diagnostic:
    return Diagnostic(
        "placement.stays",
        f"{vm.name} stays on {there}, which is in maintenance: {why}",
        vm.origin.find("host"),
        hint=hint,
        severity=Severity.WARNING,
        subject=f"vm/{vm.name}",
    )


def _ill_grouped(text: str) -> Diagnostic:
    return Diagnostic(
        "placement.group",
        f"guests that exist are not where their groups want them: {safe_text(text.removeprefix('it puts '))}",
        cause="Guests that exist are moved only where the manifest or the lock file puts them on other hosts.",
        hint="take `apart` or `together` back, or move one with `host:`",
    )


def _proof(answer: PlaceAnswer, wanted: int) -> tuple[Note, ...]:
    """What a solver knows about other placements, if it says so."""
    if answer.bound is None:
        return ()
    if answer.bound < wanted:
        return (Note("it is proved that no other placement has room for all vms"),)
    return (Note("it is not proved that no other placement has room for all vms"),)


def _as_they_are(request: PlaceRequest) -> PlaceAnswer:
    return PlaceAnswer({}, {}, {vm.name: vm.place for vm in request.residents if vm.place is not None})


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
