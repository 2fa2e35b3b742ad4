"""`kvmdecl fmt`: what differs from the rest of its file becomes as the rest; a slip in every style goes."""

from __future__ import annotations

import io
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from kvmdecl.cli.main import run
from kvmdecl.diagnostics import Rejected
from kvmdecl.layout import said, tidied
from kvmdecl.layout.words import Page
from kvmdecl.source import Source
from tests.layout.pages import Scribe

QUIET = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))

STORIES = {
    # slips in every style
    "blanks at ends of lines": ("a: 1 \n# why\t\nb: |  \n  text  \n", "a: 1\n# why\nb: |\n  text  \n"),
    "blanks on empty lines": ("a: 1\n  \nb: 2\n", "a: 1\n\nb: 2\n"),
    "tabs between words": ("a:\t1\nb: {c:\t2}\t# why\n", "a: 1\nb: {c: 2} # why\n"),
    "three empty lines": ("a: 1\n\n\n\nb: 2\n", "a: 1\n\n\nb: 2\n"),
    "empty lines at both ends": ("\n\na: 1\n\n", "a: 1\n"),
    "a last line without an end": ("a: 1", "a: 1\n"),
    "most lines end as on Windows": ("a: 1\r\nb: 2\nc: 3\r\n", "a: 1\r\nb: 2\r\nc: 3\r\n"),
    # what the rest of the file does
    "a block that is indented further": (
        "a:\n  b: 1\nc:\n    d: 1\ne:\n  f: 1\n",
        "a:\n  b: 1\nc:\n  d: 1\ne:\n  f: 1\n",
    ),
    "a block that is indented less": (
        "a:\n    b: 1\nc:\n  d: 1\ne:\n    f: 1\n",
        "a:\n    b: 1\nc:\n    d: 1\ne:\n    f: 1\n",
    ),
    "one way and the other as often": ("a:\n    b: 1\nc:\n  d: 1\n", "a:\n  b: 1\nc:\n  d: 1\n"),
    "items in the column of their key": (
        "a:\n- 1\n- 2\nb:\n  - k: 3\n    l: 4\nc:\n- 5\n",
        "a:\n- 1\n- 2\nb:\n- k: 3\n  l: 4\nc:\n- 5\n",
    ),
    "items below their key": (
        "a:\n- |\n  x\nb:\n  - 3\nc:\n  - 5\n",
        "a:\n  - |\n    x\nb:\n  - 3\nc:\n  - 5\n",
    ),
    "a wide dash": (
        "a:\n  - k: 1\n  -   k: 2\n      l: 3\n  - k: 4\n",
        "a:\n  - k: 1\n  - k: 2\n    l: 3\n  - k: 4\n",
    ),
    "comments go along": (
        "a:\n  b: 1\nc:\n    # of d\n    d:  # of d\n        e: 1\n        # of e\n    # of c\n# of f\nf:\n  g: 1\n",
        "a:\n  b: 1\nc:\n  # of d\n  d:  # of d\n    e: 1\n    # of e\n  # of c\n# of f\nf:\n  g: 1\n",
    ),
    "texts go along": (
        "a:\n    b: |2\n         x\n      \n      y\n    c: >\n       z\n    d: 'q\n\n      r'\ne:\n  f: 1\n",
        "a:\n  b: |2\n       x\n    \n    y\n  c: >\n     z\n  d: 'q\n\n    r'\ne:\n  f: 1\n",
    ),
    "blanks in braces": ("a: {b: 1}\nc: { d: 1 }\ne: {f: 1}\n", "a: {b: 1}\nc: {d: 1}\ne: {f: 1}\n"),
    "blanks around signs": (
        "a: [b,c , d, e,  f]\nb : {c:  1, d: 2}\n",
        "a: [b, c, d, e, f]\nb: {c: 1, d: 2}\n",
    ),
    "blanks before comments": ("a: 1  # x\nbc: 2  # y\nd: 3 # z\n", "a: 1  # x\nbc: 2  # y\nd: 3  # z\n"),
    "too wide without a reason": ("a:  1\nbcd:   2\ne: 3\n", "a: 1\nbcd: 2\ne: 3\n"),
}

STYLES = [
    "a:   1\nbcd: 2\n",  # columns
    "a:      1\nlonger-than-its-column: 2\nb:      3\n",
    "a:     1\nblock:\n  c: 2\n",
    "a: {b: 1,  c: 22}\nd: {b: 11, c: 2}\n",
    "a: 1     # one\nbcd: 22  # two\n         # and a half\n\ne: 3     # three\n",
    "名:  1  # wide\nabc: 22 # narrow\n",
    "a: 1           # far\n\nb:\n  c: 2     # and not so far\n",
    "a : 1\nb : 2\n",
    "a: [b,c]\nd: [e,f]\n",
    '{"a":1,"b":[1,2]}\n',
    "a:\n   b:\n      - c\n      -   - d\n",
    "a: 1\n\n\nb: 2\n",
    "? a\n: b\n",
    "a: &x 1\nb: {c: *x , d: *x}\n",  # the blank keeps the sign from being a part of the name
    "--- # one\na: |+\n  x\n\n\n\n",
    "a: |\n  x",  # with an end, the text would have one, too
    "a: 'x  \n\n\n\n  y'\n",
    "#a: 1\n#\tb\na: 1\n",
]


@pytest.mark.parametrize("story", STORIES)
def test_what_differs_from_the_rest_becomes_as_the_rest(story: str):
    before, after = STORIES[story]

    assert laid_out(before) == after
    assert laid_out(after) == after


@pytest.mark.parametrize("text", STYLES)
def test_what_somebody_keeps_to_stays(text: str):
    assert laid_out(text) == text


@QUIET
@given(st.integers(0, 2**32))
@example(306)
def test_any_page_says_the_same_and_is_laid_out_once_and_for_all(lot: int):
    _laid_out_once(Scribe(Random(lot)).page())


SIGNS = [
    *"{}[]:,-?!|>'\"# \t\n",
    "&a ",
    "*a",
    "\r\n",
    "\x85",
    "---\n",
    "\n  ",
    "\n    ",
    ": ",
    ", ",
    "- ",
    "? ",
]
WORDS = ["a", "日", ":b", "'a'", " # c", "a: ", "b: ", "[a, b]", "{a: b}", "|\n  x\n"]


@QUIET
@given(st.lists(st.sampled_from(SIGNS + WORDS), max_size=14).map("".join))
@example("a:  # c\n-  a: {a: b}#:")
def test_any_yaml_says_the_same_and_is_laid_out_once_and_for_all(text: str):
    _laid_out_once(f"a: {text}")


@pytest.mark.proof
@pytest.mark.timeout(1800)
def test_ten_thousand_pages_say_the_same_and_are_laid_out_once_and_for_all():
    done = sum(_laid_out_once(Scribe(Random(lot)).page()) for lot in range(13_000))

    assert done >= 10_000


def _laid_out_once(text: str) -> bool:
    """Whether it is a manifest's YAML; if so, all that must hold holds."""
    try:
        after = laid_out(text)
    except Rejected:
        return False
    assert laid_out(after) == after
    assert said(Page(after)) == said(Page(text))
    return True


def laid_out(text: str) -> str:
    return tidied(Source("cluster.yaml", text))


# -- the command ---------------------------------------------------------------------------------------------

UNTIDY, TIDY = b"\xef\xbb\xbfa: 1 \r\nb: 2\r\n", b"\xef\xbb\xbfa: 1\r\nb: 2\r\n"


def test_files_and_folders_are_laid_out_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    first, second, third = (tmp_path / name for name in ("a.yaml", "b.yaml", "c.yml"))
    first.write_bytes(UNTIDY)
    second.write_bytes(TIDY)
    third.write_text("a: [\n")
    (tmp_path / "cluster.lock.yaml").write_text("a:  1")
    was = second.stat().st_mtime_ns

    assert run(["fmt", str(tmp_path), str(first)]) == 1
    said = capsys.readouterr()
    assert said.out == f"{first}: 1 line\n"
    assert "error[yaml.syntax]" in said.err
    assert first.read_bytes() == TIDY
    assert (second.stat().st_mtime_ns, (tmp_path / "cluster.lock.yaml").read_text()) == (was, "a:  1")
    assert run(["fmt", str(first), str(second)]) == 0
    assert capsys.readouterr().out == "2 files keep to their style.\n"


def test_a_check_shows_what_would_change_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "cluster.yaml"
    path.write_bytes(UNTIDY)

    assert run(["fmt", "--check", str(path)]) == 1
    assert capsys.readouterr().out == f"--- {path}\n+++ {path}\n@@ -1,2 +1,2 @@\n-a: 1 \n+a: 1\n b: 2\n"
    assert path.read_bytes() == UNTIDY
    path.write_bytes(TIDY)
    assert run(["fmt", "--check", str(path)]) == 0
    path.write_bytes(b"a: 1\r\nb: 2\nc: 3\r\nd: 4")
    monkeypatch.setenv("CLICOLOR_FORCE", "1")
    assert run(["fmt", "--check", str(path)]) == 1
    shown = capsys.readouterr().out
    assert "\x1b[31m-b: 2\x1b[0m\n\x1b[32m+b: 2\\r\x1b[0m\n c: 3\\r\n" in shown
    assert "-d: 4\x1b[0m\n\\ No newline at end of file\n\x1b[32m+d: 4\\r" in shown


def test_standard_input_goes_to_standard_output(
    capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
):
    for check, code, out in (
        ([], 0, TIDY),
        (["--check"], 1, b"--- <stdin>\n+++ <stdin>\n@@ -1,2 +1,2 @@\n-a: 1 \n+a: 1\n b: 2\n"),
    ):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(UNTIDY)))
        assert run(["fmt", "-", *check]) == code
        assert capsysbinary.readouterr().out == out
