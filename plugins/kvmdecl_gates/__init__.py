"""The gates that come with kvmdecl: guests run, their agents answer, have leases, ports are open, commands succeed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmdecl.api import Gate


@hookimpl
def kvmdecl_gates() -> Mapping[str, Gate]:
    """Offer `running`, `agent`, `lease`, `tcp`, `command` and `settle`."""
    from kvmdecl_gates.checks import GATES

    return GATES
