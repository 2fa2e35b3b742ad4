"""What a key is if not given: said of every key that need not be, by its default, its description, or what is added.

A key of which neither tells is nothing if not given, but for those of which libvirt and QEMU then decide.
"""

from __future__ import annotations

import re
from typing import Any

Schema = dict[str, Any]

NOTHING, THEIRS = "Nothing if not given.", "As libvirt and QEMU decide if not given."
_TOLD = re.compile(r"\bif\s+not\s+given|\(the default\)|\(default: |\bWithout( it)?, ")
_VARIANT = re.compile(r"(Part|Entry)$")
# Models of which all such keys are libvirt's, and single keys of others.
_THEIR_MODELS = frozenset({"GuestOffloads", "HostOffloads", "NicDriver", "ScsiDevice", "Timer"})
_THEIR_KEYS = frozenset(
    {
        *("Channel.mouse", "CharacterDevice.address", "DeviceRequest.rom_file"),
        *("Input.grab", "Input.repeat", "MediatedDevice.display", "Nic.coalesce", "Nic.queues"),
        *("NumaCell.discard", "Rom.bar", "Rom.file", "Route.metric", "SecurityLabel.base"),
    }
)


def add_unsaid(schema: Schema) -> None:
    """Say it of all keys of the manifest's schema."""
    _add("", schema)
    for name, definition in schema["$defs"].items():
        for form in (definition, *definition.get("anyOf", ())):
            _add(_VARIANT.sub("", name), form)


def _add(model: str, form: Schema) -> None:
    for key, value in form.get("properties", {}).items():
        if key not in form.get("required", ()) and not is_told(value):
            theirs = model in _THEIR_MODELS or f"{model}.{key}" in _THEIR_KEYS
            value["description"] = f"{value['description'].rstrip()} {THEIRS if theirs else NOTHING}"


def is_told(value: Schema) -> bool:
    """Whether a key's schema tells what it is if not given."""
    return "default" in value or "const" in value or bool(_TOLD.search(value.get("description", "")))
