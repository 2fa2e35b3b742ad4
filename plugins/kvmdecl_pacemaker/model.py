"""`ha:` the manifest's section: how hosts see each other, how one is switched off, what the cluster must survive."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from kvmdecl.api import Bool, Duration, Form, HostPath, Integer, Name, Positive, Section, Size, refusal
from kvmdecl_pacemaker.secrets import is_secret

Template = Annotated[
    str,
    Form(
        r"[A-Za-z0-9_.:-]*(?:\{(?:name|n)\}[A-Za-z0-9_.:-]*)*",
        "is no address",
        "{name}-bmc.example",
    ),
    Field(min_length=1, max_length=253),
]
Address = Annotated[str, Form(r"[A-Za-z0-9_.:-]{1,253}", "is no address", "10.1.0.1")]
Agent = Annotated[str, Form("fence_[a-z0-9_]{1,60}", "is no fencing agent", "fence_ipmilan")]
OptionName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
OptionValue = Annotated[str, Field(max_length=1024, pattern=r"^[^\x00-\x1f\x7f]*$")]
Plug = Annotated[str, Form(r"[A-Za-z0-9_.,:/-]{1,64}", "is no plug", "3")]
Unit = Annotated[str, Field(pattern=r"^[A-Za-z0-9:_.@-]{1,120}$")]
Suffix = Annotated[str, Form("[a-z0-9-]{1,40}", "is no end of a host's name", "-mig")]
EnvName = Annotated[
    str, Form("KVMDECL_SECRET_[A-Z0-9_]{1,100}", "is no variable for secrets", "KVMDECL_SECRET_BMC")
]
Version = Annotated[
    str, Form(r"[23]\.[0-9]{1,2}\.[0-9]{1,2}", "is no version of Pacemaker from 2.0.5 on", "2.1.5")
]

Control = Annotated[
    str,
    Form(
        r"local|(?:[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}@)?[A-Za-z0-9_.:-]*(?:\{name\}[A-Za-z0-9_.:-]*)?",
        "leads to no host",
        "root@{name}.example",
    ),
    Field(min_length=1, max_length=253),
]
"""Whom SSH connects to."""


def _wrong(summary: str, hint: str, *at: str | int) -> PydanticCustomError:
    return refusal("ha.bad-section", summary, hint, *at)


def _one_device(value: Any) -> Any:  # noqa: ANN401 - whatever the document holds
    """A single device needs no name."""
    return {"fence": value} if isinstance(value, dict) and isinstance(value.get("agent"), str) else value


class Password(Section):
    """Where a fencing device's password is found: one of the two. It is in no file that kvmdecl writes."""

    shorthand = "script"

    script: HostPath | None = None
    """Program on every host that prints it (`password_script` of the agent)."""
    env: EnvName | None = None
    """Variable of the environment that the commands run in; Pacemaker keeps the value in files that only root reads,
    one on each host (`cibsecret`)."""

    @field_validator("script", mode="before")
    @classmethod
    def _no_password(cls, value: Any) -> Any:  # noqa: ANN401 - whatever the document holds
        if isinstance(value, str) and not value.startswith("/"):
            summary = (
                "this is no program that prints the password, and the password itself stands in no manifest"
            )
            raise _wrong(summary, "name a variable that holds it: `{env: KVMDECL_SECRET_BMC}`")
        return value

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if (self.script is None) == (self.env is None):
            summary = "it is not said where the password is found, or twice"
            raise _wrong(summary, "give one of `script` and `env`")
        return self


class FenceDevice(Section):
    """What switches hosts off: a controller in each host (`address`), or one device that all hang on (`plugs`)."""

    agent: Agent
    """Its agent (`fence_ipmilan`); `fence-agents` brings them, and `stonith_admin --list-installed` lists them."""
    address: Template | None = None
    """Address of the controller in each host: `{name}` stands for the host's name, `{n}` for the number at its end. Or
    that of the one device whose `plugs` are named."""
    addresses: dict[Name, Address] = Field(default_factory=dict)
    """Address of the controller of each host that does not fit `address`."""
    plugs: dict[Name, Plug] = Field(default_factory=dict)
    """Outlet, blade or guest of each host on the one device (`{kvm-1: 1, kvm-2: 2}`)."""
    hosts: tuple[Name, ...] | None = None
    """Hosts that it can switch off; all of them, or those of `plugs`, if not given."""
    user: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.@-]{0,63}$")] | None = None
    """Who signs in there."""
    password: Password | None = None
    """Where the password is found."""
    level: Annotated[Positive, Field(le=9)] | None = None
    """When it is tried: after those of lower levels failed, and together with others of the same one; in the order of
    the manifest if not given."""
    delay: dict[Name, Duration] = Field(default_factory=dict)
    """How long it waits before it switches a host off (`{kvm-1: 5s}`), so that two hosts do not shoot each other at
    once. In a cluster of two hosts the first has a head start if nothing is given."""
    timeout: Annotated[Duration, Field(ge=5, le=600)] = 60
    """How long switching a host off and on may take."""
    own_power: Bool = False
    """It answers when the host has lost its power. A controller in the host does not, if not given."""
    options: dict[OptionName, OptionValue] = Field(default_factory=dict)
    """Further parameters of the agent (`{lanplus: "1"}`)."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.plugs and (self.addresses or (self.address and "{" in self.address)):
            summary = "one device has plugs, and a controller in each host has an address for each"
            raise _wrong(summary, "keep `plugs`, or addresses of each host", "plugs")
        for name in self.options:
            if is_secret(name):
                raise _wrong(
                    f"`{name}` would be in the repository for all to read",
                    "say it as `password: {env: KVMDECL_SECRET_BMC}`, or name a script that prints it",
                    "options", name,
                )  # fmt: skip
        return self


class Link(Section):
    """A network on which the hosts hear each other."""

    shorthand = "address"

    address: Template | None = None
    """Address of each host: `{name}` stands for its name, `{n}` for the number at its end (`10.1.0.{n}`)."""
    addresses: dict[Name, Address] = Field(default_factory=dict)
    """Address of each host that does not fit `address`."""
    priority: Annotated[Integer, Field(ge=0, le=255)] | None = None
    """Of several links the one with the highest is used; all are alike if not given."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.address is None and not self.addresses:
            raise _wrong("a link has no addresses", "add `address: 10.1.0.{n}`")
        return self


class QuorumHost(Section):
    """A host outside of the cluster with a vote in it (corosync-qnetd)."""

    shorthand = "host"

    host: Address
    """Its address."""
    port: Annotated[Integer, Field(ge=1, le=65535)] = 5403
    """Its port."""
    algorithm: Literal["ffsplit", "lms"] = "ffsplit"
    """`ffsplit`: one vote, for one half of a cluster in two; `lms`: so many that the last host goes on alone."""
    tls: Literal["on", "required", "off"] = "required"
    """Whether they speak TLS."""


class Quorum(Section):
    """When a part of the cluster may go on."""

    shorthand = "device"

    device: QuorumHost | None = None
    """Host outside of the cluster with a vote in it (`quorum: qnetd.example`); none if not given."""
    lost: Literal["stop", "freeze", "suicide"] = "stop"
    """What a part without quorum does with its guests: `stop` them, `freeze` (start none), or fence itself
    (`suicide`)."""


class Sbd(Section):
    """Hosts that switch themselves off: a watchdog does, unless sbd on the host feeds it."""

    shorthand = "timeout"

    timeout: Annotated[Duration, Field(ge=3, le=600)] = 5
    """How long the watchdog waits."""
    devices: Annotated[tuple[HostPath, ...], Field(max_length=3)] = ()
    """Shared block devices on which hosts are told to switch themselves off; without any, losing quorum tells them."""
    watchdog: HostPath = "/dev/watchdog"
    """The watchdog."""


class Migration(Section):
    """How guests move while they run."""

    suffix: Suffix | None = None
    """What follows a host's name in that of its address on the network for memory (`-mig`); each host has to find the
    name of each other. Memory takes the way of the hosts' names if not given."""
    limit: Annotated[Positive, Field(le=100)] = 2
    """Guests that leave or enter a host at once."""
    bandwidth: Annotated[Size, Field(ge=1024 * 1024)] = 100 * 1024 * 1024
    """Bytes of memory that are moved in a second (`1GiB`); it decides how long a move may take."""
    options: Annotated[str, Field(pattern=r"^[A-Za-z0-9 =.,:/_-]{1,200}$")] | None = None
    """Further options of `virsh migrate` (`--auto-converge`)."""


class Definitions(Section):
    """Where the hosts have the definitions of the guests: one file for each, the same on every host."""

    shorthand = "pool"

    pool: Name | None = None
    """Pool of the manifest whose volumes are files."""
    path: HostPath | None = None
    """Directory on every host, or on storage that all of them see."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if (self.pool is None) == (self.path is None):
            summary = "it is not said where definitions are kept, or twice"
            raise _wrong(summary, "give one of `pool` and `path`")
        return self


class Mount(Section):
    """A file system that all hosts see, mounted where a pool has its volumes."""

    device: Annotated[str, Field(pattern=r"^[A-Za-z0-9_/.:@,=\[\]-]{1,255}$")]
    """What is mounted (`nas.example:/vms`, `/dev/disk/by-id/...`)."""
    type: Literal["nfs", "nfs4", "cifs", "glusterfs", "ceph", "gfs2", "ocfs2"]
    """File system; `gfs2` and `ocfs2` bring the lock manager that they need."""
    options: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.,=:/-]{1,200}$")] | None = None
    """Mount options (`vers=4.2,hard`)."""


class RemotePassword(Section):
    """Where the password of Pacemaker's remote access is found. It is in no file that kvmdecl writes."""

    env: EnvName
    """Variable of the environment that kvmdecl runs in."""


class RemoteAccess(Section):
    """Pacemaker's own way in for programs on other machines (`remote-tls-port`), which are then those on this one."""

    port: Annotated[Integer, Field(ge=1, le=65535)]
    """Where the hosts listen, over TLS."""
    password: RemotePassword
    """Where the password of `user` is found (`{env: KVMDECL_SECRET_CIB}`)."""
    user: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$")] = "hacluster"
    """Who signs in there, a user of the hosts in the group `haclient`."""
    address: Template | None = None
    """Address of each host: `{name}` stands for its name, `{n}` for the number at its end; that in the hosts' URIs if
    not given."""


class Ha(Section):
    """High availability: Pacemaker runs the vms that say `ha: true`, and starts them elsewhere when a host fails."""

    fencing: Annotated[dict[Name, FenceDevice], BeforeValidator(_one_device)] = Field(default_factory=dict)
    """What switches a host off that does not answer: one device (`{agent: fence_ipmilan, address: "{name}-bmc"}`), or
    several by name. Without, a guest may run twice."""
    sbd: Sbd | None = None
    """Hosts switch themselves off, too, by their watchdogs (`sbd: 5s`); not if not given."""
    survive: Annotated[Integer, Field(ge=0, le=16)] = 1
    """Hosts that may be lost at once with every guest running again, but those of `best_effort`."""
    recover_within: Annotated[Duration, Field(ge=10)] | None = None
    """How long a guest may be away when its host fails, until it starts to boot elsewhere."""
    links: Annotated[tuple[Link, ...], Field(max_length=8)] = ()
    """Networks on which the hosts hear each other (`[10.1.0.{n}, 10.2.0.{n}]`), on switches of their own. One, of
    the addresses in the hosts' URIs, if not given."""
    mounts: dict[Name, Mount] = Field(default_factory=dict)
    """File systems that Pacemaker mounts on every host, by the pool whose directory they are; a pool that is mounted by
    the hosts or by libvirt is not among them."""
    quorum: Quorum = Quorum.unsaid()
    """When a part of the cluster may go on."""
    migration: Migration = Migration.unsaid()
    """How guests move while they run."""
    definitions: Definitions | None = None
    """Where the hosts have the guests' definitions (`definitions: vms`, a pool; `{path: /srv/ha}`); in the one pool of
    files that all hosts get if not given."""
    locks: Literal["lockd", "sanlock", "none"] = "lockd"
    """What keeps a disk from being opened on two hosts (`lock_manager` in qemu.conf)."""
    services: tuple[Unit, ...] | None = None
    """Units of systemd that a host has to run for its guests; `[libvirtd]`, with `virtlockd` for `locks: lockd`, if not
    given. Pacemaker watches them, and starts those that fail again."""
    stickiness: Annotated[Integer, Field(ge=0, le=1_000_000)] = 1000
    """How much a guest stays where it is when another host would do as well."""
    failures: Annotated[Positive, Field(le=1000)] = 3
    """Times that a guest is started again on a host before another one is tried."""
    forget_failures: Annotated[Duration, Field(ge=60)] = 600
    """After how long without a further one failures are forgotten."""
    token: Annotated[Duration, Field(ge=1, le=120)] | None = None
    """How long a host of two may be silent before it is missed, longer with more hosts; 3s if not given."""
    config_version: Positive = 1
    """Number of corosync.conf's version: raise it with every change of links, quorum and hosts, so that no host joins
    with an old one."""
    node_ids: dict[Name, Annotated[Integer, Field(ge=1, le=65535)]] = Field(default_factory=dict)
    """corosync's number of each host, which never changes; made of the number at the end of its name, or of the name,
    if not given."""
    control: Control | None = None
    """How Pacemaker's programs are run on the hosts, to read and to change its configuration: whom SSH connects to
    (`root@{name}.example`), or `local`. As the hosts' URIs say if not given (`qemu+ssh://`)."""
    remote: RemoteAccess | None = None
    """Another way to read and change its configuration: by its own remote access, with Pacemaker's programs on this
    machine (`remote: {port: 9898, password: {env: KVMDECL_SECRET_CIB}}`), in the place of `control`."""
    pacemaker: Version = "2.1.0"
    """Oldest Pacemaker among the hosts (`pacemakerd --version`)."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.control is not None and self.remote is not None:
            raise _wrong(
                "it is said twice how Pacemaker is reached", "give one of `control` and `remote`", "remote"
            )
        return self
