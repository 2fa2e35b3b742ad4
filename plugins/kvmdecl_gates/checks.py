"""What each gate looks at. One that cannot know is inconclusive, and never takes that for a failure."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated

from pydantic import Field

from kvmdecl.api import Agent, Gate, GateRequest, Guest, Integer, Outcome, Section, Verdict, safe_text

_PASSED = Verdict(Outcome.PASSED)
_AT_ONCE = 32  # connections
_CONNECTING = 5.0  # seconds
_TEMPFAIL = 75  # EX_TEMPFAIL of sysexits.h
_LONGEST_LINE = 200


class Nothing(Section):
    """A gate that is told nothing."""


class Port(Section):
    """A port that accepts connections."""

    port: Annotated[Integer, Field(ge=1, le=65535)]
    """Number of the TCP port."""
    address: Annotated[str, Field(pattern=r"^[A-Za-z0-9.:{}_-]{1,255}$")] | None = None
    """Where it is; `{name}` stands for the vm's name, `{host}` for its host's (`{name}.example.net`). What its host
    leased to it if not given."""


class Command(Section):
    """A program that succeeds."""

    argv: Annotated[tuple[str, ...], Field(min_length=1, max_length=256)]
    """The program and its arguments (`[./smoke-test, --fast]`); no shell reads them."""


def _running(asked: GateRequest) -> Verdict:
    return _judged(asked.guests, lambda guest: None if guest.running else "it does not run")


def _agent(asked: GateRequest) -> Verdict:
    """Whether an agent that nobody has started is not installed, or not started yet, is not to be seen."""
    found = [(guest, guest.agent) for guest in asked.guests]
    failed = [_of(guest, "it does not run") for guest, _ in found if not guest.running]
    failed += [_of(guest, "its agent does not answer") for guest, agent in found if agent is Agent.SILENT]
    if failed:
        return Verdict(Outcome.FAILED, _listed(failed))
    unknown = [_of(guest, _NO_AGENT[agent]) for guest, agent in found if agent in _NO_AGENT]
    return Verdict(Outcome.INCONCLUSIVE, _listed(unknown)) if unknown else _PASSED


_NO_AGENT: Mapping[Agent | None, str] = {
    Agent.NO_CHANNEL: "it has no channel for an agent",
    Agent.ABSENT: "no agent has started in it",
}


def _lease(asked: GateRequest) -> Verdict:
    return _judged(asked.guests, lambda guest: None if guest.addresses else "it has no leased address")


def _tcp(asked: GateRequest) -> Verdict:
    assert isinstance(asked.options, Port)  # noqa: S101 - the model of this gate
    port, named = asked.options.port, asked.options.address
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = list(pool.map(lambda guest: _reach(guest, port, named), asked.guests))
    for outcome in (Outcome.FAILED, Outcome.INCONCLUSIVE):
        if told := [verdict.why for verdict in found if verdict.outcome is outcome]:
            return Verdict(outcome, _listed(told))
    return _PASSED


def _reach(guest: Guest, port: int, named: str | None) -> Verdict:
    leased = guest.addresses[0] if guest.addresses else None
    address = leased if named is None else _filled_in(named, guest)
    if address is None:
        return Verdict(Outcome.INCONCLUSIVE, _of(guest, "it has no leased address, and none is given"))
    try:
        socket.create_connection((address, port), timeout=_CONNECTING).close()
    except socket.gaierror as error:
        why = f"{safe_text(address)} is not known ({safe_text(error.strerror or '')})"
        return Verdict(Outcome.INCONCLUSIVE, _of(guest, why))
    except OSError as error:
        why = f"port {port} of {safe_text(address)}: {safe_text(error.strerror or str(error))}"
        return Verdict(Outcome.FAILED, _of(guest, why))
    return _PASSED


def _filled_in(named: str, guest: Guest) -> str:
    return named.replace("{name}", guest.address.name).replace("{host}", guest.address.host)


def _command(asked: GateRequest) -> Verdict:
    """Its end is its answer: 0 is success, EX_TEMPFAIL is that it does not know either."""
    assert isinstance(asked.options, Command)  # noqa: S101 - the model of this gate
    argv = asked.options.argv
    guests = " ".join(f"{guest.address.host}/{guest.address.name}" for guest in asked.guests)
    environment = {**os.environ, "KVMDECL_WAVE": asked.wave, "KVMDECL_GUESTS": guests}
    try:
        done = subprocess.run(
            argv, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, timeout=asked.seconds * 0.9, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Verdict(Outcome.INCONCLUSIVE, f"it did not end within {asked.seconds * 0.9:.0f} s")
    except (OSError, ValueError) as error:
        return Verdict(Outcome.INCONCLUSIVE, f"it cannot be started: {safe_text(str(error))}")
    if done.returncode == 0:
        return _PASSED
    said = done.stderr.decode(errors="replace").strip().rpartition("\n")[2][:_LONGEST_LINE]
    why = f"it ended with {done.returncode}" + (f": {safe_text(said)}" if said else "")
    return Verdict(Outcome.INCONCLUSIVE if done.returncode == _TEMPFAIL else Outcome.FAILED, why)


def _settle(_asked: GateRequest) -> Verdict:
    return _PASSED


def _judged(guests: Iterable[Guest], wrong: Callable[[Guest], str | None]) -> Verdict:
    told = [_of(guest, why) for guest in guests if (why := wrong(guest)) is not None]
    return Verdict(Outcome.FAILED, _listed(told)) if told else _PASSED


def _of(guest: Guest, why: str) -> str:
    return f"{guest.address.name} on {guest.address.host}: {why}"


def _listed(told: list[str]) -> str:
    more = f"; and {len(told) - 3} more" if len(told) > 3 else ""
    return "; ".join(told[:3]) + more


GATES: Mapping[str, Gate] = {
    "running": Gate(Nothing, _running, frozenset({"power"})),
    "agent": Gate(Nothing, _agent, frozenset({"agent"})),
    "lease": Gate(Nothing, _lease, frozenset({"addresses"})),
    "tcp": Gate(Port, _tcp, frozenset({"addresses"})),
    "command": Gate(Command, _command),
    "settle": Gate(Nothing, _settle, timed=True),
}
