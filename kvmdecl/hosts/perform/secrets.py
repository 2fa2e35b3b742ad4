"""Secrets: defined, given the value that is found where the manifest says, deleted. It goes to the host alone."""

from __future__ import annotations

import base64
import binascii
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from kvmdecl.hosts.protocol import TaskResult
from kvmdecl.hosts.read import read_domain, read_secret
from kvmdecl.libvirt_xml.secret import uses
from kvmdecl.state import Kind, LedgerEntry
from kvmdecl.text import safe_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    import libvirt

    from kvmdecl.hosts.perform.job import Job
    from kvmdecl.state import ObservedSecret, SecretSource
    from kvmdecl.tasks import DefineSecret, DeleteSecret

MAX_VALUE = 64 * 1024
"""Bytes; libvirt's own limit of a value (VIR_SECRET_VALUE_MAX in its protocol)."""


class UnusableSecret(Exception):  # noqa: N818 - reads as a sentence
    """Why there is no value, as a clause that holds nothing of it."""


def define_secret(job: Job, task: DefineSecret) -> TaskResult:
    """Define a secret and set its value (virSecretDefineXML, virSecretSetValue), then note down which version."""
    found = _find(job, task.uuid)
    job.require_unmoved(read_secret(found) if found else None)
    try:
        value = read_value(task.source)
    except UnusableSecret as reason:
        refuse_source(job, task.source, str(reason))
    entry = LedgerEntry(Kind.SECRET, task.name, owner="", applied=task.version, complete=False)
    job.ledger.note(entry)
    job.connection.secretDefineXML(task.xml).setValue(value)
    job.ledger.note(LedgerEntry(Kind.SECRET, task.name, owner="", applied=task.version, complete=True))
    return TaskResult()


def delete_secret(job: Job, task: DeleteSecret) -> TaskResult:
    """Undefine a secret that nothing uses (virSecretUndefine), and forget it."""
    found = _find(job, task.uuid)
    observed = read_secret(found) if found else None
    job.require_unmoved(observed)
    if found is None or observed is None:
        raise job.moved("vanished")
    users = sorted(_users(job, observed))
    if users:
        job.fail(
            "step.secret-in-use",
            f"{job.request.address} is used by {', '.join(map(safe_text, users))}; it stays",
            "Without it, nothing opens what they use.",
            "take the secret out of them first.",
        )
    found.undefine()
    job.ledger.forget(Kind.SECRET, task.name)
    return TaskResult()


def _users(job: Job, secret: ObservedSecret) -> Iterator[str]:
    for domain in map(read_domain, job.connection.listAllDomains()):
        if uses(domain.xml, secret) or (domain.live_xml and uses(domain.live_xml, secret)):
            yield domain.name
    for pool in job.connection.listAllStoragePools():
        if uses(pool.XMLDesc(), secret):
            yield pool.name()


def _find(job: Job, uuid: str) -> libvirt.virSecret | None:
    import libvirt

    try:
        return job.connection.secretLookupByUUIDString(uuid)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_SECRET:
            return None
        raise


def refuse_source(job: Job, source: SecretSource, why: str) -> NoReturn:
    """Raise TaskFailed for a value that cannot be used; `why` holds nothing of it."""
    job.fail(
        "step.secret-unreadable",
        f"there is no value for {job.request.address} in {source}: {why}",
        "The value is read when it is set, by whoever runs apply; nothing was changed.",
        "put it there, and apply again.",
    )


def read_value(source: SecretSource) -> bytes:
    """Find a value where a manifest says that it is.

    Raises:
        UnusableSecret: there is none, or it cannot be one.
    """
    value = _from_file(source) if source.file else os.environb.get(source.env.encode())
    if value is None:
        raise UnusableSecret("the variable is not set")
    if source.encoding == "base64":
        try:
            value = base64.b64decode(value.strip(), validate=True)
        except binascii.Error:
            raise UnusableSecret("it is not base64") from None
    if not value:
        raise UnusableSecret("it is empty")
    if len(value) > MAX_VALUE:
        raise UnusableSecret(f"it has more than {MAX_VALUE} bytes")
    return value


def _from_file(source: SecretSource) -> bytes:
    """The file's content. A link that leads out of the manifest's folder would take other files of this machine."""
    path = Path(source.file)
    try:
        if not path.resolve(strict=True).is_relative_to(Path(source.folder or ".").resolve()):
            raise UnusableSecret("it leads out of the manifest's folder")
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise UnusableSecret("it is no regular file")
            value = stream.read(2 * MAX_VALUE + 1)
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of symbolic links
        raise UnusableSecret(getattr(error, "strerror", None) or "it cannot be read") from None
    return value.removesuffix(b"\n").removesuffix(b"\r")
