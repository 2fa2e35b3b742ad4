"""`vms.NAME.memory` and `balloon`: the guest's memory, and what the host takes it from."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from kvmdecl.manifest.base import Section
from kvmdecl.manifest.base import wrong as _wrong
from kvmdecl.manifest.cpus import NumberSet
from kvmdecl.manifest.numa import PAGE_SIZES
from kvmdecl.names import KIB, MIB, Bool, Duration, HostPath, Integer, Positive, Size, format_size

SLOTS = 16
"""Places for modules, if not given."""
ModuleName = Annotated[str, Field(pattern="^[a-z0-9][a-z0-9-]{0,19}$")]


class MemoryModule(Section):
    """Memory that is plugged into the guest, and can be while it runs."""

    shorthand = "size"

    model: Literal["dimm", "virtio-mem", "nvdimm"] = "dimm"
    """`dimm`: all of it at once. `virtio-mem`: as much of it as is `requested`. `nvdimm`: persistent, in a file."""
    size: Size
    """Its size; for `virtio-mem` the most that it can be."""
    requested: Size | None = None
    """For `virtio-mem`: how much of it the guest has, changed while it runs; all of it if not given."""
    block: Size | None = None
    """For `virtio-mem`: in which steps it grows and shrinks; `2MiB` (or the size of its pages) if not given."""
    cell: Annotated[Integer, Field(ge=0, le=127)] = 0
    """Number of the guest's NUMA cell that it belongs to."""
    pages: Size | None = None
    """Huge pages of the host that it is made of; as the guest's other memory if not given."""
    nodeset: NumberSet | None = None
    """NUMA nodes of the host that it is taken from; as the guest's other memory if not given."""
    path: HostPath | None = None
    """For `nvdimm`: the file or device of the host that keeps what is in it."""
    label: Size | None = None
    """For `nvdimm`: part of it for labels of namespaces, at least `128KiB`."""

    @property
    def steps(self) -> int:
        """Bytes in which virtio-mem grows and shrinks: at least a page, as the kernel's huge pages."""
        return self.block or max(2 * MIB, self.pages or 0)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for key, model in (
            ("requested", "virtio-mem"),
            ("block", "virtio-mem"),
            ("path", "nvdimm"),
            ("label", "nvdimm"),
        ):
            if getattr(self, key) is not None and self.model != model:
                hint = f"leave it out, or use `model: {model}`"
                raise _wrong("memory", f"a {self.model} has no {key}", hint, key)
        for key in ("pages", "nodeset"):
            if getattr(self, key) is not None and self.model == "nvdimm":
                raise _wrong("memory", f"an nvdimm has no {key}: it is its file", "leave it out", key)
        if self.model == "nvdimm" and self.path is None:
            raise _wrong("memory", "an nvdimm needs the file that keeps it", "add `path: /srv/NAME.nvdimm`")
        if self.size % MIB or not self.size:
            raise _wrong("memory", "size is not a whole number of MiB from 1", "write `1GiB`", "size")
        if self.pages is not None and (self.pages not in PAGE_SIZES or self.size % self.pages):
            hint = "write `2MiB` or `1GiB`, and a size that is a multiple of it"
            raise _wrong("memory", "it is not made of whole pages of this size", hint, "pages")
        if self.label is not None and not 128 * KIB <= self.label < self.size:
            raise _wrong("memory", "labels take from 128KiB to less than its size", "write `128KiB`", "label")
        self._check_steps()
        return self

    def _check_steps(self) -> None:
        if self.model != "virtio-mem":
            return
        least = max(2 * MIB, self.pages or 0)
        if self.steps & (self.steps - 1) or self.steps < least:
            hint = f"write a power of two from `{format_size(least)}`"
            raise _wrong("memory", "it cannot grow in such steps", hint, "block")
        for key in ("size", "requested"):
            if (getattr(self, key) or 0) % self.steps:
                summary = f"{key} is not a whole number of blocks of {format_size(self.steps)}"
                raise _wrong("memory", summary, "choose a multiple", key)
        if self.requested is not None and self.requested > self.size:
            raise _wrong("memory", "requested is more than its size", "raise `size`", "requested")


class Memory(Section):
    """Memory of the guest."""

    shorthand = "size"

    size: Size = 1024**3
    """Memory that the guest has now, for example `4GiB`."""
    max: Size | None = None
    """Memory that it can be given while it runs; `size` if not given."""
    pages: Size | None = None
    """Huge pages of the host that it is made of: `2MiB` or `1GiB`; ordinary memory if not given."""
    source: Literal["anonymous", "memfd", "file"] | None = None
    """What it is allocated as; the hypervisor's choice if not given."""
    allocation: Literal["immediate", "ondemand"] | None = None
    """`immediate`: all of it when the guest starts, `ondemand`: when the guest touches it; `ondemand` if not given."""
    allocation_threads: Annotated[Positive, Field(le=1024)] | None = None
    """Threads that allocate it, for `immediate`."""
    discard: Bool = False
    """Drop what is in it, and do not write it to its file, when the guest ends."""
    access: Literal["private", "shared"] | None = None
    """Whether other processes of the host may share it, as vhost-user and virtiofs need."""
    locked: Bool = False
    """Never let the host swap it out."""
    ksm: Bool = True
    """Whether the host may merge it with equal pages of other guests."""
    hard_limit: Size | None = None
    """Memory of the host that the whole of QEMU may use; beyond it the host kills the guest."""
    soft_limit: Size | None = None
    """Memory of the host to which QEMU is pushed back when memory is short."""
    swap_hard_limit: Size | None = None
    """Memory and swap together that QEMU may use."""
    hotplug_max: Size | None = None
    """Memory that it can have with what is plugged in; needed for that, and fixed while it runs."""
    slots: Annotated[Positive, Field(le=256)] | None = None
    """Places for `dimm` and `nvdimm` modules; 16 if not given."""
    modules: dict[ModuleName, MemoryModule] = Field(default_factory=dict)
    """Memory that is plugged in, by name (`{extra: 4GiB}`), beside `size`."""

    @property
    def most(self) -> int:
        """Bytes that the guest can be given."""
        return self.max or self.size

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for key, value in (("size", self.size), ("max", self.max)):
            if value is not None and (value % MIB or not value):
                hint = "write for example `512MiB` or `4GiB`"
                raise _wrong("memory", f"{key} is not a whole number of MiB from 1", hint, key)
        if self.max is not None and self.max < self.size:
            raise _wrong("memory", "max is below size", "raise `max` or lower `size`", "max")
        self._check_pages()
        self._check_allocation()
        self._check_hotplug()
        self._check_limits()
        return self

    def _check_allocation(self) -> None:
        if self.allocation_threads is not None and self.allocation != "immediate":
            hint = "add `allocation: immediate`, or leave it out"
            raise _wrong("memory", "nothing is allocated beforehand", hint, "allocation_threads")

    def _check_hotplug(self) -> None:
        """Memory grows through its balloon or by modules: the balloon's numbers know nothing of single modules."""
        for key in ("slots", "modules"):
            if getattr(self, key) and self.hotplug_max is None:
                summary = "nothing is plugged into a guest that has no `hotplug_max`"
                raise _wrong("memory", summary, "add `hotplug_max`: all that it shall ever have", key)
        if self.hotplug_max is None:
            return
        if self.most > self.size:
            hint = "leave `max` out; `modules` make the guest's memory more"
            raise _wrong("memory", "`max` and `hotplug_max` are two ways to more memory", hint, "max")
        plugged = sum(module.size for module in self.modules.values())
        if self.hotplug_max % MIB or self.hotplug_max < self.size + plugged:
            summary = f"the guest has {format_size(self.size + plugged)} with what is plugged in"
            raise _wrong("memory", summary, "write at least that, in whole MiB", "hotplug_max")
        in_slots = sum(module.model != "virtio-mem" for module in self.modules.values())
        if in_slots > (self.slots or SLOTS):
            summary = f"there are {in_slots} modules for {self.slots or SLOTS} slots"
            raise _wrong("memory", summary, "raise `slots`", "slots" if self.slots else "modules")

    def _check_pages(self) -> None:
        if self.pages is None:
            return
        if self.pages not in PAGE_SIZES:
            raise _wrong("memory", "there are no pages of this size", "write `2MiB` or `1GiB`", "pages")
        if self.most % self.pages:
            what, page = format_size(self.most), format_size(self.pages)
            hint = "choose a multiple, or smaller pages"
            raise _wrong("memory", f"{what} are not a whole number of pages of {page}", hint, "pages")
        if self.allocation == "ondemand":
            hint = "leave `allocation` out, or use ordinary memory"
            raise _wrong("memory", "huge pages are taken when the guest starts", hint, "allocation")
        if self.source == "anonymous":
            hint = "use `memfd`, or leave `source` out"
            raise _wrong("memory", "huge pages are never anonymous memory", hint, "source")

    def _check_limits(self) -> None:
        for key in ("hard_limit", "soft_limit", "swap_hard_limit"):
            value = getattr(self, key)
            if value is not None and (value % KIB or not value):
                raise _wrong("memory", f"{key} is not a whole number of KiB from 1", "write `8GiB`", key)
        if self.hard_limit is not None and self.hard_limit <= self.most:
            hint = "leave QEMU room beside the guest's memory, or leave the limit out"
            summary = "hard_limit is not above the guest's own memory: the host would kill the guest"
            raise _wrong("memory", summary, hint, "hard_limit")
        if self.swap_hard_limit is None:
            return
        if self.hard_limit is None:
            hint = "add `hard_limit`"
            raise _wrong("memory", "swap_hard_limit counts from hard_limit on", hint, "swap_hard_limit")
        if self.swap_hard_limit < self.hard_limit:
            hint = "swap_hard_limit is memory and swap together: raise it"
            raise _wrong("memory", "swap_hard_limit is below hard_limit", hint, "swap_hard_limit")


class Balloon(Section):
    """virtio memory balloon."""

    shorthand = "enabled"

    enabled: Bool = True
    """Whether there is one."""
    free_page_reporting: Bool = False
    """Give memory that the guest does not use back to the host."""
    autodeflate: Bool = False
    """Take memory back from the balloon before the guest runs out of it."""
    stats_period: Annotated[Duration, Field(ge=1, le=86400)] | None = None
    """How often the guest tells how it uses its memory (`10s`); only when asked to if not given."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for key, does in (
            ("free_page_reporting", "reports free pages"),
            ("autodeflate", "gives memory back"),
            ("stats_period", "tells how memory is used"),
        ):
            if getattr(self, key) and not self.enabled:
                raise _wrong("balloon", f"it is the balloon that {does}", "leave `enabled: false` out", key)
        return self
