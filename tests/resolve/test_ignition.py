"""Ignition's configuration comes to the guest by its firmware, whole, and only if Ignition would begin to read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.resolve.support import DEBIAN, only_vm, told

if TYPE_CHECKING:
    from pathlib import Path

GOOD = '{"ignition": {"version": "3.4.0"}}'


@pytest.mark.parametrize(
    "config",
    [
        "variant: fcos",
        "[]",
        '{"ignition": {}}',
        '{"ignition": {"version": 3}}',
        '{"ignition": {"version": "x"}}',
    ],
)
def test_what_ignition_would_not_begin_to_read_is_refused(config: str):
    text = f"vms:\n  web:\n    image: debian\n    ignition: {{config: '{config}'}}\n"

    assert [code for code, _ in told(DEBIAN + text)] == ["ignition.bad-config"]


def test_a_guest_is_set_up_by_one_of_the_two_and_by_one_configuration():
    both = f"vms:\n  web: {{image: debian, cloud_init: {{}}, ignition: {{config: '{GOOD}'}}}}\n"
    neither = "vms:\n  web: {image: debian, ignition: {}}\n"

    for text in (both, neither):
        assert [code for code, _ in told(DEBIAN + text)] == ["manifest.bad-ignition"]


def test_a_file_is_taken_as_it_is_and_the_volume_named_by_what_is_in_it(tmp_path: Path):
    (tmp_path / "web.ign").write_text(GOOD + "\n")

    vm = only_vm(DEBIAN + "vms:\n  web: {image: debian, ignition: {config_file: web.ign}}\n", tmp_path)

    assert vm.seed is not None
    assert (vm.seed.plain, vm.seed.files) == (True, (("config.ign", GOOD + "\n"),))
    assert vm.seed_volume == f"web.ignition.{vm.seed.sha256[:12]}.json"


def test_a_file_outside_of_the_manifests_folder_is_not_read(tmp_path: Path):
    (tmp_path / "in").mkdir()
    (tmp_path / "web.ign").write_text(GOOD)
    text = "vms:\n  web: {image: debian, ignition: {config_file: ../web.ign}}\n"

    assert [code for code, _ in told(DEBIAN + text, tmp_path / "in")] == ["ignition.unreadable"]
