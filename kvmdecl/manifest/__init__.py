"""The manifest as pydantic models, one module per section. The models are also the source of the JSON Schema."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from kvmdecl.manifest.base import Section
from kvmdecl.manifest.cpus import BandwidthShare, CacheShare, Cpus, Scheduler, Topology
from kvmdecl.manifest.devices import Channel, Input, Panic, SerialConsole, Tpm, Vsock, Watchdog
from kvmdecl.manifest.disks import Cdrom, Disk, IoTune
from kvmdecl.manifest.filters import FilterRule, NetworkFilter
from kvmdecl.manifest.firmware import Firmware
from kvmdecl.manifest.hosts import Host, Reserve
from kvmdecl.manifest.images import Image
from kvmdecl.manifest.limits import DataLimit, DeleteLimit, GuestLimit, Limits
from kvmdecl.manifest.memory import Balloon, Memory
from kvmdecl.manifest.migration import Migration
from kvmdecl.manifest.networks import Dhcp, DhcpHost, Network
from kvmdecl.manifest.nics import Nic
from kvmdecl.manifest.numa import Numa
from kvmdecl.manifest.passthrough import DeviceAlias, DeviceRequest, PciKind, VirtualFunction
from kvmdecl.manifest.policies import Policy, PolicyFile
from kvmdecl.manifest.pools import Pool
from kvmdecl.manifest.rollout import Rollout, RolloutGate
from kvmdecl.manifest.rules import RulesSection
from kvmdecl.manifest.screens import Graphics, Video
from kvmdecl.manifest.secrets import Secret
from kvmdecl.manifest.sound import Audio, Sound
from kvmdecl.manifest.vms import After, CloudInit, Ignition, Shutdown, Snapshots, Vm
from kvmdecl.names import Name
from kvmdecl.renamed import of_format

__all__ = [
    "After", "Audio", "Balloon", "BandwidthShare", "CacheShare", "Cdrom", "Channel", "CloudInit", "Cpus",
    "DataLimit", "DeleteLimit", "DeviceAlias", "DeviceRequest", "Dhcp", "DhcpHost", "Disk", "FilterRule",
    "Firmware", "Graphics", "GuestLimit", "Host", "Ignition", "Image", "Input", "IoTune", "Limits", "Manifest",
    "Memory", "Migration", "Network", "NetworkFilter", "Nic", "Numa", "Panic", "PciKind", "PlacementSection",
    "Policy", "PolicyFile", "Pool", "Reserve", "Rollout", "RolloutGate", "RulesSection", "Scheduler", "Secret",
    "Section", "SerialConsole", "Shutdown", "Snapshots", "Sound", "Topology", "Tpm", "Video", "VirtualFunction", "Vm",
    "Vsock", "Watchdog",
]  # fmt: skip


class PlacementSection(Section):
    """How vms that name no host are given one."""

    shorthand = "solver"

    solver: Name | None = None
    """Solver plugin, by name (`kvmdecl plugins` lists them). If not given, `numa` where vms have dedicated vCPUs, are
    bound to NUMA cells, ask for `devices`, or are kept apart or together, else `spread`; `exact` proves what `numa`
    finds."""


class Manifest(Section):
    """A cluster, as the user wrote it, with profiles merged and counts expanded."""

    formerly = of_format()

    api_version: Literal["kvmdecl/v1"] = Field(alias="apiVersion")
    """Version of this format: `kvmdecl/v1`."""
    cluster: Name
    """Name of the cluster; part of every derived UUID and MAC address."""
    placement: PlacementSection = PlacementSection.unsaid()
    """Solver for vms that name no host."""
    rollout: Rollout | None = None
    """In what order, and how much at once, `apply` works on the hosts; on all at once if not given."""
    limits: Limits = Limits.unsaid()
    """How much one plan may delete, restart, move and write."""
    rules: RulesSection = RulesSection.unsaid()
    """Which of the field's known pitfalls are looked for (`kvmdecl rules`)."""
    policies: dict[Name, Policy] = Field(default_factory=dict)
    """What plans must not do, by names for it."""
    hosts: dict[Name, Host] = Field(default_factory=dict)
    """Hosts by name."""
    devices: dict[Name, DeviceAlias] = Field(default_factory=dict)
    """Names for devices of hosts, by which vms ask for them (`{gpu: {vendor: "10de", device: "2330"}}`)."""
    networks: dict[Name, Network] = Field(default_factory=dict)
    """Networks by name."""
    filters: dict[Name, NetworkFilter] = Field(default_factory=dict)
    """Network filters by name."""
    secrets: dict[Name, Secret] = Field(default_factory=dict)
    """Secrets by name; their values are elsewhere."""
    storage: dict[Name, Pool] = Field(default_factory=dict)
    """Storage pools by name."""
    images: dict[Name, Image] = Field(default_factory=dict)
    """Images by name."""
    vms: dict[Name, Vm] = Field(default_factory=dict)
    """Guests by name."""
