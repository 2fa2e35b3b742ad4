"""Who is given which PCI functions of one host: vms that name them, and NICs that a network gives them to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmdecl.api import Severity, passed_on

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from kvmdecl.api import Function, Holder, HostState, PciTree, ResolvedNetwork, ResolvedVm, Span


@dataclass(frozen=True, slots=True)
class Claim:
    """A function that a vm is given.

    Attributes:
        vm: whose it is.
        address: of the function.
        key: of the vm that says so: `hostdevs.0`, `nics.1`, `disks.data.source`.
        function: what the host tells of it, None if it has no such function.
        managed: whether libvirt takes it from the host's driver.
        network: name of the network that hands it out, empty if the vm names it.
        leaves: whether it is unplugged while the guest is migrated.
        runs: whether the vm shall run, or runs and is left alone.
        may_start: whether a vm that shall not run can start all the same: with its host, or by hand.
        is_new: whether the definition on the host does not have it yet.
        settled: whether the guest runs with it already.
    """

    vm: ResolvedVm
    address: str
    key: str
    function: Function | None
    managed: bool
    network: str
    leaves: bool
    runs: bool
    may_start: bool
    is_new: bool
    settled: bool

    @property
    def at(self) -> Span | None:
        """Where the manifest says so."""
        return self.vm.origin.find(self.key)

    @property
    def is_disk(self) -> bool:
        """Whether QEMU drives it for the guest, which sees a disk (NVMe)."""
        return self.key.startswith("disk")

    @property
    def severity(self) -> Severity:
        """An error if it keeps the guest from starting now; it may start later, or runs all the same."""
        return Severity.ERROR if self.runs and not self.settled else Severity.WARNING

    @property
    def given(self) -> str:
        """Who has it, and how."""
        return f"{self.vm.name}, by network {self.network}" if self.network else self.vm.name


@dataclass(frozen=True, slots=True)
class Handout:
    """A network of `mode: hostdev` on one host.

    Attributes:
        network: itself.
        card: the function whose virtual functions it hands out, None if it lists them or nobody knows.
        functions: addresses of all that it has, in the order in which libvirt gives them to NICs.
        users: number of NICs of vms that shall run.
        lacking: NICs that get none: the vm, and the key of the NIC.
    """

    network: ResolvedNetwork
    card: Function | None
    functions: tuple[str, ...]
    users: int
    lacking: tuple[tuple[ResolvedVm, str], ...]


@dataclass(frozen=True, slots=True)
class Guests:
    """The vms of the manifest on one host, and which of the host's domains they are."""

    vms: Sequence[ResolvedVm]
    active: frozenset[str]
    held: Mapping[str, Holder]

    @classmethod
    def of(cls, vms: Sequence[ResolvedVm], state: HostState, held: Sequence[Holder]) -> Guests:
        """Find them by their UUIDs."""
        active = frozenset(domain.uuid for domain in state.domains if domain.active)
        return cls(vms, active, {holder.uuid: holder for holder in held if holder.kind == "domain"})

    def claim(
        self, vm: ResolvedVm, key: str, address: str, tree: PciTree, *, managed: bool, network: str = ""
    ) -> Claim:
        """A function that one of them is given."""
        holder = self.held.get(vm.uuid)
        has = holder is not None and address in holder.addresses
        runs = self.runs(vm)
        place, _, number = key.partition(".")
        return Claim(
            vm=vm,
            address=address,
            key=key,
            function=tree.functions.get(address),
            managed=managed,
            network=network,
            leaves=place == "nics" and vm.nics[int(number)].failover == "transient",
            runs=runs,
            may_start=not runs and (vm.state == "unmanaged" or vm.spec.autostart),
            is_new=not has,
            settled=has and vm.uuid in self.active,
        )

    def runs(self, vm: ResolvedVm) -> bool:
        """Whether it shall run, or runs and is left alone."""
        return vm.state == "running" or (vm.state == "unmanaged" and vm.uuid in self.active)


def named(guests: Guests, tree: PciTree) -> Iterator[Claim]:
    """What vms are given by address."""
    for vm in guests.vms:
        for passed in passed_on(vm):
            yield guests.claim(vm, passed.key, passed.address, tree, managed=passed.managed)


def handed_out(
    network: ResolvedNetwork, guests: Guests, tree: PciTree
) -> tuple[Handout, tuple[Claim, ...]] | None:
    """What a network gives to NICs of vms that shall run; None if nobody knows what it has.

    libvirt gives a NIC the first function that no other NIC of the network has (networkAllocatePort), whoever else has
    it. So as many as there are NICs are in use, from the first on, in whatever order the guests start.
    """
    card, functions = _functions(network, tree)
    if functions is None:
        return None
    nics = [
        (vm, f"nics.{number}")
        for vm in guests.vms
        for number, nic in enumerate(vm.nics)
        if nic.network == network.name and guests.runs(vm)
    ]
    given = _given(nics, functions, guests)
    claims = tuple(
        guests.claim(vm, key, given[vm.name, key], tree, managed=network.spec.managed, network=network.name)
        for vm, key in nics
        if (vm.name, key) in given
    )
    lacking = tuple((vm, key) for vm, key in nics if (vm.name, key) not in given)
    return Handout(network, card, functions, len(nics), lacking), claims


def _given(
    nics: Sequence[tuple[ResolvedVm, str]], functions: tuple[str, ...], guests: Guests
) -> dict[tuple[str, str], str]:
    """Who runs keeps what it has; the others get the first that are left."""
    given: dict[tuple[str, str], str] = {}
    for vm, key in nics:
        holder = guests.held.get(vm.uuid)
        has = holder.addresses if holder is not None and holder.active else ()
        mine = [address for address in has if address in functions and address not in given.values()]
        if mine:
            given[vm.name, key] = mine[0]
    free = (address for address in functions if address not in set(given.values()))
    waiting = [(vm.name, key) for vm, key in nics if (vm.name, key) not in given]
    return given | dict(zip(waiting, free, strict=False))


def _functions(network: ResolvedNetwork, tree: PciTree) -> tuple[Function | None, tuple[str, ...] | None]:
    if network.spec.pci:
        return None, network.spec.pci
    cards = [card for name in network.spec.device or () if (card := interface(name, tree)) is not None]
    if not cards:
        return None, None
    return cards[0], tuple(address for card in cards for address in card.virtual)


def interface(name: str, tree: PciTree) -> Function | None:
    """The function that has a network interface of this name."""
    for function in tree.functions.values():
        if any(use.kind == "network" and use.name == name for use in function.uses):
            return function
    return None
