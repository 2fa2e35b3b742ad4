"""A fleet of GPU hosts: what is given is right however it is asked for, and finding it is not much work."""

from __future__ import annotations

from collections import Counter
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st
from kvmdecl_numa.search import Effort
from kvmdecl_numa.solver import numa

from kvmdecl import offered
from kvmdecl.diagnostics import Rejected
from kvmdecl.passed import passed_on
from kvmdecl.pci import pci_tree
from kvmdecl.placement import place
from kvmdecl.state import HostSnapshot, HostState
from tests.devices.machines import GPU, NIC, Machine
from tests.resolve.support import resolved

HEAD = "apiVersion: kvmdecl/v1\ncluster: demo\n"
ALIASES = 'devices:\n  gpu: {vendor: "10de", device: "2330"}\n  card: {vendor: "15b3", device: "101d"}\n'


def gpu_host() -> Machine:
    """Eight GPUs in two cells, two to a switch."""
    machine = Machine(cells=2)
    for switch in range(4):
        root = machine.port(f"0000:{16 * switch + 16:02x}:00.0", 100 + switch, cell=switch // 2)
        upper = machine.port(f"0000:{16 * switch + 17:02x}:00.0", 110 + switch, cell=switch // 2, below=root)
        for number in range(2):
            bus = 16 * switch + 18 + 2 * number
            port = machine.port(f"0000:{bus:02x}:00.0", 120 + bus, cell=switch // 2, below=upper)
            machine.add(f"0000:{bus + 1:02x}:00.0", GPU, "10de:2330", driver="nvidia", group=bus,
                        cell=switch // 2, below=port)  # fmt: skip
    return machine


def fleet(number, vms):
    hosts = "".join(
        f"  kvm-{n}: {{uri: 'qemu+tls://kvm-{n}.example/system', dedicated: '0-15'}}\n" for n in range(number)
    )
    return resolved(f"{HEAD}hosts:\n{hosts}{ALIASES}vms:\n{vms}", head="")


def test_64_devices_of_8_hosts_are_read_twice_and_given_without_a_search(monkeypatch):
    trees = Counter[str]()
    monkeypatch.setattr(offered, "pci_tree", lambda facts: trees.update(["read"]) or pci_tree(facts))
    one = "cpus: {count: 2, policy: dedicated}, memory: 4GiB, devices: [{alias: gpu, numa: required}]"
    four = "memory: 2GiB, devices: [{alias: gpu, count: 4, prefer: same_switch}]"
    cluster = fleet(8, f"  one: {{count: 32, {one}}}\n  four: {{count: 8, {four}}}\n")
    facts = gpu_host().facts()
    seen = {host.name: HostSnapshot(host.name, facts, HostState()) for host in cluster.hosts}

    done = place(cluster, seen, numa)

    given = Counter((vm.host, passed.address) for vm in done.vms for passed in passed_on(vm))
    assert len(given) == 64
    assert set(given.values()) == {1}
    assert trees["read"] == 16


@st.composite
def machines(draw):
    """Functions in any groups, cards with virtual functions, ports between them."""
    machine = Machine(cells=2)
    for number in range(draw(st.integers(1, 6))):
        group, cell = draw(st.integers(1, 4)), draw(st.sampled_from((0, 1, None)))
        port = machine.port(f"0000:00:{number + 1:02x}.0", group if draw(st.booleans()) else 50 + number)
        ids, code = draw(st.sampled_from((("10de:2330", GPU), ("15b3:101d", NIC))))
        driver = draw(st.sampled_from(("", "vfio-pci", "vfio-pci", "some")))
        address = machine.add(f"0000:{number + 1:02x}:00.0", code, ids, driver=driver, group=group, cell=cell,
                              below=port)  # fmt: skip
        if code == NIC and draw(st.booleans()):
            machine.virtual(address, draw(st.integers(1, 3)), 8)
    return machine


def brief(request):
    return numa(request, Effort(steps=100))


REQUESTS = st.lists(
    st.sampled_from((
        "devices: [gpu]",
        "devices: [{alias: gpu, count: 2}]",
        "devices: [{alias: gpu, group: whole}]",
        "devices: [card]",
        'devices: [{pci: {class: "0200"}}, gpu]',
        "nics: [{vf: card}]",
        "nics: [{vf: card}, {vf: card}]",
    )),
    min_size=1,
    max_size=4,
)  # fmt: skip


@given(machines(), REQUESTS)
@settings(max_examples=60, deadline=None)
def test_no_group_ever_has_two_owners_and_no_card_is_given_beside_its_functions(machine, requests):
    cluster = fleet(1, "".join(f"  vm-{n}: {{{text}}}\n" for n, text in enumerate(requests)))
    facts = machine.facts()
    try:
        with patch("kvmdecl.placement.advise", return_value={}):  # what would help is another matter
            done = place(cluster, {"kvm-0": HostSnapshot("kvm-0", facts, HostState())}, brief)
    except Rejected:
        return

    owners = {passed.address: vm.name for vm in done.vms for passed in passed_on(vm)}
    assert sum(len([*passed_on(vm)]) for vm in done.vms) == len(owners)
    functions = machine.functions
    groups = {functions[address].group: set() for address in owners}
    for function in functions.values():
        if function.group in groups and function.code != "060400":
            held = function.driver not in {"", "vfio-pci"}
            owner = owners.get(function.address, "the host" if held else None)
            groups[function.group].add(owner)
    assert all(len(of - {None}) == 1 for of in groups.values())
    assert not any(functions[address].physical in owners for address in owners)
