"""Io_uring where the host's QEMU has none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


_SINCE = 5_000_000


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for name, vms in site.vms_on.items():
        if name not in site.facts or not 0 < site.facts[name].qemu < _SINCE:
            continue
        for vm in vms:
            for disk in vm.disks:
                if disk.spec.io == "io_uring":
                    yield Finding(
                        vm, f"{disk.key}.io", f"{disk.name} of {vm.name} wants io_uring of {name}'s QEMU"
                    )


RULE = Rule(
    code="storage.no-io-uring",
    title="io_uring where the host's QEMU has none",
    severity=Severity.ERROR,
    why="QEMU knows io_uring from version 5.0 on, and older ones do not start the guest.",
    source="QEMU, changelog of 5.0; libvirt, formatdomain, driver io",
    fix="say `io: threads` or `io: native`, or choose a host with a newer QEMU",
    bad="""\
vms:
  db: {host: kvm-1, disks: {data: {size: 1GiB, io: io_uring}}}
""",
    good="""\
vms:
  db: {host: kvm-1, disks: {data: {size: 1GiB, io: threads}}}
""",
    check=check,
    needs_hosts=True,
    machine={"qemu": 4_002_000},
)
