"""What a host's kernel goes by: huge pages, set aside before the guests that need them start, and KSM's numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kvmdecl.diagnostics import Diagnostic, Severity
from kvmdecl.names import format_size
from kvmdecl.plan import Action, Change, ChangeOrigin, Impact
from kvmdecl.planner.verdict import HostView, Verdict, blocked, note, step
from kvmdecl.settings import HUGE_PAGES, KSM, read_note, split_page_name
from kvmdecl.state import Address, DesiredSettings, DesiredState, Kind, ObservedSettings
from kvmdecl.tasks import UpdateHost

_FUNCTIONS = {HUGE_PAGES: "virNodeAllocPages", KSM: "virNodeSetMemoryParameters"}
_SECTIONS = {HUGE_PAGES: "huge_pages", KSM: "ksm"}
_UNTIL_REBOOT = "until the host reboots"


def plan_settings(desired: DesiredSettings, view: HostView) -> Verdict:
    """Compare declared numbers of a host with its own."""
    observed = view.settings.get(desired.address.name)
    there = dict(observed.values) if observed else {}
    missing = [name for name, _ in desired.values if name not in there]
    if observed is None or missing:
        return _not_offered(desired, missing)
    changes = tuple(_changes(desired, observed, view))
    notes = tuple(_idle(desired, observed))
    if not changes:
        return Verdict(notes=notes)
    if (held := _held(desired, observed)) is not None:
        return held
    task = UpdateHost(desired.address.name, desired.values)
    return step(
        desired, Action.UPDATE, task, observed, _summary(desired, observed), changes=changes, notes=notes
    )


def _changes(desired: DesiredSettings, observed: ObservedSettings, view: HostView) -> Iterator[Change]:
    """A number that was ours and is another now was lost at a reboot, or changed by somebody."""
    name, there = desired.address.name, dict(observed.values)
    entry = view.ledger.find(Kind.HOST, name)
    noted = read_note(entry.applied) if entry else {}
    for key, number in desired.values:
        if there[key] != number:
            path = f"{_SECTIONS[name]}.{key}"
            yield Change(
                field=path,
                key=path,
                before=_shown(key, there[key]),
                after=_shown(key, number),
                impact=Impact.NONE,
                how=_FUNCTIONS[name],
                at=desired.origin.find(path),
                origin=ChangeOrigin.DRIFT if noted.get(key) == number else ChangeOrigin.MANIFEST,
            )


def _summary(desired: DesiredSettings, observed: ObservedSettings) -> str:
    """What may come of it that the numbers do not say."""
    if desired.address.name == KSM:
        return _UNTIL_REBOOT
    there = dict(observed.values)
    more = sum(split_page_name(key)[0] * max(0, number - there[key]) for key, number in desired.values)
    if not more:
        return _UNTIL_REBOOT
    return f"takes {format_size(more)} of memory {_UNTIL_REBOOT}; gets fewer where it is in pieces, and fails then"


def _held(desired: DesiredSettings, observed: ObservedSettings) -> Verdict | None:
    """What the kernel refuses while it is in use."""
    there, counters, host = dict(observed.values), dict(observed.counters), desired.address.host
    for key, number in desired.values:
        if desired.address.name == HUGE_PAGES and number < min(there[key], counters.get(key, 0)):
            size, cell = split_page_name(key)
            return blocked(
                desired,
                "plan.pages-in-use",
                f"{counters[key]} pages of {format_size(size)} in cell {cell} of {host} are in use, and"
                f" {number} shall be left",
                "The kernel takes no page away from a guest that runs.",
                "shut guests down first that have them, or keep as many as they use.",
                key=f"huge_pages.{key}",
                usable=True,
            )
        shared = counters.get("pages_shared", 0)
        if key == "merge_across_nodes" and there[key] != number and shared:
            return blocked(
                desired,
                "plan.pages-shared",
                f"merge_across_nodes of {host} cannot change: {shared} pages are shared",
                "The kernel refuses it until every shared page is one for each guest again.",
                "`echo 2 > /sys/kernel/mm/ksm/run` on the host unshares them; then apply, and write 1 again.",
                key="ksm.merge_across_nodes",
                usable=True,
            )
    return None


def _not_offered(desired: DesiredSettings, missing: list[str]) -> Verdict:
    """Checked against facts before, but for KSM and for facts that do not hold it."""
    section = _SECTIONS[desired.address.name]
    first = (missing or [name for name, _ in desired.values])[0]
    return blocked(
        desired,
        "plan.setting-unknown",
        f"{desired.address.host} tells nothing of {section}.{first}",
        "Its kernel does not have it, its libvirt does not tell, or its facts were written without it.",
        "write the facts again, or leave the key out.",
        key=f"{section}.{first}",
        usable=True,
    )


def _idle(desired: DesiredSettings, observed: ObservedSettings) -> Iterator[Diagnostic]:
    if desired.address.name == KSM and dict(observed.counters).get("full_scans") == 0:
        host = desired.address.host
        yield note(
            desired,
            "plan.ksm-idle",
            f"KSM of {host} has not looked at its memory once; it is probably switched off",
            "libvirt sets how KSM works, and can neither say nor change whether it does.",
            "`echo 1 > /sys/kernel/mm/ksm/run` on the host switches it on (or the service ksmtuned).",
            key="ksm",
        )


def settings_left(desired: DesiredState, views: Iterable[HostView]) -> Iterator[Diagnostic]:
    """Numbers that kvmdecl set, that no manifest names any more, and that are still so."""
    declared = {r.address: dict(r.values) for r in desired.resources if isinstance(r, DesiredSettings)}
    for view in views:
        for name, section in _SECTIONS.items():
            entry, observed = view.ledger.find(Kind.HOST, name), view.settings.get(name)
            if entry is None or observed is None:
                continue
            named, there = declared.get(Address(view.host, Kind.HOST, name), {}), dict(observed.values)
            left = [
                f"{section}.{key} = {_shown(key, number)}"
                for key, number in read_note(entry.applied).items()
                if key not in named and there.get(key) == number and (number or name == KSM)
            ]
            if left:
                yield Diagnostic(
                    code="plan.settings-left",
                    summary=f"{view.host} keeps what no manifest says any more: {', '.join(left)}",
                    cause="A line that vanished from a file takes nothing back; a reboot of the host does.",
                    hint="to give huge pages back, write 0 for one apply." if name == HUGE_PAGES else "",
                    severity=Severity.WARNING,
                    subject=f"{view.host}/{Kind.HOST}/{name}",
                )


def _shown(key: str, number: int) -> str:
    return str(bool(number)).lower() if key == "merge_across_nodes" else str(number)
