"""The seed says what the guest is as a machine; an edit is a new machine to cloud-init only when that is asked for."""

from __future__ import annotations

import pytest
from ruamel.yaml import YAML

from kvmdecl.cloudinit import filled
from kvmdecl.state import SeedContent
from tests.resolve.support import DEBIAN, only_vm, told

KEY = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEXAMPLEEXAMPLEEXAMPLE anna\'s "laptop"'


def files(cloud_init: str) -> dict[str, str]:
    """The seed of a vm with this in its `cloud_init`."""
    seed = only_vm(DEBIAN + f"vms:\n  web:\n    image: debian\n    cloud_init:\n{cloud_init}").seed
    assert seed is not None
    return dict(seed.files)


def meta(cloud_init: str) -> dict[str, object]:
    return dict(YAML(typ="safe").load(files(cloud_init)["meta-data"]))


def test_by_default_a_guest_is_called_as_the_vm_and_known_by_its_uuid():
    vm = only_vm(DEBIAN + "vms:\n  web: {image: debian}\n")
    assert vm.seed is not None

    assert dict(vm.seed.files)["meta-data"] == f'instance-id: "{vm.uuid}"\nlocal-hostname: "web"\n'


def test_what_the_manifest_says_of_the_machine_is_what_cloud_init_reads():
    said = "      meta_data:\n        local_hostname: web.example.org\n        instance_id: v2\n"

    assert meta(f"{said}        public_keys:\n        - {KEY}\n") == {
        "instance-id": "v2",
        "local-hostname": "web.example.org",
        "public-keys": [KEY],
    }


def test_vendor_data_go_along():
    assert files('      vendor_data: "#cloud-config\\nruncmd: []\\n"\n')["vendor-data"].startswith(
        "#cloud-config"
    )
    assert told(DEBIAN + "vms:\n  web: {image: debian, cloud_init: {vendor_data: nothing}}\n") == [
        ("cloud-init.header", "nothing")
    ]


@pytest.mark.parametrize(("on_change", "same"), [("keep", True), ("rerun", False)])
def test_an_edit_is_another_instance_only_when_it_shall_run_again(on_change: str, same: bool):
    one, other = (
        meta(f'      on_change: {on_change}\n      user_data: "#cloud-config\\n# {edit}\\n"\n')["instance-id"]
        for edit in ("before", "after")
    )

    assert (one == other) is same


@pytest.mark.parametrize(
    "key", ["-----BEGIN OPENSSH PRIVATE KEY-----", "ssh-rsa short", "ssh-rsa AAAAAAAAAAAAAAAAAAAA x\\ny: z"]
)
def test_only_public_keys_are_keys(key: str):
    text = f'vms:\n  web: {{image: debian, cloud_init: {{meta_data: {{public_keys: ["{key}"]}}}}}}\n'

    assert [code for code, _ in told(DEBIAN + text)] == ["manifest.bad-value"]


# -- secrets ----------------------------------------------------------------------------------------------

SECRETS = (
    DEBIAN
    + """\
secrets:
  login: {usage: cloud-init, value: {env: KVMDECL_SECRET_LOGIN}, version: "VERSION"}
  disk: {usage: volume, value: {env: KVMDECL_SECRET_DISK}}
vms:
  web:
    image: debian
    cloud_init:
      on_change: rerun
      user_data: |
        #cloud-config
        password: ${secret:pw|json}
"""
)


def with_secret(version: str = "1") -> SeedContent:
    seed = only_vm(SECRETS.replace("VERSION", version) + "      secrets: {pw: login}\n").seed
    assert seed is not None
    return seed


def test_a_secret_is_known_by_its_name_and_version_and_its_value_by_nobody(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KVMDECL_SECRET_LOGIN", "hunter2")
    before = with_secret()
    assert "hunter2" not in repr(before)
    assert "password: ${secret:pw|json}" in dict(before.files)["user-data"]
    assert [(s.place, s.name, s.version, str(s.source)) for s in before.secrets] == [
        ("pw", "login", "1", "variable KVMDECL_SECRET_LOGIN")
    ]

    monkeypatch.setenv("KVMDECL_SECRET_LOGIN", "another")
    assert with_secret() == before, "a seed does not depend on the value"

    after = with_secret("2")
    assert after.sha256 != before.sha256
    assert dict(after.files)["meta-data"] != dict(before.files)["meta-data"], "cloud-init runs again"


@pytest.mark.parametrize(
    ("secrets", "code", "where"),
    [
        ("{pw: login, other: login}", "cloud-init.secret-place", "login"),
        ("{other: login}", "cloud-init.secret-place", "login"),
        ("{pw: disk}", "reference.secret-usage", "disk"),
        ("{pw: nothing}", "reference.unknown-secret", "nothing"),
    ],
)
def test_every_place_has_a_secret_and_every_secret_a_place(secrets: str, code: str, where: str):
    found = told(SECRETS.replace("VERSION", "1") + f"      secrets: {secrets}\n")
    assert (code, where) in found


def test_without_secrets_a_text_may_hold_anything():
    assert (
        "${secret:pw|json}"
        in files('      user_data: "#!/bin/sh\\necho ${secret:pw|json}\\n"\n')["user-data"]
    )


@pytest.mark.parametrize(
    ("place", "value", "becomes"),
    [
        ("${secret:a}", "it's \u00e9", "it's \u00e9"),
        ("${secret:a|json}", 'q"\n', '"q\\"\\n"'),
        ("${secret:a|base64}", "x\0", "eAA="),
        ("$secret:a ${secret:a|what}", "x", "$secret:a ${secret:a|what}"),
    ],
)
def test_a_value_takes_its_place_in_the_form_that_is_wanted(place: str, value: str, becomes: str):
    assert filled([("user-data", place)], {"a": value.encode()}) == (("user-data", becomes),)


@pytest.mark.parametrize("value", [b"two\nlines", b"\xff", b"bell\a"])
def test_a_value_that_would_break_its_line_is_refused_without_being_told(value: bytes):
    with pytest.raises(ValueError, match="base64") as refused:
        filled([("user-data", "${secret:a}")], {"a": value})
    assert "lines" not in str(refused.value).replace("several lines", "")
