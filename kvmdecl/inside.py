"""What a host is on the inside: what its own programs tell, and libvirt does not. Values only."""

from __future__ import annotations

from dataclasses import dataclass

MIGRATION_PORTS = (49152, 49215)
"""Where QEMU receives guests, if qemu.conf says nothing else (`migration_port_min`, `migration_port_max`)."""


@dataclass(frozen=True, slots=True)
class FileSystem:
    """The file system that a path lies on (statfs). Without `inodes` it makes them as it needs them (btrfs, xfs)."""

    path: str
    inodes: int
    free_inodes: int
    size: int
    available: int


@dataclass(frozen=True, slots=True)
class KvmDevice:
    """/dev/kvm: its permissions and owner, and whom QEMU runs as; None where that cannot be seen."""

    mode: int
    uid: int
    gid: int
    user: str = ""
    user_uid: int | None = None
    user_gids: frozenset[int] = frozenset()

    @property
    def is_open(self) -> bool | None:
        """Whether QEMU may open it; None if it is not known whom it runs as."""
        if self.user_uid is None:
            return None
        own = self.mode & 0o600 == 0o600 and self.user_uid == self.uid
        group = self.mode & 0o060 == 0o060 and self.gid in self.user_gids
        return self.user_uid == 0 or own or group or self.mode & 0o006 == 0o006


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate in a file, and until when it is valid, in seconds since 1970."""

    path: str
    until: float


@dataclass(frozen=True, slots=True)
class Way:
    """How a connection from a host to a port of another one went.

    `open`: somebody listens; `refused`: nobody does, and the host said so, which no firewall keeps from being said;
    `silent`, `unreachable`: what was sent did not arrive; `nameless`: the address is no name that the host knows.
    """

    target: str
    address: str
    port: int
    how: str


@dataclass(frozen=True, slots=True)
class Unseen:
    """Nobody looked into a host: why, and what would change that."""

    why: str
    fix: str = ""


NO_WAY = Unseen(
    "its URI leads to libvirt alone",
    "say how SSH gets there (`--ssh root@{name}`), for what libvirt does not tell",
)


@dataclass(frozen=True, slots=True)
class Inside:
    """What programs on a host tell. None, or empty, is what they do not.

    Attributes:
        clock: seconds that the host's clock is ahead of this machine's: at least, and at most.
        synchronised: whether something keeps it right (`timedatectl`).
        name: that the host gives itself, which libvirt has guests migrate to.
        virtualisation: whether its CPUs show vmx or svm.
        kvm: /dev/kvm, if it is there.
        huge: word of /sys/kernel/mm/transparent_hugepage/enabled that holds (`always`, `madvise`, `never`).
        defrag: the same of `defrag`: who waits for memory to be put together.
        merges: whether KSM runs (/sys/kernel/mm/ksm/run).
        file_systems: of the paths that were asked for, and of libvirt's own.
        ports: QEMU's for migration, first and last.
        listening: TCP ports on which something listens.
        pressure: percent of the last five minutes in which something waited: `cpu`, `io`, `memory` (PSI).
        certificates: of libvirt and QEMU, where libvirt looks for them.
        ways: to the migration ports of other hosts that were looked into; None where they could not be tried.
    """

    clock: tuple[float, float] | None = None
    synchronised: bool | None = None
    name: str = ""
    virtualisation: bool = False
    kvm: KvmDevice | None = None
    huge: str = ""
    defrag: str = ""
    merges: bool | None = None
    file_systems: tuple[FileSystem, ...] = ()
    ports: tuple[int, int] = MIGRATION_PORTS
    listening: frozenset[int] = frozenset()
    pressure: tuple[tuple[str, float], ...] = ()
    certificates: tuple[Certificate, ...] = ()
    ways: tuple[Way, ...] | None = None

    @property
    def free_port(self) -> int | None:
        """The first port for migration on which nothing listens."""
        first, last = self.ports
        return next((port for port in range(first, last + 1) if port not in self.listening), None)
