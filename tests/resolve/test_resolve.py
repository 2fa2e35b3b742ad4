"""Linking: what a short manifest means in full, and everything that cannot be linked, told at its place."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING

import pytest

from kvmdecl.names import GIB, derive_uuid
from tests.resolve.support import BASE, DEBIAN, HEAD, SHA256, only_vm, rejected, resolved, told

if TYPE_CHECKING:
    from pathlib import Path

LAN = "networks: {lan: {bridge: br0}, nat: {mode: nat, subnet: 192.168.100.0/24}}\n"


# -- what is derived ----------------------------------------------------------------------------------


def test_three_lines_are_a_whole_guest() -> None:
    vm = only_vm(LAN + DEBIAN + "vms:\n  web:\n    image: debian\n    nics: [lan]\n")
    assert (vm.cpus, vm.memory, vm.machine) == (1, GIB, "q35")
    (disk,) = vm.disks
    assert (disk.name, disk.pool, disk.volume, disk.image) == ("root", "vms", "web.root.qcow2", "debian")
    (nic,) = vm.nics
    assert (nic.source, nic.is_bridge) == ("br0", True)
    assert vm.seed is not None
    assert dict(vm.seed.files)["user-data"] == "#cloud-config\n"
    assert vm.seed_volume == f"web.seed.{vm.seed.sha256[:12]}.iso"


def test_a_root_disk_may_name_its_pool_alone_and_take_the_size_of_the_vms_image() -> None:
    vm = only_vm(DEBIAN + "vms: {web: {image: debian, disk: {pool: vms}}}")
    assert [(disk.pool, disk.image, disk.size) for disk in vm.disks] == [("vms", "debian", None)]


@pytest.mark.parametrize("how", ["format: raw", "preallocation: metadata", "preallocation: falloc"])
@pytest.mark.parametrize(
    "vm", ["{image: debian, disk: {size: 1GiB, HOW}}", "{disks: {data: {image: debian, HOW}}}"]
)
def test_a_disk_that_begins_as_an_image_is_a_sparse_qcow2(how: str, vm: str) -> None:
    (found,) = rejected(DEBIAN + "vms: {web: " + vm.replace("HOW", how) + "}")
    assert found.code == "image.cannot-back"


def test_identity_is_a_function_of_names() -> None:
    one, two = (only_vm(LAN + f"vms:\n  web: {{nics: [lan], memory: {m}GiB}}\n") for m in (1, 2))
    assert (one.uuid, one.nics[0].mac) == (two.uuid, two.nics[0].mac)
    other = resolved(LAN + "vms: {web: {nics: [lan]}}", head=BASE.replace("demo", "other")).vms[0]
    assert other.uuid != one.uuid
    assert other.nics[0].mac != one.nics[0].mac


def test_a_derived_uuid_is_of_version_5_so_that_anybody_can_compute_it() -> None:
    namespace = uuid.uuid5(uuid.NAMESPACE_DNS, "kvmdecl.invalid")
    for name in map("web-{}".format, range(100)):
        assert derive_uuid("demo", "domain", name) == str(uuid.uuid5(namespace, f"demo/domain/{name}"))


def test_a_derived_mac_address_is_local_and_unicast() -> None:
    macs = [nic.mac for nic in only_vm(LAN + "vms: {web: {nics: [lan, lan, nat]}}").nics]
    assert len(set(macs)) == 3
    assert all(int(mac[:2], 16) & 0b11 == 0b10 for mac in macs)


def test_reordering_nics_of_different_networks_changes_no_mac() -> None:
    def macs(order: str) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for nic in only_vm(LAN + f"vms: {{web: {{nics: [{order}]}}}}").nics:
            found.setdefault(nic.network, []).append(nic.mac)
        return found

    assert macs("lan, nat, lan") == macs("nat, lan, lan") == macs("lan, lan, nat")


def test_a_libvirt_network_gets_a_bridge_name_that_linux_takes() -> None:
    networks = resolved("networks: {n: {mode: isolated}, m: {mode: isolated, bridge: virbr7}}\n").networks
    assert networks[0].bridge.startswith("virbr")
    assert len(networks[0].bridge) <= 15
    assert networks[1].bridge == "virbr7"


def test_only_libvirts_own_networks_have_a_uuid() -> None:
    assert [bool(network.uuid) for network in resolved(LAN).networks] == [False, True]


def test_an_image_volume_carries_the_digest_of_its_content() -> None:
    (image,) = resolved(DEBIAN).images
    assert image.volume == f"debian.{SHA256[:12]}.qcow2"
    assert (image.content.sha256, image.content.size) == (SHA256, None)


def test_guests_boot_from_their_first_disk_unless_told_otherwise() -> None:
    devices = (
        LAN + "storage: {vms: /srv/vms}\nvms:\n  web: {disk: 1GiB, disks: {data: 1GiB}, nics: [lan, nat]"
    )
    vm = only_vm(devices + "}")
    assert [disk.boot_order for disk in vm.disks] == [1, None]
    assert [nic.boot_order for nic in vm.nics] == [None, None]
    vm = only_vm(devices + ", boot: [network, root]}")
    assert [nic.boot_order for nic in vm.nics] == [1, 2]
    assert [disk.boot_order for disk in vm.disks] == [3, None]


def test_a_disks_serial_is_its_name_so_that_guests_find_it() -> None:
    vm = only_vm(
        "storage: {vms: /srv/vms}\nvms: {web: {disks: {data: 1GiB, log: {size: 1GiB, serial: L-1}}}}"
    )
    assert [disk.serial for disk in vm.disks] == ["data", "L-1"]


def test_pools_and_networks_are_on_all_hosts_or_on_those_they_name() -> None:
    text = "storage:\n  a: /srv/a\n  b: {path: /srv/b, hosts: [kvm-3, kvm-1]}\n"
    assert [pool.hosts for pool in resolved(text).pools] == [("kvm-1", "kvm-2", "kvm-3"), ("kvm-1", "kvm-3")]


def test_an_absent_pool_is_no_choice() -> None:
    text = "storage: {old: {path: /srv/old, state: absent}, new: /srv/new}\nvms: {web: {disk: 1GiB}}"
    assert only_vm(text).disks[0].pool == "new"


def test_the_place_of_every_key_can_be_found() -> None:
    text = (
        "storage: {vms: /srv/vms}\nvms:\n  web:\n    memory: 2GiB\n    disks:\n"
        '      data:\n        size: 1GiB\n        cache: none\n      "0": 2GiB\n'
    )
    vm = only_vm(text)
    lines = (BASE + text).splitlines()

    def written(key: str) -> str:
        at = vm.origin.find(key)
        assert at is not None
        return lines[at.line - 1][at.column - 1 : at.end_column - 1]

    keys = ("memory", "memory.max", "disks.data.cache", "disks.data.size", "disks.0", "cpus")
    assert [written(key) for key in keys] == ["2GiB", "2GiB", "none", "1GiB", "2GiB", "web"]


# -- seeds ----------------------------------------------------------------------------------------------


def test_a_seed_changes_its_name_with_its_content_and_keeps_the_instance() -> None:
    def seeded(package: str) -> tuple[str, str]:
        data = f"vms: {{web: {{cloud_init: {{user_data: '#cloud-config {package}'}}}}}}"
        vm = only_vm("storage: {vms: /srv/vms}\n" + data)
        assert vm.seed is not None
        return vm.seed_volume, dict(vm.seed.files)["meta-data"]

    assert seeded("a")[0] != seeded("b")[0]
    assert seeded("a")[1] == seeded("b")[1]


def test_a_seed_lies_beside_the_first_disk() -> None:
    pools = "storage: {fast: /srv/fast, big: /srv/big}\n"
    vm = only_vm(pools + "vms: {web: {disk: {size: 1GiB, pool: big}, cloud_init: {}}}")
    assert vm.seed_pool == "big"


def test_a_vm_without_image_or_cloud_init_has_no_seed() -> None:
    vm = only_vm("storage: {vms: /srv/vms}\nvms: {web: {disk: 1GiB}}")
    assert (vm.seed, vm.seed_pool, vm.seed_volume) == (None, "", "")


def test_texts_for_cloud_init_come_from_files_beside_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "web.yaml.txt").write_text("#!/bin/sh\necho hi\n")
    (tmp_path / "net").write_text("version: 2\n")
    files = "{user_data_file: web.yaml.txt, network_config_file: net}"
    vm = only_vm(f"storage: {{vms: /srv/vms}}\nvms: {{web: {{cloud_init: {files}}}}}", tmp_path)
    assert vm.seed is not None
    assert dict(vm.seed.files)["user-data"] == "#!/bin/sh\necho hi\n"
    assert dict(vm.seed.files)["network-config"] == "version: 2\n"


@pytest.mark.parametrize(
    "header", ["#cloud-config", "\n  #Cloud-Config", "#!/bin/sh", "## template: jinja", "MIME-Version: 1.0"]
)
def test_user_data_with_a_header_of_cloud_init_are_taken(header: str) -> None:
    data = f"vms:\n  web:\n    cloud_init:\n      user_data: {header!r}\n".replace("'", '"')
    assert only_vm("storage: {vms: /srv/vms}\n" + data).seed is not None


# -- what cannot be linked ------------------------------------------------------------------------------


def test_every_dangling_reference_is_told_in_one_run() -> None:
    text = (
        "storage: {vms: {path: /srv/vms, hosts: [kvm-4]}}\n"
        "networks: {lan: {bridge: br0}}\n"
        "vms:\n"
        "  a: {host: kvm-7, nics: [lam]}\n"
        "  b: {image: debian, disks: {data: {size: 1GiB, pool: vns}}}\n"
    )
    assert told(text) == [
        ("reference.unknown-host", "kvm-4"),
        ("reference.unknown-host", "kvm-7"),
        ("reference.unknown-network", "lam"),
        ("reference.unknown-image", "debian"),
        ("reference.unknown-pool", "vns"),
    ]


def test_a_near_miss_is_answered_with_the_name_that_was_meant() -> None:
    (found,) = rejected("networks: {lan: {bridge: br0}}\nvms: {a: {nics: [lam]}}")
    assert found.hint == "did you mean `lan`?"


def test_a_fault_of_a_hundred_copies_is_told_once() -> None:
    assert told("vms: {web: {count: 100, nics: [lan]}}") == [("reference.unknown-network", "lan")]


def test_of_several_pools_a_disk_names_one() -> None:
    (found,) = rejected("storage: {a: /srv/a, b: /srv/b}\nvms: {web: {disk: 1GiB}}")
    assert (found.code, found.cause) == ("reference.which-pool", "Pools are a, b.")


def test_a_seed_without_disks_needs_a_pool_too() -> None:
    assert told("vms: {web: {cloud_init: {}}}")[0][0] == "reference.no-pool"


def test_a_vm_on_a_host_uses_what_that_host_has() -> None:
    text = (
        "storage: {vms: {path: /srv/vms, hosts: [kvm-1]}}\n"
        "networks: {lan: {bridge: br0, hosts: [kvm-1]}}\n"
        "vms: {web: {host: kvm-2, disk: {size: 1GiB, pool: vms}, nics: [lan]}}\n"
    )
    assert told(text) == [("reference.not-on-host", "vms"), ("reference.not-on-host", "lan")]


def test_a_vm_without_host_needs_one_that_has_everything() -> None:
    text = (
        "storage: {vms: {path: /srv/vms, hosts: [kvm-1]}}\n"
        "networks: {lan: {bridge: br0, hosts: [kvm-2]}}\n"
        "vms: {web: {disk: 1GiB, nics: [lan]}}\n"
    )
    (found,) = rejected(text)
    assert found.summary == "no host has all of pool vms, network lan"


def test_nothing_stands_on_what_goes_away_but_what_goes_away_with_it() -> None:
    text = "networks: {lan: {mode: isolated, state: absent}}\nvms: {web: {state: STATE, nics: [lan]}}\n"
    assert told(text.replace("STATE", "stopped")) == [("reference.absent", "lan")]
    assert resolved(text.replace("STATE", "absent")).vms[0].state == "absent"


def test_a_mac_address_is_given_once_and_both_places_are_told() -> None:
    text = LAN + (
        'vms:\n  a: {nics: [lan, {network: nat, mac: "52:54:00:00:00:01"}]}\n'
        '  b: {nics: [{network: lan, mac: "52-54-00-00-00-01"}]}\n'
    )
    (found,) = rejected(text)
    assert (found.code, found.at and found.at.line) == ("reference.duplicate-mac", 8)
    assert found.notes[0].at is not None
    assert found.notes[0].at.line == 7


def test_a_given_mac_address_may_not_be_one_that_is_derived() -> None:
    mac = only_vm(LAN + "vms: {a: {nics: [lan]}}").nics[0].mac
    text = LAN + f'vms:\n  a: {{nics: [lan]}}\n  b: {{nics: [{{network: lan, mac: "{mac}"}}]}}\n'
    assert told(text) == [("reference.duplicate-mac", f'"{mac}"')]


def test_an_absent_vm_gives_its_mac_address_away() -> None:
    nic = '{nics: [{network: lan, mac: "52:54:00:00:00:01"}]'
    assert resolved(LAN + f"vms:\n  a: {nic}, state: absent}}\n  b: {nic}}}\n").vms


def test_networks_on_one_host_do_not_overlap() -> None:
    text = (
        "networks:\n"
        "  a: {mode: nat, subnet: 10.0.0.0/8}\n"
        "  b: {mode: nat, subnet: 10.200.0.0/16}\n"
        "  c: {mode: nat, subnet: 11.0.0.0/8}\n"
        '  d: {mode: nat, subnet: "fd00::/8"}\n'
    )
    assert told(text) == [("reference.overlapping-subnets", "10.200.0.0/16")]


def test_networks_on_different_hosts_may_overlap_and_share_a_bridge_name() -> None:
    text = (
        "networks:\n"
        "  a: {mode: nat, bridge: virbr1, subnet: 10.0.0.0/8, hosts: [kvm-1]}\n"
        "  b: {mode: nat, bridge: virbr1, subnet: 10.0.0.0/8, hosts: [kvm-2]}\n"
    )
    assert len(resolved(text).networks) == 2


def test_hosts_are_different_machines() -> None:
    text = 'hosts: {a: "qemu+tls://kvm.example/system", b: "qemu+tls://kvm.example/system"}\n'
    assert told(text, head=HEAD) == [("reference.duplicate-uri", '"qemu+tls://kvm.example/system"')]


def test_a_cluster_without_hosts_can_be_linked() -> None:
    assert resolved("vms: {web: {}}", head=HEAD).vms[0].host is None


def test_twenty_thousand_vms_are_linked_in_seconds() -> None:
    text = LAN + DEBIAN + "vms:\n  web: {count: 20000, image: debian, disk: 20GiB, nics: [lan]}\n"
    began = time.process_time()
    assert len(resolved(text).vms) == 20_000
    assert time.process_time() - began < 10
