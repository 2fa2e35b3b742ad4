"""Write the reference parts of docs/manifest.md and docs/ha.md again, from the models. Run by `make schemas`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kvmdecl.manifest import Manifest
from kvmdecl.names import format_size

HA = Path(__file__).parents[1] / "docs" / "ha.md"
HA_MARKS = ("<!-- ha: made by `make schemas` from kvmdecl_pacemaker/model.py -->\n", "<!-- end of ha -->\n")
DOCUMENT = Path(__file__).parents[1] / "docs" / "manifest.md"
MARK = "<!-- From here on made by `make schemas` from the models in kvmdecl/manifest. -->\n"

Schema = dict[str, Any]


def render() -> str:
    """Return what the document must hold: the written part as it is, then every section and key."""
    written, mark, _ = DOCUMENT.read_text("utf-8").partition(MARK)
    if not mark:
        raise SystemExit(f"{DOCUMENT}: the mark above the reference is gone: {MARK}")
    schema = Manifest.model_json_schema(mode="validation")
    sections = [_section("Top level", schema), *(_section(*item) for item in _in_order(schema).items())]
    return written + MARK + "".join(sections)


def render_ha() -> str:
    """Return what docs/ha.md must hold: what is written, and in its place the keys of the section."""
    from kvmdecl_pacemaker.model import Ha

    text = HA.read_text("utf-8")
    before, begin, rest = text.partition(HA_MARKS[0])
    _, end, after = rest.partition(HA_MARKS[1])
    schema = Ha.model_json_schema(mode="validation")
    sections = [_section("ha", schema, level=3)]
    sections += [_section(name, part, level=3) for name, part in _in_order(schema).items()]
    return before + begin + "".join(sections) + "\n" + end + after


def _in_order(schema: Schema) -> dict[str, Schema]:
    """Sections in the order in which a reader meets them: each right before those that it names."""
    found: dict[str, Schema] = {}

    def visit(node: object) -> None:
        if isinstance(node, dict):
            name = str(node.get("$ref", "")).rpartition("/")[2]
            if name and name not in found:
                found[name] = schema["$defs"][name]
                visit(found[name])
            for value in node.values():
                visit(value)
        elif isinstance(node, list):
            for value in node:
                visit(value)

    visit(schema["properties"])
    return found


def _section(name: str, schema: Schema, level: int = 2) -> str:
    long = schema if "properties" in schema else next(one for one in schema["anyOf"] if "properties" in one)
    rows = [_row(key, value, key in long.get("required", ())) for key, value in long["properties"].items()]
    description = long.get("description", "")
    table = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    about = f"{description}\n\n" if name != "Top level" else ""
    head = "| Key | Value | If not given | Meaning |\n| --- | --- | --- | --- |\n"
    return f"\n{'#' * level} {name}\n\n{about}{head}{table}"


def _row(key: str, schema: Schema, required: bool) -> tuple[str, str, str, str]:
    text = " ".join(schema.get("description", "").split()).replace("|", "\\|")
    return f"`{key}`", _type(schema), "required" if required else _default(schema), text


def _default(schema: Schema) -> str:
    default = schema.get("default")
    if default is None:
        return "none"
    if "$ref" in schema:
        return "its defaults"
    if default in ([], {}):
        return "empty"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, int) and default >= 1024 and default % 1024 == 0:
        return f"`{format_size(default)}`"
    return f"`{default}`"


def _type(schema: Schema) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "const" in schema or "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    options = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
    if options:
        return " or ".join(dict.fromkeys(map(_type, options)))
    if schema.get("type") == "array":
        return f"list: {_type(schema['items'])}"
    if schema.get("type") == "object":
        inner = next(
            iter(schema.get("patternProperties", {}).values()), schema.get("additionalProperties", {})
        )
        return f"by name: {_type(inner)}"
    words = {"string": "text", "integer": "number", "boolean": "`true`, `false`"}
    kind = schema.get("type", "text")
    if isinstance(kind, list):
        return " or ".join(words.get(one, one) for one in kind)
    examples = ", ".join(f"`{example}`" for example in schema.get("examples", ()))
    return f"{words.get(kind, kind)}, as {examples}" if examples else words.get(kind, kind)


if __name__ == "__main__":
    DOCUMENT.write_text(render(), "utf-8")
    HA.write_text(render_ha(), "utf-8")
