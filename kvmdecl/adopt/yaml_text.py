"""Plain values as YAML text, written once and then only read: block style, with short mappings on one line."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_WIDTH = 110
# Text that no reader of YAML 1.1 or 1.2 takes for anything else, in any place.
_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./+-]*|[0-9]+[A-Za-z][A-Za-z0-9.-]*", re.ASCII)
_WORDS = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n", "nan", "inf"})
# What a reader refuses, or takes for the end of a line, where it is not escaped.
_ESCAPED = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_LITERAL = re.compile(r"[ -~\n]*")


def block(key: str, value: Any, indent: int = 0) -> Iterator[str]:  # noqa: ANN401 - a tree of plain values
    """The lines of `key: value`."""
    lead = " " * indent
    if isinstance(value, str) and "\n" in value and _LITERAL.fullmatch(value) and not value[0].isspace():
        yield f"{lead}{scalar(key)}: |"
        yield from (f"{lead}  {line}".rstrip() for line in value.rstrip("\n").split("\n"))
        return
    inline = f"{lead}{scalar(key)}: {flow(value)}"
    if not isinstance(value, dict | list) or not value or len(inline) <= _WIDTH:
        yield inline
        return
    yield f"{lead}{scalar(key)}:"
    if isinstance(value, dict):
        for name, below in value.items():
            yield from block(name, below, indent + 2)
    else:
        yield from (f"{lead}  - {flow(item)}" for item in value)


def flow(value: Any) -> str:  # noqa: ANN401 - a tree of plain values
    """A value on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{scalar(key)}: {flow(below)}" for key, below in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(flow, value))}]"
    return scalar(value)


def scalar(value: str | bool | int) -> str:
    """A text, number or truth value; a text is quoted where it could be taken for something else."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if _PLAIN.fullmatch(value) and value.lower() not in _WORDS and not re.fullmatch("[0-9]+e[0-9]+", value):
        return value
    return _ESCAPED.sub(lambda match: f"\\u{ord(match[0]):04x}", json.dumps(value, ensure_ascii=False))
