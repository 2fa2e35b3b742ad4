"""Guests that exist -> entries of a manifest, by which the next apply takes them over and changes nothing.

Pure: what hosts hold was read before, and files are written afterwards, by whoever calls this.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kvmdecl.adopt.entry import Entry, NotExpressible, Surroundings, make_entry
from kvmdecl.adopt.guest import Keys, Networks
from kvmdecl.adopt.profiles import factor
from kvmdecl.adopt.splice import splice
from kvmdecl.adopt.yaml_text import block
from kvmdecl.diagnostics import Diagnostic, Note, Rejected, Severity
from kvmdecl.libvirt_xml.fields import plain
from kvmdecl.libvirt_xml.marker import read_marker
from kvmdecl.libvirt_xml.safe import BadXml, parse_xml
from kvmdecl.names import is_name
from kvmdecl.plan import Action, Plan
from kvmdecl.source import Mapping as Tree
from kvmdecl.source import Source, parse, to_data
from kvmdecl.state import Address, Kind
from kvmdecl.tasks import AdoptDomain
from kvmdecl.text import quoted, safe_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from kvmdecl.cluster import ResolvedCluster
    from kvmdecl.state import HostSnapshot, ObservedDomain


@dataclass(frozen=True, slots=True)
class Files:
    """A manifest's files as they are (without a byte order mark), and the one that gets the entries."""

    texts: Mapping[Path, str]
    target: Path


@dataclass(frozen=True, slots=True)
class Adoption:
    """What adopting comes to.

    Attributes:
        text: of the target file with the entries; None if there is nothing to add.
        added: the lines that were added, by section.
        vms: names of the guests.
        refused: guests that stay as they are, and why.
    """

    text: str | None
    added: Mapping[str, tuple[str, ...]]
    vms: tuple[str, ...]
    refused: tuple[Diagnostic, ...]


def adopt(
    cluster: ResolvedCluster,
    files: Files,
    snapshot: HostSnapshot,
    names: Iterable[str] | None,
    plan: Callable[[Mapping[Path, str]], Plan],
) -> Adoption:
    """Write entries for domains of a host, and make sure that a plan with them would only mark the domains.

    Args:
        cluster: the manifest as it is.
        files: its files.
        snapshot: the host.
        names: of the domains; all that are nobody's if None.
        plan: makes a plan of the manifest with some files' texts replaced.

    Raises:
        Rejected: the manifest has no room for entries, or what would be written cannot be planned at all.
    """
    writer = _Writer(cluster, files, snapshot)
    entries, refused = writer.entries(names)
    while entries:
        added = writer.lines(entries)
        text = writer.text(added)
        try:
            failed = dict(_not_empty(plan({files.target: text}), snapshot.host, entries))
        except Rejected:
            failed = writer.conflicts(entries, plan)
            if not failed:
                raise  # for what others than these entries say
            refused += failed.values()
            entries = {name: entry for name, entry in entries.items() if name not in failed}
            continue
        if not failed:
            return Adoption(text, added, tuple(sorted(entries)), (*refused, *writer.notes(entries)))
        refused += failed.values()
        entries = {name: entry for name, entry in entries.items() if name not in failed}
    return Adoption(None, {}, (), tuple(refused))


class _Writer:
    """Entries for one host's domains, and the text that they become."""

    def __init__(self, cluster: ResolvedCluster, files: Files, snapshot: HostSnapshot) -> None:
        self._cluster = cluster
        self._files = files
        self._snapshot = snapshot
        self._networks = dict(_networks(cluster, snapshot))
        self._known = frozenset(name for _, name in self._networks.values())
        self._taken = {network.name for network in cluster.networks}

    # -- which domains -------------------------------------------------------------------------------------

    def entries(self, names: Iterable[str] | None) -> tuple[dict[str, Entry], list[Diagnostic]]:
        found: dict[str, Entry] = {}
        refused: list[Diagnostic] = []
        domains = {domain.name: domain for domain in self._snapshot.state.domains}
        for name in sorted(domains) if names is None else names:
            if name not in domains:
                refused.append(
                    self._refuse(name, "there is none", f"domains are {_listed(domains)}", "unknown-vm")
                )
                continue
            if self._is_declared(domains[name]):
                if names is not None:
                    refused.append(
                        self._refuse(name, "the manifest has it already", "there is nothing to do")
                    )
                continue
            if why := self._obstacle(domains[name]):
                refused.append(self._refuse(name, *why))
                continue
            self._plug(domains[name])
            try:
                found[name] = make_entry(domains[name], self._surroundings())
            except NotExpressible as error:
                paths = ", ".join(error.paths[:5])
                why = (
                    f"no entry says the same: {safe_text(paths)}",
                    "define it without these, or tell us about it",
                )
                refused.append(self._refuse(name, *why))
            except BadXml as error:
                refused.append(
                    self._refuse(name, f"its definition cannot be read: {safe_text(str(error))}", "")
                )
        return found, refused

    def _is_declared(self, domain: ObservedDomain) -> bool:
        return any(vm.uuid == domain.uuid for vm in self._cluster.vms)

    def _obstacle(self, domain: ObservedDomain) -> tuple[str, str] | None:
        if not is_name(domain.name):
            why = "a name in a manifest has 1 to 63 of a-z, 0-9, `-` and `.`"
            return why, "rename it while it is shut off: `virsh domrename OLD NEW`"
        if any(vm.name == domain.name for vm in self._cluster.vms):
            return "the manifest has another vm of that name", "rename one of them"
        if not domain.persistent:
            return "it has no persistent definition to take over", "`virsh define` it while it runs"
        marker = read_marker(domain.xml)
        if marker is not None and marker.uuid == domain.uuid and marker.cluster != self._cluster.name:
            return f"it is cluster {quoted(marker.cluster)}'s", "take it out of that cluster's manifest first"
        return None

    def _refuse(self, name: str, why: str, hint: str, code: str = "not-possible") -> Diagnostic:
        subject = f"{self._snapshot.host}/{Kind.DOMAIN}/{name}"
        return Diagnostic(
            f"adopt.{code}",
            f"domain {quoted(name)} of {self._snapshot.host} is not taken over: {why}",
            hint=hint,
            subject=subject,
        )

    # -- what entries stand in -----------------------------------------------------------------------------

    def _surroundings(self) -> Surroundings:
        return Surroundings(
            host=self._snapshot.host,
            facts=self._snapshot.facts,
            networks={name: keys for keys, name in self._networks.values()},
            plugged=Networks({plug: name for plug, (_, name) in self._networks.items()}),
            defaults=_defaults(self._files.texts),
        )

    def _plug(self, domain: ObservedDomain) -> None:
        """Give the networks that a domain is plugged into a name in the manifest, where the host has them."""
        facts, networks = self._snapshot.facts, {network.name for network in self._snapshot.state.networks}
        for nic in parse_xml(domain.xml).iterfind("devices/interface"):
            kind, source = nic.get("type", ""), nic.find("source")
            name = source.get(kind, "") if source is not None else ""
            there = {"bridge": set(facts.interfaces), "network": networks}.get(kind, set())
            if f"{kind}:{name}" in self._networks or name not in there or not is_name(name):
                continue
            if name not in self._taken:
                keys: Keys = {"bridge": name} if kind == "bridge" else {"mode": "existing"}
                self._networks[f"{kind}:{name}"] = keys, name
                self._taken.add(name)

    # -- the text ------------------------------------------------------------------------------------------

    def lines(self, entries: Mapping[str, Entry], *, profiles: bool = True) -> dict[str, tuple[str, ...]]:
        """Lines of entries by section, without indentation; with `profiles` for what several say alike."""
        used = {nic["network"] for entry in entries.values() for nic in entry.keys.get("nics", [])}
        networks = {
            name: keys for keys, name in self._networks.values() if name in used and name not in self._known
        }
        stem = f"{self._snapshot.host}-adopted"
        vms: Mapping[str, Keys] = {name: entry.keys for name, entry in entries.items()}
        shared: Mapping[str, Keys] = {}
        if profiles:
            shared, vms = factor(vms, stem)
        sections = {
            "networks": tuple(line for name in sorted(networks) for line in block(name, networks[name])),
            "profiles": tuple(line for name, keys in shared.items() for line in _entry(name, keys)),
            "vms": tuple(
                line
                for name in sorted(entries)
                for line in (*_comments(entries[name]), *_entry(name, vms[name]))
            ),
        }
        return {section: lines for section, lines in sections.items() if lines}

    def text(self, added: Mapping[str, tuple[str, ...]]) -> str:
        """The target file with the lines."""
        text = self._files.texts.get(self._files.target, "")
        for section, lines in added.items():
            name = str(self._files.target)
            text = splice(name, text, section, lines) if text else "\n".join(_new(section, lines)) + "\n"
        return text

    def conflicts(
        self, entries: Mapping[str, Entry], plan: Callable[[Mapping[Path, str]], Plan]
    ) -> dict[str, Diagnostic]:
        """The guests whose entries a manifest cannot have, beside each other or beside what it has, and why."""
        target = self._files.target
        text = self.text(self.lines(entries, profiles=False))
        try:
            plan({target: text})
        except Rejected as rejected:
            found = [
                (_entry_at(text, at.line), each)
                for each in rejected.diagnostics
                for at in (each.at, *(note.at for note in each.notes))
                if at is not None and at.file == str(target)
            ]
            return {name: self._conflict(name, each) for name, each in reversed(found) if name in entries}
        return {}

    def _conflict(self, name: str, found: Diagnostic) -> Diagnostic:
        return Diagnostic(
            "adopt.conflict",
            f"domain {quoted(name)} of {self._snapshot.host} is not taken over: {found.summary}",
            cause=found.cause,
            hint="clear that up first, or take over one of them by its name; `kvmdecl explain "
            f"{found.code}` tells more.",
            subject=f"{self._snapshot.host}/{Kind.DOMAIN}/{name}",
        )

    def notes(self, entries: Mapping[str, Entry]) -> Iterator[Diagnostic]:
        """What a reader of the entries has to know."""
        for entry in entries.values():
            if entry.has_secrets:
                yield Diagnostic(
                    "adopt.secret",
                    f"what may be a secret of {entry.name} is not written down",
                    cause="It stays as it is on the host; a manifest is no place for it.",
                    severity=Severity.WARNING,
                    subject=f"{self._snapshot.host}/{Kind.DOMAIN}/{entry.name}",
                )


def _entry_at(text: str, number: int) -> str:
    """The name of the vm in whose entry a line is (lines from 1), empty if it is in none."""
    lines = text.splitlines()[:number]
    entry, depth = "", len(lines[-1]) if lines else 0
    for line in reversed(lines):
        indent = len(line) - len(line.lstrip())
        if not line.strip() or line.lstrip().startswith("#") or indent >= depth:
            continue
        if indent == 0:
            return entry if line.startswith("vms:") else ""
        entry, depth = line.strip().partition(":")[0].strip("\"'"), indent
    return ""


def _networks(cluster: ResolvedCluster, snapshot: HostSnapshot) -> Iterator[tuple[str, tuple[Keys, str]]]:
    """What the manifest's networks are to a NIC."""
    for network in cluster.networks:
        if snapshot.host not in network.hosts or network.spec.state == "absent":
            continue
        if network.spec.mode == "bridge":
            yield f"bridge:{network.bridge}", ({"bridge": network.bridge}, network.name)
        else:
            yield f"network:{network.name}", ({"mode": "existing"}, network.name)


def _defaults(texts: Mapping[Path, str]) -> Mapping[str, Any]:
    """What the manifest says of every vm."""
    for path, text in texts.items():
        root, _ = parse(Source(str(path), text))
        section = root.get("defaults")
        vms = section.get("vms") if isinstance(section, Tree) else None
        if isinstance(vms, Tree):
            found = to_data(vms)
            return found if isinstance(found, dict) else {}
    return {}


def _entry(name: str, keys: Keys) -> Iterator[str]:
    yield f"{name}:"
    for key, value in keys.items():
        yield from block(key, value, 2)


def _new(section: str, lines: tuple[str, ...]) -> Iterator[str]:
    yield f"{section}:"
    yield from (f"  {line}" if line else "" for line in lines)


def _comments(entry: Entry) -> Iterator[str]:
    sections = tuple(dict.fromkeys(map(_section, entry.by_xml)))
    if sections:
        yield f"# {entry.name}: no key says all of {', '.join(sections)}; `xml` does."
    if entry.has_secrets:
        yield f"# {entry.name}: what may be a secret stays on the host and is not written here."


def _section(path: str) -> str:
    if path.startswith("{"):
        return path.partition("}")[2].partition("/")[0].partition("@")[0]
    parts = plain(path).partition("@")[0].split("/")
    return "/".join(parts[:2] if parts[0] in {"devices", "cpu", "features"} else parts[:1]) or "domain"


def _listed(names: Iterable[str]) -> str:
    some = sorted(names)
    return (
        ", ".join(map(quoted, some[:10])) + (", ..." if len(some) > 10 else "")
        if some
        else "not there at all"
    )


def _not_empty(plan: Plan, host: str, entries: Mapping[str, Entry]) -> Iterator[tuple[str, Diagnostic]]:
    """Guests to which an apply would do more than mark them, or nothing at all, and why."""
    steps = {step.address: step for step in plan.steps}
    blocked = {found.subject: found for found in plan.blocked}
    for name in entries:
        address = Address(host, Kind.DOMAIN, name)
        step = steps.get(address)
        if step is not None and step.action is Action.ADOPT and isinstance(step.task, AdoptDomain):
            continue
        notes: tuple[Note, ...] = ()
        if (reason := blocked.get(str(address))) is not None:
            notes = (Note(reason.summary),)
        elif step is not None:
            notes = tuple(
                Note(
                    f"{c.key}: {quoted(c.before or 'nothing')} -> {quoted(c.after or 'nothing')} ({c.impact.word})"
                )
                for c in step.changes
            )
        yield (
            name,
            Diagnostic(
                "adopt.not-empty",
                f"domain {quoted(name)} of {host} is not taken over: a plan would do more than mark it",
                cause="Its running guest may differ from its definition, or something that it stands on is missing.",
                hint="bring the two together with virsh (a restart of the guest does it), then adopt it again.",
                notes=notes,
                subject=str(address),
            ),
        )
