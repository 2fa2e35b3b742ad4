"""`vms.NAME.nics:` network interfaces."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from kvmdecl.manifest.base import Section, wrong
from kvmdecl.manifest.filters import FilterName, FilterParameters
from kvmdecl.names import KIB, Bool, Mac, Name, Positive, Size


class Rate(Section):
    """A limit of the traffic in one direction."""

    shorthand = "average"

    average: Size
    """Bytes per second in the long run, for example `10MiB`."""
    peak: Size | None = None
    """Bytes per second at most."""
    burst: Size | None = None
    """Bytes that may be sent at the peak."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for key in ("average", "peak", "burst"):
            value = getattr(self, key)
            if value is not None and (value % KIB or not value):
                raise wrong(
                    "nic", f"{key} is not a whole number of KiB from 1", "write for example `10MiB`", key
                )
        if self.peak is not None and self.peak < self.average:
            raise wrong("nic", "the peak is below the average", "raise `peak` or lower `average`", "peak")
        return self


class Bandwidth(Section):
    """Limits of the traffic, as the guest sees its directions."""

    inbound: Rate | None = None
    """What the guest receives."""
    outbound: Rate | None = None
    """What the guest sends."""


class Filter(Section):
    """A network filter of the host (nwfilter)."""

    shorthand = "name"

    name: FilterName
    """One of `filters`, or one that the hosts have, such as `clean-traffic`; `virsh nwfilter-list` names them."""
    parameters: FilterParameters = Field(default_factory=dict)
    """Values for its variables: `{IP: 10.0.0.5}`, or several for one."""


class Nic(Section):
    """A network interface."""

    shorthand = "network"

    network: Name
    """Network of this manifest that it is plugged into."""
    mac: Mac | None = None
    """MAC address; derived from cluster, vm and network if not given."""
    model: Literal["virtio", "e1000e", "e1000", "rtl8139"] = "virtio"
    """How the guest sees the NIC."""
    link: Literal["up", "down"] = "up"
    """State of the cable."""
    mtu: Annotated[Positive, Field(ge=68, le=65535)] | None = None
    """MTU; the network's if not given."""
    queues: Annotated[Positive, Field(le=256)] | None = None
    """Pairs of queues, worked on by as many vCPUs at once (virtio)."""
    bandwidth: Bandwidth | None = None
    """Limits: `{inbound: 10MiB, outbound: 10MiB}`; none if not given."""
    filter: Filter | None = None
    """Network filter (`filter: clean-traffic`); none if not given."""
    isolated: Bool = False
    """Keep it apart from the other isolated NICs of its bridge on the same host."""
    trust_guest_rx_filters: Bool = False
    """Let the guest choose which multicast and MAC addresses its host passes on to it (virtio)."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for key in ("queues", "trust_guest_rx_filters"):
            if getattr(self, key) and self.model != "virtio":
                raise wrong("nic", f"{key} is for virtio, not {self.model}", "use `model: virtio`", key)
        return self
