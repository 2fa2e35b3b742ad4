"""`images:` what disks begin as."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from kvmdecl.manifest.base import Section
from kvmdecl.names import Sha256


class Image(Section):
    """A disk image, uploaded once to each pool and host that needs it."""

    shorthand = "source"

    source: Annotated[str, Field(min_length=1, max_length=4096)]
    """File, relative to the manifest that names it."""
    sha256: Sha256 | None = None
    """Digest of the file; checked before the upload, and all that `plan` needs when the file is not at hand."""
    format: Literal["qcow2", "raw"] = "qcow2"
    """Format of the file."""
