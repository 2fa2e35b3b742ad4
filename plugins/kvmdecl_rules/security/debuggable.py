"""An encrypted guest may be debugged by its host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm in site.vms:
        security = vm.spec.launch_security
        if security is None or security.type != "sev" or security.policy is None:
            continue
        if not int(security.policy, 16) & 1:
            yield Finding(
                vm, "launch_security.policy", f"the host may debug {vm.name}, and so read its memory"
            )


RULE = Rule(
    code="security.debuggable",
    title="an encrypted guest may be debugged by its host",
    severity=Severity.WARNING,
    why=(
        "Bit 0 of an SEV policy forbids debugging. Without it the host can have any page decrypted, which "
        "is what the encryption was for."
    ),
    source="AMD, SEV API specification, guest policy; libvirt, launchSecurity policy",
    fix="set bit 0 of `policy` (`0x0003` or `0x0007`)",
    bad="""\
vms:
  vault:
    firmware: uefi
    memory: {size: 1GiB, locked: true, hard_limit: 4GiB}
    launch_security: {type: sev, policy: "0x0002"}
""",
    good="""\
vms:
  vault:
    firmware: uefi
    memory: {size: 1GiB, locked: true, hard_limit: 4GiB}
    launch_security: {type: sev, policy: "0x0003"}
""",
    check=check,
)
