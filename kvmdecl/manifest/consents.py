"""A file of consents: deletions that somebody agreed to, each in one plan, reviewed like code."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from kvmdecl.manifest.base import Section
from kvmdecl.manifest.rules import Reason
from kvmdecl.names import Form

_Address = Annotated[
    str, Form(r"[A-Za-z0-9._-]{1,128}/[a-z]{1,16}/[^\x00-\x20]{1,300}", "names no object", "kvm-1/domain/db")
]


class ConsentEntry(Section):
    """A deletion that somebody agreed to."""

    allow: _Address
    """The object, as the plan names it: `HOST/KIND/NAME`."""
    plan: Annotated[str, Form("[0-9a-f]{12}", "is no digest of a plan", "3f9a2c10d4e5")]
    """Digest of the plan that was looked at."""
    by: Annotated[str, Form(r"\S.{0,99}", "does not say who agrees", "alice")]
    """Who agrees to it."""
    why: Reason
    """Why."""


class ConsentFile(Section):
    """Deletions that were agreed to (`apply --consents FILE`)."""

    api_version: Literal["kvmdecl/v1"] = Field(alias="apiVersion")
    """Version of this format: `kvmdecl/v1`."""
    consents: tuple[ConsentEntry, ...] = ()
    """The deletions."""
