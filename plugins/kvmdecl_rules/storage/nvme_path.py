"""A raw disk on a fast device goes through the page cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Change, Finding, Rule, Severity, safe_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm in site.vms:
        for disk in vm.disks:
            source = disk.spec.source
            path = getattr(source, "path", source)
            if isinstance(path, str) and path.startswith("/dev/nvme") and disk.spec.cache != "none":
                told = f"{disk.name} of {vm.name} is {safe_text(path)} through the page cache"
                direct = (Change(f"{disk.key}.cache", "none"), Change(f"{disk.key}.io", "native"))
                yield Finding(vm, disk.key, told, proposal=direct)


RULE = Rule(
    code="storage.nvme-path",
    title="a raw disk on a fast device goes through the page cache",
    severity=Severity.INFO,
    why=(
        "On NVMe the page cache copies everything once more and the I/O threads of `io: threads` switch "
        "for each request. Direct I/O by io_uring or AIO takes a fraction of the CPU."
    ),
    source="QEMU, docs on block drivers; Red Hat, Virtualization Tuning and Optimization Guide, Block I/O",
    fix="say `cache: none, io: io_uring` (or `native`)",
    bad="""\
vms:
  db: {disks: {data: {source: /dev/nvme0n1, format: raw}}}
""",
    good="""\
vms:
  db: {disks: {data: {source: /dev/nvme0n1, format: raw, cache: none, io: io_uring}}}
""",
    check=check,
    workloads=("database", "latency"),
)
