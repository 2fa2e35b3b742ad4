"""What is written about the project is true and fit for everybody."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


@cache
def tracked() -> tuple[Path, ...]:
    """All files of the project."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    return tuple(ROOT / name for name in listed if (ROOT / name).is_file())


def test_no_file_knows_the_machine_it_was_written_on():
    places = {str(ROOT), f"{Path.home()}/"} - {"/"}

    found = [
        f"{path.relative_to(ROOT)}: {place}"
        for path in tracked()
        for place in places
        if place in path.read_text(errors="replace")
    ]
    assert found == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files_and_headings_that_exist(document: Path):
    text = re.sub(r"```.*?```", "", document.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", text):
        name, _, heading = target.partition("#")
        path = document.parent / name if name else document
        assert path.exists(), f"{document.name}: {target}"
        assert not heading or heading in _headings(path), f"{document.name}: {target}"


def _headings(path: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_make_help_lists_every_target_that_a_user_calls():
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: ((?:.*\\\n)*.*)", makefile, re.MULTILINE)
    assert phony is not None

    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in phony.group(1).replace("\\\n", " ").split():
        assert target.startswith("system-") or f"make {target} " in listed


def test_scripts_can_be_run():
    for path in (*(ROOT / "scripts").glob("*.sh"), ROOT / ".ci/run"):
        assert path.stat().st_mode & 0o111, path
        subprocess.run(["bash", "-n", path], check=True)


def test_the_architectures_layers_are_those_that_are_checked():
    import tomllib

    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    drawn = re.search(r"```text layers\n(.*?)```", (ROOT / "docs/architecture.md").read_text(), re.DOTALL)
    assert drawn is not None

    words = [re.findall(r"[a-z_]+", line.partition("  ")[0]) for line in drawn.group(1).splitlines()]
    assert words == [layer.split(" | ") for layer in contract["layers"]]


def test_the_reference_of_the_manifest_is_what_the_models_say():
    script = runpy.run_path(str(ROOT / "scripts/manifest_reference.py"))

    assert (ROOT / "docs/manifest.md").read_text() == script["render"](), "run `make schemas`"
    assert (ROOT / "docs/ha.md").read_text() == script["render_ha"](), "run `make schemas`"


def test_the_reference_of_the_commands_and_their_man_pages_are_what_the_commands_say():
    made = runpy.run_path(str(ROOT / "scripts/cli_reference.py"))["pages"]()

    assert {path: path.read_text() for path in made} == made, "run `make help-texts`"
    assert {*(ROOT / "docs/man").iterdir()} == {path for path in made if path.suffix == ".1"}


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_man_reads_the_pages_without_a_warning():
    pages = sorted((ROOT / "docs/man").iterdir())
    answer = subprocess.run(["groff", "-man", "-ww", "-z", *pages], capture_output=True, text=True)

    assert (answer.returncode, answer.stderr) == (0, "")


def test_the_site_and_the_readme_lead_to_every_page():
    nav = re.search(r"^nav:\n(.*)", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE | re.DOTALL)
    assert nav is not None
    led_to = set(re.findall(r"[a-z-]+\.md", nav.group(1)))

    readme = (ROOT / "README.md").read_text()
    assert [path.name for path in (ROOT / "docs").glob("*.md") if f"(docs/{path.name})" not in readme] == []
    assert led_to - {"index.md", "clusters.md", "codes.md", "changelog.md"} == {
        path.name for path in (ROOT / "docs").glob("*.md")
    }
