"""A stand-in for hosts in tests and rehearsals: it answers with snapshots, and has no host behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kvmdecl.hosts.protocol import Scope
    from kvmdecl.state import Observation


class FakeReader:
    """A HostReader without hosts: it observes what it was given, and notes what it was asked for."""

    def __init__(self, observations: Mapping[str, Observation]) -> None:
        self._observations = dict(observations)
        self.asked: list[Scope] = []

    @classmethod
    def from_files(cls, directory: Path) -> FakeReader:
        """Answer with the snapshots of a directory that `kvmdecl facts` wrote.

        Raises:
            Rejected: as `kvmdecl.snapshot.load_snapshots`.
        """
        from kvmdecl.snapshot import load_snapshots

        return cls(load_snapshots(directory))

    def observe(self, scope: Scope) -> Mapping[str, Observation]:
        """Return the same every time."""
        self.asked.append(scope)
        return dict(self._observations)
