"""PlacedCluster, facts -> files: what is put onto the hosts, and what is to be reviewed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Artifact
from kvmdecl_pacemaker.cib import cib_text
from kvmdecl_pacemaker.commands import commands
from kvmdecl_pacemaker.configure import SECTION, configure, site_of
from kvmdecl_pacemaker.corosync import corosync_conf

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvmdecl.api import HostFacts, PlacedCluster
    from kvmdecl_pacemaker.model import Sbd


def artifacts(placed: PlacedCluster, facts: Mapping[str, HostFacts]) -> Iterator[Artifact]:
    """All files of the section.

    Raises:
        Rejected: as `configure`.
    """
    configuration = configure(placed, facts)
    ha = site_of(placed, facts).ha
    yield Artifact(SECTION, "cib.xml", cib_text(configuration))
    yield Artifact(SECTION, "corosync.conf", corosync_conf(configuration))
    yield Artifact(SECTION, "commands.sh", commands(configuration))
    for guest in configuration.guests:
        yield Artifact(SECTION, f"definitions/{guest.name}.xml", guest.definition)
        for host, text in guest.elsewhere:
            yield Artifact(SECTION, f"definitions/{host}/{guest.name}.xml", text)
    if ha.sbd is not None:
        yield Artifact(SECTION, "sbd", sbd_settings(ha.sbd))
    if ha.locks == "lockd":
        yield Artifact(SECTION, "qemu-lockd.conf", "auto_disk_leases = 1\nrequire_lease_for_disks = 1\n")


def sbd_settings(sbd: Sbd) -> str:
    """/etc/default/sbd (Debian) or /etc/sysconfig/sbd of every host (sbd(8))."""
    lines = [f'SBD_DEVICE="{";".join(sbd.devices)}"'] if sbd.devices else []
    lines += [
        "SBD_PACEMAKER=yes",
        "SBD_STARTMODE=always",
        "SBD_DELAY_START=no",
        f"SBD_WATCHDOG_DEV={sbd.watchdog}",
        f"SBD_WATCHDOG_TIMEOUT={sbd.timeout}",
    ]
    return "\n".join(lines) + "\n"
