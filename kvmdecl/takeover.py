"""What a cluster manager does when hosts are lost: what a plugin tells of it, and what is found about that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kvmdecl.diagnostics import Diagnostic, Severity


@dataclass(frozen=True, slots=True)
class Takeover:
    """What comes of the loss of some hosts.

    Attributes:
        lost: the hosts.
        homes: the new host of each vm that ran on them.
        moved: the new host of each other vm that is moved, to make room or because something else asks for it.
        down: the vms that ran and run nowhere now.
    """

    lost: tuple[str, ...]
    homes: Mapping[str, str]
    moved: Mapping[str, str]
    down: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Takeovers:
    """Of one cluster manager.

    Attributes:
        manager: its name and version.
        vms: that it runs; others are lost with their hosts.
        start: the host of each of them, before anything is lost.
        takeovers: one for each loss that was asked for, in the same order.
        findings: what else stands in the way: what it would refuse, too few votes, hosts that cannot be switched off.
        survive: how many hosts may be lost at once with every vm running again, as the manifest says.
    """

    manager: str
    vms: tuple[str, ...]
    start: Mapping[str, str]
    takeovers: tuple[Takeover, ...]
    findings: tuple[Diagnostic, ...] = ()
    survive: int = 1


@dataclass(frozen=True, slots=True)
class Proof:
    """What comes of the loss of any `lose` hosts.

    Attributes:
        manager: name and version of the cluster manager that was asked.
        lose: how many hosts are lost at once.
        combinations: of so many hosts that there are.
        start: the host of each vm that it runs, before anything is lost.
        takeovers: what it does about each loss that was tried.
        findings: what is wrong with that.
        disputed: losses after which it leaves a vm down that has a home, or runs one where the rules of placement do
            not let it be. About all others both agree.
        binding: whether the manifest promises that it is survived, so that what is wrong is an error.
    """

    manager: str
    lose: int
    combinations: int
    start: Mapping[str, str]
    takeovers: tuple[Takeover, ...]
    findings: tuple[Diagnostic, ...]
    disputed: tuple[tuple[str, ...], ...] = ()
    binding: bool = True

    @property
    def survives(self) -> bool:
        """Whether every vm that has to run is running again, where it may, whatever was lost."""
        return not any(found.severity is Severity.ERROR for found in self.findings)

    @property
    def complete(self) -> bool:
        """Whether all combinations were tried."""
        return len(self.takeovers) == self.combinations
