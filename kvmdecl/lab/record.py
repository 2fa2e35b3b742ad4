"""What a lab's directory says about the lab: `lab.json`, written once, whole or not at all."""

from __future__ import annotations

import ipaddress
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args
from urllib.parse import quote

from kvmdecl.lab.config import SOCKET
from kvmdecl.lab.refusals import refusal
from kvmdecl.text import quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

Transport = Literal["unix", "tcp", "tls", "ssh"]
TRANSPORTS: tuple[Transport, ...] = get_args(Transport)

# Exists inside the hub's network namespace only: it is never routed, and labs do not see each other.
NETWORK = ipaddress.ip_network("10.77.0.0/16")
_FIRST_HOST = 11
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,61}[a-z0-9])?", re.ASCII)
_LONGEST_SOCKET = 107  # sockaddr_un holds 108 bytes, the last one zero
_FILE = "lab.json"
_VERSION = 1


@dataclass(frozen=True, slots=True)
class LabHost:
    """One host of a lab.

    Attributes:
        name: host name, as its libvirtd reports it.
        address: on the lab's management network.
        socket: libvirtd's unix socket, reachable from anywhere on this machine.
        directory: of the lab.
        transports: what its libvirtd answers on.
    """

    name: str
    address: str
    socket: Path
    directory: Path
    transports: tuple[Transport, ...]

    @property
    def folder(self) -> Path:
        """The host's own files on this machine; its `srv` is what the host sees as /srv."""
        return self.directory / "hosts" / self.name

    def uri(self, transport: Transport = "unix") -> str:
        """Return a libvirt URI of this host; all but `unix` work in the lab's network (`kvmdecl lab exec`).

        Raises:
            Rejected: `lab.no-transport`.
        """
        if transport not in self.transports:
            raise refusal(
                "lab.no-transport",
                f"this lab does not offer {quoted(transport)}; it offers {', '.join(self.transports)}",
                cause="Keys and daemons for TLS and SSH are made on request only.",
                hint="start it with `kvmdecl lab up --tls --ssh`",
            )
        return {
            "unix": f"qemu+unix:///system?socket={quote(str(self.socket))}",
            "tcp": f"qemu+tcp://{self.name}/system",
            "tls": f"qemu+tls://{self.name}/system?pkipath={quote(str(self.directory / 'client'))}",
            "ssh": f"qemu+ssh://root@{self.name}/system",
        }[transport]


def new_hosts(directory: Path, names: Sequence[str], *, tls: bool, ssh: bool) -> tuple[LabHost, ...]:
    """Return the hosts of a lab to be made.

    Raises:
        Rejected: `lab.bad-name`, `lab.path-too-long`.
    """
    for name in names:
        if not _NAME.fullmatch(name) or ".." in name or names.count(name) > 1:
            raise refusal(
                "lab.bad-name",
                f"{quoted(name)} is not a valid host name"
                if names.count(name) == 1
                else f"{quoted(name)} is named twice",
                hint="use 1 to 63 of a-z, 0-9, `-`, `.`, a letter or digit first and last; each name once",
            )
    transports = tuple(t for t in TRANSPORTS if {"tls": tls, "ssh": ssh}.get(t, True))
    hosts = tuple(
        LabHost(
            name, str(NETWORK[_FIRST_HOST + i]), directory / "hosts" / name / SOCKET, directory, transports
        )
        for i, name in enumerate(names)
    )
    for host in hosts:
        if (length := len(os.fsencode(host.socket))) > _LONGEST_SOCKET:
            raise refusal(
                "lab.path-too-long",
                f"the path of host {host.name}'s socket has {length} bytes: {quoted(str(host.socket))}",
                cause=f"The path of a unix socket has at most {_LONGEST_SOCKET} bytes.",
                hint="choose a shorter directory: `kvmdecl lab --dir /tmp/lab up`",
            )
    return hosts


def write_record(directory: Path, hosts: Sequence[LabHost]) -> None:
    """Write `lab.json`; a reader sees the old one, the new one or none, never a part."""
    transports = hosts[0].transports if hosts else ()
    entries = [{"name": h.name, "address": h.address, "socket": str(h.socket)} for h in hosts]
    document = {"version": _VERSION, "transports": transports, "hosts": entries}
    scratch = directory / f"{_FILE}.new"
    scratch.write_text(json.dumps(document, indent=2) + "\n")
    scratch.replace(directory / _FILE)


def read_record(directory: Path) -> tuple[LabHost, ...]:
    """Return the hosts of the lab in `directory`.

    Raises:
        Rejected: `lab.not-found`, or `lab.state-broken` when `lab.json` is not what this version writes.
    """
    try:
        document = json.loads((directory / _FILE).read_bytes())
        transports = tuple(t for t in TRANSPORTS if t in document["transports"])
        if document["version"] != _VERSION:
            raise ValueError(f"version {document['version']}")  # noqa: TRY301 - one place for all that may be wrong
        return tuple(
            LabHost(str(entry["name"]), str(entry["address"]), Path(entry["socket"]), directory, transports)
            for entry in document["hosts"]
        )
    except OSError:
        raise refusal(
            "lab.not-found",
            f"there is no lab in {quoted(str(directory))}",
            hint="start one with `kvmdecl lab up`, or name another directory with --dir or $KVMDECL_LAB",
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise refusal(
            "lab.state-broken",
            f"{quoted(str(directory / _FILE))} cannot be understood: {quoted(str(error))}",
            hint="remove the lab with `kvmdecl lab down` and start it again",
        ) from None
