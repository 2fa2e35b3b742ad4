"""`vms.NAME.nics:` network interfaces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from kvmdecl.manifest.base import Section, wrong
from kvmdecl.manifest.filters import FilterName, FilterParameters
from kvmdecl.manifest.networks import InterfaceName, PortGroupName
from kvmdecl.manifest.passthrough import VirtualFunction
from kvmdecl.manifest.traffic import Bandwidth, Vlan
from kvmdecl.names import Bool, Form, Mac, Name, PciAddress, PoolPath, Positive

QueueSize = Literal["256", "512", "1024"]


class Filter(Section):
    """A network filter of the host (nwfilter)."""

    shorthand = "name"

    name: FilterName
    """One of `filters`, or one that the hosts have, such as `clean-traffic`; `virsh nwfilter-list` names them."""
    parameters: FilterParameters = Field(default_factory=dict)
    """Values for its variables: `{IP: 10.0.0.5}`, or several for one."""


class VhostUser(Section):
    """A socket of a software switch (vhost-user), past the host's own network."""

    shorthand = "path"

    path: PoolPath
    """The socket."""
    mode: Literal["client", "server"] = "client"
    """Whether QEMU connects to the socket, or listens on it for the switch."""
    reconnect: Annotated[Positive, Field(le=3600)] | None = None
    """Seconds after which a client tries again when the switch is gone; never if not given."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.reconnect is not None and self.mode == "server":
            raise wrong("nic", "a server waits, and does not connect", "leave it out", "reconnect")
        return self


class NicDriver(Section):
    """How the host works for a virtio NIC."""

    shorthand = "name"

    name: Literal["vhost", "qemu"] | None = None
    """Who carries frames: the kernel (`vhost`) or QEMU; the kernel where it can if not given."""
    tx_mode: Literal["iothread", "timer"] | None = None
    """When QEMU sends what the guest gave it (`name: qemu`)."""
    rx_queue_size: QueueSize | None = None
    """Frames that fit into a queue to the guest."""
    tx_queue_size: QueueSize | None = None
    """Frames that fit into a queue from the guest (vhost-user)."""
    ioeventfd: Bool | None = None
    """Handle what the guest sends outside of its vCPU."""
    event_idx: Bool | None = None
    """Spare notices between guest and host."""
    packed: Bool | None = None
    """Use packed queues."""
    rss: Bool | None = None
    """Spread frames over queues by their hash."""
    rss_hash_report: Bool | None = None
    """Tell the guest that hash."""
    page_per_vq: Bool | None = None
    """Give each queue a page for its notices."""
    iommu: Bool | None = None
    """Let the guest's IOMMU translate its addresses."""
    ats: Bool | None = None
    """Let it cache what its IOMMU said."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.tx_mode is not None and self.name == "vhost":
            raise wrong("nic", "the kernel has no such mode", "add `name: qemu`, or leave it out", "tx_mode")
        return self


class HostOffloads(Section):
    """What the host may do for frames of the guest."""

    csum: Bool | None = None
    """Checksums."""
    gso: Bool | None = None
    """Segments of any kind."""
    tso4: Bool | None = None
    """Segments of TCP over IPv4."""
    tso6: Bool | None = None
    """Segments of TCP over IPv6."""
    ecn: Bool | None = None
    """Segments of TCP with ECN."""
    ufo: Bool | None = None
    """Fragments of UDP."""
    mrg_rxbuf: Bool | None = None
    """Buffers of the guest that hold one frame together."""


class GuestOffloads(Section):
    """What the guest may leave to the host when it receives."""

    csum: Bool | None = None
    """Checksums."""
    tso4: Bool | None = None
    """Segments of TCP over IPv4."""
    tso6: Bool | None = None
    """Segments of TCP over IPv6."""
    ecn: Bool | None = None
    """Segments of TCP with ECN."""
    ufo: Bool | None = None
    """Fragments of UDP."""


class Offloads(Section):
    """Work on frames that is done elsewhere or later, each where it can be if not given."""

    host: HostOffloads = HostOffloads.unsaid()
    """Of what the guest sends."""
    guest: GuestOffloads = GuestOffloads.unsaid()
    """Of what the guest receives."""


class Rom(Section):
    """The option ROM of a NIC, from which a guest boots over the network."""

    shorthand = "bar"

    bar: Bool | None = None
    """Whether the guest sees it (`rom: false`)."""
    file: PoolPath | None = None
    """File of the host with another one."""


KINDS = ("network", "device", "pci", "vf", "vhost_user", "user", "vdpa")
"""The keys that say what a NIC is plugged into: each NIC has one of them."""
_BRIDGED = ("network",)
_TAPS = ("network", "device")
_KINDS_OF_KEYS: Mapping[str, tuple[str, ...]] = {
    "macvtap_mode": ("device",),
    "managed": ("pci", "vf"),
    "portgroup": _BRIDGED,
    "isolated": _BRIDGED,
    "filter": _BRIDGED,
    "vlan": ("network", "device", "pci", "vf"),
    "bandwidth": _TAPS,
    "coalesce": _BRIDGED,
    "trust_guest_rx_filters": ("network", "device", "pci", "vf", "vdpa"),
    "mtu": ("network", "vhost_user"),
    "model": ("network", "device", "user"),
    "link": ("network", "device", "vhost_user", "user", "vdpa"),
    "tap": _BRIDGED,
    "driver": ("network", "device", "vhost_user", "user", "vdpa"),
    "queues": ("network", "device", "vhost_user", "vdpa"),
    "offloads": ("network", "device", "vhost_user", "user"),
}
"""The kinds of NICs that have a key; libvirt would drop some of these silently elsewhere."""


_ONLY_VIRTIO = ("queues", "trust_guest_rx_filters", "driver", "offloads", "team")


class Nic(Section):
    """A network interface, plugged into one of: a network, a device, a PCI function, a switch, or nothing but QEMU."""

    shorthand = "network"

    network: Name | None = None
    """Network of this manifest that it is plugged into."""
    portgroup: PortGroupName | None = None
    """Kind of port of that network; its default one if not given."""
    device: InterfaceName | None = None
    """Or a device of the host, without a bridge and without a network (macvtap)."""
    macvtap_mode: Literal["bridge", "vepa", "private", "passthrough"] | None = None
    """For `device`: how guests of one host see each other; `bridge` (directly) if not given."""
    pci: PciAddress | None = None
    """Or a function of the host's network card (`"0000:03:10.0"`, SR-IOV); it gets the guest's MAC address."""
    vf: VirtualFunction | None = None
    """Or a free function of such a card, by what the card is (`vf: uplink`, of `devices` at the top of the manifest);
    placement chooses which."""
    managed: Bool = True
    """For `pci` and `vf`: let libvirt take it from the host's driver and give it back."""
    vhost_user: VhostUser | None = None
    """Or a socket of a software switch; the guest needs `memory: {source: memfd, access: shared}`, or huge pages."""
    user: Literal["slirp", "passt"] | None = None
    """Or nothing but QEMU, which opens connections for the guest: `slirp`, or `passt` where it is installed."""
    vdpa: (
        Annotated[str, Form("/dev/vhost-vdpa-[0-9]{1,5}", "is no vDPA device", "/dev/vhost-vdpa-0")] | None
    ) = None
    """Or a vDPA device of the host, `/dev/vhost-vdpa-0`."""
    mac: Mac | None = None
    """MAC address; derived from cluster, vm and what it is plugged into if not given."""
    model: Literal["virtio", "e1000e", "e1000", "rtl8139"] = "virtio"
    """How the guest sees the NIC; a function of a network card (`pci`, `vf`) it sees as it is."""
    link: Literal["up", "down"] = "up"
    """State of the cable."""
    mtu: Annotated[Positive, Field(ge=68, le=65535)] | None = None
    """MTU (on a bridge, and with `vhost_user`); the network's if not given."""
    queues: Annotated[Positive, Field(le=256)] | None = None
    """Pairs of queues, worked on by as many vCPUs at once (virtio)."""
    vlan: Vlan | None = None
    """VLANs of its port (`vlan: 42`), on networks that have them."""
    bandwidth: Bandwidth | None = None
    """Limits: `{inbound: 10MiB, outbound: 10MiB}`; none if not given."""
    filter: Filter | None = None
    """Network filter (`filter: clean-traffic`); none if not given."""
    isolated: Bool = False
    """Keep it apart from the other isolated NICs of its bridge on the same host."""
    trust_guest_rx_filters: Bool = False
    """Let the guest choose which multicast and MAC addresses its host passes on to it (virtio)."""
    coalesce: Annotated[Positive, Field(le=65535)] | None = None
    """Frames that are received before the guest is told, instead of each."""
    driver: NicDriver = NicDriver.unsaid()
    """How the host works for it (virtio): `driver: qemu`."""
    offloads: Offloads = Offloads.unsaid()
    """Work on frames that is done elsewhere or later (virtio): `{host: {tso4: false}}`."""
    rom: Rom = Rom.unsaid()
    """Its option ROM (`rom: false` for none)."""
    tap: InterfaceName | None = None
    """Name of its device on the host; `vnet0` or the like if not given."""
    team: Annotated[str, Field(pattern="^[a-z0-9][a-z0-9-]{0,19}$")] | None = None
    """Make one NIC of this one and the other with the same word: a virtio NIC that always works, and a fast one (`pci`,
    or on a `hostdev` network) that leaves the guest while it is migrated. They share a MAC address."""
    boot: Bool = True
    """Try to boot from it when `network` is in the vm's boot order."""

    @property
    def kind(self) -> str:
        """Which of `KINDS` it is."""
        return next(kind for kind in KINDS if kind in self.said)

    @property
    def plug(self) -> str:
        """The name, address or path of what it is plugged into."""
        if self.vf is not None:
            return self.vf.word
        return self.vhost_user.path if self.vhost_user is not None else str(getattr(self, self.kind))

    @model_validator(mode="after")
    def _possible(self) -> Self:
        said = self.said
        kinds = [kind for kind in KINDS if kind in said]
        if not kinds:
            raise wrong("nic", "the NIC is plugged into nothing", f"add one of {', '.join(KINDS)}")
        if len(kinds) > 1:
            raise wrong(
                "nic", f"the NIC is plugged into both {kinds[0]} and {kinds[1]}", "keep one", kinds[1]
            )
        for key, allowed in _KINDS_OF_KEYS.items():
            if key in said and kinds[0] not in allowed:
                hint = f"it is for {', '.join(allowed)}"
                raise wrong("nic", f"a NIC of kind {kinds[0]} has no {key}", hint, key)
        self._check_model()
        return self

    @property
    def has_model(self) -> bool:
        """Whether there is a choice of how the guest sees it."""
        return self.kind in _KINDS_OF_KEYS["model"]

    @property
    def misplaced(self) -> str | None:
        """A key that only a virtio NIC has, and this one is another; None if all is well."""
        if self.model == "virtio":
            return None
        return next((key for key in _ONLY_VIRTIO if key in self.said), None)

    def _check_model(self) -> None:
        if (key := self.misplaced) is not None:
            raise wrong("nic", f"{key} is for virtio, not {self.model}", "use `model: virtio`", key)
        if self.driver.tx_queue_size is not None and self.vhost_user is None:
            summary, hint = "only vhost-user takes the size of that queue", "leave it out"
            raise wrong("nic", summary, hint, "driver", "tx_queue_size")
        if self.driver.name is not None and self.kind not in _TAPS:
            hint = "leave it out"
            raise wrong("nic", f"a NIC of kind {self.kind} has no driver to choose", hint, "driver", "name")
        if self.tap is not None and self.tap.startswith(("vnet", "macvtap", "macvlan")):
            hint = "choose a name that begins otherwise"
            raise wrong("nic", "libvirt gives such names itself, to whichever NIC is next", hint, "tap")
        if self.vlan is not None and self.device and self.macvtap_mode != "passthrough":
            hint = "add `macvtap_mode: passthrough`, or leave it out"
            raise wrong("nic", "a shared device has no VLANs of one guest", hint, "vlan")
