"""A solver for guests that want NUMA cells, CPUs of their own, huge pages or devices near to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmdecl.api import Solver


@hookimpl
def kvmdecl_solvers() -> Mapping[str, Solver]:
    """Offer `numa`, and `exact`, which needs OR-tools."""
    from kvmdecl_numa.exact import exact
    from kvmdecl_numa.solver import numa

    return {"exact": exact, "numa": numa}
