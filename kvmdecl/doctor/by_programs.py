"""Questions about one host that its own programs answer: libvirt does not tell these things."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import groupby
from typing import TYPE_CHECKING

from kvmdecl.answers import Answer
from kvmdecl.inside import MIGRATION_PORTS, NO_WAY, Inside
from kvmdecl.names import about_size
from kvmdecl.text import safe_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from kvmdecl.answers import Outcome
    from kvmdecl.doctor.patient import Patient
    from kvmdecl.inside import Certificate, FileSystem, Way

_OFF, _FAR_OFF = 1.0, 60.0
"""Seconds that a clock may differ; beyond the second certificates and tickets begin to be refused."""
_FULL, _NEARLY_FULL = 2, 10
_ENDS_SOON = 30 * 86400
_PRESSED = 10.0
"""Percent of five minutes that something waited."""
_LIBVIRTS_OWN = ("/etc/libvirt", "/var/lib/libvirt", "/var/log/libvirt")
_HOW = {
    "silent": "and nobody answers: a firewall swallows it",
    "unreachable": "and is turned away: no route, or a firewall",
    "nameless": "and does not know that name",
}


def answers(p: Patient, shown: Certificate | None) -> Iterator[Answer]:
    """All of them; `shown` is the certificate that its libvirtd has. Without a look inside each is unknown."""
    inside = p.inside
    if not isinstance(inside, Inside):
        for name in ("clock", "thp", "pool-inodes", "room", "migration-ports", "pressure"):
            yield p.unknown(name, inside.why, inside.fix)
        yield from _certificate(p, (shown,) if shown else ())
        return
    for question in _QUESTIONS:
        yield from question(p, inside)
    yield from _certificate(p, (*inside.certificates, *((shown,) if shown else ())))


def own_certificate(certificate: Certificate | None, now: float) -> Iterator[Answer]:
    """That of the machine that asks: without it no host lets anybody in."""
    if certificate is not None:
        fix = "have it renewed, or no host that is reached by TLS lets kvmdecl in"
        outcome, told = _validity("this machine's certificate", certificate, now)
        yield Answer("", "client-certificate", outcome, told, "" if outcome == "ok" else fix)


def _clock(p: Patient, inside: Inside) -> Iterator[Answer]:
    if inside.clock is None:
        yield p.unknown("clock", "`date` does not say how late it is there")
        return
    least, most = inside.clock
    off = max(least, -most, 0.0)
    side = "ahead of" if least > 0 else "behind"
    told = f"its clock is {off:.0f} s {side} this machine's"
    fix = "let chronyd or systemd-timesyncd keep its clock right; or this machine's, if all hosts are as far off"
    if off >= _FAR_OFF:
        yield p.failure("clock", told, fix)
    elif off >= _OFF:
        yield p.advice("clock", told, fix)
    elif inside.synchronised is False:
        yield p.advice("clock", "its clock is right, and nothing keeps it so", fix)
    else:
        yield p.well("clock", "its clock goes with this machine's")


def _huge(p: Patient, inside: Inside) -> Iterator[Answer]:
    """Kernel documentation, admin-guide/mm/transhuge."""
    plain = [vm.name for vm in p.vms if vm.spec.memory.pages is None]
    if not inside.huge:
        yield p.unknown("thp", "its kernel says nothing of transparent huge pages")
    elif inside.huge == "never" and plain:
        told = f"gives guests such as {plain[0]} small pages only: transparent huge pages are off"
        fix = "write `madvise` into /sys/kernel/mm/transparent_hugepage/enabled, or give guests `pages: 2MiB`"
        yield p.advice("thp", told, fix)
    elif inside.defrag == "always":
        told = "lets guests wait while the kernel puts memory together for huge pages"
        yield p.advice("thp", told, "write `madvise` into /sys/kernel/mm/transparent_hugepage/defrag")
    else:
        yield p.well("thp", f"transparent huge pages: {safe_text(inside.huge)}")


def _file_systems(p: Patient, inside: Inside) -> Iterator[Answer]:
    seen = {each.path: each for each in inside.file_systems}
    active = {pool.name for pool in p.state.pools if pool.active}
    for pool in p.cluster.pools:
        path = pool.spec.path
        if p.host.name not in pool.hosts or path is None or pool.name not in active:
            continue
        if (found := seen.get(path)) is None:
            yield p.unknown("pool-inodes", f"{path} of pool {pool.name} cannot be seen there")
        elif not found.inodes:
            yield p.well("pool-inodes", f"pool {pool.name} makes inodes as it needs them")
        else:
            left, of = found.free_inodes, found.inodes
            told = f"pool {pool.name} has {left:,} of {of:,} inodes left"
            fix = "delete small files beside the pool, or make its file system with more inodes"
            yield _by_share(p, "pool-inodes", left, of, told, fix)
    yield from _room(p, [seen[path] for path in _LIBVIRTS_OWN if path in seen])


def _room(p: Patient, own: list[FileSystem]) -> Iterator[Answer]:
    """Definitions, firmware variables, saved memory and logs: libvirt stops at a full disk."""
    shares = [
        (100 * left // of, each, what)
        for each in own
        for left, of, what in (
            (each.available, each.size, f"{about_size(each.available)} of {about_size(each.size)}"),
            (each.free_inodes, each.inodes, f"{each.free_inodes:,} of {each.inodes:,} inodes"),
        )
        if of
    ]
    if shares:
        share, fullest, what = min(shares, key=lambda each: each[0])
        told = f"{fullest.path} has {what} left"
        yield _by_share(p, "room", share, 100, told, "make room there, or libvirt can write no definition")


def _by_share(p: Patient, name: str, left: int, of: int, told: str, fix: str) -> Answer:
    if 100 * left < _FULL * of:
        return p.failure(name, told, fix)
    return p.advice(name, told, fix) if 100 * left < _NEARLY_FULL * of else p.well(name, told)


def _ports(p: Patient, inside: Inside) -> Iterator[Answer]:
    first, last = inside.ports
    there = last - first + 1
    taken = sum(first <= port <= last for port in inside.listening)
    span = f"{first} to {last}"
    if there <= taken:
        told = f"has no port left for a guest that migrates to it ({span})"
        yield p.failure(
            "migration-ports", told, "see with `ss -tlnp` who listens there, or widen the range in qemu.conf"
        )
    elif 2 * taken > there:
        told = f"has {there - taken} of {there} ports left for guests that migrate to it ({span})"
        yield p.advice("migration-ports", told, "see with `ss -tlnp` who listens there")
    else:
        own = "" if inside.ports == MIGRATION_PORTS else ", which qemu.conf says"
        yield p.well(
            "migration-ports", f"has {there - taken} free ports for guests that migrate to it ({span}{own})"
        )
    if (
        inside.name.partition(".")[0] == "localhost"
        and not p.host.migration_address
        and len(p.cluster.hosts) > 1
    ):
        told = f"calls itself {safe_text(inside.name)}, which is another machine to whoever is to send it a guest"
        fix = "give it a name of its own (`hostnamectl hostname`), or say `migration_address` of it"
        yield p.failure("migration-name", told, fix)
    yield from _ways(p, inside.ways)


def _ways(p: Patient, ways: tuple[Way, ...] | None) -> Iterator[Answer]:
    if not ways:
        why = (
            "nobody could look into another host"
            if ways is not None
            else "there is no bash, or no timeout, to try with"
        )
        if len(p.cluster.hosts) > 1:
            yield p.unknown("migration-way", why)
        return
    shut = sorted((way for way in ways if way.how in _HOW), key=lambda way: way.how)
    tell = p.failure if any(vm.host is None for vm in p.vms) else p.advice
    for how, those in groupby(shut, key=lambda way: way.how):
        tried = ", ".join(safe_text(f"{way.address}:{way.port} of {way.target}") for way in those)
        fix = (
            "make the name known there, or say `migration_address` of that host"
            if how == "nameless"
            else "open the ports for migration in that host's firewall"
        )
        yield tell("migration-way", f"tries {tried}, {_HOW[how]}: no guest goes there", fix)
    if not shut:
        yield p.well(
            "migration-way", f"reaches the migration ports of {', '.join(way.target for way in ways)}"
        )


def _pressure(p: Patient, inside: Inside) -> Iterator[Answer]:
    """Pressure stall information: kernel documentation, accounting/psi."""
    if not inside.pressure:
        yield p.unknown("pressure", "its kernel does not count who waits (boot it with `psi=1`)")
        return
    pressed = [(name, percent) for name, percent in inside.pressure if percent >= _PRESSED]
    words = {"cpu": "a CPU", "io": "I/O", "memory": "memory"}
    for name, percent in pressed:
        told = (
            f"had something waiting for {words.get(name, name)} in {percent:.0f} % of the last five minutes"
        )
        yield p.advice(
            "pressure", told, "see who with `kvmdecl doctor --verbose` and `top`, and put guests elsewhere"
        )
    if not pressed:
        most = max(percent for _, percent in inside.pressure)
        yield p.well("pressure", f"nothing waited for more than {most:.0f} % of the last five minutes")


def _certificate(p: Patient, known: Iterable[Certificate]) -> Iterator[Answer]:
    first = min(known, key=lambda each: each.until, default=None)
    if first is None:
        if p.host.uri.transport == "tls" and not p.is_lab:
            yield p.unknown("certificate", "it did not show its certificate to whoever connects", NO_WAY.fix)
        return
    outcome, told = _validity("its certificate", first, p.now)
    fix = "" if outcome == "ok" else "have it renewed, then `virt-admin server-update-tls libvirtd`"
    yield Answer(p.host.name, "certificate", outcome, told, fix)


def _validity(whose: str, certificate: Certificate, now: float) -> tuple[Outcome, str]:
    day = datetime.fromtimestamp(certificate.until, UTC).date().isoformat()
    told = f"{whose} ({safe_text(certificate.path)}) is valid until {day}"
    if certificate.until < now:
        return "failure", told.replace("is valid", "was valid")
    return ("advice" if certificate.until < now + _ENDS_SOON else "ok"), told


_QUESTIONS: tuple[Callable[[Patient, Inside], Iterable[Answer]], ...] = (
    _clock, _huge, _file_systems, _ports, _pressure,
)  # fmt: skip
