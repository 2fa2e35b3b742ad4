"""The names that one manifest gives to its hosts, networks and so on, offered where others refer to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Schema = dict[str, Any]

REFERENCES = {
    "hosts": (
        ("Vm", "host"),
        ("Network", "hosts"),
        ("Pool", "hosts"),
        ("FenceDevice", "hosts"),
        ("Rollout", "canary"),
        ("Rollout", "waves"),
    ),
    "networks": (("Vm", "nics"), ("Nic", "network"), ("Graphics", "network"), ("Screen", "network")),
    "storage": (
        ("Disk", "pool"),
        ("Cdrom", "pool"),
        ("Clone", "pool"),
        ("CloudInit", "pool"),
        ("Definitions", "pool"),
    ),
    "images": (("Vm", "image"), ("Disk", "image"), ("Cdrom", "image")),
    "secrets": (("Auth", "secret"), ("Encryption", "secret"), ("Tpm", "secret")),
    "filters": (("Nic", "filter"), ("Filter", "name"), ("FilterRule", "filter")),
    "devices": (("DeviceRequest", "alias"), ("VirtualFunction", "alias")),
    "profiles": (("VmEntry", "profile"), ("Profile", "extends")),
    "vms": (("After", "vm"), ("RolloutGate", "vms")),
}
"""Which keys of which models refer to entries of a section."""


def with_names(schema: Schema, names: Mapping[str, Sequence[str]]) -> Schema:
    """The schema of a manifest with its own names as choices where they are referred to.

    Others are taken as before: a name that was written after the schema is no mistake.

    Args:
        schema: as `make_schema` makes it.
        names: of entries by section.
    """
    for section, places in REFERENCES.items():
        for model, key in places:
            for long in _forms(schema, model):
                if key in long["properties"] and names.get(section):
                    long["properties"][key] = _offered(long["properties"][key], list(names[section]))
    return schema


def _forms(schema: Schema, model: str) -> list[Schema]:
    """The definitions that a model has come to, each in its form with keys."""
    found = [schema["$defs"].get(f"{model}{kind}") for kind in ("", "Part", "Entry")]
    found += [schema["$defs"].get("Profile")] if model == "Vm" else []
    return [form for each in found if each for form in each.get("anyOf", [each]) if "properties" in form]


def _offered(prop: Schema, names: list[str]) -> Schema:
    """A property, or the items of one, with names to choose from beside what it takes anyway."""
    if prop.get("type") == "array":
        return prop | {"items": _offered(prop["items"], names), "examples": [names[:1]]}
    said = {key: prop[key] for key in ("description", "default") if key in prop}
    taken = {key: value for key, value in prop.items() if key not in {*said, "examples"}}
    return said | {"anyOf": [{"enum": names}, *taken.get("anyOf", [taken])], "examples": names[:1]}
