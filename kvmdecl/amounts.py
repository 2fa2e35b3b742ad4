"""Amounts as text, and their units. Without pydantic: whoever works on hosts writes amounts, but reads no manifest."""

from __future__ import annotations

KIB, MIB, GIB, TIB = 1024, 1024**2, 1024**3, 1024**4
UNITS = {"B": 1, "bytes": 1, "KiB": KIB, "MiB": MIB, "GiB": GIB, "TiB": TIB}
"""Bytes, by the words that a manifest takes."""
SECONDS = {"s": 1, "m": 60, "h": 3600}


def format_size(size: int) -> str:
    """Bytes as the shortest exact text that the manifest accepts: `8GiB`, `1536MiB`, `512B`."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size and size % UNITS[unit] == 0:
            return f"{size // UNITS[unit]}{unit}"
    return f"{size}B"


def about_size(size: int) -> str:
    """Bytes for people, rounded down to a tenth, so that what is free never looks like more than it is: `3.9GiB`."""
    unit, word = (GIB, "GiB") if size >= GIB else (MIB, "MiB")
    whole, tenth = divmod(size * 10 // unit, 10)
    return f"{whole}.{tenth}{word}" if tenth else f"{whole}{word}"


def share_of(amount: str, there: int) -> int:
    """How many `10`, or `20%` of those that there are, come to: rounded down, but at least 1 unless it is `0%`."""
    if not amount.endswith("%"):
        return int(amount)
    share = int(amount[:-1])
    return max(1, there * share // 100) if share else 0


def format_duration(seconds: int) -> str:
    """`90s`, `5m`, `1h`: the shortest exact way to write it."""
    unit = next(unit for unit in ("h", "m", "s") if seconds % SECONDS[unit] == 0)
    return f"{seconds // SECONDS[unit]}{unit}"
