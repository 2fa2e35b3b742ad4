"""Cluster managers: programs that run vms by a configuration of their own, which is planned like libvirt's objects.

A plugin offers one (`kvmdecl_managers`); the core brings programs to hosts (`Reach`) and does not know what they say.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from kvmdecl.diagnostics import Diagnostic

if TYPE_CHECKING:
    from kvmdecl.cluster import PlacedCluster, ResolvedCluster
    from kvmdecl.facts import HostFacts
    from kvmdecl.plan import Prospect, Step
    from kvmdecl.tasks import ConfigureManager


class NoAnswer(Exception):  # noqa: N818 - reads as a sentence
    """A program did not run, or not to its end: its host was not reached, it is not there, or it took too long."""


@dataclass(frozen=True, slots=True)
class Said:
    """How a program ended. `code` is 127 if the host does not have it."""

    code: int
    out: str
    err: str


class Shell(Protocol):
    """Runs programs on one host. No command line is ever put together from text."""

    def run(self, argv: Sequence[str], *, given: str = "", timeout: float = 20.0) -> Said:
        """Run a program with `given` as its input, for `timeout` seconds at most.

        Raises:
            NoAnswer: with the reason.
        """
        ...


class Reach(Protocol):
    """Leads to the hosts of a cluster; in a rehearsal to those of the lab."""

    def shell(self, host: str, way: str = "") -> Shell | None:
        """A host's shell, as its URI leads there (SSH, or this machine), or as `way` says.

        Args:
            host: of the manifest.
            way: `local` for this machine, else whom SSH connects to (`USER@HOST`); empty: by its URI.

        Returns:
            None if the URI leads to libvirt alone.
        """
        ...

    def here(self, host: str, variables: Mapping[str, str]) -> Shell | None:
        """This machine's shell, for programs that find a host by themselves, as `variables` of the environment say.

        Returns:
            None in a rehearsal: its hosts are not where the variables say.
        """
        ...


@dataclass(frozen=True, slots=True)
class Configuration:
    """What a manager goes by now: its own document, with what runs where; and the host that gave it."""

    text: str
    host: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """A configuration that was not read, and why. `asked`: somebody should have answered, so the plan is not whole."""

    diagnostic: Diagnostic
    asked: bool


Observed = Configuration | Unknown


@dataclass(frozen=True, slots=True)
class Comparison:
    """What comes of comparing a configuration with what is declared.

    Attributes:
        step: what would be done, None if it is as declared, or blocked.
        objects: how many objects of it are declared.
        blocked: why it cannot be brought to what is declared.
        notes: what else there is to know.
        prospects: what becomes of each guest by the step.
    """

    step: Step | None
    objects: int
    blocked: tuple[Diagnostic, ...] = ()
    notes: tuple[Diagnostic, ...] = ()
    prospects: tuple[Prospect, ...] = ()


@dataclass(frozen=True, slots=True)
class MemberState:
    """A host as its manager sees it; `state` is one word (`online`, `offline`, `standby`, `unclean`, ...)."""

    host: str
    state: str
    coordinates: bool = False


@dataclass(frozen=True, slots=True)
class ResourceState:
    """Something that a manager runs. `hosts` are where it is; `remarks` are words such as `unmanaged` and `failed`."""

    name: str
    kind: Literal["vm", "fencing", "service"]
    state: str
    hosts: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """Something that went wrong. `when` is as the manager writes it."""

    resource: str
    host: str
    what: str
    when: str = ""


@dataclass(frozen=True, slots=True)
class ManagerStatus:
    """How a cluster is, as its manager sees it from `seen_from`."""

    manager: str
    cluster: str
    seen_from: str
    quorum: bool
    hosts: tuple[MemberState, ...]
    resources: tuple[ResourceState, ...]
    failures: tuple[Failure, ...] = ()

    @property
    def healthy(self) -> bool:
        """Whether it has quorum, all hosts are there, and nothing failed or is down."""
        return (
            self.quorum
            and not self.failures
            and all(host.state == "online" for host in self.hosts)
            and all(each.state != "down" for each in self.resources)
        )


class Manager(Protocol):
    """A cluster manager. Only `observe`, `perform` and `status` touch hosts, through what they are given."""

    def manages(self, cluster: ResolvedCluster) -> bool:
        """Whether the manifest speaks of it."""
        ...

    def observe(self, cluster: ResolvedCluster, reach: Reach, up: Collection[str]) -> Observed | None:
        """Read its configuration; None if the manifest does not speak of it. `up` are hosts whose libvirtd answered."""
        ...

    def recorded(self, observed: Configuration) -> Configuration:
        """The same for a file that people pass around: without secrets, in lines. Of one from a file, the very same.

        Raises:
            NoAnswer: it is no configuration of this manager's.
        """
        ...

    def compare(
        self, placed: PlacedCluster, facts: Mapping[str, HostFacts], observed: Configuration
    ) -> Comparison:
        """Compare it with what is declared.

        Raises:
            Rejected: if it is not known what should be, with the reasons.
        """
        ...

    def shows(self, step: Step, reach: Reach, hosts: Sequence[str]) -> bool:
        """Whether a step that comes from a file shows what its task does, or would be refused now anyway."""
        ...

    def perform(
        self,
        task: ConfigureManager,
        precondition: str,
        reach: Reach,
        hosts: Sequence[str],
    ) -> tuple[str, ...]:
        """Carry out a task through one of these hosts, and return once it is done and was read back.

        Returns:
            Things the user should know.

        Raises:
            Moved: the configuration is another one than that of `precondition`; nothing was done.
            TaskFailed: it was refused, or did not come to its end.
        """
        ...

    def way(self, cluster: ResolvedCluster) -> str:
        """How its hosts are reached, for whoever has no manifest: `ConfigureManager.control`."""
        ...

    def look(self, cluster: str, way: str, reach: Reach, hosts: Sequence[str]) -> ManagerStatus:
        """How the cluster of this name is, by a way to its hosts.

        Raises:
            Rejected: if nobody answers.
        """
        ...

    def undo(
        self, task: ConfigureManager, reach: Reach, hosts: Sequence[str], others: Collection[str]
    ) -> Comparison | str:
        """Compare what there is now with what there was before a task.

        Args:
            task: that was begun.
            reach: leads to `hosts`.
            hosts: of the cluster.
            others: guests that the same run took from libvirt or gave to it, or whose files it deleted.

        Returns:
            What would be done, or why there is no way back.
        """
        ...

    def status(self, cluster: ResolvedCluster, reach: Reach) -> ManagerStatus:
        """How the cluster is.

        Raises:
            Rejected: if nobody answers, or it is not said how to ask.
        """
        ...
