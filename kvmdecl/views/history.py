"""Runs as text and as JSON: a line for each, or one with all its steps."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import TypeAdapter

from kvmdecl.chain import Chain
from kvmdecl.events import GateEnded, Outcome
from kvmdecl.journal import Run
from kvmdecl.runs import Agreement, Holder, Way
from kvmdecl.state import Address
from kvmdecl.text import safe_text
from kvmdecl.views.pen import columns

FORMAT_VERSION = "1.1"
Dead = Callable[[Holder], bool | None]
"""Whether the process of a run is dead; None where that is not seen from here."""
_MOST_NAMED = 3
_WAYS = {Way.FLAG: "an option", Way.FILE: "a file of consents", Way.PROMPT: "asked"}
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
    return "".join(f"{line}\n" for line in columns(rows))


def render_chain(chain: Chain) -> str:
    """How the journals of all runs stand, and in the end whether all are as they were written."""
    rows = [(run.run, run.standing.value, run.why) for run in chain.runs]
    lines = list(columns(rows))
    lines += map(safe_text, chain.faults)
    bad = sum(not run.sound for run in chain.runs)
    if chain.sound:
        lines.append(f"{len(rows)} runs, every record as it was written.")
    else:
        lines.append(
            f"Not as it was written: {bad} of {len(rows)} runs{', the list of runs' if chain.faults else ''}."
        )
    if chain.head:
        lines.append(f"Head: {chain.head}")
    return "".join(f"{line}\n" for line in lines)


def render_chain_json(chain: Chain) -> str:
    """The same as one document."""
    runs = [{**asdict(run), "sound": run.sound} for run in chain.runs]
    document = {"formatVersion": FORMAT_VERSION, "sound": chain.sound, "head": chain.head}
    return json.dumps({**document, "faults": chain.faults, "runs": runs}, indent=2, ensure_ascii=True) + "\n"


def render_run(run: Run, dead: Dead) -> str:
    """One run with all its steps."""
    return "".join(f"{line}\n" for line in _run(run, dead))


def _run(run: Run, dead: Dead) -> Iterator[str]:
    yield safe_text(f"{run.name}  {run.command} of {run.holder.cluster}  {state(run, dead)}")
    yield safe_text(f"  by {run.holder.user}@{run.holder.machine} (pid {run.holder.pid}), begun {run.began}")
    yield safe_text(f"  given {run.source}")
    if run.job:
        yield safe_text(f"  in {run.job}")
    yield from map(safe_text, _agreed(run.agreed))
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


def _agreed(agreed: Iterable[Agreement]) -> Iterator[str]:
    """Who agreed to what, what is the same in a line; of many deletions the first."""
    groups: dict[tuple[Way, str, str], list[str]] = {}
    for each in agreed:
        groups.setdefault((each.way, each.by, each.why), []).append(each.to)
    for (way, by, why), named in groups.items():
        more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
        reason = f": {why}" if why else ""
        yield f"  agreed to by {by} ({_WAYS[way]}): {', '.join(named[:_MOST_NAMED])}{more}{reason}"


def _end(run: Run, address: Address) -> str:
    if address in run.ends:
        return _WORDS.get(run.ends[address], "")
    return "begun, end unknown" if address in run.begun else "not reached"


def render_history_json(runs: Iterable[Run], dead: Dead, *, steps: bool = False) -> str:
    """Runs as one document; `steps` also tells of each step how it ended."""
    rows = tuple(_row(run, dead, steps=steps) for run in runs)
    document = {
        "formatVersion": FORMAT_VERSION,
        "runs": _ROWS.dump_python(rows, mode="json", exclude_none=True),
    }
    return json.dumps(document, indent=2, ensure_ascii=True) + "\n"


@dataclass(frozen=True)
class RunRow:
    """A run in `kvmdecl history --format json`.

    Attributes:
        run: its name.
        cluster: whose plan.
        command: `apply`, `destroy`, `undo` or `snapshot`.
        source: what it was given.
        user: who began it.
        machine: where.
        job: address of the CI system's job that it was part of; empty for none.
        began: UTC.
        agreed: who agreed to what, and by which way.
        state: `done`, `done in part`, `paused`, `interrupted`, `died`, `running` or `not known`.
        steps: of its plan.
        done: so many were done.
        failed: so many were begun and failed.
        refused: so many were not begun since their object moved.
        skipped: so many were not begun since something else failed.
        unknown: so many were begun, and their end is not known.
        gates: how gates ended; of a run that was named.
        ends: how each step ended, by its address; of a run that was named.
    """

    run: str
    cluster: str
    command: str
    source: str
    user: str
    machine: str
    job: str
    began: str
    agreed: tuple[Agreement, ...]
    state: str
    steps: int
    done: int
    failed: int
    refused: int
    skipped: int
    unknown: int
    gates: tuple[GateEnded, ...] | None = None
    ends: dict[str, str] | None = None


_ROWS = TypeAdapter(tuple[RunRow, ...])


def _row(run: Run, dead: Dead, *, steps: bool) -> RunRow:
    counts = run.count()
    return RunRow(
        run.name,
        run.holder.cluster,
        run.command,
        run.source,
        run.holder.user,
        run.holder.machine,
        run.job,
        run.began,
        run.agreed,
        state(run, dead),
        run.steps,
        counts["done"],
        counts["failed"],
        counts["refused"],
        counts["skipped"],
        counts["unknown"],
        gates=run.gates if steps else None,
        ends={str(step.address): _end(run, step.address) for step in run.plan.steps} if steps else None,
    )


def history_schema() -> dict[str, Any]:
    """JSON Schema of `kvmdecl history --format json`."""
    rows = TypeAdapter(tuple[RunRow, ...]).json_schema(mode="serialization")
    definitions = rows.pop("$defs")
    row = definitions["RunRow"]
    for key in ("gates", "ends"):  # left out where they are not told
        row["properties"][key] = row["properties"][key]["anyOf"][0]
    return _document("kvmdecl history", {"runs": {"type": "array", "items": rows["items"]}}, definitions)


def chain_schema() -> dict[str, Any]:
    """JSON Schema of `kvmdecl history --verify --format json`."""
    chain = TypeAdapter(Chain).json_schema(mode="serialization")
    definitions = chain.pop("$defs")
    run = definitions["ChainedRun"]
    sound = {"type": "boolean", "description": "Whether nothing speaks against it."}
    run["properties"]["sound"] = sound
    run["required"] = [*run["properties"]]
    properties = {"sound": sound, **chain["properties"]}
    return _document("kvmdecl history --verify", properties, definitions)


def _document(title: str, properties: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    version = {"type": "string", "pattern": r"^1\.[0-9]+$", "description": "MAJOR.MINOR"}
    properties = {"formatVersion": version, **properties}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        "type": "object",
        "properties": properties,
        "required": [*properties],
        "$defs": definitions,
    }
