"""Every code of the plugin has a page, and every page a code."""

from __future__ import annotations

import re
from pathlib import Path

import kvmdecl_pacemaker

PLUGIN = Path(kvmdecl_pacemaker.__file__).parent


def test_codes_and_pages_are_the_same():
    code = re.compile(r'(?:Diagnostic\(|refusal\(|vm.name,)\s*"(ha\.[a-z-]+)"')
    used = {found for file in PLUGIN.glob("*.py") for found in code.findall(file.read_text())}

    assert {page.stem for page in (PLUGIN / "codes").glob("*.md")} == used
