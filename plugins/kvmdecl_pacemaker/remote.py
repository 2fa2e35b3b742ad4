"""Pacemaker's own remote access: its programs run on this machine, and ask a host's CIB manager over TLS.

They are told by variables of the environment (`CIB_server`, `CIB_port`, `CIB_user`, `CIB_passwd`, `CIB_encrypted`). It
leads to the CIB alone: what takes the controller (`crm_resource --refresh`) is done there or not at all.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmdecl.api import NoAnswer
from kvmdecl_pacemaker.hosts import address_of_all, filled

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kvmdecl.api import Reach, ResolvedHost, Said, Shell
    from kvmdecl_pacemaker.model import RemoteAccess

_WAY = re.compile(
    r"cib:([A-Za-z0-9_][A-Za-z0-9_.-]{0,63})@([A-Za-z0-9_.:{}-]{1,253}):([0-9]{1,5})#(KVMDECL_SECRET_[A-Z0-9_]{1,100})",
    re.ASCII,
)
_REFUSED, _NOT_CONNECTED, _NOT_HERE = 76, 102, 127
"""Exit codes: CRM_EX_PROTOCOL, which a wrong password comes to, CRM_EX_DISCONNECT, and that of a missing program."""


def remote_way(access: RemoteAccess, hosts: Iterable[ResolvedHost]) -> str | None:
    """How hosts are reached, as one text for a task; None if it is not known where they are."""
    address = access.address or address_of_all(hosts)
    return f"cib:{access.user}@{address}:{access.port}#{access.password.env}" if address else None


def is_remote(control: str) -> bool:
    """Whether a way is one of remote access."""
    return control.startswith("cib:")


def remote_shell(host: str, control: str, reach: Reach) -> Shell | None:
    """A shell whose programs ask this host; in a rehearsal that of the lab's."""
    found = _WAY.fullmatch(control)
    address = filled(found[2], host) if found else None
    if found is None or address is None:
        return None
    variables = {
        "CIB_server": address,
        "CIB_port": found[3],
        "CIB_user": found[1],
        "CIB_passwd": os.environ.get(found[4], ""),
        "CIB_encrypted": "true",
    }
    here = reach.here(host, variables)
    return RemoteShell(host, here, f"{address}:{found[3]}", found[1], found[4]) if here else reach.shell(host)


@dataclass(frozen=True, slots=True)
class RemoteShell:
    """Runs programs here that ask a host's CIB manager at `place` as `user`, whose password is in `variable`."""

    host: str
    here: Shell
    place: str
    user: str
    variable: str

    def run(self, argv: Sequence[str], *, given: str = "", timeout: float = 20.0) -> Said:
        """As `kvmdecl.manager.Shell`."""
        if not os.environ.get(self.variable):
            raise NoAnswer(f"{self.host}: the variable {self.variable} is not set")
        said = self.here.run(argv, given=given, timeout=timeout)
        if why := self._why(argv[0]).get(said.code):
            raise NoAnswer(f"{self.host}: {why}")
        return said

    def _why(self, program: str) -> dict[int, str]:
        return {
            _REFUSED: f"{self.place} refuses {self.user}, or the password",
            _NOT_CONNECTED: f"no connection to {self.place}",
            _NOT_HERE: f"{program} is not installed on this machine (package pacemaker-cli-utils)",
        }


def forget(resource: str) -> list[str]:
    """What has the cluster forget what it knows of a resource: without that, its controller looks anew."""
    return ["cibadmin", "--delete-all", "--force", "--xpath", f"//lrm_resource[@id='{resource}']"]
