"""Domains: created, changed in place, shut down, restarted, undefined. Stopped by force only where the plan says so."""

from __future__ import annotations

import math
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kvmdecl import __version__
from kvmdecl.hosts.errors import is_busy, is_gone
from kvmdecl.hosts.perform.guards import require_not_moved_away
from kvmdecl.hosts.perform.live import change_live
from kvmdecl.hosts.protocol import TaskResult
from kvmdecl.hosts.read import is_halted, read_domain
from kvmdecl.libvirt_xml.fields import differences
from kvmdecl.libvirt_xml.impact import is_settled, not_done_live, not_running_as_declared
from kvmdecl.libvirt_xml.marker import NAMESPACE, PREFIX, Left, Marker, alone, belongs, with_marker
from kvmdecl.libvirt_xml.overlay import complete, overlay
from kvmdecl.libvirt_xml.safe import parse_xml
from kvmdecl.libvirt_xml.trace import leave, same_text
from kvmdecl.state import Kind
from kvmdecl.tasks import DefineDomain

if TYPE_CHECKING:
    from collections.abc import Iterator

    import libvirt

    from kvmdecl.hosts.perform.job import Job
    from kvmdecl.state import ObservedDomain, PowerOff
    from kvmdecl.tasks import AdoptDomain, DeleteDomain, HandOverDomain, Power, UpdateDomain

    _Changing = DefineDomain | HandOverDomain | UpdateDomain

STARTS: frozenset[Power] = frozenset({"start", "restart"})
ENDS: frozenset[Power] = frozenset({"shutdown", "restart"})
_LONGEST_END = 60.0  # seconds that a migration which was given up, or is another's, may take to end


def define_domain(job: Job, task: DefineDomain) -> TaskResult:
    """Create a domain, or change it: live calls first, then its definition once, then its power."""
    domain = find_domain(job.connection, task.name)
    before = read_domain(domain) if domain else None
    job.require_unmoved(before, lambda: _differing(task, before), ends=task.power in ENDS)
    remarks: tuple[str, ...] = ()
    kept: str | None = None
    if domain is None or before is None:
        xml = complete(task.xml)
    else:
        job.require_identity(before.uuid, task.uuid)
        if task.power in STARTS:
            require_not_moved_away(job, domain)
        _require_no_saved_state(job, task, before)
        remarks = _change_live(job, task, domain) if before.active else ()
        xml = changed_definition(domain, task)
    if before is None or not before.managed_save:
        domain, kept = define_here(job, task, xml)
    set_autostart(job, domain, on=task.autostart)
    set_power(job, task, domain)
    if kept is not None:
        leave_trace(job, task, domain, kept)
    return TaskResult(remarks)


def adopt_domain(job: Job, task: AdoptDomain) -> TaskResult:
    """Write our marker into the persistent definition of a domain that is as declared (virDomainSetMetadata).

    Its guest, and the rest of its definition, notice nothing.
    """
    import libvirt

    domain = find_domain(job.connection, task.name)
    before = read_domain(domain) if domain else None
    job.require_unmoved(before)
    if domain is None or before is None:
        raise job.moved("vanished")
    job.require_identity(before.uuid, task.uuid)
    job.require_as_declared(Kind.DOMAIN, task.xml, None, before.xml)
    declared = DefineDomain(
        task.name, task.uuid, task.xml, None, (), "keep", before.autostart, task.cluster, task.revision
    )
    leave_trace(job, declared, domain, before.xml)
    if not belongs(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE), task.cluster, task.uuid):
        raise job.moved("was changed")  # between two calls of ours
    return TaskResult()


def update_domain(job: Job, task: UpdateDomain) -> TaskResult:
    """Change a guest that runs without a definition of libvirt's."""
    domain, _ = _planned(job, task)
    return TaskResult(_change_live(job, task, domain))


def hand_over_domain(job: Job, task: HandOverDomain) -> TaskResult:
    """Undefine a domain (virDomainUndefineFlags); one that runs goes on, and is gone when it ends."""
    domain, before = _planned(job, task)
    require_nothing_to_lose(job, domain)
    remarks = _change_live(job, task, domain)
    set_autostart(job, domain, on=False)
    domain.undefineFlags(undefine_flags(domain))
    after = find_domain(job.connection, task.name)
    job.require_value("state", after is not None and bool(after.isActive()), before.active)
    job.require_value("persistent", after is not None and bool(after.isPersistent()), declared=False)
    return TaskResult(remarks)


def _planned(job: Job, task: UpdateDomain | HandOverDomain) -> tuple[libvirt.virDomain, ObservedDomain]:
    """The domain that the plan speaks of, as it was then."""
    domain = find_domain(job.connection, task.name)
    before = read_domain(domain) if domain else None
    job.require_unmoved(before)
    if domain is None or before is None:
        raise job.moved("vanished")
    job.require_identity(before.uuid, task.uuid)
    return domain, before


def _change_live(job: Job, task: _Changing, domain: libvirt.virDomain) -> tuple[str, ...]:
    """Make the live changes of a task. Returns what the user should know about them."""
    remarks = tuple(remark for change in task.live for remark in change_live(job, domain, change, task.base))
    if task.live and not remarks:  # these say already what the guest did not take
        _require_done_live(job, task, domain)
    return remarks


def delete_domain(job: Job, task: DeleteDomain) -> TaskResult:
    """Undefine a domain (virDomainUndefineFlags), after shutting it down if asked to. Its data stay."""
    domain = find_domain(job.connection, task.name)
    job.require_unmoved(read_domain(domain) if domain else None, ends=task.stop)
    if domain is None:
        raise job.moved("vanished")
    job.require_identity(domain.UUIDString(), task.uuid)
    require_nothing_to_lose(job, domain)
    persistent, flags = bool(domain.isPersistent()), undefine_flags(domain)
    if domain.isActive():
        if not task.stop:
            job.fail(
                "step.still-running",
                f"{job.request.address} is running, and the plan does not stop it; nothing was done to it",
                hint="plan again.",
            )
        shut_down(job, domain, task.power_off)
    if persistent:
        domain.undefineFlags(flags)
    return TaskResult()


def find_domain(connection: libvirt.virConnect, name: str) -> libvirt.virDomain | None:
    """A domain by name, None if there is none."""
    import libvirt

    try:
        return connection.lookupByName(name)
    except libvirt.libvirtError as error:
        if is_gone(error):
            return None
        raise


# -- the definition --------------------------------------------------------------------------------


def _differing(task: DefineDomain, observed: ObservedDomain | None) -> tuple[str, ...]:
    """Fields in which an observed domain is not as declared."""
    return () if observed is None else _differing_text(task, observed.xml)


def _differing_text(task: DefineDomain, definition: str) -> tuple[str, ...]:
    return tuple(found.path for found in differences(task.xml, task.base, definition, Kind.DOMAIN))


def _require_no_saved_state(job: Job, task: DefineDomain, before: ObservedDomain) -> None:
    """A managed save image wins over the definition at the next start, so a change would seem to be lost."""
    if before.managed_save and _differing(task, before):
        job.fail(
            "step.managed-save",
            f"{job.request.address} has a saved state with its old definition; nothing was done to it",
            "Starting it resumes the guest with the definition that was saved with it.",
            "start it once, or discard it with `virsh managedsave-remove`, then plan again.",
        )


def changed_definition(domain: libvirt.virDomain, task: DefineDomain) -> str:
    """The domain's definition with what is declared laid over it; what libvirt filled in is kept."""
    import libvirt

    # Without the flag SECURE the VNC password is left out, and defining the rest would delete it.
    config = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE)
    return overlay(config, task.xml, task.base, live=domain.XMLDesc(0) if domain.isActive() else None)


def define_here(job: Job, task: DefineDomain, xml: str) -> tuple[libvirt.virDomain, str]:
    """Define in place (virDomainDefineXMLFlags). Returns the domain with what libvirt made of the definition."""
    import libvirt

    domain = job.connection.defineXMLFlags(marked(xml, task), libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
    kept = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    job.require_as_declared(Kind.DOMAIN, task.xml, task.base, kept)
    return domain, kept


def marked(xml: str, task: DefineDomain) -> str:
    """The definition with the marker of who applies it."""
    return with_marker(xml, _marker(task))


def _marker(task: DefineDomain, left: Left | None = None) -> Marker:
    return Marker(task.cluster, task.uuid, task.name, task.revision, __version__, task.xml, left=left)


def leave_trace(job: Job, task: DefineDomain, domain: libvirt.virDomain, kept: str) -> None:
    """Note in the marker how the domain is now (virDomainSetMetadata): later plans see at one look that it still is.

    Without the note they compare field by field, so an end before it costs no more than that. What somebody else
    changed meanwhile is not noted as ours; what libvirt fills in when it starts a guest is.
    """
    import libvirt

    config = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    if not same_text(config, kept) and (task.power not in STARTS or _differing_text(task, config)):
        return
    running = bool(domain.isActive())
    live = domain.XMLDesc(0) if running else None
    left = leave(
        config,
        live if live is not None and is_settled(task.xml, config, live) else None,
        task.xml,
        int(job.connection.getLibVersion()),
        running=running,
        autostart=task.autostart,
    )
    flags = libvirt.VIR_DOMAIN_AFFECT_CONFIG
    domain.setMetadata(
        libvirt.VIR_DOMAIN_METADATA_ELEMENT, alone(_marker(task, left)), PREFIX, NAMESPACE, flags
    )


def set_autostart(job: Job, domain: libvirt.virDomain, *, on: bool) -> None:
    """Have the guest started with its host, or not (virDomainSetAutostart)."""
    if bool(domain.autostart()) == on:
        return
    domain.setAutostart(on)
    job.require_value("autostart", bool(domain.autostart()), on)


# -- power -----------------------------------------------------------------------------------------


def set_power(job: Job, task: DefineDomain, domain: libvirt.virDomain) -> None:
    """Do to the guest what the task says."""
    if task.power == "resume":
        go_on(job, domain)
    if task.power in ENDS and domain.isActive():
        shut_down(job, domain, task.power_off)
    if task.power == "restart":
        require_no_image(job, domain)
    if task.power in STARTS and not domain.isActive():
        domain.create()
        _require_runs_as_declared(job, task, domain)
        if task.agent_within:
            _await_agent(job, domain, task.agent_within)


def go_on(job: Job, domain: libvirt.virDomain) -> None:
    """Wait for a migration that somebody began before, and have a guest that one left halted go on (virDomainResume).

    That no other host has it, where it may have gone on, has to be known.
    """
    job.wait(lambda: not is_migrating(domain), _LONGEST_END, tell=True)
    if is_halted(domain):
        domain.resume()
        job.require_value("state", "halted" if is_halted(domain) else "running", "running")


def is_migrating(domain: libvirt.virDomain) -> bool:
    """Whether a job keeps it busy that copies all of it (virDomainGetJobInfo)."""
    import libvirt

    return bool(domain.jobInfo()[0] != libvirt.VIR_DOMAIN_JOB_NONE)


def _await_agent(job: Job, domain: libvirt.virDomain, seconds: float) -> None:
    """Wait until the guest's agent answers, for others are to be started after that."""
    if job.wait(lambda: agent_answers(domain), seconds, tell=True):
        return
    job.fail(
        "step.agent-silent",
        f"{job.request.address} runs, and its guest agent did not answer within {seconds} s",
        "Vms that come after it wait for its agent, and are not started.",
        "see what it does on its console; the next apply starts the others without waiting again.",
    )


def agent_answers(domain: libvirt.virDomain) -> bool:
    """Whether the guest agent tells the time (virDomainGetTime), which any agent can."""
    import libvirt

    try:
        domain.getTime()
    except libvirt.libvirtError:
        return False
    return True


def require_no_image(job: Job, domain: libvirt.virDomain) -> None:
    """Somebody may have saved the guest while it was asked to power off: a start would bring its old self back."""
    if domain.hasManagedSaveImage():
        job.fail(
            "step.managed-save",
            f"{job.request.address} was saved by somebody else while it was being powered off; it is not started",
            "Starting it would resume the guest with the definition that was saved with it.",
            "start it once, or discard the image with `virsh managedsave-remove`, then plan again.",
        )


def _require_done_live(job: Job, task: _Changing, domain: libvirt.virDomain) -> None:
    """Make sure that a running guest took its live changes: libvirt reports success also for what it ignores."""
    ignored = not_done_live(task.xml, task.base, domain.XMLDesc(0))
    if ignored:
        job.require_value(ignored[0].path, ignored[0].before, ignored[0].after)


def _require_runs_as_declared(job: Job, task: DefineDomain, domain: libvirt.virDomain) -> None:
    """Make sure that a guest that was just started has all that its XML can prove."""
    lacking = not_running_as_declared(task.xml, domain.XMLDesc(0)) if domain.isActive() else ()
    if lacking:
        job.require_value(lacking[0].path, lacking[0].before, lacking[0].after)


def shut_down(job: Job, domain: libvirt.virDomain, power_off: PowerOff) -> None:
    """Ask the guest to power off (agent or ACPI) and wait. One that does not obey keeps running, or is forced.

    It is asked again now and then: while it boots it hears nothing, nor can it be asked while something else is done to
    it. One that a migration left halted goes on first.
    """
    if is_halted(domain):
        go_on(job, domain)
    asked = -math.inf
    seconds = power_off.timeout if job.patience.shutdown is None else job.patience.shutdown

    def is_off() -> bool:
        nonlocal asked
        if not is_active(domain):
            return True
        if time.monotonic() - asked >= job.patience.ask_again:
            asked = time.monotonic()
            return not _ask_to_power_off(domain)
        return False

    with _staying_off(domain):
        if job.wait(is_off, seconds, tell=True):
            return
        if power_off.force:
            pull_the_plug(domain)
            return
    job.fail(
        "step.shutdown-ignored",
        f"{job.request.address} did not power off within {seconds:.0f} s; it keeps running",
        "kvmdecl asks a guest to power off, and pulls its plug only where the manifest says so.",
        "shut it down from inside, or with `virsh shutdown --mode agent`, then plan again; "
        "`shutdown: {timeout: 10m}` gives it longer.",
    )


@contextmanager
def _staying_off(domain: libvirt.virDomain) -> Iterator[None]:
    """See to it that a guest that powers off stays off while it is asked to: `on_poweroff: restart` would reset it."""
    import libvirt

    restarts = (parse_xml(domain.XMLDesc(0)).findtext("on_poweroff") or "") == "restart"

    def follow(action: int) -> None:
        event = libvirt.VIR_DOMAIN_LIFECYCLE_POWEROFF
        domain.setLifecycleAction(event, action, libvirt.VIR_DOMAIN_AFFECT_LIVE)

    if restarts:
        follow(libvirt.VIR_DOMAIN_LIFECYCLE_ACTION_DESTROY)
    try:
        yield
    finally:
        if restarts and is_active(domain):
            follow(libvirt.VIR_DOMAIN_LIFECYCLE_ACTION_RESTART)


def pull_the_plug(domain: libvirt.virDomain) -> None:
    """End a guest (virDomainDestroyFlags): QEMU first gets to write out what it holds of the disks.

    An error counts for nothing if the guest has ended. A libvirtd that was just started gives one for a guest that it
    has not found again yet, which it ends nevertheless.
    """
    import libvirt

    for flags in (libvirt.VIR_DOMAIN_DESTROY_GRACEFUL, libvirt.VIR_DOMAIN_DESTROY_DEFAULT):
        try:
            domain.destroyFlags(flags)
        except libvirt.libvirtError:
            if is_active(domain) and flags == libvirt.VIR_DOMAIN_DESTROY_DEFAULT:
                raise
        if not is_active(domain):
            return


def is_active(domain: libvirt.virDomain) -> bool:
    """Whether the guest runs; one that is gone does not."""
    import libvirt

    try:
        return bool(domain.isActive())
    except libvirt.libvirtError as error:
        if is_gone(error):  # a transient domain ends with its guest
            return False
        raise


def _ask_to_power_off(domain: libvirt.virDomain) -> bool:
    """Press the power button (virDomainShutdown). Returns whether there is a guest, who may have heard it.

    One that has just powered off is active for some moments more, and has no button.
    """
    import libvirt

    try:
        domain.shutdown()
    except libvirt.libvirtError as error:
        if not is_active(domain):
            return False
        if not is_busy(error) and not _is_ending(domain):
            raise
    return True


def _is_ending(domain: libvirt.virDomain) -> bool:
    """Whether it has powered off (virDomainGetState)."""
    import libvirt

    return not is_active(domain) or domain.state()[0] in (
        libvirt.VIR_DOMAIN_SHUTDOWN,
        libvirt.VIR_DOMAIN_SHUTOFF,
    )


# -- undefining ------------------------------------------------------------------------------------


def require_nothing_to_lose(job: Job, domain: libvirt.virDomain) -> None:
    """Refuse to undefine what holds saved states; libvirt would have to be told to drop them."""
    snapshots = sorted(snapshot.getName() for snapshot in domain.listAllSnapshots())
    checkpoints = sorted(checkpoint.getName() for checkpoint in domain.listAllCheckpoints())
    saved = [f"snapshot {name}" for name in snapshots] + [f"checkpoint {name}" for name in checkpoints]
    if domain.hasManagedSaveImage():
        saved.insert(0, "a managed save image")
    if saved:
        job.fail(
            "step.saved-states",
            f"{job.request.address} has {', '.join(saved)}; nothing was done to it",
            "Undefining it would take away the only way back to them.",
            "if nobody needs them, take them away (`kvmdecl snapshot delete`, or virsh), then plan again.",
        )


def undefine_flags(domain: libvirt.virDomain) -> int:
    """Keep the guest's firmware variables and its TPM's state."""
    import libvirt

    flags: int = libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM
    if parse_xml(domain.XMLDesc(0)).find("devices/tpm") is not None:
        flags |= libvirt.VIR_DOMAIN_UNDEFINE_KEEP_TPM  # asked for where needed only: before 8.9 it is unknown
    return flags
