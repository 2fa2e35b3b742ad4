"""`vms.NAME.nics:` network interfaces."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from kvmdecl.manifest.base import Section
from kvmdecl.names import Mac, Name, Positive


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
