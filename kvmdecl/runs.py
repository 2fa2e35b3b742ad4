"""Runs: what carries out a plan has a name, and what holds a host says who that is.

A run is one `apply`, `destroy`, `undo` or change of snapshots. While it lasts it holds every host of its plan, so that
no other run of the same cluster writes there.
"""

from __future__ import annotations

import json
import secrets
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from uuid import uuid4

from kvmdecl.diagnostics import Diagnostic
from kvmdecl.text import safe_text

FORMAT_VERSION = 1
_TEXTS = ("run", "user", "machine", "space", "since", "refreshed")


@dataclass(frozen=True, slots=True)
class Holder:
    """A run as others can read it on the hosts that it holds.

    Attributes:
        run: its name, which begins with the time when it began (UTC): names sort by time.
        token: a UUID of its own; the lock on each host has it.
        cluster: whose plan it carries out.
        user: who started it.
        machine: name of the machine that it runs on.
        space: names that machine's boot and PID namespace, for processes can only be seen from there; may be empty.
        pid: of its process, there.
        started: when that process began, in clock ticks after the boot; with `pid` it names the process.
        since: when it took the host, UTC.
        refreshed: its last sign of life, UTC.
    """

    run: str
    token: str
    cluster: str
    user: str = ""
    machine: str = ""
    space: str = ""
    pid: int = 0
    started: int = 0
    since: str = ""
    refreshed: str = ""

    def __str__(self) -> str:
        """`run 20261126t074211z-7f3a5c of alice on ci-7 (pid 4242)`, safe to print."""
        return safe_text(f"run {self.run} of {self.user or '?'} on {self.machine or '?'} (pid {self.pid})")

    def now(self) -> Holder:
        """The same, alive at this moment."""
        moment = utc()
        return replace(self, since=self.since or moment, refreshed=moment)


class Way(StrEnum):
    """By which way somebody agreed: an option of the command, a reviewed file, or an answer to a question."""

    FLAG = "flag"
    FILE = "file"
    PROMPT = "prompt"


@dataclass(frozen=True, slots=True)
class Agreement:
    """That somebody agreed to a plan, or to a deletion in it.

    Attributes:
        to: `plan`, or the deletion as `HOST/KIND/NAME`.
        way: how.
        by: who: `USER@MACHINE` of the process, or whom the file names.
        why: as the file says; empty otherwise.
    """

    to: str
    way: Way
    by: str
    why: str = ""


def new_run() -> str:
    """The name of a run that begins now. Names sort as runs began, also within a second: half of the end is chance."""
    now = datetime.now(UTC)
    fraction = now.microsecond * 0x1000 // 1_000_000
    return f"{now:%Y%m%dt%H%M%Sz}-{fraction:03x}{secrets.randbelow(0x1000):03x}"


def new_token() -> str:
    """What nobody else can have by chance."""
    return str(uuid4())


def utc() -> str:
    """This moment, to the second, for people."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


def dump_holder(holder: Holder) -> str:
    """As one line of JSON, for the description of a lock."""
    return json.dumps({"format": FORMAT_VERSION, **asdict(holder)}, separators=(",", ":"))


def load_holder(text: str, token: str, cluster: str) -> Holder:
    """Read what a lock says. One that says nothing that this version understands is held all the same, by nobody known.

    Args:
        text: description of the lock.
        token: its UUID.
        cluster: whose lock it is.
    """
    with suppress(ValueError, RecursionError):
        document = json.loads(text)
        if isinstance(document, dict) and document.get("format") == FORMAT_VERSION:
            texts = {key: str(document.get(key, "")) for key in _TEXTS}
            pid, started = (n if isinstance(n := document.get(key), int) else 0 for key in ("pid", "started"))
            return Holder(token=token, cluster=cluster, pid=pid, started=started, **texts)
    return Holder("?", token, cluster)


def locked(host: str, holder: Holder) -> Diagnostic:
    """The finding that another run holds a host."""
    seen = f", since {holder.since}, last heard of at {holder.refreshed}" if holder.since else ""
    return Diagnostic(
        code="run.locked",
        summary=f"{host} is held by {holder}{safe_text(seen)}; nothing was changed",
        cause="Two runs at once would undo or repeat each other's work.",
        hint="wait until it has ended, then try again; if it is dead for certain, break its locks with"
        f" `kvmdecl unlock {safe_text(holder.run)}`.",
        subject=f"host/{host}",
    )
