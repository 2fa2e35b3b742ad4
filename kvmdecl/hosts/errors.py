"""libvirt's errors as diagnostics: what it means for the user, and what to do about the known causes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from kvmdecl.diagnostics import Diagnostic
from kvmdecl.text import safe_text

if TYPE_CHECKING:
    from libvirt import libvirtError

_LONGEST_MESSAGE = 500

# virErrorNumber, from libvirt/virterror.h. Numbers, so that this module does not need libvirt to be imported.
_NO_CONNECT, _INVALID_CONN, _OPERATION_DENIED = 5, 6, 29
_AUTH_FAILED, _AUTH_CANCELLED, _ACCESS_DENIED, _AUTH_UNAVAILABLE = 45, 79, 88, 94
_NO_SUPPORT, _OPERATION_TIMEOUT = 3, 68
_GONE = {42, 43, 49, 50, 53, 62, 66}  # no domain, network, pool, volume, node device, network filter, secret


class _Known(NamedTuple):
    """A message of libvirt, of ssh or of the TLS library, and what it means."""

    pattern: re.Pattern[str]
    part: str
    code: str
    cause: str
    hint: str


def _known(part: str, pattern: str, code: str, cause: str, hint: str) -> _Known:
    return _Known(re.compile(pattern, re.IGNORECASE), part, code, cause, hint)


_MESSAGES = (
    _known(
        "answer",
        "keepalive timeout|timed out|timeout",
        "host.timeout",
        "The host took part in nothing any more: frozen, overloaded, or cut off.",
        "see whether libvirtd answers there: `virsh list` on the host itself",
    ),
    _known(
        "host-key",
        "host key verification failed|host key|known_hosts",
        "host.refused",
        "The host's SSH key is not the one on record, or there is none on record.",
        "compare the key's fingerprint on the host, then put it into known_hosts (`ssh HOST` asks)",
    ),
    _known(
        "login",
        r"permission denied \(|too many authentication failures|no more authentication methods",
        "host.refused",
        "The host did not accept the SSH key. kvmdecl asks for no password and no passphrase.",
        "load the key into ssh-agent, and see that `ssh -o BatchMode=yes HOST true` works",
    ),
    _known(
        "certificate",
        "certificate|tls|gnutls|x509",
        "host.refused",
        "The TLS certificate of one side is missing, expired, not trusted, or for another name.",
        "run virt-pki-validate on both sides; the host's certificate must have the URI's host name",
    ),
    _known(
        "login",
        "sasl|no authentication|authentication failed",
        "host.refused",
        "The host wants a login (SASL) that is not there or not right.",
        "put the credentials into ~/.config/libvirt/auth.conf, or use TLS or SSH",
    ),
    _known(
        "permission",
        "permission denied|polkit|access denied|not authorized",
        "host.refused",
        "The user may not use libvirt there.",
        "make the user a member of the host's libvirt group, or connect as another one",
    ),
    _known(
        "service",
        "no such file|connection refused",
        "host.unreachable",
        "Nothing listens there: libvirtd does not run, or not with this transport.",
        "start libvirtd (or its socket unit) on the host, or correct the URI",
    ),
    _known(
        "name",
        "name or service not known|resolve|no address associated|temporary failure in name",
        "host.unreachable",
        "The host's name is not known to DNS.",
        "correct the URI, or the name service of the machine that plans",
    ),
    _known(
        "network",
        "end of file|connection reset|broken pipe|socket is closed|cannot recv|no route|unreachable",
        "host.unreachable",
        "The connection broke, or could not be made: libvirtd ended, or the network is cut.",
        "see whether the host and its libvirtd are up",
    ),
)

_BUSY = _known(
    "answer",
    "cannot acquire state change lock",
    "host.error",
    "Something else is done to the guest, as a backup; or libvirtd waits for its QEMU, for ever.",
    "see `virsh domjobinfo`; if nothing is done to it, restart libvirtd there (guests go on), then plan again: "
    "a plan knows whether its start was cut off",
)

_NUMBERS = {
    _NO_CONNECT: "host.unreachable",
    _INVALID_CONN: "host.unreachable",
    _OPERATION_DENIED: "host.refused",
    _AUTH_FAILED: "host.refused",
    _AUTH_CANCELLED: "host.refused",
    _ACCESS_DENIED: "host.refused",
    _AUTH_UNAVAILABLE: "host.refused",
}

_FILE = _known(
    "file",
    "permission denied",
    "host.error",
    "QEMU runs as a user of its own there, who may not open that file, or a folder above it.",
    "see the modes of the file and of the folders above it, and `user` and `dynamic_ownership` in "
    "/etc/libvirt/qemu.conf; libvirt gives QEMU what a guest's disks lie in, but no folder and no socket",
)

_OF_CONNECTIONS = {1, 5, 6, 7, 29, 38, 39, 40, 41, 45, 79, 88, 94}
"""virErrorNumber of errors that may be about the connection; any other is the host's word on its objects."""
_REACHING = {7, 13, 45, 46, 50, 55, 60, 66}
"""virErrorDomain of those: RPC, REMOTE, URI, AUTH, SSH, ACCESS, POLKIT, LIBSSH. A pool whose folder does not exist and
a disk that QEMU may not open are told of in the same words and by the same numbers."""
_OPENING = {10, 18, 24}
"""virErrorDomain of errors about files that a guest needs: QEMU, STORAGE, SECURITY."""


def diagnose(error: libvirtError, host: str, doing: str) -> Diagnostic:
    """Return what a libvirt error means.

    Args:
        error: as libvirt-python raised it. Its text comes from the host and is made safe.
        host: name in the manifest.
        doing: what was tried, after "while": "connecting", "reading it".

    Returns:
        A diagnostic with code `host.unreachable`, `host.timeout`, `host.refused` or `host.error`.
    """
    said = message(error)
    number = error.get_error_code()
    known = _BUSY if is_busy(error) else _find(said, error) if number in _OF_CONNECTIONS else None
    code = known.code if known else _NUMBERS.get(number, "host.error") if number is not None else "host.error"
    return Diagnostic(
        code=code,
        summary=f"{host}: {_SAYS[code]} while {doing}: {said}",
        cause=known.cause if known else "",
        hint=known.hint if known else "",
        subject=f"host/{host}",
    )


_SAYS = {
    "host.unreachable": "no connection",
    "host.timeout": "no answer",
    "host.refused": "access was refused",
    "host.error": "libvirt reports an error",
}


def part_of(told: Diagnostic) -> str:
    """Which part of reaching a host a diagnostic is about: `host-key`, `certificate`, `login`, ...; `reach` for any."""
    if told.code == "host.timeout":
        return "answer"
    return next((known.part for known in _MESSAGES if told.cause == known.cause), "reach")


def timed_out(host: str, doing: str, seconds: float) -> Diagnostic:
    """The diagnostic for a host that did not answer at all."""
    return Diagnostic(
        code="host.timeout",
        summary=f"{host}: no answer within {seconds:.0f} s while {doing}",
        cause="The host took part in nothing: frozen, overloaded, or cut off.",
        hint="see whether libvirtd answers there: `virsh list` on the host itself",
        subject=f"host/{host}",
    )


def bad_answer(host: str, why: str) -> Diagnostic:
    """The diagnostic for a host that answered with something that cannot be understood."""
    return Diagnostic(
        code="host.bad-answer",
        summary=f"{host}: an answer makes no sense: {safe_text(why)}",
        hint="compare with what `virsh dumpxml` and `virsh capabilities` print on the host",
        subject=f"host/{host}",
    )


def is_gone(error: libvirtError) -> bool:
    """Whether the error says that an object does not exist (any more)."""
    return bool(error.get_error_code() in _GONE)


def is_denied(error: libvirtError) -> bool:
    """Whether the error says that this user may not make such a call."""
    return bool(
        error.get_error_code() in {_OPERATION_DENIED, _AUTH_FAILED, _ACCESS_DENIED, _AUTH_UNAVAILABLE}
    )


def is_busy(error: libvirtError) -> bool:
    """Whether the error says that something else is done to the domain, and has been for 30 s.

    Somebody may back it up; or its QEMU does not answer a libvirtd that was started anew.
    """
    return bool(error.get_error_code() == _OPERATION_TIMEOUT)


def is_unsupported(error: libvirtError) -> bool:
    """Whether the error says that the host's driver has no such function."""
    return bool(error.get_error_code() == _NO_SUPPORT)


def message(error: libvirtError) -> str:
    """What libvirt said, safe to print and not too long."""
    text = (error.get_error_message() or str(error)).strip()
    return safe_text(text if len(text) <= _LONGEST_MESSAGE else text[: _LONGEST_MESSAGE - 3] + "...")


def _find(message: str, error: libvirtError) -> _Known | None:
    domain = error.get_error_domain()
    messages = _MESSAGES if domain in _REACHING else (_FILE,) if domain in _OPENING else ()
    return next((known for known in messages if known.pattern.search(message)), None)
