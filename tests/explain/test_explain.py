"""Every code has a page, and every example on a page does what it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import kvmdecl
from kvmdecl import explain
from kvmdecl.diagnostics import Rejected
from kvmdecl.load import load

PACKAGE = Path(kvmdecl.__file__).parent
AREAS = ("yaml", "manifest", "unit", "expand", "explain")
_CODE = re.compile(r'"((?:' + "|".join(AREAS) + r')\.[a-z0-9-]+)"')
_BLOCK = re.compile(r"```yaml (bad|good)\n(.*?)```", re.DOTALL)


def used_codes() -> set[str]:
    found = {code for file in PACKAGE.rglob("*.py") for code in _CODE.findall(file.read_text())}
    models = "".join(file.read_text() for file in (PACKAGE / "manifest").glob("*.py"))
    # `wrong("disk", ...)` in a model becomes `manifest.bad-disk`.
    return found | {f"manifest.bad-{what}" for what in re.findall(r'wrong\(\s*"([a-z-]+)",', models)}


EXAMPLES = [
    pytest.param(code, kind, text, id=f"{code}-{kind}")
    for code, file in explain.codes().items()
    if code.partition(".")[0] in AREAS
    for kind, text in _BLOCK.findall(file.read_text())
]


def test_every_code_of_loading_has_a_page_and_every_page_a_code() -> None:
    pages = {code for code in explain.codes() if code.partition(".")[0] in AREAS}
    assert pages == used_codes()


def test_a_page_begins_with_its_code_and_a_title() -> None:
    for code in explain.codes():
        assert re.match(rf"# {re.escape(code)}: \S.*\n", explain.page(code)), code


@pytest.mark.parametrize(("code", "kind", "text"), EXAMPLES)
def test_the_examples_of_a_page_do_what_it_says(tmp_path: Path, code: str, kind: str, text: str) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(text)
    if kind == "good":
        load(path)
        return
    with pytest.raises(Rejected) as rejected:
        load(path)
    assert {found.code for found in rejected.value.diagnostics} == {code}


def test_most_pages_have_an_example() -> None:
    assert len({example.values[0] for example in EXAMPLES}) >= 30


def test_the_overview_lists_every_code_with_its_title() -> None:
    lines = explain.overview().splitlines()
    assert len(lines) == len(explain.codes())
    assert any(re.fullmatch(r"unit\.ambiguous +a size whose unit is not exact", line) for line in lines)


@pytest.mark.parametrize("code", ["unit.ambigous", "UNIT.ambiguous", "unit-ambiguous"])
def test_an_unknown_code_is_answered_with_the_nearest(code: str) -> None:
    with pytest.raises(Rejected) as rejected:
        explain.page(code)
    assert rejected.value.diagnostics[0].hint == "did you mean `unit.ambiguous`?"


@pytest.mark.parametrize("code", ["../../etc/passwd", "", "\x1b[31m", "/etc/passwd", "a" * 10_000])
def test_a_code_is_never_taken_for_a_path(code: str) -> None:
    with pytest.raises(Rejected) as rejected:
        explain.page(code)
    assert [found.code for found in rejected.value.diagnostics] == ["explain.unknown-code"]
    assert "\x1b" not in rejected.value.diagnostics[0].summary


def test_a_plugins_pages_are_found_without_importing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "kvmdecl_sample_pages"
    (package / "codes").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (package / "codes" / "sample.wrong.md").write_text("# sample.wrong: a sample\n\nText.\n")
    (package / "codes" / "yaml.tag.md").write_text("# yaml.tag: replaced\n")
    info = tmp_path / "sample_pages-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sample-pages\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[kvmdecl]\nsample = kvmdecl_sample_pages.plugin:hooks\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert explain.page("sample.wrong").startswith("# sample.wrong: a sample")
    assert "replaced" not in explain.page("yaml.tag")
