"""Guests that go from one host to another: live, or while they are off. At no instant can two copies of one run.

`Job.connection` is that of the host to which a guest goes, `Job.peer` that of the host where it is.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

from kvmdecl.amounts import format_duration
from kvmdecl.hosts.errors import is_gone, message
from kvmdecl.hosts.perform.belongings import bring_files, delete_files, require_free_place
from kvmdecl.hosts.perform.bringing import bring_disks, require_bringable
from kvmdecl.hosts.perform.domains import (
    ENDS,
    STARTS,
    changed_definition,
    define_here,
    find_domain,
    go_on,
    is_active,
    is_migrating,
    leave_trace,
    marked,
    pull_the_plug,
    require_no_image,
    require_nothing_to_lose,
    set_autostart,
    set_power,
    shut_down,
    undefine_flags,
)
from kvmdecl.hosts.protocol import Progress, TaskResult
from kvmdecl.hosts.read import is_halted, read_domain
from kvmdecl.hosts.runlock import require_lock
from kvmdecl.libvirt_xml.fields import differences
from kvmdecl.libvirt_xml.marker import belongs
from kvmdecl.libvirt_xml.moving import host_files, migrated
from kvmdecl.libvirt_xml.safe import parse_xml
from kvmdecl.state import Kind
from kvmdecl.tasks import DefineDomain
from kvmdecl.text import safe_text

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence
    from concurrent.futures import Future

    import libvirt

    from kvmdecl.hosts.perform.job import Job
    from kvmdecl.libvirt_xml.moving import HostFiles
    from kvmdecl.state import MigrationPolicy, ObservedDomain
    from kvmdecl.tasks import LeaveDomain, MoveDomain, Power

_MIB = 1 << 20


def move_domain(job: Job, task: MoveDomain) -> TaskResult:
    """Bring a domain here from the host where it is. What that host has of it is gone before it is started here."""
    if job.peer is None:
        raise TypeError("a move is about two hosts")
    require_lock(job.peer, task.source, job.request.lock)
    domain = find_domain(job.peer, task.name)
    before = read_domain(domain) if domain else None
    if not task.goes_on:
        job.require_unmoved(before, lambda: _differing(task, before), ends=task.power in ENDS)
    if domain is None or before is None:
        raise job.moved("vanished")
    job.require_identity(before.uuid, task.uuid)
    if task.goes_on and (found := _differing(task, before)):
        raise job.moved("was changed", found)
    _require_free(job, task)
    require_nothing_to_lose(job, domain)
    _take_over_volumes(job, task)
    here = _go_live(job, task, domain) if task.live else _go_cold(job, task, domain)
    _note_copies(job, task)
    set_autostart(job, here, on=task.autostart)
    _start(job, task, here)
    kept = here.XMLDesc(_inactive())
    job.require_as_declared(Kind.DOMAIN, task.xml, task.base, kept)
    leave_trace(job, _as_define(task), here, kept)
    return TaskResult()


def leave_domain(job: Job, task: LeaveDomain) -> TaskResult:
    """Undefine what a guest left here that is on another host, and forget volumes that are noted there."""
    domain = find_domain(job.connection, task.name)
    job.require_unmoved(read_domain(domain) if domain else None)
    if domain is not None:
        job.require_identity(domain.UUIDString(), task.uuid)
        if domain.isActive() and not (is_halted(domain) and not is_migrating(domain)):
            job.fail(
                "step.still-running",
                f"{job.request.address} is running, and {task.home} has it, too; nothing was done to it",
                hint="plan again.",
            )
        require_nothing_to_lose(job, domain)
        persistent, flags = bool(domain.isPersistent()), undefine_flags(domain)
        # As the client that migrated it would have had done (virDomainMigrateConfirm3).
        if domain.isActive():
            pull_the_plug(domain)
        if persistent:
            domain.undefineFlags(flags)
    for volume in task.volumes:
        job.ledger.forget(Kind.VOLUME, volume)
    if task.files:
        delete_files(job, task)
    return TaskResult()


def _inactive() -> int:
    import libvirt

    flags: int = libvirt.VIR_DOMAIN_XML_INACTIVE
    return flags


def _differing(task: MoveDomain, observed: ObservedDomain | None) -> tuple[str, ...]:
    if observed is None:
        return ()
    return tuple(found.path for found in differences(task.xml, task.base, observed.xml, Kind.DOMAIN))


def _as_define(task: MoveDomain) -> DefineDomain:
    """What is defined here, as the task that defines it; a guest that ran, and runs, is not started."""
    power: Power = "start" if task.power in STARTS else "keep"
    return DefineDomain(
        task.name, task.uuid, task.xml, task.base, (), power, task.autostart, task.cluster, task.revision,
        task.power_off, task.agent_within,
    )  # fmt: skip


# -- before ----------------------------------------------------------------------------------------


def _require_free(job: Job, task: MoveDomain) -> None:
    """Make sure that nothing of its name or UUID is here, but a definition that an interrupted move left."""
    found = [
        d for d in job.connection.listAllDomains() if d.UUIDString() == task.uuid or d.name() == task.name
    ]
    for domain in found:
        job.require_identity(domain.UUIDString(), task.uuid)
        if domain.isActive():
            job.fail(
                "step.second-copy",
                f"{job.request.address} runs there already, and {task.source} has it; nothing was done",
                "A guest that runs twice destroys its data or fights its twin for its address.",
                "see which one is right, and end the other; then plan again.",
            )
        if not belongs(domain.XMLDesc(_inactive()), task.cluster, task.uuid):
            raise job.moved("appeared")


def _take_over_volumes(job: Job, task: MoveDomain) -> None:
    """Note here which volumes in pools that both hosts see are the guest's, and have libvirt see them."""
    for pool in sorted({entry.name.partition("/")[0] for entry in task.volumes}):
        job.connection.storagePoolLookupByName(pool).refresh(0)
    if not task.passing:
        for entry in task.volumes:
            job.ledger.note(entry)


def _note_copies(job: Job, task: MoveDomain) -> None:
    """What was copied is whole now."""
    ledger = job.ledger.read()
    for _, volume in task.copied:
        if (entry := ledger.find(Kind.VOLUME, volume)) is not None:
            job.ledger.note(replace(entry, complete=True))


# -- live ------------------------------------------------------------------------------------------


def _go_live(job: Job, task: MoveDomain, domain: libvirt.virDomain) -> libvirt.virDomain:
    """Migrate a running guest (virDomainMigrate3, virDomainMigrateToURI3) and see to it that it arrived."""
    import libvirt

    go_on(
        job, domain
    )  # its other self runs nowhere: the plan would have this one leave, and `_require_free` finds it
    live = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_MIGRATABLE | libvirt.VIR_DOMAIN_XML_SECURE)
    _require_fitting(job, task, live)
    parameters, flags = _parameters(task, live, domain), _flags(task)

    def migrate() -> None:
        if task.policy.hosts_lead:
            domain.migrateToURI3(job.uri, parameters, flags | libvirt.VIR_MIGRATE_PEER2PEER)
        else:
            domain.migrate3(job.connection, parameters, flags)

    with ThreadPoolExecutor(1) as other:
        _watch(job, task.policy, domain, other.submit(migrate))
    job.require_lock()
    here = find_domain(job.connection, task.name)
    if here is None or not here.isActive():
        job.fail(
            "step.not-arrived",
            f"{job.request.address} was migrated from {task.source}, and does not run",
            "It may have ended on the way, or right after.",
            "look at the logs of QEMU on both hosts, then plan again.",
        )
    return here


def _parameters(task: MoveDomain, live: str, domain: libvirt.virDomain) -> dict[str, Any]:
    import libvirt

    policy = task.policy
    persistent = marked(changed_definition(domain, _as_define(task)), _as_define(task))
    found: dict[str, Any] = {libvirt.VIR_MIGRATE_PARAM_PERSIST_XML: persistent}
    if (arrives := migrated(live, task.xml)) is not None:
        found[libvirt.VIR_MIGRATE_PARAM_DEST_XML] = arrives
    if policy.address:
        found[libvirt.VIR_MIGRATE_PARAM_URI] = f"tcp://{policy.address}"
    if policy.bandwidth:
        found[libvirt.VIR_MIGRATE_PARAM_BANDWIDTH] = policy.bandwidth
    if policy.parallel:
        found[libvirt.VIR_MIGRATE_PARAM_PARALLEL_CONNECTIONS] = policy.parallel
    if policy.compressed:
        found[libvirt.VIR_MIGRATE_PARAM_COMPRESSION] = "xbzrle"
    if task.copied:
        found[libvirt.VIR_MIGRATE_PARAM_MIGRATE_DISKS] = [target for target, _ in task.copied]
    return found


def _flags(task: MoveDomain) -> int:
    """Never VIR_MIGRATE_UNSAFE: libvirt knows better than we which disks two hosts may have open."""
    import libvirt

    policy = task.policy
    flags: int = (
        libvirt.VIR_MIGRATE_LIVE | libvirt.VIR_MIGRATE_PERSIST_DEST | libvirt.VIR_MIGRATE_UNDEFINE_SOURCE
    )
    for said, flag in (
        (policy.auto_converge, libvirt.VIR_MIGRATE_AUTO_CONVERGE),
        (policy.parallel, libvirt.VIR_MIGRATE_PARALLEL),
        (policy.compressed, libvirt.VIR_MIGRATE_COMPRESSED),
        (policy.tls, libvirt.VIR_MIGRATE_TLS),
        ("post-copy" in {policy.mode, policy.on_timeout}, libvirt.VIR_MIGRATE_POSTCOPY),
        (task.copied, libvirt.VIR_MIGRATE_NON_SHARED_DISK),
    ):
        flags |= flag if said else 0
    return flags


def _require_fitting(job: Job, task: MoveDomain, live: str) -> None:
    """Make sure that this host can run what runs on the other (virConnectCompareHypervisorCPU): machine and CPU."""
    import libvirt

    root = parse_xml(live)
    type_, cpu = root.find("os/type"), root.find("cpu")
    machine = None if type_ is None else type_.get("machine")
    arch = None if type_ is None else type_.get("arch")
    try:
        job.connection.getDomainCapabilities(None, arch, machine, root.get("type"), 0)
        if cpu is None or cpu.get("mode") != "custom" or cpu.find("model") is None:
            return
        from lxml import etree

        text = etree.tostring(cpu, encoding="unicode", with_tail=False)
        fits = job.connection.compareHypervisorCPU(None, arch, machine, root.get("type"), text, 0)
    except libvirt.libvirtError as error:
        if error.get_error_code() in {libvirt.VIR_ERR_NO_SUPPORT, libvirt.VIR_ERR_OPERATION_UNSUPPORTED}:
            return
        _cannot_run(job, task, message(error))
    else:
        if fits == libvirt.VIR_CPU_COMPARE_INCOMPATIBLE:
            _cannot_run(job, task, "its CPU lacks something that the guest's has")


def _cannot_run(job: Job, task: MoveDomain, why: str) -> None:
    job.fail(
        "step.cannot-run-here",
        f"{job.request.address} stays on {task.source}: {safe_text(why)}",
        "A guest that goes on on another host needs the machine and the CPU that it was started with.",
        "`cpus: {model: baseline}` gives guests a CPU that all hosts have, from their next start on.",
    )


def _watch(job: Job, policy: MigrationPolicy, domain: libvirt.virDomain, going: Future[None]) -> None:
    """Tell how far a migration is, and do what the policy says once it takes too long."""
    import libvirt

    began, late, fetched, told = time.monotonic(), False, False, False
    while True:
        try:
            going.result(timeout=job.patience.poll)
        except libvirt.libvirtError as error:
            if late and error.get_error_code() == libvirt.VIR_ERR_OPERATION_ABORTED:
                _too_slow(job, policy)
            raise
        except TimeoutError:
            stats = _stats(domain)
            _tell(job, stats)
            if policy.max_downtime and not told:
                told = _set_downtime(domain, policy.max_downtime)
            if policy.mode == "post-copy" and not fetched and stats.get("memory_iteration", 0) > 1:
                fetched = _fetch(domain)
            if not late and time.monotonic() - began > policy.timeout:
                late = _is_late(policy, domain)
        else:
            return


def _too_slow(job: Job, policy: MigrationPolicy) -> NoReturn:
    job.fail(
        "step.too-slow",
        f"{job.request.address} did not arrive within {format_duration(policy.timeout)}, and goes on where it was",
        "It changes its memory or its disks faster than they are copied, or there is too much of them.",
        "give it a longer `migration.timeout` or more `bandwidth`, or say `auto_converge`, `on_timeout: suspend` or"
        " `on_timeout: post-copy`.",
    )


def _stats(domain: libvirt.virDomain) -> Mapping[str, Any]:
    """How far it is (virDomainGetJobStats); empty where there is nothing to tell."""
    import libvirt

    try:
        found: dict[str, Any] = domain.jobStats()
    except libvirt.libvirtError:
        return {}
    return found


def _tell(job: Job, stats: Mapping[str, Any]) -> None:
    total, done = int(stats.get("data_total", 0)), int(stats.get("data_processed", 0))
    if total:
        job.progress(Progress(min(done, total), total, "bytes"))


def _set_downtime(domain: libvirt.virDomain, milliseconds: int) -> bool:
    import libvirt

    with suppress(libvirt.libvirtError):  # it has not begun, or is over
        domain.migrateSetMaxDowntime(milliseconds)
        return True
    return False


def _fetch(domain: libvirt.virDomain) -> bool:
    """Have it go on where it goes to, and fetch the rest (virDomainMigrateStartPostCopy)."""
    import libvirt

    with suppress(libvirt.libvirtError):  # it is over
        domain.migrateStartPostCopy()
        return True
    return False


def _is_late(policy: MigrationPolicy, domain: libvirt.virDomain) -> bool:
    import libvirt

    act = {"abort": domain.abortJob, "suspend": domain.suspend, "post-copy": domain.migrateStartPostCopy}
    with suppress(libvirt.libvirtError):  # it is over
        act[policy.on_timeout]()
        return True
    return False


# -- off -------------------------------------------------------------------------------------------


def _go_cold(job: Job, task: MoveDomain, domain: libvirt.virDomain) -> libvirt.virDomain:
    """Define here what is defined there, then undefine it there. While both have it, neither runs it."""
    if task.copied:
        require_bringable(job, task)
    files = [each for each in host_files(domain.XMLDesc(_inactive())) if each.what in task.files]
    require_free_place(job, task, files)
    ran = bool(domain.isActive())
    if ran:
        if task.power not in ENDS:
            raise job.moved("was started")
        shut_down(job, domain, task.power_off)
    require_no_image(job, domain)
    brought = _bring_or_go_on(job, task, domain, files, ran=ran and task.power == "restart")
    here, _ = define_here(job, _as_define(task), changed_definition(domain, _as_define(task)))
    if is_active(domain):
        here.undefineFlags(undefine_flags(here))
        raise job.moved("was started")
    _undefine_there(job, task, domain, here, brought)
    return here


def _bring_or_go_on(
    job: Job, task: MoveDomain, domain: libvirt.virDomain, files: Sequence[HostFiles], *, ran: bool
) -> frozenset[str]:
    """Copy its disks and files here; where that fails, a guest that was shut down for it goes on where it was.

    Returns what there were files of.
    """
    import libvirt

    try:
        if task.copied:
            bring_disks(job, task)
        return bring_files(job, task, files) if files else frozenset()
    except BaseException:
        if ran:
            with suppress(libvirt.libvirtError):  # it was started meanwhile, or the host is gone
                domain.create()
        raise


def _undefine_there(
    job: Job, task: MoveDomain, domain: libvirt.virDomain, here: libvirt.virDomain, brought: Container[str]
) -> None:
    """Undefine it where it was. libvirt refuses that if it has variables in another place than we know."""
    import libvirt

    flags = undefine_flags(domain)
    if "firmware" in task.files and "firmware" not in brought:
        flags &= ~libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM
    try:
        domain.undefineFlags(flags)
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_OPERATION_INVALID:
            raise  # it may be undefined all the same
        here.undefineFlags(undefine_flags(here))
        job.fail(
            "step.cannot-copy",
            f"{job.request.address} stays on {task.source}: {message(error)}",
            "Its variables are in no place where they can be read.",
            "move it while it runs.",
        )


def _start(job: Job, task: MoveDomain, here: libvirt.virDomain) -> None:
    if task.power in STARTS:
        _require_gone(job, task)
        set_power(job, _as_define(task), here)


def _require_gone(job: Job, task: MoveDomain) -> None:
    """Make sure that the other host has it no longer, right before it is started here."""
    import libvirt

    if job.peer is None:
        raise TypeError("a move is about two hosts")
    try:
        job.peer.lookupByUUIDString(task.uuid)
    except libvirt.libvirtError as error:
        if is_gone(error):
            return
        raise
    job.fail(
        "step.second-copy",
        f"{job.request.address} is not started: {task.source} still has it",
        "A guest that runs twice destroys its data or fights its twin for its address.",
        "plan again.",
    )
