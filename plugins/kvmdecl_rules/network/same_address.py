"""Two guests have one address."""

from __future__ import annotations

import re
from itertools import chain
from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import ResolvedVm, Site


_STATIC = re.compile(
    r"(?<![\w.:])((?:\d{1,3}\.){3}\d{1,3}|[0-9a-f:]{2,39}:[0-9a-f]{0,4})/\d{1,3}(?![\w.])", re.IGNORECASE
)
"""An address with the length of its network: in `network_config` gateways and name servers have none."""


def check(site: Site) -> Iterator[Finding]:
    """Find the second of two guests that have a network in common."""
    first: dict[tuple[str, str], str] = {}
    for vm, key, address in chain(_configured(site), _filtered(site)):
        for network in {nic.network for nic in vm.nics if nic.network}:
            other = first.setdefault((network, address), vm.name)
            if other != vm.name:
                yield Finding(vm, key, f"{vm.name} and {other} both have {address} on {network}")


def _configured(site: Site) -> Iterator[tuple[ResolvedVm, str, str]]:
    for vm in site.saying("cloud_init.network_config"):
        text = vm.spec.cloud_init.network_config if vm.spec.cloud_init is not None else None
        for address in dict.fromkeys(_STATIC.findall(text or "")):
            yield vm, "cloud_init.network_config", address


def _filtered(site: Site) -> Iterator[tuple[ResolvedVm, str, str]]:
    for vm, number, nic in site.nics(lambda nic: nic.filter is not None and "IP" in nic.filter.parameters):
        value = nic.spec.filter.parameters["IP"] if nic.spec.filter is not None else ()
        for address in (value,) if isinstance(value, str) else value:
            yield vm, f"nics.{number}.filter", address


RULE = Rule(
    code="network.same-address",
    title="two guests have one address",
    severity=Severity.WARNING,
    why=(
        "Each answers for the address in turn, and connections break as soon as a neighbour learns the "
        "other one. It looks like a network that fails at random."
    ),
    source="RFC 5227 (IPv4 address conflict detection); cloud-init, network configuration version 2",
    fix="give each its own address",
    bad="""\
profiles:
  fixed:
    image: debian-13
    nics: [lan]
    cloud_init:
      network_config: |
        version: 2
        ethernets: {enp1s0: {addresses: [192.0.2.10/24], gateway4: 192.0.2.1}}
vms:
  a: {profile: fixed}
  b: {profile: fixed}
""",
    good="""\
vms:
  a: {nics: [{network: lan, filter: {name: clean-traffic, parameters: {IP: 192.0.2.10}}}]}
  b: {nics: [{network: lan, filter: {name: clean-traffic, parameters: {IP: 192.0.2.11}}}]}
""",
    check=check,
)
