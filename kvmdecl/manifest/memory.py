"""`vms.NAME.memory`, `numa` and `balloon`: the guest's memory, and what the host takes it from."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from kvmdecl.manifest.base import Section
from kvmdecl.manifest.base import wrong as _wrong
from kvmdecl.manifest.cpus import NumberSet
from kvmdecl.names import GIB, KIB, MIB, Bool, Size, format_size

PAGE_SIZES = (2 * MIB, GIB)
"""Huge pages of x86_64."""


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
        self._check_limits()
        return self

    def _check_pages(self) -> None:
        if self.pages is None:
            return
        if self.pages not in PAGE_SIZES:
            raise _wrong("memory", "there are no pages of this size", "write `2MiB` or `1GiB`", "pages")
        if self.most % self.pages:
            what, page = format_size(self.most), format_size(self.pages)
            hint = "choose a multiple, or smaller pages"
            raise _wrong("memory", f"{what} are not a whole number of pages of {page}", hint, "pages")
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


class Numa(Section):
    """Which memory of the host the guest's is taken from."""

    shorthand = "nodeset"

    nodeset: NumberSet
    """NUMA nodes of the host (`"0"`, `"0-1"`)."""
    mode: Literal["strict", "preferred", "interleave", "restrictive"] = "strict"
    """`strict`: from there or not at all; `preferred`: from there as long as it lasts; `interleave`: from each in turn;
    `restrictive`: the host's cgroups see to it."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.mode == "preferred" and not self.nodeset.isdecimal():
            raise _wrong("numa", "only one node can be preferred", "name one, or use `strict`", "nodeset")
        return self


class Balloon(Section):
    """virtio memory balloon."""

    shorthand = "enabled"

    enabled: Bool = True
    """Whether there is one."""
    free_page_reporting: Bool = False
    """Give memory that the guest does not use back to the host."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.free_page_reporting and not self.enabled:
            summary, hint = "it is the balloon that reports free pages", "leave `enabled: false` out"
            raise _wrong("balloon", summary, hint, "free_page_reporting")
        return self
