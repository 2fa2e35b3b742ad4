"""`rollout:` in what order, and how much at once, a plan is carried out over the hosts."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from kvmdecl.manifest.base import Section, wrong
from kvmdecl.names import Duration, Integer, Name, Positive


class RolloutGate(Section):
    """Something that has to hold after a wave before the next one begins."""

    shorthand = "check"

    check: Name
    """What is looked at, by the name that a plugin gave it: `running`, `agent`, `lease`, `tcp`, `command`, `settle`,
    `pacemaker`.
    """
    with_: dict[Name, str | tuple[str, ...]] = Field(default_factory=dict, alias="with")
    """What the check is told, such as `{port: 22}`; each check has keys of its own."""
    vms: tuple[Name, ...] = ()
    """Vms or entries that are asked, as far as they are on hosts of the wave; all that should run if not given."""
    for_: Annotated[Duration, Field(ge=0, le=86400)] = Field(0, alias="for")
    """How long it has to hold without interruption (`30s`)."""
    timeout: Annotated[Duration, Field(ge=1, le=86400)] = 120
    """How long is waited for it to hold (`5m`)."""
    every: Annotated[Duration, Field(ge=1, le=3600)] = 2
    """Time between two looks."""


class Rollout(Section):
    """In what order, and how much at once, a plan is carried out over the hosts. Without it all hosts are one wave."""

    canary: tuple[Name, ...] = ()
    """Hosts that go first, as a wave of their own."""
    by: Name | None = None
    """A label of hosts (`rack`): those that say the same are a wave, `r9` before `r10`."""
    waves: tuple[tuple[Name, ...], ...] = ()
    """Hosts of each wave (`[[kvm-1, kvm-2], [kvm-3]]`), instead of `by`. Those that no wave names come last."""
    gates: tuple[RolloutGate, ...] = ()
    """What has to hold after each wave before the next, one after the other (`[running, {check: agent}]`)."""
    max_parallel: Positive | None = None
    """Hosts that are worked on at once; as many as there is room for if not given."""
    max_unavailable: Positive | None = None
    """Vms of one entry that may be restarted or shut down at once; of one that fails, the place stays taken."""
    max_migrations: Positive = 1
    """Vms that are moved from or to a host at once."""
    max_failed: Annotated[Integer, Field(ge=0)] = 0
    """Hosts on which anything may fail, those included that do not answer, before no further step begins. It is counted
    over the whole run.
    """

    @model_validator(mode="after")
    def _one_place_for_each(self) -> Self:
        if self.by is not None and self.waves:
            raise wrong(
                "rollout", "hosts are in waves by a label and by name", "keep `by` or `waves`", "waves"
            )
        if () in self.waves:
            hint = "name its hosts, or take it out"
            raise wrong("rollout", "a wave names no host", hint, "waves", self.waves.index(()))
        met = set[str]()
        waves = [(self.canary, ("canary",)), *((w, ("waves", n)) for n, w in enumerate(self.waves))]
        for hosts, path in waves:
            for place, host in enumerate(hosts):
                if host in met:
                    raise wrong("rollout", f"host {host} is in the waves twice", "keep it once", *path, place)
                met.add(host)
        return self
