"""Until when certificates are valid: that of a libvirtd, as it shows it to whoever connects, and this machine's own."""

from __future__ import annotations

import os
import re
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from kvmdecl.inside import Certificate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmdecl.uri import HostUri

_PORT = 16514
_TIMEOUT = 5.0
_SEQUENCE, _UTC_TIME, _GENERALISED_TIME, _VERSION = 0x30, 0x17, 0x18, 0xA0
_PEM = re.compile("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_FORMATS = {_UTC_TIME: "%y%m%d%H%M%SZ", _GENERALISED_TIME: "%Y%m%d%H%M%SZ"}


def valid_until(der: bytes) -> float:
    """The last second of an X.509 certificate (RFC 5280, 4.1: tbsCertificate, validity, notAfter).

    Raises:
        ValueError: it is none.
    """
    body = _inner(_inner(der, _SEQUENCE)[0], _SEQUENCE)[0]
    if body[:1] == bytes([_VERSION]):
        body = _inner(body, _VERSION)[1]
    for _ in range(3):  # serial number, algorithm, issuer
        body = _inner(body)[1]
    validity = _inner(body, _SEQUENCE)[0]
    end = _inner(validity)[1]
    if end[:1] == b"" or end[0] not in _FORMATS:
        raise ValueError("a certificate without an end")
    moment = datetime.strptime(_inner(end)[0].decode("ascii"), _FORMATS[end[0]])  # noqa: DTZ007 - it ends in Z
    return moment.replace(tzinfo=UTC).timestamp()


def _inner(data: bytes, tag: int | None = None) -> tuple[bytes, bytes]:
    """What the first element of DER holds, and what follows it."""
    if len(data) < 2 or (tag is not None and data[0] != tag):
        raise ValueError("no certificate")
    length, start = data[1], 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(data[2:start], "big")
    if start > 6 or start + length > len(data):
        raise ValueError("no certificate")
    return data[start : start + length], data[start + length :]


def certificates(uris: Mapping[str, HostUri]) -> dict[str, Certificate]:
    """What hosts show that are reached by TLS; under an empty name, the one of this machine's that ends first."""
    by_tls = {host: uri for host, uri in uris.items() if uri.transport == "tls"}
    if not by_tls:
        return {}
    with ThreadPoolExecutor(max_workers=min(32, len(by_tls))) as pool:
        found = {host: pool.submit(_shown, uri) for host, uri in by_tls.items()}
        shown = {host: each for host, job in found.items() if (each := job.result()) is not None}
    own = [each for uri in by_tls.values() if (each := _own(uri)) is not None]
    return shown | ({"": min(own, key=lambda each: each.until)} if own else {})


def _shown(uri: HostUri) -> Certificate | None:
    """Nothing is judged here: libvirt did, or will, when it connects."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        own = _files(uri)
        if own is not None:
            context.load_cert_chain(own[0], own[1])
        address = (uri.host, uri.port or _PORT)
        with socket.create_connection(address, _TIMEOUT) as plain, context.wrap_socket(plain) as secure:
            return Certificate(
                "what libvirtd shows", valid_until(secure.getpeercert(binary_form=True) or b"")
            )
    except (OSError, ValueError):
        return None


def _own(uri: HostUri) -> Certificate | None:
    files = _files(uri)
    if files is None:
        return None
    text = re.search(
        r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----",
        files[0].read_text("ascii", "replace"),
        re.DOTALL,
    )
    try:
        return Certificate(str(files[0]), valid_until(ssl.PEM_cert_to_DER_cert(text[0] if text else "")))
    except ValueError:
        return None


def _files(uri: HostUri) -> tuple[Path, Path] | None:
    """The client's certificate and key, where libvirt finds them (virNetTLSContext); None if they cannot be read."""
    named = next((Path(value) for name, value in uri.parameters if name == "pkipath"), None)
    home = Path.home() / ".pki/libvirt"
    system = (Path("/etc/pki/libvirt/clientcert.pem"), Path("/etc/pki/libvirt/private/clientkey.pem"))
    first = named or home
    for certificate, key in (
        (first / "clientcert.pem", first / "clientkey.pem"),
        *(() if named else (system,)),
    ):
        if os.access(certificate, os.R_OK) and os.access(key, os.R_OK):
            return certificate, key
    return None
