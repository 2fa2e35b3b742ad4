"""Which pool can hold what, and what a disk is in each of them."""

from __future__ import annotations

import pytest

from kvmdecl.candidates import pools_of
from tests.resolve.support import SHA256, only_vm, resolved, told

POOLS = f"""\
storage:
  vms: /srv/vms
  nas: {{type: netfs, path: /srv/nas, server: nas.example, export: /vol}}
  vg: {{type: logical, source: vg0}}
  tank: {{type: zfs, source: tank}}
  ceph: {{type: rbd, source: vms, servers: [ceph-1]}}
  parts: {{type: disk, devices: [/dev/sdb]}}
  san: {{type: iscsi, server: san.example, target: "iqn.2026-01.example:vms"}}
images:
  debian: {{source: debian.qcow2, sha256: "{SHA256}"}}
  cd: {{source: cd.iso, sha256: "{SHA256}", format: raw}}
"""
UNFIT = {
    "disk: {size: 1GiB, pool: vg, format: qcow2}": "qcow2",
    "disk: {size: 1GiB, pool: vg, image: debian}, cloud_init: {pool: vms}": "debian",
    "disk: {pool: vg, size: 1GiB}, image: debian, cloud_init: {pool: vms}": "debian",
    "disk: {size: 1GiB, pool: vg, preallocation: falloc}": "falloc",
    "disk: {size: 1GiB, pool: ceph, preallocation: full, format: raw}": "full",
    "disk: {size: 1025MiB, pool: vg}": "1025MiB",
    "disk: {size: 1GiB, pool: vg, cluster_size: 128KiB}": "128KiB",
    "disk: {size: 1GiB, pool: ceph, nocow: true}": "true",
    "disk: {size: 1GiB, pool: parts}": "parts",
    "disk: {size: 1GiB, pool: san}": "san",
    "disk: {pool: vms, volume: old.img}": "old.img",
    "cdroms: {cd: {image: cd, pool: vg}}": "vg",
    "disk: {size: 1GiB, pool: vms}, cloud_init: {pool: ceph}": "ceph",
    "disk: {clone: golden.raw, pool: vg}": "golden.raw",
    "disk: {clone: {volume: golden.raw, pool: vg}, pool: vms}": "vg",
}


@pytest.mark.parametrize("vm", UNFIT)
def test_what_a_pool_cannot_hold_is_refused_where_it_is_said(vm: str):
    found = told(POOLS + "vms: {web: {" + vm + "}}")
    assert found == [("reference.unfit-pool", UNFIT[vm])]


@pytest.mark.parametrize(
    ("disk", "clone", "needs"),
    [
        ("image: debian, full_copy: true, format: raw", f"vms/debian.{SHA256[:12]}.qcow2", {"vms"}),
        ("clone: golden.qcow2, size: 1GiB", "vms/golden.qcow2", {"vms"}),
        ("clone: {volume: golden.raw, pool: nas}", "nas/golden.raw", {"vms", "nas"}),
    ],
)
def test_a_disk_may_begin_as_a_full_copy_of_an_image_or_of_a_volume(disk: str, clone: str, needs: set[str]):
    vm = only_vm(POOLS + "vms: {web: {disk: {pool: vms, " + disk + "}}}")
    assert (vm.disks[0].clone, pools_of(vm)) == (clone, needs)


@pytest.mark.parametrize(
    ("disk", "code", "where"),
    [
        ("size: 1GiB, full_copy: true", "manifest.bad-disk", "true"),
        ("image: debian, full_copy: true, preallocation: falloc", "image.cannot-back", "falloc"),
        ("clone: {volume: golden.raw, pool: nowhere}", "reference.unknown-pool", "nowhere"),
        ("clone: golden.raw, image: debian", "manifest.bad-disk", "golden.raw"),
        ("volume: old.raw, format: raw, full_copy: true", "manifest.bad-disk", "true"),
    ],
)
def test_what_is_no_copy_of_anything_is_refused(disk: str, code: str, where: str):
    assert told(POOLS + "vms: {web: {disk: {pool: vms, " + disk + "}}}") == [(code, where)]


@pytest.mark.parametrize("pool", ["vg", "tank", "ceph"])
def test_a_disk_that_is_no_file_is_raw_unless_it_says_so_itself(pool: str):
    (disk,) = only_vm(POOLS + f"vms: {{web: {{disk: {{size: 1GiB, pool: {pool}}}}}}}").disks
    assert (disk.spec.format, disk.volume) == ("raw", "web.root.raw")


def test_a_volume_that_is_there_already_keeps_its_name():
    (disk,) = only_vm(POOLS + 'vms: {web: {disk: {pool: san, volume: "unit:0:0:1"}}}').disks
    assert (disk.volume, disk.size, disk.spec.format) == ("unit:0:0:1", None, "raw")


def test_the_seed_lies_beside_the_first_disk_that_is_a_file_or_where_the_manifest_says():
    disks = "disks: {a: {size: 1GiB, pool: vg}, b: {size: 1GiB, pool: nas}}"
    assert only_vm(POOLS + f"vms: {{web: {{{disks}, cloud_init: {{}}}}}}").seed_pool == "nas"
    assert only_vm(POOLS + f"vms: {{web: {{{disks}, cloud_init: {{pool: vms}}}}}}").seed_pool == "vms"


UNIT = '{pool: POOL, volume: "unit:0:0:1"MORE}'


@pytest.mark.parametrize(
    ("pool", "hosts", "more", "refused"),
    [
        ("san", "", "", True),
        ("san", "", ", shareable: true, format: raw", False),
        ("parts", "", "", False),
        ("parts", "host: kvm-1, ", "", True),
    ],
)
def test_one_volume_for_two_disks_needs_both_to_share_it(pool: str, hosts: str, more: str, refused: bool):
    unit = UNIT.replace("POOL", pool).replace("MORE", more)
    text = POOLS + f"vms: {{web: {{{hosts}disk: {unit}}}, db: {{{hosts}disks: {{data: {unit}}}}}}}"
    if refused:
        (found,) = told(text)
        assert found == ("reference.duplicate-volume", '"unit:0:0:1"')
    else:
        assert len(resolved(text).vms) == 2


def test_two_pools_on_one_device_are_refused():
    one = "{type: fs, path: /srv/N, devices: [/dev/sdb1]}"
    text = f"storage: {{a: {one.replace('N', 'a')}, b: {one.replace('N', 'b')}}}"
    assert [code for code, _ in told(text)] == ["reference.duplicate-path"]


SHARED = """\
  a: {host: kvm-1, disks: {data: {size: 1GiB, format: raw, pool: vms, A}}}
  b: {host: HOST, disks: {data: {volume: a.data.raw, format: raw, pool: vms, B}}}
"""


@pytest.mark.parametrize(
    ("host", "a", "b", "found"),
    [
        ("kvm-1", "", "", ["reference.duplicate-volume"]),
        ("kvm-1", "shareable: true", "", ["reference.duplicate-volume"]),
        ("kvm-1", "shareable: true", "shareable: true", []),
        ("kvm-2", "", "", []),
    ],
)
def test_a_volume_that_is_made_for_one_guest_is_anothers_only_if_both_share_it(
    host: str, a: str, b: str, found: list[str]
):
    text = SHARED.replace("A}", f"{a}}}").replace("B}", f"{b}}}").replace("HOST", host)
    if found:
        assert [code for code, _ in told(f"{POOLS}vms:\n{text}")] == found
    else:
        assert len(resolved(f"{POOLS}vms:\n{text}").vms) == 2
