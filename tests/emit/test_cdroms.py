"""Drives: what is in them is uploaded before the guest that looks into them."""

from __future__ import annotations

from kvmdecl.state import DesiredDomain, DesiredVolume, Role
from tests.emit.test_emit import by_address, emitted
from tests.resolve.support import SHA256, only_vm, rejected

ISO = f'storage: {{vms: /srv/vms}}\nimages: {{cd: {{source: cd.iso, format: raw, sha256: "{SHA256}"}}}}\n'
MEDIUM = f"cd.{SHA256[:12]}.raw"


def test_a_guest_needs_the_medium_in_its_drive() -> None:
    found = by_address(emitted(ISO + "vms: {web: {disk: 1GiB, cdroms: {dvd: cd}}}\n"))

    guest, medium = found["kvm-1/domain/web"], found[f"kvm-1/volume/vms/{MEDIUM}"]

    assert isinstance(guest, DesiredDomain)
    assert isinstance(medium, DesiredVolume)
    assert medium.role is Role.IMAGE
    assert medium.address in guest.needs
    assert f"/srv/vms/{MEDIUM}" in guest.xml


def test_an_empty_drive_needs_nothing() -> None:
    found = by_address(emitted("vms: {web: {cdroms: {dvd: {}}}}\n"))

    guest = found["kvm-1/domain/web"]

    assert isinstance(guest, DesiredDomain)
    assert guest.needs == ()
    assert "cdrom" in guest.xml


def test_a_guest_without_a_system_starts_the_installer_in_its_drive() -> None:
    vm = only_vm(ISO + "vms: {web: {disk: 1GiB, cdroms: {dvd: cd}, boot: [root, dvd]}}")

    assert (vm.disks[0].boot_order, vm.cdroms[0].boot_order) == (1, 2)


def test_what_cannot_be_in_a_drive_is_told_at_its_name() -> None:
    for drive, code in [
        ("{dvd: nothing}", "reference.unknown-image"),
        ("{dvd: {pool: x, image: cd}}", "reference.unknown-pool"),
    ]:
        (found,) = rejected(ISO + f"vms: {{web: {{cdroms: {drive}}}}}")
        assert found.code == code
    (found,) = rejected(ISO.replace("raw", "qcow2") + "vms: {web: {cdroms: {dvd: cd}}}")
    assert found.code == "image.no-medium"


def test_a_drive_is_not_called_like_a_disk() -> None:
    (found,) = rejected(ISO + "vms: {web: {disks: {dvd: 1GiB}, cdroms: {dvd: cd}}}")
    assert found.code == "manifest.bad-disks"
