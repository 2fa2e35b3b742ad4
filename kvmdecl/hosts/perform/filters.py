"""Network filters: replaced as a whole; undefined when nothing uses them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.hosts.errors import is_gone
from kvmdecl.hosts.protocol import TaskResult
from kvmdecl.hosts.read import read_domain, read_filter
from kvmdecl.libvirt_xml.nwfilter import digest, filter_differences, filters_in, users_of
from kvmdecl.state import Kind, LedgerEntry
from kvmdecl.text import safe_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    import libvirt

    from kvmdecl.hosts.perform.job import Job
    from kvmdecl.tasks import DefineFilter, DeleteFilter


def define_filter(job: Job, task: DefineFilter) -> TaskResult:
    """Create a filter or replace it (virNWFilterDefineXML), which running guests get at once; note it down.

    Raises:
        Moved, TaskFailed: as `perform`.
    """
    found = find_filter(job, task.name)
    before = read_filter(found) if found else None
    job.require_unmoved(before)
    if before is not None:
        job.require_identity(before.uuid, task.uuid)
    after = read_filter(job.connection.nwfilterDefineXML(task.xml))
    left = filter_differences(task.xml, after.xml)
    if left:
        job.fail(
            "step.not-as-declared",
            f"libvirt accepted {job.request.address}, but its {left[0][0]} has {safe_text(str(left[0][1]))}",
            "What libvirt reports after a change must be what the manifest says.",
            "correct the manifest: this host's libvirt cannot do what it asks for.",
        )
    job.ledger.note(LedgerEntry(Kind.NWFILTER, task.name, "", digest(task.xml), complete=True))
    return TaskResult()


def delete_filter(job: Job, task: DeleteFilter) -> TaskResult:
    """Undefine a filter, and forget it. libvirt itself refuses only one that a running guest uses.

    Raises:
        Moved, TaskFailed: as `perform`; `step.filter-in-use`.
    """
    found = find_filter(job, task.name)
    before = read_filter(found) if found else None
    job.require_unmoved(before)
    if found is None or before is None:
        raise job.moved("vanished")
    job.require_identity(before.uuid, task.uuid)
    users = sorted(_users(job, task.name))
    if users:
        job.fail(
            "step.filter-in-use",
            f"{job.request.address} is used by {', '.join(map(safe_text, users))}; it stays",
            "A guest whose filter is gone does not start.",
            "take the filter out of them first.",
        )
    found.undefine()
    job.ledger.forget(Kind.NWFILTER, task.name)
    return TaskResult()


def find_filter(job: Job, name: str) -> libvirt.virNWFilter | None:
    """A network filter by name, None if there is none."""
    import libvirt

    try:
        return job.connection.nwfilterLookupByName(name)
    except libvirt.libvirtError as error:
        if is_gone(error):
            return None
        raise


def _users(job: Job, name: str) -> Iterator[str]:
    domains = map(read_domain, job.connection.listAllDomains())
    yield from (domain.name for domain in users_of(frozenset({name}), domains))
    filters = map(read_filter, job.connection.listAllNWFilters())
    yield from (other.name for other in filters if name in filters_in(other.xml))
