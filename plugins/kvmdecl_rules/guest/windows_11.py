"""Windows 11 without what it asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm in site.saying("os"):
        if vm.spec.os != "windows-11":
            continue
        firmware = vm.spec.firmware
        lacks = [] if firmware.type == "uefi" else ["UEFI"]
        lacks += [] if firmware.secure_boot else ["Secure Boot"]
        lacks += [] if vm.spec.tpm is not None and vm.spec.tpm.version != "1.2" else ["a TPM 2.0"]
        if lacks:
            yield Finding(
                vm, "firmware" if "UEFI" in lacks else "tpm", f"{vm.name} lacks {' and '.join(lacks)}"
            )


RULE = Rule(
    code="guest.windows-11",
    title="Windows 11 without what it asks for",
    severity=Severity.WARNING,
    why="Its installer and its yearly updates refuse a machine without UEFI, Secure Boot and a TPM 2.0.",
    source="Microsoft, Windows 11 requirements",
    fix="leave `firmware` and `tpm` to `os: windows-11`",
    bad="""\
vms:
  desk: {os: windows-11, firmware: bios, disks: {data: {size: 10GiB, bus: virtio}}}
""",
    good="""\
vms:
  desk: {os: windows-11, disks: {data: {size: 10GiB, bus: virtio}}}
""",
    check=check,
)
