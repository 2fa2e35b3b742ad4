"""`hosts:` the machines that run guests, each a libvirtd reached by a URI."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from kvmdecl.manifest.base import Section
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

    uri: Annotated[HostUri, BeforeValidator(parse_manifest_uri)]
    """libvirt URI, for example `qemu+tls://kvm-1.example/system` or `qemu+ssh://root@kvm-1.example/system`."""
    reserve: Reserve = Reserve()
    """CPUs and memory that placement leaves to the host."""
