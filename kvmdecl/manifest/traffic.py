"""How much traffic may pass, and of which VLANs: said of NICs, of networks and of their port groups."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from kvmdecl.manifest.base import Section, wrong
from kvmdecl.names import KIB, Bool, Integer, Size


class Rate(Section):
    """A limit of the traffic in one direction."""

    shorthand = "average"

    average: Size
    """Bytes per second in the long run, for example `10MiB`."""
    peak: Size | None = None
    """Bytes per second at most."""
    burst: Size | None = None
    """Bytes that may be sent at the peak."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for key in ("average", "peak", "burst"):
            value = getattr(self, key)
            if value is not None and (value % KIB or not value):
                raise wrong(
                    "nic", f"{key} is not a whole number of KiB from 1", "write for example `10MiB`", key
                )
        if self.peak is not None and self.peak < self.average:
            raise wrong("nic", "the peak is below the average", "raise `peak` or lower `average`", "peak")
        return self


class Bandwidth(Section):
    """Limits of the traffic, as the guest sees its directions."""

    inbound: Rate | None = None
    """What the guest receives."""
    outbound: Rate | None = None
    """What the guest sends."""


VlanId = Annotated[Integer, Field(ge=1, le=4094)]


def one_or_several(value: Any) -> Any:  # noqa: ANN401 - whatever the document holds
    """A list of what may also be written alone."""
    return value if isinstance(value, (list, tuple)) else (value,)


class Vlan(Section):
    """VLANs of a port."""

    shorthand = "tags"

    tags: Annotated[
        tuple[VlanId, ...],
        BeforeValidator(one_or_several),
        Field(min_length=1),
        WithJsonSchema(
            {
                "anyOf": [
                    {"type": "integer", "minimum": 1, "maximum": 4094},
                    {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 4094}},
                ]
            }
        ),
    ]
    """The VLAN that the guest is in without knowing (`42`), or those that it may speak to with tags of its own."""
    trunk: Bool | None = None
    """Let the guest tag frames itself; so it is with several tags if not given."""
    native: VlanId | None = None
    """The one of several VLANs that frames without a tag belong to."""
    native_mode: Literal["untagged", "tagged"] = "untagged"
    """Whether frames of that VLAN reach the guest with its tag."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if len(set(self.tags)) < len(self.tags):
            raise wrong("vlan", "a tag is there twice", "write it once", "tags")
        if self.trunk is False and len(self.tags) > 1:
            raise wrong("vlan", "several tags are a trunk", "drop `trunk`, or keep one tag", "trunk")
        if self.native is not None and self.native not in self.tags:
            raise wrong("vlan", f"VLAN {self.native} is not among the tags", "add it to `tags`", "native")
        if self.native is not None and not self.is_trunk:
            raise wrong("vlan", "only a trunk has a native VLAN", "add `trunk: true`", "native")
        return self

    @property
    def is_trunk(self) -> bool:
        """Whether the guest tags frames itself."""
        return self.trunk is True or len(self.tags) > 1
