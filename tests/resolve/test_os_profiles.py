"""What `os:` decides where the manifest says nothing, and only there."""

from __future__ import annotations

from kvmdecl.cluster import ResolvedVm
from kvmdecl.manifest.hyperv import Hyperv
from tests.resolve.support import rejected, resolved

STANDS_ON = "storage: {vms: /srv/vms}\nnetworks: {lan: {bridge: br0}}\n"


def guest(keys: str) -> ResolvedVm:
    (vm,) = resolved(
        f"{STANDS_ON}vms:\n  web: {{{keys}, disk: 8GiB, disks: {{data: 1GiB}}, nics: [lan]}}\n"
    ).vms
    return vm


def test_windows_gets_devices_that_its_installer_knows_and_local_time() -> None:
    vm = guest("os: windows")

    assert [disk.spec.bus for disk in vm.disks] == ["sata", "sata"]
    assert [nic.spec.model for nic in vm.nics] == ["e1000e"]
    assert (vm.spec.clock, vm.spec.hyperv, vm.spec.tpm) == ("localtime", Hyperv(), None)


def test_windows_11_has_secure_boot_and_a_tpm_too() -> None:
    vm = guest("os: windows-11")

    assert (vm.spec.firmware.type, vm.spec.firmware.secure_boot) == ("uefi", True)
    assert vm.spec.tpm is not None
    assert vm.spec.tpm.type == "emulator"


def test_what_is_given_counts() -> None:
    text = (
        "os: windows-11, firmware: bios, tpm: null, hyperv: false, clock: utc, disk: {size: 8GiB, bus: virtio},"
        " nics: [{network: lan, model: virtio}]"
    )
    (vm,) = resolved(f"{STANDS_ON}vms:\n  web: {{{text}}}\n").vms

    assert (vm.spec.firmware.type, vm.spec.tpm, vm.spec.clock) == ("bios", None, "utc")
    assert vm.spec.hyperv == Hyperv(enabled=False)
    assert [disk.spec.bus for disk in vm.disks] == ["virtio"]
    assert [nic.spec.model for nic in vm.nics] == ["virtio"]


def test_linux_and_bsd_decide_nothing_of_the_manifest() -> None:
    assert guest("os: linux").disks == guest("os: bsd").disks == guest("autostart: true").disks


def test_an_option_that_the_bus_of_the_os_does_not_have_is_told_at_its_key() -> None:
    (found,) = rejected(
        "storage: {vms: /srv/vms}\nvms: {web: {os: windows, iothreads: 1, disk: {size: 1GiB, iothread: 1}}}"
    )
    assert (found.code, found.summary) == ("manifest.bad-disk", "a disk on the sata bus has no `iothread`")
    assert found.at is not None


def test_a_nic_of_which_only_virtio_has_an_option_is_told_so_at_its_key() -> None:
    (found,) = rejected(
        "networks: {lan: {bridge: br0}}\nvms: {web: {os: windows, nics: [{network: lan, queues: 4}]}}"
    )
    assert (found.code, found.summary) == ("manifest.bad-nic", "queues is for virtio, not e1000e")


def test_a_nic_that_has_no_choice_of_models_is_left_as_it_is() -> None:
    nics = "[{pci: '0000:03:10.0'}, {vdpa: /dev/vhost-vdpa-0}]"
    (vm,) = resolved(f"vms: {{web: {{os: windows, nics: {nics}}}}}\n").vms

    assert [nic.spec.model for nic in vm.nics] == ["virtio", "virtio"]
