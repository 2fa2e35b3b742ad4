"""What several entries say alike is said once, in a profile."""

from __future__ import annotations

import json
from itertools import combinations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kvmdecl.adopt.guest import Keys

MOST_ALIKE = 3
"""Entries that must say the same before a profile says it for them."""

_OWN = frozenset({"uuid", "host", "disk", "disks", "cdroms", "nics", "description", "omit", "xml"})
_FEWEST_KEYS = 2
_MOST_COMPARED = 200  # pairs grow with the square


def factor(entries: Mapping[str, Keys], stem: str) -> tuple[dict[str, Keys], dict[str, Keys]]:
    """Profiles (`STEM-1`, ...) and the entries that use them, which mean the same as before.

    What is a guest's own (its disks, NICs and identity) stays in its entry. Same input, same profiles.
    """
    said = {name: frozenset(_statements(keys)) for name, keys in entries.items()}
    profiles: dict[str, Keys] = {}
    left, found = dict(said), dict(entries)
    while (common := _best(list(left.values()))) is not None:
        name = f"{stem}-{len(profiles) + 1}"
        users = [vm for vm, statements in left.items() if common <= statements]
        keys = {key for key, _ in common}
        profiles[name] = {key: value for key, value in entries[users[0]].items() if key in keys}
        for vm in users:
            del left[vm]
            rest = {key: value for key, value in entries[vm].items() if key not in keys}
            found[vm] = {"profile": name, **rest}
    return profiles, found


def _statements(keys: Keys) -> list[tuple[str, str]]:
    return [(key, json.dumps(value, sort_keys=True)) for key, value in keys.items() if key not in _OWN]


def _best(said: Sequence[frozenset[tuple[str, str]]]) -> frozenset[tuple[str, str]] | None:
    """What at least three have in common and that saves the most lines."""
    distinct = sorted(set(said), key=sorted)[:_MOST_COMPARED]
    candidates = {*distinct, *(one & other for one, other in combinations(distinct, 2))}
    scored = [
        (
            len(candidate) * (sum(1 for statements in said if candidate <= statements) - 1),
            sorted(candidate),
            candidate,
        )
        for candidate in candidates
        if len(candidate) >= _FEWEST_KEYS
        and sum(1 for statements in said if candidate <= statements) >= MOST_ALIKE
    ]
    return max(scored, key=lambda s: (s[0], s[1]))[2] if scored else None
