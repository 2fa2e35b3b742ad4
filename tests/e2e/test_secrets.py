"""An encrypted disk from the manifest to the running guest, with a value that nobody but the host sees."""

from __future__ import annotations

import base64
import json
import urllib.parse
from pathlib import Path

import pytest

from tests.e2e.conftest import Story, qemu_pid

pytestmark = pytest.mark.xdist_group("lab")

VALUE = "c0rrect-h0rse-battery"
CLUSTER = """\
apiVersion: kvmdecl/v1
cluster: story
hosts:
  kvm-{1..3}: {uri: "qemu+tls://{name}.example/system"}
secrets:
  db: {usage: volume, value: {file: db.key}}
storage:
  vms: {path: /srv/vms}
images:
  tiny: {source: tiny.img, format: raw}
vms:
  db:
    host: kvm-1
    image: tiny
    memory: 64MiB
    disks: {data: {size: 8MiB, format: raw, encryption: db}}
"""


@pytest.fixture
def encrypted(story: Story) -> Story:
    """A running guest with an encrypted disk."""
    story.write(CLUSTER)
    (story.folder / "db.key").write_text(f"{VALUE}\n")
    return story


def test_a_guest_runs_on_an_encrypted_disk_that_grows_under_it(encrypted: Story):
    plan = encrypted.ok("plan", "--out", "plan.json")
    applied = encrypted.ok("apply", "plan.json", "--yes")
    again = encrypted.ok("plan", "--detailed-exitcode")

    assert again.out.startswith("No changes:")
    pid = qemu_pid(encrypted, "kvm-1", "db")
    volume = encrypted.lab.host("kvm-1").folder / "srv/vms/db.data.raw"
    assert volume.read_bytes()[:4] == b"LUKS"
    with encrypted.connect("kvm-2") as connection:
        assert not [s for s in connection.listAllSecrets() if s.usageID() == "/kvmdecl/story/db"], (
            "it asks for nothing"
        )

    encrypted.edit("size: 8MiB", "size: 16MiB")
    encrypted.ok("apply", "--yes")
    assert qemu_pid(encrypted, "kvm-1", "db") == pid
    assert encrypted.ok("plan", "--detailed-exitcode").out.startswith("No changes:")

    _require_nothing_leaked(encrypted, plan.out + plan.err + applied.out + applied.err)


def _require_nothing_leaked(story: Story, shown: str) -> None:
    """The value is in no output, and in no file but the one that the manifest names and libvirt's own."""
    told = {VALUE, base64.b64encode(VALUE.encode()).decode(), VALUE.encode().hex(), urllib.parse.quote(VALUE)}
    assert not [text for text in told if text in shown]
    files = [path for path in story.folder.rglob("*") if path.is_file() and path.name != "db.key"]
    host = story.lab.host("kvm-1").folder
    files += [p for p in host.rglob("*") if p.is_file() and not p.is_symlink() and "secrets" not in p.parts]
    assert [path for path in files if any(text.encode() in _content(path) for text in told)] == []


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_a_disk_is_not_encrypted_afterwards_nor_grown_while_nobody_can_open_it(encrypted: Story):
    encrypted.ok("apply", "--yes")
    encrypted.edit(", encryption: db}", "}")
    answer = encrypted.run("plan", "--format", "json")
    blocked = {found["code"] for found in json.loads(answer.out)["blocked"]}
    assert "plan.volume-encryption" in blocked

    encrypted.edit("size: 8MiB, format: raw}", "size: 16MiB, format: raw, encryption: db}")
    encrypted.edit("host: kvm-1", "host: kvm-1\n    state: stopped")
    with encrypted.connect("kvm-1") as connection:
        connection.lookupByName("db").destroy()
    answer = encrypted.run("plan", "--format", "json")
    assert [found["code"] for found in json.loads(answer.out)["blocked"]] == ["plan.volume-encryption"]


def test_a_saved_plan_cannot_be_made_to_send_another_file(encrypted: Story):
    encrypted.ok("plan", "--out", "plan.json")
    path = encrypted.folder / "plan.json"
    for before, after in (('"db.key"', '"/etc/hostname"'), ('"db.key"', '"../../etc/hostname"')):
        text = path.read_text()
        assert before in text
        (encrypted.folder / "edited.json").write_text(text.replace(before, after))
        answer = encrypted.run("apply", "edited.json", "--yes")
        assert answer.code == 1
        assert "plan.inconsistent" in answer.err


def test_a_secret_of_cloud_init_reaches_the_guest_in_its_seed_and_another_version_makes_another_seed(
    story: Story,
):
    story.write(
        CLUSTER.partition("secrets:")[0]
        + """\
secrets:
  login: {usage: cloud-init, value: {file: db.key}}
storage:
  vms: {path: /srv/vms}
images:
  tiny: {source: tiny.img, format: raw}
vms:
  db:
    host: kvm-1
    image: tiny
    memory: 64MiB
    cloud_init: {user_data: "#cloud-config\\npassword: ${secret:pw}", secrets: {pw: login}}
"""
    )
    (story.folder / "db.key").write_text(f"{VALUE}\n")
    planned = story.ok("plan", "--out", "plan.json")
    assert "cloud-init seed with the values of login from file db.key" in planned.out
    text = (story.folder / "plan.json").read_text()
    (story.folder / "edited.json").write_text(text.replace('"db.key"', '"/etc/hostname"'))
    assert "plan.inconsistent" in story.run("apply", "edited.json", "--yes").err
    applied = story.ok("apply", "plan.json", "--yes")
    assert story.ok("plan", "--detailed-exitcode").out.startswith("No changes:")

    seeds = list((story.lab.host("kvm-1").folder / "srv/vms").glob("db.seed.*.iso"))
    assert [f"password: {VALUE}".encode() in seed.read_bytes() for seed in seeds] == [True]
    with story.connect("kvm-1") as connection:
        assert not [s for s in connection.listAllSecrets() if "login" in s.usageID()], "libvirt keeps none"
    seeds[0].unlink()
    _require_nothing_leaked(story, planned.out + planned.err + applied.out + applied.err)

    story.edit("value: {file: db.key}", "version: '2', value: {file: db.key}")
    assert "warning[plan.seed-changed]" in story.run("plan").err


def test_a_secret_is_deleted_by_name_once_no_guest_uses_it(encrypted: Story):
    encrypted.ok("apply", "--yes")
    encrypted.edit("usage: volume,", "usage: volume, state: absent,")
    assert "error[reference.absent]" in encrypted.run("plan").err

    encrypted.edit("    memory: 64MiB", "    memory: 64MiB\n    state: absent")
    allow = encrypted.consents("kvm-1/domain/db", "kvm-1/secret/db")
    refused = encrypted.run("apply", "--yes", *allow[:2])
    assert refused.code == 4
    assert "- secret  db  data-loss  undefined, with its value: on this host, nothing opens" in refused.out
    encrypted.ok("apply", "--yes", *allow)

    assert encrypted.ok("plan", "--detailed-exitcode").out.startswith("No changes:")
    assert _secrets(encrypted) == []


def test_destroy_keeps_secrets_but_those_that_are_named(encrypted: Story):
    encrypted.ok("apply", "--yes")
    kept = encrypted.run("destroy", "--confirm", "nothing")
    assert "1 secrets on kvm-1 are kept: kvm-1/secret/db" in kept.err

    encrypted.ok("destroy", "--confirm", "story", "--secret", "kvm-1/secret/db")

    assert _secrets(encrypted) == []


def _secrets(story: Story) -> list[str]:
    with story.connect("kvm-1") as connection:
        return [s.usageID() for s in connection.listAllSecrets() if s.usageID() == "/kvmdecl/story/db"]
