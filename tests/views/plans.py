"""Plans of any size, as different from step to step as is asked for."""

from __future__ import annotations

from kvmdecl.diagnostics import Diagnostic, Severity, Span
from kvmdecl.plan import Action, Change, HostStatus, Impact, Plan, PlannedHost, Step
from kvmdecl.state import Address, Kind
from kvmdecl.tasks import DeletePool

HOSTS = 40


def step(
    name: str,
    host: str = "kvm-1",
    *,
    before: str = "2",
    impact: Impact = Impact.NEXT_BOOT,
    action: Action = Action.UPDATE,
    line: int = 1,
) -> Step:
    at = Span("vms.yaml", line, 5, line, 9)
    change = Change("vcpu", "cpus", before, "4", impact, "virDomainDefineXML", at=at)
    return Step(
        Address(host, Kind.DOMAIN, name),
        action,
        impact,
        (change,) if action is Action.UPDATE else (),
        "1 vCPU, started",
        "0" * 64,
        DeletePool(name, name),
        at=at,
    )


def plan_of(*steps: Step, silent: int = 0, notes: tuple[Diagnostic, ...] = ()) -> Plan:
    names = sorted({each.address.host for each in steps})
    hosts = [PlannedHost(name, "", HostStatus.OK) for name in names]
    hosts += [
        PlannedHost(f"gone-{n}", "", HostStatus.UNREACHABLE, "no answer", ("x",)) for n in range(silent)
    ]
    return Plan("edge", "f" * 64, tuple(hosts), steps, 7, notes=notes)


def large(number: int, kinds: int) -> Plan:
    """So many changes on forty hosts, of so many kinds."""
    return plan_of(
        *(
            step(
                f"vm-{n}",
                f"kvm-{n % HOSTS:02}",
                before=str(n % kinds),
                impact=Impact(n % kinds % 8),
                line=n + 1,
            )
            for n in range(number)
        )
    )


def finding(number: int, severity: Severity = Severity.WARNING, summary: str = "it is so") -> Diagnostic:
    at = Span("vms.yaml", number, 3, number, 8)
    return Diagnostic("test.code", summary, at, "Because.", "do not", severity=severity)
