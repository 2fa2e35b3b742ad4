"""Hosts understand a machine type differently."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity, safe_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    known: dict[tuple[str, str, str], set[str]] = {}
    for vm in site.vms:
        if vm.spec.host is not None or len(site.facts) < 2:
            continue
        key = (vm.arch, vm.type, vm.machine)
        if key not in known:
            guests = [facts.guest_type(vm.arch, vm.type) for facts in site.facts.values()]
            known[key] = {
                m.canonical for guest in guests if guest for m in guest.machines if m.name == vm.machine
            }
        if len(known[key]) > 1:
            named = " and ".join(sorted(safe_text(name) for name in known[key]))
            yield Finding(vm, "machine", f"`{vm.machine}` of {vm.name} is {named}")


RULE = Rule(
    code="operations.drifting-machine",
    title="hosts understand a machine type differently",
    severity=Severity.WARNING,
    why=(
        "An alias such as `q35` is the newest machine that a host's QEMU knows. A guest made on the newer "
        "host has a board that the older one cannot start, so it cannot go there."
    ),
    source="QEMU, docs on machine versions; libvirt, capabilities (machine canonical)",
    fix="name the oldest of them (`machine: pc-q35-9.2`)",
    bad="""\
hosts:
  kvm-2: qemu+tls://kvm-2.example/system
vms:
  web: {}
""",
    good="""\
hosts:
  kvm-2: qemu+tls://kvm-2.example/system
vms:
  web: {machine: pc-q35-8.2}
""",
    check=check,
    needs_hosts=True,
    machine={"machines": ("pc-q35-9.2", "pc-q35-8.2")},
)
