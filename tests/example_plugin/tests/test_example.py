"""What the plugin does to a manifest, told with the fixture that kvmdecl ships for that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.contract import PluginContract

if TYPE_CHECKING:
    from kvmdecl.testing import TryManifest

HEAD = """\
apiVersion: kvmdecl/v1
cluster: demo
hosts:
  kvm-{1..2}: "qemu+tls://{name}.example/system"
"""


class TestContract(PluginContract):
    """What every plugin has to keep."""

    name = "example"
    manifest = HEAD + "quota: 4\nvms: {big: {cpus: 8}}\n"


def test_a_guest_above_the_quota_is_refused_at_its_line(try_manifest: TryManifest) -> None:
    trial = try_manifest(HEAD + "quota: 4\nvms:\n  small: {cpus: 4}\n  big: {cpus: 8}\n")
    (found,) = trial.diagnostics
    assert found.code == "quota.too-many-cpus"
    assert found.at is not None
    assert (found.at.line, found.at.column) == (8, 15)


def test_without_a_quota_nothing_is_refused(try_manifest: TryManifest) -> None:
    assert try_manifest(HEAD + "vms: {big: {cpus: 8}}\n").diagnostics == ()


def test_a_quota_is_a_number(try_manifest: TryManifest) -> None:
    assert [found.code for found in try_manifest(HEAD + "quota: many\n").diagnostics] == [
        "manifest.wrong-type"
    ]


def test_pack_fills_one_host_before_the_next(try_manifest: TryManifest) -> None:
    trial = try_manifest(HEAD + "placement: pack\nvms: {web: {count: 3, memory: 30GiB}}\n")
    assert trial.placed is not None
    assert [vm.host for vm in trial.placed.vms] == ["kvm-1", "kvm-1", "kvm-2"]


def test_pack_says_why_a_guest_fits_nowhere(try_manifest: TryManifest) -> None:
    (found,) = try_manifest(HEAD + "placement: pack\nvms: {web: {memory: 65GiB}}\n").diagnostics
    assert [note.text for note in found.notes] == ["kvm-1: only 64GiB free", "kvm-2: only 64GiB free"]
