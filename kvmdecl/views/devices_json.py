"""Devices of hosts as JSON.

`formatVersion` is MAJOR.MINOR: a reader ignores keys that it does not know, and refuses another major version.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import TypeAdapter

from kvmdecl.devicemap import DeviceMap

FORMAT_VERSION = "1.0"
_DEVICES = TypeAdapter(DeviceMap)


def render_devices_json(devices: DeviceMap) -> str:
    """The devices: sorted keys, no times, so that the same devices are the same bytes."""
    head = {"formatVersion": FORMAT_VERSION, "complete": devices.complete}
    document = {**head, **_DEVICES.dump_python(devices, mode="json")}
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=True) + "\n"


def devices_schema() -> dict[str, Any]:
    """JSON Schema of the document."""
    schema = _DEVICES.json_schema(mode="serialization")
    head = {
        "formatVersion": {"type": "string", "pattern": r"^1\.[0-9]+$", "description": "MAJOR.MINOR"},
        "complete": {"type": "boolean", "description": "Whether every host answered."},
    }
    schema["properties"] = {**head, **schema["properties"]}
    schema["required"] = [*head, *schema["required"]]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "kvmdecl devices", **schema}
