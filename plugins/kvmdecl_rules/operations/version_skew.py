"""Hosts run different versions of QEMU."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    versions = {name: facts.qemu // 1_000 for name, facts in site.facts.items() if facts.qemu}
    newest = max(versions.values(), default=0)
    for name, version in sorted(versions.items()):
        host = site.hosts.get(name)
        if host is not None and version // 1_000 < newest // 1_000:
            told = f"QEMU {version // 1_000}.{version % 1_000}, and others have {newest // 1_000}.{newest % 1_000}"
            yield Finding(host, "", f"{name} has {told}")


RULE = Rule(
    code="operations.version-skew",
    title="hosts run different versions of QEMU",
    severity=Severity.WARNING,
    why=(
        "A guest migrates to a newer QEMU, and not back. When the newer hosts are drained nobody takes "
        "their guests."
    ),
    source="QEMU, docs/devel/migration/compatibility.rst",
    fix="bring all hosts to one version, the ones that take others' guests first",
    bad="""\
hosts:
  kvm-2: qemu+tls://kvm-2.example/system
vms:
  web: {machine: q35}
""",
    good="""\
vms:
  web: {machine: q35}
""",
    check=check,
    needs_hosts=True,
    machine={"qemus": (9_002_000, 8_002_000)},
)
