"""Who sits where as JSON.

`formatVersion` is MAJOR.MINOR: a reader ignores keys that it does not know, and refuses another major version.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import TypeAdapter

from kvmdecl.hostmap import HostMap

FORMAT_VERSION = "1.0"
_MAP = TypeAdapter(HostMap)


def render_map_json(hosts: HostMap) -> str:
    """The map: sorted keys, no times, so that the same map is the same bytes."""
    head = {"formatVersion": FORMAT_VERSION, "complete": hosts.complete}
    document = {**head, **_MAP.dump_python(hosts, mode="json")}
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=True) + "\n"


def map_schema() -> dict[str, Any]:
    """JSON Schema of the document."""
    schema = _MAP.json_schema(mode="serialization")
    head = {
        "formatVersion": {"type": "string", "pattern": r"^1\.[0-9]+$", "description": "MAJOR.MINOR"},
        "complete": {"type": "boolean", "description": "Whether every host answered."},
    }
    schema["properties"] = {**head, **schema["properties"]}
    schema["required"] = [*head, *schema["required"]]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "kvmdecl map", **schema}
