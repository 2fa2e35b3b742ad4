"""A plan: what will change on which host, in which order, what that does to a running guest, and why."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from kvmdecl.diagnostics import Diagnostic, Span
from kvmdecl.policy import NO_POLICIES, Policies, Ruling
from kvmdecl.state import Address, Kind, Member
from kvmdecl.takeover import Proof
from kvmdecl.tasks import (
    ConfigureManager,
    CreateVolume,
    DeleteDefinition,
    MoveDomain,
    ResizeVolume,
    Task,
    WriteDefinition,
)

_DIGEST = 12  # hex digits
GateOption = str | tuple[str, ...]
"""A value that a manifest gives to a gate."""


class Action(StrEnum):
    """What happens to an object; the values are the marks that users read."""

    CREATE = "create"
    ADOPT = "adopt"
    UPDATE = "update"
    MOVE = "move"
    DELETE = "delete"

    @property
    def mark(self) -> str:
        """The one-character mark in a text plan."""
        return {"create": "+", "adopt": "=", "update": "~", "move": ">", "delete": "-"}[self]


class Impact(IntEnum):
    """What a change does to a running guest, ordered by severity, and that order is relied on.

    NONE: nothing runs that could notice. METADATA: only kvmdecl's marker. LIVE: the guest sees it now, without
    interruption. NEXT_BOOT: it takes effect when the guest (or network) next starts. RESTART: it is restarted.
    MIGRATE: it goes on on another host, and stands still for a moment on the way.
    DOWNTIME: it stops. DATA_LOSS: data are destroyed.
    """

    NONE = 0
    METADATA = 1
    LIVE = 2
    NEXT_BOOT = 3
    RESTART = 4
    MIGRATE = 5
    DOWNTIME = 6
    DATA_LOSS = 7

    @property
    def word(self) -> str:
        """As users read it: `next-boot`, `data-loss`."""
        return self.name.lower().replace("_", "-")


def _impact_from_word(value: object) -> object:
    return next((impact for impact in Impact if impact.word == value), value)


# In a saved plan an impact is its word, so that the file reads as the text view does.
ImpactField = Annotated[
    Impact,
    BeforeValidator(_impact_from_word),
    PlainSerializer(lambda impact: impact.word),
    WithJsonSchema({"type": "string", "enum": [impact.word for impact in Impact]}),
]


class ChangeOrigin(StrEnum):
    """What made the difference. DRIFT: not the manifest, which says what it said when it was last applied.

    Where that is not known (how large a volume was declared the last time), it is put down to the manifest.
    """

    MANIFEST = "manifest"
    DRIFT = "drift"


@dataclass(frozen=True, slots=True)
class Change:
    """One field that differs.

    Attributes:
        field: path in the object's definition, for example `devices/disk[data]/driver@cache`.
        key: the manifest's word for it, for example `disks.data.cache`.
        before: observed value; None if it is not there yet.
        after: declared value; None if it goes away.
        impact: what it does to a running guest.
        how: the libvirt function that makes the change.
        why: why the impact is no smaller, or why the field changes at all, where that is not plain.
        at: where the manifest says it.
        origin: whether the manifest changed, or the host.
    """

    field: str
    key: str
    before: str | None
    after: str | None
    impact: ImpactField
    how: str
    why: str = ""
    at: Span | None = None
    origin: ChangeOrigin = ChangeOrigin.MANIFEST


@dataclass(frozen=True, slots=True)
class Step:
    """One object's change on one host; the unit that is applied, refused or reported.

    `precondition` is the fingerprint of the object when the plan was made; if it moved, the step is refused. A guest
    that moves to another host has its step there, and is at `seat` before.
    `after` are the addresses of the steps that must be done first.
    """

    address: Address
    action: Action
    impact: ImpactField
    changes: tuple[Change, ...]
    summary: str
    precondition: str
    task: Task
    after: tuple[Address, ...] = ()
    at: Span | None = None

    @property
    def seat(self) -> Address:
        """Where the object is that the step is about, before it is carried out."""
        if isinstance(self.task, MoveDomain):
            return Address(self.task.source, Kind.DOMAIN, self.task.name)
        return self.address

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts that it changes."""
        return tuple(dict.fromkeys((self.address.host, self.seat.host)))

    @property
    def guest(self) -> str:
        """The guest that it is part of making or changing, and that must not be elsewhere meanwhile; empty for none."""
        if isinstance(self.task, CreateVolume):
            return self.task.owner
        return self.address.name if self.address.kind is Kind.DOMAIN else ""

    @property
    def vm(self) -> str:
        """The vm that it is about, empty for none: also that of a disk that grows, and of a manager's definition."""
        if isinstance(self.task, ResizeVolume | WriteDefinition | DeleteDefinition):
            return self.task.owner
        return self.guest

    @property
    def deletions(self) -> tuple[str, ...]:
        """What it takes away for good, by the names that consent is given with."""
        if isinstance(self.task, ConfigureManager):
            return tuple(f"{self.address.host}/vm/{name}" for name in self.task.deletes)
        return (str(self.address),) if self.action is Action.DELETE else ()


class HostStatus(StrEnum):
    """Whether a host's part of the plan is whole."""

    OK = "ok"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class PlannedHost:
    """A host of the manifest.

    `uri` is empty when planned from files. `frozen` are objects left alone as unknown. `machine` is the UUID of the
    machine that answered, empty if it told none. `noted` says whether the host remembers all members already. `cells`
    are its NUMA cells as far as they are known, `labels` what the manifest says of it.
    """

    name: str
    uri: str
    status: HostStatus
    reason: str = ""
    frozen: tuple[str, ...] = ()
    machine: str = ""
    noted: bool = True
    cells: tuple[int, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)


class Fate(StrEnum):
    """What becomes of a guest that a cluster manager runs. LIVE: it goes on, and something of it changes meanwhile."""

    NONE = "none"
    LIVE = "live"
    START = "start"
    MIGRATE = "migrate"
    RESTART = "restart"
    STOP = "stop"

    @property
    def impact(self) -> Impact:
        """What that does to it."""
        return _FATES[self]


_FATES = {
    Fate.NONE: Impact.NONE,
    Fate.LIVE: Impact.LIVE,
    Fate.START: Impact.NONE,
    Fate.MIGRATE: Impact.MIGRATE,
    Fate.RESTART: Impact.RESTART,
    Fate.STOP: Impact.DOWNTIME,
}


@dataclass(frozen=True, slots=True)
class Prospect:
    """What becomes of one guest when a cluster manager is given its configuration, as the manager's scheduler says.

    Attributes:
        vm: its name.
        fate: what becomes of it.
        source: the host that it is on now, empty if none.
        dest: the host that it is on afterwards, empty if none.
        why: as the scheduler says it; may be empty.
        at: where the manifest says it.
    """

    vm: str
    fate: Fate
    source: str = ""
    dest: str = ""
    why: str = ""
    at: Span | None = None


@dataclass(frozen=True, slots=True)
class PlannedManager:
    """A cluster manager that runs vms of the manifest.

    `host` told its configuration, `reason` says why nobody did. `way` is how its hosts are reached, empty for their
    URIs. `prospects` are what becomes of each guest that it
    runs, or shall run, when the plan is carried out; empty if it is told nothing new.
    """

    name: str
    status: HostStatus
    host: str = ""
    reason: str = ""
    prospects: tuple[Prospect, ...] = ()
    way: str = ""


@dataclass(frozen=True, slots=True)
class Wave:
    """Hosts whose steps are done before those of the next wave begin. Its gates ask the `guests` that should run."""

    name: str
    hosts: tuple[str, ...]
    guests: tuple[Address, ...] = ()


@dataclass(frozen=True, slots=True)
class PlannedGate:
    """What has to hold after each wave before the next begins.

    Attributes:
        check: what looks, by the name that a plugin gave it.
        options: what the manifest says to it.
        vms: the only guests that are asked; all of the wave if empty.
        hold: seconds for which it has to hold without interruption.
        timeout: seconds after which it is not waited for any longer.
        every: seconds between two looks.
    """

    check: str
    options: Mapping[str, GateOption]
    vms: tuple[str, ...]
    hold: int
    timeout: int
    every: int


@dataclass(frozen=True, slots=True)
class Rollout:
    """How a plan is carried out over the hosts, each of which is in one wave.

    A step belongs to the wave of its host (a move to the later one of its two), or to a later one if it waits for a
    step of that. `max_parallel` hosts are worked on at once, None for no bound. `max_migrations` guests are moved from
    or to a host at once. `max_unavailable` guests of an entry are down at once, for which steps wait for each other;
    None for no bound. If something fails on more than `max_failed` hosts, no further step begins; those that did not
    answer are counted. `gates` have to hold after each wave.
    """

    waves: tuple[Wave, ...]
    max_parallel: int | None
    max_failed: int
    gates: tuple[PlannedGate, ...] = ()
    max_migrations: int = 1
    max_unavailable: int | None = None


@dataclass(frozen=True, slots=True)
class PlannedLimit:
    """A limit of the manifest, and how near the plan comes to it where it comes nearest.

    Attributes:
        key: below `limits`, for example `restarts.total` or `data.written`; or `rollout.max_unavailable`, which guests
            of a cluster manager cannot keep to one after the other.
        amount: what the manifest, or its default, says: `5`, `20%`, `1TiB`.
        where: the part of the cluster that it is counted in (` on kvm-1`), empty for all of it.
        count: objects, guests or bytes that the plan is about there.
        most: as many as may be.
        at: where the manifest says it.
    """

    key: str
    amount: str
    where: str
    count: int
    most: int
    at: Span | None = None

    @property
    def exceeded(self) -> bool:
        """Whether the plan goes beyond it."""
        return self.count > self.most


@dataclass(frozen=True, slots=True)
class PlannedGuest:
    """A vm of the manifest where it is in the end. Steps do not tell of guests that stay as they are; pictures do.

    `memory` in bytes. `cells` are the NUMA cells of its host that it is bound to, `cells_before` those that it was.
    """

    host: str
    name: str
    cpus: int
    memory: int
    cells: tuple[int, ...] = ()
    cells_before: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Selection:
    """A part of a plan that somebody chose.

    Attributes:
        by: how, in the words of options: `--host kvm-1`.
        needed: steps that were not chosen, and that chosen ones stand on.
        left_out: steps that are not in it; of a host that would be let go `HOST/host/membership`.
    """

    by: tuple[str, ...]
    needed: tuple[Address, ...] = ()
    left_out: tuple[Address, ...] = ()


class Owner(StrEnum):
    """Whose an undeclared field is. LIBVIRT: it was so right after the last apply. OTHERS: somebody changed it since.

    UNKNOWN: how the object was then is not known.
    """

    LIBVIRT = "libvirt"
    OTHERS = "others"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class ForeignField:
    """A field that no manifest declares. `before` is what it was at the last apply, `after` what it is."""

    field: str
    owner: Owner
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class ForeignObject:
    """What nobody declares of an object, or an object that nobody declares.

    Attributes:
        address: of the object.
        ours: whether the cluster made it; another one has no `fields`.
        declared: how many fields the manifest declares.
        fields: those that it does not.
    """

    address: Address
    ours: bool
    declared: int = 0
    fields: tuple[ForeignField, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """The whole answer. `unchanged` counts the objects that are as declared already.

    `blocked` are objects that cannot be brought to what is declared, each with the reason; `notes` are warnings and
    things worth knowing (objects of ours that the manifest no longer names). `exceeded` are limits of the manifest that
    it goes beyond; then nothing of it may be carried out. `members` are the hosts that every host
    shall remember before anything is made, `let_go` those that it shall forget. `foreign` is what
    nobody declares, if it was asked for; nothing is done about it. `rollout` is None where the manifest has none.
    `managers` are the cluster managers whose configuration was read, or should have been. `limits` are those of the
    manifest that the plan is counted against, `guests` the vms that are known to have a host. `proofs` tell what
    cluster managers do when hosts are lost afterwards: any single one, and as many as the manifest says. `policies`
    are those it is held against besides those of plugins, `rulings` what came of it. `selection` says what it leaves
    out, where somebody chose a part of it. `warnings` are those that were found on the way to it.
    """

    cluster: str
    revision: str
    hosts: tuple[PlannedHost, ...]
    steps: tuple[Step, ...]
    unchanged: int
    blocked: tuple[Diagnostic, ...] = ()
    notes: tuple[Diagnostic, ...] = ()
    members: tuple[Member, ...] = ()
    let_go: tuple[Member, ...] = ()
    foreign: tuple[ForeignObject, ...] = ()
    rollout: Rollout | None = None
    exceeded: tuple[Diagnostic, ...] = ()
    managers: tuple[PlannedManager, ...] = ()
    limits: tuple[PlannedLimit, ...] = ()
    guests: tuple[PlannedGuest, ...] = ()
    proofs: tuple[Proof, ...] = ()
    policies: Policies = NO_POLICIES
    rulings: tuple[Ruling, ...] = ()
    selection: Selection | None = None
    warnings: tuple[Diagnostic, ...] = ()

    @property
    def digest(self) -> str:
        """Tells this plan from those that do something else; consent is given to it. Another version gives another."""
        acts = [(s.address, s.action, s.impact, s.precondition, s.task, s.after) for s in self.steps]
        return hashlib.sha256(repr((self.cluster, acts)).encode()).hexdigest()[:_DIGEST]

    @property
    def silent(self) -> tuple[str, ...]:
        """Names of the hosts that did not answer."""
        return tuple(host.name for host in self.hosts if host.status is HostStatus.UNREACHABLE)

    @property
    def denied(self) -> tuple[str, ...]:
        """Names of the policies by which nothing of it may be carried out."""
        return tuple(dict.fromkeys(ruling.policy for ruling in self.rulings if ruling.denies))

    @property
    def empty(self) -> bool:
        """Whether there is nothing to apply."""
        return not self.steps and not self.let_go

    @property
    def settled(self) -> bool:
        """Whether nothing is left to do, in what it leaves out neither."""
        return self.empty and not (self.selection and self.selection.left_out)

    @property
    def complete(self) -> bool:
        """Whether every host answered, and every cluster manager."""
        states = [*(host.status for host in self.hosts), *(manager.status for manager in self.managers)]
        return all(status is HostStatus.OK for status in states)
