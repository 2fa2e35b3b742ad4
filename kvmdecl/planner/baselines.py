"""Guests whose CPU changes because the hosts that they may run on did."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kvmdecl.diagnostics import Diagnostic, Severity
from kvmdecl.plan import Action, Step
from kvmdecl.state import DesiredState, Kind


def changed_baselines(desired: DesiredState, steps: Iterable[Step]) -> Iterator[Diagnostic]:
    """Tell of each guest that exists and gets another CPU from `model: baseline` which hosts it comes from."""
    found = {baseline.vm: baseline for baseline in desired.baselines}
    for step in steps if found else ():
        baseline = found.get(step.address.name)
        if baseline is None or step.address.kind is not Kind.DOMAIN or step.action is Action.CREATE:
            continue
        change = next((change for change in step.changes if change.key == "cpus.model"), None)
        if change is not None:
            hosts = ", ".join(baseline.hosts)
            yield Diagnostic(
                code="plan.baseline-changed",
                summary=f"{baseline.vm} gets the CPU {baseline.model}, which all of {hosts} can show",
                at=change.at,
                cause="Its baseline follows the hosts that it may run on.",
                hint="to keep a CPU whatever hosts join, name its model or a level.",
                severity=Severity.WARNING,
                subject=str(step.address),
            )
