"""`vms.NAME.cpus`: virtual CPUs, what the guest sees of them, and how the host runs them."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from kvmdecl.manifest.base import Section
from kvmdecl.manifest.base import wrong as _wrong
from kvmdecl.names import Bool, Positive

Label = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.+-]{1,64}$")]
_VcpuNumber = Annotated[str, Field(pattern=r"^(0|[1-9][0-9]{0,3})$")]
_Microseconds = Annotated[Positive, Field(ge=1_000, le=1_000_000)]
_Quota = Annotated[Positive, Field(ge=1_000, le=17_592_186_044_415)]

_RANGE = re.compile(r"(0|[1-9]\d{0,4})(?:-(0|[1-9]\d{0,4}))?", re.ASCII)
_SET_PATTERN = r"^[0-9]{1,5}(-[0-9]{1,5})?(,[0-9]{1,5}(-[0-9]{1,5})?)*$"

LEVELS = {
    "x86-64-v1": "qemu64",
    "x86-64-v2": "Nehalem",
    "x86-64-v3": "Haswell-noTSX",
    "x86-64-v4": "Skylake-Server-noTSX-IBRS",
}
"""Levels of the x86-64 psABI, which no model of libvirt is called by, and a model that has all of each."""


def numbers_of(numbers: str) -> frozenset[int]:
    """The numbers in a set such as `0-3,8`."""
    parts = (part.partition("-") for part in numbers.split(","))
    return frozenset(n for low, _, high in parts for n in range(int(low), int(high or low) + 1))


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


class Cpus(Section):
    """Virtual CPUs."""

    shorthand = "count"

    count: Positive = 1
    """vCPUs that the guest has now."""
    max: Positive | None = None
    """vCPUs that it can be given while it runs; `count` if not given."""
    model: Label | None = None
    """`host-model`, `host-passthrough`, `maximum`, or a named model such as `EPYC-Rome` (default `host-model`)."""
    topology: Topology | None = None
    """Sockets, dies, cores and threads (`{sockets: 1, cores: 4, threads: 2}`); a socket for each vCPU if not given."""
    features: dict[Label, Literal["require", "disable", "optional", "force", "forbid"]] = Field(
        default_factory=dict
    )
    """Features of the CPU by name, on top of the model (`{pdpe1gb: require, vmx: disable}`)."""
    nested: Bool | None = None
    """Whether the guest can run guests of its own: `true` shows it vmx or svm where the host has them, `false` hides
    them; the model decides if not given."""
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
    pins: dict[_VcpuNumber, NumberSet] = Field(default_factory=dict)
    """CPUs of the host that a vCPU runs on, by the vCPU's number (`{0: "4-7", 1: "4-7"}`)."""
    emulator_pin: NumberSet | None = None
    """CPUs of the host that QEMU's other threads run on (`"0-1"`)."""

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
        self._check_pins()
        return self

    def _check_model(self) -> None:
        if self.model in LEVELS:
            hint = f"`{LEVELS[self.model]}` has all of it; `kvmdecl facts` lists the models of a host"
            raise _wrong("cpus", f"libvirt knows no model {self.model}", hint, "model")
        for name in ("vmx", "svm"):
            if self.nested is not None and name in self.features:
                summary = f"both `nested` and the feature {name} are given"
                raise _wrong("cpus", summary, "keep one of them", "features", name)

    def _check_pins(self) -> None:
        for number in self.pins:
            if int(number) >= self.most:
                summary = f"there is no vCPU {number}: they are numbered from 0 to {self.most - 1}"
                raise _wrong("cpus", summary, "leave it out, or raise `max`", "pins", number)
