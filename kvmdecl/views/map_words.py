"""What the map of hosts is told in, as text and as a picture: letters for guests, runs of numbers, names made short."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING

from kvmdecl.hostmap import News, Role, Use
from kvmdecl.names import about_size
from kvmdecl.text import safe_text, set_of
from kvmdecl.views.plan_text import count

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kvmdecl.hostmap import MappedGuest, MappedHost, Seat

USES = {
    Use.FREE: (".", "free for a vCPU alone"),
    Use.SHARED: ("=", "shared"),
    Use.HOST: ("-", "the host's"),
    Use.KEPT: ("_", "kept empty beside its guest"),
}
SEVERAL = ("#", "several guests")
NEWS = {News.NONE: (" ", ""), News.NEW: ("+", "new"), News.MOVED: ("~", "on other CPUs or cells than now")}

_ROLES = {
    Role.VCPU: "vCPU",
    Role.EMULATOR: "emulator",
    Role.IO_THREAD: "I/O thread",
    Role.ANY: "pinned",
    Role.SIBLING: "alone on its core",
}
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LONGEST_NAME = 64
_NUMBERED = re.compile(r"(.*?)(0|[1-9][0-9]{0,8})", re.DOTALL)


def tags(host: MappedHost) -> Mapping[str, str]:
    """A letter, or two on a crowded host, for each guest that has a CPU, or memory of a cell."""
    named = {seat.guest for cell in host.cells for core in cell.cores for cpu in core for seat in cpu.seats}
    named |= {
        part.guest
        for cell in host.cells
        for parts in (cell.floating, *(pages.taken for pages in cell.pages))
        for part in parts
    }
    shown = [guest.id for guest in host.guests if guest.id in named]
    if len(shown) <= len(_LETTERS):
        return dict(zip(shown, _LETTERS, strict=False))
    return {guest: _letters(number) for number, guest in enumerate(shown)}


def _letters(number: int) -> str:
    tag = ""
    while number or len(tag) < 2:  # a letter beside two would be hard to read
        number, digit = divmod(number, 26)
        tag = _LETTERS[digit] + tag
    return tag


def seat_words(seat: Seat) -> str:
    """`vCPU 3`, `emulator`, `I/O thread 1`."""
    return _ROLES[seat.role] + ("" if seat.number is None else f" {seat.number}")


def guest_seats(host: MappedHost) -> Mapping[str, str]:
    """Where each guest sits: `vCPUs 0-3 on 2,10,3,11, emulator on 4`."""
    sitting: defaultdict[str, defaultdict[Role, list[tuple[int, int]]]] = defaultdict(
        lambda: defaultdict(list)
    )
    floating: defaultdict[str, list[str]] = defaultdict(list)
    for cell in host.cells:
        for core in cell.cores:
            for cpu in core:
                for seat in cpu.seats:
                    sitting[seat.guest][seat.role].append((seat.number or 0, cpu.id))
        for part in cell.floating:
            floating[part.guest].append(f"{count(part.amount, 'vCPU')} on shared CPUs of cell {cell.id}")
    return {
        guest: ", ".join([*_sitting(sitting[guest]), *floating[guest]])
        for guest in sorted({*sitting, *floating})
    }


def _sitting(by_role: Mapping[Role, list[tuple[int, int]]]) -> Iterable[str]:
    for role in (Role.VCPU, Role.EMULATOR, Role.IO_THREAD, Role.ANY):
        if seats := sorted(by_role.get(role, ())):
            numbers = set_of(number for number, _ in seats)
            whose = f"{'s' * (len(seats) > 1)} {numbers}" if role in {Role.VCPU, Role.IO_THREAD} else ""
            yield f"{_ROLES[role]}{whose} on {in_runs([cpu for _, cpu in seats])}"


def size_words(guests: Iterable[MappedGuest]) -> str:
    """`4 CPUs, 8GiB`, of all of them."""
    of = list(guests)
    return f"{count(sum(guest.cpus for guest in of), 'CPU')}, {about_size(sum(guest.memory for guest in of))}"


def host_words(host: MappedHost) -> str:
    """`16 CPUs, 15 for guests; 48GiB`."""
    cpus = sum(len(core) for cell in host.cells for core in cell.cores)
    reserved = f", {host.cpus} for guests" if host.cpus != cpus else ""
    maintenance = "; in maintenance" if host.maintenance else ""
    return f"{count(cpus, 'CPU')}{reserved}; {about_size(host.memory)}{maintenance}"


def free_words(host: MappedHost) -> str:
    """`3.5GiB of 30GiB free`, of what is no huge page."""
    return f"{about_size(host.free)} of {about_size(host.room)} free"


def state_words(guest: MappedGuest) -> str:
    """What is out of the ordinary about a guest, after a comma."""
    if not guest.managed:
        return ", not in the manifest"
    return "" if guest.running else ", stopped"


def reason_of(host: MappedHost) -> str:
    """Why a host was not read."""
    return safe_text(host.reason.removeprefix(f"{host.name}: "))


def in_runs(numbers: Sequence[int]) -> str:
    """The numbers in their order: 4, 5, 6, 20, 9 -> `4-6,20,9`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return ",".join("-".join(map(str, run)) for run in runs)


def name_of(name: str) -> str:
    """A name from outside, safe and not too long."""
    return safe_text(name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 3] + "...")


def folded(names: Iterable[str]) -> str:
    """Names in order, those that differ by a number in one: `db, web-{1..3}, web-7`."""
    numbers: dict[tuple[str, bool], list[int]] = {}
    for name in names:
        match = _NUMBERED.fullmatch(name)
        key, number = ((match[1], True), int(match[2])) if match else ((name, False), 0)
        numbers.setdefault(key, []).append(number)
    return ", ".join(
        name_of(stem) + (f"{{{run.replace('-', '..')}}}" if "-" in run else run)
        for (stem, numbered), of in numbers.items()
        for run in (set_of(of).split(",") if numbered else [""])
    )
