"""What keeps a guest from being moved to another host while it runs: all of it, not only the first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmdecl_rules.passing import is_function

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import ResolvedVm, Site


@dataclass(frozen=True, slots=True)
class Hold:
    """One cause, in a few words, and the key of the vm that it is."""

    key: str
    what: str


def holders_of(site: Site, vm: ResolvedVm) -> Iterator[Hold]:
    """Every cause (qemuMigrationSrcIsAllowed and QEMU's migration blockers). NICs of a team leave and come back.

    Disks that only its host sees are none: a move copies them along.
    """
    spec = vm.spec
    for key in ("hostdevs", "devices"):
        if getattr(spec, key):
            yield Hold(key, "it has devices of its host")
    for number, nic in enumerate(vm.nics):
        own = nic.spec.pci or nic.spec.vf or is_function(site, nic)
        if own and nic.spec.team is None:
            yield Hold(f"nics.{number}", f"NIC {number} is a function of a network card, and of no team")
    if spec.shares:
        yield Hold("shares", "it shares directories with its host")
    if spec.shared_memory:
        yield Hold("shared_memory", "it shares memory with others of its host")
    if spec.launch_security is not None:
        yield Hold("launch_security", "its memory is encrypted for this host")
    if any(module.path for module in spec.memory.modules.values()):
        yield Hold("memory.modules", "it has an nvdimm in a file of its host")
    timer = spec.timers.get("tsc")
    if timer is not None and timer.frequency is not None:
        yield Hold("timers.tsc", "its TSC has a fixed frequency")
    if spec.cpus.migratable is False:
        yield Hold("cpus.migratable", "its CPU has features that no migration takes along")
