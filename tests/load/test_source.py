"""Reading: places that are exact, files that are refused, and bombs that do not go off."""

from __future__ import annotations

import gc
import importlib.util
import inspect
import os
import sys
import time
from typing import TYPE_CHECKING

import pytest

from kvmdecl import source
from kvmdecl.diagnostics import Rejected
from kvmdecl.load import host_names, load

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.load.conftest import Loader


def tree(text: str) -> source.Mapping:
    root, found = source.parse(source.Source("t.yaml", text))
    assert found == []
    return root


def place(node: source.Node | None) -> tuple[int, int, int, int]:
    assert node is not None
    span = node.span
    return span.line, span.column, span.end_line, span.end_column


@pytest.mark.parametrize("before", ["", "# 🙂 日本\n", "é: ü\n", "# x\r\n", "a: |\n  text\n\n"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_places_are_exact_after_wide_characters_comments_and_any_line_end(before: str, end: str) -> None:
    root = tree(before + f"key: {{inner: [one, 'two 🙂', three]}}{end}last: x{end}")
    line = len(source._LINE_END.findall(before)) + 1
    key = root.get("key")
    assert isinstance(key, source.Mapping)
    items = key.get("inner")
    assert isinstance(items, source.Sequence)
    assert [place(item) for item in items.items] == [
        (line, 15, line, 18), (line, 20, line, 27), (line, 29, line, 34),
    ]  # fmt: skip
    assert place(root.entries["last"][0]) == (line + 1, 1, line + 1, 5)


def test_a_block_ends_with_its_last_value_and_not_with_the_comments_after_it() -> None:
    root = tree("a:\n  b: 1\n\n# far\n\nc: |\n  text\n\n\nd: 1\n")
    assert place(root.get("a")) == (2, 3, 2, 7)
    assert place(root.get("c")) == (6, 4, 7, 7)


def test_a_last_line_without_an_end_has_its_text_on_it() -> None:
    assert place(tree("a: 1\nb: two").get("b")) == (2, 4, 2, 7)
    assert place(tree("a: {b: 1}")) == (1, 1, 1, 10)


def test_only_line_feeds_and_carriage_returns_begin_a_line() -> None:
    root = tree("a: 'x\x85y\u2028z'\nb: 1\rc: 2\r\nd: 3\n")
    assert [place(key)[0] for key, _ in root.entries.values()] == [1, 2, 3, 4]


def test_exactly_the_characters_that_yaml_allows_may_stand_in_a_manifest() -> None:
    allowed = {*"\t\n\r\x85", *map(chr, range(0x20, 0x7F)), *map(chr, range(0xA0, 0xD800))}
    allowed |= {*map(chr, range(0xE000, 0xFFFE)), *map(chr, range(0x10000, 0x110000))}
    refused = set(source._NOT_YAML.findall("".join(map(chr, range(0x110000)))))
    assert refused == {*map(chr, range(0x110000))} - allowed | {"\ufeff"}


def test_a_byte_order_mark_does_not_move_the_columns(manifest: Loader) -> None:
    path = manifest.write("\ufeffkey: value\n".encode())
    root, _ = source.read_file(path)
    assert place(root.get("key")) == (1, 6, 1, 11)
    assert source.line_reader()(str(path), 1) == "key: value"


def test_text_is_kept_as_typed_and_only_plain_text_can_be_null() -> None:
    root = tree("a: ~\nb: '~'\nc:\nd: ''\ne: null\nf: 010\n")
    assert source.to_data(root) == {"a": None, "b": "~", "c": None, "d": "", "e": None, "f": "010"}


def test_an_alias_repeats_the_node_with_the_place_of_its_anchor() -> None:
    root = tree("a: &x {b: 1}\nc: *x\n*k : 2\n".replace("*k", "d"))
    assert root.get("c") is root.get("a")
    assert source.to_data(root) == {"a": {"b": "1"}, "c": {"b": "1"}, "d": "2"}


def test_an_alias_may_be_a_key_and_has_its_own_place() -> None:
    root = tree("a: &k name\n*k : 1\n")
    assert place(root.entries["name"][0]) == (2, 1, 2, 3)


FATAL = {
    "syntax": ("a: [1\n", "yaml.syntax", (1, 4)),
    "control character": ("a: \x1b[31m\n", "yaml.control-character", (1, 4)),
    "NUL": ("a: b\nc: \x00\n", "yaml.control-character", (2, 4)),
    "inner byte order mark": ("a: b\ufeff\n", "yaml.control-character", (1, 5)),
    "not UTF-8": (b"a: \xc3\xa9\nb: \xff\n", "yaml.not-utf8", (2, 4)),
    "UTF-16": ("a: b".encode("utf-16"), "yaml.not-utf8", (1, 1)),
    "two documents": ("a: b\n---\nc: d\n", "yaml.many-documents", (2, 1)),
    "conflict": ("a: b\n<<<<<<< HEAD\nc: d\n", "yaml.merge-conflict", (2, 1)),
    "unknown alias": ("a: *b\n", "yaml.unknown-alias", (1, 4)),
    "alias in itself": ("a: &a [*a]\n", "yaml.alias-bomb", (1, 8)),
    "nothing": ("", "manifest.empty", (1, 1)),
    "comments": ("# nothing\n", "manifest.empty", (1, 1)),
    "null": ("~\n", "manifest.empty", (1, 1)),
    "list": ("- a\n", "manifest.wrong-type", (1, 1)),
    "scalar": ("hello\n", "manifest.wrong-type", (1, 1)),
    "lone surrogate": (b"a: \xed\xa0\x80\n", "yaml.not-utf8", (1, 4)),
}


@pytest.mark.parametrize(("text", "code", "at"), FATAL.values(), ids=FATAL.keys())
def test_a_file_that_cannot_be_read_is_refused_at_its_place(
    manifest: Loader, text: str | bytes, code: str, at: tuple[int, int]
) -> None:
    (found,) = manifest.reject(text, head="")
    assert found.at is not None
    assert (found.code, (found.at.line, found.at.column)) == (code, at)


SOFT = {
    "tag": ("a: !!int 3\n", "yaml.tag"),
    "python tag": ("a: !!python/object/apply:os.system ['id']\n", "yaml.tag"),
    "tag on a mapping": ("a: !x {b: c}\n", "yaml.tag"),
    "merge key": ("a: &a {b: 1}\nc: {<<: *a}\n", "yaml.merge-key"),
    "mapping as key": ("{a: b}: c\n", "yaml.bad-key"),
    "list as key": ("? [a]\n: c\n", "yaml.bad-key"),
    "null as key": ("~: c\n", "yaml.bad-key"),
    "empty key": ("'': c\n", "yaml.bad-key"),
}


@pytest.mark.parametrize(("text", "code"), SOFT.values(), ids=SOFT.keys())
def test_what_yaml_has_and_a_manifest_does_not_is_refused_and_reading_goes_on(text: str, code: str) -> None:
    _, found = source.parse(source.Source("t.yaml", text + "a2: 1\na2: 2\n"))
    assert [one.code for one in found] == [code, "yaml.duplicate-key"]


def bombs() -> dict[str, tuple[str, str]]:
    doubling = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40))
    stairs = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 100))
    merges = "a0: &a0 {x: y}\n" + "".join(
        f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}\n" for i in range(1, 40)
    )
    return {
        "50,000 open brackets": ("a: " + "[" * 50_000 + "]" * 50_000, "yaml.too-deep"),
        "brackets after much else": (
            "".join(f"k{i}: v\n" for i in range(20_000)) + "z: " + "[" * 50_000,
            "yaml.too-deep",
        ),
        "50,000 open braces": ("a: " + "{b: " * 50_000, "yaml.too-deep"),
        "500 nested blocks": ("".join(" " * i + "a:\n" for i in range(500)), "yaml.too-deep"),
        "10^12 values by aliases": (doubling, "yaml.alias-bomb"),
        "depth by aliases": (stairs, "yaml.too-deep"),
        "aliases of merge keys": (merges, "yaml.alias-bomb"),
        "20,000 aliases": ("a: &a x\nb: [" + "*a, " * 20_000 + "]\n", "yaml.alias-bomb"),
        "a huge value": (f"a: {'x' * (source.MAX_SCALAR + 1)}\n", "yaml.too-large"),
        "a huge number": (f"a: 0x{'f' * 10_000_000}\n", "yaml.too-large"),
        "a huge file": ("# " + "x" * source.MAX_BYTES, "yaml.too-large"),
        "20,000 documents": ("--- {a: b}\n" * 20_000, "yaml.many-documents"),
        "a million duplicates": ("a: b\n" * 300_000, "yaml.duplicate-key"),
    }


@pytest.mark.parametrize("name", bombs())
def test_a_bomb_is_refused_at_its_place_in_seconds(manifest: Loader, name: str) -> None:
    text, code = bombs()[name]
    path = manifest.write(text, head="")
    start = time.process_time()
    with pytest.raises(Rejected) as rejected:
        load(path)
    assert time.process_time() - start < 4
    assert code in {found.code for found in rejected.value.diagnostics}
    assert all(found.at is not None for found in rejected.value.diagnostics)


def test_the_limit_on_events_stops_the_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "MAX_EVENTS", 100)
    with pytest.raises(Rejected) as rejected:
        tree("a: [" + "x, " * 200 + "]\n")
    assert rejected.value.diagnostics[0].code == "yaml.too-large"


def test_the_deepest_nesting_that_is_allowed_is_read(manifest: Loader) -> None:
    depth = source.MAX_DEPTH - 1
    found = manifest.reject("a: " + "[" * depth + "]" * depth + "\n")
    assert [one.code for one in found] == ["manifest.unknown-key"]


def test_reading_needs_no_more_stack_for_deeper_text() -> None:
    text = "a: " + "[" * (source.MAX_DEPTH - 1) + "]" * (source.MAX_DEPTH - 1)
    needed = len(inspect.stack()) + 35
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(needed)
    try:
        root = source.parse(source.Source("t", text))[0]
    finally:
        sys.setrecursionlimit(limit)
    assert isinstance(root.get("a"), source.Sequence)


def test_the_collector_sleeps_while_loading_and_is_left_as_it_was(manifest: Loader) -> None:
    with source.gc_paused():
        assert not gc.isenabled()
        with source.gc_paused():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()
    manifest.reject("vms: []\n")
    assert gc.isenabled()


def test_without_the_c_reader_the_user_is_told_what_to_install(
    manifest: Loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "_ruamel_yaml" else real(name)
    )
    (found,) = manifest.reject("vms: {}\n")
    assert found.code == "yaml.no-reader"
    assert "pip install ruamel.yaml.clib" in found.hint


def test_a_missing_file_a_pipe_and_a_device_are_refused_without_waiting(tmp_path: Path) -> None:
    from pathlib import Path as RealPath

    os.mkfifo(tmp_path / "pipe.yaml")
    for path in (tmp_path / "none.yaml", tmp_path / "pipe.yaml", RealPath("/dev/zero"), RealPath("a\0b")):
        with pytest.raises(Rejected) as rejected:
            load(path)
        assert [one.code for one in rejected.value.diagnostics] == ["manifest.unreadable"]


def test_a_folder_is_one_manifest_whose_sections_are_merged(write: Callable[[str, str], Path]) -> None:
    folder = write("a.yaml", "apiVersion: kvmdecl/v1\ncluster: demo\nvms: {a: {}}\n").parent
    write("b.yml", "vms: {b: {profile: p}}\nprofiles: {p: {cpus: 2}}\n")
    write(".hidden.yaml", "vms: {c: {}}\n")
    write("notes.txt", "vms: {d: {}}\n")
    loaded = load(folder)
    assert [*loaded.manifest.vms] == ["a", "b"]
    assert [file.name for file in loaded.files] == ["a.yaml", "b.yml"]
    assert loaded.file_of("vms", "b").name == "b.yml"


@pytest.mark.parametrize("again", ["vms: {a: {}}\n", "cluster: other\n", "defaults: {hosts: {}}\n"])
def test_a_key_in_two_files_is_refused_naming_both(write: Callable[[str, str], Path], again: str) -> None:
    text = "apiVersion: kvmdecl/v1\ncluster: demo\ndefaults: {vms: {}}\nvms: {a: {}}\n"
    folder = write("a.yaml", text).parent
    write("b.yaml", again)
    with pytest.raises(Rejected) as rejected:
        load(folder)
    (found,) = rejected.value.diagnostics
    assert found.code == "yaml.duplicate-key"
    assert found.at is not None
    assert found.at.file.endswith("b.yaml")
    assert found.notes[0].at is not None
    assert found.notes[0].at.file.endswith("a.yaml")


def test_faults_of_all_files_are_told_together(write: Callable[[str, str], Path]) -> None:
    folder = write("a.yaml", "vms: [\n").parent
    write("b.yaml", "vms: {a: b: c}\n")
    write("c.yaml", "")
    with pytest.raises(Rejected) as rejected:
        load(folder)
    assert [one.code for one in rejected.value.diagnostics] == [
        "yaml.syntax",
        "yaml.syntax",
        "manifest.empty",
    ]


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(Rejected) as rejected:
        load(tmp_path)
    assert [one.code for one in rejected.value.diagnostics] == ["manifest.empty"]


def test_host_names_are_known_whatever_else_is_wrong(manifest: Loader) -> None:
    assert host_names(manifest.write("hosts: {'kvm-{1..2}': {}, x: y}\nvms: {a: {memory: 1G}}\n")) == (
        "kvm-1", "kvm-2", "x",
    )  # fmt: skip
    with pytest.raises(Rejected) as rejected:
        host_names(manifest.write("hosts: {'../x': {}}\n"))
    assert [one.code for one in rejected.value.diagnostics] == ["manifest.bad-name"]
