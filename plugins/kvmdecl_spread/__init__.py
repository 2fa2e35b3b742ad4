"""The default solver: spread guests over hosts, so that each has room and few fall together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmdecl.api import Solver


@hookimpl
def kvmdecl_solvers() -> Mapping[str, Solver]:
    """Offer `spread`."""
    from kvmdecl_spread.solver import spread

    return {"spread": spread}
