"""What a guest is for -> the changes of its manifest that rules would ask for, each tried before it is proposed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from kvmdecl.diagnostics import Diagnostic, Rejected, Severity
from kvmdecl.edit import applied, removal, setting
from kvmdecl.excerpt import Excerpt, excerpt
from kvmdecl.images import Care, read_inputs
from kvmdecl.load import load, own_entry
from kvmdecl.pipeline import check_cluster, facts_of, link, load_cluster, states_of
from kvmdecl.proposals import Advice, Left, Proposal
from kvmdecl.resolve import parts_of, resolve, usual_solver
from kvmdecl.rules import findings, placed_site, site_of
from kvmdecl.source import Scalar, Source, gc_paused, places, read_text
from kvmdecl.text import did_you_mean, quoted, with_entries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from kvmdecl.cluster import ResolvedCluster, ResolvedVm
    from kvmdecl.edit import Splice
    from kvmdecl.load import LoadedManifest
    from kvmdecl.locate import Place
    from kvmdecl.pluginhost import Plugins
    from kvmdecl.rules import Change, Finding, Rule, Site
    from kvmdecl.state import Observation

_ROUNDS = 8
"""What a change brings up (a disk of a guest with CPUs of its own grows) is asked for in the next round."""


@gc_paused()
def advise(
    path: Path,
    name: str,
    workload: str,
    plugins: Plugins,
    seen: Mapping[str, Observation] | None = None,
    stage: Callable[[ResolvedCluster], ResolvedCluster] = lambda cluster: cluster,
) -> Advice:
    """Propose what the rules of a workload ask for, as changes of the entry that says vm `name`.

    A change is proposed only if the manifest is valid with it, and, where hosts were read (`seen`), if all vms still
    have a place on them. Changes are made in the entry itself, so that others of its profile stay as they are.

    `stage` is what becomes of the cluster in a rehearsal.

    Raises:
        Rejected: `advise.unknown-vm`, or with everything that is wrong before any change.
    """
    loaded = load(path, plugins.sections())
    cluster = link(loaded, path, plugins, Care.IGNORE)
    entry = _entry_of(loaded, name)
    alone = excerpt(loaded.roots, "vms", entry.file, entry.key)
    desk = _Desk(path, entry, workload, plugins, seen, stage, cluster, alone)
    if desk.is_sound():
        advice = _advise(desk)
        if advice.before == advice.after or desk.holds(advice.after):
            return advice
    # It cannot be told without the others: each change is tried on the whole manifest.
    return _advise(_Desk(path, entry, workload, plugins, seen, stage, cluster, Excerpt(entry.file, {})))


def _advise(desk: _Desk) -> Advice:
    texts: dict[Path, str] = {}
    made: dict[tuple[str, str], Proposal] = {}
    left: dict[tuple[str, str], Left] = {}
    for _ in range(_ROUNDS):
        asked = [each for each in desk.findings(texts) if _key(each) not in left]
        for each in asked:
            if _key(each) in made:  # it was done, and did not help
                left[_key(each)] = Left(each[0], each[1].summary, each[1].hint or each[0].fix)
        asked = [each for each in asked if _key(each) not in made]
        if not asked:
            break
        found, refused = desk.best(texts, asked)
        texts = found
        left |= {_key(each): Left(each[0], each[1].summary, why) for each, why in refused}
        done = [each for each in asked if _key(each) not in left]
        made |= {_key((rule, it)): Proposal(rule, it.summary, _changes(it)) for rule, it in done}
    return desk.advice(texts, tuple(made.values()), tuple(left.values()))


def _key(each: tuple[Rule, Finding]) -> tuple[str, str]:
    return each[0].code, each[1].key


def _why_not(each: tuple[Rule, Finding]) -> str:
    """What to do where no change of the entry's text can do it."""
    rule, finding = each
    hint = finding.hint or rule.fix
    return f"something else than this entry says it, such as a profile: {hint}" if _changes(finding) else hint


def _changes(finding: Finding) -> tuple[Change, ...]:
    return finding.proposal or ((finding.change,) if finding.change is not None else ())


@dataclass(frozen=True, slots=True)
class _Entry:
    """An entry of vms: the file and key that say it, and all vms that it says."""

    file: Path
    key: str
    vms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Desk:
    """The manifest as it is (`cluster`), the hosts as far as they were read, and the entry that is looked at.

    Changes are made and tried in an excerpt of the manifest, of which only the entry's vms are taken. An empty excerpt
    stands for all of it.
    """

    path: Path
    entry: _Entry
    workload: str
    plugins: Plugins
    seen: Mapping[str, Observation] | None
    stage: Callable[[ResolvedCluster], ResolvedCluster]
    cluster: ResolvedCluster
    excerpt: Excerpt

    @property
    def before(self) -> str:
        """The text of the entry's file as it is."""
        return self.excerpt.whole(self._text({})) if self.excerpt.texts else self._text({})

    def is_sound(self) -> bool:
        """Whether the excerpt says of the entry's vms what the whole manifest says of them."""
        if self.entry.file not in self.excerpt.texts:
            return False
        try:
            _, found = self._own({})
        except Rejected:
            return False
        return found == {vm.name: vm for vm in self.cluster.vms if vm.name in self.entry.vms}

    def holds(self, after: str) -> bool:
        """Whether the whole manifest is valid with a text of the entry's file."""
        try:
            loaded = load(self.path, self.plugins.sections(), {self.entry.file: after})
            resolve(loaded, read_inputs(loaded, Care.IGNORE), "")
        except Rejected:
            return False
        return True

    def findings(self, texts: Mapping[Path, str]) -> list[tuple[Rule, Finding]]:
        """What the rules find of the vms; of several that one line says, the first."""
        every, owners = findings(self._rules(), self._site(texts)), {f"vm/{vm}" for vm in self.entry.vms}
        mine = [(rule, found) for rule, found in every if found.owner in owners]
        return list({_key(each): each for each in reversed(mine)}.values())[::-1]

    def best(
        self, texts: dict[Path, str], asked: Iterable[tuple[Rule, Finding]]
    ) -> tuple[dict[Path, str], list[tuple[tuple[Rule, Finding], str]]]:
        """The texts with all that can be done, and why the rest cannot: all at once, or one by one."""
        good, refused, able = dict(texts), [], []
        for each in asked:
            changed = self._changed(good, _changes(each[1]))
            if changed is None:
                refused.append((each, _why_not(each)))
            else:
                able.append(each)
                good = changed
        if not able or self._fault(good) is None:
            return good, refused
        good = dict(texts)
        for each in able:
            changed = self._changed(good, _changes(each[1]))
            if changed is None:
                refused.append((each, _why_not(each)))
            elif (fault := self._fault(changed)) is not None:
                refused.append((each, f"it cannot be so: {fault}"))
            else:
                good = changed
        return good, refused

    def advice(self, texts: Mapping[Path, str], made: tuple[Proposal, ...], left: tuple[Left, ...]) -> Advice:
        """What comes of it, of the whole file."""
        text = self._text(texts)
        after = self.excerpt.whole(text) if self.excerpt.texts else text
        asks = (rule for rule in self._rules() if rule.needs_hosts and rule.workloads and self.seen is None)
        entry = self.entry
        return Advice(
            entry.key, entry.vms, self.workload, entry.file, self.before, after, made, left, tuple(asks)
        )  # fmt: skip

    def _rules(self) -> Iterator[Rule]:
        """Those of the workload, and those that always hold."""
        for rule in self.plugins.rules():
            always = rule.severity is not Severity.INFO and not rule.workloads
            if always or self.workload in rule.workloads:
                yield rule

    def _text(self, texts: Mapping[Path, str]) -> str:
        """The text of the entry's file, or of its excerpt."""
        known = {**self.excerpt.texts, **texts}
        return known[self.entry.file] if self.entry.file in known else read_text(self.entry.file)

    def _cluster(self, texts: Mapping[Path, str]) -> ResolvedCluster:
        if not texts:
            return self.stage(self.cluster)
        if not self.excerpt.texts:
            return self.stage(load_cluster(self.path, self.plugins, Care.IGNORE, texts))
        loaded, own = self._own(texts)
        vms = tuple(own.get(vm.name, vm) for vm in self.cluster.vms)
        solver = loaded.manifest.placement.solver or usual_solver(vms)
        return self.stage(replace(self.cluster, vms=vms, solver=solver))

    def _own(self, texts: Mapping[Path, str]) -> tuple[LoadedManifest, dict[str, ResolvedVm]]:
        """The excerpt, and the entry's vms as it says them."""
        loaded = load(self.path, self.plugins.sections(), {**self.excerpt.texts, **texts})
        return loaded, {vm.name: vm for vm in resolve(loaded, read_inputs(loaded, Care.IGNORE), "").vms}

    def _site(self, texts: Mapping[Path, str]) -> Site:
        cluster = self._cluster(texts)
        given = tuple((vm, self.workload) for vm in self.entry.vms)
        cluster = replace(cluster, rules=replace(cluster.rules, workloads=given))
        if self.seen is None:
            return site_of(cluster)
        placed, _ = check_cluster(cluster, self.seen, self.plugins)
        return placed_site(placed, facts_of(self.seen), states_of(self.seen))

    def _fault(self, texts: Mapping[Path, str]) -> str | None:
        """Why the manifest cannot be so, on its own or on the hosts."""
        try:
            self._site(texts)
        except Rejected as error:
            first = error.diagnostics[0]
            return f"{first.summary} ({first.code})"
        return None

    def _changed(self, texts: dict[Path, str], changes: tuple[Change, ...]) -> dict[Path, str] | None:
        """The texts with some changes made in the entry; None if one of them cannot be made there."""
        text = self._text(texts)
        for change in changes:
            splice = _splice(Source(str(self.entry.file), text), self.entry.key, change)
            if splice is None:
                return None
            text = applied(text, [splice])
        return {**texts, self.entry.file: text} if changes else None


def _splice(file: Source, entry: str, change: Change) -> Splice | None:
    """A change within the text of an entry; None if something else lends it what would have to change."""
    own = own_entry(file, "vms", entry)
    if own is None or own.key is None:
        return None
    way = ("vms", entry, *parts_of(change.key))
    place = _below(own, way if change.value is not None else way[:-1])
    if change.value is not None:
        splice = setting(place, way, change.value)
    else:
        splice = removal(place, str(way[-1])) if place.path == way[:-1] else None
    if splice is None or splice.start < places(own.key)[0]:
        return None
    is_null = isinstance(own.node, Scalar) and own.node.is_null
    line_end = file.text.find("\n", places(own.node)[1]) + 1 or len(file.text)
    return splice if is_null or splice.end <= line_end else None


def _below(place: Place, way: tuple[str | int, ...]) -> Place:
    """The nearest place to a path that is written below another one."""
    below: Place | None = place
    for part in way[len(place.path) :]:
        below = place.child(part)
        if below is None:
            break
        place = below
    return place


def _entry_of(loaded: LoadedManifest, name: str) -> _Entry:
    """The entry that says a vm; `name` may be its key, too."""
    written: dict[tuple[str, str], list[str]] = {}
    for vm, key in loaded.keys("vms"):
        start, end = places(key)
        written.setdefault((key.source.name, key.source.text[start:end].strip("\"'")), []).append(vm)
    for (file, entry), vms in written.items():
        if name in vms or name == entry:
            return _Entry(Path(file), entry, tuple(vms))
    hint = did_you_mean(name, with_entries(loaded.manifest.vms)) or "name a vm of the manifest, or its entry"
    summary = f"there is no vm {quoted(name)}"
    raise Rejected([Diagnostic("advise.unknown-vm", summary, loaded.span("vms"), hint=hint)])
