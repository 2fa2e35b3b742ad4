"""What is proved against a real libvirtd, each as figures: corpus, rewrites, mutations."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from kvmdecl.libvirt_xml.build import attributes
from kvmdecl.libvirt_xml.fields import Document, FieldDifference, differences, open_documents, plain
from kvmdecl.libvirt_xml.identity import KEYS
from kvmdecl.libvirt_xml.impact import assess
from kvmdecl.libvirt_xml.marker import Marker
from kvmdecl.libvirt_xml.safe import Element, parse_xml
from kvmdecl.libvirt_xml.trace import changed_outside, leave, pool_changed_outside, pool_note
from kvmdecl.state import Kind, ObservedDomain, Origin
from tests.fidelity.corpus import Trial, attempt, definitions, renamed, startable
from tests.fidelity.host import Refused, Target, dump, remove, to_text
from tests.fidelity.losses import losses
from tests.fidelity.mutate import Mutation, mutate
from tests.fidelity.respell import respelled

BASES = Path(__file__).parent / "bases"
"""Definitions written for this purpose: small, and with something of every kind."""


@dataclass(slots=True)
class Tally:
    """Counts by word, and each thing that went wrong in a sentence."""

    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def told(self) -> str:
        """One line."""
        return ", ".join(f"{count:,} {word}" for word, count in self.counts.items())


def read(target: Target, folder: Path, kinds: Iterable[Kind] = Kind) -> tuple[list[Trial], Tally]:
    """Define every file, and compare with what libvirt gives back."""
    tally, trials = Tally(), list[Trial]()
    for name, kind, text in definitions(folder):
        if kind not in kinds:
            continue
        tally.counts["files"] += 1
        try:
            trial = attempt(target, name, kind, text)
        except Refused:
            tally.counts["refused by libvirt"] += 1
            continue
        tally.counts["accepted"] += 1
        verdict = _verdict(trial.declared, trial.observed, kind)
        tally.counts[verdict.word] += 1
        tally.wrong += [f"{name}: {line}" for line in verdict.wrong]
        if verdict.word == "clean":
            trials.append(trial)
    return trials, tally


@dataclass(frozen=True, slots=True)
class _Verdict:
    word: str
    wrong: tuple[str, ...] = ()


def _verdict(declared: str, observed: str, kind: Kind) -> _Verdict:
    found = differences(declared, None, observed, kind)
    lost = losses(declared, kind, found)
    wrong = tuple(f"{d.path}: {d.before} is not {d.after}" for d in found if d.path not in lost)
    return _Verdict("with false differences" if wrong else "with losses" if lost else "clean", wrong)


def rewrite(target: Target, trials: Sequence[Trial], count: int, seed: int) -> Tally:
    """Put `count` rewrites that mean the same to libvirt: none may differ."""
    rng, tally = random.Random(seed), Tally()
    for number in range(count * 3):
        if tally.counts["rewrites"] == count:
            break
        trial = trials[number % len(trials)]
        text = to_text(respelled(parse_xml(trial.declared), trial.kind, rng))
        try:
            observed = target.read_back(text, trial.kind)
        except Refused:  # an address that was left out does not fit between those that stayed
            tally.counts["refused by libvirt"] += 1
            continue
        tally.counts["rewrites"] += 1
        verdict = _verdict(text, observed, trial.kind)
        tally.counts[verdict.word] += 1
        tally.wrong += [f"{trial.name}: {line}" for line in verdict.wrong]
    return tally


@dataclass(frozen=True, slots=True)
class Applied:
    """A definition as kvmdecl would have left it: what was declared, and what libvirt said right afterwards.

    `outside` tells what somebody changed of it since though nobody declares it.
    """

    trial: Trial
    settled: str
    outside: Callable[[str], tuple[FieldDifference, ...]]
    documents: tuple[Document, Document]


def settle(target: Target, trial: Trial) -> Applied:
    """Redefine what libvirt gave back until it stays, as it does where nobody writes a definition anew.

    Raises:
        Refused: libvirt does not take what it gave.
    """
    settled = trial.observed
    for _ in range(3):
        again = target.read_back(settled, trial.kind)
        if again == settled:
            break
        settled = again
    declared, observed = open_documents([trial.declared, settled], trial.kind)
    return Applied(trial, settled, _outside(trial, settled), (declared, observed))


def _outside(trial: Trial, settled: str) -> Callable[[str], tuple[FieldDifference, ...]]:
    if trial.kind is Kind.POOL:
        return partial(pool_changed_outside, pool_note(settled, 1), declared=trial.declared, libvirt=1)
    marker = _marker(trial, settled)
    return partial(changed_outside, marker, declared=trial.declared, libvirt=1, kind=trial.kind)


def _marker(trial: Trial, definition: str) -> Marker:
    left = leave(definition, None, trial.declared, 1, running=False, autostart=False)
    return Marker("c", "u", "n", "r", "t", applied=trial.declared, left=left)


def change(target: Target, trials: Sequence[Trial], count: int, seed: int) -> Tally:
    """Change `count` definitions as somebody with `virsh edit` would: each change that stays must be told."""
    rng, tally = random.Random(seed), Tally()
    bases = [settle(target, trial) for trial in trials]
    for _ in range(count * 40):
        if tally.counts["changes"] == count:
            break
        base = rng.choice(bases)
        kind = base.trial.kind
        mutation = mutate(base.documents[1].root, kind, rng)
        if mutation is None:
            continue
        tally.counts["tried"] += 1
        try:
            after = target.read_back(to_text(mutation.root), kind)
        except Refused:
            tally.counts["refused by libvirt"] += 1
            continue
        if _meaning(after, kind) == _meaning(base.settled, kind):
            tally.counts["without effect"] += 1
            continue
        tally.counts["changes"] += 1
        _judge(base, mutation, after, tally)
    return tally


_SAID_ANYWAY: dict[Kind, tuple[tuple[str, str], ...]] = {
    Kind.DOMAIN: (
        ("devices/interface/link[@state='up']", "state"),
        ("devices/interface/ip[@family='ipv4']", "family"),
        ("devices/disk/target[@tray]", "tray"),
        ("devices/*/source[@tls='no']", "tls"),
        ("features/hyperv/*[@state='off']", "state"),
    ),
    Kind.NETWORK: (("ip[@family='ipv4']", "family"), ("route[@family='ipv4']", "family")),
}
"""What libvirt gives back as it was written though it says nothing: defaults, and what a drive is like just now."""


def _meaning(text: str, kind: Kind) -> tuple[object, ...]:
    root = parse_xml(text)
    for xpath, name in _SAID_ANYWAY.get(kind, ()):
        for element in root.findall(xpath):
            del element.attrib[name]
            if not (len(element) or element.attrib):
                element.getparent().remove(element)  # type: ignore[union-attr]
    for element in root.findall("cputune/*"):
        if (element.text or "").startswith("-"):  # a quota below nothing is none
            root.find("cputune").remove(element)  # type: ignore[union-attr]
    return _unordered(root)


def _unordered(element: Element) -> tuple[object, ...]:
    """An element but for the order of what is in it: libvirt puts controllers back at another place."""
    below = sorted((_unordered(child) for child in element), key=repr)
    return str(element.tag), (element.text or "").strip(), sorted(attributes(element).items()), below


def _judge(base: Applied, mutation: Mutation, after: str, tally: Tally) -> None:
    kind, declared = base.trial.kind, base.trial.declared
    ours = {d.path for d in differences(declared, declared, after, kind)}
    outside = {d.path for d in base.outside(after)}
    path = _path(mutation, base.documents[1])
    declares = _declares(path, mutation, base.documents[0])
    word = "declared" if declares else "undeclared"
    tally.counts[f"{word} fields"] += 1
    if _names(ours if declares else ours | outside, path, mutation):
        tally.counts[f"{word} named"] += 1
    elif path and _names_members(ours | outside, path, base, after):
        tally.counts[f"{word} named by the members of both keys"] += 1
    elif ours or outside:
        tally.counts[f"{word} told by another field"] += 1
        if declares:
            tally.wrong.append(
                f"{base.trial.name}: {mutation.what} ({word}; {path}; told {sorted(ours | outside)[:3]})"
            )
    else:
        tally.counts[f"{word} missed"] += 1
        tally.wrong.append(f"{base.trial.name}: {mutation.what} ({word}; {path})")


def _names_members(told: set[str], path: str, base: Applied, after: str) -> bool:
    """Whether the key of a member changed, and the members of the old key and of the new one are told, and no other.

    libvirt may put one of its own at the place of the old key, which may be like the one that went, and may need more
    of the kind, such as the controllers below a new index. What counts is what it gave back.
    """
    kind = base.trial.kind
    _, then, now = open_documents([base.trial.declared, base.settled, after], kind)
    member = _member(path, then)
    put_back = member in now.members and _raw(member, then) == _raw(member, now)
    if not (put_back or _is_in_key(path.removeprefix(member).removeprefix("/"), kind, plain(member))):
        return False
    alike = {m for m in then.members | now.members if plain(m) == plain(member)}
    differing = {m for m in alike if _raw(m, then) != _raw(m, now)}
    kept = len(alike & then.members & now.members)
    added = len(alike & now.members) - len(alike & then.members)
    return (
        {_member(one, then) or _member(one, now) for one in told} == differing
        and 0 < len(differing) <= 2 + max(0, added)
        and len(alike & then.members) - kept <= 1
        and (member in now.members or member in told)
    )


def _member(path: str, document: Document) -> str:
    """The innermost member that a path is, or leads through."""
    found = (m for m in document.members if path == m or path.startswith((f"{m}@", f"{m}/")))
    return max(found, key=len, default="")


def _is_in_key(part: str, kind: Kind, where: str) -> bool:
    """Whether a field of a member, or what is below it, is what the member is found by."""
    parts = {one for key in KEYS.get((kind, where), ()) for one in key}
    return any(one == part or one.startswith((f"{part}@", f"{part}/")) for one in parts)


def _raw(path: str, document: Document) -> tuple[object, ...] | None:
    element = document.elements.get(path)
    return None if element is None else _unordered(document.originals[element])


def _path(mutation: Mutation, document: Document) -> str:
    """The path of the field that a mutation touched; empty if it is not compared."""
    normal = {original: element for element, original in document.originals.items()}
    found = {element: path for path, element in document.elements.items()}
    path = found.get(normal[mutation.origin]) if mutation.origin in normal else None
    if path is None:
        return ""
    return f"{path}@{mutation.attribute}" if mutation.attribute else path


def _declares(path: str, mutation: Mutation, declared: Document) -> bool:
    if mutation.added is not None or not path:
        return False
    if mutation.removed:
        return any(field == path or field.startswith((f"{path}/", f"{path}@")) for field in declared.fields)
    return path in declared.fields


def _names(told: set[str], path: str, mutation: Mutation) -> bool:
    """Whether one of the differences names the field: itself, the member it belongs to, or what went with it."""
    for other in told:
        if path == other or path.startswith((f"{other}/", f"{other}@")):
            return True
        below = mutation.removed or mutation.added is not None
        if below and (not path or other.startswith((f"{path}/", f"{path}@"))):
            return True
    return False


def restart(target: Target, trials: Sequence[Trial]) -> Tally:
    """Define everything, restart libvirtd: nothing may differ from what was declared, or from before."""
    tally, defined = Tally(), list[tuple[Trial, str, str]]()
    for number, trial in enumerate(trials):
        if trial.kind is Kind.VOLUME:
            continue
        own = replace(trial, declared=renamed(trial.declared, number))
        with suppress(Refused):  # two of one bridge, or of one source
            thing = target.define(own.declared, own.kind)
            defined.append((own, thing.name(), dump(thing, own.kind)))
    target.restart()
    for trial, name, before in defined:
        found = target.find(name, trial.kind)
        after = dump(found, trial.kind)
        remove(found, trial.kind)
        told = [*differences(trial.declared, None, after, trial.kind), *_moved(trial, before, after)]
        tally.counts["objects"] += 1
        tally.counts["of the same text"] += after == before
        tally.counts["clean"] += not told
        tally.wrong += [f"{trial.name}: {d.path}: {d.before} -> {d.after}" for d in told]
    return tally


def _moved(trial: Trial, before: str, after: str) -> tuple[FieldDifference, ...]:
    return changed_outside(_marker(trial, before), after, trial.declared, 1, trial.kind)


def run(target: Target, trials: Sequence[Trial]) -> Tally:
    """Start the guests that start here, paused: nothing may be said to wait for their next boot."""
    tally = Tally()
    for trial in trials:
        if trial.kind is not Kind.DOMAIN:
            continue
        tally.counts["guests"] += 1
        text = startable(trial.declared, target.host.folder / "srv")
        try:
            config, live = target.start_paused(text)
        except Refused:
            tally.counts["cannot start here"] += 1
            continue
        tally.counts["started"] += 1
        observed = ObservedDomain("n", "u", config, live, True, True, False, False)
        assessment = assess(text, text, observed, Origin())
        told = [
            *(f"pending {c.field}: runs with {c.before}, will have {c.after}" for c in assessment.pending)
        ]
        told += [f"change {c.field}: {c.before} -> {c.after}" for c in assessment.changes]
        tally.wrong += [f"{trial.name}: {line}" for line in told]
        tally.counts["clean"] += not told
    return tally
