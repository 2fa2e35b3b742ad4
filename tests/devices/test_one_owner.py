"""No accepted plan gives an IOMMU group two owners, and nothing is refused that would have one: random PCI trees.

The oracle below knows nothing of the checker: it reads the machine as it was put together.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kvmdecl.diagnostics import Diagnostic, Rejected, Severity
from kvmdecl.names import derive_uuid
from kvmdecl.passed import passed_on
from kvmdecl.pipeline import Compiled, compile_cluster, load_cluster
from kvmdecl.pluginhost import load_plugins
from kvmdecl.state import HostSnapshot, HostState
from tests.devices.hosts import CLUSTER, guest_with
from tests.devices.machines import NIC, PORT, Machine

PLUGINS = load_plugins()
POOL = "0000:40:00.0"


@dataclass(frozen=True)
class Case:
    """A host, what its vms name, how many NICs are on its network, and what a guest of nobody's manifest has.

    Attributes:
        machine: the host.
        wants: addresses by vm. Those whose name begins with `off` shall not run.
        nics: number of vms with a NIC on the network that hands out the virtual functions of `POOL`.
        theirs: what the other guest runs with.
    """

    machine: Machine
    wants: dict[str, list[str]]
    nics: int = 0
    theirs: tuple[str, ...] = ()


def has_one_owner_each(case: Case) -> bool:
    """The oracle: every group that a vm shall have is that vm's alone."""
    functions = case.machine.functions
    pool = functions[POOL].virtual if POOL in functions else ()
    had = [(vm, a) for vm, of in case.wants.items() if not vm.startswith("off") for a in of]
    had += [(f"net-{n}", address) for n, address in enumerate(pool[: case.nics])]
    if len(pool) < case.nics or len({address for _, address in had}) < len(had):
        return False
    if any(a not in functions or functions[a].code == PORT or functions[a].group is None for _, a in had):
        return False
    if any(set(functions[a].virtual) & {*(b for _, b in had), *case.theirs} for _, a in had):
        return False
    had += [("theirs", address) for address in case.theirs]
    left = functions.keys() - {address for _, address in had}
    had += [
        ("host", a) for a in left if functions[a].driver not in {"", "vfio-pci"} and functions[a].code != PORT
    ]
    wanted = {functions[a].group for vm, a in had if vm not in {"theirs", "host"}}
    return all(len({vm for vm, a in had if functions[a].group == group}) == 1 for group in wanted)


# -- cases -----------------------------------------------------------------------------------------------------


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Ports with cards below them, any of them in one group; a card with virtual functions, and a network of these."""
    machine = Machine()
    groups = st.sampled_from([1, 1, 2, 3, 4, 5, 6, 7])
    for bus in range(draw(st.integers(1, 3))):
        port = machine.port(f"0000:00:{bus + 1:02x}.0", draw(groups))
        for function in range(draw(st.integers(1, 3))):
            driver = draw(st.sampled_from(["", "vfio-pci", "vfio-pci", "e1000"]))
            machine.add(f"0000:{bus + 1:02x}:00.{function}", NIC, "8086:107c", driver=driver,
                        group=draw(groups), below=port)  # fmt: skip
    if draw(st.booleans()):
        machine.add(POOL, NIC, "8086:1572", driver="i40e", group=100)
        machine.virtual(POOL, draw(st.integers(0, 4)), 8, driver="iavf")
        for address in machine.functions[POOL].virtual if draw(st.booleans()) else ():  # a card without ACS
            machine.functions[address] = replace(machine.functions[address], group=101)
    there = sorted(machine.functions)
    some = st.lists(st.sampled_from(there), max_size=3, unique=True)
    theirs = tuple(draw(st.lists(st.sampled_from(there), max_size=1))) if draw(st.booleans()) else ()
    wants = {name: draw(some) for name in ("a", "b", "off") if draw(st.booleans())}
    nics = draw(st.integers(0, 3)) if POOL in machine.functions else 0
    ends = tuple(address for address in theirs if machine.functions[address].code != PORT)
    return Case(machine, wants, nics, ends)


def compiled(case: Case, folder: Path, asking: int = 0) -> Compiled:
    """What comes of a case, with so many vms more that ask for a card by what it is. Raises Rejected."""
    vms = {
        name: {
            "host": "kvm-1",
            "hostdevs": [{"pci": address} for address in of],
            **({"state": "stopped", "autostart": False} if name.startswith("off") else {}),
        }
        for name, of in case.wants.items()
    }
    vms |= {f"net-{number}": {"host": "kvm-1", "nics": ["fast"]} for number in range(case.nics)}
    vms |= {f"ask-{number}": {"host": "kvm-1", "devices": ["card"]} for number in range(asking)}
    devices = {"card": {"vendor": "8086", "device": "107c"}} if asking else {}
    networks = {"fast": {"mode": "hostdev", "device": "ens1"}} if case.nics else {}
    path = folder / "cluster.yaml"
    path.write_text(
        f"apiVersion: kvmdecl/v1\ncluster: {CLUSTER}\nhosts: {{kvm-1: 'qemu+tls://kvm-1.example/system'}}\n"
        f"devices: {devices}\nnetworks: {networks}\nvms: {vms}\n".replace("True", "true").replace(
            "False", "false"
        )
    )
    if POOL in case.machine.functions:
        case.machine.interface(POOL, "ens1", "down")
    facts = replace(
        case.machine.facts(), uuid=derive_uuid(CLUSTER, "host", "kvm-1"), interfaces=("ens1", "lo")
    )
    state = HostState(domains=(guest_with("theirs", *case.theirs),) if case.theirs else ())
    return compile_cluster(
        load_cluster(path, PLUGINS), {"kvm-1": HostSnapshot("kvm-1", facts, state)}, PLUGINS
    )


def refusals(case: Case, folder: Path) -> list[Diagnostic]:
    """The errors for which the whole program refuses to plan this."""
    try:
        compiled(case, folder)
    except Rejected as rejected:
        return [found for found in rejected.diagnostics if found.severity is Severity.ERROR]
    return []


def _two_in_one_group(*drivers: str) -> Machine:
    machine = Machine()
    port = machine.port("0000:00:01.0", 1)
    for number, driver in enumerate(drivers):
        machine.add(f"0000:01:00.{number}", NIC, "8086:107c", driver=driver, group=1, below=port)
    return machine


@settings(max_examples=150)
@given(case=cases())
@example(case=Case(_two_in_one_group("vfio-pci", "e1000"), {"a": ["0000:01:00.0"]}))
@example(case=Case(_two_in_one_group("vfio-pci", ""), {"a": ["0000:01:00.0"]}))
@example(case=Case(_two_in_one_group("e1000", "e1000"), {"a": ["0000:01:00.0", "0000:01:00.1"]}))
@example(case=Case(_two_in_one_group("", ""), {"a": ["0000:01:00.0"], "b": ["0000:01:00.1"]}))
@example(case=Case(_two_in_one_group("", ""), {"a": ["0000:01:00.0"], "off": ["0000:01:00.1"]}))
@example(case=Case(_two_in_one_group("", ""), {"a": ["0000:01:00.0"]}, theirs=("0000:01:00.1",)))
def test_what_is_accepted_has_one_owner_for_each_group_and_what_has_is_accepted(
    case: Case, tmp_path_factory: pytest.TempPathFactory
):
    refused = refusals(case, tmp_path_factory.getbasetemp())
    assert bool(refused) != has_one_owner_each(case), [found.summary for found in refused]
    assert all(found.at is not None for found in refused)


@settings(max_examples=100)
@given(case=cases(), asking=st.integers(1, 2))
def test_what_is_given_to_who_asks_by_kind_has_one_owner_for_each_group(
    case: Case, asking: int, tmp_path_factory: pytest.TempPathFactory
):
    try:
        placed = compiled(case, tmp_path_factory.getbasetemp(), asking).placed
    except Rejected:
        return
    chosen = {vm.name: [p.address for p in passed_on(vm)] for vm in placed.vms if vm.name.startswith("ask")}
    assert [len(addresses) for addresses in chosen.values()] == [1] * asking
    assert has_one_owner_each(replace(case, wants={**case.wants, **chosen}))


def test_cases_are_of_all_kinds():
    """A property over cases of which none is refused, or all are, would show nothing."""
    seen: list[bool] = []

    @settings(max_examples=150)
    @given(case=cases())
    def look(case: Case) -> None:
        seen.append(has_one_owner_each(case))

    look()
    assert 0.15 < sum(seen) / len(seen) < 0.85
