"""A host's CPU does not show hardware virtualisation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for name, vms in site.vms_on.items():
        facts = site.facts.get(name)
        if facts is None or facts.arch != "x86_64" or not facts.cpu_features:
            continue
        wants = next((vm for vm in vms if vm.type == "kvm"), None)
        if wants is not None and not {"vmx", "svm"} & set(facts.cpu_features):
            yield Finding(
                wants, "type", f"{wants.name} is to run on KVM, and the CPU of {name} has neither vmx nor svm"
            )


RULE = Rule(
    code="cpu.no-virtualisation",
    title="a host's CPU does not show hardware virtualisation",
    severity=Severity.ERROR,
    why=(
        "Without vmx (Intel) or svm (AMD) there is no KVM. The flag is missing where it is switched off "
        "in the firmware, or where the host is itself a guest without nested virtualisation; guests then "
        "do not start, or not any more after the next boot of the host."
    ),
    source="Linux kernel, arch/x86/kvm/Kconfig; libvirt, capabilities (host/cpu/feature)",
    fix="switch it on in the host's firmware, or say `type: qemu` for guests that may be slow",
    bad="""\
vms:
  web: {host: kvm-1}
""",
    good="""\
vms:
  web: {host: kvm-1, type: qemu}
""",
    check=check,
    needs_hosts=True,
    machine={"cpu_features": ("aes",)},
)
