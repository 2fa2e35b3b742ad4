"""A cluster as Pacemaker and corosync see it: frozen values that `cib`, `corosync` and `commands` write out.

Every name is what it is called there. All tuples of a `Configuration` are sorted, but where order means something.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Pairs = tuple[tuple[str, str], ...]
"""Names and values, sorted by name."""

INFINITY = "INFINITY"
NEVER = "-INFINITY"


@dataclass(frozen=True, slots=True)
class Release:
    """What the oldest Pacemaker of a cluster understands.

    `schema` is `validate-with`, `feature_set` the CIB's. `fencing` is what the names of options begin with that are
    about fencing: `stonith` up to 3.0.1 (where `fencing` is not known), `fencing` after it.
    """

    schema: str
    feature_set: str
    fencing: Literal["stonith", "fencing"]


@dataclass(frozen=True, slots=True)
class Node:
    """A host. `id` is corosync's, `links` its addresses, one for each link."""

    id: int
    name: str
    links: tuple[str, ...]
    attributes: Pairs
    utilization: Pairs


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation of a resource; `interval` and `timeout` in seconds."""

    name: str
    interval: int
    timeout: int


@dataclass(frozen=True, slots=True)
class Primitive:
    """A resource. `agent` as `pcs` writes it: `ocf:heartbeat:VirtualDomain`, `stonith:fence_ipmilan`."""

    id: str
    agent: str
    parameters: Pairs
    operations: tuple[Operation, ...]
    meta: Pairs = ()
    utilization: Pairs = ()


@dataclass(frozen=True, slots=True)
class Clone:
    """A resource that runs once on each host."""

    id: str
    primitive: Primitive
    meta: Pairs


@dataclass(frozen=True, slots=True)
class Level:
    """Devices that fence a host together; a level of a higher index is tried after those before it failed."""

    target: str
    index: int
    devices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Location:
    """How much a resource likes a host."""

    id: str
    resource: str
    node: str
    score: str


@dataclass(frozen=True, slots=True)
class Order:
    """All of `first` start before any of `then`, and stop after them. `Optional`: where both do so at once."""

    id: str
    first: tuple[str, ...]
    then: tuple[str, ...]
    kind: Literal["Mandatory", "Optional"]


@dataclass(frozen=True, slots=True)
class Colocation:
    """Where `resources` run as seen from `near`.

    With `near`, each goes to a host where all of `near` run. Without, they are among themselves: all on
    one host, or with a negative score each on another. With an `attribute`, hosts of which it has the same value count
    as one.
    """

    id: str
    resources: tuple[str, ...]
    near: tuple[str, ...]
    score: str
    attribute: str = ""

    @property
    def pairs(self) -> tuple[tuple[str, str, str], ...]:
        """Id, resource, and the one that it is seen from, for a rule with an attribute, which sets do not take.

        Who belongs together is near the first; who is kept apart is apart from all before.
        """
        apart = self.score.startswith("-")
        return tuple(
            (f"{self.id}-{one}-{other}", one, other)
            for number, one in enumerate(self.resources)
            for other in self.resources[: number if apart else min(number, 1)]
        )


@dataclass(frozen=True, slots=True)
class Tag:
    """A name for several resources."""

    id: str
    resources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class QuorumDevice:
    """A vote from outside of the cluster (corosync-qdevice, model net)."""

    host: str
    algorithm: str
    port: int
    tls: str


@dataclass(frozen=True, slots=True)
class Corosync:
    """What corosync is told beside the nodes. `token` and `send_join` in milliseconds, zero for its own default.

    `priorities` are those of the links, highest first to be used; empty where all are alike.
    """

    cluster_name: str
    config_version: int
    two_node: bool
    device: QuorumDevice | None
    priorities: tuple[int, ...]
    token: int = 0
    send_join: int = 0


@dataclass(frozen=True, slots=True)
class Guest:
    """A vm that Pacemaker runs: the file with its definition, that text, and the hosts that it may run on.

    `elsewhere` are hosts and the texts of their files, where these differ.
    """

    name: str
    path: str
    definition: str
    homes: tuple[str, ...]
    elsewhere: Pairs = ()


@dataclass(frozen=True, slots=True)
class SecretValue:
    """A value that is in no file: Pacemaker keeps it on each host. `source` is shell text that says it."""

    resource: str
    parameter: str
    source: str


@dataclass(frozen=True, slots=True)
class Configuration:
    """The whole cluster.

    `options` are the cluster's, `defaults` those of resources' meta attributes. `devices` fence hosts, `services`
    run on all hosts, `resources` are the vms in order of name. `remote_port` is where hosts listen for programs on
    other machines, zero for nowhere.
    """

    release: Release
    corosync: Corosync
    options: Pairs
    defaults: Pairs
    nodes: tuple[Node, ...]
    devices: tuple[Primitive, ...]
    levels: tuple[Level, ...]
    services: tuple[Clone, ...]
    resources: tuple[Primitive, ...]
    locations: tuple[Location, ...]
    orders: tuple[Order, ...]
    colocations: tuple[Colocation, ...]
    tags: tuple[Tag, ...]
    guests: tuple[Guest, ...]
    secrets: tuple[SecretValue, ...] = ()
    remote_port: int = 0
