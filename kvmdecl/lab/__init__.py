"""A throw-away cluster of real libvirtd daemons with the real QEMU driver, on this machine.

    lab = kvmdecl.lab.up(Path("/tmp/lab"), ["kvm-1", "kvm-2"])
    lab.hosts["kvm-1"].uri()              # a libvirt URI that works from anywhere on this machine
    lab.freeze("kvm-2")                   # faults on demand
    kvmdecl.lab.down(Path("/tmp/lab"))    # nothing is left

Each host has its own network, mount, UTS and PID namespaces, name, UUID, storage and sockets; it needs no
root where user namespaces are allowed.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from kvmdecl.lab import boot, cluster, config, credentials, namespaces, probes, topology
from kvmdecl.lab.namespaces import HUB
from kvmdecl.lab.record import LabHost, Transport, new_hosts, read_record, write_record
from kvmdecl.lab.refusals import refusal, require_tools
from kvmdecl.lab.topology import Topology, load_topology
from kvmdecl.text import did_you_mean, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import IO

__all__ = [
    "Lab",
    "LabHost",
    "State",
    "Topology",
    "Transport",
    "default_directory",
    "down",
    "load_topology",
    "up",
]

_TOOLS = ("libvirtd", "unshare", "nsenter", "setsid", "ip", "mount", "hostname")
_LOCK = "lock"  # also the mark by which a directory is known to be a lab's
_LOCK_TIMEOUT = 60.0
_REMOVE_TIMEOUT = 10.0
_lifelines: dict[Path, int] = {}  # writing ends of pipes; each closes with its lab, or with this process


class State(StrEnum):
    """What a lab host is doing."""

    UP = "up"
    FROZEN = "frozen"
    NO_LIBVIRTD = "no libvirtd"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Lab:
    """A lab, known by its directory.

    Attributes:
        directory: absolute.
        hosts: by name, in the order of `up`.
    """

    directory: Path
    hosts: Mapping[str, LabHost]

    @classmethod
    def load(cls, directory: Path | str) -> Lab:
        """Return the lab of a directory, running or not.

        Raises:
            Rejected: `lab.not-found`, `lab.state-broken`.
        """
        place = Path(directory).absolute().resolve()
        return cls(place, {host.name: host for host in read_record(place)})

    def host(self, name: str) -> LabHost:
        """Return a host by name.

        Raises:
            Rejected: `lab.unknown-host`.
        """
        return self.hosts[require_host(name, self.hosts)]

    def status(self) -> dict[str, State]:
        """Return what each host is doing."""
        return {name: self._state(name) for name in self.hosts}

    def freeze(self, name: str) -> None:
        """Stop a host's libvirtd with SIGSTOP: it accepts connections and never answers."""
        namespaces.stop(self._libvirtd(name))

    def thaw(self, name: str) -> None:
        """Let a frozen libvirtd go on."""
        os.kill(self._libvirtd(name), signal.SIGCONT)

    def kill(self, name: str) -> None:
        """Kill a host's libvirtd with SIGKILL; its guests go on."""
        namespaces.kill([self._libvirtd(name)])

    def start(self, name: str) -> None:
        """Start a host's libvirtd, unless it runs."""
        if self._state(self.host(name).name) in {State.NO_LIBVIRTD, State.OFF}:
            boot.start_daemon(self.host(name), "libvirtd")

    def restart(self, name: str) -> None:
        """Kill a host's libvirtd and start it again."""
        self.kill(name)
        self.start(name)

    def power_off(self, name: str) -> None:
        """Take the power from a host: all its processes die at once, guests too. Its disks are kept."""
        namespaces.end(self.directory, self.host(name).name)

    def power_on(self, name: str) -> None:
        """Switch a host on, unless it is; guests with autostart come up."""
        host = self.host(name)
        hub = boot.require_init(self.directory, HUB)
        if namespaces.find_init(self.directory, name) is None:
            boot.start_host(host, list(self.hosts).index(name) + 1, hub)

    def start_cluster(self, corosync_conf: str) -> None:
        """Give all hosts this corosync.conf and a key, and start corosync and Pacemaker on each; they form a cluster.

        Only in a lab that was started with `pacemaker`. Hosts that are switched on later join by themselves.
        """
        cluster.write_corosync(self.hosts.values(), corosync_conf)
        for host in self.hosts.values():
            boot.start_daemon(host, "pacemaker")

    def command(self, argv: Sequence[str]) -> list[str]:
        """Return the command that runs `argv` in the lab's network, where all transports work.

        It finds hosts by name, sees this machine's files and the lab's processes, and ends with the lab.
        """
        hub = boot.require_init(self.directory, HUB)
        script = """
            mount -t proc proc /proc
            mount --bind "$1/etc-hosts" /etc/hosts
            [ ! -f "$1/ssh/config" ] || mount --bind "$1/ssh/config" /etc/ssh/ssh_config
            shift; exec "$@" """
        inside = ["unshare", "--mount", "sh", "-ec", script, "sh", str(self.directory), *argv]
        return [*namespaces.enter(hub, "--net", "--pid"), *inside]

    def host_command(self, name: str, argv: Sequence[str]) -> list[str]:
        """Return the command that runs `argv` on a host, where it sees the host's files and processes."""
        init = boot.require_init(self.directory, self.host(name).name)
        return [*namespaces.enter(init, *boot.HOST_NAMESPACES), *argv]

    def run(
        self, argv: Sequence[str], *, host: str = "", timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the lab's network, or on a host, and return its output."""
        command = self.host_command(host, argv) if host else self.command(argv)
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)

    def _state(self, name: str) -> State:
        init = namespaces.find_init(self.directory, name)
        if init is None:
            return State.OFF
        pid = namespaces.find_process(init, "libvirtd")
        if pid is None:
            return State.NO_LIBVIRTD
        return State.FROZEN if namespaces.is_stopped(pid) else State.UP

    def _libvirtd(self, name: str) -> int:
        init = boot.require_init(self.directory, self.host(name).name)
        if pid := namespaces.find_process(init, "libvirtd"):
            return pid
        raise refusal(
            "lab.host-off",
            f"libvirtd of host {name} is not running",
            hint=f"start it with `kvmdecl lab start {name}`",
            subject=f"host/{name}",
        )


def require_host(name: str, names: Iterable[str]) -> str:
    """Return `name` if it is one of the lab's hosts.

    Raises:
        Rejected: `lab.unknown-host`, with the nearest name.
    """
    known = list(names)
    if name in known:
        return name
    hint = did_you_mean(name, known) or f"its hosts are {', '.join(known)}"
    raise refusal("lab.unknown-host", f"the lab has no host {quoted(name)}", hint=hint)


def default_directory() -> Path:
    """Return where a user's lab lies if nothing else is said: on disk, at a short path."""
    return probes.cache_home() / "lab"


def up(
    directory: Path | str,
    names: Sequence[str],
    *,
    tls: bool = False,
    ssh: bool = False,
    topologies: Mapping[str, Topology] | None = None,
    tied: bool = False,
    pacemaker: bool = False,
) -> Lab:
    """Start a lab.

    Args:
        directory: where it lives; made, and emptied first if it holds the rest of a lab that was killed.
        names: of its hosts.
        tls: make certificates, and let libvirtd listen on TLS.
        ssh: make keys, and run an sshd on each host.
        topologies: fabricated hardware by host name; other hosts show the hardware of this machine.
        tied: end the lab with this process, however that ends.
        pacemaker: make hosts that can be a Pacemaker cluster; see `Lab.start_cluster`. Needs root.

    Raises:
        Rejected: with a code `lab.*`; nothing is left running then.
    """
    place = Path(directory).absolute().resolve()
    hosts = new_hosts(place, names, tls=tls, ssh=ssh)
    require_tools([*_TOOLS, *(["openssl"] if tls else []), *(["ssh", "ssh-keygen", "sshd"] if ssh else [])])
    if pacemaker:
        cluster.require()
    with _locked(place):
        if namespaces.find_init(place, HUB):
            hint = "use it, or remove it with `kvmdecl lab down`"
            raise refusal("lab.already-up", f"a lab is already running in {quoted(str(place))}", hint=hint)
        _end(place)
        try:
            with _lifeline(place) if tied else nullcontext() as lifeline:
                _build(place, hosts, topologies or {}, lifeline, pacemaker=pacemaker)
        except BaseException:
            _end(place)
            raise
    return Lab(place, {host.name: host for host in hosts})


def down(directory: Path | str) -> bool:
    """End a lab and remove its directory, however much of it is left. Returns whether there was anything.

    Raises:
        Rejected: `lab.not-a-lab`, `lab.busy`, `lab.stuck`.
    """
    place = Path(directory).absolute().resolve()
    if not place.exists():
        return namespaces.end(place)
    with _locked(place):
        _end(place)
        (place / _LOCK).unlink()
        place.rmdir()
    return True


def _build(
    place: Path,
    hosts: Sequence[LabHost],
    topologies: Mapping[str, Topology],
    lifeline: int | None,
    *,
    pacemaker: bool,
) -> None:
    write_record(place, hosts)
    config.write_shared(place, [(host.name, host.address) for host in hosts])
    for host in hosts:
        host.folder.mkdir(parents=True)
    transports = hosts[0].transports if hosts else ()
    if "tls" in transports:
        credentials.make_authority(place)
    if "ssh" in transports:
        credentials.make_ssh_keys(place, [(host.name, host.address, host.folder) for host in hosts])
    hub = boot.start_hub(place, lifeline)
    if pacemaker:
        cluster.start_controller(place, hub)
    kept = probes.store()

    def build_host(number: int) -> None:
        host = hosts[number - 1]
        probes.recall(kept, host.folder)
        if "tls" in transports:
            credentials.make_host_certificate(place, host.folder, host.name, host.address)
        if pacemaker:
            cluster.write_node(host)
        if host.name in topologies:
            topology.write_topology(host.folder, topologies[host.name])
        boot.start_host(host, number, hub)

    numbers = list(range(1, len(hosts) + 1))
    if numbers and not kept.is_dir():  # the first host probes QEMU for all
        build_host(numbers.pop(0))
        boot.probe(hosts[0])
    with ThreadPoolExecutor(max_workers=2 * (os.cpu_count() or 1)) as pool:
        for _ in pool.map(build_host, numbers):
            continue


@contextmanager
def _lifeline(place: Path) -> Iterator[int]:
    """Lend the reading end of a pipe whose other end closes with the lab, or when this process ends."""
    reading, _lifelines[place] = os.pipe()
    try:
        yield reading
    finally:
        os.close(reading)


def _end(place: Path) -> None:
    """Kill what runs of a lab and empty its directory, all but the lock."""
    if place in _lifelines:
        os.close(_lifelines.pop(place))
    namespaces.end(place)
    for entry in place.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            _remove(entry)
        elif entry.name != _LOCK:
            entry.unlink()


def _remove(folder: Path) -> None:
    """Remove a folder that a program of a killed `up`, such as ssh-keygen, may still be writing to."""
    deadline = time.monotonic() + _REMOVE_TIMEOUT
    while True:
        try:
            shutil.rmtree(folder)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.ENOENT) or time.monotonic() > deadline:
                raise
        if not folder.exists():
            return


@contextmanager
def _locked(place: Path) -> Iterator[None]:
    """Keep others from starting or ending the same lab. The kernel drops the lock when we die.

    Raises:
        Rejected: `lab.not-a-lab` for a directory with other things in it, `lab.busy`.
    """
    if _holds_other_things(place):
        raise refusal(
            "lab.not-a-lab",
            f"{quoted(str(place))} holds other things than a lab",
            cause="A lab's directory is emptied when the lab starts and removed when it ends.",
            hint="name another directory with --dir or $KVMDECL_LAB",
        )
    deadline = time.monotonic() + _LOCK_TIMEOUT
    while True:
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (place / _LOCK).open("wb") as lock:
            if _try_lock(lock):
                if (place / _LOCK).exists() and (place / _LOCK).samefile(f"/proc/self/fd/{lock.fileno()}"):
                    yield
                    return
                continue  # it was removed with its lab while we waited
        if time.monotonic() > deadline:
            raise refusal(
                "lab.busy", f"the lab in {quoted(str(place))} is being started or ended by another process"
            )
        time.sleep(0.05)


def _holds_other_things(place: Path) -> bool:
    """Whether a directory is no lab's. What is left in that of a lab that runs was left by its daemons."""
    is_marked = not place.exists() or (place / _LOCK).exists() or not any(place.iterdir())
    return not is_marked and not any(namespaces.inits(place))


def _try_lock(lock: IO[bytes]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
