"""`python -m tests.impact.edits COUNT [SEED]`: random edits on a lab; after each apply the next plan must be empty."""

from __future__ import annotations

import random
import sys
import tempfile
import time
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from kvmdecl.diagnostics import Rejected
from kvmdecl.testing import temporary_lab
from tests.impact.bench import PATIENCE, Bench, images
from tests.impact.editor import Editor

if TYPE_CHECKING:
    from collections.abc import Iterator

HASTY = replace(PATIENCE, unplug=0.4, ask_again=0.5)


@dataclass(frozen=True)
class Edited:
    """What came of one edit. `left` is what a plan would still change; `refused` says why nothing was applied."""

    what: str
    refused: str = ""
    failed: str = ""
    left: str = ""


def edit_on(bench: Bench, count: int, seed: int) -> Iterator[Edited]:
    """Edit, apply, plan again; `count` edits that validation takes."""
    editor = Editor(random.Random(seed))
    bench.converge(editor.manifest)
    done = 0
    while done < count:
        before = deepcopy(editor.manifest)
        what = editor.edit()
        found = _apply(bench, editor, what)
        done += not found.refused
        if found.refused or found.failed:
            editor.manifest = before
        if found.failed:
            bench.converge(before)  # whatever a host refuses, the way back is open
        yield found


def _apply(bench: Bench, editor: Editor, what: str) -> Edited:
    try:
        plan = bench.plan(editor.manifest)
    except Rejected as rejected:
        return Edited(what, refused=rejected.diagnostics[0].summary)
    if plan.blocked:
        return Edited(what, refused=f"{plan.blocked[0].code}: {plan.blocked[0].summary}")
    if wrong := bench.carry_out(plan)[1]:
        return Edited(what, failed=f"{wrong[0].code}: {wrong[0].summary}")
    left = bench.plan(editor.manifest)
    changes = [f"{step.address}: {change.field} {change.before} -> {change.after} ({change.why})"
               for step in left.steps for change in step.changes or (step,)]  # fmt: skip
    return Edited(what, left="; ".join(map(str, changes)))


def main(count: int, seed: int) -> int:
    """Returns how many edits did not end in an empty plan."""
    began = time.monotonic()
    tally = {"refused": 0, "failed": 0, "left": 0, "done": 0}
    with temporary_lab(["kvm-1"]) as lab, tempfile.TemporaryDirectory() as folder:
        bench = Bench(lab.host("kvm-1"), Path(folder), HASTY)
        images(bench.folder)
        for edited in edit_on(bench, count, seed):
            end = next((name for name in ("refused", "failed", "left") if getattr(edited, name)), "done")
            tally[end] += 1
            print(f"{sum(tally.values()):>4} {end:<8} {edited.what}  {getattr(edited, end, '')}", flush=True)
    print(f"seed {seed}: {tally} in {time.monotonic() - began:.0f} s")
    return tally["failed"] + tally["left"]


if __name__ == "__main__":
    sys.exit(min(main(int(sys.argv[1]), int(sys.argv[2]) if sys.argv[2:] else 1), 1))
