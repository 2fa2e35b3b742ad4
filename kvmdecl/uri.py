"""libvirt connection URIs: parsed into typed fields, checked against an allow-list, rebuilt from the fields.

A manifest's author is not trusted: libvirt runs the program that `command=` names on the machine that plans.
So no text of a manifest reaches libvirt as a URI. What is not known here to be harmless is refused.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from urllib.parse import unquote

from pydantic_core import PydanticCustomError, core_schema

from kvmdecl.text import did_you_mean, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue

Driver = Literal["qemu", "test"]
Transport = Literal["local", "unix", "tls", "tcp", "ssh", "libssh2"]

_LONGEST = 2048
_SYNTAX = re.compile(
    r"(?P<driver>[a-z]+)(?:\+(?P<transport>[a-z0-9]+))?://"
    r"(?:(?P<user>[^/?#@\[\]]*)@)?(?P<host>\[[^/?#@\[\]]*\]|[^/?#@:\[\]]*)(?::(?P<port>[^/?#@\[\]]*))?"
    r"(?P<path>/[^?#]*)?(?:\?(?P<query>[^#]*))?",
    re.ASCII,
)
_HOST = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(?:\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*", re.ASCII)
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", re.ASCII)
_PORT = re.compile(r"[1-9][0-9]{0,4}", re.ASCII)
_FILE = re.compile(r"(?:/(?!\.\.?(?:/|$))[A-Za-z0-9_.@+=,-]+)+", re.ASCII)
_MODE = re.compile(r"auto|direct|legacy")
_SSH_AUTH = re.compile(r"(?:agent|privkey)(?:,(?:agent|privkey))*")

_SOCKET = {"socket": _FILE, "mode": _MODE}
_KEY = {"keyfile": _FILE}
_PARAMETERS: Mapping[Transport, Mapping[str, re.Pattern[str]]] = {
    "local": {},
    "unix": _SOCKET,
    "tls": {"pkipath": _FILE, "mode": _MODE},
    "tcp": {"mode": _MODE},
    "ssh": _SOCKET | _KEY,
    "libssh2": _SOCKET | _KEY | {"known_hosts": _FILE, "sshauth": _SSH_AUTH},
}
_REMOTE = {"tls", "tcp", "ssh", "libssh2"}

_RUNS_PROGRAM = {
    "command": "A libvirt URI with `command=` runs a program on the machine that plans.",
    "netcat": "A libvirt URI with `netcat=` runs a program on the host.",
    "proxy": "`proxy=` chooses the program that libvirt runs on the host; it finds the right one by itself.",
}
_UNVERIFIED = {"no_verify", "no_sanity", "known_hosts_verify", "tls_priority"}
_NEVER_NEEDED = {
    "no_tty": "leave it out: kvmdecl never asks for a password",
    "authfile": "leave it out: credentials are not named in a manifest",
    "auth": "leave it out: the host says how it authenticates",
    "name": "leave it out: write the path, `/system` or `/session`, in the URI",
    "root": "use `qemu:///system` or `qemu:///session`",
}


@dataclass(frozen=True, slots=True)
class HostUri:
    """How a host's libvirtd is reached. `str()` gives the URI for libvirt, made from the fields alone.

    Attributes:
        driver: `qemu`, or `test` for libvirt's simulated host.
        transport: `local` is a libvirtd on this machine at its usual socket.
        user: for the SSH transports.
        host: name, IPv4 address, or IPv6 address without brackets; empty for `local` and `unix`.
        port: None for the transport's usual port.
        path: `/system` or `/session`; for `test` `/default` or the path of a file that describes the host.
        parameters: names and values, sorted, all on the transport's allow-list.
    """

    driver: Driver
    transport: Transport
    path: str
    host: str = ""
    user: str = ""
    port: int | None = None
    parameters: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        scheme = self.driver if self.transport == "local" else f"{self.driver}+{self.transport}"
        user = f"{self.user}@" if self.user else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port is None else f":{self.port}"
        query = "&".join(f"{name}={value}" for name, value in self.parameters)
        return f"{scheme}://{user}{host}{port}{self.path}" + (f"?{query}" if query else "")

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[Any], handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            parse_manifest_uri,
            serialization=core_schema.to_string_ser_schema(),
            json_schema_input_schema=core_schema.str_schema(),
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {
            "type": "string",
            "examples": ["qemu+tls://kvm-1.example/system", "qemu+ssh://root@kvm-1.example/system"],
        }


class _Raw(NamedTuple):
    """The parts of a URI with percent escapes decoded, not yet checked."""

    driver: str
    transport: str | None
    user: str | None
    host: str
    port: str | None
    path: str
    query: str


def parse_manifest_uri(value: Any) -> HostUri:  # noqa: ANN401 - whatever the document holds
    """Read a manifest's `uri:`; a HostUri is returned as it is.

    Raises:
        PydanticCustomError: `uri.malformed`, `uri.unknown-scheme`, `uri.bad-host`, `uri.password`,
            `uri.bad-path`, `uri.runs-program`, `uri.unverified`, `uri.unknown-parameter` or
            `uri.bad-parameter`.
    """
    if isinstance(value, HostUri):
        return value
    raw = _split(value)
    driver, transport = _scheme(raw)
    return HostUri(
        driver=driver,
        transport=transport,
        user=_user(raw, transport),
        host=_host(raw, transport),
        port=_port(raw, transport),
        path=_path(raw, driver),
        parameters=_parameters(raw.query, driver, transport),
    )


def _split(value: object) -> _Raw:
    if not isinstance(value, str):
        raise _refusal("uri.malformed", "a URI is text", _EXAMPLE)
    if len(value) > _LONGEST or not value.isprintable() or not value.isascii():
        cause = "A URI is plain ASCII of at most 2048 characters, without control characters."
        raise _refusal("uri.malformed", f"{quoted(value)} is not a URI", _EXAMPLE, cause)
    match = _SYNTAX.fullmatch(value)
    if match is None:
        raise _refusal("uri.malformed", f"{quoted(value)} is not a libvirt URI", _EXAMPLE)
    user, path = match["user"], match["path"]
    return _Raw(
        driver=match["driver"],
        transport=match["transport"],
        user=None if user is None else unquote(user, errors="replace"),
        host=unquote(match["host"], errors="replace"),
        port=match["port"],
        path=unquote(path or "", errors="replace"),
        query=match["query"] or "",
    )


_EXAMPLE = "write for example `qemu+tls://kvm-1.example/system` or `qemu+ssh://root@kvm-1.example/system`"


def _scheme(raw: _Raw) -> tuple[Driver, Transport]:
    """Without a transport libvirt goes to this machine, or by TLS where a host is named."""
    if raw.transport == "ext":
        cause = "With `+ext` libvirt runs a program on the machine that plans."
        raise _refusal("uri.runs-program", "the transport `ext` is refused", _EXAMPLE, cause)
    if raw.driver == "test" and raw.transport is None and not raw.host:
        return "test", "local"
    if raw.driver == "qemu":
        if raw.transport is None:
            return "qemu", "tls" if raw.host else "local"
        for transport in _PARAMETERS:
            if raw.transport == transport != "local":
                return "qemu", transport
    scheme = raw.driver + (f"+{raw.transport}" if raw.transport else "")
    hint = "use qemu+tls, qemu+ssh, qemu+libssh2, qemu+tcp, qemu+unix, or qemu:///system on this machine"
    raise _refusal("uri.unknown-scheme", f"{quoted(scheme)} is no way that kvmdecl reaches a host", hint)


def _user(raw: _Raw, transport: Transport) -> str:
    if raw.user is None:
        return ""
    if ":" in raw.user:
        cause = "A manifest is read by many and kept for ever; a password in it is no secret."
        raise _refusal(
            "uri.password", "a URI must not hold a password", "use an SSH key or a TLS certificate", cause
        )
    if transport not in {"ssh", "libssh2"}:
        hint = "remove what stands before the `@`"
        raise _refusal("uri.bad-host", f"a user has no meaning for the transport {transport}", hint)
    if not _USER.fullmatch(raw.user):
        raise _refusal(
            "uri.bad-host", f"{quoted(raw.user)} is not a user name", "use letters, digits, `_`, `.` and `-`"
        )
    return raw.user


def _host(raw: _Raw, transport: Transport) -> str:
    if transport not in _REMOTE:
        if raw.host:
            raise _refusal(
                "uri.bad-host", f"{quoted(raw.host)}: {transport} reaches this machine only", _EXAMPLE
            )
        return ""
    if not raw.host:
        raise _refusal("uri.bad-host", "the URI names no host", _EXAMPLE)
    address = _address(raw.host)
    if address is not None:
        return address
    if len(raw.host) <= 253 and _HOST.fullmatch(raw.host) and not raw.host.rpartition(".")[2].isdigit():
        return raw.host
    cause = "A host is a DNS name (no `-` at an end of its parts) or an IP address, IPv6 in brackets."
    raise _refusal("uri.bad-host", f"{quoted(raw.host)} is not a host name", _EXAMPLE, cause)


def _address(host: str) -> str | None:
    """An IP literal in its canonical form; None for anything else. A zone (`fe80::1%eth0`) is refused."""
    bracketed = host.startswith("[") and host.endswith("]")
    if "%" in host:
        return None
    try:
        return str(ipaddress.IPv6Address(host[1:-1]) if bracketed else ipaddress.IPv4Address(host))
    except ValueError:
        return None


def _port(raw: _Raw, transport: Transport) -> int | None:
    if raw.port is None:
        return None
    if transport in _REMOTE and _PORT.fullmatch(raw.port) and int(raw.port) <= 65535:
        return int(raw.port)
    raise _refusal(
        "uri.bad-host", f"{quoted(raw.port)} is not a port here", "write 1 to 65535, or leave it out"
    )


def _path(raw: _Raw, driver: Driver) -> str:
    if driver == "test":
        if _FILE.fullmatch(raw.path):
            return raw.path
        raise _refusal(
            "uri.bad-path",
            f"{quoted(raw.path)} is no test host",
            "use `test:///default` or `test:///path.xml`",
        )
    if raw.path in {"/system", "/session"}:
        return raw.path
    hint = "end the URI with `/system`, or `/session` for the user's own libvirtd"
    if raw.path in {"", "/"}:
        raise _refusal("uri.bad-path", "the URI does not say which libvirtd of the host is meant", hint)
    hint = did_you_mean(raw.path, ("/system", "/session")) or hint
    raise _refusal("uri.bad-path", f"{quoted(raw.path)} is no libvirtd of a host", hint)


def _parameters(query: str, driver: Driver, transport: Transport) -> tuple[tuple[str, str], ...]:
    found: dict[str, str] = {}
    for part in query.split("&") if query else ():
        name, _, value = part.partition("=")
        name, value = unquote(name, errors="replace"), unquote(value, errors="replace")
        _check_parameter(name, value, {} if driver == "test" else _PARAMETERS[transport], transport)
        if name in found:
            raise _refusal(
                "uri.bad-parameter", f"the parameter {quoted(name)} is given twice", "keep one of them"
            )
        found[name] = value
    return tuple(sorted(found.items()))


def _check_parameter(
    name: str, value: str, allowed: Mapping[str, re.Pattern[str]], transport: Transport
) -> None:
    """Case is ignored for the dangerous names, as libvirt does."""
    if cause := _RUNS_PROGRAM.get(name.lower()):
        raise _refusal("uri.runs-program", f"the parameter {quoted(name)} is refused", "remove it", cause)
    if name.lower() in _UNVERIFIED:
        cause = "A manifest cannot switch off that a host proves who it is."
        raise _refusal("uri.unverified", f"the parameter {quoted(name)} is refused", "remove it", cause)
    if name not in allowed:
        known = f"allowed with {transport}: {', '.join(allowed) or 'none'}"
        hint = _NEVER_NEEDED.get(name.lower()) or did_you_mean(name, allowed) or known
        raise _refusal("uri.unknown-parameter", f"the parameter {quoted(name)} is not allowed here", hint)
    if not allowed[name].fullmatch(value):
        cause = (
            "Files are plain absolute paths; `mode` is auto, direct or legacy; `sshauth` is agent or privkey."
        )
        raise _refusal(
            "uri.bad-parameter", f"{quoted(value)} is not a value for {quoted(name)}", "correct it", cause
        )


def _refusal(code: str, summary: str, hint: str, cause: str = "") -> PydanticCustomError:
    return PydanticCustomError(code, "{summary}", {"summary": summary, "hint": hint, "cause": cause})
