"""What hosts cannot do is told at the line that asks for it, before they are touched."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from kvmdecl.check import check
from kvmdecl.cluster import PlacedCluster
from kvmdecl.diagnostics import Severity
from kvmdecl.facts import DomainSupport, PagePool
from kvmdecl.names import GIB, KIB, MIB
from kvmdecl.pluginhost import load_plugins
from tests.placement.support import facts
from tests.resolve.support import BASE, resolved

if TYPE_CHECKING:
    from kvmdecl.diagnostics import Diagnostic
    from kvmdecl.facts import HostFacts

LAN = "networks: {lan: {bridge: br0}, nat: {mode: nat, subnet: 10.0.0.0/24}}\n"


def found(text: str, host: HostFacts) -> tuple[Diagnostic, ...]:
    cluster = resolved(text)
    vms = tuple(vm.on(vm.host or "kvm-1") for vm in cluster.vms)
    return check(PlacedCluster(cluster, vms), {"kvm-1": host}, load_plugins())


def underlined(text: str, diagnostic: Diagnostic) -> str:
    assert diagnostic.at is not None
    line = (BASE + text).splitlines()[diagnostic.at.line - 1]
    return line[diagnostic.at.column - 1 : diagnostic.at.end_column - 1]


def test_an_ordinary_guest_passes() -> None:
    assert found(LAN + "vms:\n  web: {nics: [lan, nat], memory: 8GiB}\n", facts()) == ()


def _small_pages() -> HostFacts:
    host = facts()
    return replace(host, cells=(replace(host.cells[0], pages=(PagePool(4 * KIB, 1), PagePool(2 * MIB, 1))),))


@pytest.mark.parametrize(
    ("vm", "host", "code", "place"),
    [
        ("{description: x, type: kvm}", facts(types=("qemu",)), "check.no-guest-type", "kvm"),
        ("{machine: pc-q35-9.3}", facts(), "check.unknown-machine", "pc-q35-9.3"),
        ("{cpus: {count: 2, max: 300}}", facts(), "check.too-many-cpus", "300"),
        ("{cpus: 300}", facts(), "check.too-many-cpus", "300"),
        ("{memory: 65GiB}", facts(), "check.memory-over-host", "65GiB"),
        ('{cpus: {pins: {"0": 0-999}}}', facts(), "check.no-host-cpu", '{"0": 0-999}'),
        ('{cpus: {emulator_pin: "999"}}', facts(), "check.no-host-cpu", '"999"'),
        ("{numa: 0-1}", facts(), "check.no-numa-node", "0-1"),
        ("{memory: {size: 4GiB, pages: 1GiB}}", _small_pages(), "check.no-huge-pages", "1GiB"),
    ],
)
def test_what_a_host_cannot_do(vm: str, host: HostFacts, code: str, place: str) -> None:
    text = f"vms:\n  web: {vm}\n"
    (first,) = (d for d in found(text, host) if d.severity is Severity.ERROR)
    assert (first.code, underlined(text, first)) == (code, place)


def test_a_machine_type_that_is_nearly_right_is_suggested() -> None:
    assert found("vms: {web: {machine: pc-q35-92}}", facts())[0].hint == "did you mean `pc-q35-9.2`?"


def support(*, firmware: str, secure: str) -> tuple[DomainSupport, ...]:
    enums = (("os/firmware", (firmware,)), ("os/loader/secure", (secure,)))
    return (DomainSupport("x86_64", "kvm", "pc-q35-9.2", 288, enums, ()),)


@pytest.mark.parametrize(
    ("firmware", "secure", "wanted", "codes"),
    [
        ("efi", "no", "uefi", []),
        ("bios", "no", "bios", []),
        ("bios", "no", "uefi", ["check.no-uefi"]),
        ("efi", "yes", "{type: uefi, secure_boot: true}", []),
        ("efi", "no", "{type: uefi, secure_boot: true}", ["check.no-secure-boot"]),
    ],
)
def test_firmware_is_there_if_domain_capabilities_say_so(
    firmware: str, secure: str, wanted: str, codes: list[str]
) -> None:
    host = facts(support=support(firmware=firmware, secure=secure))
    assert [d.code for d in found(f"vms: {{web: {{firmware: {wanted}}}}}", host)] == codes


def test_firmware_is_not_judged_where_domain_capabilities_were_not_read() -> None:
    assert found("vms: {web: {firmware: uefi}}", facts()) == ()


DEVICES = (
    ("devices/graphics/type", ("vnc",)),
    ("devices/video/modelType", ("vga", "virtio")),
    ("devices/tpm/model", ("tpm-crb", "tpm-tis")),
    ("devices/tpm/backendModel", ("passthrough",)),
)


@pytest.mark.parametrize(
    ("wanted", "place"),
    [
        ("{graphics: spice}", "spice"),
        ("{video: qxl}", "qxl"),
        ("{tpm: emulator}", "emulator"),
        ("{graphics: vnc, video: virtio, tpm: passthrough}", None),
        ("{graphics: vnc, video: none}", None),
    ],
)
def test_a_device_is_there_if_domain_capabilities_list_it(wanted: str, place: str | None) -> None:
    host = facts(support=(DomainSupport("x86_64", "kvm", "pc-q35-9.2", 288, DEVICES, ()),))
    text = f"vms:\n  web: {wanted}\n"
    told = [(d.code, underlined(text, d)) for d in found(text, host)]
    assert told == ([("check.no-device", place)] if place else [])


@pytest.mark.parametrize(
    ("graphics", "codes"),
    [
        ("{type: vnc, listen: 10.0.0.5}", ["check.console-exposed"]),
        ("{type: vnc, listen: 10.0.0.5, expose: true}", []),
        ("{type: spice, listen: '::1'}", []),
        ("{type: none, listen: 10.0.0.5}", []),
    ],
)
def test_a_console_that_others_reach_is_warned_of_unless_it_is_meant(graphics: str, codes: list[str]) -> None:
    told = found(f"vms: {{web: {{graphics: {graphics}}}}}", facts())
    assert [d.code for d in told] == codes
    assert all(d.severity is Severity.WARNING for d in told)


def test_a_bridge_that_the_host_lacks_is_told_at_the_network() -> None:
    text = "networks:\n  lan: {bridge: br-lan}\nvms:\n  a: {nics: [lan]}\n  b: {nics: [lan]}\n"
    (missing,) = found(text, facts(bridges=("lo", "br0")))
    assert (missing.code, underlined(text, missing)) == ("check.no-bridge", "br-lan")


@pytest.mark.parametrize("bridges", [(), ("lo", "br0")])
def test_a_bridge_is_not_missed_where_devices_were_not_read_or_it_is_there(bridges: tuple[str, ...]) -> None:
    assert found(LAN + "vms: {a: {nics: [lan]}}", facts(bridges=bridges)) == ()


def test_a_bridge_that_no_guest_of_the_host_uses_may_be_missing() -> None:
    assert found(LAN + "vms: {a: {host: kvm-2, nics: [lan]}}", facts(bridges=("lo",))) == ()


def test_promising_more_memory_than_there_is_is_a_warning() -> None:
    (warning,) = found("vms: {web: {count: 3, memory: 30GiB}}", facts(memory=64 * GIB))
    assert (warning.code, warning.severity) == ("check.memory-overcommitted", Severity.WARNING)
    assert warning.summary == "the guests of kvm-1 have 90GiB of memory, and it has 64GiB for them"


def test_a_fault_of_many_copies_is_told_once() -> None:
    assert len(found("vms: {web: {count: 50, memory: 1MiB, machine: nonsense}}", facts())) == 1


def test_an_absent_vm_is_not_judged() -> None:
    assert found("vms: {web: {state: absent, memory: 100GiB}}", facts()) == ()
