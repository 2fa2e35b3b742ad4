"""No key is accepted and then forgotten: what the model takes is in the definition, and libvirt keeps it."""

from __future__ import annotations

from functools import cache

import libvirt
import pytest

from kvmdecl.libvirt_xml.fields import differences
from kvmdecl.libvirt_xml.overlay import complete
from kvmdecl.manifest.hyperv import HYPERV
from kvmdecl.state import Kind
from tests.libvirt_xml.every_key import VARIANTS, Single, compiled, singles, together
from tests.libvirt_xml.test_on_libvirt import DUMP, Host, host

__all__ = ["host"]

NOT_OF_THE_DOMAIN = frozenset(
    {
        *("host", "state", "restart", "autostart"),  # where it is and what becomes of it
        "cpus.policy",  # a solver binds its vCPUs to CPUs of a host
        *("disks.preallocation", "disks.cluster_size", "disks.lazy_refcounts", "disks.nocow"),
        *("disks.clone.volume", "disks.full_copy"),  # how a volume is made
        *("graphics.expose", "graphics.also.expose"),  # that something else is meant
    }
)  # fmt: skip
AS_IT_WOULD_BE = frozenset(
    {
        *("serial.mode=server", "serials.mode=server", "consoles.mode=server", "disks.source.namespace=1"),
        *("cpus.max=2", "cpus.match=exact", "cpus.fallback=forbid", "clock=utc", "hyperv=false"),
        *("numa.mode=strict", "tpm.version=2.0"),
        *("timers.tick_policy=catchup", "timers.tick_policy=delay", "timers.present=false", "security.relabel=false"),
        *(f"hyperv.{name}=true" for name in HYPERV),
        *("features.acpi=true", "features.apic=true", "features.kvm_dedicated=false"),
        *("rng.path=/dev/urandom", "memory.modules.block=2MiB"),
    }
)  # fmt: skip
"""What is so without the key, too."""


@cache
def everything() -> tuple[tuple[Single, str], ...]:
    """All variants with one more key that the manifest accepts, and their definitions."""
    found = [single for variant in VARIANTS for single in singles(variant)]
    texts = compiled([single.vm for single in found])
    return tuple((single, text) for single, text in zip(found, texts, strict=True) if text is not None)


def test_every_variant_is_a_guest():
    variants = zip(VARIANTS, compiled([variant.vm for variant in VARIANTS]), strict=True)

    assert [variant.name for variant, text in variants if text is None] == []


def test_every_key_that_is_accepted_says_something():
    bare = dict(zip(VARIANTS, compiled([variant.vm for variant in VARIANTS]), strict=True))
    silent = [
        single.name
        for single, text in everything()
        if text == bare[single.variant]
        and single.model_key not in NOT_OF_THE_DOMAIN
        and f"{single.model_key}={single.value}" not in AS_IT_WOULD_BE
    ]

    assert silent == []
    assert len(everything()) > 1000


def lost(host: Host, text: str) -> list[str]:
    """What libvirt makes of a definition otherwise than it was declared, or why it does not take it."""
    try:
        domain = host.define(complete(text))
    except libvirt.libvirtError as error:
        return [] if any(reason in str(error) for reason in OF_THE_HOST) else [str(error)]
    kept = domain.XMLDesc(DUMP)
    domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_NVRAM)
    return [difference.path for difference in differences(text, text, kept, Kind.DOMAIN)]


OF_THE_HOST = ("TLS is disabled in qemu.conf", "swtpm", "TPM", "not supported with this QEMU binary")
"""Why a host of the lab may refuse a definition that others take."""


def test_libvirt_keeps_all_that_goes_together(host):
    guests = [together(variant) for variant in VARIANTS]
    for vm, text in zip(guests, compiled(guests), strict=True):
        assert text is None or lost(host, text) == [], vm


@pytest.mark.proof
@pytest.mark.timeout(1800)
def test_libvirt_keeps_every_key(host):
    here = [(single, text) for single, text in everything() if single.model_key not in {"arch", "machine"}]
    found = {single.name: lost(host, text) for single, text in here}

    assert {name: paths for name, paths in found.items() if paths} == {}
