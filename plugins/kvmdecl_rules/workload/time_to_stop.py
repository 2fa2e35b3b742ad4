"""A database is given little time to write what it has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Change, Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


_FOR = ("database",)


_LEAST = 300


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm in site.working(*_FOR):
        if vm.spec.shutdown.timeout < _LEAST:
            told = f"{vm.name} has {vm.spec.shutdown.timeout} seconds to shut down"
            yield Finding(vm, "shutdown", told, proposal=(Change("shutdown.timeout", "5m"),))


RULE = Rule(
    code="workload.time-to-stop",
    title="a database is given little time to write what it has",
    severity=Severity.WARNING,
    why=(
        "Asked to power off it writes its memory to its disks and closes its logs, which takes minutes "
        "where there is much of it. After the time a plan's step fails, or (with `force`) the plug is "
        "pulled."
    ),
    source="PostgreSQL, pg_ctl stop (shutdown checkpoint); libvirt, virDomainShutdownFlags",
    fix="say `shutdown: 5m`",
    bad="""\
rules: {workloads: {db: database}}
vms:
  db: {memory: 2GiB}
""",
    good="""\
rules: {workloads: {db: database}}
vms:
  db: {memory: 2GiB, shutdown: 5m}
""",
    check=check,
    workloads=_FOR,
)
