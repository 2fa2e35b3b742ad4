"""Each folder beside this file is a story: what the user wrote, what the hosts held, and everything that kvmdecl says.

`pytest tests/scenarios --update-golden` rewrites `expected/`; read the difference before you commit it. What
the hosts held was recorded from real ones: `record.py` does it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from kvmdecl.scenario import run_scenario

HERE = Path(__file__).parent
STORIES = sorted(path.parent.name for path in HERE.glob("*/cluster.yaml"))  # not those of before/


@pytest.mark.parametrize("name", STORIES)
def test_the_story_ends_as_expected(name: str, request: pytest.FixtureRequest):
    folder = HERE / name
    told = run_scenario(folder)

    if request.config.getoption("--update-golden"):
        _rewrite(folder / "expected", told)
    expected = {str(p.relative_to(folder / "expected")): p.read_text() for p in _files(folder / "expected")}

    assert told == expected


@pytest.mark.parametrize("name", STORIES)
def test_the_first_line_of_the_manifest_tells_the_story(name: str):
    assert (HERE / name / "cluster.yaml").read_text().startswith("# ")


def test_the_same_input_gives_the_same_bytes():
    assert run_scenario(HERE / "first-plan") == run_scenario(HERE / "first-plan")


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _rewrite(folder: Path, told: dict[str, str]) -> None:
    for path in _files(folder):
        path.unlink()
    for name, text in told.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
