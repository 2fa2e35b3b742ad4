"""Windows does not learn that it was put back to a snapshot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Change, Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


_FOR = ("windows",)


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm in site.working(*_FOR):
        if vm.spec.genid is None:
            told = f"{vm.name} has no identity of its generation"
            yield Finding(vm, "genid", told, proposal=(Change("genid", "auto"),))


RULE = Rule(
    code="workload.no-generation",
    title="Windows does not learn that it was put back to a snapshot",
    severity=Severity.WARNING,
    why=(
        "A domain controller that does not know that its clock went back gives numbers out twice, and the "
        "others stop to believe it. The identity of its generation changes with each snapshot that it is "
        "put back to."
    ),
    source="Microsoft, Virtual machine generation identifier; libvirt, formatdomain, genid",
    fix="say `genid: auto`",
    bad="""\
rules: {workloads: {desk: windows}}
vms:
  desk: {os: windows, disks: {data: {size: 10GiB, bus: virtio}}}
""",
    good="""\
rules: {workloads: {desk: windows}}
vms:
  desk: {os: windows, genid: auto, disks: {data: {size: 10GiB, bus: virtio}}}
""",
    check=check,
    workloads=_FOR,
)
