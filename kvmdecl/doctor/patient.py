"""A host as the doctor has it before it: what was read of it, and what the manifest wants of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmdecl.answers import Answer
from kvmdecl.inside import Inside, Unseen

if TYPE_CHECKING:
    from kvmdecl.cluster import ResolvedCluster, ResolvedHost, ResolvedVm
    from kvmdecl.facts import HostFacts
    from kvmdecl.state import HostState


@dataclass(frozen=True, slots=True)
class Patient:
    """A host that was read. Any host may get a vm that names none.

    Attributes:
        inside: what its programs tell; or why they were not asked.
        now: seconds since 1970.
        is_lab: it is a throw-away host (`kvmdecl lab`), whose guests are tests.
    """

    host: ResolvedHost
    facts: HostFacts
    state: HostState
    cluster: ResolvedCluster
    vms: tuple[ResolvedVm, ...]
    inside: Inside | Unseen
    now: float
    is_lab: bool = False

    @property
    def seen(self) -> Inside | None:
        """What its programs tell, if they were asked."""
        return self.inside if isinstance(self.inside, Inside) else None

    def well(self, name: str, told: str) -> Answer:
        """It works."""
        return Answer(self.host.name, name, "ok", told)

    def advice(self, name: str, told: str, fix: str) -> Answer:
        """It works, and could be better."""
        return Answer(self.host.name, name, "advice", told, fix)

    def failure(self, name: str, told: str, fix: str) -> Answer:
        """Something that is wanted does not work."""
        return Answer(self.host.name, name, "failure", told, fix)

    def unknown(self, name: str, why: str, fix: str = "") -> Answer:
        """It could not be seen, and why."""
        return Answer(self.host.name, name, "unknown", why, fix)

    def offers(self, path: str) -> frozenset[str]:
        """All that its domain capabilities list under a path, whatever the machine."""
        return frozenset(
            value
            for each in self.facts.domain_support
            for at, values in each.enums
            if at == path
            for value in values
        )
