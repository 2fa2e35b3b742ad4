"""`migration:` how a running guest gets to another host."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from kvmdecl.manifest.base import Section, wrong
from kvmdecl.names import MIB, Bool, Duration, Positive, Size


class Migration(Section):
    """How the guest gets to another host while it runs (virDomainMigrate3)."""

    shorthand = "mode"

    mode: Literal["pre-copy", "post-copy"] = "pre-copy"
    """`pre-copy`: it runs where it was until all is copied. `post-copy`: after one round it runs on its new host and
    fetches what is missing: it arrives in any case, and is lost if the network or a host fails meanwhile."""
    control: Literal["client", "hosts"] = "client"
    """Who leads: the machine that applies, which reaches both hosts anyway, or the hosts among themselves (peer to
    peer). The latter need to reach each other's libvirt at the URIs of the manifest; then a migration goes on while
    that machine dies."""
    auto_converge: Bool = False
    """Slow the guest down if it changes its memory faster than that can be copied."""
    bandwidth: Annotated[Size, Field(ge=MIB)] | None = None
    """Bytes in a second at most (`100MiB`); libvirt's own bound if not given."""
    max_downtime: Annotated[Positive, Field(le=2_000_000)] | None = None
    """Milliseconds that it may stand still at the end, at most; QEMU's own choice if not given."""
    timeout: Annotated[Duration, Field(ge=1, le=86_400)] = 3600
    """How long it may take (`10m`)."""
    on_timeout: Literal["abort", "suspend", "post-copy"] = "abort"
    """What happens then: it stays where it was, it is halted so that the copy gets done, or the rest is fetched from
    its new host."""
    parallel: Annotated[Positive, Field(le=255)] | None = None
    """Connections that its memory is copied through; one if not given."""
    compressed: Bool = False
    """Copy what changed of a page and not the whole page (XBZRLE)."""
    tls: Bool = False
    """Encrypt what is copied; both hosts need certificates for QEMU (`migrate_tls_x509_cert_dir` of `qemu.conf`)."""

    left: Literal["keep", "delete"] = "keep"
    """What becomes of disks that were copied, on the host that it left: they stay, or plans delete them once it is
    elsewhere, each with consent by name."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.parallel is not None and "post-copy" in {self.mode, self.on_timeout}:
            summary = "QEMU fetches what is missing through one connection"
            raise wrong("migration", summary, "leave `parallel` out, or copy before", "parallel")
        if self.parallel is not None and self.compressed:
            summary = "QEMU compresses what goes through one connection only"
            raise wrong("migration", summary, "keep `parallel` or `compressed`", "compressed")
        return self
