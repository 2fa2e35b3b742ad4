"""`policies:` what a plan must not do, or not without being told of it: written by who reviews plans."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from kvmdecl.manifest.base import Section, wrong
from kvmdecl.manifest.limits import Amount
from kvmdecl.manifest.rules import Day, Reason
from kvmdecl.names import Form, Name

_KINDS = "host|secret|pool|nwfilter|network|volume|domain|cluster|[*]"
_Object = Annotated[
    str, Form(f"({_KINDS})/[A-Za-z0-9*?._/+:@-]{{1,256}}", "names no object of a plan", "domain/db-*")
]
_Names = Annotated[str, Form("[A-Za-z0-9*?._-]{1,128}", "is no name", "db-*")]
_Key = Annotated[str, Form(r"[A-Za-z0-9*?._/\[\]@ -]{1,200}", "is no key of the manifest", "cpus.*")]
_WEEKDAY = "(mon|tue|wed|thu|fri|sat|sun)"
_Days = Annotated[
    str, Form(f"{_WEEKDAY}(-{_WEEKDAY})?(,{_WEEKDAY}(-{_WEEKDAY})?)*", "names no days of the week", "mon-fri")
]
_Time = Annotated[str, Form("([01][0-9]|2[0-3]):[0-5][0-9]|24:00", "is no time of the day", "18:00")]


class PolicyWindow(Section):
    """Hours of some days."""

    days: _Days = "mon-sun"
    """Days of the week (`mon-fri`, `sat,sun`)."""
    from_: _Time = Field("00:00", alias="from")
    """When it begins (`"08:00"`)."""
    to: _Time = "24:00"
    """When it ends (`"18:00"`); on the next day, if that is not later than `from`."""
    zone: Annotated[str, Field(pattern=r"^[A-Za-z0-9_+/-]{1,64}$")] = "UTC"
    """Time zone, as the IANA names it (`Europe/Berlin`)."""

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.zone != "UTC":
            from zoneinfo import ZoneInfo  # few manifests need it

            try:
                ZoneInfo(self.zone)
            except (OSError, ValueError, KeyError):  # ZoneInfoNotFoundError is a KeyError
                hint = "write its name as the IANA does, `Europe/Berlin`; the package tzdata has them"
                raise wrong("policy", f"no time zone {self.zone} is known here", hint, "zone") from None
        return self


class PolicyWaiver(Section):
    """Objects that a policy lets pass for now. It is an error once its day is over."""

    on: Annotated[tuple[_Object, ...], Field(min_length=1)]
    """Which: `KIND/NAME`; `*` stands for any letters (`[domain/db-old]`)."""
    until: Day
    """The last day on which it is accepted."""
    reason: Reason
    """Why, for who reads it a year later."""


class Policy(Section):
    """What a plan must not do. It is about what fits all keys that it says."""

    deny: Reason | None = None
    """Nothing of a plan that does it is carried out; the text is the reason, for who is denied something."""
    warn: Reason | None = None
    """A plan that does it says so; the text is the reason."""
    objects: tuple[_Object, ...] = ()
    """Objects, as `KIND/NAME`: `[domain/db-*, "volume/vms/*"]`; `*` stands for any letters. All if not given."""
    vms: tuple[_Names, ...] = ()
    """Guests, by name or entry, with the disks that are made for them (`[db, web-*]`)."""
    hosts: tuple[_Names, ...] = ()
    """Hosts (`[kvm-1, edge-*]`)."""
    labels: dict[Name, _Names] = Field(default_factory=dict)
    """Labels of hosts (`{tier: prod}`)."""
    actions: tuple[Literal["create", "adopt", "update", "move", "delete"], ...] = ()
    """What is done (`[delete, move]`)."""
    impact: Literal["metadata", "live", "next-boot", "restart", "migrate", "downtime", "data-loss"] | None = (
        None
    )
    """The least of what it does to a running guest: `restart` is also about what is worse."""
    fields: tuple[_Key, ...] = ()
    """Keys that change, as the plan names them (`[cpus.*, memory.size]`)."""
    more_than: Amount = "0"
    """How many objects may be so: a number, or a share of those that there are (`20%`)."""
    during: PolicyWindow | None = None
    """The only time in which it holds (`{days: mon-fri, from: "08:00", to: "18:00"}`). `plan` tells of it, and `apply`
    looks at the clock."""
    outside: PolicyWindow | None = None
    """The only time in which it does not hold."""
    waive: tuple[PolicyWaiver, ...] = ()
    """What is accepted for now, each with a reason and a last day."""

    @model_validator(mode="after")
    def _one_effect(self) -> Self:
        if (self.deny is None) == (self.warn is None):
            summary = "it neither denies nor warns" if self.deny is None else "it denies and warns"
            hint = (
                "say one of `deny:` and `warn:`, with the reason: `deny: databases are deleted by their team`"
            )
            raise wrong("policy", summary, hint, *(() if self.deny is None else ("warn",)))
        if not self.said - {"deny", "warn", "waive", "during", "outside"}:
            hint = "say what it is about: `objects`, `vms`, `hosts`, `labels`, `actions`, `impact`, `fields`"
            raise wrong("policy", "it is about everything", hint)
        return self


class PluginWaiver(PolicyWaiver):
    """Objects that a policy of a plugin lets pass for now. It is an error once its day is over."""

    policy: Name
    """The policy, by the name that its plugin gave it."""


class PolicyFile(Section):
    """Policies in a file of their own, for any number of clusters (`--policies FILE`)."""

    api_version: Literal["kvmdecl/v1"] = Field(alias="apiVersion")
    """Version of this format: `kvmdecl/v1`."""
    policies: dict[Name, Policy] = Field(default_factory=dict)
    """Policies by name."""
    waive: tuple[PluginWaiver, ...] = ()
    """What policies of plugins let pass for now, each with a reason and a last day."""
