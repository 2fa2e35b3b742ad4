"""Windows uses two of the guest's sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Change, Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


_MOST = 2


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm in site.saying("os"):
        if vm.spec.os != "windows-11" or vm.spec.cpus.most <= _MOST:
            continue
        topology = vm.spec.cpus.topology
        sockets = vm.spec.cpus.most if topology is None else topology.sockets
        if sockets > _MOST:
            told = f"{vm.name} has {sockets} sockets, and its Windows uses {_MOST} of them"
            cores = (Change("cpus.topology", f"{{cores: {vm.spec.cpus.most}}}"),) if topology is None else ()
            yield Finding(vm, "cpus", told, proposal=cores)


RULE = Rule(
    code="guest.windows-sockets",
    title="Windows uses two of the guest's sockets",
    severity=Severity.WARNING,
    why=(
        "Editions of Windows for desktops use at most two sockets, and a machine without a topology has a "
        "socket for each vCPU: the third and all after it are never used, and nothing says so."
    ),
    source="Microsoft, Windows 11 Pro and Home processor limits; libvirt, formatdomain, cpu topology",
    fix="say `topology: {sockets: 1, cores: N}`",
    bad="""\
vms:
  desk: {os: windows-11, cpus: 4, disks: {data: {size: 10GiB, bus: virtio}}}
""",
    good="""\
vms:
  desk: {os: windows-11, cpus: {count: 4, topology: {cores: 4}}, disks: {data: {size: 10GiB, bus: virtio}}}
""",
    check=check,
)
