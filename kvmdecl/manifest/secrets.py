"""`secrets:` values that are never in the manifest, only where they are found."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from kvmdecl.manifest.base import Section, wrong
from kvmdecl.names import Bool, Form

ENV_PREFIX = "KVMDECL_SECRET_"
"""What a variable's name begins with: who runs kvmdecl says by it that a manifest may have the value."""

EnvName = Annotated[
    str,
    Form(rf"{ENV_PREFIX}[A-Z0-9_]{{1,100}}", "is no variable for secrets", f"{ENV_PREFIX}DB"),
]
SecretFile = Annotated[
    str,
    Field(max_length=1024),
    Form(r"[^/\x00-\x1f][^\x00-\x1f]*", "is no path in the manifest's folder", "secrets/db"),
]
Version = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$")]


class SecretValue(Section):
    """Where a value is found when it is set: one of the two."""

    env: EnvName | None = None
    """Variable of the environment that kvmdecl runs in; its name begins with `KVMDECL_SECRET_`."""
    file: SecretFile | None = None
    """File in the folder of the manifest that names it, or below. One line end at its end is not part of the value."""
    encoding: Literal["text", "base64"] = "text"
    """`base64`: what is found is decoded first, as the key of a Ceph user has to be."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if (self.env is None) == (self.file is None):
            raise wrong(
                "secret", "it is not said where the value is found, or twice", "give one of `env` and `file`"
            )
        if self.file is not None and ".." in self.file.split("/"):
            raise wrong("secret", "the file is outside of the manifest's folder", "move it there", "file")
        return self


class Secret(Section):
    """A libvirt secret, put onto the hosts that need it. Its value is read when it is set, and never shown or kept."""

    usage: Literal["volume", "ceph", "iscsi", "vtpm", "cloud-init"]
    """What it is for: encrypted volumes, users of Ceph or of iSCSI targets, the state of emulated TPMs. Those
    for `cloud-init` are no secrets of libvirt's, but written into the seeds of the vms that name them."""
    value: SecretValue
    """Where its value is found."""
    version: Version = "1"
    """Any word; another one sets the value again. Not for `volume` and `vtpm`: what they opened would stay shut."""
    ephemeral: Bool = False
    """Keep it in the host's memory only; it is gone when libvirt's daemon restarts, until the next apply."""
    state: Literal["active", "absent"] = "active"
    """`absent` plans its deletion, once nothing uses it. Without its value, what it opened stays shut."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.usage == "cloud-init" and self.ephemeral:
            raise wrong("secret", "a seed is no memory of the host", "leave `ephemeral` out", "ephemeral")
        return self
