"""What does not go together in a disk is told at its own word."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kvmdecl.manifest.disks import IoTune

if TYPE_CHECKING:
    from tests.load.conftest import Loader

BAD = {
    "io: native": "native I/O goes past the host's page cache only",
    "io: native, cache: writeback": "native I/O goes past the host's page cache only",
    "detect_zeroes: unmap": "zeros are not unmapped where discards are not",
    "iothread: 3": "there is no I/O thread 3: the vm has 2",
    "iothread: 1, bus: scsi": "a disk on the scsi bus has no `iothread`",
    "queues: 2, bus: sata": "a disk on the sata bus has no `queues`",
    "wwn: '5000c50015ea71aa'": "a disk on the virtio bus has no `wwn`",
    "rotation_rate: 1": "a disk on the virtio bus has no `rotation_rate`",
    "rotation_rate: 400, bus: scsi": "no disk has a rotation rate of 400",
    "readonly: true, bus: sata": "a disk on the sata bus has no `readonly`",
    "copy_on_read: true, readonly: true": "copy_on_read writes to what is read-only or shared",
    "cluster_size: 96KiB": "the size of a cluster is a power of two",
    "lazy_refcounts: true, format: raw": "a raw volume has no lazy_refcounts",
    "shareable: true": "only a raw disk can be used by several guests at once",
    "iotune: {write_iops_sec: 1, total_iops_sec: 1}": "both total_iops_sec and write_iops_sec are given",
    "iotune: {read_iops_sec: 9, read_iops_sec_max: 8}": "read_iops_sec_max is below read_iops_sec",
    "iotune: {read_bytes_sec_max: 1MiB}": "read_bytes_sec_max is given without read_bytes_sec",
    "iotune: {total_iops_sec_max_length: 3}": "total_iops_sec_max_length is given without total_iops_sec_max",
}


@pytest.mark.parametrize("where", ["disk", "disks: {data"])
@pytest.mark.parametrize("keys", BAD)
def test_a_disk_is_refused_for(manifest: Loader, keys: str, where: str):
    close = "}" if "{" in where else ""
    text = f"vms:\n  web:\n    iothreads: 2\n    {where}: {{size: 1GiB, {keys}}}{close}\n"

    (found,) = manifest.reject(text)

    assert (found.code, found.summary, bool(found.hint)) == ("manifest.bad-disk", BAD[keys], True)
    assert found.at is not None
    assert found.at.line == 6


@pytest.mark.parametrize(
    "limit", ["total_iops_sec: 0", "total_bytes_sec: 0B", "read_iops_sec: 10000000000000000"]
)
def test_a_limit_that_no_hypervisor_knows_is_refused(manifest: Loader, limit: str):
    assert manifest.codes(f"vms: {{web: {{disk: {{size: 1GiB, iotune: {{{limit}}}}}}}}}\n") == [
        "manifest.bad-value"
    ]


def test_limits_are_kept_in_the_order_of_the_model_in_which_libvirts_schema_wants_them():
    keys = ("total_bytes_sec", "total_iops_sec", "total_bytes_sec_max", "total_iops_sec_max", "size_iops_sec")

    limits = IoTune.model_validate(dict.fromkeys(reversed(keys), 4096))

    assert tuple(limits.said) == keys
