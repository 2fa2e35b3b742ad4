"""`devices` and `vf`: what is meant, chosen among what a host has and does not use itself."""

from __future__ import annotations

import pytest
from kvmdecl_numa.solver import numa

from kvmdecl.asking import Relock
from kvmdecl.diagnostics import Rejected
from kvmdecl.emit import emit
from kvmdecl.facts import HostFacts
from kvmdecl.libvirt_xml.domain import domain_xml
from kvmdecl.lock import new_lock
from kvmdecl.passed import passed_on
from kvmdecl.pipeline import rehearse
from kvmdecl.placement import place
from kvmdecl.planner import make_plan
from kvmdecl.scenario import example_host
from kvmdecl.state import HostSnapshot, HostState, ObservedDomain
from tests.devices.machines import desktop, gpu_server, nic_server, without_iommu
from tests.resolve.support import resolved

MACHINES = {"kvm-1": gpu_server(), "kvm-2": nic_server(), "kvm-3": desktop(), "kvm-4": without_iommu()}
FACTS: dict[str, HostFacts] = {name: machine.facts() for name, machine in MACHINES.items()}
HEAD = """
devices:
  gpu: {vendor: "10de", device: "2235"}
  uplink: {at: {kvm-1: "0000:4b:00.1", kvm-2: "0000:3b:00.0"}}
  card: {vendor: "8086", device: "1572"}
"""
A40 = ["0000:19:00.0", "0000:1a:00.0", "0000:9a:00.0"]


def cluster(vms, hosts="kvm-1", head=HEAD, dedicated='"2-7,10-15"'):
    listed = "".join(
        f"  {name}: {{uri: 'qemu+tls://{name}.example/system', dedicated: {dedicated}"
        f", maintenance: {str(name not in hosts.split()).lower()}}}\n"
        for name in MACHINES
    )
    base = "apiVersion: kvmdecl/v1\ncluster: demo\n"
    return resolved(f"{base}hosts:\n{listed}{head}vms:\n{vms}", head="")


def seen(cluster, *domains, **on):
    return {
        host.name: HostSnapshot(host.name, FACTS[host.name], HostState(domains=on.get(host.name, domains)))
        for host in cluster.hosts
    }


def placed(vms, hosts="kvm-1", *domains, **more):
    wanted = cluster(vms, hosts, **more)
    return place(wanted, seen(wanted, *domains), numa)


def given(vms, hosts="kvm-1", *domains, **more):
    """The addresses that each vm is given."""
    done = placed(vms, hosts, *domains, **more)
    return {vm.name: [passed.address for passed in passed_on(vm)] for vm in done.vms}


def one(devices, hosts="kvm-1", **more):
    (addresses,) = given(f"  a: {{devices: {devices}}}\n", hosts, **more).values()
    return addresses


def refusal(vms, hosts="kvm-1", *domains):
    with pytest.raises(Rejected) as told:
        placed(vms, hosts, *domains)
    (found,) = told.value.diagnostics
    return [note.text for note in found.notes if note.text.startswith(tuple(hosts.split()))]


@pytest.mark.parametrize(
    ("devices", "hosts", "addresses"),
    [
        ("[gpu]", "kvm-1", A40[:1]),
        ("[{alias: gpu, count: 3}]", "kvm-1", A40),
        ("[{alias: gpu, count: 2, prefer: same_switch}]", "kvm-1", A40[:2]),
        ("[{alias: gpu, count: 2, prefer: distinct}]", "kvm-1", [A40[0], A40[2]]),
        ('[{pci: {vendor: "10DE", device: "2235"}}]', "kvm-1", A40[:1]),
        ('[{pci: {class: "0302"}, count: 2}]', "kvm-1", A40[:2]),
        ('[{pci: {address: "0000:e3:00.0"}}]', "kvm-1", ["0000:e3:00.0"]),  # named: checks refuse it
        ("[uplink]", "kvm-1", ["0000:4b:00.1"]),
        ("[uplink]", "kvm-2", ["0000:3b:00.0"]),
        ('[{pci: {class: "0200"}}]', "kvm-1", ["0000:4b:00.1"]),  # of the two that one without a link
        ("[{mdev: nvidia-563}]", "kvm-1", []),
        ('[{pci: {vendor: "8086", device: "154c"}, count: 2}]', "kvm-2", ["0000:3b:02.0", "0000:3b:02.1"]),
        ('[{pci: {class: "0c03"}, group: whole}]', "kvm-1", ["0000:00:14.0"]),
    ],
)
def test_a_vm_gets_what_it_means(devices, hosts, addresses):
    assert one(devices, hosts) == addresses


@pytest.mark.parametrize(
    ("devices", "host", "reason"),
    [
        ("[{alias: gpu, count: 4}]", "kvm-1", "kvm-1: 3 of 4 devices gpu free"),
        ('[{pci: {class: "0108"}}]', "kvm-1", "kvm-1: no device class 0108 free"),
        ("[card]", "kvm-2", "kvm-2: no device card free"),
        ('[{pci: {class: "0300"}}]', "kvm-3", "kvm-3: no device class 0300 free"),
        (
            '[{pci: {class: "0403"}, group: whole}]',
            "kvm-3",
            "kvm-3: no device class 0403 with its group free",
        ),
        ('[{pci: {class: "0c03"}}]', "kvm-4", "kvm-4: no device class 0c03 free"),
    ],
)
def test_what_the_host_uses_or_might_use_is_not_given_to_who_names_its_kind_alone(devices, host, reason):
    assert refusal(f"  a: {{devices: {devices}}}\n", host)[0] == reason


def test_why_devices_are_not_to_be_had_is_told():
    assert refusal('  a: {devices: [{pci: {class: "0108"}}]}\n')[1:3] == [
        "kvm-1: 0000:65:00.0: the host may use its disk /dev/nvme0n1",
        "kvm-1: 0000:e3:00.0: the host may use its disk /dev/nvme1n1",
    ]


def test_a_device_is_near_the_cells_that_it_has_to_be_near_to():
    vms = "  a: {cpus: {count: 2, policy: dedicated}, devices: [{alias: gpu, count: 2, numa: required}]}\n"
    vms += "  b: {devices: [{alias: gpu, numa: required}]}\n"
    done = placed(vms)
    assert {name: (p.cells[0].home, p.devices) for name, p in done.places.items()} == {
        "a": (0, ((A40[0], A40[1]),)),
        "b": (1, ((A40[2],),)),
    }


def test_virtual_functions_are_nics_with_a_mac_address_of_their_own():
    vms = "  a: {nics: [{vf: uplink, vlan: 5}, {vf: {alias: card}}]}\n"
    (vm,) = placed(vms, "kvm-2").vms
    xml = domain_xml(vm, {})
    assert [nic.spec.pci for nic in vm.nics] == ["0000:3b:02.0", "0000:3b:02.1"]
    assert xml.count('<interface type="hostdev" managed="yes">') == 2
    assert '<tag id="5"/>' in xml
    assert len({nic.mac for nic in vm.nics}) == 2


def test_a_card_and_its_functions_are_never_both_given():
    vms = "  a: {nics: [{vf: uplink}]}\n  b: {devices: [uplink]}\n"
    assert refusal(vms, "kvm-2")[0] == "kvm-2: no device uplink free"


def test_mediated_devices_are_those_of_the_type_that_are_there():
    (vm,) = placed("  a: {devices: [{mdev: nvidia-563}]}\n").vms
    assert 'uuid="3627463d-b7f0-4fea-b468-f1da537d301b"' in domain_xml(vm, {})


def running(name, *addresses):
    """A guest that is not ours and has some functions."""
    places = "".join(
        f"<hostdev type='pci'><source><address domain='0x0000' bus='0x{a[5:7]}' slot='0x{a[8:10]}' function='0x0'/>"
        "</source></hostdev>"
        for a in addresses
    )
    xml = f"<domain><name>{name}</name><devices>{places}</devices></domain>"
    return ObservedDomain(name, f"uuid-of-{name}", xml, xml, True, True, False, False)


def test_what_runs_unmanaged_keeps_its_devices():
    assert given("  a: {devices: [gpu]}\n", "kvm-1", running("other", A40[0])) == {"a": [A40[1]]}


def test_a_device_that_another_vm_names_by_its_address_is_taken():
    vms = f'  a: {{devices: [gpu]}}\n  b: {{host: kvm-1, hostdevs: [{{pci: "{A40[0]}"}}]}}\n'
    assert given(vms) == {"a": [A40[1]], "b": [A40[0]]}


def defined(done):
    """The placed vms as domains of their hosts."""
    return [
        ObservedDomain(vm.name, vm.uuid, domain_xml(vm, {}), None, False, True, False, False)
        for vm in done.vms
    ]


def test_who_exists_keeps_its_devices_without_a_lock_and_gets_others_beside_them():
    before = placed("  b: {devices: [{alias: gpu, count: 2, prefer: distinct}]}\n  c: {nics: [{vf: uplink}]}\n",
                    "kvm-1 kvm-2")  # fmt: skip
    there = defined(before)
    after = "  a: {devices: [gpu]}\n  b: {devices: [{alias: gpu, count: 2}]}\n  c: {nics: [{vf: card}, {vf: uplink}]}\n"
    wanted = cluster(after, "kvm-1 kvm-2")
    domains = {"kvm-1": there[:1], "kvm-2": there[1:]}
    done = place(wanted, seen(wanted, **domains), numa)
    assert {vm.name: [passed.address for passed in passed_on(vm)] for vm in done.vms} == {
        "a": [A40[1]],
        "b": [A40[0], A40[2]],
        "c": ["0000:3b:02.1", "0000:3b:02.0"],  # a NIC is its MAC address
    }


def test_a_guest_keeps_its_cpus_when_it_asks_for_a_device_more():
    before = placed("  b: {cpus: {count: 4, policy: dedicated}}\n", dedicated='"2-5,10-13"')
    after = "  a: {cpus: {count: 4, policy: dedicated}}\n"
    after += "  b: {cpus: {count: 4, policy: dedicated}, devices: [{alias: gpu, numa: required}]}\n"
    wanted = cluster(after)
    done = place(wanted, seen(wanted, **{"kvm-1": defined(before)}), numa)
    assert done.places["b"].cells == before.places["b"].cells
    assert done.places["b"].devices in {((A40[0],),), ((A40[2],),)}


def test_the_lock_says_which_devices_and_for_what():
    done = placed("  a: {devices: [{alias: gpu, count: 2}, uplink]}\n")
    text = new_lock(done).text
    assert text.endswith(
        "  a:\n    host: kvm-1\n"
        f'    wants: "{text.partition("wants: ")[2][1:9]}"\n'
        "    devices:\n"
        f'    - {{for: "gpu", at: ["{A40[0]}", "{A40[1]}"]}}\n'
        '    - {for: "uplink", at: ["0000:4b:00.1"]}\n'
    )


@pytest.mark.parametrize(
    "vm",
    [
        "{devices: [{}]}",
        "{devices: [{alias: gpu, mdev: nvidia-563}]}",
        "{devices: [{mdev: nvidia-563, group: whole}]}",
        '{devices: [{pci: {device: "2235"}}]}',
        '{devices: [{pci: {address: "0000:19:00.0", class: "0302"}}]}',
        '{devices: [{pci: {address: "0000:19:00.0"}, count: 2}]}',
        "{devices: [{alias: gpu, rom: false, rom_file: /srv/rom.bin}]}",
        "{devices: [gpu], ha: true}",
    ],
)
def test_a_request_says_one_thing(vm):
    with pytest.raises(Rejected) as told:
        cluster(f"  a: {vm}\n")
    assert {found.code for found in told.value.diagnostics} == {"manifest.bad-device"}


def test_names_and_their_hosts_are_known():
    with pytest.raises(Rejected) as told:
        cluster("  a: {devices: [gpus], nics: [{vf: up}]}\n", head=HEAD.replace("kvm-2:", "kvm-9:"))
    assert [(found.code, found.at.line) for found in told.value.diagnostics] == [
        ("reference.unknown-host", 11),
        ("reference.unknown-device", 14),
        ("reference.unknown-device", 14),
    ]


def test_a_plan_names_the_devices_of_a_new_guest():
    wanted = cluster("  a: {devices: [{alias: gpu, count: 2}]}\n")
    done = place(wanted, seen(wanted), numa)
    (step,) = make_plan(wanted, emit(done, seen(wanted)), seen(wanted)).steps
    assert step.summary == f"1 vCPU, 1GiB, {A40[0]} and {A40[1]} of the host, started"


def test_demands_for_devices_are_told_where_they_conflict():
    with pytest.raises(Rejected) as told:
        placed("  a: {count: 2, devices: [gpu], memory: 4GiB}\n  c: {devices: [{alias: gpu, count: 2}]}\n")
    (found,) = told.value.diagnostics
    assert [note.text for note in found.notes][-2:] == [
        "a-1 and a-2 want, each, 4GiB and 1 of gpu",
        "c wants 1GiB and 2 of gpu",
    ]
    assert "1 of gpu instead of 2 for c" in found.hint


def test_devices_are_no_part_of_a_rehearsal():
    real = cluster("  a: {devices: [{alias: gpu, numa: required}], nics: [{vf: uplink}]}\n")
    wanted = rehearse(real, {host.name: host.uri for host in real.hosts})
    (vm,) = place(wanted, {host.name: example_host(host.name) for host in wanted.hosts}, numa).vms
    assert (vm.given, vm.nics) == ((), ())


def test_vms_that_want_no_devices_are_asked_about_as_before():
    done = placed("  a: {}\n  b: {devices: [gpu]}\n")
    assert done.places["a"].devices == ()
    relocked = place(done.cluster, seen(done.cluster), numa, Relock())
    assert relocked.places == done.places
