"""Pacemaker as a manager that kvmdecl plans: its CIB observed, compared, changed, and read back."""

from __future__ import annotations

import hashlib
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING

from lxml import etree

from kvmdecl.api import (
    Action,
    Address,
    ChangeOrigin,
    Comparison,
    Configuration,
    ConfigureManager,
    Diagnostic,
    Impact,
    Kind,
    Moved,
    NoAnswer,
    Severity,
    Step,
    TaskFailed,
)
from kvmdecl.api import FieldChange as Change
from kvmdecl_pacemaker import live, monitor
from kvmdecl_pacemaker.cib import cib, text_of
from kvmdecl_pacemaker.configure import SECTION, configure
from kvmdecl_pacemaker.forecast import Handled, interruptions, prospects, running_in
from kvmdecl_pacemaker.left_over import left_over
from kvmdecl_pacemaker.ours import (
    GUEST,
    HELPER,
    ORPHANS,
    PROTECT,
    RESOURCES,
    compare,
    conflicts,
    guests_of,
    mark_of,
    overlay,
    owned,
    protected_in,
    the_mark,
    with_kept,
)
from kvmdecl_pacemaker.remote import is_remote
from kvmdecl_pacemaker.secrets import drop_hidden, without_secrets

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from kvmdecl.api import (
        HostFacts,
        ManagerStatus,
        Observed,
        PlacedCluster,
        Prospect,
        Reach,
        ResolvedCluster,
        Shell,
        Span,
    )
    from kvmdecl_pacemaker.cib import Element
    from kvmdecl_pacemaker.ours import FieldChange

NAME = "pacemaker"
_UNDER_WAY = "0" * 12
_MOST_TRIES = 5


class Pacemaker:
    """See `kvmdecl.manager.Manager`."""

    def manages(self, cluster: ResolvedCluster) -> bool:
        """Whether the manifest has the section."""
        return SECTION in cluster.sections

    def observe(self, cluster: ResolvedCluster, reach: Reach, up: Collection[str]) -> Observed | None:
        """Read the live CIB."""
        return live.observe(cluster, reach, up) if self.manages(cluster) else None

    def recorded(self, observed: Configuration) -> Configuration:
        """The CIB without passwords, indented."""
        return Configuration(without_secrets(live.read_cib(observed.text)), observed.host)

    def compare(
        self, placed: PlacedCluster, facts: Mapping[str, HostFacts], observed: Configuration
    ) -> Comparison:
        """Hold the live CIB against the one that the manifest comes to."""
        configuration = configure(placed, facts)
        found, name = live.read_cib(observed.text), placed.cluster.name
        states = {vm.name: vm.state for vm in placed.cluster.vms}
        released = guests_of(found, name) - states.keys()
        protected = {each for each in protected_in(found, name) if states.get(each) == "absent"}
        wanted = with_kept(cib(configuration), found, name, released | protected)
        objects = len(list(wanted.iterfind("configuration/resources/*")))
        places = {vm.name: vm.origin.at for vm in placed.cluster.vms}
        section = placed.cluster.origin.find(SECTION)
        vms = {vm.name: vm for vm in placed.vms if vm.spec.is_ha}
        notes = (
            *left_over(found, vms, section),
            *_down_notes(found, wanted, places),
            *_released_notes(released),
        )
        kept = tuple(_protected(each, places.get(each)) for each in sorted(protected))
        if others := conflicts(found, wanted, name):
            not_ours = tuple(_not_ours(each, name, places.get(each, section)) for each in others)
            return Comparison(None, objects, (*kept, *not_ours), notes)
        differs = compare(found, wanted, name)
        if not differs and mark_of(found, name) == mark_of(wanted, name):
            return Comparison(None, objects, kept, notes)
        plain = {vm.name for vm in placed.cluster.vms if not vm.spec.is_ha and vm.state != "absent"}
        control = live.control_of(placed.cluster) or ""
        task = _task(name, control, plain, text_of(wanted), differs, found, observed.host)
        if task.releases and is_remote(task.control):
            bound = tuple(_needs_shell(each, name, places.get(each, section)) for each in task.releases)
            return Comparison(None, objects, bound, notes)
        step, coming = _step(
            replace(task, before=_before(found, wanted, name)), differs, found, wanted, places, section
        )
        return Comparison(step, objects, kept, notes, coming)

    def undo(
        self, task: ConfigureManager, reach: Reach, hosts: Sequence[str], others: Collection[str]
    ) -> Comparison | str:
        """Hold the live CIB against what was ours before a task."""
        if not task.before:
            return "how its configuration was before is not known"
        seen = live.first_answer(live.shells_by(task.control, reach, hosts))
        if not isinstance(seen, Configuration):
            return f"its configuration is unknown: {seen.why}"
        found, wanted, name = live.read_cib(seen.text), live.read_cib(task.before), task.cluster
        notes = tuple(_not_given_back(owner, secret, name) for owner, secret in drop_hidden(wanted))
        differs = compare(found, wanted, name)
        if stuck := sorted({each.owner for each in differs if not each.field} & {*others, *task.releases}):
            names = ", ".join(stuck)
            return f"{names} went from libvirt to Pacemaker or back, or lost a file; apply the manifest as it was"
        if not differs and mark_of(found, name) == mark_of(wanted, name):
            return Comparison(None, 1, notes=notes)
        gone = {each.owner for each in differs if not each.field and each.after is None}
        if kept := sorted(gone & protected_in(found, name)):
            return f"{', '.join(kept)} is protected; take `protect` away first"
        back = _task(
            name, task.control, (), etree.tostring(wanted, encoding="unicode"), differs, found, seen.host
        )
        if theirs := conflicts(found, wanted, name):
            return f"somebody else has a resource {theirs[0]} now"
        back = replace(back, before=_before(found, wanted, name))
        step, coming = _step(back, differs, found, wanted, {}, None)
        return Comparison(step, 1, notes=notes, prospects=coming)

    def shows(self, step: Step, reach: Reach, hosts: Sequence[str]) -> bool:
        """Whether the changes that a step shows are those of its task, unless the CIB moved since."""
        task = step.task
        if not isinstance(task, ConfigureManager):
            return False
        seen = live.first_answer(live.shells_by(task.control, reach, hosts))
        if not isinstance(seen, Configuration):
            return True
        found, wanted = live.read_cib(seen.text), live.read_cib(task.wanted)
        differs = compare(found, wanted, task.cluster)
        if _digest(differs, found, task.cluster) != step.precondition:
            return True
        comes = {_core(change) for change in _shown(task, differs, found, wanted, {}, None)}
        says = {_core(change) for change in step.changes}
        return comes == says and _is_about(task, differs, found)

    def perform(
        self, task: ConfigureManager, precondition: str, reach: Reach, hosts: Sequence[str]
    ) -> tuple[str, ...]:
        """Change the CIB, wait until the cluster is at rest, and read it back."""
        there = dict(live.shells_by(task.control, reach, sorted(hosts, key=lambda host: host != task.host)))
        found = live.first_answer(there.items())
        if not isinstance(found, Configuration):
            raise TaskFailed(_not_begun(found.why))
        try:
            return _carry_out(task, precondition, there[found.host])
        except NoAnswer as error:
            raise TaskFailed(_no_answer(str(error))) from None

    def way(self, cluster: ResolvedCluster) -> str:
        """See `control_of`."""
        return live.control_of(cluster) or ""

    def look(self, cluster: str, way: str, reach: Reach, hosts: Sequence[str]) -> ManagerStatus:
        """Ask crm_mon."""
        return monitor.status_by(cluster, live.shells_by(way, reach, hosts))

    def status(self, cluster: ResolvedCluster, reach: Reach) -> ManagerStatus:
        """Ask crm_mon."""
        return monitor.status(cluster, reach)


def _handled(task: ConfigureManager, differs: Sequence[FieldChange]) -> Handled:
    touched = frozenset(change.owner for change in differs if change.field not in {"", PROTECT})
    return Handled(frozenset(task.releases), frozenset(task.refreshes), touched)


def _core(change: Change) -> tuple[str, str | None, str | None, Impact]:
    return change.field, change.before, change.after, change.impact


def _is_about(task: ConfigureManager, differs: Sequence[FieldChange], found: Element) -> bool:
    """Whether those that a task stops, lets go and looks at anew are those that its change is about."""
    gone = {change.owner for change in differs if not change.field and change.after is None} & _guests(found)
    leaves = gone == (set(task.deletes) | set(task.releases)) - _orphans(found)
    return leaves and not set(task.deletes) - gone and set(task.refreshes) <= _guests(found) - gone


def _guests(cib_: Element) -> set[str]:
    return {
        each.get("id", "") for each in cib_.iterfind(f"configuration/resources//primitive[@type='{GUEST}']")
    }


def _task(
    cluster: str,
    control: str,
    plain: Collection[str],
    text: str,
    differs: Sequence[FieldChange],
    found: Element,
    host: str,
) -> ConfigureManager:
    """`plain` are vms that Pacemaker does not run, and that go on if it did."""
    gone = {change.owner for change in differs if not change.field and change.after is None}
    guests = _guests(found)
    plain = set(plain)
    edited = {
        change.owner
        for change in differs
        if change.field.startswith("parameters.") and change.owner in guests
    }
    helped = {name for name in guests if found.find(f".//meta_attributes[@id='{name}-{HELPER}']") is not None}
    half_released = _orphans(found) & plain if _keeps_orphans(found) else set()
    return ConfigureManager(
        manager=NAME,
        cluster=cluster,
        wanted=text,
        host=host,
        control=control,
        deletes=tuple(sorted((gone & guests) - plain)),
        releases=tuple(sorted((gone & guests & plain) | half_released)),
        refreshes=tuple(sorted((edited | helped) - gone)),
    )


def _step(
    task: ConfigureManager,
    differs: Sequence[FieldChange],
    found: Element,
    wanted: Element,
    places: Mapping[str, Span | None],
    section: Span | None,
) -> tuple[Step, tuple[Prospect, ...]]:
    """What is done, and what becomes of guests by it."""
    shown = _shown(task, differs, found, wanted, places, section)
    after = overlay(found, wanted, task.cluster)
    coming = prospects(found, after, _handled(task, differs), lambda vm: places.get(vm, section))
    impacts = [*(change.impact for change in shown), *(each.fate.impact for each in coming)]
    step = Step(
        Address(NAME, Kind.CLUSTER, task.cluster),
        Action.UPDATE if mark_of(found, task.cluster) else Action.CREATE,
        max(impacts, default=Impact.NONE),
        shown,
        f"as {task.host} knows it",
        _digest(differs, found, task.cluster),
        replace(task, interrupts=interruptions(coming)),
        at=section,
    )
    return step, coming


def _before(found: Element, wanted: Element, cluster: str) -> str:
    return etree.tostring(owned(found, wanted, cluster), encoding="unicode")


def _not_given_back(owner: str, name: str, cluster: str) -> Diagnostic:
    return Diagnostic(
        "undo.not-possible",
        f"{name} of {owner} is not given back",
        cause="It is a secret, which no plan and no journal holds.",
        hint="set it by hand, as it was",
        severity=Severity.WARNING,
        subject=f"{NAME}/cluster/{cluster}",
    )


def _keeps_orphans(found: Element) -> bool:
    pair = found.find(
        f"configuration/crm_config/cluster_property_set[@id='options']/nvpair[@name='{ORPHANS}']"
    )
    return pair is not None and pair.get("value") == "false"


def _orphans(found: Element) -> set[str]:
    known = {each.get("id", "") for each in found.iterfind("configuration/resources//primitive")}
    return {name for name in running_in(found) if name not in known}


# -- what is shown -----------------------------------------------------------------------------------------


def _shown(
    task: ConfigureManager,
    differs: Sequence[FieldChange],
    found: Element,
    wanted: Element,
    places: Mapping[str, Span | None],
    section: Span | None,
) -> tuple[Change, ...]:
    mark, new = mark_of(found, task.cluster), mark_of(wanted, task.cluster)
    origin = ChangeOrigin.DRIFT if mark == new else ChangeOrigin.MANIFEST
    shown = tuple(_change(each, task, origin, places.get(each.owner, section)) for each in differs)
    if shown or mark == new:
        return shown
    return (Change("tag", "tag", mark or None, new, Impact.METADATA, "cibadmin", at=section),)


def _change(change: FieldChange, task: ConfigureManager, origin: ChangeOrigin, at: Span | None) -> Change:
    impact, why = Impact.LIVE, ""
    if not change.field and change.before is None:
        impact = Impact.NONE
    elif change.field == PROTECT:
        impact = Impact.METADATA
    elif not change.field and change.owner in task.deletes:
        impact, why = Impact.DOWNTIME, "Pacemaker shuts it down, as `shutdown` said, and forgets it"
    elif not change.field and change.owner in task.releases:
        why = "it goes on, and Pacemaker forgets it"
    elif change.owner in task.refreshes:
        why = "it goes on, while Pacemaker learns of it in maintenance"
    key = f"{change.owner}.{change.field}" if change.field else change.owner
    return Change(
        f"{change.owner}/{change.field}",
        key,
        change.before,
        change.after,
        impact,
        "cibadmin",
        why,
        at,
        origin,
    )


def _digest(differs: Sequence[FieldChange], found: Element, cluster: str) -> str:
    """What the plan shows of how the CIB was: the same as long as it would show the same."""
    said = [mark_of(found, cluster), *(repr((c.owner, c.field, c.before, c.after)) for c in differs)]
    return hashlib.sha256("\n".join(said).encode()).hexdigest()


def _not_ours(name: str, cluster: str, at: Span | None) -> Diagnostic:
    return Diagnostic(
        "ha.not-ours",
        f"Pacemaker has a resource {name} that this cluster did not make",
        at,
        "kvmdecl changes only what it made itself; it never takes over a resource because of its name.",
        "choose another name, or say that it is this cluster's: name it in the tag"
        f" `{HELPER}-{cluster}.{_UNDER_WAY}` (`pcs tag create`)",
        subject=f"{NAME}/cluster/{cluster}",
    )


def _needs_shell(name: str, cluster: str, at: Span | None) -> Diagnostic:
    return Diagnostic(
        "ha.needs-shell",
        f"{name} cannot be let go by Pacemaker's remote access",
        at,
        "A host's executor would go on looking at it, and have it stopped once it sees a change.",
        'give `control: "root@{name}.example"` in the place of `remote` for this change',
        subject=f"{NAME}/cluster/{cluster}",
    )


def _not_begun(why: str) -> Diagnostic:
    return Diagnostic(
        "ha.not-read",
        f"Pacemaker's configuration is unknown: {why}",
        cause="What is not known is not changed. Nothing was done.",
        hint="look why no host has quorum, or answers",
    )


def _no_answer(why: str) -> Diagnostic:
    return Diagnostic(
        "ha.no-answer",
        f"Pacemaker's answer did not come: {why}",
        cause="The change may be made, half made, or not begun.",
        hint="`kvmdecl plan` shows what is left to do",
    )


def _down_notes(found: Element, wanted: Element, places: Mapping[str, Span | None]) -> Iterator[Diagnostic]:
    known = {each.get("id") for each in found.iterfind("configuration/resources//primitive")}
    for name in _down(wanted, found):
        if name in known:
            yield Diagnostic(
                "ha.down",
                f"{name} shall run, and Pacemaker does not run it",
                places.get(name),
                "It failed, or its rules and the room of the hosts leave it none.",
                "`kvmdecl ha status` shows what failed",
                severity=Severity.WARNING,
                subject=f"vm/{name}",
            )


# -- carrying out ------------------------------------------------------------------------------------------


def _carry_out(task: ConfigureManager, precondition: str, shell: Shell) -> tuple[str, ...]:
    wanted = live.read_cib(task.wanted)
    if _change_cib(task, precondition, wanted, shell) and _has_two_parts(task):
        live.settle(shell)
        for name in (*task.releases, *task.refreshes):
            live.refresh(shell, name)
        live.settle(shell)
        _change_cib(task, "", wanted, shell, last=True)
    settled = live.settle(shell)
    found = live.read_cib(live.query(shell))
    if left := compare(found, wanted, task.cluster):
        raise TaskFailed(_changed_back(left[0]))
    down = _down(wanted, found)
    if down or not settled:
        raise TaskFailed(_not_at_rest(down, settled=settled))
    return ()


def _has_two_parts(task: ConfigureManager) -> bool:
    return bool(task.deletes or task.releases or task.refreshes)


def _change_cib(
    task: ConfigureManager, precondition: str, wanted: Element, shell: Shell, *, last: bool = False
) -> bool:
    """Patch the CIB, again where it moved meanwhile without touching what is ours; False if it is right already."""
    for _ in range(_MOST_TRIES):
        found = live.read_cib(live.query(shell))
        differs = compare(found, wanted, task.cluster)
        if not differs and mark_of(found, task.cluster) == mark_of(wanted, task.cluster):
            return False
        if not last and _digest(differs, found, task.cluster) != precondition:
            raise Moved(_moved(task))
        after = overlay(found, wanted, task.cluster)
        if not last:
            _require_told(task, found, after, differs)
        if not last and _has_two_parts(task):
            after = _meanwhile(found, after, task)
        if live.patch(shell, found, after):
            return True
    raise TaskFailed(_no_answer(f"its configuration changed {_MOST_TRIES} times meanwhile"))


def _require_told(
    task: ConfigureManager, found: Element, after: Element, differs: Sequence[FieldChange]
) -> None:
    """Raises Moved if the scheduler would interrupt a guest by now that the plan says nothing of."""
    coming = prospects(found, after, _handled(task, differs), lambda _vm: None)
    if untold := sorted(set(interruptions(coming)) - set(task.interrupts)):
        raise Moved(_untold(task, untold))


def _meanwhile(found: Element, after: Element, task: ConfigureManager) -> Element:
    """The CIB while a change is under way: what goes is stopped or let go first, what is edited is left alone."""
    whole = deepcopy(after)
    resources = whole.find("configuration/resources")
    mark = the_mark(whole, task.cluster)
    mark.set("id", f"{HELPER}-{task.cluster}.{_UNDER_WAY}")
    for name in task.deletes:
        there = next((e for e in found.iter(*RESOURCES) if e.get("id") == name), None)
        if there is not None and resources is not None:
            resources.append(_helped(deepcopy(there), "target-role", "Stopped"))
            etree.SubElement(mark, "obj_ref", id=name)
    for name in task.refreshes:
        there = next((e for e in whole.iter(*RESOURCES) if e.get("id") == name), None)
        if there is not None:
            _helped(there, "maintenance", "true")
    if task.releases:
        options = whole.find("configuration/crm_config/cluster_property_set[@id='options']")
        if options is None:
            (config,) = whole.iterfind("configuration/crm_config")
            options = etree.SubElement(config, "cluster_property_set", id="options")
        for old in options.findall(f"nvpair[@name='{ORPHANS}']"):
            options.remove(old)
        etree.SubElement(options, "nvpair", id=f"options-{ORPHANS}", name=ORPHANS, value="false")
    return whole


def _helped(resource: Element, name: str, value: str) -> Element:
    """A resource with a set in front of its own, which so outweighs them."""
    id_ = f"{resource.get('id')}-{HELPER}"
    for old in resource.findall(f"meta_attributes[@id='{id_}']"):
        resource.remove(old)
    helper = etree.Element("meta_attributes", id=id_)
    etree.SubElement(helper, "nvpair", id=f"{id_}-{name}", name=name, value=value)
    resource.insert(0, helper)
    return resource


def _down(wanted: Element, found: Element) -> list[str]:
    running = running_in(found)
    return [
        name
        for each in wanted.iterfind(f"configuration/resources/primitive[@type='{GUEST}']")
        if (name := each.get("id", "")) not in running
        if each.find("meta_attributes/nvpair[@name='target-role']") is None
        if each.find("meta_attributes/nvpair[@name='is-managed']") is None
    ]


def _moved(task: ConfigureManager) -> Diagnostic:
    return Diagnostic(
        "ha.moved",
        "Pacemaker's configuration is no longer what it was when the plan was made",
        cause="Somebody changed what the plan is about. Nothing was done.",
        hint="plan again",
        subject=f"{NAME}/cluster/{task.cluster}",
    )


def _untold(task: ConfigureManager, interrupts: Sequence[str]) -> Diagnostic:
    return Diagnostic(
        "ha.moved",
        f"by now Pacemaker would do more to guests than the plan says: {', '.join(interrupts[:5])}",
        cause="Something changed in the cluster since the plan was made. Nothing was done.",
        hint="plan again",
        subject=f"{NAME}/cluster/{task.cluster}",
    )


def _released_notes(names: Collection[str]) -> Iterator[Diagnostic]:
    for name in sorted(names):
        yield Diagnostic(
            "plan.orphan",
            f"vm {name} is this cluster's in Pacemaker and no longer in the manifest; it is left as it is",
            cause="A line that vanished from a file never deletes anything.",
            hint="to have it shut down and forgotten, keep it in the manifest with `state: absent` for one apply",
            severity=Severity.WARNING,
            subject=f"vm/{name}",
        )


def _protected(name: str, at: Span | None) -> Diagnostic:
    return Diagnostic(
        "plan.protected",
        f"vm {name} is protected, and is not taken out of Pacemaker",
        at,
        "Pacemaker's configuration remembers that, whatever the manifest says by now.",
        "first apply it with `protect: false`, then with `state: absent`",
        subject=f"vm/{name}",
    )


def _changed_back(change: FieldChange) -> Diagnostic:
    return Diagnostic(
        "ha.not-applied",
        f"Pacemaker's configuration was changed, and {change.owner} is not as it was told to be",
        cause="Somebody else changed it at the same time.",
        hint="`kvmdecl plan` shows what is left to do",
    )


def _not_at_rest(down: Sequence[str], *, settled: bool) -> Diagnostic:
    what = f"does not run {', '.join(down[:5])}" if down else "is still busy"
    return Diagnostic(
        "ha.not-at-rest",
        f"the configuration was changed, and Pacemaker {what}" + ("" if settled else " after 15 minutes"),
        cause="It started them and that failed, or its rules leave them no host.",
        hint="`kvmdecl ha status` shows what failed, `kvmdecl ha simulate` who has no host",
    )
