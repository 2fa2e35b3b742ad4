"""What git knows of a manifest's files: which lines changed, and how they were. Reads; no repository is changed."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from kvmdecl.diagnostics import Diagnostic, Rejected
from kvmdecl.text import quoted, safe_text

if TYPE_CHECKING:
    from collections.abc import Mapping

_HUNK = re.compile(r"@@ -\d+(?:,(?P<gone>\d+))? \+(?P<first>\d+)(?:,(?P<count>\d+))? @@")
_SECONDS = 120


def changed_lines(base: str, folder: Path | None = None) -> Mapping[str, frozenset[int]]:
    """The lines that the commits since `base` added or changed, by file as it is called from here.

    Args:
        base: a revision; what it has and the present commit has not is no change of these lines.
        folder: to look in; the working folder if not given.

    Raises:
        Rejected: `git.failed`, for example where the history of a shallow clone does not reach back to it.
    """
    options = ["--unified=0", "--no-color", "--no-ext-diff", "--no-textconv", "--no-prefix", "--relative"]
    text = git("-c", "core.quotePath=false", "diff", *options, f"{base}...", "--", folder=folder)
    found: dict[str, set[int]] = {}
    lines: set[int] = set()
    left = iter(text.split("\n"))
    for line in left:
        if line.startswith("+++ "):
            lines = found.setdefault(line[4:].split("\t")[0], set())
        elif hunk := _HUNK.match(line):
            first, count = int(hunk["first"]), int(hunk["count"] or 1)
            lines.update(range(first, first + count))
            for _ in range(count + int(hunk["gone"] or 1)):  # what changed may look like a header
                next(left, "")
    return {file: frozenset(numbers) for file, numbers in found.items()}


def commits(words: str) -> tuple[str, str]:
    """The two commits of `OLD..NEW`, or of `OLD...NEW` (from where they parted); the second is empty for `OLD` alone.

    Raises:
        Rejected: `git.failed`, if there is no such revision.
    """
    old, dots, new = words.partition("...") if "..." in words else words.partition("..")
    first = _commit(old or "HEAD")
    if not dots:
        return first, ""
    second = _commit(new or "HEAD")
    return (git("merge-base", first, second).strip() if dots == "..." else first), second


def _commit(revision: str) -> str:
    return git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}").strip()


def export(commit: str, folder: Path) -> Path:
    """Write the files of a commit into a folder; returns where in it the working folder's counterpart is.

    Raises:
        Rejected: `git.failed`.
    """
    top, prefix = git("rev-parse", "--show-toplevel", "--show-prefix").split("\n")[:2]
    # An index of its own: that of the repository is the user's, and somebody may be working with it.
    index, tree = {"GIT_INDEX_FILE": str(folder / "index")}, folder / "tree"
    git("read-tree", commit, folder=Path(top), more=index)
    git("checkout-index", "--all", "--force", f"--prefix={tree}/", folder=Path(top), more=index)
    return tree / prefix


def git(*arguments: str, folder: Path | None = None, more: Mapping[str, str] | None = None) -> str:
    """What git answers. `more` is added to its environment.

    Raises:
        Rejected: `git.failed`, with what git said.
    """
    try:
        done = subprocess.run(
            ["git", *arguments],
            capture_output=True,
            check=False,
            cwd=folder,
            env={**os.environ, **(more or {})},
            stdin=subprocess.DEVNULL,
            timeout=_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Rejected([_failed(arguments, str(error))]) from error
    if done.returncode:
        raise Rejected([_failed(arguments, done.stderr.decode("utf-8", "replace").strip())])
    return done.stdout.decode("utf-8", "replace")


def _failed(arguments: tuple[str, ...], said: str) -> Diagnostic:
    hint = "in CI, fetch the history that is compared with (`fetch-depth: 0` of actions/checkout)"
    if "not a git repository" in said:
        hint = "run it inside of the repository that holds the manifest"
    return Diagnostic(
        "git.failed",
        f"git {quoted(' '.join(arguments))} failed",
        cause=safe_text(said.splitlines()[0] if said else "It says no more; there may be no such revision."),
        hint=hint,
    )
