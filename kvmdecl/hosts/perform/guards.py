"""What keeps a guest from running twice, looked at right before it would be started."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import libvirt

    from kvmdecl.hosts.perform.job import Job


def require_not_moved_away(job: Job, domain: libvirt.virDomain) -> None:
    """Make sure that a definition is not what a live migration left behind (virDomainGetState).

    Its guest runs on another host, which may be one that does not answer or that is not in the manifest.

    Raises:
        TaskFailed: `step.moved-away`.
        libvirt.libvirtError: the host did not answer.
    """
    import libvirt

    if tuple(domain.state()) != (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_MIGRATED):
        return
    job.fail(
        "step.moved-away",
        f"{job.request.address} was migrated to another host and left its definition; nothing was done to it",
        "Started here as well, the guest would run twice.",
        "undefine the definition that does not belong, or start it once with virsh if the other one is gone.",
    )
