"""The seed says what the guest is as a machine; an edit is a new machine to cloud-init only when that is asked for."""

from __future__ import annotations

import pytest
from ruamel.yaml import YAML

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
