"""Where a vm is and why, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.text import safe_text

if TYPE_CHECKING:
    from collections.abc import Mapping


def render_whereabouts(vm: str, where: str, why: str, others: Mapping[str, str]) -> str:
    """As text: its place and the reason, then what stands against each other host."""
    lines = [f"{vm} is on {where}: {why}" if where else f"{vm} is nowhere that is known: {why}"]
    width = max(map(len, others), default=0)
    lines += [
        f"    {host:<{width}}  {safe_text(against) if against else 'could have it'}"
        for host, against in others.items()
    ]
    return "\n".join(lines) + "\n"
