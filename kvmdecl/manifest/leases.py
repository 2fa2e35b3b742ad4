"""`leases:` of a vm: locks of the hosts' lock manager, which no two guests hold at once."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from kvmdecl.manifest.base import Section
from kvmdecl.names import Form, HostPath, Size

LeaseName = Annotated[str, Form(r"[A-Za-z0-9_:-]{1,48}", "is no name of a lease", "data")]
Lockspace = Annotated[str, Form(r"[A-Za-z0-9_.:-]{1,48}", "is no name of a lockspace", "cluster-1")]


class Lease(Section):
    """A lock that the guest holds while it runs, so that a disk that several hosts see has one user.

    Whoever does not get it does not start.
    """

    lockspace: Lockspace
    """The lock manager's group of hosts (sanlock's lockspace)."""
    path: HostPath
    """File or block device that the lock is in; all hosts see it, and it has to be there."""
    offset: Annotated[Size, Field(le=2**32 - 1)] = 0
    """Where in it the lock begins (`2MiB`)."""
