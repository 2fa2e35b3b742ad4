"""What the JSON documents of commands have in common: a version at their head, sorted keys, and a published schema."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import TypeAdapter


def as_json(version: str, written: Mapping[str, Any]) -> str:
    """A document as text: sorted keys, no times, so that the same answer is the same bytes."""
    document = {"formatVersion": version, **written}
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=True) + "\n"


def schema_of(adapter: TypeAdapter[Any], title: str) -> dict[str, Any]:
    """JSON Schema of such a document."""
    schema = adapter.json_schema(mode="serialization")
    head = {"formatVersion": {"type": "string", "pattern": r"^1\.[0-9]+$", "description": "MAJOR.MINOR"}}
    schema["properties"] = {**head, **schema["properties"]}
    schema["required"] = [*head, *schema["required"]]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": title}
