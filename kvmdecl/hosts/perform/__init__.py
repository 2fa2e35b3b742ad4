"""Carry out one task on one host: look again, act, read back. Runs in a worker process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.diagnostics import Rejected, TaskFailed
from kvmdecl.hosts.perform.definitions import delete_definition, write_definition
from kvmdecl.hosts.perform.domains import (
    adopt_domain,
    define_domain,
    delete_domain,
    hand_over_domain,
    update_domain,
)
from kvmdecl.hosts.perform.filters import define_filter, delete_filter
from kvmdecl.hosts.perform.job import Job, Patience
from kvmdecl.hosts.perform.moves import leave_domain, move_domain
from kvmdecl.hosts.perform.networks import define_network, delete_network
from kvmdecl.hosts.perform.pools import create_pool, delete_pool, update_pool
from kvmdecl.hosts.perform.reverting import revert_snapshot
from kvmdecl.hosts.perform.secrets import define_secret, delete_secret
from kvmdecl.hosts.perform.settings import update_host
from kvmdecl.hosts.perform.snapshots import change_snapshots
from kvmdecl.hosts.perform.volumes import create_volume, delete_volume, resize_volume
from kvmdecl.tasks import (
    AdoptDomain,
    ChangeSnapshots,
    ConfigureManager,
    CreatePool,
    CreateVolume,
    DefineDomain,
    DefineFilter,
    DefineNetwork,
    DefineSecret,
    DeleteDefinition,
    DeleteDomain,
    DeleteFilter,
    DeleteNetwork,
    DeletePool,
    DeleteSecret,
    DeleteVolume,
    HandOverDomain,
    LeaveDomain,
    MoveDomain,
    ResizeVolume,
    RevertSnapshot,
    UpdateDomain,
    UpdateHost,
    UpdatePool,
    WriteDefinition,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    import libvirt

    from kvmdecl.hosts.protocol import Progress, TaskRequest, TaskResult

__all__ = ["Patience", "perform"]


def perform(
    connection: libvirt.virConnect,
    request: TaskRequest,
    progress: Callable[[Progress], None],
    patience: Patience = Patience(),  # noqa: B008 - a frozen value
    *,
    peer: libvirt.virConnect | None = None,
    uri: str = "",
) -> TaskResult:
    """Carry out a task.

    Args:
        connection: read-write, open.
        request: the task, and the fingerprint that its object must still have.
        progress: told how far a long task is; called in this thread.
        patience: how long to wait for guests.
        peer: read-write, open, to the other host of a task that is about two.
        uri: of `connection`'s host, by which the other one can reach it.

    Raises:
        Moved: the object is another one than planned; nothing was done.
        TaskFailed: the host refused, a guest did not obey, or the host then reports something other than what
            was declared.
    """
    import libvirt

    job = Job(connection, request, progress, patience, peer, uri)
    try:
        job.require_lock()
        return _dispatch(job)
    except libvirt.libvirtError as error:
        raise job.failed(error) from error
    except Rejected as rejected:
        raise TaskFailed(rejected.diagnostics[0]) from rejected


def _dispatch(job: Job) -> TaskResult:
    match job.request.task:
        case UpdateHost() as task:
            return update_host(job, task)
        case DefineSecret() as task:
            return define_secret(job, task)
        case DeleteSecret() as task:
            return delete_secret(job, task)
        case CreatePool() as task:
            return create_pool(job, task)
        case UpdatePool() as task:
            return update_pool(job, task)
        case DeletePool() as task:
            return delete_pool(job, task)
        case DefineNetwork() as task:
            return define_network(job, task)
        case DeleteNetwork() as task:
            return delete_network(job, task)
        case DefineFilter() as task:
            return define_filter(job, task)
        case DeleteFilter() as task:
            return delete_filter(job, task)
        case CreateVolume() as task:
            return create_volume(job, task)
        case ResizeVolume() as task:
            return resize_volume(job, task)
        case DeleteVolume() as task:
            return delete_volume(job, task)
        case WriteDefinition() as task:
            return write_definition(job, task)
        case DeleteDefinition() as task:
            return delete_definition(job, task)
        case UpdateDomain() as task:
            return update_domain(job, task)
        case HandOverDomain() as task:
            return hand_over_domain(job, task)
        case DefineDomain() as task:
            return define_domain(job, task)
        case AdoptDomain() as task:
            return adopt_domain(job, task)
        case DeleteDomain() as task:
            return delete_domain(job, task)
        case MoveDomain() as task:
            return move_domain(job, task)
        case LeaveDomain() as task:
            return leave_domain(job, task)
        case ChangeSnapshots() as task:
            return change_snapshots(job, task)
        case RevertSnapshot() as task:
            return revert_snapshot(job, task)
        case ConfigureManager() as task:
            raise AssertionError(f"{task.manager} is configured by its plugin, and not by way of libvirt")
