"""`--host`, `--vm`, `--label` and `--changed-since`: what part of a plan it is that somebody wants."""

from __future__ import annotations

import shlex
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from kvmdecl.cluster import ResolvedCluster
    from kvmdecl.diagnostics import Diagnostic
    from kvmdecl.plan import Plan
    from kvmdecl.planner.selection import Choice
    from kvmdecl.pluginhost import Plugins
    from kvmdecl.state import Observation

Hosts = Annotated[
    list[str] | None,
    typer.Option("--host", metavar="NAME", help="Only what is done on this host (kvm-1, or 'kvm-*')."),
]
Vms = Annotated[
    list[str] | None,
    typer.Option("--vm", metavar="NAME", help="Only this vm, or this entry's, with their disks."),
]
Labels = Annotated[
    list[str] | None,
    typer.Option("--label", metavar="KEY=VALUE", help="Only what is done on hosts with this label."),
]
Since = Annotated[
    str,
    typer.Option(
        "--changed-since",
        metavar="REV",
        help="Only what the manifest says in another way than in this revision of git.",
        show_default=False,
    ),
]


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a plan as it was asked for; none of these is all of it."""

    hosts: tuple[str, ...] = ()
    vms: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    since: str = ""

    @classmethod
    def of(cls, hosts: list[str] | None, vms: list[str] | None, labels: list[str] | None, since: str) -> Part:
        """The part that options name.

        Raises:
            typer.BadParameter: a label without a value, or more than one revision.
        """
        if any("=" not in label.strip("=") for label in labels or ()):
            raise typer.BadParameter("a label is KEY=VALUE, as in `--label rack=r1`")
        if ".." in since:
            raise typer.BadParameter("--changed-since takes one revision: what is there now is the other")
        return cls(tuple(hosts or ()), tuple(vms or ()), tuple(labels or ()), since)

    @property
    def words(self) -> tuple[str, ...]:
        """The same as options."""
        named = (("--host", self.hosts), ("--vm", self.vms), ("--label", self.labels))
        found = tuple(f"{option} {shlex.quote(value)}" for option, values in named for value in values)
        return (*found, f"--changed-since {shlex.quote(self.since)}") if self.since else found


WHOLE = Part()


def choose(
    plan: Plan,
    part: Part,
    cluster: ResolvedCluster,
    path: Path,
    seen: Mapping[str, Observation],
    plugins: Plugins,
) -> Plan:
    """The part of a plan of the manifest at `path`, whose hosts were `seen`.

    Raises:
        Rejected: for names that the manifest does not have, and what stands in the way of a comparison of revisions.
    """
    from kvmdecl.planner.selection import selected

    return selected(plan, _choice(part, cluster, path, seen, plugins)) if part.words else plan


def _choice(
    part: Part, cluster: ResolvedCluster, path: Path, seen: Mapping[str, Observation], plugins: Plugins
) -> Choice:
    from kvmdecl.cli.comparing import compared
    from kvmdecl.diagnostics import Rejected
    from kvmdecl.planner.selection import Choice, subjects
    from kvmdecl.state import HostSnapshot

    said = {host.name: {f"{key}={value}" for key, value in host.labels.items()} for host in cluster.hosts}
    names = [*said, *(host.name for host in cluster.retired)]
    hosts = _Named.of("host", part.hosts, names)
    labels = _Named.of("label", part.labels, (label for each in said.values() for label in each))
    vms = _Named.of("vm", part.vms, (vm.name for vm in cluster.vms))
    if unknown := [*hosts.unknown(), *labels.unknown(), *vms.unknown()]:
        raise Rejected(unknown)
    labelled = frozenset(host for host, has in said.items() if labels.each_key_in(has))
    known = {name: host for name, host in seen.items() if isinstance(host, HostSnapshot)}
    return Choice(
        part.words,
        hosts.meant & labelled
        if hosts and labels
        else hosts.meant
        if hosts
        else labelled
        if labels
        else None,
        vms.meant if vms else None,
        subjects(compared(part.since, path, plugins, known)) if part.since else None,
    )


@dataclass(frozen=True, slots=True)
class _Named:
    """What was said to one option, and the names that are meant by it; nothing was said where it is empty."""

    kind: str
    known: tuple[str, ...]
    by_word: Mapping[str, frozenset[str]]

    @classmethod
    def of(cls, kind: str, said: Iterable[str], known: Iterable[str]) -> _Named:
        names = tuple(dict.fromkeys(known))
        return cls(
            kind, names, {word: frozenset(n for n in names if _is_meant(kind, n, word)) for word in said}
        )

    def __bool__(self) -> bool:
        return bool(self.by_word)

    @property
    def meant(self) -> frozenset[str]:
        return frozenset[str]().union(*self.by_word.values())

    def unknown(self) -> Iterator[Diagnostic]:
        """`plan.unknown-host`, `plan.unknown-vm` or `plan.unknown-label` for each word that means nothing."""
        from kvmdecl.diagnostics import Diagnostic
        from kvmdecl.text import did_you_mean, listed, quoted, with_entries

        near = with_entries(self.known) if self.kind == "vm" else self.known
        for word, names in self.by_word.items():
            if not names:
                hint = did_you_mean(word, near) or f"there are {listed(self.known) or 'none'}"
                yield Diagnostic(
                    f"plan.unknown-{self.kind}", f"there is no {self.kind} {quoted(word)}", hint=hint
                )

    def each_key_in(self, labels: Container[str]) -> bool:
        """Whether these labels have a value that is meant for each key that is named."""
        values: dict[str, list[str]] = {}
        for label in self.meant:
            values.setdefault(label.partition("=")[0], []).append(label)
        return all(any(label in labels for label in some) for some in values.values())


def _is_meant(kind: str, name: str, word: str) -> bool:
    from kvmdecl.text import is_member

    return fnmatchcase(name, word) or (kind == "vm" and is_member(name, word))
