"""IPv6 over a network that is too narrow for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


_LEAST = 1280


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for network in site.cluster.networks:
        spec = network.spec
        subnets = (spec.subnet, *(entry.subnet for entry in spec.subnets))
        if spec.mtu is not None and spec.mtu < _LEAST and any(subnet and ":" in subnet for subnet in subnets):
            yield Finding(network, "mtu", f"{network.name} has an MTU of {spec.mtu} and an IPv6 subnet")


RULE = Rule(
    code="network.small-mtu",
    title="IPv6 over a network that is too narrow for it",
    severity=Severity.ERROR,
    why="IPv6 needs links that carry packets of 1280 bytes; over narrower ones it does not work at all.",
    source="RFC 8200, section 5",
    fix="set an MTU of at least 1280",
    bad="""\
networks:
  inner: {mode: isolated, mtu: 1200, subnets: ["fd00:1::/64"]}
""",
    good="""\
networks:
  inner: {mode: isolated, mtu: 1280, subnets: ["fd00:1::/64"]}
""",
    check=check,
)
