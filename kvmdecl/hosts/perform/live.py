"""Changes of a running guest.

Each looks first, so that doing it again does nothing, and looks again afterwards: libvirt reports success
also for what it ignores, and for a device that the guest does not let go.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from kvmdecl.amounts import KIB, about_size, format_size
from kvmdecl.libvirt_xml.fields import device_key, fields
from kvmdecl.libvirt_xml.overlay import attachable, find_device, overlay_device
from kvmdecl.libvirt_xml.safe import parse_xml
from kvmdecl.state import Kind

if TYPE_CHECKING:
    import libvirt

    from kvmdecl.hosts.perform.job import Job
    from kvmdecl.tasks import LiveChange


def change_live(job: Job, domain: libvirt.virDomain, change: LiveChange, base: str | None) -> tuple[str, ...]:
    """Make one change of a running guest. Returns what the user should know about it.

    Args:
        job: the step that it belongs to.
        domain: active.
        change: what to do.
        base: the declared definition that was last applied, by which a device that goes is found.

    Raises:
        TaskFailed: `step.not-as-declared`, libvirt reported success and nothing changed.
        libvirt.libvirtError: libvirt refused.
    """
    match change.call:
        case "set-vcpus":
            return _set_vcpus(job, domain, int(change.argument))
        case "set-memory":
            return _set_memory(job, domain, int(change.argument))
        case "set-scheduler":
            return _set_scheduler(domain, change.argument)
        case "set-memory-limits":
            return _set_memory_limits(domain, change.argument)
        case "set-block-weight":
            return _set_block_weight(domain, change.argument)
        case "pin-vcpu":
            return _pin_vcpu(domain, change.argument)
        case "pin-emulator":
            return _pin_emulator(domain, change.argument)
        case "pin-iothread":
            return _pin_iothread(domain, change.argument)
        case "add-iothreads":
            return _add_iothreads(domain, int(change.argument))
        case "remove-iothreads":
            return _remove_iothreads(domain, int(change.argument or 0))
        case "set-iotune":
            return _set_iotune(job, domain, change.argument, base)
        case "attach-device":
            return _attach(job, domain, change.argument)
        case "update-device":
            return _update(domain, change.argument, base)
        case "set-lifecycle":
            return _set_lifecycle(job, domain, *change.argument.split(" "))
        case "detach-device":
            return _detach(job, domain, change.argument, base)


def _set_vcpus(job: Job, domain: libvirt.virDomain, number: int) -> tuple[str, ...]:
    import libvirt

    if _live_vcpus(domain) == number:
        return ()
    domain.setVcpusFlags(number, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    if _live_vcpus(domain) != number:
        job.fail(
            "step.not-as-declared",
            f"{job.request.address} has {_live_vcpus(domain)} virtual CPUs and not {number}",
            "libvirt reported success, but the running guest did not take the change.",
            "shut the guest down and plan again: the number of CPUs then changes with its definition.",
        )
    return ()


def _live_vcpus(domain: libvirt.virDomain) -> int:
    vcpu = parse_xml(domain.XMLDesc(0)).find("vcpu")
    return 0 if vcpu is None else int(vcpu.get("current") or vcpu.text or 0)


def _set_memory(job: Job, domain: libvirt.virDomain, kibibytes: int) -> tuple[str, ...]:
    """Set the balloon's target. It is the guest's driver that gives memory back or takes it."""
    import libvirt

    if _live_memory(domain) == kibibytes:
        return ()
    domain.setMemoryFlags(kibibytes, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    if job.wait(lambda: _live_memory(domain) == kibibytes, job.patience.unplug):
        return ()
    used, wanted = about_size(_live_memory(domain) * KIB), format_size(kibibytes * KIB)
    return (f"the guest still uses {used}: its balloon driver moves towards {wanted}",)


def _live_memory(domain: libvirt.virDomain) -> int:
    return int(parse_xml(domain.XMLDesc(0)).findtext("currentMemory") or 0)


def _set_scheduler(domain: libvirt.virDomain, parameters: str) -> tuple[str, ...]:
    """Shares and quotas. The binding reads before it sets, so that one call cannot be for guest and definition both."""
    import libvirt

    domain.setSchedulerParametersFlags(_numbers(parameters), libvirt.VIR_DOMAIN_AFFECT_LIVE)
    return ()


def _set_memory_limits(domain: libvirt.virDomain, parameters: str) -> tuple[str, ...]:
    import libvirt

    domain.setMemoryParameters(_numbers(parameters), libvirt.VIR_DOMAIN_AFFECT_LIVE)
    return ()


def _set_block_weight(domain: libvirt.virDomain, parameters: str) -> tuple[str, ...]:
    import libvirt

    domain.setBlkioParameters(_numbers(parameters), libvirt.VIR_DOMAIN_AFFECT_LIVE)
    return ()


def _numbers(parameters: str) -> dict[str, int]:
    """`NAME=NUMBER NAME=NUMBER` as libvirt's typed parameters."""
    pairs = (parameter.partition("=") for parameter in parameters.split())
    return {name: int(value) for name, _, value in pairs}


def _pin_vcpu(domain: libvirt.virDomain, pin: str) -> tuple[str, ...]:
    import libvirt

    vcpu, _, cpus = pin.partition("=")
    domain.pinVcpuFlags(int(vcpu), _cpu_map(domain, cpus), libvirt.VIR_DOMAIN_AFFECT_LIVE)
    return ()


def _pin_emulator(domain: libvirt.virDomain, cpus: str) -> tuple[str, ...]:
    import libvirt

    domain.pinEmulator(_cpu_map(domain, cpus), libvirt.VIR_DOMAIN_AFFECT_LIVE)
    return ()


def _pin_iothread(domain: libvirt.virDomain, pin: str) -> tuple[str, ...]:
    import libvirt

    thread, _, cpus = pin.partition("=")
    domain.pinIOThread(int(thread), _cpu_map(domain, cpus), libvirt.VIR_DOMAIN_AFFECT_LIVE)
    return ()


def _cpu_map(domain: libvirt.virDomain, cpus: str) -> tuple[bool, ...]:
    """For each CPU of the host, whether it is in a set such as `0,2`."""
    chosen = {int(number) for number in cpus.split(",")}
    return tuple(number in chosen for number in range(domain.connect().getCPUMap()[0]))


def _add_iothreads(domain: libvirt.virDomain, number: int) -> tuple[str, ...]:
    """Make threads with the lowest free numbers (virDomainAddIOThread) until there are `number`."""
    import libvirt

    there = _iothreads(domain)
    free = (thread for thread in range(1, number + len(there) + 1) if thread not in there)
    for thread in islice(free, max(0, number - len(there))):
        domain.addIOThread(thread, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    return ()


def _remove_iothreads(domain: libvirt.virDomain, number: int) -> tuple[str, ...]:
    """End the threads with the highest numbers (virDomainDelIOThread) until there are `number`."""
    import libvirt

    for thread in _iothreads(domain)[number:]:
        try:
            domain.delIOThread(thread, libvirt.VIR_DOMAIN_AFFECT_LIVE)
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_INVALID_ARG:
                raise
            return (f"I/O thread {thread} serves a disk yet; it ends when the guest is next powered off",)
    return ()


def _iothreads(domain: libvirt.virDomain) -> list[int]:
    import libvirt

    return sorted(thread[0] for thread in domain.ioThreadInfo(libvirt.VIR_DOMAIN_AFFECT_LIVE))


def _set_iotune(job: Job, domain: libvirt.virDomain, declared: str, base: str | None) -> tuple[str, ...]:
    """Set the limits of a disk (virDomainSetBlockIoTune); zero lifts one.

    All limits are named: libvirt resets those that belong together with one that is.
    """
    import libvirt

    key, alone = _key(declared)
    before = find_device(domain.XMLDesc(0), key, alone)
    if before is None:
        return (
            f"{key} is not in the running guest; it comes with its limits when the guest is next powered on",
        )
    after = overlay_device(before, declared, find_device(base, key) if base else None)
    had, wanted = _limits(before), _limits(after)
    if had == wanted:
        return ()
    target = parse_xml(before).find("target")
    domain.setBlockIoTune(
        "" if target is None else target.get("dev", ""),
        {name: wanted.get(name, 0) for name in {**had, **wanted}},
        libvirt.VIR_DOMAIN_AFFECT_LIVE,
    )
    now = _limits(find_device(domain.XMLDesc(0), key, alone) or after)
    if missing := [name for name, limit in wanted.items() if now.get(name) != limit]:
        job.fail(
            "step.not-as-declared",
            f"{key} of {job.request.address} has no {missing[0]} of {wanted[missing[0]]}",
            "libvirt reported success, but the running guest's disk is not limited so.",
            "shut the guest down and plan again: the limits then come with its definition.",
        )
    return ()


def _limits(device: str) -> dict[str, int]:
    """The limits of a disk by name; the name of a group of disks, which is no number, stays what it is."""
    limits = {str(limit.tag): limit.text or "" for limit in parse_xml(device).iterfind("iotune/*")}
    return {name: int(text) for name, text in limits.items() if text.isdecimal()}


def _attach(job: Job, domain: libvirt.virDomain, declared: str) -> tuple[str, ...]:
    import libvirt

    key, alone = _key(declared)
    live = domain.XMLDesc(0)
    if find_device(live, key, alone) is not None:
        return ()
    config = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    domain.attachDeviceFlags(attachable(declared, live, config), libvirt.VIR_DOMAIN_AFFECT_LIVE)
    if find_device(domain.XMLDesc(0), key, alone) is None:
        job.fail(
            "step.not-as-declared",
            f"{job.request.address} did not get {key}",
            "libvirt reported success, but the running guest does not have the device.",
            "shut the guest down and plan again: the device then comes with its definition.",
        )
    return ()


def _set_lifecycle(job: Job, domain: libvirt.virDomain, event: str, action: str) -> tuple[str, ...]:
    import libvirt

    if _lifecycle(domain, event) == action:
        return ()
    actions = {
        "destroy": libvirt.VIR_DOMAIN_LIFECYCLE_ACTION_DESTROY,
        "restart": libvirt.VIR_DOMAIN_LIFECYCLE_ACTION_RESTART,
        "preserve": libvirt.VIR_DOMAIN_LIFECYCLE_ACTION_PRESERVE,
        "coredump-destroy": libvirt.VIR_DOMAIN_LIFECYCLE_ACTION_COREDUMP_DESTROY,
        "coredump-restart": libvirt.VIR_DOMAIN_LIFECYCLE_ACTION_COREDUMP_RESTART,
    }
    events = {
        "on_poweroff": libvirt.VIR_DOMAIN_LIFECYCLE_POWEROFF,
        "on_reboot": libvirt.VIR_DOMAIN_LIFECYCLE_REBOOT,
        "on_crash": libvirt.VIR_DOMAIN_LIFECYCLE_CRASH,
    }
    domain.setLifecycleAction(events[event], actions[action], libvirt.VIR_DOMAIN_AFFECT_LIVE)
    if _lifecycle(domain, event) != action:
        job.fail(
            "step.not-as-declared",
            f"{job.request.address} has {event} {_lifecycle(domain, event)} and not {action}",
            "libvirt reported success, but the running guest did not take the change.",
            "shut the guest down and plan again: the action then changes with its definition.",
        )
    return ()


def _lifecycle(domain: libvirt.virDomain, event: str) -> str:
    return (parse_xml(domain.XMLDesc(0)).findtext(event) or "").strip()


def _update(domain: libvirt.virDomain, declared: str, base: str | None) -> tuple[str, ...]:
    """Replace a device by itself with the declared fields laid over it: what is not named would be reset."""
    import libvirt

    key, alone = _key(declared)
    before = find_device(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_SECURE), key, alone)
    if before is None:
        return (f"{key} is not in the running guest; it comes when the guest is next powered on",)
    last = find_device(base, key, alone) if base is not None else None
    after = overlay_device(before, declared, last)
    domain.updateDeviceFlags(after, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    return ()


def _detach(job: Job, domain: libvirt.virDomain, key: str, base: str | None) -> tuple[str, ...]:
    """Ask the guest to let a device go (virDomainDetachDeviceFlags), and wait until it did."""
    import libvirt

    def find() -> str | None:
        return find_device(domain.XMLDesc(0), key, base)

    device = find()
    if device is None:
        return ()
    domain.detachDeviceFlags(device, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    if job.wait(lambda: find() is None, job.patience.unplug, tell=True):
        return ()
    return (f"the guest did not let {key} go; it leaves when the guest is next powered off",)


def _key(declared: str) -> tuple[str, str]:
    """The key of a declared device, and a definition of a domain that has nothing else."""
    alone = f"<domain><devices>{declared}</devices></domain>"
    paths = fields(alone, Kind.DOMAIN)
    return next(filter(None, map(device_key, paths))), alone
