"""Runs as text and as JSON: a line for each, or one with all its steps."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from typing import Any

from kvmdecl.events import Outcome
from kvmdecl.journal import Run
from kvmdecl.runs import Holder
from kvmdecl.state import Address
from kvmdecl.text import safe_text

FORMAT_VERSION = "1.0"
Dead = Callable[[Holder], bool | None]
"""Whether the process of a run is dead; None where that is not seen from here."""
_WORDS = {
    "done": "done",
    "failed": "failed",
    "refused": "refused",
    "skipped": "not begun",
    "unknown": "end unknown",
}


def state(run: Run, dead: Dead) -> str:
    """How a run stands: `done`, `done in part`, `paused`, `interrupted`, `died`, `running` or `not known`."""
    counts = run.count()
    if run.end == "finished":
        closed = any(gate.outcome is not Outcome.PASSED for gate in run.gates)
        return "done" if counts["done"] == run.steps and not closed else "done in part"
    if run.end:
        return "paused" if run.end == "paused" else "interrupted"
    return {True: "died", False: "running", None: "not known"}[dead(run.holder)]


def render_history(runs: Iterable[Run], dead: Dead) -> str:
    """A line for each run."""
    rows = [("RUN", "CLUSTER", "COMMAND", "BY", "STEPS", "STATE")]
    for run in runs:
        by = f"{run.holder.user}@{run.holder.machine}"
        done = f"{run.count()['done']} of {run.steps}"
        rows.append((run.name, run.holder.cluster, run.command, by, done, state(run, dead)))
    if len(rows) == 1:
        return "There are no runs.\n"
    table = [tuple(map(safe_text, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ("  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)) for row in table)
    return "".join(f"{line.rstrip()}\n" for line in lines)


def render_run(run: Run, dead: Dead) -> str:
    """One run with all its steps."""
    return "".join(f"{line}\n" for line in _run(run, dead))


def _run(run: Run, dead: Dead) -> Iterator[str]:
    yield safe_text(f"{run.name}  {run.command} of {run.holder.cluster}  {state(run, dead)}")
    yield safe_text(f"  by {run.holder.user}@{run.holder.machine} (pid {run.holder.pid}), begun {run.began}")
    yield safe_text(f"  given {run.source}")
    counts = run.count()
    rest = run.steps - sum(counts.values())
    told = [f"{counts[end]} {word}" for end, word in _WORDS.items() if counts[end]]
    yield f"  {', '.join([*told, f'{rest} not reached'] if rest else told) or 'no steps'}"
    for step in run.plan.steps:
        yield f"  {step.action.mark} {safe_text(str(step.address))}  {_end(run, step.address)}"
        if (found := run.problems.get(step.address)) is not None:
            yield f"      {safe_text(found.code)}: {safe_text(found.summary)}"
    for gate in run.gates:
        why = f": {gate.why}" if gate.why else ""
        yield safe_text(f"  ? gate {gate.gate} after wave {gate.wave}  {gate.outcome}{why}")


def _end(run: Run, address: Address) -> str:
    if address in run.ends:
        return _WORDS.get(run.ends[address], "")
    return "begun, end unknown" if address in run.begun else "not reached"


def render_history_json(runs: Iterable[Run], dead: Dead, *, steps: bool = False) -> str:
    """Runs as one document; `steps` also tells of each step how it ended."""
    document = {"formatVersion": FORMAT_VERSION, "runs": [_row(run, dead, steps=steps) for run in runs]}
    return json.dumps(document, indent=2, ensure_ascii=True) + "\n"


def _row(run: Run, dead: Dead, *, steps: bool) -> dict[str, Any]:
    counts = run.count()
    row = {
        "run": run.name,
        "cluster": run.holder.cluster,
        "command": run.command,
        "source": run.source,
        "user": run.holder.user,
        "machine": run.holder.machine,
        "began": run.began,
        "state": state(run, dead),
        "steps": run.steps,
        **{end: counts[end] for end in _WORDS},
    }
    if steps:
        row["gates"] = [asdict(gate) for gate in run.gates]
        row["ends"] = {str(step.address): _end(run, step.address) for step in run.plan.steps}
    return row
