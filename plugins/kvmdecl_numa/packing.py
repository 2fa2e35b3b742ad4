"""A packing: which guests are where, so far. Guests are put in and taken out again; what is left is kept count of."""

from __future__ import annotations

from bisect import insort
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from kvmdecl_numa.fit import Taste, find, find_at, take
from kvmdecl_numa.rooms import HostLeft
from kvmdecl_numa.spill import find_across
from kvmdecl_numa.wants import Want

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from kvmdecl.api import Group, HostRoom, Place, Shape, VmToPlace
    from kvmdecl_numa.fit import Fit

_CHOICES = 6  # of the hosts that would do, as many are compared
TIGHT = Taste("tight", "free")
_FIRST = Taste("first", "free")


class Packing:
    """Where guests are. They are numbered; those that have a place come first and keep it until `release`.

    Of other members of groups it is known on which host they are, and no more: `others`.

    Attributes:
        guests: all of them, and `wants`: what each takes.
        places: where those guests are that have a place and keep it, and `fits`: where the others are.
        residents: how many of them had a place at first.
        steps: how often a cell of a host was looked at for one of a guest: what the work is measured in.
    """

    def __init__(
        self,
        guests: Sequence[tuple[VmToPlace, Shape]],
        hosts: Sequence[HostRoom],
        groups: Sequence[Group],
        others: Mapping[str, str],
    ) -> None:
        self.guests = [vm for vm, _ in guests]
        self.hosts = [HostLeft(number, room) for number, room in enumerate(hosts)]
        self.places: dict[int, Place] = {}
        self.fits: dict[int, Fit] = {}
        self.residents = sum(vm.place is not None for vm, _ in guests)
        self.steps = 0
        self._numbers = {room.name: number for number, room in enumerate(hosts)}
        self._kinds = _Kinds(guests, self.hosts)
        self.wants = [self._kinds.wants[kind] for kind in self._kinds.of]
        self.groups = _Groups(self.guests, hosts, groups, others)
        for number, (vm, shape) in enumerate(guests):
            if vm.place is not None:
                self._keep(number, shape, vm.place, 1)
        for host in self.hosts:
            host.recount()

    # -- where a guest could go ----------------------------------------------------------------------------

    def search(self, number: int, taste: Taste, avoid: int = -1) -> Fit | None:
        """A good place for a guest among the first that would do."""
        best: tuple[tuple[int, float], Fit] | None = None
        live = self._kinds.live(number)
        seen = index = 0
        while index < len(live):
            place = live[index]
            index += 1
            if place == avoid or not self.groups.allow(number, place):
                continue
            found = self._find(number, place, taste)
            if found is None:
                index -= 1
                self._kinds.drop(number, index)
                continue
            misses = self.groups.misses(number, place)
            if best is None or (misses, found[0]) < best[0]:
                best = (misses, found[0]), found[1]
            if misses:
                continue  # one may come that its groups like better
            seen += 1
            if seen == _CHOICES or taste.cells == "first":
                break
        return None if best is None else best[1]

    def on(self, number: int, place: int, taste: Taste = TIGHT) -> Fit | None:
        """A place for a guest on a certain host."""
        if not self._kinds.may(number, place) or not self.groups.allow(number, place):
            return None
        found = self._find(number, place, taste)
        return None if found is None else found[1]

    def near(self, number: int, place: Place, *, there: bool) -> Fit | None:
        """Other CPUs, pages or devices for a guest in the cells where it was (`there`), or other cells of its host."""
        host, want = self.hosts[self._numbers[place.host]], self.wants[number]
        if not self.groups.allow(number, host.number):
            return None
        homes = tuple(host.by_id[cell.home].number for cell in place.cells)
        if there:
            return find_at(host, want, homes)
        if not homes:
            return None  # it only wants devices, and is in no cell
        found = find(host, want, TIGHT, unlike=homes)
        return None if found is None else found[1]

    def host_of(self, number: int) -> int | None:
        """Where a guest is."""
        if number in self.fits:
            return self.fits[number].host
        return self._numbers.get(self.places[number].host) if number in self.places else None

    def hopeless(self, numbers: Iterable[int]) -> set[int]:
        """Those of some guests that fit nowhere even now, one guest of each kind being tried."""
        known: dict[int, bool] = {}
        found: set[int] = set()
        for number in numbers:
            kind = self._kinds.of[number]
            if number in self.groups:
                hopeless = self.search(number, _FIRST) is None
            elif kind in known:
                hopeless = known[kind]
            else:
                hopeless = known[kind] = self.search(number, _FIRST) is None
            if hopeless:
                found.add(number)
        return found

    def kind(self, number: int) -> int:
        """Guests of one kind are of one shape, and have the same candidates."""
        return self._kinds.of[number]

    def hosts_for(self, number: int) -> Sequence[int]:
        """The hosts that a guest may be on, as far as they and it go."""
        return self._kinds.hosts(number)

    def _find(self, number: int, place: int, taste: Taste) -> tuple[float, Fit] | None:
        host, want = self.hosts[place], self.wants[number]
        self.steps += max(1, len(host.cells) * len(want.cells))
        found = find(host, want, taste) if len(want.cells) <= len(host.cells) else None
        if found is None and want.shape.spills:
            return find_across(host, want)
        return found

    # -- in and out ----------------------------------------------------------------------------------------

    def put(self, number: int, taste: Taste = TIGHT, avoid: int = -1) -> bool:
        """Find a place for a guest and give it that; the first of some that stay together goes where all can be."""
        if number in self.groups and self._lead(number, taste, avoid):
            return True
        fit = self.search(number, taste, avoid)
        if fit is None:
            return False
        self.give(number, fit)
        return True

    def _lead(self, number: int, taste: Taste, avoid: int) -> bool:
        """Put the first of some guests that stay together where there is room for the others."""
        others = self.groups.followers(number)
        if not others:
            return False
        liked = sorted(self.hosts_for(number), key=lambda place: self._missed(number, others, place))
        for place in liked:
            fit = None if place == avoid else self.on(number, place, taste)
            if fit is None:
                continue
            self.give(number, fit)
            there = [other for other in others if self.put(other, taste)]
            for other in there:
                self.remove(other)
            if len(there) == len(others):
                return True
            self.remove(number)
        return False

    def _missed(self, number: int, others: Iterable[int], place: int) -> int:
        """How many soft groups would rather not have a guest on a host, nor those that follow it."""
        return sum(self.groups.misses(each, place) for each in (number, *others))

    def give(self, number: int, fit: Fit) -> None:
        """Put a guest there."""
        host = self.hosts[fit.host]
        take(host, self.wants[number], fit, number, 1)
        self.fits[number] = fit
        if number >= self.residents:
            host.guests.add(number)
        self.groups.count(number, fit.host, 1)

    def remove(self, number: int) -> Fit:
        """Take a guest out again."""
        fit = self.fits.pop(number)
        host = self.hosts[fit.host]
        take(host, self.wants[number], fit, number, -1)
        host.guests.discard(number)
        self.groups.count(number, fit.host, -1)
        self._kinds.revive(fit.host)
        return fit

    def please(self, number: int) -> None:
        """Put a guest where its soft groups want it, if there is room for it now."""
        before = self.remove(number)
        fit = self.search(number, TIGHT)
        misses = self.groups.misses(number, before.host)
        if fit is None or self.groups.misses(number, fit.host) >= misses:
            fit = before
        self.give(number, fit)

    def restore(self, fits: Mapping[int, Fit]) -> None:
        """Put guests where they were, and no others; those that had a place are left as they are."""
        for number in [n for n, fit in self.fits.items() if n >= self.residents and fits.get(n) != fit]:
            self.remove(number)
        for number, fit in fits.items():
            if number not in self.fits:
                self.give(number, fit)

    # -- guests that have a place --------------------------------------------------------------------------

    def release(self, number: int) -> Place:
        """Let go of a guest that kept its place; `fits` may have it then."""
        place = self.places[number]
        self._keep(number, self.wants[number].shape, place, -1)
        self._recount(place)
        return place

    def keep(self, number: int, place: Place) -> bool:
        """Leave a guest that was let go where it was, if nobody took that."""
        host = self.hosts[self._numbers[place.host]]
        if not self.groups.allow(number, host.number) or not self._free(host, place):
            return False
        self.put_back(number, place)
        if host.holds():
            return True
        self.release(number)
        return False

    def put_back(self, number: int, place: Place) -> None:
        """Leave a guest that was let go where it was, whatever else is true."""
        self._keep(number, self.wants[number].shape, place, 1)
        self._recount(place)

    def _free(self, host: HostLeft, place: Place) -> bool:
        devices = {address for addresses in place.devices for address in addresses}
        wanted = [device for device in host.room.devices if device.address in devices] if devices else []
        if len(wanted) < len(devices) or not host.given.isdisjoint(devices):
            return False
        if not all(map(host.is_free, wanted)):
            return False
        cpus = [cpu for cell in place.cells for _, cpu in cell.pins]
        return host.taken.isdisjoint([*cpus, *place.emulator, *place.io_threads])

    def _keep(self, number: int, shape: Shape, place: Place, sign: int) -> None:
        if sign > 0:
            self.places[number] = place
        else:
            del self.places[number]
        if place.host in self._numbers:
            host = self.hosts[self._numbers[place.host]]
            host.keep(number, shape, place, sign)
            self.groups.count(number, host.number, sign)

    def _recount(self, place: Place) -> None:
        host = self.hosts[self._numbers[place.host]]
        host.recount()
        self._kinds.revive(host.number)


class _Kinds:
    """Guests of one shape and the same candidates are of one kind; what is true of a host for one is for all.

    Rooms only fill up while guests come in: a host without room for a kind is dropped for it until a guest goes.
    """

    def __init__(self, guests: Iterable[tuple[VmToPlace, Shape]], hosts: Sequence[HostLeft]) -> None:
        self.of: list[int] = []
        self.wants: list[Want] = []
        self._candidates: list[frozenset[str]] = []
        self._hosts = hosts
        self._suited: dict[int, list[int]] = {}
        self._may: dict[int, frozenset[int]] = {}
        self._live: dict[int, list[int]] = {}
        self._dropped: dict[int, list[int]] = defaultdict(list)
        known: dict[tuple[int, int], int] = {}
        shapes: dict[Shape, Want] = {}
        names: dict[tuple[str, ...], frozenset[str]] = {}
        # Candidates are long and mostly one and the same tuple: looking at each anew would take longer than placing.
        seen: dict[int, frozenset[str]] = {}
        for vm, shape in guests:
            want = shapes.get(shape) or shapes.setdefault(shape, Want.of(shape))
            candidates = seen.get(id(vm.candidates))
            if candidates is None:
                candidates = names.setdefault(vm.candidates, frozenset(vm.candidates))
                seen[id(vm.candidates)] = candidates
            key = id(want), id(candidates)
            if key not in known:
                known[key] = len(self.wants)
                self.wants.append(want)
                self._candidates.append(candidates)
            self.of.append(known[key])

    def hosts(self, number: int) -> list[int]:
        """The hosts that suit a guest, however full they are."""
        kind = self.of[number]
        if kind not in self._suited:
            candidates, want = self._candidates[kind], self.wants[kind]
            self._suited[kind] = [
                host.number for host in self._hosts if host.room.name in candidates and suits(host, want)
            ]
        return self._suited[kind]

    def may(self, number: int, place: int) -> bool:
        """Whether a host suits a guest."""
        kind = self.of[number]
        if kind not in self._may:
            self._may[kind] = frozenset(self.hosts(number))
        return place in self._may[kind]

    def live(self, number: int) -> list[int]:
        """Those that may have room."""
        kind = self.of[number]
        live = self._live.get(kind)
        return live if live is not None else self._live.setdefault(kind, list(self.hosts(number)))

    def drop(self, number: int, index: int) -> None:
        """Look no more at one of `live`."""
        kind = self.of[number]
        self._dropped[self._live[kind].pop(index)].append(kind)

    def revive(self, place: int) -> None:
        """Look at a host again, for it has more room than before."""
        for kind in self._dropped.pop(place, ()):
            insort(self._live[kind], place)


class _Groups:
    """How many members of each group are on which host, or under which value of its label.

    Attributes:
        wishful: members of soft groups.
    """

    def __init__(
        self,
        guests: Sequence[VmToPlace],
        hosts: Sequence[HostRoom],
        groups: Sequence[Group],
        others: Mapping[str, str],
    ) -> None:
        self._groups = groups
        numbers = {vm.name: number for number, vm in enumerate(guests)}
        self._of: dict[int, list[int]] = defaultdict(list)
        self._members = [
            sorted(numbers[name] for name in group.members if name in numbers) for group in groups
        ]
        for index, members in enumerate(self._members):
            for number in members:
                self._of[number].append(index)
        self.wishful = frozenset(n for n, mine in self._of.items() if any(groups[i].soft for i in mine))
        scopes = {group.scope for group in groups}
        self._value = {
            scope: [room.name if scope == "host" else room.labels.get(scope) for room in hosts]
            for scope in sorted(scopes)
        }
        self._under: list[Counter[str | None]] = [Counter() for _ in groups]
        self._placed = [0 for _ in groups]
        places = {room.name: number for number, room in enumerate(hosts)}
        for index, group in enumerate(groups):
            for name in sorted(group.members & others.keys()):
                if others[name] in places:
                    self._add(index, places[others[name]], 1)

    def __contains__(self, number: int) -> bool:
        return number in self._of

    def allow(self, number: int, place: int) -> bool:
        """Whether a guest may be on a host beside those that are there."""
        return number not in self._of or self.hindrance(number, place) is None

    def hindrance(self, number: int, place: int) -> Group | None:
        """A group because of which a guest may not be on a host."""
        for index in self._of.get(number, ()):
            if not self._groups[index].soft and self._clashes(index, place):
                return self._groups[index]
        return None

    def misses(self, number: int, place: int) -> int:
        """How many soft groups would rather not have a guest on a host beside those that are there."""
        if number not in self.wishful:
            return 0
        return sum(self._groups[index].soft and self._clashes(index, place) for index in self._of[number])

    def _clashes(self, index: int, place: int) -> bool:
        group = self._groups[index]
        there = self._under[index][self._value[group.scope][place]]
        if group.apart:
            return there >= group.most
        return self._placed[index] > 0 and not there

    def followers(self, number: int) -> list[int]:
        """The guests that have to be where this one goes; none where one of them is somewhere."""
        found = []
        for index in self._of.get(number, ()):
            group = self._groups[index]
            if not group.apart and not group.soft and not self._placed[index]:
                found += [other for other in self._members[index] if other != number]
        return found

    def of(self, number: int) -> tuple[int, ...]:
        """The groups that a guest is a member of."""
        return tuple(self._of.get(number, ()))

    def counted(self, hosts: Sequence[HostLeft]) -> bool:
        """Whether hard groups only say how many may come where, as those do of which one is somewhere."""
        return all(
            group.apart
            or group.soft
            or self._placed[index] > 0
            or len({self._value[group.scope][host.number] for host in hosts}) == 1
            for index, group in enumerate(self._groups)
        )

    def limits(self, number: int, place: int) -> Iterator[tuple[int, str | None]]:
        """Groups and values of their labels under which a guest counts on a host."""
        for index in self._of.get(number, ()):
            group = self._groups[index]
            if group.apart and not group.soft:
                yield index, self._value[group.scope][place]

    def free(self, index: int, value: str | None) -> int:
        """How many members of a group may come under a value."""
        return max(0, self._groups[index].most - self._under[index][value])

    def members_of(self, group: Group) -> list[int]:
        """The guests of a group."""
        return self._members[self._groups.index(group)]

    def value(self, group: Group, place: int) -> str | None:
        """What a group's label is on a host."""
        return self._value[group.scope][place]

    def count(self, number: int, place: int, sign: int) -> None:
        """Note that a guest came, or with sign -1 that it went."""
        for index in self._of.get(number, ()):
            self._add(index, place, sign)

    def _add(self, index: int, place: int, sign: int) -> None:
        self._under[index][self._value[self._groups[index].scope][place]] += sign
        self._placed[index] += sign


def suits(host: HostLeft, want: Want) -> bool:
    """Whether a host could have guests of a shape, were it empty enough: its labels, and CPUs to share."""
    shape = want.shape
    if shape.emulator == "share" and not any(left.cell.shared for left in host.cells):
        return False
    if len(want.cells) > len(host.cells):
        return False
    return all(host.room.labels.get(key) == value for key, value in shape.labels)
