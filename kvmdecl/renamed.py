"""What manifests said before in other words: keys and values that have another name now."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

FORMATS = ("kvmdecl/v1",)
"""The versions of the manifest's format (`apiVersion`), oldest first; the last one is today's."""

_WORD = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_./+-]*[A-Za-z0-9])?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Renamed:
    """A key of a section, or values of a key, that had another name before.

    `kvmdecl migrate` writes the new word wherever a manifest has the old one, and until then a manifest that has it is
    told so. An old word leads to that of today in one step, whatever it was called in between.

    Attributes:
        key: as it was called; with `values` as it is called now.
        to: what it is called now; it stays in the same mapping.
        values: what its value, or an item of it if that is a list, was and is called now.
        since: the version that it came with. A version of the manifest's format counts for manifests of an earlier one;
            what else there is (`house 2.0`), for all.
        why: in a line, for who has to review it.
    """

    key: str
    to: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    since: str
    why: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            ValueError: a new word is none that can stand anywhere as it is, or an old one as well.
        """
        if bool(self.to) == bool(self.values):
            raise ValueError(f"{self.key!r} is to have either another name or other values")
        old, new = ({self.key}, [self.to]) if self.to else (set(self.values), list(self.values.values()))
        if unfit := [word for word in new if not _WORD.fullmatch(word) or word.lower() == "null"]:
            raise ValueError(f"{unfit[0]!r} is no word that could stand in a manifest without quotes")
        if both := old.intersection(new):
            raise ValueError(f"{min(both)!r} is both an old and a new word")

    def holds(self, version: str) -> bool:
        """Whether a manifest of this version of the format may still say it in the old word."""
        if self.since not in FORMATS:
            return True
        return version in FORMATS and FORMATS.index(version) < FORMATS.index(self.since)

    def require(self, keys: Collection[str]) -> None:
        """Hold it against the keys that its section has today.

        Raises:
            ValueError: the new key, or that of the values, is not there; or the old one is, so that it is not old.
        """
        if (self.to or self.key) not in keys:
            raise ValueError(f"{self.to or self.key!r} is no key of the section that it is in")
        if self.to and self.key in keys and self.since not in FORMATS:
            raise ValueError(f"{self.key!r} is not called {self.to!r}: it is a key of its section")

    def hint(self, word: str) -> str:
        """What to do about an old word."""
        if word in FORMATS:
            return "`kvmdecl migrate` writes it in the words of today's"
        new = self.to or self.values[word]
        return f"it is called `{new}` since {self.since}; `kvmdecl migrate` renames it"


def of_format() -> tuple[Renamed, ...]:
    """What `apiVersion` said before; nothing while there is one version of the format."""
    earlier, today = FORMATS[:-1], FORMATS[-1]
    return (Renamed(key="apiVersion", values=dict.fromkeys(earlier, today), since=today),) if earlier else ()
