"""Which vms belong together: those of one entry of the manifest, and those that are kept apart or together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.solver import Group

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from kvmdecl.cluster import ResolvedVm


def group_of(vm: ResolvedVm) -> str:
    """The same for all vms that were expanded from one entry: they were written at one place."""
    return str(vm.origin.at) if vm.origin.at else vm.name


def groups_of(vms: Iterable[ResolvedVm], names: Collection[str]) -> Iterator[Group]:
    """What `apart` and `together` come to among the vms of these names; a vm alone is no group."""
    members: dict[tuple[bool, str, str, int], list[str]] = {}
    for vm in vms:
        if vm.name not in names:
            continue
        if (apart := vm.spec.apart) is not None:
            key = (True, _group(vm, apart.group), apart.scope, apart.most)
            members.setdefault(key, []).append(vm.name)
        if (together := vm.spec.together) is not None:
            members.setdefault((False, _group(vm, together.group), together.scope, 1), []).append(vm.name)
    for (apart_, _, scope, most), found in sorted(members.items()):
        if len(found) > 1:
            yield Group(frozenset(found), scope, apart_, most)


def _group(vm: ResolvedVm, named: str | None) -> str:
    return f"group {named}" if named is not None else f"entry {group_of(vm)}"
