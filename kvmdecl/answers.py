"""What a question about a host is answered with: the value that `kvmdecl doctor` shows, and plugins may give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["ok", "advice", "failure", "unknown", "accepted"]
OUTCOMES: tuple[Outcome, ...] = ("ok", "advice", "failure", "unknown")
"""What a question can be answered with; what is accepted, the manifest says."""
GROUP = "doctor"
"""What the code of a question begins with where a manifest accepts an answer: `doctor.pool-space`."""
QUESTIONS = frozenset({
    "name", "network", "service", "answer", "host-key", "certificate", "login", "permission", "reach",
    "transport", "libvirt", "qemu", "kvm", "nested", "iommu", "vfio", "uefi", "secure-boot", "tpm",
    "virtiofs", "support", "confinement", "cells", "dedicated", "reserve", "huge-pages", "ksm", "pool",
    "pool-space", "pool-promised", "pool-inodes", "room", "chain", "bridge", "autostart", "saved",
    "contention", "overcommit", "balloon", "io-wait", "halt-polling", "libvirt-skew", "qemu-skew",
    "cpu-baseline", "identity", "clock", "thp", "migration-ports", "migration-way", "migration-name",
    "pressure", "client-certificate", "fencing-agent", "fencing-device", "fencing",
})  # fmt: skip
"""Names of the questions that are asked without plugins of others."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one question about a host.

    Attributes:
        host: that it is about; empty for all together.
        name: of the question, stable: `kvm`, `pool-space`.
        outcome: `ok`; `advice`: it works, and could be better; `failure`: something that is wanted does not work;
            `unknown`: it could not be seen; `accepted`: one of these, and the manifest says until when and why.
        told: what was found, in a line.
        fix: what to do about it; empty if it is well.
    """

    host: str
    name: str
    outcome: Outcome
    told: str
    fix: str = ""
