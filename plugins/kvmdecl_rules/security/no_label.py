"""A guest runs without the confinement of its host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm in site.saying("security"):
        for model, label in vm.spec.security.items():
            if label.type == "none" and model != "dac":
                yield Finding(vm, f"security.{model}", f"{vm.name} is not confined by {model}")


RULE = Rule(
    code="security.no-label",
    title="a guest runs without the confinement of its host",
    severity=Severity.WARNING,
    why=(
        "SELinux and AppArmor keep a guest that broke out of QEMU from the files of the host and of other "
        "guests. Without a label it has whatever QEMU's user has."
    ),
    source="libvirt, sVirt; formatdomain, seclabel",
    fix="leave `security` out",
    bad="""\
vms:
  web: {security: {selinux: none}}
""",
    good="""\
vms:
  web: {}
""",
    check=check,
)
