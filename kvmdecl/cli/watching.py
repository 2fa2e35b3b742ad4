"""`kvmdecl validate --watch`: check again whenever a file changes, and show what that changed."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from kvmdecl.cli import common

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kvmdecl.diagnostics import Diagnostic

    Check = Callable[[set[Path]], tuple[str, tuple[Diagnostic, ...]]]

_EVERY = 0.5
"""Seconds between two looks. Looking takes no system's help, so it also works on NFS and in containers."""
_SETTLE = 0.1
"""Seconds in which nothing may change before a file counts as written."""


def watch(path: Path, check: Check, wait: Callable[[float], None] = time.sleep) -> None:
    """Check, and check again after each change, until Ctrl-C.

    Args:
        path: of the manifest.
        check: returns a line that says what was checked, and warnings; adds the files to which the manifest leads.
        wait: for some seconds.
    """
    from kvmdecl.diagnostics import Rejected

    reached: set[Path] = set()
    known: tuple[Diagnostic, ...] = ()
    try:
        while True:
            before = _stamps(path, reached)
            try:
                summary, found = check(reached)
            except Rejected as rejected:
                found = rejected.diagnostics
                summary = f"{len(found)} error{'s' * (len(found) != 1)}"
            _show_change(known, found)
            common.say(f"{time.strftime('%H:%M:%S')}  {summary}")
            known = found
            before = {**_stamps(path, reached), **before}  # it may lead to more files than before
            while _stamps(path, reached) == before:
                wait(_EVERY)
            while (now := _stamps(path, reached)) != before:
                before = now
                wait(_SETTLE)
    except KeyboardInterrupt:
        common.say("")


def _show_change(before: Iterable[Diagnostic], now: Iterable[Diagnostic]) -> None:
    old, new = Counter(map(_identity, before)), Counter(map(_identity, now))
    common.report(found for found in now if not old[_identity(found)])
    for found in before:
        if not new[_identity(found)]:
            where = f"{found.at.file}: " if found.at is not None else ""
            common.complain(f"gone: {where}{found.summary} ({found.code})")


def _identity(found: Diagnostic) -> tuple[str, str, str]:
    """What stays when lines move."""
    return found.code, found.summary, found.at.file if found.at is not None else ""


def _stamps(path: Path, reached: Iterable[Path]) -> dict[Path, tuple[int, int, int] | None]:
    """When the files were written; None for one that is not there."""
    from kvmdecl.diagnostics import Rejected
    from kvmdecl.lock import lock_path
    from kvmdecl.source import find_files

    try:
        files = find_files(path)
    except Rejected:
        files = (path,)
    return {file: _stamp(file) for file in (*files, lock_path(path), *reached)}


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
