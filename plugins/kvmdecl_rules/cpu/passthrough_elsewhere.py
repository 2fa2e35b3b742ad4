"""A guest sees the host's own CPU, and other hosts have another one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity, safe_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    models = {facts.cpu_model for facts in site.facts.values() if facts.cpu_model}
    for vm in site.vms if len(models) > 1 else ():
        if vm.spec.cpus.model == "host-passthrough" and vm.spec.host is None:
            named = " and ".join(sorted(safe_text(model) for model in models))
            yield Finding(
                vm, "cpus.model", f"{vm.name} is shown the CPU of {vm.host}, and hosts have {named}"
            )


RULE = Rule(
    code="cpu.passthrough-elsewhere",
    title="a guest sees the host's own CPU, and other hosts have another one",
    severity=Severity.WARNING,
    why=(
        "With `host-passthrough` the guest uses what this very CPU can do. On a host with another CPU it "
        "does not start after a migration, or it crashes there."
    ),
    source="libvirt, formatdomain, cpu mode host-passthrough; QEMU, docs/system/i386/cpu.rst",
    fix="say `model: baseline` for what all hosts can do, a named model, or `host:` if it never moves",
    bad="""\
hosts:
  kvm-2: qemu+tls://kvm-2.example/system
vms:
  db: {cpus: {count: 2, model: host-passthrough}}
""",
    good="""\
hosts:
  kvm-2: qemu+tls://kvm-2.example/system
vms:
  db: {cpus: {count: 2, model: baseline}}
""",
    check=check,
    needs_hosts=True,
    machine={"cpu_models": ("EPYC-Rome", "Skylake-Server")},
)
