"""`vms.NAME.cpus`: virtual CPUs, what the guest sees of them, and how the host runs them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from kvmdecl.manifest.base import Section
from kvmdecl.manifest.base import wrong as _wrong
from kvmdecl.names import Bool, Integer, Positive, Size, parse_bool, parse_integer

Label = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.+-]{1,64}$")]
_VcpuNumber = Annotated[str, Field(pattern=r"^(0|[1-9][0-9]{0,3})$")]
_Microseconds = Annotated[Positive, Field(ge=1_000, le=1_000_000)]
_Quota = Annotated[Positive, Field(ge=1_000, le=17_592_186_044_415)]

_RANGE = re.compile(r"(0|[1-9]\d{0,4})(?:-(0|[1-9]\d{0,4}))?", re.ASCII)
_SET_PATTERN = r"^[0-9]{1,5}(-[0-9]{1,5})?(,[0-9]{1,5}(-[0-9]{1,5})?)*$"

HOST_MODELS = ("host-model", "host-passthrough", "maximum")
"""Modes of libvirt in which the host or the hypervisor says what the CPU is, not a named model."""

BASELINE = "baseline"
"""The CPU that all hosts can show on which the vm may run; each plan finds it anew."""
_V2: tuple[str, ...] = ()  # Nehalem has cx16, lahf_lm, popcnt, pni, sse4.1, sse4.2 and ssse3
_V3 = ("abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe", "xsave")
_V4 = ("avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl")
LEVEL_MODEL = "Nehalem"
"""The model that levels begin from: the oldest with all of x86-64-v2, and with nothing that AMD's CPUs lack."""
LEVELS: Mapping[str, tuple[str, ...]] = {"x86-64-v2": _V2, "x86-64-v3": _V3, "x86-64-v4": (*_V3, *_V4)}
"""Levels of the x86-64 psABI, which no model of libvirt is called by: what each has beyond `LEVEL_MODEL`."""


def numbers_of(numbers: str) -> frozenset[int]:
    """The numbers in a set such as `0-3,8`."""
    parts = (part.partition("-") for part in numbers.split(","))
    return frozenset(n for low, _, high in parts for n in range(int(low), int(high or low) + 1))


def in_order(numbers: str) -> tuple[int, ...]:
    """The same as they are written: `0-1,32-33` -> 0, 1, 32, 33."""
    parts = (part.partition("-") for part in numbers.split(","))
    return tuple(n for low, _, high in parts for n in range(int(low), int(high or low) + 1))


def _parse_set(value: object) -> str:
    if isinstance(value, str):
        found = [_RANGE.fullmatch(part) for part in value.split(",")]
        if all(m is not None and int(m[1]) <= int(m[2] or m[1]) for m in found):
            return value
    context = {"shown": f"`{value}`" if isinstance(value, str) else "the value here"}
    context |= {"hint": "write for example `4-7` or `0,2,8-11`", "cause": ""}
    raise PydanticCustomError("manifest.bad-value", "{shown} is not a set of numbers", context)


NumberSet = Annotated[
    str, BeforeValidator(_parse_set), WithJsonSchema({"type": "string", "pattern": _SET_PATTERN})
]


EACH = "each"
"""In the place of a vCPU's number: CPUs of which each vCPU has one."""
_Pins = Annotated[
    dict[Annotated[str, Field(pattern=f"^({EACH}|0|[1-9][0-9]{{0,3}})$")], NumberSet],
    BeforeValidator(lambda value: value if isinstance(value, dict) else {EACH: value}),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": _SET_PATTERN},
                {"type": "object", "additionalProperties": {"type": "string", "pattern": _SET_PATTERN}},
            ]
        }
    ),
]


class Topology(Section):
    """How the vCPUs are arranged; the product of the numbers is the greatest number of vCPUs."""

    sockets: Positive = 1
    """Sockets."""
    dies: Positive = 1
    """Dies of each socket."""
    cores: Positive = 1
    """Cores of each die."""
    threads: Positive = 1
    """Threads of each core."""

    @property
    def product(self) -> int:
        """Number of vCPUs that there are places for."""
        return self.sockets * self.dies * self.cores * self.threads


class Scheduler(Section):
    """How the host's kernel schedules threads (sched(7))."""

    shorthand = "policy"

    policy: Literal["fifo", "rr", "batch", "idle"]
    """`fifo`, `rr`: realtime, before all ordinary threads of the host. `batch`, `idle`: after them."""
    priority: Annotated[Integer, Field(ge=1, le=99)] | None = None
    """Priority among realtime threads; 1 if not given."""
    only: NumberSet | None = None
    """Numbers of the vCPUs (or I/O threads) that it is for (`"2-7"`); all of them if not given."""

    @property
    def is_realtime(self) -> bool:
        """Whether threads go before ordinary ones, and have a priority."""
        return self.policy in {"fifo", "rr"}

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.priority is not None and not self.is_realtime:
            hint = "leave it out, or use `fifo` or `rr`"
            raise _wrong("cpus", f"threads of policy {self.policy} have no priority", hint, "priority")
        return self


class CacheShare(Section):
    """A part of the host's CPU cache that vCPUs have for themselves (Intel CAT, resctrl)."""

    vcpus: NumberSet
    """Numbers of the vCPUs that share it."""
    size: Size
    """Size, for example `3MiB`: what the host's granularity and minimum allow."""
    level: Literal["2", "3"] = "3"
    """Level of the cache."""
    bank: Annotated[Integer, Field(ge=0, le=4095)] = 0
    """Number of the host's bank of cache (`kvmdecl facts` lists them)."""
    type: Literal["both", "code", "data"] = "both"
    """What it caches."""

    @property
    def of_what(self) -> tuple[str | int, ...]:
        """What it is a share of."""
        return self.level, self.bank, self.type


class BandwidthShare(Section):
    """A part of the host's memory bandwidth that vCPUs may use (Intel MBA, resctrl)."""

    vcpus: NumberSet
    """Numbers of the vCPUs that share it."""
    percent: Annotated[Integer, Field(ge=1, le=100)]
    """Part of the bandwidth."""
    node: Annotated[Integer, Field(ge=0, le=4095)] = 0
    """Number of the host's memory controller."""

    @property
    def of_what(self) -> tuple[str | int, ...]:
        """What it is a share of."""
        return (self.node,)


def _bits(value: Any) -> int | str:  # noqa: ANN401 - whatever the document holds
    return "host" if value == "host" else parse_integer(value)


_AddressBits = Annotated[
    Literal["host"] | Annotated[int, Field(ge=32, le=64)],
    BeforeValidator(_bits),
    PlainSerializer(str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": "^(host|3[2-9]|[45][0-9]|6[0-4])$"}),
]


def _nested(value: Any) -> bool | Literal["host"]:  # noqa: ANN401 - whatever the document holds
    return "host" if value == "host" else parse_bool(value)


Nested = Annotated[
    Literal["host"] | bool,
    BeforeValidator(_nested),
    WithJsonSchema({"anyOf": [{"type": "boolean"}, {"const": "host"}]}),
]


class Cpus(Section):
    """Virtual CPUs."""

    shorthand = "count"

    count: Positive = 1
    """vCPUs that the guest has now."""
    max: Positive | None = None
    """vCPUs that it can be given while it runs; `count` if not given."""
    model: Label | None = None
    """`host-model`, `host-passthrough`, `maximum`, `baseline` (what all hosts can show on which the vm may run), a
    level (`x86-64-v2`, `-v3`, `-v4`) that is the same on Intel and AMD, or a named model such as `EPYC-Rome` (default
    `host-model`)."""
    vendor: Literal["Intel", "AMD", "Hygon"] | None = None
    """For a named model: only a host with CPUs of this vendor may run the guest."""
    match: Literal["exact", "minimum", "strict"] | None = None
    """For a named model: `exact` shows the guest just that, `minimum` also what else the host has, `strict` runs on
    hosts that have nothing else; `exact` if not given."""
    fallback: Literal["forbid", "allow"] | None = None
    """For a named model: whether a host that lacks it may show another; `forbid` if not given."""
    check: Literal["none", "partial", "full"] | None = None
    """How libvirt compares, before it starts the guest, what was asked for with what the host can do."""
    migratable: Bool | None = None
    """For `host-passthrough` and `maximum`: leave out what would not survive a migration."""
    cache: Literal["emulate", "passthrough", "disable"] | None = None
    """What the guest is told of the CPU's cache; `passthrough` for `host-passthrough` and `maximum` only."""
    address_bits: _AddressBits | None = None
    """Bits of a physical address: a number, or `host` (`host-passthrough` only); the hypervisor's choice if not
    given."""
    topology: Topology | None = None
    """Sockets, dies, cores and threads (`{sockets: 1, cores: 4, threads: 2}`); a socket for each vCPU if not given."""
    features: dict[Label, Literal["require", "disable", "optional", "force", "forbid"]] = Field(
        default_factory=dict
    )
    """Features of the CPU by name, on top of the model (`{pdpe1gb: require, vmx: disable}`)."""
    nested: Nested = False
    """Whether a KVM guest can run guests of its own: `true` shows it vmx or svm where the host has them, `false` hides
    them, `host` leaves it to the CPU model (`host-model` shows what the host has)."""
    shares: Annotated[Positive, Field(ge=2, le=262_144)] | None = None
    """Weight against other guests when CPUs are short: from 2 with cgroups v1 (usually 1024), to 10000 with v2."""
    period: _Microseconds | None = None
    """Microseconds in which each vCPU may use `quota`."""
    quota: _Quota | None = None
    """Microseconds that each vCPU may run in a `period`; no limit if not given."""
    emulator_period: _Microseconds | None = None
    """Microseconds in which QEMU's other threads may use `emulator_quota`."""
    emulator_quota: _Quota | None = None
    """Microseconds that QEMU's other threads may run in an `emulator_period`; no limit if not given."""
    global_period: _Microseconds | None = None
    """Microseconds in which the whole of QEMU may use `global_quota`."""
    global_quota: _Quota | None = None
    """Microseconds that the whole of QEMU may run in a `global_period`; no limit if not given."""
    iothread_period: _Microseconds | None = None
    """Microseconds in which each I/O thread may use `iothread_quota`."""
    iothread_quota: _Quota | None = None
    """Microseconds that each I/O thread may run in an `iothread_period`; no limit if not given."""
    policy: Literal["shared", "dedicated", "mixed"] = "shared"
    """`dedicated`: each vCPU has a CPU of the host for itself, out of those that the host sets aside, and the guest's
    memory is beside them; placement chooses. `mixed`: the vCPUs in `dedicated` have, the others float."""
    dedicated: NumberSet | None = None
    """For `mixed`: vCPUs that have a CPU for themselves (`"2-7"`)."""
    threads: Literal["prefer", "isolate", "require"] | None = None
    """How dedicated vCPUs use the threads of cores: `require` pairs of them, `isolate` keeps the other threads of a
    core idle, `prefer` uses pairs where it can; `prefer` if not given."""
    emulator: Literal["float", "share", "isolate"] | None = None
    """For dedicated vCPUs, where QEMU's other threads run: `float` where the vCPUs do, `share` on CPUs that the host
    does not set aside, `isolate` on a CPU of their own; `float` if not given."""
    iothreads_dedicated: Bool = False
    """For dedicated vCPUs: whether each I/O thread has a CPU for itself, too."""
    pins: _Pins = Field(default_factory=dict)
    """CPUs of the host that a vCPU runs on, by the vCPU's number (`{0: "4-7", 1: "4-7"}`); or as many as there are
    vCPUs, of which each has one, in their order (`"4-7"`, `"4,36,5,37"`)."""
    emulator_pin: NumberSet | None = None
    """CPUs of the host that QEMU's other threads run on (`"0-1"`)."""
    iothread_pins: dict[_VcpuNumber, NumberSet] = Field(default_factory=dict)
    """CPUs of the host that an I/O thread runs on, by the thread's number, from 1 (`{1: "2-3"}`)."""
    scheduler: Scheduler | None = None
    """How the vCPUs are scheduled (`{policy: fifo, priority: 1, only: "2-7"}` for realtime); as ordinary threads if
    not given."""
    emulator_scheduler: Scheduler | None = None
    """How QEMU's other threads are scheduled."""
    iothread_scheduler: Scheduler | None = None
    """How the I/O threads are scheduled."""
    cache_shares: tuple[CacheShare, ...] = ()
    """Parts of the host's cache for vCPUs (`[{vcpus: "0-3", size: 3MiB}]`)."""
    bandwidth_shares: tuple[BandwidthShare, ...] = ()
    """Parts of the host's memory bandwidth for vCPUs (`[{vcpus: "0-3", percent: 60}]`)."""

    @property
    def is_named(self) -> bool:
        """Whether the CPU is a named model or a level, and no host's own."""
        return self.model is not None and self.model not in HOST_MODELS

    @property
    def pinned(self) -> dict[int, str]:
        """CPUs of the host by the number of each vCPU that is pinned, in order."""
        if EACH in self.pins:
            return {vcpu: str(cpu) for vcpu, cpu in enumerate(in_order(self.pins[EACH]))}
        return {int(number): self.pins[number] for number in sorted(self.pins, key=int)}

    @property
    def is_dedicated(self) -> bool:
        """Whether placement gives vCPUs a CPU of the host for themselves."""
        return self.policy != "shared"

    @property
    def most(self) -> int:
        """Number of vCPUs that the guest can be given."""
        return self.max or self.count

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.max is not None and self.max < self.count:
            summary = f"max ({self.max}) is below count ({self.count})"
            raise _wrong("cpus", summary, "raise `max` or lower `count`", "max")
        if self.topology is not None and self.topology.product != self.most:
            summary = f"the topology has places for {self.topology.product} vCPUs, and there are {self.most}"
            hint = "sockets x dies x cores x threads is `max`, or `count` where there is no `max`"
            raise _wrong("cpus", summary, hint, "topology")
        self._check_model()
        self._check_policy()
        self._check_pins()
        self._check_schedulers()
        self._check_shares()
        return self

    def _check_policy(self) -> None:
        for key in ("threads", "emulator", "iothreads_dedicated"):
            if key in self.said and not self.is_dedicated:
                hint = "add `policy: dedicated`, or leave it out"
                raise _wrong("cpus", f"{key} is about dedicated vCPUs, and there are none", hint, key)
        for key in ("pins", "emulator_pin", "iothread_pins"):
            if key in self.said and self.is_dedicated:
                hint = "leave it out, or leave `policy` out and pin all of them yourself"
                raise _wrong("cpus", "placement chooses the CPUs of dedicated vCPUs", hint, key)
        if (self.dedicated is not None) != (self.policy == "mixed"):
            summary = "`mixed` and the vCPUs that are `dedicated` go together"
            hint = 'write for example `{policy: mixed, dedicated: "2-7"}`'
            raise _wrong("cpus", summary, hint, "policy" if self.dedicated is None else "dedicated")
        if self.dedicated is not None:
            self._check_numbers(self.dedicated, "dedicated")
            if len(numbers_of(self.dedicated)) == self.most:
                hint = "write `policy: dedicated`"
                raise _wrong("cpus", "all vCPUs are dedicated, and none floats", hint, "dedicated")

    def _check_model(self) -> None:
        if re.fullmatch("x86-64-v[0-9]+", self.model or "") and self.model not in LEVELS:
            hint = f"levels are {', '.join(sorted(LEVELS))}"
            raise _wrong("cpus", f"there is no level {self.model}", hint, "model")
        for key in ("vendor", "match", "fallback"):
            if getattr(self, key) is not None and not self.is_named:
                hint = "leave it out, or name a model"
                raise _wrong("cpus", f"{key} is about a named model, and there is none", hint, key)
        own = self.model in {"host-passthrough", "maximum"}
        for key, value in (("migratable", self.migratable), ("cache", self.cache == "passthrough" or None)):
            if value is not None and not own:
                summary = f"{key} is for host-passthrough and maximum only"
                raise _wrong("cpus", summary, "leave it out, or use `model: host-passthrough`", key)
        if self.address_bits == "host" and self.model != "host-passthrough":
            hint = "write a number, or use `model: host-passthrough`"
            raise _wrong(
                "cpus", "the host's address bits are for host-passthrough only", hint, "address_bits"
            )
        for name in ("vmx", "svm"):
            if self.nested is True and name in self.features:
                summary = f"both `nested` and the feature {name} are given"
                raise _wrong("cpus", summary, "keep one of them", "features", name)

    def _check_pins(self) -> None:
        if EACH in self.pins:
            self._check_each()
        for number in self.pins:
            if number != EACH and int(number) >= self.most:
                summary = f"there is no vCPU {number}: they are numbered from 0 to {self.most - 1}"
                raise _wrong("cpus", summary, "leave it out, or raise `max`", "pins", number)
        if "0" in self.iothread_pins:
            hint = "number them from 1"
            raise _wrong("cpus", "there is no I/O thread 0", hint, "iothread_pins", "0")

    def _check_each(self) -> None:
        if len(self.pins) > 1:
            raise _wrong("cpus", f"both `{EACH}` and single vCPUs are given", "keep one of them", "pins")
        cpus = in_order(self.pins[EACH])
        if len(cpus) != self.most or len(set(cpus)) != len(cpus):
            summary = f"{len(set(cpus))} different CPUs are named, and there are {self.most} vCPUs"
            hint = "name one for each vCPU, or say `{0: ..., 1: ...}`"
            raise _wrong("cpus", summary, hint, "pins")

    def _check_schedulers(self) -> None:
        if self.emulator_scheduler is not None and self.emulator_scheduler.only is not None:
            summary, hint = "QEMU's other threads have no numbers", "leave `only` out"
            raise _wrong("cpus", summary, hint, "emulator_scheduler", "only")
        numbered = self.scheduler.only if self.scheduler else None
        self._check_numbers(numbered, "scheduler", "only")

    def _check_numbers(self, numbers: str | None, *at: str | int) -> None:
        if numbers is not None and max(numbers_of(numbers)) >= self.most:
            summary = f"there are not all of the vCPUs {numbers}: they are numbered from 0 to {self.most - 1}"
            raise _wrong("cpus", summary, "leave those out that there are not, or raise `max`", *at)

    def _check_shares(self) -> None:
        """Sets of vCPUs with shares of their own are the same or have none in common (virResctrl)."""
        known: list[str] = []
        cached: set[tuple[object, ...]] = set()
        for section in ("cache_shares", "bandwidth_shares"):
            for index, share in enumerate(getattr(self, section)):
                at = (section, index, "vcpus")
                self._check_numbers(share.vcpus, *at)
                mine = numbers_of(share.vcpus)
                for other in known:
                    if mine & numbers_of(other) and mine != numbers_of(other):
                        summary = (
                            f"the vCPUs {share.vcpus} and {other} have some in common, and are not the same"
                        )
                        raise _wrong("cpus", summary, "give each vCPU to one set", *at)
                known.append(share.vcpus)
                what = (mine, section, *share.of_what)
                if what in cached:
                    summary = f"the vCPUs {share.vcpus} have a share of that already"
                    raise _wrong("cpus", summary, "give them one", section, index)
                cached.add(what)
