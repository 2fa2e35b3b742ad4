"""Try a kind of change on a running guest: what the plan says, and what becomes of the guest."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import libvirt

from kvmdecl.state import Kind
from tests.impact.bench import Bench, dump, steps_of
from tests.impact.kinds import MANIFEST, KindOfChange, with_web

if TYPE_CHECKING:
    from kvmdecl.plan import Plan

_SNAPSHOT = (
    "<domainsnapshot><name>before-upgrade</name><creationTime>1</creationTime><state>shutoff</state>{}"
    "</domainsnapshot>"
)


@dataclass(frozen=True)
class Trial:
    """What came of a kind of change.

    Attributes:
        predicted: the worst impact of the plan's steps on guests and volumes, by its word.
        real: what the guest's process, its running and its kept definition say.
        pending: whether a later plan says that the guest has yet to get something.
        lost: files, snapshots and definitions that are not what they were, though the plan did not speak of them.
        remarks: what apply told beside that it was done.
        cured: whether nothing was pending any more after the guest was powered off and on; None if not tried.
    """

    kind: KindOfChange
    predicted: str
    real: str
    pending: bool
    lost: tuple[str, ...]
    remarks: tuple[str, ...]
    cured: bool | None = None


def settle(bench: Bench) -> None:
    """Bring the host to where every trial begins."""
    left = bench.converge(MANIFEST)
    keeper = bench.domain("keeper")
    if not keeper.snapshotNum():
        xml = _SNAPSHOT.format(keeper.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
        keeper.snapshotCreateXML(xml, libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE)
    if is_pending(left):
        power_cycle(bench)
    bench.await_boot("web")


def power_cycle(bench: Bench) -> None:
    """Off and on, as somebody at the console would."""
    bench.forget_boot("web")
    bench.domain("web").destroy()
    bench.domain("web").create()


def is_pending(plan: Plan) -> bool:
    """Whether a guest has yet to get something."""
    return any(note.code == "plan.pending" for note in plan.notes)


def try_kind(bench: Bench, kind: KindOfChange, *, cure: bool = False) -> Trial:
    """Begin, change, look, and go back to where every trial begins."""
    try:
        return _try(bench, kind, cure=cure)
    finally:
        settle(bench)


def _try(bench: Bench, kind: KindOfChange, *, cure: bool) -> Trial:
    if kind.begin:
        bench.converge(with_web(kind.begin))
    before = _look(bench)
    manifest = with_web(kind.begin, kind.change)
    plan = bench.plan(manifest)
    assert not plan.blocked, plan.blocked
    remarks = bench.apply(plan)
    after = _look(bench)
    left = bench.plan(manifest)
    assert not left.steps, [step.changes for step in left.steps]
    return Trial(
        kind,
        max((*steps_of(plan, Kind.DOMAIN), *_growing(plan)), key=lambda step: step.impact).impact.word,
        _real(before, after),
        is_pending(left),
        tuple(_lost(before, after, kind.files)),
        remarks,
        _is_cured(bench, manifest) if cure and kind.starts else None,
    )


def _growing(plan: Plan) -> list[object]:
    return [step for step in steps_of(plan, Kind.VOLUME) if step.action == "update"]


def _is_cured(bench: Bench, manifest: dict[str, object]) -> bool:
    if bench.domain("web").isActive():
        power_cycle(bench)
    plan = bench.plan(manifest)
    return not plan.steps and not is_pending(plan)


@dataclass(frozen=True)
class _Look:
    process: tuple[int, str] | None
    live: str
    kept: str
    description: str
    sizes: tuple[int, ...]
    files: dict[str, str]
    others: tuple[object, ...]


def _look(bench: Bench) -> _Look:
    domain, keeper = bench.domain("web"), bench.domain("keeper")
    running = bool(domain.isActive())
    disks = re.findall(r"<target dev='(vd[a-z])'", domain.XMLDesc(0)) if running else []
    return _Look(
        bench.process("web"),
        dump(domain, live=True) if running else "",
        dump(domain, live=False),
        f"{domain.autostart()}",
        tuple(domain.blockInfo(disk)[0] for disk in disks),
        bench.files(),
        (
            bench.process("keeper"),
            keeper.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE),
            keeper.snapshotListNames(),
        ),
    )


def _real(before: _Look, after: _Look) -> str:
    """What happened, told by the host alone."""
    if before.process and not after.process:
        return "downtime"
    if before.process and after.process != before.process:
        return "restart"
    if not before.process:
        return "none"  # nothing ran that could have noticed
    if after.live != before.live or after.sizes != before.sizes:
        return "live"
    if after.kept == before.kept:
        return "none"
    return "metadata" if _words(after.kept) == _words(before.kept) else "next-boot"


def _words(definition: str) -> str:
    """A definition without the texts that are for people."""
    from lxml import etree

    root = etree.fromstring(definition)
    for tag in ("title", "description"):
        for element in root.findall(tag):
            root.remove(element)
    return etree.tostring(root, method="c14n").decode()


def _lost(before: _Look, after: _Look, files: tuple[str, ...]) -> list[str]:
    gone = [
        name
        for name in before.files.keys() | after.files.keys()
        if before.files.get(name) != after.files.get(name)
        and not any(fnmatchcase(name, pattern) for pattern in (*files, "*.log"))
        and not (name not in before.files and name.endswith("_VARS.fd"))  # uefi makes new variables
    ]
    return gone + (["keeper"] if before.others != after.others else [])
