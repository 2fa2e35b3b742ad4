"""What is wrong with hosts before anything is planned for them. Pure: readings in, one line for each question out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from kvmdecl.hosts.errors import part_of
from kvmdecl.names import GIB, about_size, format_size
from kvmdecl.offers import levels
from kvmdecl.pages import pages_there
from kvmdecl.state import HostSnapshot, Unreachable
from kvmdecl.text import quoted, safe_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from kvmdecl.cluster import ResolvedCluster, ResolvedHost, ResolvedVm
    from kvmdecl.facts import HostFacts
    from kvmdecl.state import DomainLoad, HostState, Observation

Outcome = Literal["ok", "advice", "failure"]
OUTCOMES: tuple[Outcome, ...] = ("ok", "advice", "failure")
_OLDEST_LIBVIRT, _OLDEST_QEMU = 9_000_000, 7_002_000
"""The oldest that kvmdecl is tested with."""
_FULL, _NEARLY_FULL = 2, 10
_WAITS, _STARVES = 5, 20
_BLOCKED, _POLLS = 20, 10
_LONG_CHAIN = 16
_VCPUS_PER_CPU = 4
_UNSAFE_DRIVERS = frozenset({"none", "dac"})


@dataclass(frozen=True, slots=True)
class Finding:
    """The answer to one question about a host.

    Attributes:
        host: that it is about; empty for all together.
        name: of the question, stable: `kvm`, `pool-space`.
        outcome: `ok`; `advice`: it works, and could be better; `failure`: something that is wanted does not work.
        told: what was found, in a line.
        fix: what to do about it; empty if it is well.
    """

    host: str
    name: str
    outcome: Outcome
    told: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class _Patient:
    """A host that was read, with what the manifest wants of it. Any host may get a vm that names none."""

    host: ResolvedHost
    facts: HostFacts
    state: HostState
    cluster: ResolvedCluster
    vms: tuple[ResolvedVm, ...]

    def well(self, name: str, told: str) -> Finding:
        return Finding(self.host.name, name, "ok", told)

    def advice(self, name: str, told: str, fix: str) -> Finding:
        return Finding(self.host.name, name, "advice", told, fix)

    def failure(self, name: str, told: str, fix: str) -> Finding:
        return Finding(self.host.name, name, "failure", told, fix)

    def offers(self, path: str) -> frozenset[str]:
        """All that its domain capabilities list under a path, whatever the machine."""
        return frozenset(
            value
            for each in self.facts.domain_support
            for at, values in each.enums
            if at == path
            for value in values
        )


def examine(cluster: ResolvedCluster, observations: Mapping[str, Observation]) -> tuple[Finding, ...]:
    """Every question about every host of a cluster that was read, and about all of them together."""
    found: list[Finding] = []
    read: dict[str, HostSnapshot] = {}
    for host in sorted(cluster.hosts, key=lambda host: host.name):
        seen = observations.get(host.name)
        if isinstance(seen, Unreachable):
            found.append(_unreached(host, seen))
        elif isinstance(seen, HostSnapshot):
            read[host.name] = seen
            vms = tuple(vm for vm in cluster.vms if vm.state != "absent" and vm.host in {None, host.name})
            patient = _Patient(host, seen.facts, seen.state, cluster, vms)
            found += (finding for question in _QUESTIONS for finding in question(patient))
    return (*found, *_together({name: snapshot.facts for name, snapshot in read.items()}))


# -- one host --------------------------------------------------------------------------------------------------


def _unreached(host: ResolvedHost, seen: Unreachable) -> Finding:
    told = seen.diagnostic.summary
    name = part_of(seen.diagnostic)
    return Finding(host.name, name, "failure", told, seen.diagnostic.hint or seen.diagnostic.cause)


def _reach(p: _Patient) -> Iterator[Finding]:
    uri = p.host.uri
    yield p.well("reach", f"answers at {uri}")
    if uri.transport == "tcp" and not uri.host.startswith("127."):
        yield p.failure(
            "transport", "is reached by plain TCP: whoever is on the way is root", "use TLS or SSH"
        )


def _versions(p: _Patient) -> Iterator[Finding]:
    for name, title, version, oldest in (
        ("libvirt", "libvirt", p.facts.libvirt, _OLDEST_LIBVIRT),
        ("qemu", "QEMU", p.facts.qemu, _OLDEST_QEMU),
    ):
        if not version:
            yield p.failure(
                name, f"does not say which {title} it has", f"see whether {title} is installed there"
            )
        elif version < oldest:
            fix = f"kvmdecl is tested from {_dotted(oldest)} on; update it"
            yield p.advice(name, f"has {title} {_dotted(version)}, which is old", fix)
        else:
            yield p.well(name, f"{title} {_dotted(version)}")


def _kvm(p: _Patient) -> Iterator[Finding]:
    wanted = any(vm.type == "kvm" for vm in p.vms)
    if p.facts.guest_type(p.facts.arch, "kvm") is not None:
        yield p.well("kvm", "runs guests on KVM")
    else:
        fix = (
            "switch virtualisation on in its firmware, load kvm_intel or kvm_amd, and let QEMU's user open /dev/kvm"
            " (group kvm, or `user` in qemu.conf); one that it may not open makes libvirt slow at everything else, too"
        )
        told = "offers no guests on KVM"
        yield p.failure("kvm", told, fix) if wanted else p.well("kvm", f"{told}, and no vm wants it")


def _nested(p: _Patient) -> Iterator[Finding]:
    wants = [vm.name for vm in p.vms if vm.spec.cpus.nested is True]
    if wants and p.facts.domain_support and "yes" not in p.offers("cpu/nested"):
        told = f"offers guests no virtualisation of their own, which {wants[0]} wants"
        yield p.failure("nested", told, "load kvm_intel or kvm_amd with `nested=1`")


def _iommu(p: _Patient) -> Iterator[Finding]:
    wants = [vm.name for vm in p.vms if any(device.pci is not None for device in vm.spec.hostdevs)]
    if not p.facts.iommu:
        fix = "switch it on in the firmware, and boot with `intel_iommu=on` or an AMD's default"
        if wants:
            yield p.failure("iommu", f"has no IOMMU on, and {wants[0]} wants a PCI device", fix)
        return
    yield p.well("iommu", "has an IOMMU on")
    if wants and p.facts.domain_support and "vfio" not in p.offers("devices/hostdev/pciBackend"):
        yield p.failure(
            "vfio", f"cannot pass the PCI device that {wants[0]} wants", "load the module vfio-pci"
        )


def _pages(p: _Patient) -> Iterator[Finding]:
    there = {size: sum(cells.values()) for size, cells in pages_there(p.host, p.facts).items()}
    real = Counter({pool.size: 0 for cell in p.facts.cells for pool in cell.pages})
    for cell in p.facts.cells:
        real.update({pool.size: pool.count for pool in sorted(cell.pages, key=lambda pool: pool.size)[1:]})
    for size, _, count in p.host.huge_pages:
        if real[size] < count and there.get(size, 0) <= count:
            told = f"has {real[size]} pages of {format_size(size)}, and the manifest sets {count} aside"
            yield p.advice(
                "huge-pages", told, "`kvmdecl apply` asks for them; memory may be too fragmented, then reboot"
            )
    used = {name: n for each in p.state.settings if each.name == "huge-pages" for name, n in each.counters}
    if used and sum(used.values()):
        yield p.well("huge-pages-used", ", ".join(f"{n} of {name}" for name, n in sorted(used.items()) if n))


def _ksm(p: _Patient) -> Iterator[Finding]:
    counters = {name: n for each in p.state.settings if each.name == "ksm" for name, n in each.counters}
    if p.cluster.rules.tenancy == "shared" and counters.get("pages_shared"):
        told = f"merges pages of guests ({counters['pages_shared']} now), which tell tenants about each other"
        yield p.failure(
            "ksm", told, "switch KSM off there (`/sys/kernel/mm/ksm/run`), or say `memory.ksm: false`"
        )


def _pools(p: _Patient) -> Iterator[Finding]:
    there = {pool.name: pool for pool in p.state.pools}
    for pool in p.cluster.pools:
        if p.host.name not in pool.hosts or pool.spec.state != "active" or pool.name not in there:
            continue
        seen = there[pool.name]
        if not seen.active:
            fix = f"see why with `virsh pool-start {pool.name}` there"
            yield p.failure("pool", f"has pool {pool.name}, and it is not active", fix)
            continue
        percent = 100 * seen.available // seen.capacity if seen.capacity else 100
        told = f"pool {pool.name} has {about_size(seen.available)} of {about_size(seen.capacity)} left"
        if percent < _FULL:
            yield p.failure("pool-space", told, "make room, or guests stop at their next write")
        elif percent < _NEARLY_FULL:
            yield p.advice("pool-space", told, "make room before thin disks grow into it")
        else:
            yield p.well("pool-space", told)
        promised = sum(volume.capacity for volume in seen.volumes)
        if seen.capacity and promised > pool.spec.overcommit * seen.capacity:
            told = (
                f"pool {pool.name} has promised {about_size(promised)}, and has {about_size(seen.capacity)}"
            )
            yield p.advice("pool-promised", told, "watch it closely, or give guests disks elsewhere")


def _networks(p: _Patient) -> Iterator[Finding]:
    there = {network.uuid: network for network in p.state.networks}
    for network in p.cluster.networks:
        if p.host.name not in network.hosts or network.spec.state != "active":
            continue
        seen = there.get(network.uuid)
        if seen is not None and not seen.active:
            fix = f"see why with `virsh net-start {network.name}` there"
            yield p.failure("network", f"has network {network.name}, and it is not active", fix)
        elif (
            network.spec.mode == "bridge" and p.facts.interfaces and network.bridge not in p.facts.interfaces
        ):
            told = f"has no bridge {network.bridge}, which network {network.name} is"
            yield p.failure("bridge", told, "make it there, or limit the network with `hosts:`")


def _firmware(p: _Patient) -> Iterator[Finding]:
    if not p.facts.domain_support:
        told = "was read over a read-only connection, so firmware, TPM and devices are not known"
        yield p.advice("support", told, "run `kvmdecl doctor --read-write`")
        return
    wants = [vm.name for vm in p.vms if vm.spec.firmware.type == "uefi"]
    if "efi" in p.offers("os/firmware"):
        yield p.well("uefi", "offers UEFI")
        secure = [vm.name for vm in p.vms if vm.spec.firmware.secure_boot]
        if secure and "yes" not in p.offers("os/loader/secure"):
            yield p.failure(
                "secure-boot",
                f"offers no Secure Boot, which {secure[0]} wants",
                "install OVMF's signed images",
            )
    else:
        fix = "install OVMF (ovmf, edk2-ovmf) with its descriptors in /usr/share/qemu/firmware"
        yield (
            p.failure("uefi", f"offers no UEFI, which {wants[0]} wants", fix)
            if wants
            else p.well("uefi", "offers no UEFI, and no vm wants it")
        )
    tpms = [vm.name for vm in p.vms if vm.spec.tpm is not None and vm.spec.tpm.type == "emulator"]
    if tpms and "emulator" not in p.offers("devices/tpm/backendModel"):
        yield p.failure("tpm", f"emulates no TPM, which {tpms[0]} wants", "install swtpm and swtpm-tools")
    shares = [vm.name for vm in p.vms if any(share.driver == "virtiofs" for share in vm.spec.shares.values())]
    if shares and "virtiofs" not in p.offers("devices/filesystem/driverType"):
        yield p.failure("virtiofs", f"has no virtiofs, which {shares[0]} wants", "install virtiofsd")


def _confinement(p: _Patient) -> Iterator[Finding]:
    drivers = set(p.facts.security_models)
    if drivers - _UNSAFE_DRIVERS:
        yield p.well("confinement", f"confines guests by {safe_text(min(drivers - _UNSAFE_DRIVERS))}")
    else:
        fix = "switch SELinux or AppArmor on, and see `security_driver` in qemu.conf"
        told = "does not confine guests: one that breaks out has the host's files"
        has_tenants = p.cluster.rules.tenancy == "shared"
        yield (p.failure if has_tenants else p.advice)("confinement", told, fix)


def _cells(p: _Patient) -> Iterator[Finding]:
    empty = [cell.id for cell in p.facts.cells if cell.cpus and not cell.memory]
    if empty:
        told = f"has no memory in cell {', '.join(map(str, empty))}: all of what runs there is far from its memory"
        yield p.advice("cells", told, "spread its memory modules over the sockets")
    online = {cpu.id for cpu in p.facts.cpus}
    if lacking := sorted(p.host.dedicated - online):
        told = f"lacks CPU {', '.join(map(str, lacking[:8]))}, which the manifest sets aside"
        yield p.failure("dedicated", told, "bring them online, or name others")


def _memory(p: _Patient) -> Iterator[Finding]:
    if p.facts.memory and not p.host.reserved_memory and p.facts.memory > 8 * GIB:
        told = f"has {about_size(p.facts.memory)}, and nothing of it is reserved for itself"
        yield p.advice("reserve", told, "say `reserve: {memory: 4GiB}`, so that placement leaves it some")


def _guests(p: _Patient) -> Iterator[Finding]:
    resting = {vm.uuid for vm in p.cluster.vms if vm.state != "running"}
    domains = [domain for domain in p.state.domains if domain.uuid not in resting]
    down = [domain.name for domain in domains if domain.autostart and not domain.active]
    if down:
        told = f"has {len(down)} guests that start with it and do not run ({safe_text(', '.join(sorted(down)[:3]))})"
        yield p.advice("autostart", told, "see in libvirt's log why they did not start")
    saved = [domain.name for domain in p.state.domains if domain.managed_save]
    if saved:
        told = f"has saved the memory of {safe_text(', '.join(sorted(saved)[:3]))} in a file"
        yield p.advice(
            "saved", told, "start them: what they are defined as now they only get without the file"
        )


def _contention(p: _Patient) -> Iterator[Finding]:
    """Time that vCPUs were ready and did not run, of all their time (virConnectGetAllDomainStats, vcpu.N.delay)."""
    vcpus = 0
    worst: tuple[int, str] | None = None
    for load in p.state.loads:
        vcpus += load.vcpus
        ready = load.vcpu_time + load.vcpu_delay
        if ready:
            worst = max(worst or (0, ""), (100 * load.vcpu_delay // ready, load.name))
    if worst is not None:
        told = f"kept {safe_text(worst[1])} waiting for {worst[0]} % of the time that it wanted to run"
        if worst[0] >= _STARVES:
            yield p.failure("contention", told, "move guests elsewhere, or give that one dedicated CPUs")
        elif worst[0] >= _WAITS:
            yield p.advice("contention", told, "look for guests that are busier than they were meant to be")
        else:
            yield p.well("contention", told)
    yield from _lost_time(p)
    cpus = max(1, len(p.facts.cpus) - p.host.reserved_cpus)
    if vcpus > _VCPUS_PER_CPU * cpus and vcpus > p.host.overcommit * cpus:
        yield p.advice("overcommit", f"runs {vcpus} vCPUs on {cpus} CPUs", "put some guests on other hosts")
    small = [load.name for load in p.state.loads if load.balloon and load.balloon * 2 < load.memory]
    if small:
        told = f"has guests with less than half of their memory ({safe_text(', '.join(sorted(small)[:3]))})"
        yield p.advice("balloon", told, "raise `memory`, or find out who needs the host's")


def _lost_time(p: _Patient) -> Iterator[Finding]:
    """Time that vCPUs waited for I/O (vcpu.N.wait), and that KVM polled for guests in vain (cpu.haltpoll.fail.time)."""
    blocked = max(((_share(load, load.vcpu_wait), load.name) for load in p.state.loads), default=(0, ""))
    polled = max(((_share(load, load.halt_poll), load.name) for load in p.state.loads), default=(0, ""))
    if blocked[0] >= _BLOCKED:
        told = f"kept vCPUs of {safe_text(blocked[1])} waiting for I/O for {blocked[0]} % of their time"
        yield p.advice("io-wait", told, "look at the pool of its disks; I/O threads keep I/O out of vCPUs")
    if polled[0] >= _POLLS:
        told = f"spends {polled[0]} % of what {safe_text(polled[1])} takes on polling for it in vain while it idles"
        fix = "lower `halt_poll_ns` of the module kvm there, which costs latency, or leave it where CPUs are free"
        yield p.advice("halt-polling", told, fix)


def _share(load: DomainLoad, lost: int) -> int:
    """Percent of all the time of its vCPUs."""
    return 100 * lost // max(1, load.vcpu_time + load.vcpu_delay + lost)


def _chains(p: _Patient) -> Iterator[Finding]:
    """Volumes that stand on many others, as far as these are in pools of the cluster."""
    ours = {pool.name for pool in p.cluster.pools}
    below = {
        v.path: v.backing for pool in p.state.pools if pool.name in ours for v in pool.volumes if v.backing
    }
    for top in sorted(below.keys() - set(below.values())):
        length, at = 1, below.get(top)
        while at is not None and length <= len(below):
            length, at = length + 1, below.get(at)
        if length > _LONG_CHAIN:
            told = f"has {safe_text(top)} on a chain of {length} files, each of which a read may have to ask"
            yield p.advice(
                "chain", told, "merge snapshots (`kvmdecl snapshot merge`, or `virsh blockcommit`)"
            )


_QUESTIONS: tuple[Callable[[_Patient], Iterable[Finding]], ...] = (
    _reach, _versions, _kvm, _nested, _iommu, _firmware, _confinement, _cells, _memory, _pages, _ksm, _pools,
    _chains, _networks, _guests, _contention,
)  # fmt: skip


# -- all hosts together ----------------------------------------------------------------------------------------


def _together(facts: Mapping[str, HostFacts]) -> Iterator[Finding]:
    if len(facts) < 2:
        return
    yield from _skew("libvirt-skew", "libvirt", {name: each.libvirt for name, each in facts.items()})
    yield from _skew("qemu-skew", "QEMU", {name: each.qemu for name, each in facts.items()})
    models = sorted({each.cpu_model for each in facts.values() if each.cpu_model})
    if len(models) > 1:
        level = _common_level(facts.values())
        told = f"hosts have CPUs of {', '.join(map(quoted, models))}"
        fix = "say `cpus: {model: baseline}` for guests that may move" + (
            f"; all have {level}" if level else ""
        )
        yield Finding("", "cpu-baseline", "advice", told, fix)
    elif models:
        yield Finding("", "cpu-baseline", "ok", f"all hosts have CPUs of {safe_text(models[0])}")
    twice = [
        uuid
        for uuid, count in Counter(each.uuid for each in facts.values() if each.uuid).items()
        if count > 1
    ]
    for uuid in twice:
        names = sorted(name for name, each in facts.items() if each.uuid == uuid)
        told = f"{' and '.join(names)} say that they are the same machine ({safe_text(uuid)})"
        yield Finding(
            "", "identity", "failure", told, "give each a `host_uuid` of its own in libvirtd.conf, or one URI"
        )


def _skew(name: str, title: str, versions: Mapping[str, int]) -> Iterator[Finding]:
    known = {host: version // 1_000_000 for host, version in versions.items() if version}
    if len(set(known.values())) < 2:
        return
    told = ", ".join(f"{host} has {title} {_dotted(versions[host])}" for host in sorted(known))
    fix = "bring them to one version: guests do not migrate to an older one"
    yield Finding("", name, "advice", told, fix)


def _common_level(facts: Iterable[HostFacts]) -> str:
    """The highest level of x86-64 that all hosts have."""
    sets = [
        set(levels([model for known in each.domain_support for model in known.cpu_models], each.cpu_features))
        for each in facts
    ]
    common = set.intersection(*sets) if sets else set()
    return max(common, default="")


def _dotted(version: int) -> str:
    return f"{version // 1_000_000}.{version // 1_000 % 1_000}.{version % 1_000}"
