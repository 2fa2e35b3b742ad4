"""What keeps a vm from running, or from moving, on every host that Pacemaker may choose for it."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kvmdecl.api import Diagnostic, Severity, groups_of, safe_text
from kvmdecl_pacemaker.guests import crowds, migrates, needs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from kvmdecl.api import Group, HostFacts, Machine, ResolvedHost, ResolvedVm, Span
    from kvmdecl_pacemaker.configuration import Node
    from kvmdecl_pacemaker.site import Site

_ID = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*", re.ASCII)
_DROPS_CACHE = 4_000_000
"""QEMU from which on a guest with any cache mode moves safely (libvirt's qemuMigrationSrcIsSafe)."""
_DEVICES = ("logical", "zfs", "iscsi", "iscsi-direct", "scsi", "disk", "rbd")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about a vm, which others may have in common: `{vm}` in `summary` stands for their names."""

    vm: str
    code: str
    summary: str
    at: Span | None
    cause: str
    hint: str
    severity: Severity = Severity.ERROR


def check_guests(site: Site, facts: Mapping[str, HostFacts], nodes: Iterable[Node]) -> Iterator[Diagnostic]:
    """Everything about vms; what is told of several at one place is told once. `nodes` are all hosts, or none."""
    rooms = Rooms(site, nodes)
    found = [finding for vm in site.vms for finding in _check_vm(site, vm, facts, rooms)]
    yield from _merged(found)
    yield from rooms.check_all()
    for group in groups_of(site.vms, {vm.name for vm in site.vms}):
        yield from _check_group(site, group)


def _merged(found: Iterable[Finding]) -> Iterator[Diagnostic]:
    alike: defaultdict[Finding, list[str]] = defaultdict(list)
    for finding in found:
        alike[replace(finding, vm="")].append(finding.vm)
    for finding, names in alike.items():
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        who = ", ".join(names[:3]) + more
        yield Diagnostic(
            finding.code, finding.summary.format(vm=who), finding.at, finding.cause, finding.hint,
            severity=finding.severity, subject=f"vm/{names[0]}",
        )  # fmt: skip


def _check_vm(site: Site, vm: ResolvedVm, facts: Mapping[str, HostFacts], rooms: Rooms) -> Iterator[Finding]:
    if not _ID.fullmatch(vm.name):
        yield Finding(
            vm.name, "ha.bad-name", "Pacemaker takes no name such as {vm}", vm.origin.at,
            "A resource has the name of its vm, and a name of Pacemaker begins with a letter.",
            "choose another name for the vm",
        )  # fmt: skip
    yield from _check_storage(site, vm, facts)
    yield from _check_state(vm)
    yield from _check_order(site, vm)
    yield from _check_bound(site, vm, facts)
    if migrates(site, vm):
        yield from _check_alike(site, vm, facts)
    yield from rooms.check(vm)


# -- storage -----------------------------------------------------------------------------------------------


def _check_storage(site: Site, vm: ResolvedVm, facts: Mapping[str, HostFacts]) -> Iterator[Finding]:
    shared = {pool.name for pool in site.cluster.pools if pool.spec.is_shared}
    kinds = {pool.name: pool.spec.type for pool in site.cluster.pools}
    for key, what, pool, is_elsewhere in _stored(vm):
        if is_elsewhere or pool in shared:
            continue
        where = f"in the pool {pool}, which" if pool else "at a place that"
        yield Finding(
            vm.name, "ha.disk-not-shared", f"{what} of {{vm}} is {where} other hosts do not see", vm.origin.find(key),
            "When the host of the vm fails, what is on it is out of reach.",
            "put it into a pool that all its hosts see (`shared: true` says so of a directory), or on a server",
        )  # fmt: skip
    for disk in vm.disks:
        key = "disk.cache" if disk.name == "root" else f"disks.{disk.name}.cache"
        if disk.spec.cache == "unsafe":
            yield Finding(
                vm.name, "ha.cache-unsafe", f"disk {disk.name} of {{vm}} is cached unsafely", vm.origin.find(key),
                "What the guest believes written is lost with its host, and the disk may be broken where it starts"
                " again.",
                "use `cache: none`",
            )  # fmt: skip
        old = sorted(h for h in site.homes[vm.name] if h in facts and 0 < facts[h].qemu < _DROPS_CACHE)
        if disk.spec.cache in {"writeback", "writethrough"} and old and migrates(site, vm):
            yield Finding(
                vm.name, "ha.cache-moves", f"{{vm}} cannot move while it runs: disk {disk.name} is cached",
                vm.origin.find(key), f"QEMU before 4.0 (on {', '.join(old)}) cannot drop what it has cached.",
                "use `cache: none`, or say `ha: {migrate: false}`",
            )  # fmt: skip
        blocks = bool(disk.pool and kinds.get(disk.pool) in _DEVICES)
        blocks = blocks or (disk.spec.source is not None and bool(disk.spec.source.path))
        if site.ha.locks == "none" and blocks and not disk.spec.readonly and not disk.spec.shareable:
            yield Finding(
                vm.name, "ha.no-locks", f"nothing keeps disk {disk.name} of {{vm}} from being opened twice",
                site.cluster.origin.find("ha.locks"),
                "QEMU's own locks end at the host where a disk is a block device; a mistake of fencing would destroy"
                " it.",
                "use `locks: lockd` or `sanlock`, with their directory on storage that all hosts see",
                Severity.WARNING,
            )  # fmt: skip


def _stored(vm: ResolvedVm) -> Iterator[tuple[str, str, str, bool]]:
    """Key, what it is, its pool (or empty), and whether it is on a server."""
    for disk in vm.disks:
        key = (
            ("disk" if vm.spec.disk is not None else "image") if disk.name == "root" else f"disks.{disk.name}"
        )
        source = disk.spec.source
        yield key, f"disk {disk.name}", disk.pool, source is not None and source.is_elsewhere
    for drive in vm.cdroms:
        if drive.pool or drive.spec.source:
            yield f"cdroms.{drive.name}", f"the medium in {drive.name}", drive.pool, False
    if vm.seed is not None:
        yield "cloud_init", "the seed", vm.seed_pool, False


# -- what a host keeps of a vm -----------------------------------------------------------------------------


def _check_state(vm: ResolvedVm) -> Iterator[Finding]:
    spec = vm.spec
    if spec.tpm is not None:
        yield Finding(
            vm.name, "ha.tpm-local", "the TPM of {vm} stays on its host", vm.origin.find("tpm"),
            "Its state is a directory of the host; elsewhere the guest finds an empty one: what it sealed stays shut.",
            "leave `tpm` or `ha` out",
        )  # fmt: skip
    if spec.firmware.type == "uefi" and spec.firmware.nvram is None:
        yield Finding(
            vm.name, "ha.nvram-local", "the firmware's variables of {vm} stay on its host", vm.origin.find("firmware"),
            "When the host fails, the guest starts elsewhere with fresh ones, without its boot entries and keys.",
            "name a file that all hosts see: `firmware: {type: uefi, loader: ..., nvram: /srv/vms/NAME.fd}`",
            Severity.WARNING,
        )  # fmt: skip
    for name, share in spec.shares.items():
        if share.path is not None:
            yield Finding(
                vm.name, "ha.share-local", f"{{vm}} shares {share.path} with whatever host it is on",
                vm.origin.find(f"shares.{name}"),
                "Each host has a directory of its own there, and QEMU moves no guest that has one mounted: it is"
                " stopped and started again.",
                "keep the directory on storage that all hosts see", Severity.WARNING,
            )  # fmt: skip
    if spec.snapshots is not None:
        yield Finding(
            vm.name, "ha.snapshots", "{vm} has snapshots by policy", vm.origin.find("snapshots"),
            "While a snapshot is open the guest writes to another file than the one in its definition; when its host"
            " fails, it would start elsewhere from what was before.",
            "leave `snapshots` out",
        )  # fmt: skip


def _check_order(site: Site, vm: ResolvedVm) -> Iterator[Finding]:
    names = {other.name for other in site.vms}
    for number, other in enumerate(vm.spec.after):
        key = f"after.{number}"
        if other.vm not in names:
            yield Finding(
                vm.name, "ha.after-elsewhere", f"{{vm}} starts after {other.vm}, which Pacemaker does not run",
                vm.origin.find(f"{key}.vm"), "Pacemaker orders only what it runs itself.",
                f"say `ha: true` of {other.vm}, too", Severity.WARNING,
            )  # fmt: skip
        elif other.until == "agent":
            yield Finding(
                vm.name, "ha.after-agent", f"{{vm}} starts when {other.vm} runs, whether its agent answers or not",
                vm.origin.find(f"{key}.until"), "Pacemaker knows when a guest runs, and nothing of agents in it.",
                "have the service in the guest wait for the other one", Severity.WARNING,
            )  # fmt: skip


# -- hosts that are not alike ------------------------------------------------------------------------------


def _check_bound(site: Site, vm: ResolvedVm, facts: Mapping[str, HostFacts]) -> Iterator[Finding]:
    homes = [host for host in site.homes[vm.name] if host in facts]
    if vm.spec.is_placed:
        pool = site.definitions_pool
        if pool is not None and pool.spec.is_shared:
            yield Finding(
                vm.name, "ha.bound", "{vm} is given CPUs, cells or devices of its host", vm.origin.find("cpus"),
                "Its definition differs by host, and its hosts would share one file.",
                "name a pool in `ha.definitions` that each host has to itself, or leave out what binds it",
                Severity.WARNING,
            )  # fmt: skip
        return
    for key, cpus in _pins(vm):
        lacking = [host for host in homes if not cpus <= {cpu.id for cpu in facts[host].cpus}]
        if lacking:
            yield Finding(
                vm.name, "ha.pins-elsewhere", f"{{vm}} is pinned to CPUs that {', '.join(lacking)} does not have",
                vm.origin.find(key), "It would not start there.", "pin it to CPUs that all of its hosts have",
            )  # fmt: skip
    for number, device in enumerate(vm.spec.hostdevs):
        yield from _check_device(vm, f"hostdevs.{number}", device.kind, device, homes, facts)


def _pins(vm: ResolvedVm) -> Iterator[tuple[str, frozenset[int]]]:
    pins = vm.spec.cpus.pins
    found = pins.values() if isinstance(pins, dict) else [pins] if pins else []
    for numbers in found:
        yield "cpus.pins", frozenset(_numbers(str(numbers)))
    if vm.spec.cpus.emulator_pin:
        yield "cpus.emulator_pin", frozenset(_numbers(str(vm.spec.cpus.emulator_pin)))


def _numbers(text: str) -> Iterator[int]:
    for part in text.split(","):
        low, _, high = part.strip().lstrip("^").partition("-")
        if low.isdigit() and not part.strip().startswith("^"):
            yield from range(int(low), int(high or low) + 1)


def _check_device(
    vm: ResolvedVm, key: str, kind: str, device: object, homes: Sequence[str], facts: Mapping[str, HostFacts]
) -> Iterator[Finding]:
    """A device of PCI or USB that other hosts do not have; of hosts whose devices were not read nothing is said."""
    spec = getattr(device, kind)
    wanted = {
        name: value
        for name, value in (
            ("address", getattr(spec, "address", None)),
            ("vendor", getattr(spec, "vendor", None)),
            ("product", getattr(spec, "product", None)),
        )
        if isinstance(value, str)
    }
    if kind not in {"pci", "usb"} or not wanted:
        return
    capability = "pci" if kind == "pci" else "usb_device"
    lacking = [
        host
        for host in homes
        if facts[host].devices
        and not any(
            each.capability == capability and _is_like(dict(each.properties), wanted)
            for each in facts[host].devices
        )
    ]
    if lacking:
        yield Finding(
            vm.name, "ha.no-counterpart", f"{', '.join(lacking)} has no device like that of {{vm}}",
            vm.origin.find(key),
            "The vm would not start there when its host fails.",
            "keep it from these hosts (`host_labels`), or leave `ha` out",
        )  # fmt: skip


def _is_like(properties: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return all(
        properties.get(name, "").lower().removeprefix("0x") == value.lower().removeprefix("0x")
        for name, value in wanted.items()
    )


def _check_alike(site: Site, vm: ResolvedVm, facts: Mapping[str, HostFacts]) -> Iterator[Finding]:
    homes = [host for host in site.homes[vm.name] if host in facts]
    models = {host: facts[host].cpu_model for host in homes if facts[host].cpu_model}
    is_hosts = vm.type == "kvm" and vm.spec.cpus.model in {None, "host-model", "host-passthrough"}
    if is_hosts and len(set(models.values())) > 1:
        theirs = safe_text(", ".join(f"{host} {model}" for host, model in sorted(models.items())[:4]))
        yield Finding(
            vm.name, "ha.cpu-differs", "{vm} has its host's CPU, and its hosts have different ones",
            vm.origin.find("cpus.model"),
            f"It starts on each of them, and moves while it runs to none that lacks a feature: {theirs}.",
            "say `cpus: {model: baseline}`, or `ha: {migrate: false}`", Severity.WARNING,
        )  # fmt: skip
    machines = {host: _machine(facts[host], vm) for host in homes}
    known = {machine for machine in machines.values() if machine}
    lacking = [host for host in homes if not known <= {m.canonical for m in _offered(facts[host], vm)}]
    if len(known) > 1 and lacking:
        yield Finding(
            vm.name, "ha.machine-differs", f"{{vm}} may be of a machine that {', '.join(lacking)} does not have",
            vm.origin.find("machine"),
            safe_text(f"`{vm.machine}` is the newest of the host where it starts: {', '.join(sorted(known))}."),
            f"say `machine: {safe_text(min(known))}`, or `ha: {{migrate: false}}`", Severity.WARNING,
        )  # fmt: skip


def _machine(facts: HostFacts, vm: ResolvedVm) -> str | None:
    return next((m.canonical for m in _offered(facts, vm) if m.name == vm.machine), None)


def _offered(facts: HostFacts, vm: ResolvedVm) -> tuple[Machine, ...]:
    guest = facts.guest_type(vm.arch, vm.type)
    return guest.machines if guest is not None else ()


# -- room --------------------------------------------------------------------------------------------------


class Rooms:
    """What hosts have for vms, as Pacemaker counts it; nothing is said of it if a host did not answer."""

    def __init__(self, site: Site, hosts: Iterable[Node]) -> None:
        self._site = site
        self._there = {node.name: {name: int(value) for name, value in node.utilization} for node in hosts}

    def check(self, vm: ResolvedVm) -> Iterator[Finding]:
        """Whether a vm could run, alone, on enough hosts."""
        if vm.spec.ha is None or vm.spec.ha.best_effort or not self._there:
            return
        taken = {name: int(value) for name, value in needs(self._site, vm)}
        homes = self._site.homes[vm.name]
        able = [
            host for host in homes if all(self._there[host].get(name, 0) >= taken[name] for name in taken)
        ]
        lost = self._site.ha.survive
        if len(able) > lost:
            return
        only = f"only {', '.join(able)}" if able else "no host"
        yield Finding(
            vm.name, "ha.no-second-home",
            f"{{vm}} has no home when {lost} {'host is' if lost == 1 else 'hosts are'} lost",
            vm.origin.find("ha"), f"{only} could run it, by what it needs of networks, pools, labels and room.",
            "let more hosts have what it needs, or say `ha: {best_effort: true}`",
        )  # fmt: skip

    def check_all(self) -> Iterator[Diagnostic]:
        """Whether all together would have room on what is left when the largest hosts are lost, by sums."""
        site = self._site
        total: Counter[str] = Counter()
        for vm in site.vms:
            if vm.spec.ha is not None and not vm.spec.ha.best_effort and vm.state == "running":
                total.update({name: int(value) for name, value in needs(site, vm)})
        for name, needed in sorted(total.items()) if self._there else ():
            there = sorted((room.get(name, 0) for room in self._there.values()), reverse=True)
            left = sum(there[site.ha.survive :])
            if needed > left:
                unit = " MiB" if name == "hv_memory" else ""
                yield Diagnostic(
                    "ha.no-room", f"the vms need {needed}{unit} of {name}, and {left}{unit} are left when"
                    f" {site.ha.survive} of the hosts {'is' if site.ha.survive == 1 else 'are'} lost",
                    site.cluster.origin.find("ha.survive"),
                    "Guests that find no room stay down until the host is back.",
                    "add hosts, ask for less, or say `ha: {best_effort: true}` of those that may stay down",
                )  # fmt: skip


# -- groups ------------------------------------------------------------------------------------------------


def _check_group(site: Site, group: Group) -> Iterator[Diagnostic]:
    if not group.apart or group.soft:
        return
    vms = [vm for vm in site.vms if vm.name in group.members]
    first = vms[0]
    if group.most > 1 and group.scope != "host":
        yield Diagnostic(
            "ha.apart-by-label", f"Pacemaker cannot keep {group.most} vms in each {group.scope}",
            first.origin.find("apart.most"),
            "It knows at most one resource for each value of an attribute, or so many on each host.",
            f"leave `most` out, or keep them apart by host: `apart: {{scope: host, most: {group.most}}}`",
            subject=f"vm/{first.name}",
        )  # fmt: skip
        return
    if crowds(vms) and group.most == 1:
        return
    sure = [vm for vm in vms if vm.spec.ha is None or not vm.spec.ha.best_effort]
    homes = {host for vm in sure for host in site.homes[vm.name]}
    places = places_left([host for host in site.hosts if host.name in homes], group.scope, site.ha.survive)
    if len(sure) > places * group.most:
        lost = f"{site.ha.survive} {'host is' if site.ha.survive == 1 else 'hosts are'}"
        yield Diagnostic(
            "ha.apart-too-many",
            f"{len(sure)} vms that are kept apart have {places * group.most} places when {lost} lost",
            first.origin.find("apart"),
            "Those that find none stay down until the host is back.",
            "say `ha: {crowd: true}` to let them share a place then, or `most` for always; or have fewer",
            subject=f"vm/{first.name}",
        )  # fmt: skip


def places_left(hosts: Iterable[ResolvedHost], scope: str, lost: int) -> int:
    """How many different values of a label (or hosts) are left when those hosts are lost whose loss costs most."""
    sizes = sorted(
        Counter(host.name if scope == "host" else host.labels.get(scope, "") for host in hosts).values()
    )
    left = len(sizes)
    for size in sizes:
        if size > lost:
            break
        lost -= size
        left -= 1
    return left
