"""Text that crosses a border: made safe before it is shown, compared when a name looks mistyped; numbers in short."""

from __future__ import annotations

import unicodedata
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_SHORT_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}

# A longer word cannot be a slip of a name that we know, and comparing it would cost quadratic time.
_LONGEST_WORD = 100
_LONGEST_QUOTE = 80


def safe_text(text: str) -> str:
    r"""Return `text` with everything that could act on a terminal, or hide in it, shown as a visible escape.

    Escaped are control characters (ESC, newline and tab too), bidirectional and other invisible format
    characters, lone surrogates, unassigned and private characters, and every separator but the plain space.
    The forms are Python's: `\n`, `\x1b`, `\u202e`, `\U000e0041`. Applying it twice changes nothing more.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def width(text: str) -> int:
    """How many terminal cells text takes: two for East Asian wide characters, none for combining marks."""
    if text.isascii():
        return len(text)
    return sum(_char_width(char) for char in text)


def set_of(numbers: Iterable[int]) -> str:
    """Numbers as libvirt and the kernel write a set of them: 0, 1, 2, 3, 8 -> `0-3,8`."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and runs[-1][-1] == number - 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return ",".join("-".join(map(str, run)) for run in runs)


def quoted(text: str) -> str:
    """Return `text` as diagnostics name a value: safe, cut when very long, between backticks."""
    shown = text if len(text) <= _LONGEST_QUOTE else text[: _LONGEST_QUOTE - 3] + "..."
    return f"`{safe_text(shown)}`"


def closest(word: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate that `word` was most probably meant to be; None if none is near.

    Case and the difference between `-` and `_` are ignored, so that `maxMemory` finds `max-memory`.
    """
    if len(word) > _LONGEST_WORD:
        return None
    known = sorted(set(candidates))
    if word in known:
        return word
    by_plain: dict[str, str] = {}
    for candidate in known:
        by_plain.setdefault(_plain(candidate), candidate)
    plain = _plain(word)
    found = get_close_matches(plain, by_plain, n=3, cutoff=0.6)
    swapped = [near for near in found if sorted(near) == sorted(plain)]  # `lna` is `lan` and not `nat`
    return by_plain[(swapped or found)[0]] if found else None


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """Return a hint that names the nearest candidate, or an empty string if none is near."""
    nearest = closest(word, candidates)
    return f"did you mean {quoted(nearest)}?" if nearest is not None else ""


def members_of(name: str, known: Iterable[str]) -> str:
    """Return a hint that names the members of an entry with a count, or an empty string if there are none."""
    members = [each for each in known if each != name and is_member(each, name)]
    shown = ", ".join(members[:10]) + (", ..." if len(members) > 10 else "")
    return f"it has a `count`: name {shown}" if members else ""


def hint_for_vm(name: str, known: Iterable[str]) -> str:
    """Return a hint for a name that no vm has: the nearest one, or the members of the entry that was meant."""
    vms = list(known)
    meant = name if members_of(name, vms) else closest(name, with_entries(vms))
    if meant is None or meant in vms:
        return did_you_mean(name, vms)
    return ("" if meant == name else f"did you mean {quoted(meant)}? ") + members_of(meant, vms)


def with_entries(vms: Iterable[str]) -> list[str]:
    """Names of vms, and those of the entries with a count that they may be of: what `is_member` takes."""
    names = list(vms)
    stems = {name: name.rpartition("-")[0] for name in names}
    return [*names, *dict.fromkeys(stem for name, stem in stems.items() if stem and is_member(name, stem))]


def is_member(vm: str, name: str) -> bool:
    """Whether `name` is the vm's, or that of its entry with a count."""
    return vm == name or (vm.startswith(f"{name}-") and vm[len(name) + 1 :].isdigit())


def _char_width(char: str) -> int:
    if unicodedata.combining(char) or unicodedata.category(char) in {"Mn", "Me"}:
        return 0
    return 2 if unicodedata.east_asian_width(char) in {"W", "F"} else 1


def _escape(char: str) -> str:
    if short := _SHORT_ESCAPES.get(char):
        return short
    point = ord(char)
    if point <= 0xFF:
        return f"\\x{point:02x}"
    return f"\\u{point:04x}" if point <= 0xFFFF else f"\\U{point:08x}"


def _plain(word: str) -> str:
    return word.casefold().replace("_", "").replace("-", "")


def listed(names: Sequence[str]) -> str:
    """The first of them, and how many there are more."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
