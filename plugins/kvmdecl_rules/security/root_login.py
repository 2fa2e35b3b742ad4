"""Kvmdecl logs in as root."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for host in site.cluster.hosts:
        if host.uri.transport == "ssh" and host.uri.user == "root":
            yield Finding(host, "uri", f"{host.name} is reached as root")


RULE = Rule(
    code="security.root-login",
    title="kvmdecl logs in as root",
    severity=Severity.INFO,
    why=(
        "A key that opens root's shell on every host does more than kvmdecl needs. A member of the group "
        "libvirt can do all that is asked for, and its key can be bound to libvirt's socket."
    ),
    source="libvirt, Access control and polkit; OpenSSH, authorized_keys command=",
    fix="use a user of the group libvirt (`qemu+ssh://deploy@HOST/system`)",
    bad="""\
hosts:
  kvm-2: qemu+ssh://root@kvm-2.example/system
""",
    good="""\
hosts:
  kvm-2: qemu+ssh://deploy@kvm-2.example/system
""",
    check=check,
)
