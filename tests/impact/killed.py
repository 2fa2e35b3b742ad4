"""`python -m tests.impact.killed`: end an apply, or libvirtd, before each of its calls that write, and lose nothing.

Between two calls that write kvmdecl only reads, so that to end it before a call is to end it after the one before.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import sys
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import libvirt

from kvmdecl.lab import Lab
from kvmdecl.testing import temporary_lab
from tests.impact.bench import PATIENCE, Bench, images
from tests.impact.kinds import MAC, MANIFEST, laid_over

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.impact.bench import Manifest

HASTY = replace(PATIENCE, unplug=3.0, ask_again=0.5)
MARK = b"what the guest keeps on its disk" * 1024

WRITES: dict[type, tuple[str, ...]] = {
    libvirt.virConnect: (
        "defineXMLFlags", "networkDefineXML", "storagePoolDefineXML", "storagePoolCreateXML",
        "secretDefineXML", "nwfilterDefineXML",
        "allocPages", "setMemoryParameters",
    ),
    libvirt.virDomain: (
        "create", "setAutostart", "setMetadata", "attachDeviceFlags", "detachDeviceFlags", "updateDeviceFlags",
        "setVcpusFlags", "setMemoryFlags", "setBlockIoTune", "addIOThread", "delIOThread", "pinVcpuFlags",
        "pinEmulator", "pinIOThread", "setSchedulerParametersFlags", "setMemoryParameters", "setLifecycleAction",
        "setBlkioParameters", "blockResize", "blockCommit", "blockJobAbort", "snapshotCreateXML",
        "shutdown", "destroyFlags", "undefineFlags",
    ),
    libvirt.virNetwork: ("create", "setAutostart", "update", "destroy", "undefine"),
    libvirt.virStoragePool: ("build", "create", "setAutostart", "createXML", "createXMLFrom", "destroy", "undefine"),
    libvirt.virStorageVol: ("resize", "upload", "delete", "wipe"),
    libvirt.virSecret: ("setValue", "undefine"),
    libvirt.virStream: ("send", "sendHole", "finish"),
    libvirt.virSecret: ("setValue",),
    libvirt.virNWFilter: ("undefine",),
}  # fmt: skip
"""Every call that changes a host; `test_killed.py` sees to it that none is missing."""

_BY_FORCE = {"timeout": "1s", "force": True}  # it has no operating system
_BASE: Manifest = {
    **MANIFEST,
    "cluster": "killed",
    "vms": {
        "web": {
            "image": "tiny", "memory": {"size": "32MiB", "max": "64MiB"}, "cpus": {"count": 1, "max": 2},
            "disks": {"limited": "1MiB"}, "nics": [{"network": "lan", "mac": MAC.format(1)}],
        },
        "keeper": {"firmware": "uefi", "memory": "32MiB", "disks": {"data": "1MiB"}, "nics": ["inner"]},
        "sleeper": {"image": "tiny", "memory": "32MiB", "restart": "now"},
        "cold": {
            "state": "stopped", "memory": "32MiB",
            "disk": {
                "format": "raw", "source": {
                    "protocol": "rbd", "name": "pool/cold", "servers": ["192.0.2.1"],
                    "auth": {"user": "admin", "secret": "key"},
                },
            },
        },
    },
}  # fmt: skip
_SECRET = "KVMDECL_SECRET_OF_ROUNDS"


def _odd(number: int) -> Manifest:
    """One of each kind that comes and goes is called `new`; a round makes volumes that no round before it made."""
    return {
        "networks": {
            "inner": {"dhcp": {"hosts": [{"mac": MAC.format(2), "ip": "192.168.150.20"}]}},
            "new": {"mode": "isolated", "subnet": "192.168.160.0/24"},
        },
        "storage": {"new": {"path": "/srv/new"}},
        "images": {f"copied-{number}": {"source": f"copied-{number}.img", "format": "raw"}},
        "filters": {"new": {"rules": [{"action": "drop", "protocol": "tcp", "dst_port": str(number)}]}},
        "vms": {
            "web": {
                "disks": {
                    f"odd-{number}": {"image": f"copied-{number}"},
                    "limited": {"size": "1MiB", "iotune": {"total_iops_sec": 100}},
                },
                "iothreads": 1, "on_crash": "preserve", "description": "odd",
                "nics": [
                    {"network": "lan", "mac": MAC.format(1), "link": "down"},
                    {"network": "inner", "mac": MAC.format(2)},
                ],
            },
            "keeper": {"memory": {"size": "32MiB", "max": "48MiB"}, "autostart": False, "watchdog": "reset"},
            "sleeper": {"memory": "48MiB"},
            "new": {
                "disks": {f"data-{number}": "1MiB"}, "memory": "32MiB", "shutdown": _BY_FORCE, "cloud_init": {},
                "nics": [{"network": "lan", "filter": "new"}],
            },
        },
    }  # fmt: skip


def _even(number: int) -> Manifest:
    absent = {"state": "absent"}
    return {
        "networks": {"new": {"mode": "isolated", "subnet": "192.168.160.0/24", **absent}},
        "storage": {"new": {"path": "/srv/new", **absent}},
        "filters": {"new": {"rules": [{"action": "drop"}], **absent}},
        "vms": {
            "web": {"disks": {f"even-{number}": "1MiB"}, "description": "even"},
            "new": {**absent, "shutdown": _BY_FORCE},
        },
    }


def manifest(number: int) -> Manifest:
    """What is applied in a round: every second one takes back what the one before did, but for a disk that grows."""
    grown = {"vms": {"web": {"disks": {"grown": {"size": f"{2 + number}MiB", "format": "raw"}}}}}
    grown["secrets"] = {"key": {"usage": "ceph", "value": {"env": _SECRET}, "version": str(number + 1)}}
    found = laid_over(_odd(number) if number % 2 else _even(number), laid_over(grown, _BASE))
    for vm in found["vms"].values():  # there is more than one pool, so each disk says its own
        for name, disk in vm.get("disks", {}).items():
            vm["disks"][name] = {"pool": "vms", **(disk if isinstance(disk, dict) else {"size": disk})}
        if vm.get("image"):
            vm["disk"] = {"pool": "vms"}
    return found


# -- what must not be lost -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Holdings:
    """What a host has: definitions, states and files, but for what comes and goes and is called `new`."""

    names: frozenset[str]
    snapshots: frozenset[str]
    files: dict[str, str] = field(hash=False)

    def lost(self, later: Holdings) -> list[str]:
        """What is not there any more, or is another one."""
        gone = sorted((self.names - later.names) | (self.snapshots - later.snapshots))
        return gone + [name for name, digest in self.files.items() if later.files.get(name) != digest]


def holdings(bench: Bench) -> Holdings:
    """Look at a host without kvmdecl."""
    connection = bench.connection
    things = (*connection.listAllDomains(), *connection.listAllNetworks(), *connection.listAllStoragePools())
    named = ((thing.name(), thing) for thing in (*things, *connection.listAllNWFilters()))
    secrets = ((secret.usageID(), secret) for secret in connection.listAllSecrets())
    names = {f"{type(t).__name__} {name} {t.UUIDString()}" for name, t in (*named, *secrets) if name != "new"}
    snapshots = {f"{d.name()}@{name}" for d in connection.listAllDomains() for name in d.snapshotListNames()}
    found = [
        path
        for place in ("srv", "lib/qemu/nvram", "lib/qemu/snapshot")
        for path in (bench.host.folder / place).rglob("*")
        if path.is_file()
    ]
    return Holdings(
        frozenset(names),
        frozenset(snapshots),
        {str(path.relative_to(bench.host.folder)): _digest(path) for path in found},
    )


def _digest(path: Path) -> str:
    content = path.read_bytes()
    return hashlib.sha256(content[: len(MARK)] if ".grown." in path.name else content).hexdigest()


# -- the end, at a chosen call -----------------------------------------------------------------------------------


def trap(nth: int, act: Callable[[], None]) -> list[str]:
    """Do something before the n-th call that writes (from 1). Returns the list of calls, which grows as they come."""
    calls: list[str] = []

    def guarded(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            calls.append(name)
            if len(calls) == nth:
                act()
            return method(*args, **options)

        return call

    for kind, names in WRITES.items():
        for name in names:
            setattr(kind, name, guarded(f"{kind.__name__}.{name}", getattr(kind, name)))
    return calls


def _apply(lab: str, folder: str, number: int, nth: int, whom: str) -> None:
    """In a process of its own: apply the manifest of a round, and end this process, or libvirtd, on the way."""
    running = Lab.load(lab)
    bench = Bench(running.host("kvm-1"), Path(folder), HASTY)
    plan = bench.plan(manifest(number))
    calls = trap(
        nth, lambda: running.kill("kvm-1") if whom == "libvirtd" else os.kill(os.getpid(), signal.SIGKILL)
    )
    bench.carry_out(plan)
    (Path(folder) / "calls").write_text("\n".join(calls))


@dataclass
class Rounds:
    """Applies manifests one after the other, each ended on its way and then finished by another run."""

    lab: Lab
    folder: Path
    number: int = 0

    def __post_init__(self) -> None:
        images(self.folder)
        os.environ[_SECRET] = "none that anybody would keep"
        self._forks = multiprocessing.get_context("forkserver")
        self._forks.set_forkserver_preload(["tests.impact.killed"])
        bench = self._bench()
        bench.converge(manifest(0))
        disk = bench.host.folder / "srv/vms/web.grown.raw"
        with disk.open("r+b") as file:
            file.write(MARK)
        keeper = bench.domain("keeper")
        xml = (
            "<domainsnapshot><name>before-upgrade</name><creationTime>1</creationTime><state>shutoff</state>"
            f"{keeper.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)}</domainsnapshot>"
        )
        keeper.snapshotCreateXML(xml, libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE)

    def _bench(self) -> Bench:
        return Bench(self.lab.host("kvm-1"), self.folder, HASTY)

    def end_before(self, nth: int, whom: str) -> bool:
        """Apply the next manifest, and end kvmdecl or libvirtd before the n-th write. Returns whether there was one.

        Nothing may be lost then, nor when the next run has finished it.
        """
        self.number += 1
        (self.folder / f"copied-{self.number}.img").write_bytes(self.number.to_bytes(2, "big") * 32768)
        before = holdings(self._bench())
        calls = self.folder / "calls"
        calls.unlink(missing_ok=True)
        process = self._forks.Process(
            target=_apply, args=(str(self.lab.directory), str(self.folder), self.number, nth, whom)
        )
        process.start()
        process.join(60)
        assert process.exitcode is not None, "it hangs"
        whole = process.exitcode == 0 and len(calls.read_text().splitlines()) < nth
        self.lab.start("kvm-1")
        for moment in ("then", "after the next run"):
            assert before.lost(holdings(self._bench())) == [], (self.number, nth, whom, moment)
            self._bench().converge(manifest(self.number))
        return not whole


def all_points(rounds: Rounds, whom: str, stride: int = 1) -> Iterator[int]:
    """End each way (there and back) before every write, or every so-manyth; yields the points."""
    nth = 1
    while any([rounds.end_before(nth, whom), rounds.end_before(nth, whom)]):
        yield nth
        nth += stride


def main() -> int:
    """Try all points."""
    with temporary_lab(["kvm-1"]) as lab, tempfile.TemporaryDirectory() as folder:
        rounds = Rounds(lab, Path(folder))
        for whom in ("kvmdecl", "libvirtd"):
            points = 0
            for nth in all_points(rounds, whom):
                points += 2
                print(
                    f"{whom} ended before write {nth}: nothing lost, and finished by the next run", flush=True
                )
            print(f"{whom}: {points} points")
    return 0


if __name__ == "__main__":
    sys.exit(main())
