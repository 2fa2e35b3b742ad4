"""JSON Schema of the manifest, made from the models: what an editor needs to complete and to check.

The models see the manifest after expansion and read every value from its text. The schema describes what the
file holds: short forms, ranges in names, `{name}` inside of values, `count`, `for`, `profile`, and numbers
without quotes. Where they cannot say the same, the schema accepts more: `kvmdecl validate` has the last word.
"""

from __future__ import annotations

import json
import re
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from pydantic.json_schema import models_json_schema

from kvmdecl.expand import NAMED_SECTIONS, entry_keys
from kvmdecl.manifest import Manifest, PolicyFile
from kvmdecl.manifest.consents import ConsentFile
from kvmdecl.names import format_size
from kvmdecl.schema.examples import add_examples
from kvmdecl.schema.unsaid import add_unsaid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel

    Schema = dict[str, Any]

_REF = "#/$defs/"
_REFERENCE = re.compile(r'"\$ref": "([^"]+)"')
_PLACEHOLDER = r"\{[a-z]"
_TEXT = ["string", "number", "boolean"]
_BOUNDS = {"ge": "minimum", "le": "maximum", "gt": "exclusiveMinimum", "lt": "exclusiveMaximum"}
_NAME = r"^[a-z0-9](?:[a-z0-9.-]{0,61}[a-z0-9])?$"
_NAMES = r"^[a-z0-9](?:[a-z0-9.-]{0,61}[a-z0-9])?$|\{"
_RANGE = r"^[0-9]{1,9}\.\.[0-9]{1,9}$"

_PROFILE: Schema = {"type": _TEXT, "description": "Profile that this vm begins as; its own keys win."}
_COUNT: Schema = {
    "type": ["integer", "string"],
    "minimum": 1,
    "pattern": "^[1-9][0-9]{0,8}$",
    "description": "Number of vms to make, named NAME-1, NAME-2 and so on.",
}
_FOR: Schema = {
    "type": "object",
    "description": "Variables and their values; the name uses each of them, as `web-{zone}`.",
    "minProperties": 1,
    "additionalProperties": {
        "anyOf": [
            {"type": "array", "minItems": 1, "items": {"type": _TEXT}},
            {"type": "string", "pattern": _RANGE, "examples": ["1..3"]},
        ]
    },
}
_EXTENDS: Schema = {
    "description": "Profile or profiles that this one begins as; later ones win, its own keys win over all.",
    "anyOf": [{"type": _TEXT}, {"type": "array", "items": {"type": _TEXT}}],
}
_ENTRY_SCHEMAS = {"profile": _PROFILE, "count": _COUNT, "for": _FOR}


def render_schema(sections: Mapping[str, type[BaseModel]]) -> str:
    """The schema as a file: stable bytes for equal models."""
    return json.dumps(make_schema(sections), indent=2) + "\n"


def make_schema(sections: Mapping[str, type[BaseModel]]) -> Schema:
    """Build the schema.

    Args:
        sections: models of the top-level keys that plugins add.
    """
    models: list[tuple[type[BaseModel], Any]] = [(Manifest, "validation")]
    models += [(model, "validation") for model in sections.values()]
    refs, raw = models_json_schema(models)
    parts = _Parts({name: _as_written(definition) for name, definition in raw["$defs"].items()})
    properties: Schema = parts.definitions.pop(_target(refs[Manifest, "validation"]))["properties"]
    # These two decide what everything else means: no variable can stand in them.
    cluster = raw["$defs"][_target(refs[Manifest, "validation"])]["properties"]["cluster"]
    version = properties["apiVersion"]["description"]
    properties["apiVersion"] = {"const": "kvmdecl/v1", "description": version}
    properties["cluster"] |= {"pattern": cluster["pattern"]}
    names = {section: _target(_element(properties[section])) for section in NAMED_SECTIONS}
    for section, name in names.items():
        properties[section] |= _by_name(parts.entry(section, name))
    properties["defaults"] = _defaults({section: parts.partial(name) for section, name in names.items()})
    properties["profiles"] = _profiles(parts.profile(names["vms"]))
    for key, model in sorted(sections.items()):
        properties[key] = refs[model, "validation"] | {"description": (model.__doc__ or key).strip()}
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "kvmdecl cluster manifest, version 1",
        "type": "object",
        # No key is required: in a folder each file holds a part.
        "additionalProperties": False,
        "properties": properties,
        "$defs": {name: parts.definitions[name] for name in parts.used(properties)},
    }
    add_examples(schema)
    add_unsaid(schema)
    return schema


def policies_schema() -> Schema:
    """The schema of a file of policies (`--policies`)."""
    return _file_schema(PolicyFile, "kvmdecl policies, version 1")


def consents_schema() -> Schema:
    """The schema of a file of consents (`apply --consents`)."""
    return _file_schema(ConsentFile, "kvmdecl consents, version 1")


def _file_schema(model: type[BaseModel], title: str) -> Schema:
    refs, raw = models_json_schema([(model, "validation")])
    parts = _Parts({name: _as_written(definition) for name, definition in raw["$defs"].items()})
    whole = parts.definitions.pop(_target(refs[model, "validation"]))
    whole["properties"]["apiVersion"] = {
        "const": "kvmdecl/v1",
        "description": whole["properties"]["apiVersion"]["description"],
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        **whole,
        "$defs": {name: parts.definitions[name] for name in parts.used(whole["properties"])},
    }


class _Parts:
    """The definitions, and those derived from them for entries that defaults and profiles complete."""

    def __init__(self, definitions: dict[str, Schema]) -> None:
        self.definitions = definitions

    def partial(self, name: str) -> Schema:
        """Refer to a model of which others may say the rest: at no depth is anything required."""
        partial = f"{name}Part"
        if partial not in self.definitions:
            self.definitions[partial] = deepcopy(self.definitions[name])
            long = _long_form(self.definitions[partial])
            long.pop("required", None)
            for value in long["properties"].values():
                self._make_partial(value)
        return {"$ref": _REF + partial}

    def _make_partial(self, value: Schema) -> None:
        for choice in value.get("anyOf", [value]):
            if "$ref" in choice:
                choice.update(self.partial(_target(choice)))
            elif "patternProperties" in choice:
                self._make_partial(_element(choice))

    def entry(self, section: str, name: str) -> Schema:
        """Refer to a model with the keys that only an entry has."""
        return self._extended(name, f"{name}Entry", {key: _ENTRY_SCHEMAS[key] for key in entry_keys(section)})

    def profile(self, name: str) -> Schema:
        """Refer to a model that may extend profiles; it has no short form."""
        reference = self._extended(name, "Profile", {"extends": _EXTENDS})
        self.definitions["Profile"] = _long_form(self.definitions["Profile"])
        return reference

    def used(self, properties: Schema) -> list[str]:
        """The definitions that something refers to, sorted."""
        seen: set[str] = set()
        todo = [properties]
        while todo:
            names = {name.removeprefix(_REF) for name in _REFERENCE.findall(json.dumps(todo.pop()))} - seen
            seen |= names
            todo += [self.definitions[name] for name in names]
        return sorted(seen)

    def _extended(self, name: str, result: str, keys: dict[str, Schema]) -> Schema:
        definition = deepcopy(self.definitions[_target(self.partial(name))])
        _long_form(definition)["properties"] |= keys
        self.definitions[result] = definition
        return {"$ref": _REF + result}


def _by_name(element: Schema, names: str = _NAMES) -> Schema:
    return {"type": "object", "patternProperties": {names: element}, "additionalProperties": False}


def _defaults(models: dict[str, Schema]) -> Schema:
    return {
        "type": "object",
        "description": "What all entries of a section begin as; profiles and the entry's own keys win.",
        "properties": {
            section: model | {"description": f"What every entry of `{section}` begins as."}
            for section, model in models.items()
        },
        "additionalProperties": False,
    }


def _profiles(model: Schema) -> Schema:
    return {
        "type": "object",
        "description": "Parts of vms by name, for `profile: NAME` and `extends: NAME`.",
        "additionalProperties": model,
    }


def _target(reference: Schema) -> str:
    return str(reference["$ref"]).removeprefix(_REF)


def _element(mapping: Schema) -> Schema:
    element: Schema = next(iter(mapping["patternProperties"].values()))
    return element


def _long_form(definition: Schema) -> Schema:
    """The form with keys, of a definition that may have a short form too."""
    return next(form for form in definition.get("anyOf", [definition]) if "properties" in form)


def _as_written(schema: Schema) -> Schema:
    """A schema of values -> one of what stands in a file for them."""
    written = {_BOUNDS.get(key, key): value for key, value in schema.items() if key != "title"}
    if written.get("default", "") is None:
        del written["default"]  # what is not said is derived, as the description says, and nobody writes null
    for key in ("anyOf", "oneOf", "allOf", "prefixItems"):
        if key in written:
            written[key] = [_as_written(choice) for choice in written[key]]
    for key in ("items", "additionalProperties"):
        if isinstance(written.get(key), dict):
            written[key] = _as_written(written[key])
    if "properties" in written:
        written["properties"] = {key: _as_written(value) for key, value in written["properties"].items()}
    if "patternProperties" in written:
        ((pattern, element),) = written["patternProperties"].items()
        written |= _by_name(_as_written(element), _NAMES if pattern == _NAME else _or_variable(pattern))
    return _scalar(written)


def _scalar(schema: Schema) -> Schema:
    match schema:
        case {"enum": choices} | {"const": _, "type": "string", "enum": choices}:
            return _either(schema, "enum", choices)
        case {"const": choice}:
            return _either(schema, "const", choice)
        case {"type": "string", "pattern": pattern, "default": int(size)}:
            return schema | {"pattern": _or_variable(pattern), "default": format_size(size)}
        case {"type": "string", "pattern": pattern}:
            return schema | {"type": _TEXT, "pattern": _or_variable(pattern)}
        case {"type": "string"}:
            return schema | {"type": _TEXT}
        case {"type": "integer"}:
            return schema | {"type": ["integer", "string"], "pattern": _or_variable("^-?(0|[1-9][0-9]*)$")}
        case {"type": "boolean"}:
            return schema | {"type": ["boolean", "string"], "pattern": _or_variable("^(true|false)$")}
    return schema


def _either(schema: Schema, keyword: str, value: object) -> Schema:
    """One of some words, or text in which a variable will become one."""
    rest = {key: kept for key, kept in schema.items() if key not in {"enum", "const", "type"}}
    return rest | {"anyOf": [{keyword: value}, {"type": "string", "pattern": _PLACEHOLDER}]}


def _or_variable(pattern: str) -> str:
    return f"(?:{pattern})|{_PLACEHOLDER}"
