"""The files for CI systems: YAML that holds, no more rights than are needed, and scripts that do what they say."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from kvmdecl.cli.main import COMMANDS
from tests.project.conftest import World

FILES = sorted((Path(__file__).parents[2] / "docs/ci").iterdir())
_MAY_WRITE = {"comment": {"pull-requests": "write"}, "scan": {"security-events": "write"}}
HELP = Path(__file__).parents[2] / "kvmdecl/cli/help"
GITHUB = [path for path in FILES if path.name.startswith("github-")]
_RUN = re.compile(r"kvmdecl ((?:plan|validate|diff|apply|drift|history)\b[^\n']*)")


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
        assert more == _MAY_WRITE.get(name, {})
        assert not (more and "environment" in job), "who may write a comment has no key to a host"
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout"):
                assert step["with"]["persist-credentials"] is False
            assert "${{" not in step.get("run", ""), "what GitHub pastes into a script could be a program"


def test_gitlab_jobs_have_scripts_and_apply_waits_for_a_person():
    (path,) = [path for path in FILES if path.name == "gitlab-ci.yml"]
    jobs = {name: job for name, job in read(path).items() if name not in {"variables", "default"}}
    assert all(job["script"] for job in jobs.values())
    assert all("KVMDECL_COMMENTS" not in str(jobs[name]) for name in jobs if name != "comment")
    assert jobs["apply"]["rules"][0]["when"] == "manual"


HOOKS = Path(__file__).parents[2] / ".pre-commit-hooks.yaml"


def test_hooks_for_pre_commit_are_commands_that_there_are():
    hooks = YAML(typ="safe").load(HOOKS)
    assert [hook["id"] for hook in hooks] == ["kvmdecl-fmt", "kvmdecl-validate"]
    for hook in hooks:
        program, command = hook["entry"].split()
        assert (program, command in COMMANDS, hook["language"]) == ("kvmdecl", True, "python")
        assert {"name", "types"} <= hook.keys()


# -- what the scripts do ---------------------------------------------------------------------------------------

GITHUB_API = """\
#!/bin/sh
case $2 in
  --paginate) jq -r "$5" comments.json ;;
  *) echo "$*" >>calls ;;
esac
"""
GITLAB_API = """\
#!/bin/sh
case $* in
  *per_page*) cat comments.json ;;
  *) echo "$*" >>calls ;;
esac
"""
OTHERS = [
    {"id": 1, "body": "<!-- kvmdecl clusters/prod -->", "user": {"type": "User"}},
    {"id": 2, "body": "see <!-- kvmdecl clusters/prod -->", "user": {"type": "Bot"}},
    {"id": 3, "body": "<!-- kvmdecl clusters/test -->", "user": {"type": "Bot"}},
]
OURS = {"id": 4, "body": "<!-- kvmdecl clusters/prod -->\n### kvmdecl plan", "user": {"type": "Bot"}}
needs_jq = pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")


def github(name: str, job: str) -> list[str]:
    """The scripts of a job, without what installs something."""
    steps = read(Path(__file__).parents[2] / f"docs/ci/github-{name}.yml")["jobs"][job]["steps"]
    return [step["run"] for step in steps if "run" in step and " install " not in step["run"]]


def gitlab(job: str) -> list[str]:
    """The script of a job, which one shell runs."""
    script = read(Path(__file__).parents[2] / "docs/ci/gitlab-ci.yml")[job]["script"]
    assert isinstance(script, list)
    return ["\n".join(map(str, script))]


def jenkins() -> list[str]:
    """Its commands, each of which has a shell of its own."""
    return re.findall(r"sh '(.+)'\n", (Path(__file__).parents[2] / "docs/ci/Jenkinsfile").read_text())


def talked(folder: Path, script: str, tool: str, program: str, comments: list[Any], **variables: str) -> str:
    """What a job that comments asks the API for, where there are these comments."""
    (folder / tool).write_text(program)
    (folder / tool).chmod(0o755)
    (folder / "comments.json").write_text(json.dumps(comments))
    (folder / "comment.md").write_text("### kvmdecl plan\n")
    (folder / "calls").unlink(missing_ok=True)
    env = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "CLUSTER": "clusters/prod", **variables}
    subprocess.run(["bash", "-e", "-c", script], cwd=folder, env=env, check=True)
    return (folder / "calls").read_text().strip()


@needs_jq
def test_there_is_one_comment_for_each_cluster_on_github_and_nobody_elses_is_changed(tmp_path: Path):
    (script,) = github("pull-request", "comment")
    steps = read(GITHUB[-1])["jobs"]["comment"]["steps"]
    given = {
        "COMMENTS": "all",
        "EDIT": "one",
        "PAGE": "https://github.example/1",
        "MINE": steps[1]["env"]["MINE"],
    }

    first = talked(tmp_path, script, "gh", GITHUB_API, OTHERS, **given)
    again = talked(tmp_path, script, "gh", GITHUB_API, [*OTHERS, OURS], **given)

    assert first == "api --method POST all --field body=@body.md"
    assert again == "api --method PATCH one/4 --field body=@body.md"
    assert (tmp_path / "body.md").read_text() == (
        "<!-- kvmdecl clusters/prod -->\n### kvmdecl plan\n\n[The plan as a page](https://github.example/1)\n"
    )


@needs_jq
def test_there_is_one_comment_for_each_cluster_on_gitlab(tmp_path: Path):
    (script,) = gitlab("comment")
    given = {"NOTES": "notes", "KVMDECL_COMMENTS": "token"}

    first = talked(tmp_path, script, "curl", GITLAB_API, OTHERS[1:], **given)
    again = talked(tmp_path, script, "curl", GITLAB_API, [*OTHERS[1:], OURS], **given)

    assert first.endswith(" --output /dev/null --data-urlencode body@body.md notes")
    assert again.endswith(" --output /dev/null --request PUT --data-urlencode body@body.md notes/4")
    assert (tmp_path / "body.md").read_text() == "<!-- kvmdecl clusters/prod -->\n### kvmdecl plan\n"


SURROUNDINGS = {
    "CLUSTER": "clusters/prod",
    "METRICS": "kvmdecl.prom",
    "GITHUB_BASE_REF": "main",
    "GITHUB_STEP_SUMMARY": "summary.md",
    "GITHUB_OUTPUT": "output",
    "GITHUB_ENV": "env",
    "GITHUB_SHA": "0" * 40,
    "GITHUB_REF": "refs/pull/1/merge",
    "RUNNER_TEMP": "/tmp",
    "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main",
    "PAGE": "https://example/1",
    "UPLOAD": "sarifs",
}


def runs(world: World, scripts: list[str]) -> bool:
    """Run a job's scripts as its system does: the first that fails ends it. Says whether none did."""
    variables = dict(SURROUNDINGS)
    (world.folder / "env").write_text("")
    for script in scripts:
        text = script.replace("/var/lib/node_exporter", ".")
        done = world.run(f"set +u\n{text}", **variables)
        if done.returncode:
            print(done.stdout[-700:], done.stderr[-1500:])  # noqa: T201 - shown where the test fails
            return False
        variables |= dict(line.split("=", 1) for line in (world.folder / "env").read_text().splitlines())
    return True


@pytest.mark.lab
@pytest.mark.proof
@pytest.mark.timeout(600)
def test_each_job_of_each_system_runs(world: World):
    (world.folder / "bin/gh").write_text(GITHUB_API)
    (world.folder / "bin/gh").chmod(0o755)
    assert world.run("git update-ref refs/remotes/origin/main main").returncode == 0
    assert world.run("git checkout -q -- clusters/prod && git clean -qdfx -e bin").returncode == 0
    manifest = world.folder / "clusters/prod/cluster.yaml"

    # A pull request: what is wrong is told in the comment, on the page and to code scanning; then it is put right.
    good = manifest.read_text()
    manifest.write_text(good.replace("memory: 64MiB", "memry: 64MiB"))
    assert not runs(world, github("pull-request", "plan"))
    told = [(world.folder / name).read_text() for name in ("comment.md", "plan.html", "kvmdecl.sarif")]
    assert all("manifest.unknown-key" in text for text in told)
    manifest.write_text(good)
    for job in ("review", "plan", "scan"):
        assert runs(world, github("pull-request", job)), job
    assert "### kvmdecl plan · `prod` · " in (world.folder / "comment.md").read_text()
    assert "Plan for <code>prod</code>" in (world.folder / "plan.html").read_text()
    assert "--method POST sarifs --field commit_sha=" in (world.folder / "calls").read_text()

    assert runs(world, github("apply", "plan"))
    assert (world.folder / "output").read_text() == "changes=yes\n"
    assert runs(world, github("apply", "apply"))
    assert runs(world, github("drift", "drift"))

    for job in ("review", "plan", "apply", "drift"):
        assert runs(world, gitlab(job)), job
    assert runs(world, jenkins())
