"""`storage:` pools on the hosts, and `images:` what disks begin as."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from kvmdecl.manifest.base import Section
from kvmdecl.names import Bool, Name, PoolPath, Sha256, Text


class Pool(Section):
    """A libvirt storage pool, on each host that `hosts` names."""

    shorthand = "path"

    type: Literal["dir"] = "dir"
    """Kind of pool: `dir`, a directory."""
    path: PoolPath
    """Directory on the host; made if it is missing."""
    autostart: Bool = True
    """Start the pool with its host."""
    hosts: tuple[Name, ...] | None = None
    """Hosts that get it; all of them if not given."""
    xml: Text | None = None
    """libvirt XML laid over the definition, for what no key names; elements find their place by identity."""
    state: Literal["active", "absent"] = "active"
    """`absent` plans its deletion; the files in it stay."""


class Image(Section):
    """A disk image, uploaded once to each pool and host that needs it."""

    shorthand = "source"

    source: Annotated[str, Field(min_length=1, max_length=4096)]
    """File, relative to the manifest that names it."""
    sha256: Sha256 | None = None
    """Digest of the file; checked before the upload, and all that `plan` needs when the file is not at hand."""
    format: Literal["qcow2", "raw"] = "qcow2"
    """Format of the file."""
