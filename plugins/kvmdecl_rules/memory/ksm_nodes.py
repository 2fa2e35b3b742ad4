"""Equal pages are merged across NUMA cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find hosts whose merging the manifest says something about, and that may have guests bound to cells."""
    merging = [
        host for host in site.cluster.hosts if host.ksm and dict(host.ksm).get("merge_across_nodes") != 0
    ]
    bound = [vm for vm in site.saying("numa") if vm.spec.memory.ksm] if merging else []
    for host in merging:
        if vm := next((vm for vm in bound if vm.host in {None, host.name}), None):
            yield Finding(
                host,
                "ksm",
                f"{host.name} merges pages of {vm.name}, which is bound to a cell, with any others",
            )


RULE = Rule(
    code="memory.ksm-nodes",
    title="equal pages are merged across NUMA cells",
    severity=Severity.INFO,
    why=(
        "A page that guests of two cells share is in one of them, and far for the guests of the other. "
        "Where guests are bound to cells so that their memory is near, merging takes some of it away again."
    ),
    source="Linux kernel, Documentation/admin-guide/mm/ksm.rst (merge_across_nodes)",
    fix="say `ksm: {merge_across_nodes: false}` of the host",
    bad="""\
hosts:
  kvm-2: {uri: "qemu+tls://kvm-2.example/system", ksm: {pages_to_scan: 200}}
vms:
  db: {host: kvm-2, memory: 4GiB, numa: {bind: true}}
""",
    good="""\
hosts:
  kvm-2: {uri: "qemu+tls://kvm-2.example/system", ksm: {pages_to_scan: 200, merge_across_nodes: false}}
vms:
  db: {host: kvm-2, memory: 4GiB, numa: {bind: true}}
""",
    check=check,
)
