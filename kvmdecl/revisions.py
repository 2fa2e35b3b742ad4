"""What git knows of a manifest's files: which lines changed, and how they were. Reads; no repository is changed."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

from kvmdecl.diagnostics import Diagnostic, Rejected
from kvmdecl.text import quoted, safe_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

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


def git(*arguments: str, folder: Path | None = None) -> str:
    """What git answers.

    Raises:
        Rejected: `git.failed`, with what git said.
    """
    try:
        done = subprocess.run(
            ["git", *arguments],
            capture_output=True,
            check=False,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            timeout=_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Rejected([_failed(arguments, str(error))]) from error
    if done.returncode:
        raise Rejected([_failed(arguments, done.stderr.decode("utf-8", "replace").strip())])
    return done.stdout.decode("utf-8", "replace")


def _failed(arguments: tuple[str, ...], said: str) -> Diagnostic:
    return Diagnostic(
        "git.failed",
        f"git {quoted(' '.join(arguments))} failed",
        cause=safe_text(said.splitlines()[0] if said else "It said nothing."),
        hint="fetch the history that is compared with (`fetch-depth: 0` of actions/checkout)",
    )
