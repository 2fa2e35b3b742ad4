"""A guest has lost its paravirtual clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from kvmdecl.api import Change, Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm in site.saying("timers"):
        name: Literal["hypervclock", "kvmclock"]
        name = "hypervclock" if vm.spec.os.startswith("windows") else "kvmclock"
        timer = vm.spec.timers.get(name)
        if timer is not None and timer.present is False:
            change = Change(f"timers.{name}", "true")
            yield Finding(vm, f"timers.{name}", f"{vm.name} has no {name}", change=change)


RULE = Rule(
    code="guest.slow-clock",
    title="a guest has lost its paravirtual clock",
    severity=Severity.WARNING,
    why=(
        "Without kvm-clock (or for Windows Hyper-V's reference counter) each look at the clock is an exit "
        "to KVM or to QEMU, and databases look thousands of times a second. After a migration, or a pause, "
        "the time is wrong until somebody sets it."
    ),
    source="Linux kernel, Documentation/virt/kvm/x86/timekeeping.rst; libvirt, formatdomain, timer",
    fix="leave the timer out",
    bad="""\
vms:
  web: {timers: {kvmclock: false}}
""",
    good="""\
vms:
  web: {}
""",
    check=check,
)
