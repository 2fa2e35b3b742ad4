"""A host is reached without encryption."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for host in site.cluster.hosts:
        if host.uri.transport == "tcp" and not host.uri.host.startswith("127."):
            yield Finding(host, "uri", f"{host.name} is reached by plain TCP")


RULE = Rule(
    code="security.plain-transport",
    title="a host is reached without encryption",
    severity=Severity.WARNING,
    why=(
        "libvirt's plain TCP transport shows and takes every command, and whoever can send one is root on "
        "the host."
    ),
    source="libvirt, remote support (transport tcp)",
    fix="use `qemu+tls://` or `qemu+ssh://`",
    bad="""\
hosts:
  kvm-2: qemu+tcp://kvm-2.example/system
""",
    good="""\
hosts:
  kvm-2: qemu+tls://kvm-2.example/system
""",
    check=check,
)
