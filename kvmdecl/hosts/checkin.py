"""What comes before the first task on a host: is it the planned machine, and does it know the cluster's hosts?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.diagnostics import Diagnostic, Moved
from kvmdecl.hosts.ledger import LedgerWriter
from kvmdecl.hosts.protocol import TaskResult
from kvmdecl.libvirt_xml.capabilities import parse_capabilities
from kvmdecl.text import safe_text

if TYPE_CHECKING:
    import libvirt

    from kvmdecl.hosts.protocol import CheckIn


def check_in(connection: libvirt.virConnect, asked: CheckIn) -> TaskResult:
    """Hold the machine (virConnectGetCapabilities) against the plan, then note the cluster's hosts in the ledger.

    Raises:
        Moved: `host.other-machine`; nothing was done.
        Rejected: `host.ledger-broken`.
        libvirt.libvirtError: the host did not answer, or refused.
    """
    if asked.machine:
        found = parse_capabilities(connection.getCapabilities()).uuid
        if found != asked.machine:
            raise Moved(other_machine(asked.host, asked.machine, found))
    if asked.members:
        LedgerWriter(connection, asked.cluster).note_hosts(asked.members, asked.let_go)
    return TaskResult()


def other_machine(host: str, planned: str, found: str) -> Diagnostic:
    """The finding that a host's URI leads to another machine than the one that was planned for."""
    return Diagnostic(
        code="host.other-machine",
        summary=f"{host} is another machine than the plan was made for; nothing was done to it",
        cause=f"The plan was made for UUID {safe_text(planned)}, and what answers now has {safe_text(found)}.",
        hint="look where its URI leads, then plan again.",
        subject=f"host/{host}",
    )
