"""`limits:` how much one plan may delete, restart, move and write before it is refused as a whole."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from kvmdecl.manifest.base import Section
from kvmdecl.names import Form, Name, Size

Amount = Annotated[str, Form(r"[0-9]{1,6}|(?:100|[0-9]{1,2})%", "is no number and no share", "20%")]
"""A number (`10`), or a share of what the cluster has there (`20%`), rounded down, but at least 1 unless it is `0%`."""


class _Parts(Section):
    """Bounds for parts of a cluster, each held against what is in that part."""

    shorthand = "total"

    host: Amount | None = None
    """On one host."""
    entry: Amount | None = None
    """Of the vms of one entry (`count`)."""
    label: dict[Name, Amount] = Field(default_factory=dict)
    """On the hosts that say the same of a label (`{rack: 1}`)."""


class DeleteLimit(_Parts):
    """How many objects may be deleted: guests, networks, pools, filters, secrets, volumes."""

    total: Amount = "10"
    """In the whole cluster."""


class GuestLimit(_Parts):
    """To how many guests something may be done."""

    total: Amount = "50"
    """In the whole cluster."""


class DataLimit(Section):
    """How many bytes may be written and deleted, by the capacity of volumes."""

    written: Annotated[Size, Field(ge=0)] = 10 << 40
    """Uploaded and copied into new volumes (`10TiB`)."""
    deleted: Annotated[Size, Field(ge=0)] = 1 << 40
    """Deleted with volumes, also by `destroy` (`1TiB`)."""


class Limits(Section):
    """How much one plan may do; what is beyond is refused as a whole, and only the manifest raises it."""

    deletes: DeleteLimit = DeleteLimit.unsaid()
    """Objects that are deleted (`deletes: 5`)."""
    restarts: GuestLimit = GuestLimit.unsaid()
    """Guests that are restarted or shut down (`restarts: {total: 20%, label: {rack: 1}}`)."""
    migrations: GuestLimit = GuestLimit.unsaid()
    """Guests that move to another host."""
    data: DataLimit = DataLimit.unsaid()
    """Bytes that are written and deleted."""
