"""The lock that a run has on each host: at any time one run of a cluster writes there.

It is an ephemeral libvirt secret without a value, of a name that is fixed for each cluster. To define it is atomic
(virSecretDefineXML): libvirt refuses a second secret with the same usage. Its UUID is the run's own, so that the holder
can refresh it, and to break it breaks just that one; its description says who holds it. It vanishes when the daemon
that keeps secrets restarts (virtsecretd ends by itself only when no connection is open), so it is looked at again
before anything is written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.diagnostics import Diagnostic, Locked, TaskFailed
from kvmdecl.hosts.processes import is_dead, is_here
from kvmdecl.hosts.protocol import TaskResult
from kvmdecl.libvirt_xml.safe import parse_xml
from kvmdecl.runs import dump_holder, load_holder, locked
from kvmdecl.text import safe_text

if TYPE_CHECKING:
    import libvirt

    from kvmdecl.hosts.protocol import DropLock, TakeLock
    from kvmdecl.runs import Holder

USAGE_PREFIX = "kvmdecl-lock-"
REFRESH = 30
"""Seconds between two signs of life of a holder."""
_TRIES = 20  # each time it was somebody else's, and then nobody's


def take_lock(connection: libvirt.virConnect, asked: TakeLock) -> TaskResult:
    """Take a host for a run, also from one that is dead for certain.

    Raises:
        Locked: `run.locked`; another run holds it.
        libvirt.libvirtError: the host did not answer, or refused.
    """
    remarks: tuple[str, ...] = ()
    for _ in range(_TRIES):
        if _define(connection, asked.holder.now()):
            present = _guests(connection) if asked.guests else frozenset()
            return TaskResult(remarks, present)
        other = read_lock(connection, asked.holder.cluster)
        if other is None:
            continue  # it was given back just now
        if not is_dead(other):
            raise Locked(locked(asked.host, other))
        _undefine(connection, other.token)
        remarks = (f"{asked.host} was held by {other}, which is dead",)
    raise Locked(locked(asked.host, other)) if other else _refused(asked)


def drop_lock(connection: libvirt.virConnect, asked: DropLock) -> TaskResult:
    """Give a host back, or break the lock of a run that is not known to be alive. None or another's is left as it is.

    Raises:
        TaskFailed: `run.alive`.
        libvirt.libvirtError: the host did not answer, or refused.
    """
    found = read_lock(connection, asked.cluster)
    if found is None or found.run != asked.run:
        return TaskResult()
    if asked.by_force and is_here(found) and not is_dead(found):
        raise TaskFailed(_alive(asked.host, found))
    _undefine(connection, found.token)
    return TaskResult((f"{asked.host} was held by {found}",))


def require_lock(connection: libvirt.virConnect, host: str, token: str) -> None:
    """Make sure that a host is still held by the run with this token; empty for work that needs no lock.

    Raises:
        TaskFailed: `run.lock-lost`.
        libvirt.libvirtError: the host did not answer.
    """
    if token and not _holds(connection, token):
        raise TaskFailed(_lost(host))


def refresh_lock(connection: libvirt.virConnect, holder: Holder) -> None:
    """Show a sign of life, if the lock is still there. Raises libvirt.libvirtError."""
    if _holds(connection, holder.token):
        _define(connection, holder.now())


def read_lock(connection: libvirt.virConnect, cluster: str) -> Holder | None:
    """Who holds a host, None for nobody; a read-only connection will do. Raises libvirt.libvirtError."""
    import libvirt

    usage = libvirt.VIR_SECRET_USAGE_TYPE_CEPH
    try:
        secret = connection.secretLookupByUsage(usage, f"{USAGE_PREFIX}{cluster}")
        description = parse_xml(secret.XMLDesc()).findtext("description") or ""
        return load_holder(description, secret.UUIDString(), cluster)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_SECRET:
            return None
        raise


def _define(connection: libvirt.virConnect, holder: Holder) -> bool:
    """Define the lock's secret; whether it is ours then."""
    import libvirt

    try:
        connection.secretDefineXML(_xml(holder), 0)
    except libvirt.libvirtError as error:
        # "a secret with UUID ... already defined for use with ..." has no code of its own
        if error.get_error_code() in {libvirt.VIR_ERR_INTERNAL_ERROR, libvirt.VIR_ERR_OPERATION_FAILED}:
            return False
        raise
    return True


def _xml(holder: Holder) -> str:
    from lxml import etree

    secret = etree.Element("secret", ephemeral="yes", private="no")
    etree.SubElement(secret, "uuid").text = holder.token
    etree.SubElement(secret, "description").text = dump_holder(holder)
    usage = etree.SubElement(secret, "usage", type="ceph")
    etree.SubElement(usage, "name").text = f"{USAGE_PREFIX}{holder.cluster}"
    return etree.tostring(secret, encoding="unicode")


def _holds(connection: libvirt.virConnect, token: str) -> bool:
    import libvirt

    try:
        connection.secretLookupByUUIDString(token)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_SECRET:
            return False
        raise
    return True


def _undefine(connection: libvirt.virConnect, token: str) -> None:
    import libvirt

    try:
        connection.secretLookupByUUIDString(token).undefine()
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_SECRET:
            raise


def _guests(connection: libvirt.virConnect) -> frozenset[str]:
    return frozenset(domain.UUIDString() for domain in connection.listAllDomains())


def _alive(host: str, holder: Holder) -> Diagnostic:
    return Diagnostic(
        code="run.alive",
        summary=f"{host} is held by {holder}, which is running; its lock was left alone",
        cause="Its process was seen on this machine. It would go on writing.",
        hint=f"stop it first: Ctrl-C in its terminal, or `kill -INT {holder.pid}`.",
        subject=f"host/{host}",
    )


def _lost(host: str) -> Diagnostic:
    return Diagnostic(
        code="run.lock-lost",
        summary=f"{safe_text(host)}: this run holds the host no longer; nothing more is done to it",
        cause="Its lock was broken by `kvmdecl unlock`, or the host's libvirt was restarted. Another may write now.",
        hint="apply again: the next plan reads the host and shows what is left to do.",
        subject=f"host/{host}",
    )


def _refused(asked: TakeLock) -> TaskFailed:
    return TaskFailed(
        Diagnostic(
            code="run.no-lock",
            summary=f"{asked.host} could not be locked; nothing was done to it",
            cause="Its libvirt refused the lock, though nobody holds it.",
            hint="look at the host's libvirt log, then try again.",
            subject=f"host/{asked.host}",
        )
    )
