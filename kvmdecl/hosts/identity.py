"""Whether two names of hosts lead to one machine."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from kvmdecl.diagnostics import Diagnostic
from kvmdecl.state import HostSnapshot
from kvmdecl.text import safe_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmdecl.state import Observation


def check_identities(observations: Mapping[str, Observation]) -> tuple[Diagnostic, ...]:
    """Return an error for every machine that was reached under more than one name.

    A machine is known by the UUID in its capabilities; hosts of libvirt's test driver have none.
    """
    hosts: dict[str, list[str]] = defaultdict(list)
    for name, seen in sorted(observations.items()):
        if isinstance(seen, HostSnapshot) and seen.facts.uuid:
            hosts[seen.facts.uuid].append(name)
    return tuple(_same_machine(uuid, names) for uuid, names in sorted(hosts.items()) if len(names) > 1)


def _same_machine(uuid: str, names: list[str]) -> Diagnostic:
    return Diagnostic(
        code="host.same-machine",
        summary=f"{' and '.join(names)} are the same machine: UUID {safe_text(uuid)}",
        cause="Guests that are planned for different hosts would share one.",
        hint="correct a URI; if the machines differ, give each its own `host_uuid` in its libvirtd.conf",
        subject=f"host/{names[0]}",
    )
