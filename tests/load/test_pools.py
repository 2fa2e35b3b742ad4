"""What a storage pool must say, and what it cannot, by its type."""

from __future__ import annotations

import pytest

from kvmdecl.diagnostics import Rejected
from tests.load.conftest import Loader

BAD = {
    "{type: dir}": "`path` is missing in a pool of type dir",
    "{type: fs, path: /srv/a}": "`devices` is missing in a pool of type fs",
    "{type: netfs, path: /srv/a, server: nas.example}": "`export` is missing in a pool of type netfs",
    "{type: logical}": "`source` is missing in a pool of type logical",
    "{type: rbd, source: vms}": "`servers` is missing in a pool of type rbd",
    "{type: scsi}": "`adapter` is missing in a pool of type scsi",
    "{path: /srv/a, devices: [/dev/sdb]}": "a pool of type dir has no `devices`",
    "{type: logical, source: vg0, path: /srv/a}": "a pool of type logical has no `path`",
    "{type: logical, source: a/b}": "only a dataset of zfs is named by a path",
    "{type: fs, path: /srv/a, devices: [/dev/sdb, /dev/sdc]}": "a pool of type fs has one device",
    "{type: fs, path: /srv/a, devices: [/srv/disk.img]}": "/srv/disk.img is no device",
    "{type: fs, path: /srv/a, devices: [/dev/sdb], format: gpt}": "a pool of type fs has no format gpt",
    "{type: fs, path: /srv/a, devices: [/dev/sdb], build: true}": "`build` does not know which format to write",
    "{type: logical, source: vg0, build: true}": "`build` has no devices to format",
    "{path: /srv/a, build: true}": "a pool of type dir has nothing to format",
    "{type: netfs, path: /srv/a, server: n, export: a, format: cifs, protocol_version: '3'}": (
        "only NFS has versions here"
    ),
}
BAD_WORDS = [
    "{type: netfs, path: /srv/a, server: -oexec, export: /a}",
    "{type: netfs, path: /srv/a, server: 'nas example', export: /a}",
    "{type: netfs, path: /srv/a, server: nas, export: -o}",
    "{type: logical, source: ../sda}",
    "{type: logical, source: --force}",
    "{type: iscsi, server: san.example, target: vms}",
    "{type: scsi, adapter: {wwnn: '2', wwpn: '10000000c9831b4b'}}",
]


@pytest.mark.parametrize("pool", BAD)
def test_a_pool_that_cannot_be_is_refused_in_words(manifest: Loader, pool: str):
    with pytest.raises(Rejected) as rejected:
        manifest.load(f"storage:\n  a: {pool}\n")
    (found,) = rejected.value.diagnostics
    assert (found.code, found.summary) == ("manifest.bad-pool", BAD[pool])
    assert found.hint


@pytest.mark.parametrize("pool", BAD_WORDS)
def test_a_word_that_could_mean_something_to_a_program_is_refused(manifest: Loader, pool: str):
    with pytest.raises(Rejected):
        manifest.load(f"storage:\n  a: {pool}\n")
