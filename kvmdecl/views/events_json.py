"""Events for programs: one JSON object on a line each, numbered from 1 without gaps.

`formatVersion` is MAJOR.MINOR: a reader ignores keys and events it does not know within a major version.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Self

from pydantic import TypeAdapter

from kvmdecl.events import Event

if TYPE_CHECKING:
    from collections.abc import Callable

FORMAT_VERSION = "1.2"
_EVENT: TypeAdapter[Event] = TypeAdapter(Event)


class JsonView:
    """Writes events as lines of JSON."""

    def __init__(self, write: Callable[[str], object]) -> None:
        """`write` is given whole lines."""
        self._write = write
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        """Every line was written when its event came."""

    def show(self, event: Event) -> None:
        """Write one event."""
        self._sequence += 1
        self._write(render_event_json(event, self._sequence))


def render_event_json(event: Event, sequence: int) -> str:
    """One line: the event's fields, and which one of the run it is."""
    head = {"formatVersion": FORMAT_VERSION, "sequence": sequence}
    return json.dumps({**head, **_EVENT.dump_python(event, mode="json")}, ensure_ascii=True) + "\n"


def events_schema() -> dict[str, Any]:
    """JSON Schema of one line."""
    return lines_schema(_EVENT, "kvmdecl apply event (one line)")


def lines_schema(lines: TypeAdapter[Any], title: str) -> dict[str, Any]:
    """JSON Schema of one of several kinds of lines, each with its version and number."""
    schema = lines.json_schema(mode="serialization")
    version = {"type": "string", "pattern": r"^1\.[0-9]+$", "description": "MAJOR.MINOR"}
    sequence = {"type": "integer", "minimum": 1, "description": "Counts the lines of a run from 1."}
    for choice in schema["anyOf"]:
        event = schema["$defs"][choice["$ref"].rpartition("/")[2]]
        event["properties"] = {"formatVersion": version, "sequence": sequence, **event["properties"]}
        event["required"] = ["formatVersion", "sequence", *event["required"]]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **schema}
