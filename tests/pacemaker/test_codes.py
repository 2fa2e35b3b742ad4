"""Every code of the plugin has a page, and every page a code."""

from __future__ import annotations

import re
from pathlib import Path

import kvmdecl_pacemaker

import kvmdecl

PLUGIN = Path(kvmdecl_pacemaker.__file__).parent
PAGES = {
    page.stem
    for folder in (PLUGIN, Path(kvmdecl.__file__).parent)
    for page in (folder / "codes").glob("*.md")
}
MISTAKES = 31
BY_CONSTRUCTION = {1, 2, 4, 5, 6, 13, 15, 17, 19, 20, 27, 31}
"""Those that no manifest can make."""


def test_codes_and_pages_are_the_same():
    code = re.compile(r'(?:Diagnostic\(|refusal\(|vm.name,)\s*"(ha\.[a-z-]+)"')
    used = {found for file in PLUGIN.glob("*.py") for found in code.findall(file.read_text())}

    assert {page.stem for page in (PLUGIN / "codes").glob("*.md")} == used


def test_each_of_the_known_mistakes_is_in_the_table_with_a_code_or_cannot_be_made():
    text = (Path(__file__).parents[2] / "docs/ha.md").read_text()
    rows = re.findall(r"^\| ([0-9, ]*) \| ([^|]+) \| ([^|]+) \|$", text, re.MULTILINE)
    found: dict[int, str] = {}
    for numbers, _, does in rows:
        for number in map(int, numbers.split(",")) if numbers.strip() else ():
            found[number] = f"{found.get(number, '')} {does}"
    assert sorted(found) == list(range(1, MISTAKES + 1))
    for number, does in found.items():
        codes = {code for code in re.findall(r"`((?:ha|check)\.[a-z-]+)`", does) if code in PAGES}
        assert codes or "`reference.duplicate-" in does or number in BY_CONSTRUCTION, (number, does)
        assert number not in BY_CONSTRUCTION or "right by construction" in does, (number, does)
