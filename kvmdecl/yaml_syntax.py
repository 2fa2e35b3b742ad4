"""What the YAML reader's complaints mean to somebody who writes a manifest."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

# What libyaml says, by the words it begins with: our summary, and what to do about it.
_SYNTAX = (
    (
        "mapping values are not allowed",
        "a `:` cannot stand here",
        "indent the key like its neighbours, or put text that contains `: ` in quotes",
    ),
    (
        "could not find expected ':'",
        "a key without `:`",
        "write `key: value`, or indent the text under its key",
    ),
    ("did not find expected key", "a key of this mapping was expected here", "indent it like its neighbours"),
    (
        "did not find expected '-'",
        "an item of this list was expected here",
        "begin it with `- `, or indent it like its neighbours",
    ),
    (
        "did not find expected ',' or ']'",
        "this list in brackets is not closed",
        "write `,` between items and `]` at the end",
    ),
    (
        "did not find expected ',' or '}'",
        "this mapping in braces is not closed",
        "write `,` between keys and `}` at the end",
    ),
    (
        "did not find expected node content",
        "a value was expected here",
        "write a value, or close the bracket",
    ),
    (
        "found unknown escape",
        "an unknown escape in double quotes",
        "double the backslash, or use single quotes",
    ),
    (
        "found unexpected ':'",
        "a `:` inside braces or brackets is neither followed by a space nor in quotes",
        "after a key write `: ` with the space; put a value that holds a `:` in quotes",
    ),
    ("found unexpected end of stream", "the quote is never closed", "close it where the text ends"),
    ("found a tab", "a tab is used for indentation", "indent with spaces"),
    ("found incompatible YAML", "this version of YAML is not supported", "remove the `%YAML` line"),
    ("found duplicate %", "a directive stands twice", "remove the line"),
    ("found undefined tag", "a tag with an unknown prefix", "remove the tag"),
    (
        "did not find expected <document start>",
        "the document ended above, yet there is more",
        "indent it like its neighbours",
    ),
)

_NO_TOKEN = "found character that cannot start"  # noqa: S105 - not a password: libyaml's words
_RESERVED = {
    "\t": ("a tab is used for indentation", "indent with spaces"),
    "@": ("a value cannot begin with `@`", "put it in quotes"),
    "`": ("a value cannot begin with a backtick", "put it in quotes"),
    "%": ("a value cannot begin with `%`", "put it in quotes"),
}


_INSIDE = re.compile(r"[^\s,:{}\[\]\"'][{\[]")


def explain_syntax(problem: str, text: str, offset: int) -> tuple[str, str]:
    """Return a summary and a hint for libyaml's `problem` at the character of `text` at `offset`."""
    char = text[offset : offset + 1]
    if re.search(r"\{[{%]", text[text.rfind("\n", 0, offset) + 1 : offset + 1]):
        return "a template stands here", _NO_TEMPLATES
    if problem.startswith("did not find expected key") and text[offset - 1 : offset] in {"}", "]"}:
        return (
            f"a `{text[offset - 1]}` cannot stand in the middle of this text",
            "put the whole text in quotes",
        )
    if problem.startswith(_NO_TOKEN) and char in _RESERVED:
        return _RESERVED[char]
    if problem.startswith("did not find expected ','") and _INSIDE.match(text, offset - 1):
        return f"a `{char}` cannot stand in the middle of this text", "put the whole text in quotes"
    for words, summary, hint in _SYNTAX:
        if problem.startswith(words):
            return summary, hint
    return "this is not YAML", "check quotes, brackets and indentation here and in the line above"


class KeyWithoutColon(NamedTuple):
    """Words that were to be a key: where in the text they begin and end, and what to write."""

    start: int
    end: int
    hint: str


_NO_TEMPLATES = (
    "write the value itself: templates are not rendered; `profiles`, `count` and `for` say what repeats"
)
_BRACED = re.compile(r"(?:\{[\w.]+\}[\w.-]*)+(?=[ \t]*:)")


def hint_for_key(text: str, start: int) -> str:
    """What to write instead of a key that is a list, a mapping or nothing and begins at `start`."""
    if "{{" in text[max(0, start - 1) : start + 2]:
        return _NO_TEMPLATES
    if braced := _BRACED.match(text, start):
        return f'write `"{braced.group()}":` with quotes if the braces are a part of the name'
    return "write a name before the `:`; text in braces as a value needs quotes"


_WORDS = re.compile(r" *(?:- +)*(?P<words>[A-Za-z0-9_][^#\n]*?)[ \t\r]*(?:[ \t]#.*)?")
_GLUED = re.compile(r"(?P<key>[A-Za-z0-9_.-]+):\s?(?P<value>[^\s/].*)")
_OPENS = re.compile(r".*:[ \t\r]*(?:[ \t]#.*)?")


def key_without_colon(text: str, problem: str, offset: int, begun: int | None) -> KeyWithoutColon | None:
    """What lacks its `: `, where that is why libyaml stumbles.

    libyaml takes such a line and those below it for one text, and names a place further down.
    """
    if problem.startswith("could not find expected ':'") and begun is not None:
        return _spelt(text, text.rfind("\n", 0, begun) + 1)
    if not problem.startswith("mapping values are not allowed"):
        return None
    here = text.rfind("\n", 0, offset) + 1
    above = _lines_above(text, here)
    start = next(above, None)
    if start is None or _indent(text, start) > _indent(text, here):
        return None
    before = next(above, None)  # a text may go on in lines that are indented more than its key
    goes_on = before is not None and _indent(text, before) < _indent(text, start)
    if goes_on and not _OPENS.fullmatch(_line(text, before or 0)):
        return None
    return _spelt(text, start)


def _spelt(text: str, start: int) -> KeyWithoutColon | None:
    """What to write in the place of the line at `start`; None if it has what it needs."""
    found = _WORDS.fullmatch(_line(text, start))
    if found is None or re.search(r":(?: |$)", words := found["words"]):
        return None
    if glued := _GLUED.fullmatch(words):
        hint = f"write a space after the `:`, as in `{glued['key']}: {glued['value']}`"
    else:
        key, _, value = words.partition(" ")
        hint = f"write `{key}: {value}`" if value else f"write `{key}:`"
    return KeyWithoutColon(start + found.start("words"), start + found.end("words"), hint)


def _lines_above(text: str, start: int) -> Iterator[int]:
    """Where lines begin that stand above the one at `start` and say something, the nearest first."""
    while start > 0:
        start = text.rfind("\n", 0, start - 1) + 1
        if (line := _line(text, start).strip()) and not line.startswith("#"):
            yield start


def _line(text: str, start: int) -> str:
    end = text.find("\n", start)
    return text[start : end if end >= 0 else len(text)]


def _indent(text: str, start: int) -> int:
    line = _line(text, start)
    return len(line) - len(line.lstrip(" "))
