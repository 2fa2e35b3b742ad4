"""What a configuration is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmdecl.api import ResolvedCluster, ResolvedHost, ResolvedPool, ResolvedVm
    from kvmdecl_pacemaker.model import Ha

_FILES = ("dir", "fs", "netfs")


@dataclass(frozen=True, slots=True)
class Site:
    """A cluster with its section. `vms` are those that Pacemaker runs, by name; `homes` the hosts of each vm."""

    ha: Ha
    cluster: ResolvedCluster
    hosts: tuple[ResolvedHost, ...]
    vms: tuple[ResolvedVm, ...]
    homes: Mapping[str, tuple[str, ...]]
    elsewhere: Mapping[str, Mapping[str, ResolvedVm]] = field(default_factory=dict)

    @property
    def definitions(self) -> str | None:
        """Directory of the definitions on every host; None if it is not said and not clear."""
        wanted = self.ha.definitions
        if wanted is not None and wanted.path is not None:
            return wanted.path
        pool = self.definitions_pool
        return pool.spec.path if pool is not None else None

    @property
    def definitions_pool(self) -> ResolvedPool | None:
        """The pool that holds the definitions: the named one, or the only one that could."""
        wanted = self.ha.definitions
        if wanted is not None:
            return next((pool for pool in self.cluster.pools if pool.name == wanted.pool), None)
        everywhere = {host.name for host in self.hosts}
        able = [pool for pool in self.file_pools if everywhere <= set(pool.hosts)]
        return able[0] if len(able) == 1 else None

    @property
    def file_pools(self) -> tuple[ResolvedPool, ...]:
        """The pools whose volumes are files in a directory."""
        return tuple(
            pool for pool in self.cluster.pools if pool.spec.type in _FILES and pool.spec.state == "active"
        )
