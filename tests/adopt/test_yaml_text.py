"""What is written is read back as it was."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvmdecl.adopt.yaml_text import block
from kvmdecl.source import Source, parse, to_data

TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\ufeff\ufffe\uffff")
)
VALUES = st.recursive(
    TEXT | st.booleans() | st.integers(0, 10**9),
    lambda below: (
        st.lists(below, min_size=1, max_size=3)
        | st.dictionaries(TEXT.filter(bool), below, min_size=1, max_size=3)
    ),
    max_leaves=6,
)


def as_text(value: Any) -> Any:
    """Scalars as the reader gives them: the text that was typed."""
    if isinstance(value, dict):
        return {key: as_text(below) for key, below in value.items()}
    if isinstance(value, list):
        return [as_text(item) for item in value]
    return str(value).lower() if isinstance(value, bool) else str(value)


def read(text: str) -> Any:
    root, found = parse(Source("a.yaml", text))
    assert not found
    return to_data(root)


@given(st.dictionaries(st.from_regex("[a-z]{1,9}", fullmatch=True), VALUES, min_size=1, max_size=3))
def test_any_tree_of_values(values: dict[str, Any]):
    text = "\n".join(line for key, value in values.items() for line in block(key, value)) + "\n"

    assert read(text) == as_text(values)


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("lan", "a: lan"),
        ("8GiB", "a: 8GiB"),
        ("/dev/vg0/db", "a: /dev/vg0/db"),
        ("yes", 'a: "yes"'),
        ("010", 'a: "010"'),
        ("1e3", 'a: "1e3"'),
        ("52:54:00:00:00:01", 'a: "52:54:00:00:00:01"'),
        ("", 'a: ""'),
        (True, "a: true"),
        ({"count": 4, "max": 8}, "a: {count: 4, max: 8}"),
        (["lan", {"network": "wan"}], "a: [lan, {network: wan}]"),
    ],
)
def test_short_values_stand_on_one_line(value: Any, line: str):
    assert list(block("a", value)) == [line]


def test_xml_is_written_as_it_is_read():
    assert list(block("xml", "<a>\n  <b/>\n</a>\n", 2)) == ["  xml: |", "    <a>", "      <b/>", "    </a>"]
