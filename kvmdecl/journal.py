"""The journal of a run: a file for people, for `undo` and for `apply --resume`. It is never the truth about a host.

A line of JSON for each record: what the run is, its plan, then for each step the intent with how the object was before
(on disk before the host is asked), and how it ended. A run that was cut off leaves a torn last line, which is not read.
What a plan and a read-only connection do not show is not in it: no secret, no password. Its records, and the runs of a
directory, are a chain of hashes (`chain`).
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from pydantic import TypeAdapter, ValidationError

from kvmdecl.chain import enlist, linked
from kvmdecl.diagnostics import Diagnostic, Rejected, TaskFailed
from kvmdecl.events import (
    ApplyFinished,
    Event,
    GateEnded,
    Outcome,
    StepDone,
    StepFailed,
    StepRefused,
    StepSkipped,
)
from kvmdecl.plan import Plan
from kvmdecl.runs import Agreement, Holder, Way, utc
from kvmdecl.state import Address, Kind, Observed
from kvmdecl.text import quoted, safe_text

FORMAT_VERSION = "1.2"
SUFFIX = ".jsonl"
LATEST = "last"
"""In the place of a run's name: the one that began last."""
_PLAN = TypeAdapter(Plan)
_BEFORE: TypeAdapter[Observed | None] = TypeAdapter(Observed | None)
_ENDS: Mapping[type, str] = {
    StepDone: "done", StepFailed: "failed", StepRefused: "refused", StepSkipped: "skipped",
}  # fmt: skip


class Journal:
    """Writes the journal of one run. A context manager: what ends the block is how the run ended."""

    def __init__(self, path: Path, descriptor: int) -> None:
        """`descriptor` is open for writing."""
        self.path = path
        self._file = os.fdopen(descriptor, "w", encoding="utf-8")
        self._how = "ended by an error"
        self._link = ""
        self._records = 0
        self._paused = False
        self._discarded = False

    @classmethod
    def create(
        cls,
        directory: Path,
        holder: Holder,
        command: str,
        source: str,
        plan: Plan,
        agreed: Sequence[Agreement] = (),
        job: str = "",
    ) -> Journal:
        """Begin a journal with what the run is, who agreed to it, and what it is going to do.

        Raises:
            Rejected: `run.no-journal`; nothing was changed.
        """
        path = directory / f"{holder.run}{SUFFIX}"
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            journal = cls(path, os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            head = {"format": FORMAT_VERSION, "command": command, "source": source, "began": utc()}
            consents = [asdict(each) for each in agreed]
            told = {"steps": len(plan.steps), "holder": asdict(holder), "job": job, "consents": consents}
            journal._write({"record": "run", **head, **told})
            first = journal._link
            shown = replace(plan, guests=())  # thousands that stay as they are are no part of what a run does
            journal._write({"record": "plan", "plan": _PLAN.dump_python(shown, mode="json")})
            journal._flush()
            enlist(directory, {"entry": "begin", "run": holder.run, "at": utc(), "link": first})
        except OSError as error:
            raise Rejected([_not_written(path, error, "nothing was changed")]) from error
        return journal

    def intend(self, address: Address, before: Observed | None) -> None:
        """Say that a step is going to be begun, and how its object is. It is on disk when this returns.

        Raises:
            TaskFailed: `run.no-journal`; the step must not be begun.
        """
        record = {"record": "intent", "at": utc(), "address": _row(address)}
        try:
            self._write({**record, "before": _BEFORE.dump_python(before, mode="json")})
            self._flush()
        except OSError as error:
            raise TaskFailed(_not_written(self.path, error, f"{address} was not begun")) from error

    def note(self, event: Event) -> None:
        """Note how a step or gate ended. Where that cannot be written, the next intent cannot either, and says so."""
        if isinstance(event, ApplyFinished):
            self._how = "paused" if self._paused else "finished"
        if isinstance(event, GateEnded):
            self._paused = event.outcome is Outcome.INCONCLUSIVE
            self._try({"record": "gate", "at": utc(), **asdict(event)})
        end = _ENDS.get(type(event))
        if end is None or not isinstance(event, StepDone | StepFailed | StepRefused | StepSkipped):
            return
        record = {"record": end, "at": utc(), "address": _row(event.address)}
        why = {"diagnostic": asdict(event.diagnostic)} if isinstance(event, StepFailed | StepRefused) else {}
        self._try(record | why)

    def discard(self) -> None:
        """Take the file away: the run did nothing."""
        self.path.unlink(missing_ok=True)
        self._discarded = True
        self._list({"entry": "nothing"})

    def interrupted(self) -> None:
        """The run did not come to its end because somebody stopped it."""
        self._how = "interrupted"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            self._how = "interrupted"
        self._try({"record": "end", "at": utc(), "how": self._how})
        try:
            self._flush()
            self._file.close()
        except OSError:
            return  # the disk is full: a journal without its end is one of a run that was cut off
        if not self._discarded:
            self._list({"entry": "end", "link": self._link, "records": self._records})

    def _list(self, entry: dict[str, Any]) -> None:
        with suppress(OSError):  # as above
            enlist(self.path.parent, {**entry, "run": self.path.stem, "at": utc()})

    def _try(self, record: dict[str, Any]) -> None:
        try:
            self._write(record)
        except OSError:
            return

    def _write(self, record: dict[str, Any]) -> None:
        line, self._link = linked(record, self._link)
        self._records += 1
        self._file.write(f"{line}\n")

    def _flush(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())


@dataclass(frozen=True)
class Run:
    """What a journal tells.

    Attributes:
        holder: who and where.
        command: `apply`, `destroy`, `undo` or `snapshot`.
        source: what it was given: a manifest, a saved plan or another run.
        began: UTC.
        steps: how many its plan has.
        ends: how each step ended: `done`, `failed`, `refused` or `skipped`.
        problems: why steps failed or were refused.
        end: `finished`, `paused`, `interrupted` or `ended by an error`; empty if the journal just breaks off.
        gates: how gates ended, in that order.
        agreed: who agreed to what; nobody knows it of runs from before it was noted.
        job: address of the CI system's job that it was part of; empty for none.
    """

    holder: Holder
    command: str
    source: str
    began: str
    steps: int
    ends: Mapping[Address, str]
    problems: Mapping[Address, Diagnostic]
    end: str
    gates: tuple[GateEnded, ...] = ()
    agreed: tuple[Agreement, ...] = ()
    job: str = ""
    _plan: str = field(repr=False, default="")
    _intents: Mapping[Address, Any] = field(repr=False, default_factory=dict)

    @property
    def name(self) -> str:
        """Of the run."""
        return self.holder.run

    @property
    def begun(self) -> tuple[Address, ...]:
        """Steps that were begun, in that order, also those of which the end is not known."""
        return tuple(self._intents)

    def before(self, address: Address) -> Observed | None:
        """How the object of a step was before it was begun, None if there was none."""
        return _BEFORE.validate_python(self._intents[address])

    @cached_property
    def plan(self) -> Plan:
        """What it was going to do.

        Raises:
            Rejected: `run.journal-broken`.
        """
        try:
            return _PLAN.validate_json(json.dumps(json.loads(self._plan)["plan"]), strict=False)
        except (ValueError, TypeError, KeyError) as error:
            raise Rejected([_broken(self.name, error)]) from error

    def count(self) -> Counter[str]:
        """How many steps ended how; `unknown` were begun, and their end is not known."""
        counts = Counter(self.ends.values())
        counts["unknown"] = sum(1 for address in self._intents if address not in self.ends)
        return counts


def read_run(path: Path) -> Run:
    """Read a journal to its last whole record.

    Raises:
        Rejected: `run.journal-broken` if not even its first one is whole.
    """
    try:
        lines = path.read_bytes().split(b"\n")[:-1]  # what follows the last end of a line is torn
        head = _head(lines[0])
        return _run(Holder(**head["holder"]), head, lines[1:])
    except (OSError, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise Rejected([_broken(path.stem, error)]) from error


def _head(line: bytes) -> dict[str, Any]:
    head: dict[str, Any] = json.loads(line)
    if head["record"] != "run" or str(head["format"]).partition(".")[0] != FORMAT_VERSION.partition(".")[0]:
        raise ValueError("it was written by another version of kvmdecl")
    return head


def _run(holder: Holder, head: Mapping[str, Any], lines: list[bytes]) -> Run:
    plan = end = ""
    intents: dict[Address, Any] = {}
    ends: dict[Address, str] = {}
    problems: dict[Address, Diagnostic] = {}
    gates: list[GateEnded] = []
    for line in lines:
        if line.startswith(b'{"record":"plan"'):
            plan = line.decode()  # read when it is asked for
            continue
        try:
            record = json.loads(line)
            address = Address(*_columns(record["address"])) if "address" in record else None
            if record["record"] == "gate":
                gates.append(_gate(record))
                continue
        except (ValueError, TypeError, KeyError):
            break  # a disk that lost power may hold anything from here on
        if address is None:
            end = str(record.get("how", ""))
        elif record["record"] == "intent":
            intents[address] = record["before"]
        else:
            ends[address] = record["record"]
            if found := record.get("diagnostic"):
                problems[address] = _diagnostic(found)
    return Run(
        holder, head["command"], head["source"], head["began"], head["steps"], ends, problems, end,
        tuple(gates), tuple(_agreement(each) for each in head.get("consents", ())), str(head.get("job", "")),
        plan, intents,
    )  # fmt: skip


def read_runs(directory: Path) -> Iterator[Run]:
    """All runs of a directory, the newest first. What is no journal is passed over."""
    for path in sorted(directory.glob(f"*{SUFFIX}"), reverse=True):
        try:
            yield read_run(path)
        except Rejected:
            continue


def find_run(directory: Path, name: str) -> Run:
    """The run of a name, of the beginning of one that no other begins with, or the latest.

    Raises:
        Rejected: `run.unknown`, `run.journal-broken`.
    """
    paths = sorted(directory.glob(f"*{SUFFIX}"))
    found = paths[-1:] if name == LATEST else [path for path in paths if path.stem.startswith(name)]
    exact = [path for path in found if path.stem == name]
    if len(exact or found) != 1:
        raise Rejected([_unknown(directory, name, [path.stem for path in found])])
    return read_run((exact or found)[0])


def _row(address: Address) -> list[str]:
    return [address.host, str(address.kind), address.name]


def _columns(row: list[str]) -> tuple[str, Kind, str]:
    host, kind, name = row
    return host, Kind(kind), name


def _agreement(record: Mapping[str, Any]) -> Agreement:
    return Agreement(str(record["to"]), Way(record["way"]), str(record["by"]), str(record["why"]))


def _gate(record: Mapping[str, Any]) -> GateEnded:
    outcome = Outcome(record["outcome"])
    return GateEnded(record["wave"], record["gate"], outcome, record["why"], record["seconds"])


def _diagnostic(found: Any) -> Diagnostic:  # noqa: ANN401 - JSON
    try:
        return TypeAdapter(Diagnostic).validate_python(found)
    except ValidationError:
        return Diagnostic("run.unknown", str(found))


def _not_written(path: Path, error: OSError, what: str) -> Diagnostic:
    return Diagnostic(
        code="run.no-journal",
        summary=f"the journal {safe_text(str(path))} cannot be written; {what}",
        cause=f"{safe_text(error.strerror or str(error))}.",
        hint="make room, or name another directory with `--journal DIR`.",
    )


def _broken(name: str, error: Exception) -> Diagnostic:
    return Diagnostic(
        code="run.journal-broken",
        summary=f"the journal of run {quoted(name)} cannot be read",
        cause=safe_text(f"{type(error).__name__}: {error}")[:200],
        hint="`kvmdecl plan` shows what is left to do: it reads the hosts and needs no journal.",
    )


def _unknown(directory: Path, name: str, found: list[str]) -> Diagnostic:
    many = f"{quoted(name)} may be {', '.join(found[:5])}" if found else f"there is no run {quoted(name)}"
    return Diagnostic(
        code="run.unknown",
        summary=f"{many} in {safe_text(str(directory))}",
        hint="`kvmdecl history` lists the runs; another directory is named with `--journal DIR`.",
    )
