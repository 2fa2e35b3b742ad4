"""QEMU's own threads run on the CPUs of dedicated vCPUs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Change, Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm in site.vms:
        cpus = vm.spec.cpus
        if cpus.policy == "dedicated" and cpus.emulator in {None, "float"} and cpus.emulator_pin is None:
            share = (Change("cpus.emulator", "share"),)
            told = f"QEMU of {vm.name} has no CPU beside those of its vCPUs"
            yield Finding(vm, "cpus.policy", told, proposal=share)


RULE = Rule(
    code="cpu.emulator-beside",
    title="QEMU's own threads run on the CPUs of dedicated vCPUs",
    severity=Severity.INFO,
    why=(
        "Disk and network work that no I/O thread does, and migration, run in QEMU's main thread. On a "
        "CPU that a vCPU has for itself each of them is a pause of that vCPU."
    ),
    source="OpenStack Nova, hw:emulator_threads_policy; libvirt, formatdomain, emulatorpin",
    fix="say `emulator: share` (on the host's shared CPUs) or `emulator: isolate` (on a CPU of its own)",
    bad="""\
vms:
  net: {cpus: {count: 4, policy: dedicated}}
""",
    good="""\
vms:
  net: {cpus: {count: 4, policy: dedicated, emulator: share}}
""",
    check=check,
    workloads=("latency", "gpu"),
)
