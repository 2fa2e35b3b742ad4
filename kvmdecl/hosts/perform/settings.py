"""Numbers of the host itself: huge pages and KSM. The kernel may do less than it is asked, so it is asked again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.amounts import KIB, format_size
from kvmdecl.hosts.protocol import TaskResult
from kvmdecl.hosts.read import read_huge_pages, read_ksm
from kvmdecl.libvirt_xml.capabilities import parse_capabilities
from kvmdecl.settings import HUGE_PAGES, note_of, read_note, split_page_name
from kvmdecl.state import Kind, LedgerEntry, ObservedSettings
from kvmdecl.text import safe_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    import libvirt

    from kvmdecl.hosts.perform.job import Job
    from kvmdecl.tasks import UpdateHost


def update_host(job: Job, task: UpdateHost) -> TaskResult:
    """Set the numbers, read them back, and note in the ledger what came of it.

    Raises:
        Moved, TaskFailed: as `perform`; `step.too-few-pages` where the kernel has no more that are whole.
    """
    before = read_settings(job.connection, task.name)
    job.require_unmoved(before)
    there, wanted = dict(before.values if before else ()), dict(task.values)
    changed = {key: number for key, number in wanted.items() if there.get(key) != number}
    words = (
        _set_huge_pages(job.connection, there, changed)
        if task.name == HUGE_PAGES
        else _set_ksm(job.connection, changed)
    )
    after = read_settings(job.connection, task.name)
    _note(job, task.name, {key: n for key, n in (after.values if after else ()) if key in wanted})
    _require(job, task, dict(after.values if after else ()), words)
    return TaskResult()


def read_settings(connection: libvirt.virConnect, name: str) -> ObservedSettings | None:
    """Read `huge-pages` or `ksm` as the host has it now. Raises libvirt.libvirtError, BadXml."""
    if name == HUGE_PAGES:
        return read_huge_pages(connection, parse_capabilities(connection.getCapabilities()).cells)
    return read_ksm(connection)


def _set_huge_pages(
    connection: libvirt.virConnect, there: Mapping[str, int], changed: Mapping[str, int]
) -> list[str]:
    """Ask for each number (virNodeAllocPages), fewer pages first: what they leave may be needed for others.

    Returns what libvirt said where it was not content. What came of it is read back in any case.
    """
    import libvirt

    words: list[str] = []
    for key in sorted(changed, key=lambda key: (changed[key] > there.get(key, 0), key)):
        size, cell = split_page_name(key)
        try:
            connection.allocPages({size // KIB: changed[key]}, cell, 1, libvirt.VIR_NODE_ALLOC_PAGES_SET)
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_OPERATION_FAILED:
                raise
            words.append(safe_text(str(error)))
    return words


def _set_ksm(connection: libvirt.virConnect, changed: Mapping[str, int]) -> list[str]:
    connection.setMemoryParameters({f"shm_{key}": number for key, number in changed.items()}, 0)
    return []


def _note(job: Job, name: str, values: Mapping[str, int]) -> None:
    """What was noted before and is declared no longer stays: it is still kvmdecl's doing."""
    entry = job.ledger.read().find(Kind.HOST, name)
    noted = {**(read_note(entry.applied) if entry else {}), **values}
    job.ledger.note(LedgerEntry(Kind.HOST, name, "", note_of(noted), complete=True))


def _require(job: Job, task: UpdateHost, found: Mapping[str, int], words: list[str]) -> None:
    for key, number in task.values:
        if task.name != HUGE_PAGES:
            job.require_value(key, found.get(key), number)
    short = [(key, number) for key, number in task.values if found.get(key) != number]
    if not short:
        return
    got = "; ".join(_figure(key, number, found.get(key, 0)) for key, number in short)
    job.fail(
        "step.too-few-pages",
        f"{job.request.address.host} has not as many huge pages as it was asked for: {got}",
        "A huge page is one piece of memory. The kernel had no more of them free, or would not give up those in use.",
        "ask for fewer, free memory and write 1 to /proc/sys/vm/compact_memory there, or set them aside when it boots.",
        notes=tuple(words),
    )


def _figure(key: str, asked: int, got: int) -> str:
    size, cell = split_page_name(key)
    return f"{got} of {asked} of {format_size(size)} in cell {cell}"
