"""Has gates look at the guests of a wave: asks their hosts what a gate needs to know, and the gate for its verdict."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import ValidationError

from kvmdecl.diagnostics import Diagnostic, Rejected, TaskFailed
from kvmdecl.events import Outcome
from kvmdecl.gates import LONGEST_LOOK, Gate, GateRequest, Guest, Verdict
from kvmdecl.hosts.protocol import GuestWatcher, LookAtGuests
from kvmdecl.text import quoted, safe_text

if TYPE_CHECKING:
    from kvmdecl.cluster import ResolvedCluster
    from kvmdecl.load import LoadedManifest
    from kvmdecl.manager import ManagerStatus
    from kvmdecl.plan import Plan, PlannedGate
    from kvmdecl.pluginhost import Plugins
    from kvmdecl.state import Address


def gates_of(plan: Plan, plugins: Plugins) -> Mapping[str, Gate]:
    """The gates that a plan names. A saved plan is read like a manifest: what it tells them is checked.

    Raises:
        Rejected: `plugin.unknown-gate`, `plan.inconsistent`.
    """
    found: dict[str, Gate] = {}
    for planned in plan.rollout.gates if plan.rollout else ():
        found[planned.check] = gate = plugins.gate(planned.check)
        try:
            gate.options.model_validate(dict(planned.options))
        except ValidationError as error:
            raise Rejected([_bad_options(planned)]) from error
    return found


def gate_faults(loaded: LoadedManifest, cluster: ResolvedCluster, plugins: Plugins) -> Iterator[Diagnostic]:
    """What the gates of a manifest cannot be told.

    Raises:
        Rejected: `plugin.unknown-gate`.
    """
    for number, gate in enumerate(cluster.rollout.gates if cluster.rollout else ()):
        at = ("rollout", "gates", number)
        offered = plugins.gate(gate.check, loaded.span(*at, "check"))
        yield from loaded.faults(offered.options, *at, "with")
        if offered.timed and not gate.for_:
            yield Diagnostic(
                code="manifest.missing-key",
                summary=f"the gate {quoted(gate.check)} needs `for`",
                at=loaded.span(*at),
                cause="It is nothing but time: without, the next wave begins at once.",
                hint=f"say how long, for example `{{check: {gate.check}, for: 1m}}`",
            )
        if "managers" in offered.reads and not any(
            manager.manages(cluster) for manager in plugins.managers().values()
        ):
            yield Diagnostic(
                code="manifest.missing-key",
                summary=f"the gate {quoted(gate.check)} asks a cluster manager, and the manifest has none",
                at=loaded.span(*at, "check"),
                cause="Nobody could tell how it is, so the rollout would pause after each wave.",
                hint="add `ha`, with the hosts' fencing, or leave out the gate",
            )


def _bad_options(gate: PlannedGate) -> Diagnostic:
    return Diagnostic(
        code="plan.inconsistent",
        summary=f"the saved plan is not what it seems: the gate {quoted(gate.check)} cannot be told this",
        cause="No manifest could say it. The file was edited, or another version of kvmdecl wrote it.",
        hint="make a new plan and review it.",
    )


@dataclass(frozen=True)
class Gatekeeper:
    """Looks through gates; each look has a thread of its own, which is left behind if it does not come back."""

    gates: Mapping[str, Gate]
    watcher: GuestWatcher
    managers: Callable[[], Mapping[str, ManagerStatus | str]] = dict
    """Tells how cluster managers are, or why that is not known."""

    def look(self, planned: PlannedGate, wave: str, guests: Sequence[Address]) -> Future[Verdict]:
        """Look once. The future never raises: what goes wrong is inconclusive."""
        future: Future[Verdict] = Future()

        def answer() -> None:
            try:
                future.set_result(self._verdict(planned, wave, guests))
            except Exception as error:  # noqa: BLE001 - a plugin's; nobody knows then whether the gate holds
                told = f"the gate itself failed: {type(error).__name__}: {error}"
                future.set_result(Verdict(Outcome.INCONCLUSIVE, safe_text(told)))

        threading.Thread(target=answer, name=f"gate {planned.check}", daemon=True).start()
        return future

    def _verdict(self, planned: PlannedGate, wave: str, guests: Sequence[Address]) -> Verdict:
        gate = self.gates[planned.check]
        options = gate.options.model_validate(dict(planned.options))
        try:
            seen = self._see(gate, guests)
        except TaskFailed as failed:
            return Verdict(Outcome.INCONCLUSIVE, safe_text(failed.diagnostic.summary))
        managers = self.managers() if "managers" in gate.reads else {}
        verdict = gate.look(GateRequest(options, wave, seen, LONGEST_LOOK, managers))
        if not isinstance(verdict, Verdict):
            raise TypeError(f"it gave {type(verdict).__name__} and no Verdict")
        return verdict

    def _see(self, gate: Gate, guests: Sequence[Address]) -> tuple[Guest, ...]:
        """What the hosts say of the guests; a gate that reads nothing costs them nothing.

        Raises:
            TaskFailed: a host does not answer, so that what its guests do is not known.
        """
        reads = gate.reads - {"managers"}
        if not reads:
            return tuple(map(Guest, guests))
        names: defaultdict[str, list[str]] = defaultdict(list)
        for guest in guests:
            names[guest.host].append(guest.name)
        asked = [
            self.watcher.look_at(LookAtGuests(host, tuple(there), reads)) for host, there in names.items()
        ]
        return tuple(guest for future in asked for guest in future.result().guests)
