"""What somebody changed on a host though no manifest declares it: told, and left as it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from kvmdecl.diagnostics import Diagnostic, Note
from kvmdecl.libvirt_xml.fields import FieldDifference
from kvmdecl.planner.verdict import note
from kvmdecl.state import DesiredDomain, DesiredNetwork, DesiredPool
from kvmdecl.text import quoted, safe_text

_MOST_SHOWN = 10


def outside(
    desired: DesiredDomain | DesiredNetwork | DesiredPool, found: Sequence[FieldDifference]
) -> Iterator[Diagnostic]:
    """A note with the undeclared fields of a definition that are not what they were at the last apply, if any."""
    if not found:
        return
    what = "this vm" if isinstance(desired, DesiredDomain) else f"this {desired.address.kind}"
    summary = f"{desired.address.name} was changed outside of kvmdecl: {paths(d.path for d in found)}"
    cause = "The manifest does not declare these fields, so they are left as they are."
    hint = f"declare them, or undo the change on the host; the next change of {what} takes them for granted."
    lines = (f"{d.path}: {value(d.before)} -> {value(d.after)}" for d in found[:_MOST_SHOWN])
    yield replace(note(desired, "plan.changed-outside", summary, cause, hint), notes=tuple(map(Note, lines)))


def paths(fields: Iterable[str]) -> str:
    """Fields in a sentence, the first of them if they are many."""
    found = [safe_text(path) for path in fields]
    more = f" and {len(found) - _MOST_SHOWN} more" if len(found) > _MOST_SHOWN else ""
    return ", ".join(found[:_MOST_SHOWN]) + more


def value(value: str | None) -> str:
    """A field's value in a sentence."""
    return "nothing" if value is None else quoted(value)
