"""`rollout:` in what order, and how much at once, a plan is carried out over the hosts."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from kvmdecl.manifest.base import Section, wrong
from kvmdecl.names import Integer, Name, Positive


class Rollout(Section):
    """In what order, and how much at once, a plan is carried out over the hosts. Without it all hosts are one wave."""

    canary: tuple[Name, ...] = ()
    """Hosts that go first, as a wave of their own."""
    by: Name | None = None
    """A label of hosts (`rack`): those that say the same are a wave, in the order of what they say."""
    waves: tuple[tuple[Name, ...], ...] = ()
    """Hosts of each wave (`[[kvm-1, kvm-2], [kvm-3]]`), instead of `by`. Those that no wave names come last."""
    max_parallel: Positive | None = None
    """Hosts that are worked on at once; as many as there is room for if not given."""
    max_unavailable: Positive | None = None
    """Vms of one entry that may be restarted or shut down at once; of one that fails, the place stays taken."""
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
        met = set(self.canary)
        for number, hosts in enumerate(self.waves):
            for place, host in enumerate(hosts):
                if host in met:
                    hint = "keep it in one"
                    raise wrong("rollout", f"host {host} is in two waves", hint, "waves", number, place)
                met.add(host)
        return self
