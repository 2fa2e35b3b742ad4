"""What hosts cannot do is told at the line that asks for it, before they are touched."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from kvmdecl.check import check
from kvmdecl.cluster import PlacedCluster
from kvmdecl.diagnostics import Severity
from kvmdecl.facts import CacheBank, DomainSupport, NodeDevice, PagePool
from kvmdecl.libvirt_xml.capabilities import parse_domain_capabilities
from kvmdecl.names import GIB, KIB, MIB
from kvmdecl.pluginhost import load_plugins
from tests.placement.support import facts
from tests.resolve.support import BASE, HEAD, resolved

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


def _two_cells() -> HostFacts:
    """4 GiB and 8 pages of 2 MiB in each."""
    host = facts()
    pages = (PagePool(4 * KIB, 1), PagePool(2 * MIB, 8))
    cells = (replace(host.cells[0], id=number, memory=4 * GIB, pages=pages) for number in (0, 1))
    return replace(host, cells=tuple(cells))


VMS = "vms: {web: {count: 2, host: kvm-1, numa: '1', memory: {size: 12MiB, pages: 2MiB}}}\n"


@pytest.mark.parametrize(
    ("pages", "vms", "told"),
    [
        (
            "{2MiB: 16}",
            VMS,
            [("check.pages-overcommitted", "16")],
        ),  # 8 in each cell, and 12 are needed in one
        ("{2MiB: {1: 12}}", VMS, []),
        ("{2MiB: {1: 5}}", VMS, [("check.no-huge-pages", "2MiB")]),  # not one could start
        ("{2MiB: {1: 6}}", VMS.replace("count: 2, ", "state: stopped, "), []),
        ("{4MiB: 1}", "", [("check.no-page-size", "1")]),
        ("{2MiB: {7: 1}}", "", [("check.no-numa-node", "1")]),
        ("{2MiB: {0: 2049}}", "", [("check.pages-over-memory", "{2MiB: {0: 2049}}")]),
    ],
)
def test_pages_that_a_host_sets_aside_are_for_all_of_its_guests(
    pages: str, vms: str, told: list[tuple[str, str]]
) -> None:
    head = f"{HEAD}hosts: {{kvm-1: {{uri: 'qemu:///system', huge_pages: {pages}}}}}\n"
    cluster = resolved(vms, head=head)
    lines = (head + vms).splitlines()
    errors = [
        d
        for d in check(PlacedCluster(cluster, cluster.vms), {"kvm-1": _two_cells()}, load_plugins())
        if d.severity is Severity.ERROR
    ]
    assert [
        (d.code, lines[d.at.line - 1][d.at.column - 1 : d.at.end_column - 1]) for d in errors if d.at
    ] == told


@pytest.mark.parametrize(
    ("vm", "host", "code", "place"),
    [
        ("{description: x, type: kvm}", facts(types=("qemu",)), "check.no-guest-type", "kvm"),
        ("{machine: pc-q35-9.3}", facts(), "check.unknown-machine", "pc-q35-9.3"),
        ("{cpus: {count: 2, max: 300}}", facts(), "check.too-many-cpus", "300"),
        ("{cpus: 300}", facts(), "check.too-many-cpus", "300"),
        ("{memory: 65GiB}", facts(), "check.memory-over-host", "65GiB"),
        ('{cpus: {pins: {"0": 0-999}}}', facts(), "check.no-host-cpu", "0-999"),
        ('{iothreads: 1, cpus: {iothread_pins: {"1": "99"}}}', facts(), "check.no-host-cpu", '"99"'),
        ('{cpus: {emulator_pin: "999"}}', facts(), "check.no-host-cpu", '"999"'),
        ("{numa: 0-1}", facts(), "check.no-numa-node", "0-1"),
        ("{numa: {cells: [{nodeset: '0'}, {nodeset: '3'}]}, cpus: 2}", facts(), "check.no-numa-node", "'3'"),
        (
            "{memory: {size: 1GiB, hotplug_max: 2GiB, modules: {a: {size: 1GiB, nodeset: '7'}}}}",
            *(facts(), "check.no-numa-node", "'7'"),
        ),
        ("{memory: {size: 4GiB, pages: 1GiB}}", _small_pages(), "check.no-huge-pages", "1GiB"),
        ("{memory: 4MiB, numa: {cells: [{pages: 2MiB}]}}", _small_pages(), "check.no-huge-pages", "2MiB"),
        (
            "{memory: {size: 1GiB, hotplug_max: 2GiB, modules: {a: {size: 1GiB, pages: 1GiB}}}}",
            *(_small_pages(), "check.no-huge-pages", "1GiB"),
        ),
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


OFFERED = (
    ("cpu/mode", ("custom", "host-model")),
    ("cpu/nested", ()),
    ("devices/channel/type", ("unix",)),
    ("devices/disk/bus", ("virtio", "scsi")),
    ("devices/graphics/type", ("vnc",)),
    ("devices/hostdev/pciBackend", ()),
    ("devices/hostdev/subsysType", ("usb", "pci")),
    ("devices/panic/model", ("isa",)),
    ("devices/rng/model", ("virtio",)),
    ("devices/tpm/backendModel", ("passthrough",)),
    ("devices/tpm/backendVersion", ("2.0",)),
    ("devices/tpm/model", ("tpm-crb",)),
    ("devices/video/modelType", ("vga", "virtio")),
    ("features", ("sev", "vmcoreinfo")),
    ("features/hyperv/features", ("relaxed",)),
    ("memoryBacking/sourceType", ("file",)),
)


@pytest.mark.parametrize(
    ("wanted", "place"),
    [
        ("{graphics: spice}", "spice"),
        ("{video: qxl}", "qxl"),
        ("{tpm: emulator}", "emulator"),
        ("{tpm: {type: passthrough, model: tpm-tis}}", "tpm-tis"),
        ("{disk: {size: 1GiB, bus: sata}}", "sata"),
        ("{disks: {data: {size: 1GiB, bus: sata}}}", "sata"),
        ("{channels: [{name: com.redhat.spice.0, type: spice}], graphics: spice}", "spice"),
        ("{panic: hyperv}", "hyperv"),
        ("{hostdevs: [{scsi: {adapter: scsi_host0}}]}", "{scsi: {adapter: scsi_host0}}"),
        ("{hostdevs: [{pci: '0000:41:00.0'}]}", "{pci: '0000:41:00.0'}"),
        (
            "{graphics: vnc, video: virtio, tpm: passthrough, panic: isa, disk: 1GiB, memory: {source: file}}",
            None,
        ),
        ("{graphics: vnc, video: none}", None),
    ],
)
def test_a_device_is_there_if_domain_capabilities_list_it(wanted: str, place: str | None) -> None:
    host = facts(support=(DomainSupport("x86_64", "kvm", "pc-q35-9.2", 288, OFFERED, ()),))
    text = f"storage: {{vms: /srv/vms}}\nvms:\n  web: {wanted}\n"
    told = {(d.code, underlined(text, d)) for d in found(text, host)}
    assert told == ({("check.no-device", place)} if place else set())


@pytest.mark.parametrize(
    ("wanted", "place"),
    [
        ("{cpus: {model: host-passthrough}}", "host-passthrough"),
        ("{memory: {source: memfd}}", "memfd"),
        ("{description: x, hyperv: true}", "true"),
        ("{launch_security: tdx, firmware: uefi}", "tdx"),
        ("{launch_security: sev-snp, firmware: uefi}", None),
        ("{cpus: {model: EPYC}, memory: {source: file}}", None),
        ("{cpus: {nested: true}}", "true"),
        ("{cpus: {nested: host}}", None),
        ("{cpus: {nested: false}}", None),
    ],
)
def test_what_is_no_device_is_offered_if_domain_capabilities_list_it(wanted: str, place: str | None) -> None:
    host = facts(support=(DomainSupport("x86_64", "kvm", "pc-q35-9.2", 288, OFFERED, ()),))
    text = f"vms:\n  web: {wanted}\n"
    told = {(d.code, underlined(text, d)) for d in found(text, host)}
    assert told == ({("check.not-offered", place)} if place else set())


@pytest.mark.parametrize(
    ("wanted", "codes"),
    [
        ("{security: {dac: none}}", []),
        ("{security: {selinux: none}}", ["check.not-offered"]),
        ("{hostdevs: [{usb: {vendor: 046D, product: c52b}}]}", []),
        ("{hostdevs: [{usb: {vendor: 046d, product: c52c}}]}", ["check.no-host-device"]),
        ("{hostdevs: [{usb: {vendor: 046d, product: c52c, if_missing: optional}}]}", []),
        ("{hostdevs: [{usb: {bus: 1, device: 4}}]}", []),
    ],
)
def test_a_host_confines_its_guests_as_it_can_and_passes_on_what_it_has(
    wanted: str, codes: list[str]
) -> None:
    mouse = NodeDevice("usb_1_4", "usb_usb1", "usb_device", (("product", "0xc52b"), ("vendor", "0x046d")))
    host = replace(facts(), security_models=("dac", "none"), devices=(mouse,))
    assert [d.code for d in found(f"vms: {{web: {wanted}}}", host)] == codes


NEWER = parse_domain_capabilities("""
<domainCapabilities>
  <domain>kvm</domain><machine>pc-q35-9.2</machine><arch>x86_64</arch><vcpu max='288'/>
  <os supported='yes'>
    <enum name='firmware'/>
    <loader supported='yes'><enum name='type'><value>rom</value></enum><enum name='secure'/></loader>
  </os>
  <cpu><mode name='host-model' supported='yes'/></cpu>
  <devices>
    <disk supported='yes'>
      <enum name='diskDevice'><value>disk</value></enum>
      <enum name='bus'><value>virtio</value><value>scsi</value><value>sata</value></enum>
    </disk>
    <hostdev supported='yes'>
      <enum name='startupPolicy'><value>default</value><value>mandatory</value></enum>
      <enum name='subsysType'><value>usb</value><value>pci</value></enum>
      <enum name='pciBackend'/>
    </hostdev>
    <rng supported='yes'>
      <enum name='model'><value>virtio</value></enum><enum name='backendModel'><value>random</value></enum>
    </rng>
    <tpm supported='no'/>
    <redirdev supported='no'/>
    <channel supported='yes'><enum name='type'><value>unix</value></enum></channel>
    <interface supported='yes'><enum name='backendType'><value>default</value></enum></interface>
    <panic supported='no'/>
    <console supported='yes'><enum name='type'><value>pty</value></enum></console>
  </devices>
  <features>
    <vmcoreinfo supported='no'/><sev supported='no'/><hyperv supported='no'/><launchSecurity supported='no'/>
  </features>
</domainCapabilities>""")


@pytest.mark.parametrize(
    ("wanted", "code", "place"),
    [
        ("{firmware: {loader: /srv/rom}}", None, ""),
        ("{firmware: {type: uefi, loader: /srv/f.fd}}", "check.not-offered", "/srv/f.fd"),
        ("{features: {vmcoreinfo: true}}", "check.not-offered", "true"),
        ("{features: {vmcoreinfo: false}}", None, ""),
        ("{tpm: emulator}", "check.no-device", "emulator"),
        ("{panic: isa}", "check.no-device", "isa"),
        ("{rng: {source: builtin}}", "check.no-device", "builtin"),
        ("{graphics: spice, usb_redirections: 2}", "check.no-device", "2"),
        ("{serial: {type: file, path: /srv/x}}", "check.no-device", "file"),
        ("{consoles: [{type: unix, path: /srv/x}]}", "check.no-device", "unix"),
        ("{nics: [{user: passt}]}", "check.no-device", "passt"),
        ("{nics: [{user: slirp}]}", None, ""),
        ("{nics: [{pci: '0000:41:00.0'}]}", "check.no-device", "'0000:41:00.0'"),
        ("{disks: {d: {source: {nvme: '0000:41:00.0'}, format: raw}}}", "check.no-device", "{nvme: '0000:41:00.0'}"),
        ("{disks: {d: {source: /dev/sdx, format: raw, bus: scsi, lun: true}}}", "check.no-device", "true"),
        ("{cdroms: {cd: {source: /srv/x.iso, bus: usb}}}", "check.no-device", "usb"),
        ("{hostdevs: [{usb: {vendor: 046d, product: c52b, if_missing: optional}}]}", "check.no-device", "optional"),
        ("{hyperv: true}", "check.not-offered", "true"),
        ("{launch_security: tdx, firmware: {type: uefi, loader: /srv/f}}", "check.not-offered", "tdx"),
        ("{graphics: vnc, channels: [{name: com.redhat.spice.0, type: vdagent}]}", None, ""),
    ],
)  # fmt: skip
def test_what_newer_domain_capabilities_tell_is_judged_and_what_they_deny(
    wanted: str, code: str | None, place: str
) -> None:
    text = f"storage: {{vms: /srv/vms}}\nvms:\n  web: {wanted}\n"
    told = {(d.code, underlined(text, d)) for d in found(text, facts(support=(NEWER,)))}
    assert {(code, place)} <= told if code else not {c for c, _ in told if c.startswith("check.no")}


def test_what_a_version_of_libvirt_does_not_know_is_told() -> None:
    text = "vms: {web: {sound: ich9, audio: pipewire, panic: pvpanic}}"
    for version, places in (
        (9_000_000, ["pipewire", "pvpanic"]),
        (9_001_000, ["pipewire"]),
        (9_010_000, []),
        (0, []),
    ):
        told = found(text, replace(facts(), libvirt=version))
        assert [(d.code, underlined(text, d)) for d in told] == [
            ("check.not-offered", place) for place in places
        ]


def test_the_lower_of_two_limits_of_cpus_counts() -> None:
    host = facts(support=(DomainSupport("x86_64", "kvm", "pc-q35-9.2", 8, (), ()),))
    assert [d.code for d in found("vms: {web: {cpus: 9}}", host)] == ["check.too-many-cpus"]


OLD_INTEL, ZEN_4 = ("Nehalem", "Westmere"), ("Nehalem", "EPYC", "EPYC-Milan")
AVX512 = tuple(f"avx512{letters}" for letters in ("bw", "cd", "dq", "f", "vl"))


@pytest.mark.parametrize(
    ("cpus", "models", "features", "codes"),
    [
        ("{model: Westmere}", OLD_INTEL, (), []),
        ("{model: EPYC}", OLD_INTEL, (), ["check.no-cpu-model"]),
        ("{model: EPYC, fallback: allow}", OLD_INTEL, (), []),
        ("{model: EPYC}", (), (), []),
        ("{model: x86-64-v2}", OLD_INTEL, (), []),
        ("{model: x86-64-v3}", OLD_INTEL, (), ["check.no-cpu-model"]),
        ("{model: x86-64-v3}", ZEN_4, (), []),
        ("{model: x86-64-v4}", ZEN_4, (), ["check.no-cpu-model"]),
        ("{model: x86-64-v4}", ZEN_4, AVX512, []),
        ("{model: x86-64-v4}", (*OLD_INTEL, "Skylake-Server-noTSX-IBRS"), (), []),
    ],
)
def test_a_named_cpu_is_one_that_the_host_can_run_as_it_is(
    cpus: str, models: tuple[str, ...], features: tuple[str, ...], codes: list[str]
) -> None:
    host = facts(support=(DomainSupport("x86_64", "kvm", "pc-q35-9.2", 288, (), models),))
    assert [
        d.code for d in found(f"vms: {{web: {{cpus: {cpus}}}}}", replace(host, cpu_features=features))
    ] == codes


@pytest.mark.parametrize(
    ("vm", "said"),
    [
        ("{cpus: {model: x86-64-v3}}", "All of its hosts can show x86-64-v2."),
        ("{cpus: {model: EPYC}}", "All of its hosts can show x86-64-v2."),
        ("{cpus: {model: EPYC, fallback: allow}}", None),
        ("{cpus: {model: x86-64-v2}}", None),
        ("{cpus: {model: Nehalem}}", None),
        ("{host: kvm-1, cpus: {model: EPYC}}", None),
        ("{cpus: 2}", None),
    ],
)
def test_a_vm_that_may_move_is_warned_of_a_cpu_that_not_all_of_its_hosts_can_show(
    vm: str, said: str | None
) -> None:
    def host(*models: str) -> HostFacts:
        return facts(support=(DomainSupport("x86_64", "kvm", "pc-q35-9.2", 288, (), models),))

    cluster = resolved(f"vms: {{web: {vm}}}")
    placed = PlacedCluster(cluster, tuple(vm.on("kvm-1") for vm in cluster.vms))
    hosts = {"kvm-1": host(*ZEN_4), "kvm-2": host(*OLD_INTEL), "kvm-3": facts()}
    told = [(d.code, d.severity, d.cause) for d in check(placed, hosts, load_plugins())]
    assert told == ([("check.cpu-elsewhere", Severity.WARNING, said)] if said else [])


DIVISIBLE = CacheBank(0, 3, 15 * MIB, (("both", 768 * KIB, 1536 * KIB),))
WHOLE = CacheBank(1, 3, 15 * MIB, ())


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ('cache_shares: [{vcpus: "0", size: 1536KiB}]', None),
        (
            'cache_shares: [{vcpus: "0", size: 768KiB}]',
            "A part has from 1536KiB to 15MiB, in steps of 768KiB.",
        ),
        ('cache_shares: [{vcpus: "0", size: 2MiB}]', "A part has from 1536KiB to 15MiB, in steps of 768KiB."),
        ('cache_shares: [{vcpus: "0", size: 3MiB, bank: 1}]', "That bank cannot be divided."),
        ('cache_shares: [{vcpus: "0", size: 3MiB, type: code}]', "That bank can be divided for both only."),
        ('cache_shares: [{vcpus: "0", size: 3MiB, bank: 7}]', "Its banks are 0 of level 3, 1 of level 3."),
        ('bandwidth_shares: [{vcpus: "0", percent: 50}]', None),
        ('bandwidth_shares: [{vcpus: "0", percent: 50, node: 4}]', "It can divide that of 0."),
    ],
)
def test_a_share_is_one_that_the_host_can_give(shares: str, said: str | None) -> None:
    host = replace(facts(), caches=(DIVISIBLE, WHOLE), bandwidth_nodes=(0,))
    told = [(d.code, d.cause) for d in found(f"vms: {{web: {{cpus: {{{shares}}}}}}}", host)]
    assert told == ([("check.no-share", said)] if said else [])


def test_shares_are_not_judged_where_caches_were_not_read() -> None:
    assert found('vms: {web: {cpus: {cache_shares: [{vcpus: "0", size: 1MiB}]}}}', facts()) == ()


def test_a_bridge_that_the_host_lacks_is_told_at_the_network() -> None:
    text = "networks:\n  lan: {bridge: br-lan}\nvms:\n  a: {nics: [lan]}\n  b: {nics: [lan]}\n"
    (missing,) = found(text, facts(bridges=("lo", "br0")))
    assert (missing.code, underlined(text, missing)) == ("check.no-bridge", "br-lan")


@pytest.mark.parametrize("bridges", [(), ("lo", "br0")])
def test_a_bridge_is_not_missed_where_devices_were_not_read_or_it_is_there(bridges: tuple[str, ...]) -> None:
    assert found(LAN + "vms: {a: {nics: [lan]}}", facts(bridges=bridges)) == ()


def test_a_bridge_that_no_guest_of_the_host_uses_may_be_missing() -> None:
    assert found(LAN + "vms: {a: {host: kvm-2, nics: [lan]}}", facts(bridges=("lo",))) == ()


def test_a_fault_of_many_copies_is_told_once() -> None:
    assert len(found("vms: {web: {count: 50, memory: 1MiB, machine: nonsense}}", facts())) == 1


def test_an_absent_vm_is_not_judged() -> None:
    assert found("vms: {web: {state: absent, memory: 100GiB}}", facts()) == ()


def test_a_pool_that_the_host_has_no_backend_for_is_told_at_its_type() -> None:
    text = "storage:\n  ceph: {type: rbd, source: vms, servers: [ceph-1], hosts: [kvm-1]}\n"
    (diagnostic,) = found(text, replace(facts(), pool_types=("dir", "fs")))
    assert (diagnostic.code, underlined(text, diagnostic)) == ("check.no-pool-type", "rbd")
    assert found(text, replace(facts(), pool_types=("dir", "rbd"))) == ()
    assert found(text, facts()) == (), "what was not read is not judged"
