"""The manifest's schema says of every key what it is for, what it is if not given, and what one may write."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from pydantic import BaseModel

from kvmdecl.cli.main import run
from kvmdecl.pluginhost import load_plugins
from kvmdecl.schema import make_schema
from kvmdecl.schema.names import REFERENCES, with_names
from kvmdecl.schema.unsaid import _THEIR_KEYS, _THEIR_MODELS, is_told

SCHEMA = make_schema(load_plugins().sections())


def properties(node: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every key that the schema knows, with what it says of it."""
    if isinstance(node, list):
        for each in node:
            yield from properties(each, path)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key == "properties" and "type" not in value:
                yield from ((f"{path}.{name}", inner) for name, inner in value.items())
            yield from properties(value, key if path in {"", "$defs"} else path)


KEYS = dict(properties(SCHEMA))


def test_every_key_has_a_description():
    assert len(KEYS) > 500
    assert [key for key, said in KEYS.items() if not said.get("description")] == []


def test_every_key_has_an_example_that_is_valid():
    assert [key for key, said in KEYS.items() if not said.get("examples") and "const" not in said] == []
    # All at once, each in a definition of its own: to make a judge of this schema takes a while.
    keys = {str(number): said for number, said in enumerate(KEYS.values())}
    judge = jsonschema_rs.validator_for(
        {"$defs": {**SCHEMA["$defs"], **{f"key-{name}": said for name, said in keys.items()}},
         "properties": {name: {"items": {"$ref": f"#/$defs/key-{name}"}} for name in keys}}
    )  # fmt: skip
    found = {name: said.get("examples", []) for name, said in keys.items()}
    wrong = [(list(KEYS)[int(error.instance_path[0])], error.message) for error in judge.iter_errors(found)]
    assert wrong == []


def test_every_key_that_is_something_if_not_given_says_what():
    models = {model.__name__: model for model in _models(BaseModel)}
    lacking = [
        f"{name}.{field.alias or key}"
        for name, model in models.items()
        for key, field in model.model_fields.items()
        if not field.is_required() and field.get_default(call_default_factory=True) not in (None, {}, [], ())
        for found in [KEYS.get(f"{name}.{field.alias or key}", {"default": ""})]
        if "default" not in found
    ]
    assert lacking == []


def test_every_key_that_need_not_be_given_says_what_it_is_then():
    forms = [("", SCHEMA)]
    for name, definition in SCHEMA["$defs"].items():
        forms += [(name, form) for form in (definition, *definition.get("anyOf", ()))]
    optional = {
        f"{name}.{key}": said
        for name, form in forms
        for key, said in form.get("properties", {}).items()
        if key not in form.get("required", ())
    }

    assert len(optional) > 500
    assert [key for key, said in optional.items() if not is_told(said)] == []
    assert not [
        key for key, said in optional.items() if said.get("description", "").count("if not given") > 1
    ]
    assert optional["NicDriver.packed"]["description"].endswith("As libvirt and QEMU decide if not given.")
    assert optional["Nic.vlan"]["description"].endswith("Nothing if not given.")


def test_what_is_said_to_be_libvirts_is_a_key_that_there_is():
    known = {(name, key) for name, form in SCHEMA["$defs"].items() for key in _keys(form)}
    assert {tuple(each.split(".")) for each in _THEIR_KEYS} <= known
    assert {name for name, _ in known} >= _THEIR_MODELS


def _keys(definition: dict[str, Any]) -> Iterator[str]:
    for form in (definition, *definition.get("anyOf", ())):
        yield from form.get("properties", {})


def _models(base: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for model in base.__subclasses__():
        if model.__module__.startswith("kvmdecl"):
            yield model
        yield from _models(model)


@pytest.mark.parametrize(
    "text",
    [
        {"hosts": {"kvm-1": {"huge_pages": {"2MiB": 512}, "sriov": {"0000:41:00.0": 4}}}},
        {"networks": {"lan": {"bridge": "br0", "portgroups": {"Office_1": {"vlan": 42}}}}},
        {"vms": {"web": {"cpus": {"count": 2, "iothread_pins": {"1": "0-1"}}}}},
        {"vms": {"web": {"blkio": {"devices": {"/dev/sda": {"weight": 100}}}}}},
        {"rules": {"workloads": {"db-*": "database"}}},
    ],
)  # fmt: skip
def test_names_are_what_their_mapping_takes(text: dict[str, Any]):
    assert jsonschema_rs.is_valid(SCHEMA, text)


NAMES = {section: (f"{section}-name",) for section in REFERENCES}


def test_names_of_a_manifest_are_offered_wherever_others_refer_to_them():
    schema = with_names(make_schema({}), NAMES)

    for section, places in REFERENCES.items():
        text = json.dumps(schema)
        assert text.count(f'{{"enum": ["{section}-name"]}}') >= len(
            [1 for model, _ in places if f'"{model}' in text]
        )
    assert jsonschema_rs.is_valid(
        schema, {"vms": {"web": {"image": "written-since", "nics": ["lan"], "after": ["db"]}}}
    )
    assert not jsonschema_rs.is_valid(schema, {"vms": {"web": {"nics": [["lan"]]}}})


def test_names_are_those_of_the_manifest_even_while_it_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    hosts = "hosts: {'kvm-{1..2}': 'qemu+tls://{name}/system'}\n"
    good = f"apiVersion: kvmdecl/v1\ncluster: x\n{hosts}vms:\n  web: {{count: 2}}\n"
    for text, names, vms in (
        (good, ["kvm-1", "kvm-2"], ["web-1", "web-2", "web"]),
        (good + "  db: {memry: 1}\nprofiles: {small: {}}\n", [], ["web", "db"]),
    ):
        (tmp_path / "cluster.yaml").write_text(text)
        assert run(["schema", "--with-names", str(tmp_path)]) == 0
        found = json.loads(capsys.readouterr().out)["$defs"]
        said = found["After"]["anyOf"][1]["properties"]["vm"]["anyOf"][0]
        assert said == {"enum": vms}
        assert ({"enum": names} in found["VmEntry"]["properties"]["host"]["anyOf"]) == bool(names)
