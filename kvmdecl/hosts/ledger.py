"""What a cluster notes down on a host: its pools and volumes, which cannot carry a marker, and its other hosts.

The notes are the description of one libvirt secret per cluster. A secret without a value is an object
that every libvirtd keeps, that nobody else acts on, that a read-only connection may read, and that one
call redefines (virSecretDefineXML with the same UUID).
"""

from __future__ import annotations

import fcntl
import json
import threading
import time
from collections import defaultdict
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from kvmdecl.derived import derive_uuid
from kvmdecl.diagnostics import Diagnostic, Rejected
from kvmdecl.libvirt_xml.safe import BadXml, parse_xml
from kvmdecl.state import Kind, Ledger, LedgerEntry, Member, remembered

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator

    import libvirt

USAGE_PREFIX = "kvmdecl-ledger-"
FORMAT_VERSION = 1

# Redefining a secret replaces it whole, so writers take turns: threads by a lock for each ledger, the processes of a
# run by a byte of a file that all of them have (fcntl). Another run would need the host's lock.
_locks: defaultdict[tuple[str, str], threading.Lock] = defaultdict(threading.Lock)
_locks_lock = threading.Lock()
_shared: list[int] = []
_LOOK_AGAIN = 0.005  # seconds


def take_turns_by(descriptor: int) -> None:
    """Have writers in this process take turns with those in all others that have this file open."""
    _shared[:] = [descriptor]


def read_ledgers(connection: libvirt.virConnect) -> tuple[Ledger, ...]:
    """Read the ledgers of all clusters from a host; a read-only connection will do.

    Raises:
        Rejected: `host.ledger-broken`. A ledger that cannot be read is never taken for an empty one.
        libvirt.libvirtError: the host did not answer.
    """
    import libvirt

    secrets = (
        secret
        for secret in connection.listAllSecrets()
        if secret.usageType() == libvirt.VIR_SECRET_USAGE_TYPE_CEPH
        and secret.usageID().startswith(USAGE_PREFIX)
    )
    return tuple(sorted(map(_read, secrets), key=lambda ledger: ledger.cluster))


def parse_ledger(xml: str) -> Ledger | None:
    """Read a ledger from the XML of its secret; None for any other secret. Pure.

    Raises:
        Rejected: `host.ledger-broken`.
        BadXml: not a document at all.
    """
    secret = parse_xml(xml)
    usage = secret.findtext("usage/name") or ""
    if not usage.startswith(USAGE_PREFIX):
        return None
    try:
        return _load(secret.findtext("description") or "", usage)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise Rejected([_broken(usage, str(error))]) from error


class LedgerWriter:
    """Writes to the ledger of one cluster on one host."""

    def __init__(self, connection: libvirt.virConnect, cluster: str) -> None:
        self._connection = connection
        self._cluster = cluster

    def read(self) -> Ledger:
        """The ledger as the host has it now.

        Raises:
            Rejected: `host.ledger-broken`.
            libvirt.libvirtError: the host did not answer.
        """
        import libvirt

        try:
            secret = self._connection.secretLookupByUUIDString(_uuid(self._cluster))
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_SECRET:
                return Ledger(self._cluster)
            raise
        return _read(secret)

    def note(self, entry: LedgerEntry) -> None:
        """Write an entry in place of any older one for the same object. Raises as `read`."""
        self._write(lambda ledger: ledger.with_entry(entry))

    def forget(self, kind: Kind, name: str) -> None:
        """Drop the entry of an object. Raises as `read`."""
        self._write(lambda ledger: ledger.without(kind, name))

    def note_hosts(self, now: Iterable[Member], let_go: Container[Member]) -> None:
        """Note which hosts the cluster has; those noted before are kept unless they are let go. Raises as `read`."""
        present = tuple(now)
        self._write(lambda ledger: replace(ledger, hosts=remembered(ledger.hosts, present, let_go)))

    def _write(self, change: Callable[[Ledger], Ledger]) -> None:
        with _turn(self._connection.getURI(), self._cluster):
            before = self.read()
            after = change(before)
            if after != before:
                self._connection.secretDefineXML(_secret_xml(after), 0)


@contextmanager
def _turn(uri: str, cluster: str) -> Iterator[None]:
    """Wait until nobody else writes to a ledger.

    The kernel is asked again and again: if it were to wait, it would take processes of which each has a thread that
    waits for a thread of the other for a deadlock.
    """
    with _locks_lock:
        lock = _locks[uri, cluster]
    place = int.from_bytes(sha256(f"{cluster} {uri}".encode()).digest()[:6])
    with lock, ExitStack() as stack:
        for descriptor in _shared:
            while not _is_ours(descriptor, place):
                time.sleep(_LOOK_AGAIN)
            stack.callback(fcntl.lockf, descriptor, fcntl.LOCK_UN, 1, place)
        yield


def _is_ours(descriptor: int, place: int) -> bool:
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _uuid(cluster: str) -> str:
    return derive_uuid(cluster, "ledger", cluster)


def _secret_xml(ledger: Ledger) -> str:
    from lxml import etree

    secret = etree.Element("secret", ephemeral="no", private="no")
    etree.SubElement(secret, "uuid").text = _uuid(ledger.cluster)
    etree.SubElement(secret, "description").text = _dump(ledger)
    usage = etree.SubElement(secret, "usage", type="ceph")
    etree.SubElement(usage, "name").text = f"{USAGE_PREFIX}{ledger.cluster}"
    return etree.tostring(secret, encoding="unicode")


def _dump(ledger: Ledger) -> str:
    rows = [[str(e.kind), e.name, e.owner, e.applied, e.complete] for e in ledger.entries]
    hosts = [[host.name, host.machine] for host in ledger.hosts]
    document = {"format": FORMAT_VERSION, "cluster": ledger.cluster, "entries": rows, "hosts": hosts}
    return json.dumps(document, separators=(",", ":"))


def _read(secret: libvirt.virSecret) -> Ledger:
    usage = secret.usageID()
    try:
        return _load(parse_xml(secret.XMLDesc()).findtext("description") or "", usage)
    except (BadXml, ValueError, TypeError, KeyError, RecursionError) as error:
        raise Rejected([_broken(usage, str(error))]) from error


def _load(text: str, usage: str) -> Ledger:
    document: dict[str, Any] = json.loads(text)
    if document["format"] != FORMAT_VERSION:
        raise ValueError(f"its format is {document['format']}; this version reads {FORMAT_VERSION}")
    if usage != f"{USAGE_PREFIX}{document['cluster']}":
        raise ValueError("it was written for another cluster")
    entries = tuple(_entry(*row) for row in document["entries"])
    return Ledger(document["cluster"], entries, tuple(_member(*row) for row in document.get("hosts", ())))


def _entry(kind: str, name: str, owner: str, applied: str, complete: bool) -> LedgerEntry:
    if not all(isinstance(text, str) for text in (name, owner, applied)) or not isinstance(complete, bool):
        raise TypeError("an entry holds something that kvmdecl does not write")
    return LedgerEntry(Kind(kind), name, owner, applied, complete)


def _member(name: str, machine: str) -> Member:
    if not isinstance(name, str) or not isinstance(machine, str):
        raise TypeError("a host has something that kvmdecl does not write")
    return Member(name, machine)


def _broken(usage: str, why: str) -> Diagnostic:
    return Diagnostic(
        code="host.ledger-broken",
        summary=f"the ledger in secret {usage} cannot be read: {why}",
        cause="Without it kvmdecl does not know which pools and volumes it made itself.",
        hint="`kvmdecl explain host.ledger-broken` says how to put it back.",
    )
