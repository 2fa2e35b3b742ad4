"""`hyperv:` what KVM tells a Windows guest as Hyper-V would, so that it need not find out the slow way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import Field, model_validator

from kvmdecl.manifest.base import Section, wrong
from kvmdecl.names import Bool, Integer
from kvmdecl.words import HYPERV


class Hyperv(Section):
    """Hyper-V's enlightenments. The usual ones are on; each can be switched by itself."""

    shorthand = "enabled"

    enabled: Bool = True
    """Whether a KVM guest has any."""
    relaxed: Bool | None = None
    """Let its timers be late without a crash; on if not given."""
    vapic: Bool | None = None
    """Interrupts without leaving the guest; on if not given."""
    spinlocks: Annotated[Integer, Field(ge=4095, le=2**32 - 1)] | None = None
    """Tries at a lock before it yields to the host; 8191 if not given."""
    vpindex: Bool | None = None
    """Numbers of its vCPUs; on if not given."""
    runtime: Bool | None = None
    """How long its vCPUs ran; on if not given."""
    synic: Bool | None = None
    """Synthetic interrupt controller; on if not given."""
    stimer: Bool | None = None
    """Synthetic timers; on if not given."""
    stimer_direct: Bool = False
    """Have these timers interrupt a vCPU directly."""
    frequencies: Bool | None = None
    """Frequencies of the TSC and the APIC; on if not given."""
    tlbflush: Bool | None = None
    """Flush address translations of all vCPUs at once; on if not given."""
    ipi: Bool | None = None
    """Interrupt several vCPUs at once; on if not given."""
    reset: Bool | None = None
    """A register that resets the guest; off if not given."""
    reenlightenment: Bool | None = None
    """Notices that the TSC's frequency changed, for guests of its own; off if not given."""
    evmcs: Bool | None = None
    """Quicker guests of its own (Intel); off if not given."""
    avic: Bool | None = None
    """Go along with interrupts that the hardware delivers (AVIC, APICv); off if not given."""
    vendor: Annotated[str, Field(pattern="^[A-Za-z0-9 .-]{1,12}$")] | None = None
    """Name of the hypervisor that it sees."""

    def is_on(self, name: str) -> bool:
        """Whether the guest has an enlightenment of that name."""
        given: bool | None = getattr(self, name)
        return self.enabled and (name in HYPERV if given is None else given)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if not self.enabled and len(self.said) > 1:
            raise wrong("hyperv", "what is off has no parts", "drop `enabled: false`", "enabled")
        for name, needed in _NEEDS.items():
            lacking = [other for other in needed if self.is_on(name) and not self.is_on(other)]
            if lacking:
                key = lacking[0] if lacking[0] in self.said else name
                hint = f"leave `{lacking[0]}` on, or write `{name}: false` too"
                raise wrong("hyperv", f"{name} needs {lacking[0]}", hint, key)
        if self.stimer_direct and not self.is_on("stimer"):
            raise wrong("hyperv", "there are no synthetic timers", "leave `stimer` on", "stimer_direct")
        return self


_NEEDS: Mapping[str, tuple[str, ...]] = {
    "synic": ("vpindex",),
    "stimer": ("synic",),
    "tlbflush": ("vpindex",),
    "ipi": ("vpindex",),
    "evmcs": ("vapic",),
}
"""What an enlightenment stands on (qemuValidateDomainDefHypervFeatures)."""
