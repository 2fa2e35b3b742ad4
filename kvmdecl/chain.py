"""Runs as a chain of hashes: a record that was changed, taken out, put elsewhere or cut off is found, and named.

Each record of a journal ends with the SHA-256 of the record before and of itself. A list beside the journals, which is
chained in the same way, has a line when a run begins (the hash of its first record) and one when it ends (that of its
last). A run that was killed has no end, and its torn last line is no tampering. What nobody wrote down elsewhere cannot
be known: whoever may write the directory can put up a whole new chain. So the list has a head, a hash that is noted in
another place; a chain that does not lead through it any more was cut off or made anew.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

LIST = "chain"
"""The list's name, in the directory of the journals."""
_START = ""
_BEFORE_LISTED = 2
"""Records that are written before a run is put on the list: what it is, and its plan. It has done nothing then."""
_LINK = re.compile(rb',"chain":"([0-9a-f]{64})"\}')
_TAIL = len(',"chain":""}') + 64


def linked(record: Mapping[str, Any], before: str) -> tuple[str, str]:
    """A record as a line without its end, and its hash; `before` is that of the record before, empty for the first."""
    text = json.dumps(record, separators=(",", ":"), ensure_ascii=True)
    link = _hash(before, text.encode())
    return f'{text[:-1]},"chain":"{link}"}}', link


def _hash(before: str, text: bytes) -> str:
    return hashlib.sha256(before.encode() + text).hexdigest()


def link_of(line: bytes) -> str:
    """The hash that a line says it has; empty for one from before there was a chain."""
    found = _LINK.fullmatch(line[-_TAIL:])
    return found[1].decode() if found else ""


def first_bad(lines: Sequence[bytes], before: str = _START) -> int | None:
    """The number of the first line that does not follow from those before it, from 0; None if all do."""
    for number, line in enumerate(lines):
        link = link_of(line)
        if not link or link != _hash(before, line[:-_TAIL] + b"}"):
            return number
        before = link
    return None


def whole_lines(path: Path) -> list[bytes]:
    """The lines of a file, without a torn last one; none if there is no file."""
    try:
        return path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return []


@contextmanager
def _held(directory: Path) -> Iterator[int]:
    """The list, opened for one writer at a time; the lock goes with the descriptor, however the process ends."""
    descriptor = os.open(directory / LIST, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def enlist(directory: Path, entry: Mapping[str, Any]) -> None:
    """Add a line to the list; it is on disk when this returns. Runs that begin or end at once come one after the other.

    Raises:
        OSError: it cannot be written.
    """
    with _held(directory) as descriptor:
        text = (directory / LIST).read_bytes()
        end = text.rfind(b"\n") + 1  # a line that was torn when its writer was killed is written over
        last = text[:end].rstrip(b"\n").rpartition(b"\n")[2]
        line, _ = linked(entry, link_of(last))
        os.ftruncate(descriptor, end)
        os.lseek(descriptor, end, os.SEEK_SET)
        os.write(descriptor, f"{line}\n".encode())
        os.fsync(descriptor)


# -- looking whether all is as it was written ------------------------------------------------------------------


class Standing(StrEnum):
    """What is known of a run's journal."""

    WHOLE = "whole"
    OPEN = "no end"
    UNCHAINED = "no chain"
    CHANGED = "changed"
    CUT = "cut short"
    MISSING = "missing"
    UNLISTED = "not listed"
    DELETED = "did nothing"


@dataclass(frozen=True, slots=True)
class ChainedRun:
    """A run and how its journal stands. `why` says what was found, in words."""

    run: str
    standing: Standing
    why: str = ""

    @property
    def sound(self) -> bool:
        """Whether nothing speaks against it."""
        return self.standing in {Standing.WHOLE, Standing.OPEN, Standing.UNCHAINED, Standing.DELETED}


@dataclass(frozen=True, slots=True)
class Chain:
    """What comes of looking at a directory.

    Attributes:
        runs: in the order of their names, which is that in which they began.
        faults: what is wrong with the list itself.
        head: hash of its last line, empty where there is none.
    """

    runs: tuple[ChainedRun, ...]
    faults: tuple[str, ...] = ()
    head: str = ""

    @property
    def sound(self) -> bool:
        """Whether nothing was changed, removed, put elsewhere or cut off."""
        return not self.faults and all(run.sound for run in self.runs)


@dataclass
class _Listed:
    """What the list says of a run: hashes of its first and last record; empty if it has not ended."""

    first: str
    last: str = ""
    records: int = 0
    deleted: bool = False


def verify(directory: Path, suffix: str, head: str = "") -> Chain:
    """Look at all journals of a directory, and at their list.

    Args:
        directory: of the journals.
        suffix: what the names of journals end with.
        head: hash that the list had once; it has to be on the way to what it has now.

    Raises:
        OSError: it cannot be read.
    """
    lines = whole_lines(directory / LIST)
    faults = list(_list_faults(lines, head))
    listed = _listed(lines)
    there = {path.stem: path for path in directory.glob(f"*{suffix}")}
    runs = tuple(
        _missing(name, listed[name]) if name not in there else _stands(name, there[name], listed.get(name))
        for name in sorted({*listed, *there})
    )
    return Chain(runs, tuple(faults), link_of(lines[-1]) if lines else "")


def _list_faults(lines: Sequence[bytes], head: str) -> Iterator[str]:
    if (bad := first_bad(lines)) is not None:
        yield f"line {bad + 1} of the list of runs ({LIST}) does not follow from the line before: {_about(lines[bad])}"
    if head and head not in {link_of(line) for line in lines}:
        yield f"no line of the list of runs has the hash {head[:12]}..., so lines are gone or it was made anew"


def _about(line: bytes) -> str:
    entry = _entry(line)
    return f"{entry.get('entry', '?')} of run {entry.get('run', '?')}"


def _entry(line: bytes) -> Mapping[str, Any]:
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}


def _listed(lines: Sequence[bytes]) -> dict[str, _Listed]:
    found: dict[str, _Listed] = {}
    for entry in map(_entry, lines):
        name, what, link = (str(entry.get(key, "")) for key in ("run", "entry", "link"))
        if what == "begin":
            found[name] = _Listed(link)
        elif what == "end" and name in found:
            found[name].last, found[name].records = link, int(entry.get("records", 0))
        elif what == "nothing" and name in found:
            found[name].deleted = True
    return found


def _missing(name: str, listed: _Listed) -> ChainedRun:
    if listed.deleted:
        return ChainedRun(name, Standing.DELETED, "another run held its hosts")
    return ChainedRun(name, Standing.MISSING, "the list has it, and its journal is gone")


def _stands(name: str, path: Path, listed: _Listed | None) -> ChainedRun:
    lines = whole_lines(path)
    if lines and not link_of(lines[0]) and listed is None:
        return ChainedRun(name, Standing.UNCHAINED, "it was written before there was a chain")
    if (bad := first_bad(lines)) is not None:
        return ChainedRun(
            name, Standing.CHANGED, f"record {bad + 1} is not what was written: {_record(lines[bad])}"
        )
    if listed is None and len(lines) <= _BEFORE_LISTED:
        return ChainedRun(name, Standing.OPEN, "it was killed as it began")
    if listed is None:
        return ChainedRun(name, Standing.UNLISTED, "the list does not have it")
    if not lines or link_of(lines[0]) != listed.first:
        return ChainedRun(name, Standing.CHANGED, "record 1 is not the one that it began with")
    if not listed.last:
        return ChainedRun(name, Standing.OPEN, f"{len(lines)} records; it was killed, or runs")
    if link_of(lines[-1]) != listed.last:
        return ChainedRun(name, Standing.CUT, f"{len(lines)} of {listed.records} records")
    return ChainedRun(name, Standing.WHOLE, f"{len(lines)} records")


def _record(line: bytes) -> str:
    entry = _entry(line)
    address = entry.get("address")
    name = "/".join(map(str, address)) if isinstance(address, list) else ""
    return f"{entry.get('record', 'no record')} {name}".rstrip()
