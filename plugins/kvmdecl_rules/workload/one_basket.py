"""All copies of a service may be on one host."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from kvmdecl.api import Change, Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


_FOR = ("web", "database")


def check(site: Site) -> Iterator[Finding]:
    """Find vms of one entry that nothing keeps apart."""
    if len(site.cluster.hosts) < 2:
        return
    free = [
        vm
        for vm in site.working(*_FOR)
        if vm.spec.host is None and not vm.spec.apart and not vm.spec.together
    ]
    of_entry = Counter(vm.origin.at for vm in free)
    for vm in free:
        if vm.origin.at is not None and of_entry[vm.origin.at] > 1:
            told = f"{vm.name} may be on one host with all of its like"
            yield Finding(vm, "", told, proposal=(Change("apart.soft", "true"),))


RULE = Rule(
    code="workload.one-basket",
    title="all copies of a service may be on one host",
    severity=Severity.WARNING,
    why=(
        "Several guests of one entry stand in for each other, and when their host fails all of them are "
        "gone. As a wish (`soft`) it keeps nobody from running where there is no room."
    ),
    source="OpenStack Nova, soft-anti-affinity; Google SRE Book, chapter 23",
    fix="say `apart: {soft: true}`, or `apart: rack`",
    bad="""\
rules: {workloads: {web-*: web}}
hosts:
  kvm-2: qemu+tls://kvm-2.example/system
vms:
  web: {count: 2}
""",
    good="""\
rules: {workloads: {web-*: web}}
hosts:
  kvm-2: qemu+tls://kvm-2.example/system
vms:
  web: {count: 2, apart: {soft: true}}
""",
    check=check,
    workloads=_FOR,
)
