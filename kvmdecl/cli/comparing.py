"""What `diff` and `plan --changed-since` share: a revision of git -> its cluster, and two of them compared."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from kvmdecl.cli import judging
from kvmdecl.cluster import ResolvedCluster
from kvmdecl.compare import compare
from kvmdecl.diagnostics import Diagnostic, Rejected, reject_errors
from kvmdecl.images import Care
from kvmdecl.pipeline import load_cluster
from kvmdecl.plan import Plan
from kvmdecl.pluginhost import Plugins
from kvmdecl.revisions import commits, export
from kvmdecl.rules import accepted
from kvmdecl.state import HostSnapshot
from kvmdecl.text import quoted


def compared(
    revisions: str,
    path: Path,
    plugins: Plugins,
    facts: Mapping[str, HostSnapshot],
    policies: Path | None = None,
) -> Plan:
    """The plan of one revision of the manifest at `path` on hosts that hold another.

    Args:
        revisions: `OLD`, `OLD..NEW` or `OLD...NEW`, as git knows them.
        path: of the manifest.
        plugins: that both are compiled with.
        facts: what hosts are; others are assumed to have room for everything.
        policies: a file of policies to judge it by, besides the manifest's.

    Raises:
        Rejected: with everything that is wrong in one of them, `diff.no-manifest`, or with what git says.
    """
    first, second = commits(revisions)
    old, new = _at(first, path, plugins), _at(second, path, plugins)
    if new is None:
        hint = "to let a cluster go is `kvmdecl destroy`; a host, `state: absent`"
        raise Rejected(
            [Diagnostic("diff.no-manifest", f"there is no {quoted(str(path))} any more", hint=hint)]
        )
    told = reject_errors(accepted(new, plugins.validate(new)))
    return replace(compare(old, judging.with_policies(new, policies), facts, plugins), warnings=told)


def _at(commit: str, path: Path, plugins: Plugins) -> ResolvedCluster | None:
    """The cluster as a commit has it, or the working folder if that is empty; None if it has none."""
    if not commit:
        return load_cluster(path, plugins, Care.IGNORE)
    here = Path.cwd()
    inside = Path(os.path.relpath(path, here)) if path.is_absolute() else path
    with TemporaryDirectory(prefix="kvmdecl-") as folder:
        there = export(commit, Path(folder))
        if not (there / inside).exists():
            return None
        os.chdir(there)  # so that what is said of files names them as they are called from here
        try:
            return load_cluster(inside, plugins, Care.IGNORE)
        finally:
            os.chdir(here)
