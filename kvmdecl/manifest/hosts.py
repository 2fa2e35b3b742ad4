"""`hosts:` the machines that run guests, each a libvirtd reached by a URI."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from kvmdecl.manifest.base import Section, wrong
from kvmdecl.manifest.cpus import NumberSet
from kvmdecl.names import (
    GIB,
    KIB,
    Bool,
    Form,
    Integer,
    Name,
    PciAddress,
    Positive,
    Size,
    format_size,
    parse_size,
)
from kvmdecl.uri import HostUri, parse_manifest_uri

EVENLY = "evenly"
"""In the place of a cell's number: the pages of all cells, of which each has the same share."""
_MOST = 2**32 - 1
_PageSize = Annotated[
    str, Form("[1-9][0-9]{0,4}(?:KiB|MiB|GiB)", is_not="is not a size of huge pages", example="2MiB")
]
_Cell = Annotated[str, Field(pattern=f"^({EVENLY}|0|[1-9][0-9]{{0,3}})$")]
_Where = Annotated[
    str, Field(pattern=r"^([A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?|\[[0-9a-fA-F:.]{2,45}\])$")
]
_Count = Annotated[Integer, Field(ge=0, le=_MOST)]
_PageCounts = Annotated[
    dict[_Cell, _Count],
    BeforeValidator(lambda value: value if isinstance(value, dict) else {EVENLY: value}),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0},
                {"type": "object", "additionalProperties": {"type": "integer", "minimum": 0}},
            ]
        }
    ),
]


class Ksm(Section):
    """How the host looks for equal pages of its guests. Whether it does at all, libvirt can neither say nor change."""

    pages_to_scan: Annotated[Positive, Field(le=_MOST)] | None = None
    """Pages that it looks at before it sleeps; left alone if not given."""
    sleep_millisecs: Annotated[Integer, Field(ge=0, le=_MOST)] | None = None
    """Milliseconds that it sleeps then; left alone if not given."""
    merge_across_nodes: Bool | None = None
    """Whether pages of different NUMA nodes become one; left alone if not given. It cannot change while any are."""


class Reserve(Section):
    """What a host keeps for itself; placement never gives it to a guest."""

    cpus: Annotated[Integer, Field(ge=0)] = 0
    """Host CPUs kept for the host."""
    memory: Size = 0
    """Memory kept for the host, for example `4GiB`."""


class Host(Section):
    """A KVM host."""

    shorthand = "uri"

    uri: Annotated[HostUri, BeforeValidator(parse_manifest_uri)] | None = None
    """libvirt URI, for example `qemu+tls://kvm-1.example/system` or `qemu+ssh://root@kvm-1.example/system`.

    A host that is absent may leave it out, and is then not asked whether it still has guests.
    """
    state: Literal["active", "absent"] = "active"
    """`absent` lets a host go that left the cluster for good: what it had is taken for gone."""
    reserve: Reserve = Reserve.unsaid()
    """CPUs and memory that placement leaves to the host."""
    dedicated: NumberSet | None = None
    """CPUs that vCPUs of guests may have for themselves (`"2-15,18-31"`); none if not given. All other vCPUs keep away
    from them.
    """
    overcommit: Annotated[float, Field(gt=0, le=64)] = 4
    """vCPUs that may share a CPU in each of the host's NUMA cells, at most, where guests are bound to cells."""
    labels: dict[Name, Name] = Field(default_factory=dict)
    """What vms can ask for, be kept apart by or kept together by (`{rack: r1, zone: a}`)."""
    maintenance: Bool = False
    """Put no vm on it that is not there already."""
    migration_address: _Where | None = None
    """Name or address that guests are migrated to (`10.0.9.11`), where that is not the name that the host has."""
    huge_pages: dict[_PageSize, _PageCounts] = Field(default_factory=dict)
    """Huge pages that the host sets aside, by their size: for all of its NUMA cells together (`{2MiB: 512}`), of which
    each has the same share, or for each cell (`{1GiB: {0: 8, 1: 8}}`). What is not named is left alone.
    """
    ksm: Ksm = Ksm.unsaid()
    """How the host merges equal pages of its guests."""
    sriov: dict[PciAddress, Annotated[Positive, Field(le=65_535)]] = Field(default_factory=dict)
    """How many virtual functions its cards have (`{"0000:41:00.0": 8}`). libvirt cannot make them: a plan says what to
    run on a host that has fewer."""

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.uri is None and self.state == "active":
            raise wrong("host", "a host needs a URI", "add `uri: qemu+tls://NAME/system`")
        for text, counts in self.huge_pages.items():
            _check_pages(text, counts)
        return self


def _check_pages(text: str, counts: dict[str, int]) -> None:
    size = parse_size(text)
    if size & (size - 1) or not 64 * KIB <= size <= 16 * GIB:
        hint = "write `2MiB` or `1GiB`, or what `virsh freepages` lists on the host"
        raise wrong("host", f"no host has pages of {text}", hint, "huge_pages", text)
    if format_size(size) != text:
        hint = f"write `{format_size(size)}`"
        raise wrong("host", f"{text} has a shorter name", hint, "huge_pages", text)
    if EVENLY in counts and len(counts) > 1:
        hint = f"keep `{EVENLY}`, or the cells"
        summary = "it says both how many each cell has and how many all have"
        raise wrong("host", summary, hint, "huge_pages", text)
