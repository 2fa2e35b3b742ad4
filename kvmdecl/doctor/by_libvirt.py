"""Questions about one host that libvirt answers over a connection."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from kvmdecl.names import GIB, about_size, format_size
from kvmdecl.pages import pages_there
from kvmdecl.text import safe_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from kvmdecl.answers import Answer
    from kvmdecl.doctor.patient import Patient
    from kvmdecl.inside import Inside
    from kvmdecl.state import DomainLoad

_OLDEST_LIBVIRT, _OLDEST_QEMU = 9_000_000, 7_002_000
"""The oldest that kvmdecl is tested with."""
_FULL, _NEARLY_FULL = 2, 10
_WAITS, _STARVES = 5, 20
_BLOCKED, _POLLS = 20, 10
_LONG_CHAIN = 16
_VCPUS_PER_CPU = 4
_UNSAFE_DRIVERS = frozenset({"none", "dac"})


def _reach(p: Patient) -> Iterator[Answer]:
    uri = p.host.uri
    yield p.well("reach", f"answers at {uri}")
    if uri.transport in {"ssh", "libssh2"}:
        yield p.well("host-key", "shows the SSH key that is on record")
    if uri.transport == "tcp" and not uri.host.startswith("127."):
        yield p.failure(
            "transport", "is reached by plain TCP: whoever is on the way is root", "use TLS or SSH"
        )


def _versions(p: Patient) -> Iterator[Answer]:
    for name, title, version, oldest in (
        ("libvirt", "libvirt", p.facts.libvirt, _OLDEST_LIBVIRT),
        ("qemu", "QEMU", p.facts.qemu, _OLDEST_QEMU),
    ):
        if not version:
            yield p.failure(
                name, f"does not say which {title} it has", f"see whether {title} is installed there"
            )
        elif version < oldest:
            fix = f"kvmdecl is tested from {dotted(oldest)} on; update it"
            yield p.advice(name, f"has {title} {dotted(version)}, which is old", fix)
        else:
            yield p.well(name, f"{title} {dotted(version)}")


def _kvm(p: Patient) -> Iterator[Answer]:
    wanted = any(vm.type == "kvm" for vm in p.vms)
    if p.facts.guest_type(p.facts.arch, "kvm") is not None:
        yield p.well("kvm", "runs guests on KVM")
        return
    why, fix = _why_no_kvm(p.seen)
    told = f"offers no guests on KVM{why}"
    if wanted:
        yield p.failure("kvm", told, fix)
    elif p.seen is not None and p.seen.kvm is not None and p.seen.kvm.is_open is False:
        yield p.advice("kvm", told, fix)
    else:
        yield p.well("kvm", f"{told}, and no vm wants it")


def _why_no_kvm(inside: Inside | None) -> tuple[str, str]:
    """Libvirt asks QEMU anew at each call if /dev/kvm is there and closed to it (virQEMUCapsIsValid)."""
    by_udev = "let a rule of udev give /dev/kvm to the group kvm (mode 0660), and put QEMU's user into it"
    if inside is None or (inside.kvm is not None and inside.kvm.is_open is not False):
        fix = (
            "switch virtualisation on in its firmware, load kvm_intel or kvm_amd, and let QEMU's user open /dev/kvm"
            " (group kvm, or `user` in qemu.conf); one that it may not open makes libvirt slow at everything else, too"
        )
        return "", fix
    if inside.kvm is not None:
        user = safe_text(inside.kvm.user)
        return (
            f": QEMU's user {user} may not open /dev/kvm, which makes libvirt slow at everything else, too",
            by_udev,
        )
    if inside.virtualisation:
        return ": its CPUs have virtualisation, and there is no /dev/kvm", "load kvm_intel or kvm_amd"
    return ": its CPUs show no virtualisation", "switch it on in the firmware (VT-x, SVM)"


def _nested(p: Patient) -> Iterator[Answer]:
    wants = [vm.name for vm in p.vms if vm.spec.cpus.nested is True]
    if wants and p.facts.domain_support and "yes" not in p.offers("cpu/nested"):
        told = f"offers guests no virtualisation of their own, which {wants[0]} wants"
        yield p.failure("nested", told, "load kvm_intel or kvm_amd with `nested=1`")


def _iommu(p: Patient) -> Iterator[Answer]:
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


def _pages(p: Patient) -> Iterator[Answer]:
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


def _ksm(p: Patient) -> Iterator[Answer]:
    counters = {name: n for each in p.state.settings if each.name == "ksm" for name, n in each.counters}
    pages, runs = counters.get("pages_shared", 0), p.seen.merges if p.seen is not None else None
    if p.cluster.rules.tenancy == "shared" and (pages or runs):
        told = f"merges pages of guests ({pages} now), which tell tenants about each other"
        fix = "switch KSM off there (write 2 into /sys/kernel/mm/ksm/run), or say `memory.ksm: false`"
        yield p.failure("ksm", told, fix)
    elif runs is False and p.host.ksm:
        fix = "write 1 into /sys/kernel/mm/ksm/run, or leave `ksm` of the host out"
        yield p.advice("ksm", "merges no pages, and the manifest says how it should", fix)
    elif runs is not None or counters:
        yield p.well("ksm", f"KSM has merged {pages} pages" if runs or pages else "KSM merges nothing")


def _pools(p: Patient) -> Iterator[Answer]:
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


def _networks(p: Patient) -> Iterator[Answer]:
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


def _firmware(p: Patient) -> Iterator[Answer]:
    if not p.facts.domain_support:
        told = "libvirt tells them to full connections alone: firmware, TPM, virtiofs, nesting, passing devices on"
        yield p.unknown("support", told, "run `kvmdecl doctor --read-write`")
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


def _confinement(p: Patient) -> Iterator[Answer]:
    drivers = set(p.facts.security_models)
    if drivers - _UNSAFE_DRIVERS:
        yield p.well("confinement", f"confines guests by {safe_text(min(drivers - _UNSAFE_DRIVERS))}")
    else:
        fix = "switch SELinux or AppArmor on, and see `security_driver` in qemu.conf"
        told = "does not confine guests: one that breaks out has the host's files"
        has_tenants = p.cluster.rules.tenancy == "shared"
        yield (p.failure if has_tenants else p.advice)("confinement", told, fix)


def _cells(p: Patient) -> Iterator[Answer]:
    empty = [cell.id for cell in p.facts.cells if cell.cpus and not cell.memory]
    if empty:
        told = f"has no memory in cell {', '.join(map(str, empty))}: all of what runs there is far from its memory"
        yield p.advice("cells", told, "spread its memory modules over the sockets")
    online = {cpu.id for cpu in p.facts.cpus}
    if lacking := sorted(p.host.dedicated - online):
        told = f"lacks CPU {', '.join(map(str, lacking[:8]))}, which the manifest sets aside"
        yield p.failure("dedicated", told, "bring them online, or name others")


def _memory(p: Patient) -> Iterator[Answer]:
    if p.facts.memory and not p.host.reserved_memory and p.facts.memory > 8 * GIB:
        told = f"has {about_size(p.facts.memory)}, and nothing of it is reserved for itself"
        yield p.advice("reserve", told, "say `reserve: {memory: 4GiB}`, so that placement leaves it some")


def _guests(p: Patient) -> Iterator[Answer]:
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


def _contention(p: Patient) -> Iterator[Answer]:
    """Time that vCPUs were ready and did not run, of all their time (virConnectGetAllDomainStats, vcpu.N.delay)."""
    if not p.state.loads:
        yield p.well("contention", "runs no guest, so that none waits")
        return
    waited, name = max(
        (100 * load.vcpu_delay // max(1, load.vcpu_time + load.vcpu_delay), load.name)
        for load in p.state.loads
    )
    told = f"kept {safe_text(name)} waiting for {waited} % of the time that it wanted to run"
    if waited >= _STARVES:
        yield p.failure("contention", told, "move guests elsewhere, or give that one dedicated CPUs")
    elif waited >= _WAITS:
        yield p.advice("contention", told, "look for guests that are busier than they were meant to be")
    else:
        yield p.well("contention", told)
    yield from _lost_time(p)
    vcpus, cpus = sum(load.vcpus for load in p.state.loads), max(1, len(p.facts.cpus) - p.host.reserved_cpus)
    told = f"runs {vcpus} vCPUs on {cpus} CPUs"
    if vcpus > _VCPUS_PER_CPU * cpus and vcpus > p.host.overcommit * cpus:
        yield p.advice("overcommit", told, "put some guests on other hosts")
    else:
        yield p.well("overcommit", told)
    small = [load.name for load in p.state.loads if load.balloon and load.balloon * 2 < load.memory]
    if small:
        told = f"has guests with less than half of their memory ({safe_text(', '.join(sorted(small)[:3]))})"
        yield p.advice("balloon", told, "raise `memory`, or find out who needs the host's")
    else:
        yield p.well("balloon", "no guest has less than half of its memory")


def _lost_time(p: Patient) -> Iterator[Answer]:
    """Time that vCPUs waited for I/O (vcpu.N.wait), and that KVM polled for guests in vain (cpu.haltpoll.fail.time)."""
    blocked, name = max((_share(load, load.vcpu_wait), load.name) for load in p.state.loads)
    told = f"kept vCPUs of {safe_text(name)} waiting for I/O for {blocked} % of their time"
    if blocked >= _BLOCKED:
        yield p.advice("io-wait", told, "look at the pool of its disks; I/O threads keep I/O out of vCPUs")
    else:
        yield p.well("io-wait", told)
    polled, name = max((_share(load, load.halt_poll), load.name) for load in p.state.loads)
    told = f"spends {polled} % of what {safe_text(name)} takes on polling for it in vain while it idles"
    if polled >= _POLLS:
        fix = "lower `halt_poll_ns` of the module kvm there, which costs latency, or leave it where CPUs are free"
        yield p.advice("halt-polling", told, fix)
    else:
        yield p.well("halt-polling", told)


def _share(load: DomainLoad, lost: int) -> int:
    """Percent of all the time of its vCPUs."""
    return 100 * lost // max(1, load.vcpu_time + load.vcpu_delay + lost)


def _chains(p: Patient) -> Iterator[Answer]:
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


QUESTIONS: tuple[Callable[[Patient], Iterable[Answer]], ...] = (
    _reach, _versions, _kvm, _nested, _iommu, _firmware, _confinement, _cells, _memory, _pages, _ksm, _pools,
    _chains, _networks, _guests, _contention,
)  # fmt: skip


def dotted(version: int) -> str:
    """A version as its makers write it."""
    return f"{version // 1_000_000}.{version // 1_000 % 1_000}.{version % 1_000}"
