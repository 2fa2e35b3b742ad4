"""Two guests have one security label."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    first: dict[tuple[str, str], str] = {}
    for vm in site.saying("security"):
        for model, label in vm.spec.security.items():
            usual = model == "dac" and not site.has_tenants  # one user for all guests is what libvirt does
            if label.type != "static" or label.label is None or usual:
                continue
            other = first.setdefault((model, label.label), vm.name)
            if other != vm.name:
                yield Finding(vm, f"security.{model}", f"{vm.name} and {other} have one label of {model}")


RULE = Rule(
    code="security.same-label",
    title="two guests have one security label",
    severity=Severity.WARNING,
    why=(
        "The label is what keeps one guest's process from the files of the other. With the same one each "
        "reaches both."
    ),
    source="libvirt, formatdomain, seclabel type static",
    fix="leave the label to libvirt (`dynamic`), or give each its own categories",
    bad="""\
vms:
  a: {security: {selinux: {type: static, label: "system_u:system_r:svirt_t:s0:c1,c2"}}}
  b: {security: {selinux: {type: static, label: "system_u:system_r:svirt_t:s0:c1,c2"}}}
""",
    good="""\
vms:
  a: {security: {selinux: {type: static, label: "system_u:system_r:svirt_t:s0:c1,c2"}}}
  b: {security: {selinux: {type: static, label: "system_u:system_r:svirt_t:s0:c1,c3"}}}
""",
    check=check,
)
