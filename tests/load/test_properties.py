"""Whatever the text: a manifest or a refusal with a place, and never anything else."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from kvmdecl.diagnostics import Rejected
from kvmdecl.load import load
from kvmdecl.schema import make_schema, render_schema
from kvmdecl.source import line_reader
from kvmdecl.text import closest, did_you_mean, safe_text
from kvmdecl.views.diagnostics_text import render, render_json
from tests.load.conftest import BACKUP

HEAD = "apiVersion: kvmdecl/v1\ncluster: demo\n"
QUIET = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))

PIECES = st.sampled_from(
    [*"[]{}:,-?&*!|>'\"%@`#\n\t ~", "\r\n", "  ", "a", "*a", "&a ", "<<", "vms: ", "hosts: ",
    "profiles: ", "defaults: ",
     "count: 2", "for: ", "{1..3}", "{n}", "1..2", "extends: ", "profile: ", "---\n", "null", "\ufeff",
     "\x00", "é", "🙂",
     "memory: 1G", "kvmdecl/v1", "nics: [lan]", "disks: ", "cpus: 2"]
)  # fmt: skip


def outcome(data: bytes) -> tuple[str, str]:
    """Load the bytes; return what is shown of a refusal, as text and as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "cluster.yaml")
        path.write_bytes(data)
        try:
            load(path)
        except Rejected as rejected:
            diagnostics = rejected.diagnostics
        else:
            return "", ""
        shown = render(diagnostics, color=False, read_line=line_reader())
    assert diagnostics
    assert all(found.at is not None for found in diagnostics)
    assert all(char.isprintable() or char == "\n" for char in shown)
    return shown, render_json(diagnostics)


@QUIET
@given(st.lists(PIECES, max_size=40).map("".join))
@example("{a: b")
@example("? ")
@example("a: &a\n  b: *a")
def test_any_yaml_is_a_manifest_or_a_refusal(text: str) -> None:
    outcome((HEAD + text).encode())
    outcome(text.encode())


@QUIET
@given(st.binary(max_size=200))
def test_any_bytes_are_a_manifest_or_a_refusal(data: bytes) -> None:
    outcome(data)


@QUIET
@given(st.lists(PIECES, max_size=30).map("".join))
def test_the_same_text_is_refused_in_the_same_words(text: str) -> None:
    import re

    first, second = ([re.sub(r"/tmp/tmp\w+", "", part) for part in outcome(text.encode())] for _ in range(2))
    assert first == second


NAMES = st.sampled_from(
    ["a", "web-1", "0", "x.y", "Bad", "web-{1..2}", "{z}-{1..2}", "b-{z}", "{1..2}{01..03}"]
)
SCALARS = st.sampled_from(
    [None, True, False, 0, 1, 2, 16, 1.5, "2", "lan", "1GiB", "512MiB", "4G", "running", "absent",
    "{name}", "kvm-{n}", "vnc",
     "qemu:///system", "br0", "/srv/vms", "52:54:00:11:22:33", "uefi", "nat", "192.168.7.0/24", "text",
     "true"]
)  # fmt: skip
# For each key what is right in one of its forms; the generator mixes in what is wrong.
SECTIONS: dict[str, dict[str, list[Any]]] = {
    "hosts": {
        "uri": ["qemu:///system", "qemu+tls://{name}.x/system"],
        "reserve": [{"cpus": 2}, {"memory": "1GiB"}],
    },
    "networks": {
        "bridge": ["br0", "br{n}"],
        "autostart": [True, "false"],
        "hosts": [["a"], []],
        "mode": ["bridge"],
    },
    "storage": {"path": ["/srv/vms", "/srv/{name}"], "type": ["dir"], "state": ["absent"]},
    "images": {"source": ["./a.qcow2", "1.10"], "format": ["raw"], "sha256": ["a" * 64, None]},
    "vms": {
        "host": ["a", "kvm-{n}", None, 1],
        "state": ["running", "absent"],
        "cpus": [2, "2", {"count": 2}, {"max": "4"}],
        "memory": ["1GiB", {"size": "1GiB", "max": "2GiB"}],
        "disk": ["1GiB", {"size": "1.5GiB", "pool": "a"}, None],
        "disks": [{"data": "1GiB"}, {"d{n}": {"size": "1GiB"}}],
        "nics": [["lan"], [{"network": "lan", "mtu": 1500}], []],
        "graphics": ["vnc", {"listen": "::1"}],
        "rng": [True, "true"],
        "count": [1, 2, "3"],
        "profile": ["lan"],
        "firmware": ["uefi", {"type": "uefi", "secure_boot": True}],
        "description": ["text", 1.5, False, None],
        "cloud_init": [{"user_data": "x"}, None],
        "watchdog": ["reset", {"action": "none"}],
        "machine": ["pc", 7],
    },
}
INNER_KEYS = [
    "size",
    "max",
    "count",
    "network",
    "mac",
    "type",
    "pool",
    "data",
    "z",
    "cpus",
    "memory",
    "user_data",
]
INNER = st.dictionaries(
    st.sampled_from(INNER_KEYS),
    st.one_of(SCALARS, st.lists(SCALARS, max_size=2), st.just({"size": "1GiB"})),
    max_size=2,
)
VALUES = st.one_of(SCALARS, st.lists(st.one_of(SCALARS, INNER), max_size=2), INNER)


def body(section: str, more: dict[str, list[Any]] | None = None) -> st.SearchStrategy[Any]:
    """Up to three keys, each right nine times out of ten."""
    known = SECTIONS[section] | (more or {})

    def value(key: str) -> st.SearchStrategy[Any]:
        right = st.sampled_from(known[key])
        return st.integers(0, 9).flatmap(lambda dice: VALUES if dice == 9 else right)

    keys = st.lists(st.sampled_from(sorted(known)), max_size=3, unique=True)
    return keys.flatmap(lambda chosen: st.fixed_dictionaries({key: value(key) for key in chosen}))


def entries(section: str) -> st.SearchStrategy[Any]:
    first = next(iter(SECTIONS[section]))
    required = {} if section == "vms" else {first: SECTIONS[section][first][0]}
    long = body(section, {"for": [{"z": ["a", "b"]}]}).map(lambda keys: required | keys)
    return st.dictionaries(NAMES, st.one_of(long, long, long, SCALARS), max_size=2)


DOCUMENTS = st.fixed_dictionaries(
    {"apiVersion": st.just("kvmdecl/v1"), "cluster": st.sampled_from(["demo", 1, "c.1"])},
    optional={
        **{section: entries(section) for section in SECTIONS},
        "profiles": st.fixed_dictionaries(
            {"lan": body("vms", {"extends": ["text", ["text"], []]}), "text": body("vms")}
        ),
        "defaults": st.fixed_dictionaries({}, optional={section: body(section) for section in SECTIONS}),
    },
)
VALIDATOR = jsonschema_rs.validator_for(make_schema({}))


def as_yaml(value: dict[str, Any]) -> str:
    """JSON is YAML, but for two things that the C reader wants: spaces after colons, and no escapes."""
    import json

    return json.dumps(value, ensure_ascii=False)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(DOCUMENTS)
@example(
    {"apiVersion": "kvmdecl/v1", "cluster": "d", "vms": {"w": {"memory": "1GiB", "cpus": "2", "count": 2}}}
)
@example({"apiVersion": "kvmdecl/v1", "cluster": "d", "hosts": {"k-{1..2}": "qemu:///system"}})
@example(
    {
        "apiVersion": "kvmdecl/v1",
        "cluster": "d",
        "defaults": {"storage": {"path": "/x"}},
        "storage": {"p": {}},
    }
)
def test_what_the_validator_accepts_the_schema_accepts_too(document: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "cluster.yaml")
        path.write_text(as_yaml(document))
        try:
            load(path)
        except Rejected:
            return
    errors = [f"{list(error.instance_path)}: {error.message}" for error in VALIDATOR.iter_errors(document)]
    assert errors == []


def test_most_generated_kinds_of_entry_are_accepted_at_least_once(tmp_path: Path) -> None:
    """Guards the property above: a generator whose documents are all refused would prove nothing."""
    accepted: set[str] = set()

    @settings(
        max_examples=600,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
        derandomize=True,
    )
    @given(DOCUMENTS)
    def collect(document: dict[str, Any]) -> None:
        path = tmp_path / "cluster.yaml"
        path.write_text(as_yaml(document))
        try:
            load(path)
        except Rejected:
            return
        accepted.update(section for section, value in document.items() if value)

    collect()
    assert accepted >= {"hosts", "networks", "storage", "images", "vms", "profiles", "defaults"}


@pytest.mark.parametrize(
    "document",
    [
        {"vm": {}},
        {"vms": {"a": {"memry": 1}}},
        {"vms": {"a": None}},
        {"vms": {"a": {"count": 0}}},
        {"vms": {"a": {"state": "runing"}}},
        {"vms": {"a": {"nics": "lan"}}},
        {"vms": {"Bad_Name": {}}},
        {"vms": {"a": {"cpus": "x"}}},
        {"vms": {"a": {"for": {}}}},
        {"hosts": {"a": {"count": 2}}},
        {"profiles": {"p": {"count": 2}}},
        {"defaults": {"vmz": {}}},
        {"apiVersion": "v2"},
    ],
)
def test_what_the_schema_can_see_it_refuses(document: dict[str, Any]) -> None:
    assert not VALIDATOR.is_valid(document)


def test_the_schema_file_is_fresh() -> None:
    from kvmdecl.pluginhost import load_plugins

    file = Path(__file__).parents[2] / "schemas" / "cluster.v1.json"
    assert file.read_text() == render_schema(load_plugins().sections()), (
        "run: kvmdecl schema -o schemas/cluster.v1.json"
    )


def test_every_field_of_the_schema_has_a_description() -> None:
    schema = make_schema({})
    bare = [
        f"{name}.{key}"
        for name, definition in [("", schema), *schema["$defs"].items()]
        for form in definition.get("anyOf", [definition])
        for key, field in form.get("properties", {}).items()
        if not field.get("description")
    ]
    assert bare == []


def test_a_plugins_section_is_part_of_the_schema() -> None:
    validator = jsonschema_rs.validator_for(make_schema({"backup": BACKUP}))
    assert validator.is_valid({"backup": {"keep": 3}})
    assert not validator.is_valid({"backup": {"kep": 3}})
    assert not VALIDATOR.is_valid({"backup": {"keep": 3}})


@given(st.text())
def test_safe_text_is_printable_and_stable(text: str) -> None:
    assert safe_text(text).isprintable()
    assert safe_text(safe_text(text)) == safe_text(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 日本 🙂", "plain é 日本 🙂"),
        ("\x1b[31m", "\\x1b[31m"),
        ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
        ("\u202e\u200b\ufeff\u2028", "\\u202e\\u200b\\ufeff\\u2028"),
        ("\U000e0041", "\\U000e0041"),
        ("\ud800", "\\ud800"),
        ("\x9b\xa0", "\\x9b\\xa0"),
    ],
)
def test_safe_text_shows_what_would_act_or_hide(text: str, shown: str) -> None:
    assert safe_text(text) == shown


@pytest.mark.parametrize(
    ("word", "meant"),
    [("memry", "memory"), ("Memory", "memory"), ("autostrat", "autostart"), ("cloudInit", "cloud_init"),
    ("cpu", "cpus"), ("zzz", None)],
)  # fmt: skip
def test_a_slip_finds_the_word_that_was_meant(word: str, meant: str | None) -> None:
    assert closest(word, ["memory", "autostart", "cloud_init", "cpus", "disk"]) == meant


def test_of_two_words_as_near_that_with_the_same_letters_was_meant() -> None:
    assert closest("lna", ["lan", "nat"]) == "lan"


def test_a_word_of_a_megabyte_is_not_compared() -> None:
    assert did_you_mean("x" * 10**6, ["memory"]) == ""
