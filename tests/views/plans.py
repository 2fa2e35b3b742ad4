"""Plans of any size, as different from step to step as is asked for."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

from kvmdecl.compare import compare
from kvmdecl.diagnostics import Diagnostic, Severity, Span
from kvmdecl.pipeline import load_cluster
from kvmdecl.plan import (
    Action,
    Change,
    Fate,
    HostStatus,
    Impact,
    Plan,
    PlannedHost,
    PlannedManager,
    Prospect,
    Step,
)
from kvmdecl.pluginhost import load_plugins
from kvmdecl.scenario import example_host
from kvmdecl.state import Address, Kind
from kvmdecl.takeover import Proof, Takeover
from kvmdecl.tasks import DeletePool

HOSTS = 40
HOSTILE = [
    *(
        "@octocat",
        "#1",
        "GH-1",
        "<script>alert(1)</script>",
        "<!-- x",
        "-->",
        "`",
        "``",
        "` @octocat `",
        "|",
        "\\|",
    ),
    *(
        "[x](https://evil.example)",
        "https://evil.example",
        "![x](y)",
        "~~~",
        "```",
        "</details>",
        "</code></pre>",
    ),
    *(
        "*x*",
        "&lt;b&gt;",
        "x' onload='alert(1)",
        '" onmouseover="alert(1)" x="',
        "javascript:alert(1)",
        "</style><img src=x onerror=alert(1)>",
        "<svg/onload=alert(1)>",
        "]]>",
        "\n\n@octocat",
        "\u202e@octocat",
        "$(id)",
        "org/repo#1",
        "<a href=x>",
        "\\`@octocat",
    ),
]


_REVIEW = Path(__file__).parent / "review"


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


@cache
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


def hostile(names: list[str]) -> Plan:
    """A plan in which each text is one of those names."""
    actions = (Action.UPDATE, Action.DELETE, Action.CREATE)
    steps = [
        step(name, before=other, impact=Impact(n % 8), action=actions[n % 3])
        for n, (name, other) in enumerate(zip(names, reversed(names), strict=True))
    ]
    gone = [PlannedHost(name, "", HostStatus.UNREACHABLE, name, (f"{name}/domain/x",)) for name in names[:40]]
    plan = plan_of(*steps, notes=tuple(finding(n, summary=name) for n, name in enumerate(names, 1)))
    return replace(plan, cluster=names[0], revision=names[1], hosts=(*plan.hosts, *gone))


@cache
def review() -> Plan:
    """The plan of a change that has something of everything, on hosts of two NUMA cells; of files beside this one."""
    plugins = load_plugins()
    old, new = (load_cluster(_REVIEW / name, plugins) for name in ("before.yaml", "after.yaml"))
    return compare(old, new, {host.name: example_host(host.name) for host in new.hosts}, plugins)


def managed(vms: int, hosts: int, plan: Plan | None = None, long: int = 0) -> Plan:
    """A plan with a cluster manager: each host that is lost gives its vms to the next ones, and `vm-0` stays down."""
    names = [f"kvm-{'x' * long}{n:02}" for n in range(hosts)]
    start = {f"vm-{n}": names[n % hosts] for n in range(vms)}
    losses = tuple(_loss(start, names, number) for number in range(hosts))
    proof = Proof("Pacemaker 2.1.5", 1, hosts, start, losses, ())
    fates = [*(Fate.NONE for _ in start)]
    fates[: len(Fate)] = list(Fate)[: len(fates)]
    prospects = tuple(
        Prospect(vm, fate, host, host, at=Span("vms.yaml", 1, 1, 1, 1))
        for (vm, host), fate in zip(start.items(), fates, strict=True)
    )
    change = Change("priority", "vm-1.meta.priority", "2", "4", Impact.LIVE, "cibadmin")
    told = Step(
        Address("pacemaker", Kind.CLUSTER, "edge"),
        Action.UPDATE,
        Impact.DOWNTIME,
        (change,),
        "as kvm-1 knows it",
        "0" * 64,
        DeletePool("x", "x"),
    )
    plan = plan or plan_of()
    manager = PlannedManager("pacemaker", HostStatus.OK, "kvm-1", prospects=prospects)
    return replace(plan, steps=(*plan.steps, told), managers=(manager,), proofs=(proof,))


def _loss(start: dict[str, str], names: list[str], number: int) -> Takeover:
    on_it = [vm for vm, host in start.items() if host == names[number]]
    homes = {vm: names[(number + 1 + n) % len(names)] for n, vm in enumerate(on_it) if vm != "vm-0"}
    homes = {vm: host if host != names[number] else names[number - 1] for vm, host in homes.items()}
    return Takeover((names[number],), homes, {}, ("vm-0",) if number == 0 else ())
