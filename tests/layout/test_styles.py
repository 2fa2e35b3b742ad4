"""Acceptance: whatever the hand that wrote a file, no edit changes a line that it is not about."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import SequenceMatcher
from pathlib import Path

import pytest

from kvmdecl.adopt.splice import splice
from kvmdecl.layout import tidied
from kvmdecl.mend import mended
from kvmdecl.pluginhost import load_plugins
from kvmdecl.rewrite import rewritten
from kvmdecl.source import BYTE_ORDER_MARK, Source
from tests.layout.styles import styles, written

ALL = list(styles(200))


def laid_out(text: str) -> str:
    return tidied(Source("cluster.yaml", text.removeprefix(BYTE_ORDER_MARK)))


def test_a_file_that_keeps_to_a_style_stays_as_it_is():
    texts = [written(style).removeprefix(BYTE_ORDER_MARK) for style in ALL]

    assert [text for text in texts if laid_out(text) != text] == []


def test_the_manifests_that_come_with_kvmdecl_stay_as_they_are():
    texts = [path.read_text() for path in sorted(Path("clusters").rglob("*.yaml"))]
    texts.append(Path("kvmdecl/cli/init-cluster.yaml").read_text())

    assert [text for text in texts if laid_out(text) != text] == []


def _blanks_at_an_end(text: str, end: str) -> str:
    return text.replace(f"hosts:{end}", f"hosts: \t {end}")


def _another_indentation(text: str, end: str) -> str:
    before, hosts, after = re.split("(hosts:.*?networks:)", text, maxsplit=1, flags=re.DOTALL)
    return before + re.sub(r"(?<=\n)( +)", r"\1\1", hosts) + after


def _an_end_of_another_system(text: str, end: str) -> str:
    return text.replace(f"hosts:{end}", "hosts:\n" if end == "\r\n" else "hosts:\r\n")


def _no_end_of_the_last_line(text: str, end: str) -> str:
    return text.removesuffix(end)


SLIPS = (_blanks_at_an_end, _another_indentation, _an_end_of_another_system, _no_end_of_the_last_line)


def test_a_slip_is_mended_and_no_other_line_is_touched():
    for style, slip in zip(ALL, SLIPS * 12, strict=False):
        text = written(style).removeprefix(BYTE_ORDER_MARK)
        slipped = slip(text, style.line_end)
        assert slipped != text
        assert laid_out(slipped) == text, (slip, style)


EVERY = [pytest.param(1, marks=pytest.mark.proof), pytest.param(40, marks=())]
"""All of them take half a minute."""


@pytest.mark.parametrize("step", EVERY)
def test_edits_change_the_line_that_they_are_about(step: int, tmp_path: Path):
    path = tmp_path / "cluster.yaml"
    plugins = load_plugins()
    for style in ALL[::step]:
        text = written(style).removeprefix(BYTE_ORDER_MARK)
        path.write_bytes(written(style).encode())

        assert [*_changed(text, rewritten(path, "vms.db.memory", "8GiB")[path])] == [(1, "8GiB")], style
        assert [*_changed(text, rewritten(path, "vms.web.autostart", "false")[path])] == [(1, "false")], style
        assert [*_changed(text, rewritten(path, "vms.db.clock", None)[path])] in ([(1, "")], [(1, "}")]), (
            style
        )
        assert [*_changed(text, mended(path, plugins)[path])] in ([(1, "")], [(1, "}")]), style
        assert [*_changed(text, splice("cluster.yaml", text, "vms", ["new:", "  memory: 2GiB"]))] == [
            (2, "2GiB")
        ]


def _changed(before: str, after: str) -> Iterator[tuple[int, str]]:
    """How many lines each difference has, and how the last of them ends."""
    old, new = before.split("\n"), after.split("\n")
    for kind, start, end, begin, stop in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind != "equal":
            said = re.search(r"(\w*|\})[\"' ]*(?:\}|#.*)?\r?$", new[stop - 1] if stop > begin else "")
            yield max(end - start, stop - begin), said.group(1) if said else ""
