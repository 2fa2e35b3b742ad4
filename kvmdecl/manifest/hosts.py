"""`hosts:` the machines that run guests, each a libvirtd reached by a URI."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from kvmdecl.manifest.base import Section, wrong
from kvmdecl.names import Integer, Size
from kvmdecl.uri import HostUri, parse_manifest_uri


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
    reserve: Reserve = Reserve()
    """CPUs and memory that placement leaves to the host."""

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.uri is None and self.state == "active":
            raise wrong("host", "a host needs a URI", "add `uri: qemu+tls://NAME/system`")
        return self
