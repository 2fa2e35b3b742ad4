"""Disks that are there already: who may use them, and with which secret."""

from __future__ import annotations

import pytest

from tests.resolve.support import only_vm, resolved, told

SECRETS = """\
secrets:
  ceph: {usage: ceph, value: {env: KVMDECL_SECRET_CEPH}}
  san: {usage: iscsi, value: {env: KVMDECL_SECRET_SAN}}
"""
RBD = "{protocol: rbd, name: vms/db, auth: {user: kvm, secret: NAME}}"
NBD = "{protocol: nbd, servers: [nbd.example], name: db}"
SOCKET = "{protocol: nbd, socket: /run/nbd.sock}"


def test_a_disk_on_a_server_has_no_volume_and_the_secret_for_the_server():
    text = SECRETS + f"vms: {{web: {{disk: {{format: raw, source: {RBD}}}}}}}".replace("NAME", "ceph")
    (disk,) = only_vm(text).disks
    (secret, _) = resolved(text).secrets
    assert (disk.pool, disk.volume, disk.serial, disk.server_secret) == ("", "", None, secret.uuid)


@pytest.mark.parametrize(
    ("name", "code"), [("san", "reference.secret-usage"), ("nothing", "reference.unknown-secret")]
)
def test_a_secret_for_something_else_is_refused(name: str, code: str):
    text = SECRETS + f"vms: {{web: {{disk: {{format: raw, source: {RBD}}}}}}}".replace("NAME", name)
    assert told(text) == [(code, name)]


@pytest.mark.parametrize(
    ("source", "more", "refused"),
    [
        (NBD, "", True),
        (NBD, "shareable: true, ", False),
        (NBD, "readonly: true, ", False),
        (SOCKET, "", False),
        (SOCKET, "host: kvm-1", True),
        ("/dev/vg0/db", "", False),
        ("/dev/vg0/db", "host: kvm-1", True),
    ],
)
def test_one_source_for_two_disks_needs_both_to_share_it(source: str, more: str, refused: bool):
    host = f"{more}, " if more.startswith("host") else ""
    disk = f"{{{'' if host else more}format: raw, source: {source}}}"
    text = f"vms: {{web: {{{host}disk: {disk}}}, db: {{{host}disks: {{data: {disk}}}}}}}"
    if refused:
        assert [code for code, _ in told(text)] == ["reference.duplicate-source"]
    else:
        assert len(resolved(text).vms) == 2
