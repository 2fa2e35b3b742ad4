"""PlacedCluster, facts -> diagnostics: what hosts cannot do, told at the line that asks for it."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

from kvmdecl.candidates import Candidates
from kvmdecl.check_hosts import check_hosts
from kvmdecl.diagnostics import Diagnostic, Severity, in_order
from kvmdecl.groups import unkept
from kvmdecl.manifest.cpus import LEVELS, numbers_of
from kvmdecl.names import about_size, format_size
from kvmdecl.offers import levels, refusals, too_new
from kvmdecl.pages import needs_of, pages_there, shortages
from kvmdecl.settings import shares, split_page_name
from kvmdecl.state import HostSnapshot
from kvmdecl.text import did_you_mean, safe_text

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping

    from kvmdecl.cluster import PlacedCluster, ResolvedHost, ResolvedNetwork, ResolvedVm
    from kvmdecl.diagnostics import Span
    from kvmdecl.facts import Cell, DomainSupport, GuestType, HostFacts, Machine
    from kvmdecl.manifest import CacheShare, Vm
    from kvmdecl.pages import Shortage
    from kvmdecl.pluginhost import Plugins
    from kvmdecl.state import HostState, Observation


def check(
    placed: PlacedCluster,
    facts: Mapping[str, HostFacts],
    plugins: Plugins,
    existing: Mapping[str, HostState] | None = None,
) -> tuple[Diagnostic, ...]:
    """Run the built-in checks and those of all plugins. A host without facts is not judged.

    `existing` is what there is on the hosts that answered; they are empty if it is not given.

    Raises:
        PluginError: a plugin's check failed.
    """
    views = {name: _HostView(name, fact) for name, fact in facts.items()}
    built_in = chain(
        chain.from_iterable(_check_vm(vm, views[vm.host]) for vm in _present(placed) if vm.host in views),
        _check_bridges(placed, views),
        _check_elsewhere(placed, views),
        _check_pools(placed, facts),
        _check_pages(placed, facts),
        _check_wishes(placed),
        check_hosts(placed, facts),
    )
    return in_order(chain(built_in, plugins.check(placed, facts, existing or {})))


def check_support(
    placed: PlacedCluster, facts: Mapping[str, HostFacts], changed: Container[str]
) -> Iterator[Diagnostic]:
    """What domain capabilities and devices have against vms that are about to change; the rest was said by `check`.

    A vm that stays as it is runs, or not, whatever its host would say to a new one like it.
    """
    views = {name: _HostView(name, fact) for name, fact in facts.items()}
    vms = tuple(vm for vm in _present(placed) if vm.name in changed)
    for vm in vms:
        host = views.get(vm.host or "")
        machine = host.machines(vm).get(vm.machine) if host is not None else None
        if host is not None and machine is not None:
            yield from _check_supported(vm, host, machine)
    yield from _check_elsewhere(replace(placed, vms=vms), views)


def check_filters(placed: PlacedCluster, observations: Mapping[str, Observation]) -> Iterator[Diagnostic]:
    """Find filters that neither the manifest nor a guest's host has; a host that was not asked is not judged."""
    own = {filter_.name for filter_ in placed.cluster.filters}
    there = {
        name: {found.name for found in seen.state.filters}
        for name, seen in observations.items()
        if isinstance(seen, HostSnapshot) and seen.state.filters
    }
    for vm in _present(placed):
        for index, nic in enumerate(vm.spec.nics):
            if nic.filter is not None and vm.host in there and nic.filter.name not in there[vm.host] | own:
                at = vm.origin.find(f"nics.{index}.filter.name")
                yield _no_filter(nic.filter.name, vm.host, at, own | there[vm.host])
    for filter_ in placed.cluster.filters:
        for index, rule in enumerate(filter_.spec.rules if filter_.spec.state == "active" else ()):
            lacking = [host for host, names in sorted(there.items()) if rule.filter not in names | own]
            if rule.filter is not None and lacking:
                at = filter_.origin.find(f"rules.{index}.filter")
                yield _no_filter(rule.filter, lacking[0], at, own | there[lacking[0]])


def _no_filter(name: str, host: str, at: Span | None, known: set[str]) -> Diagnostic:
    return Diagnostic(
        "check.no-filter",
        f"{host} has no network filter {safe_text(name)}",
        at,
        "A guest whose filter is missing does not start.",
        did_you_mean(name, known)
        or safe_text(f"it has {', '.join(sorted(known)[:12])}; others can be defined in `filters`"),
    )


def _present(placed: PlacedCluster) -> Iterator[ResolvedVm]:
    return (vm for vm in placed.vms if vm.state != "absent")


class _HostView:
    """A host's facts, looked up by what vms ask for."""

    def __init__(self, name: str, facts: HostFacts) -> None:
        self.name = name
        self.memory = facts.memory
        self.cpus = {cpu.id for cpu in facts.cpus}
        self.nodes = {cell.id for cell in facts.cells}
        self.interfaces = facts.interfaces  # empty if they were not read, since every host has `lo`
        self.libvirt = facts.libvirt
        self.caches = facts.caches  # empty if they were not read
        self.bandwidth_nodes = facts.bandwidth_nodes
        self.security_models = facts.security_models  # empty if they were not read
        self._facts = facts
        self._shown: dict[tuple[str, str, str], frozenset[str]] = {}
        self._machines: dict[tuple[str, str], dict[str, Machine]] = {}

    def lacks(self, interface: str) -> bool:
        """Whether the host has no such network device, as far as that is known."""
        return bool(self.interfaces) and interface not in self.interfaces

    def guest_type(self, vm: ResolvedVm) -> GuestType | None:
        return self._facts.guest_type(vm.arch, vm.type)

    def machines(self, vm: ResolvedVm) -> Mapping[str, Machine]:
        """Machine types for guests like this one, by name."""
        key = (vm.arch, vm.type)
        if key not in self._machines:
            guest = self.guest_type(vm)
            self._machines[key] = {machine.name: machine for machine in guest.machines} if guest else {}
        return self._machines[key]

    def support(self, vm: ResolvedVm, machine: Machine) -> DomainSupport | None:
        """Domain capabilities for guests like this one; None if they were not read."""
        wanted = {(vm.arch, vm.type, machine.name), (vm.arch, vm.type, machine.canonical)}
        support = self._facts.domain_support
        return next((s for s in support if (s.arch, s.type, s.machine) in wanted), None)

    def cpus_for(self, vm: ResolvedVm) -> frozenset[str]:
        """The named models and levels that it can show a guest like this one; none if they were not read."""
        key = (vm.arch, vm.type, vm.machine)
        if key not in self._shown:
            machine = self.machines(vm).get(vm.machine)
            support = self.support(vm, machine) if machine is not None else None
            models = support.cpu_models if support is not None else ()
            more = self.levels(support) if support is not None and models else ()
            self._shown[key] = frozenset((*models, *more))
        return self._shown[key]

    def devices_of(self, capability: str) -> list[dict[str, str]]:
        """The properties of its devices of a kind; none if they were not read."""
        return [dict(device.properties) for device in self._facts.devices if device.capability == capability]

    def levels(self, support: DomainSupport) -> tuple[str, ...]:
        """The levels of x86-64 that its guests can be shown."""
        return levels(support.cpu_models, self._facts.cpu_features)


def _check_vm(vm: ResolvedVm, host: _HostView) -> Iterator[Diagnostic]:
    if host.guest_type(vm) is None:
        yield _no_guest_type(vm, host)
        return
    machine = host.machines(vm).get(vm.machine)
    if machine is None:
        yield _unknown_machine(vm, host)
    else:
        yield from _check_supported(vm, host, machine)
    yield from _check_versions(vm, host)
    yield from _check_pins(vm, host)
    yield from _check_shares(vm, host)
    yield from _check_security(vm, host)
    yield from _check_memory_of(vm, host)
    if vm.memory > host.memory:
        yield Diagnostic(
            "check.memory-over-host",
            f"{format_size(vm.memory)} do not fit on {host.name} with its {about_size(host.memory)}",
            vm.origin.find("memory"),
            "The guest would not start, or drive its host into swap.",
            "ask for less, or choose a larger host",
        )


def _check_supported(vm: ResolvedVm, host: _HostView, machine: Machine) -> Iterator[Diagnostic]:
    support = host.support(vm, machine)
    yield from _check_cpus(vm, host, machine, support)
    yield from _check_offers(vm, host, support)
    yield from _check_cpu_model(vm, host, support)
    yield from _check_usb_devices(vm, host)


def _no_guest_type(vm: ResolvedVm, host: _HostView) -> Diagnostic:
    hint = "see whether /dev/kvm exists there; `type: qemu` emulates it, many times slower"
    return Diagnostic(
        "check.no-guest-type",
        f"{host.name} offers no {vm.type} guests of {vm.arch}",
        vm.origin.find("type"),
        "libvirt lists what its emulators can run, and this is not among it.",
        hint if vm.type == "kvm" else f"install the emulator for {vm.arch} there, or choose another host",
    )


def _unknown_machine(vm: ResolvedVm, host: _HostView) -> Diagnostic:
    known = host.machines(vm)
    aliases = ", ".join(sorted(name for name, machine in known.items() if machine.canonical != name))
    return Diagnostic(
        "check.unknown-machine",
        f"{host.name} has no machine type {safe_text(vm.machine)}",
        vm.origin.find("machine"),
        "Its emulator cannot make such a machine; a newer or an older QEMU may.",
        did_you_mean(vm.machine, known) or safe_text(f"its aliases are {aliases}" if aliases else ""),
    )


def _check_cpus(
    vm: ResolvedVm, host: _HostView, machine: Machine, support: DomainSupport | None
) -> Iterator[Diagnostic]:
    told = (machine.max_cpus, support.max_cpus if support is not None else 0)
    most = min((number for number in told if number), default=vm.max_cpus)
    if most < vm.max_cpus:
        yield Diagnostic(
            "check.too-many-cpus",
            f"machine type {safe_text(machine.name)} of {host.name} takes at most {most} CPUs",
            vm.origin.find("cpus.max"),
            f"The manifest asks for {vm.max_cpus}.",
            f"write at most {most}, or choose another `machine:`",
        )


def _check_pins(vm: ResolvedVm, host: _HostView) -> Iterator[Diagnostic]:
    """A pin to CPUs of which the host has none; libvirt takes it, and the guest does not start."""
    cpus = vm.spec.cpus
    pins = [(f"cpus.pins.{number}", cpuset) for number, cpuset in cpus.pins.items()]
    pins += [(f"cpus.iothread_pins.{number}", cpuset) for number, cpuset in cpus.iothread_pins.items()]
    if cpus.emulator_pin is not None:
        pins.append(("cpus.emulator_pin", cpus.emulator_pin))
    for key, cpuset in pins:
        if host.cpus and not numbers_of(cpuset) <= host.cpus:
            yield Diagnostic(
                "check.no-host-cpu",
                f"{host.name} has not all of the CPUs {cpuset}",
                vm.origin.find(key),
                f"Its CPUs are numbered from {min(host.cpus)} to {max(host.cpus)}, {len(host.cpus)} in all.",
                "name CPUs that it has; `kvmdecl facts` lists them",
            )


def _check_memory_of(vm: ResolvedVm, host: _HostView) -> Iterator[Diagnostic]:
    """Memory of a kind that the host has none of."""
    for key, nodeset in _nodesets(vm.spec):
        if host.nodes and not numbers_of(nodeset) <= host.nodes:
            yield Diagnostic(
                "check.no-numa-node",
                f"{host.name} has not all of the NUMA nodes {nodeset}",
                vm.origin.find(key),
                f"Its nodes are {', '.join(map(str, sorted(host.nodes)))}.",
                "name nodes that it has, or leave them out",
            )


def _check_pages(placed: PlacedCluster, facts: Mapping[str, HostFacts]) -> Iterator[Diagnostic]:
    """Huge pages that a host cannot set aside, and those that its guests need and do not find."""
    needing: dict[str | None, list[ResolvedVm]] = {}
    for vm in _present(placed):
        if any(needs_of(vm)):
            needing.setdefault(vm.host, []).append(vm)
    for host in placed.cluster.hosts:
        fact, guests = facts.get(host.name), needing.get(host.name, [])
        if fact is None or not (guests or host.huge_pages):
            continue
        yield from _check_reserved(host, fact)
        there = pages_there(host, fact)
        lacking = [(vm, s) for vm in guests for s in shortages(needs_of(vm), there)] if there else []
        yield from (_no_huge_pages(vm, host.name, short) for vm, short in lacking)
        running = [need for vm in guests if vm.state == "running" for need in needs_of(vm)]
        for short in shortages(running, there) if there and not lacking else ():
            yield _pages_overcommitted(host, short, guests)


def _check_reserved(host: ResolvedHost, facts: HostFacts) -> Iterator[Diagnostic]:
    cells = {cell.id: cell for cell in facts.cells}
    wanted: dict[int, int] = {}
    for size, cell, _ in host.huge_pages:
        key = f"huge_pages.{format_size(size)}" + ("" if cell is None else f".{cell}")
        offered = sorted({size for id_ in cells for size in _huge_sizes(cells[id_]) if cell in {None, id_}})
        if cell is not None and cell not in cells:
            yield Diagnostic(
                "check.no-numa-node",
                f"{host.name} has no NUMA cell {cell}",
                host.origin.find(key),
                f"Its cells are {', '.join(map(str, sorted(cells)))}.",
                "name cells that it has",
            )
        elif size not in offered:
            yield Diagnostic(
                "check.no-page-size",
                f"{host.name} has no pages of {format_size(size)}",
                host.origin.find(key),
                f"It can set aside pages of {' and '.join(map(format_size, offered))}."
                if offered
                else "It can set no huge pages aside.",
                "choose a size that it has, or leave it out",
            )
    for name, count in shares(host.huge_pages, facts.cells).items():
        size, of = split_page_name(name)
        wanted[of] = wanted.get(of, 0) + size * count
    for of, size in sorted(wanted.items()):
        if of in cells and size > cells[of].memory:
            yield Diagnostic(
                "check.pages-over-memory",
                f"huge pages of {format_size(size)} do not fit into cell {of} of {host.name}",
                host.origin.find("huge_pages"),
                f"It has {about_size(cells[of].memory)} of memory, and the host itself needs some of it.",
                "set fewer aside, or name another cell",
            )


def _huge_sizes(cell: Cell) -> list[int]:
    return sorted(pool.size for pool in cell.pages)[1:]


def _no_huge_pages(vm: ResolvedVm, host: str, short: Shortage) -> Diagnostic:
    where = _where(short)
    return Diagnostic(
        "check.no-huge-pages",
        f"{host} has set aside {short.there} pages of {format_size(short.size)}{where},"
        f" and the guest needs {short.needed}",
        vm.origin.find(short.key),
        "Huge pages are set aside on the host beforehand; a guest that does not get its own does not start.",
        f"set {short.needed} aside there (`huge_pages` of the host), or leave `pages` out",
    )


def _pages_overcommitted(host: ResolvedHost, short: Shortage, guests: list[ResolvedVm]) -> Diagnostic:
    names = [vm.name for vm in guests if any(need.size == short.size for need in needs_of(vm))]
    return Diagnostic(
        "check.pages-overcommitted",
        f"the guests of {host.name} need {short.needed} pages of {format_size(short.size)}{_where(short)},"
        f" and it has set aside {short.there}",
        host.origin.find(f"huge_pages.{format_size(short.size)}"),
        f"The last of them to start would find none: {', '.join(names[:10])}.",
        f"set {short.needed} aside (`huge_pages`), or move guests to other hosts",
        subject=f"host/{host.name}",
    )


def _where(short: Shortage) -> str:
    return f" in cell {' and '.join(map(str, sorted(short.nodes)))}" if short.nodes is not None else ""


def _nodesets(spec: Vm) -> Iterator[tuple[str, str]]:
    """All that names NUMA nodes of the host, with its key."""
    if spec.numa is not None:
        named = [("numa.nodeset", spec.numa.nodeset)]
        named += [
            (f"numa.cells.{number}.nodeset", cell.nodeset) for number, cell in enumerate(spec.numa.cells)
        ]
        yield from ((key, nodeset) for key, nodeset in named if nodeset is not None)
    for name, module in spec.memory.modules.items():
        if module.nodeset is not None:
            yield f"memory.modules.{name}.nodeset", module.nodeset


def _check_offers(vm: ResolvedVm, host: _HostView, support: DomainSupport | None) -> Iterator[Diagnostic]:
    """Compare with what domain capabilities list."""
    for refused in refusals(vm, dict(support.enums) if support is not None else {}):
        offer, value = refused.offer, refused.value
        what = offer.what if value in {"efi", "yes"} else f"{offer.what} {safe_text(value)}"
        yield Diagnostic(
            offer.code,
            f"{host.name} offers no {what}",
            vm.origin.find(refused.key),
            f"It offers {safe_text(', '.join(refused.offered)) or 'none at all'}.",
            (offer.hints or {}).get(value) or "choose one that it offers, or another host",
        )


def _check_versions(vm: ResolvedVm, host: _HostView) -> Iterator[Diagnostic]:
    """What no list of libvirt's tells: it is there from a version on."""
    for key, value, since in too_new(vm, host.libvirt):
        yield Diagnostic(
            "check.not-offered",
            f"{host.name} does not know {key}: {safe_text(value)}",
            vm.origin.find(key),
            f"libvirt {since // 1_000_000}.{since // 1000 % 1000} is the first that does;"
            f" it has {host.libvirt // 1_000_000}.{host.libvirt // 1000 % 1000}.",
            "leave it out, or choose another host",
        )


def _check_cpu_model(vm: ResolvedVm, host: _HostView, support: DomainSupport | None) -> Iterator[Diagnostic]:
    """A named model that the host cannot run as it is; QEMU would leave features out, or not start."""
    cpus = vm.spec.cpus
    if support is None or not support.cpu_models or not cpus.is_named or cpus.fallback == "allow":
        return
    usable: tuple[str, ...] = support.cpu_models
    if cpus.model in LEVELS:
        if vm.type == "qemu":  # of its emulated CPUs QEMU lists less than they have
            return
        usable = host.levels(support)
    if cpus.model not in usable:
        yield Diagnostic(
            "check.no-cpu-model",
            f"{host.name} cannot show its guests a CPU {safe_text(cpus.model or '')}",
            vm.origin.find("cpus.model"),
            f"It can show {safe_text(', '.join(usable)) or 'none of the levels'}.",
            did_you_mean(cpus.model or "", usable) or "choose one of these, or another host",
        )


def _check_elsewhere(placed: PlacedCluster, views: Mapping[str, _HostView]) -> Iterator[Diagnostic]:
    """Warn of a named CPU that keeps a vm, which names no host, from some of the hosts that it may run on."""
    cluster = placed.cluster
    candidates = Candidates([host.name for host in cluster.hosts], cluster.pools, cluster.networks)
    free = {vm.name for vm in cluster.vms if vm.host is None}
    for vm in _present(placed):
        if vm.name not in free or not vm.spec.cpus.is_named or vm.spec.cpus.fallback == "allow":
            continue
        shown = {name: views[name].cpus_for(vm) for name in candidates.of(vm) if name in views}
        lacking = [name for name, models in shown.items() if models and vm.spec.cpus.model not in models]
        if lacking and vm.host not in lacking:
            common = frozenset.intersection(*(models for models in shown.values() if models))
            yield Diagnostic(
                "check.cpu-elsewhere",
                f"{vm.name} cannot move to {', '.join(lacking)}: no CPU {safe_text(vm.spec.cpus.model or '')} there",
                vm.origin.find("cpus.model"),
                f"All of its hosts can show {_best(common)}.",
                "use a CPU that all of them can show, or name its `host`",
                severity=Severity.WARNING,
                subject=f"vm/{vm.name}",
            )


def _best(models: frozenset[str]) -> str:
    """The highest level among models, or some of them."""
    levels_ = sorted(LEVELS.keys() & models)
    return levels_[-1] if levels_ else safe_text(", ".join(sorted(models)[:5])) or "none in common"


def _check_shares(vm: ResolvedVm, host: _HostView) -> Iterator[Diagnostic]:
    """Parts of a cache or of bandwidth that the host cannot give."""
    for index, share in enumerate(vm.spec.cpus.cache_shares if host.caches else ()):
        if why := _no_such_part(share, host):
            yield Diagnostic(
                "check.no-share",
                f"{host.name} cannot give vCPUs {format_size(share.size)} of its cache",
                vm.origin.find(f"cpus.cache_shares.{index}"),
                why,
                "`kvmdecl facts` tells what can be divided; mounting /sys/fs/resctrl is the host's part",
            )
    for index, limit in enumerate(vm.spec.cpus.bandwidth_shares if host.caches else ()):
        if limit.node not in host.bandwidth_nodes:
            there = ", ".join(map(str, host.bandwidth_nodes))
            yield Diagnostic(
                "check.no-share",
                f"{host.name} cannot divide the bandwidth of memory controller {limit.node}",
                vm.origin.find(f"cpus.bandwidth_shares.{index}"),
                f"It can divide that of {there}." if there else "It can divide none.",
                "name one that it can divide, or leave the share out",
            )


def _check_security(vm: ResolvedVm, host: _HostView) -> Iterator[Diagnostic]:
    for model in vm.spec.security if host.security_models else ():
        if model not in host.security_models:
            yield Diagnostic(
                "check.not-offered",
                f"{host.name} does not confine its guests by {model}",
                vm.origin.find(f"security.{model}"),
                f"It does by {safe_text(', '.join(host.security_models))}.",
                "leave the label out, or choose another host",
            )


def _check_usb_devices(vm: ResolvedVm, host: _HostView) -> Iterator[Diagnostic]:
    """USB devices that the host has not; judged where its devices were read."""
    there = host.devices_of("usb_device") if vm.spec.hostdevs else []
    for index, device in enumerate(vm.spec.hostdevs if there else ()):
        usb = device.usb
        if usb is None or not usb.vendor or usb.if_missing == "optional":
            continue
        wanted = {"vendor": f"0x{usb.vendor}".lower(), "product": f"0x{usb.product or ''}".lower()}
        if not any(wanted.items() <= properties.items() for properties in there):
            yield Diagnostic(
                "check.no-host-device",
                f"{host.name} has no such USB device: {' '.join(wanted.values())}",
                vm.origin.find(f"hostdevs.{index}"),
                "A guest starts only with the devices of the host that it names.",
                "`kvmdecl facts` lists the host's devices",
            )


def _no_such_part(share: CacheShare, host: _HostView) -> str:
    bank = next((b for b in host.caches if (b.id, str(b.level)) == (share.bank, share.level)), None)
    if bank is None:
        known = ", ".join(f"{bank.id} of level {bank.level}" for bank in host.caches)
        return f"Its banks are {known}."
    part = next((part for part in bank.parts if part[0] == share.type), None)
    if part is None:
        kinds = ", ".join(kind for kind, _, _ in bank.parts)
        return f"That bank can be divided for {kinds} only." if kinds else "That bank cannot be divided."
    _, granularity, minimum = part
    if share.size < minimum or share.size % granularity or share.size > bank.size:
        least, step = format_size(minimum), format_size(granularity)
        return f"A part has from {least} to {format_size(bank.size)}, in steps of {step}."
    return ""


def _check_bridges(placed: PlacedCluster, views: Mapping[str, _HostView]) -> Iterator[Diagnostic]:
    """Find bridges and devices that a host lacks, and VLANs that its libvirt cannot put onto a Linux bridge."""
    networks = {network.name: network for network in placed.cluster.networks}
    plugged = {(vm.host, nic.network) for vm in _present(placed) for nic in vm.nics if nic.network}
    for host, name in plugged:
        view, network = views.get(host or ""), networks[name]
        if view is None:
            continue
        if network.spec.mode == "bridge" and view.lacks(network.bridge):
            yield _no_bridge(view, network)
        for device in network.spec.device or ():
            if view.lacks(device):
                yield _no_interface(view, device, network.origin.find("device"))
        yield from _check_vlans(placed, view, network)
    for vm in _present(placed):
        view = views.get(vm.host or "")
        for index, nic in enumerate(vm.spec.nics):
            if view is not None and nic.device is not None and view.lacks(nic.device):
                yield _no_interface(view, nic.device, vm.origin.find(f"nics.{index}.device"))


def _check_vlans(placed: PlacedCluster, view: _HostView, network: ResolvedNetwork) -> Iterator[Diagnostic]:
    spec = network.spec
    if spec.mode != "bridge" or spec.openvswitch or not 0 < view.libvirt < _VLANS_ON_BRIDGES:
        return
    found = [(network.origin, "vlan")] if spec.vlan else []
    found += [
        (network.origin, f"portgroups.{name}.vlan") for name, group in spec.portgroups.items() if group.vlan
    ]
    found += [
        (vm.origin, f"nics.{index}.vlan")
        for vm in _present(placed)
        for index, nic in enumerate(vm.nics)
        if (vm.host, nic.network) == (view.name, network.name) and nic.spec.vlan
    ]
    for origin, key in found:
        yield Diagnostic(
            "check.no-vlan",
            f"the libvirt of {view.name} puts no VLANs onto a bridge of Linux",
            origin.find(key),
            f"Version 11.0 is the first that does; it has {view.libvirt // 1_000_000}.{view.libvirt // 1000 % 1000}.",
            "use a bridge of Open vSwitch (`openvswitch: true`), or one bridge for each VLAN",
        )


_VLANS_ON_BRIDGES = 11_000_000


def _no_bridge(view: _HostView, network: ResolvedNetwork) -> Diagnostic:
    return Diagnostic(
        "check.no-bridge",
        f"{view.name} has no bridge {network.bridge}, which network {network.name} stands on",
        network.origin.find("bridge"),
        "A bridged network uses a bridge that the host already has; its guests would not start.",
        did_you_mean(network.bridge, view.interfaces)
        or "make the bridge on the host first, or let libvirt make a network with `mode: nat`",
    )


def _no_interface(view: _HostView, device: str, at: Span | None) -> Diagnostic:
    return Diagnostic(
        "check.no-interface",
        f"{view.name} has no network device {device}",
        at,
        f"It has {safe_text(', '.join(sorted(view.interfaces)))}.",
        did_you_mean(device, view.interfaces) or "name a device that it has",
    )


def _check_pools(placed: PlacedCluster, facts: Mapping[str, HostFacts]) -> Iterator[Diagnostic]:
    """Pools of a type that a host's libvirt has no backend for."""
    for pool in placed.cluster.pools:
        for host in pool.hosts if pool.spec.state == "active" else ():
            types = facts[host].pool_types if host in facts else None
            if types is None or pool.spec.type in types:
                continue
            yield Diagnostic(
                "check.no-pool-type",
                f"{host} offers no storage pools of type {pool.spec.type}",
                pool.origin.find("type"),
                safe_text(f"Its libvirt has backends for {', '.join(types) or 'none'}."),
                f"install libvirt's backend there (libvirt-daemon-driver-storage-{pool.spec.type}), or narrow `hosts:`",
            )


def _check_wishes(placed: PlacedCluster) -> Iterator[Diagnostic]:
    """Say whom soft groups would have elsewhere."""
    for group, text in unkept(placed):
        first = next(vm for vm in placed.vms if vm.name in group.members)
        yield Diagnostic(
            "placement.not-kept",
            text,
            first.origin.find("apart.soft" if group.apart else "together.soft"),
            "It is wished, and not at the price of a vm that cannot run, or of moving one that exists.",
            "make room where they could be; without `soft` it would have been refused",
            severity=Severity.WARNING,
            subject=f"vm/{first.name}",
        )
