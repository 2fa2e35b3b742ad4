"""Secrets are named in definitions by their UUID, and nothing of a value is in any."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kvmdecl.cluster import ResolvedSecret
from kvmdecl.libvirt_xml.domain import domain_xml
from kvmdecl.libvirt_xml.fields import differences
from kvmdecl.libvirt_xml.impact import assess
from kvmdecl.libvirt_xml.overlay import complete
from kvmdecl.libvirt_xml.secret import secret_xml, usage_id
from kvmdecl.libvirt_xml.volume import volume_xml
from kvmdecl.manifest import Secret, Tpm
from kvmdecl.names import MIB
from kvmdecl.plan import Impact
from kvmdecl.state import Kind, Origin, SecretSource
from tests.libvirt_xml.examples import POOLS, UUID, disk, kept, observed, vm
from tests.libvirt_xml.test_on_libvirt import DUMP, host  # noqa: F401 - a fixture

Schema = Callable[[str, str], list[str]]
OTHER = "2b671a64-40d5-491e-99b0-da01ff1f3342"
ENCRYPTED = {"disks": (disk(encryption=UUID),)}
TPM = {"tpm": Tpm(secret="state"), "tpm_secret": UUID}


@pytest.mark.parametrize("usage", ["volume", "ceph", "iscsi", "vtpm"])
def test_a_secret_fits_libvirts_schema(against_schema: Schema, usage: str):
    spec = Secret.model_validate({"usage": usage, "value": {"env": "KVMDECL_SECRET_DB"}})
    xml = secret_xml(ResolvedSecret("db", UUID, spec, usage_id("edge", usage, "db"), SecretSource()))
    assert against_schema("secret", xml) == []


@pytest.mark.parametrize("volume_format", ["qcow2", "raw"])
def test_an_encrypted_volume_fits_libvirts_schema(against_schema: Schema, volume_format: str):
    assert against_schema("storagevol", volume_xml("v", volume_format, MIB, secret=UUID)) == []


@pytest.mark.parametrize("given", [ENCRYPTED, TPM])
def test_what_is_encrypted_fits_libvirts_schema(against_schema: Schema, given: dict):
    assert against_schema("domain", complete(domain_xml(vm(**given), POOLS))) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (ENCRYPTED, {"disks": (disk(encryption=OTHER),)}),
        (ENCRYPTED, {"disks": (disk(),)}),
        ({"disks": (disk(),)}, ENCRYPTED),
        (TPM, {"tpm": Tpm()}),
        ({"tpm": Tpm()}, TPM),
    ],
)
def test_what_one_secret_encrypted_is_never_opened_with_another(before: dict, after: dict):
    old, new = domain_xml(vm(**before), POOLS), domain_xml(vm(**after), POOLS)
    found = assess(new, old, observed(kept(old)), Origin())
    assert Impact.DATA_LOSS in {change.impact for change in found.changes}


@pytest.mark.xdist_group("lab")
def test_an_encrypted_disk_reads_back_as_it_was_declared(host):  # noqa: F811
    text = domain_xml(vm(**ENCRYPTED), POOLS)
    assert differences(text, text, host.define(complete(text)).XMLDesc(DUMP), Kind.DOMAIN) == ()
