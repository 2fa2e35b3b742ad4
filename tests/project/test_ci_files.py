"""The files for CI systems: YAML that holds, commands that there are, and no more rights than are needed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from kvmdecl.cli.main import COMMANDS

FILES = sorted((Path(__file__).parents[2] / "docs/ci").iterdir())
HELP = Path(__file__).parents[2] / "kvmdecl/cli/help"
GITHUB = [path for path in FILES if path.name.startswith("github-")]
_RUN = re.compile(r"kvmdecl ((?:plan|validate|diff|apply|drift)\b[^\n']*)")


def read(path: Path) -> dict[str, Any]:
    document = YAML(typ="safe").load(path)
    assert isinstance(document, dict)
    return document


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_each_command_is_there_with_its_options(path: Path):
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith(("#", "//"))]
    found = _RUN.findall("\n".join(lines))
    assert found
    for line in found:
        words = shlex.split(re.split(r" [>&|#]", line)[0])
        assert words[0] in COMMANDS
        help_ = (HELP / f"{words[0]}.txt").read_text()
        for word in words[1:]:
            assert not word.startswith("--") or re.search(rf"{word}\b", help_), (path.name, line, word)


@pytest.mark.parametrize("path", GITHUB, ids=lambda path: path.name)
def test_actions_are_pinned_and_rights_are_to_read(path: Path):
    document = read(path)
    assert document["permissions"] == {"contents": "read"}
    used = re.findall(r"uses: (\S+)", path.read_text())
    assert used
    assert all(re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", each) for each in used)
    for name, job in document["jobs"].items():
        more = job.get("permissions", {})
        assert more == ({"pull-requests": "write"} if name == "comment" else {})
        assert not (more and "environment" in job), "who may write a comment has no key to a host"
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout"):
                assert step["with"]["persist-credentials"] is False
            assert "${{" not in step.get("run", ""), "what GitHub pastes into a script could be a program"


def test_gitlab_jobs_have_scripts_and_apply_waits_for_a_person():
    (path,) = [path for path in FILES if path.name == "gitlab-ci.yml"]
    jobs = {name: job for name, job in read(path).items() if name not in {"variables", "default"}}
    assert all(job["script"] for job in jobs.values())
    assert jobs["apply"]["rules"][0]["when"] == "manual"
