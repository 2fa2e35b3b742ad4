"""The field's known pitfalls, one small file for each, in a folder for each group.

A module of a group holds one rule, `RULE`; adding a file adds a rule. `docs/rules.md` and the pages of the codes are
made from them (`make schemas`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Rule

GROUPS = ("cpu", "memory", "storage", "network", "guest", "security", "operations", "workload")
"""The groups, in the order in which a guest is described."""


@hookimpl
def kvmdecl_rules() -> Iterator[Rule]:
    """Offer every rule."""
    from importlib import import_module
    from pkgutil import iter_modules

    for group in GROUPS:
        package = import_module(f"kvmdecl_rules.{group}")
        for module in sorted(iter_modules(package.__path__), key=lambda module: module.name):
            yield import_module(f"kvmdecl_rules.{group}.{module.name}").RULE
