"""`rules:` which of the field's known pitfalls are looked for, and which are accepted, by whom and until when."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from kvmdecl.manifest.base import Section, wrong
from kvmdecl.names import Form

RuleName = Annotated[
    str, Form("[a-z]+([.][a-z0-9-]+)?|advice|all", "is no rule and no group of rules", "cpu.overcommit")
]
"""A rule (`network.open-console`), a group of them (`network`), all advice (`advice`), or `all`; or a question of the
doctor (`doctor.ksm`)."""
_Subject = Annotated[
    str,
    Form(
        "(vm|host|network|pool)/[A-Za-z0-9*?._-]{1,128}|cluster", "names nothing of the manifest", "vm/web-*"
    ),
]


_Names = Annotated[str, Form("[A-Za-z0-9*?._-]{1,128}", "is no name of a vm", "db-*")]
Workload = Literal["web", "database", "latency", "gpu", "windows", "vdi"]
"""What a guest is for: serve the web, keep data, answer at once, compute on a GPU, run Windows, be a desktop."""


def _date(value: object) -> date:
    try:
        return date.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        raise wrong("rules", "it is no day of the calendar", "write it as `2027-01-31`") from None


Day = Annotated[date, BeforeValidator(_date), WithJsonSchema({"type": "string", "format": "date"})]
Reason = Annotated[str, Field(min_length=3, max_length=400)]
"""Why, in a sentence."""


class Waiver(Section):
    """A finding that is accepted for now. It is an error once its day is over."""

    rule: RuleName
    """The rule that is not followed."""
    on: Annotated[tuple[_Subject, ...], Field(min_length=1)]
    """By whom: `vm/NAME`, `host/NAME`, `network/NAME` or `pool/NAME`; `*` stands for any letters (`[vm/web-*]`).
    `cluster` is all hosts together (`kvmdecl doctor`)."""
    until: Day
    """The last day on which it is accepted."""
    reason: Reason
    """Why, for who reads it a year later."""


class RulesSection(Section):
    """Which rules hold for this cluster."""

    tenancy: Literal["single", "shared"] = "single"
    """`shared`: guests belong to people who need not trust each other, which more rules are about."""
    workloads: dict[_Names, Workload] = Field(default_factory=dict)
    """What guests are for, by names in which `*` stands for any letters (`{db-*: database}`): more is looked for then,
    and `kvmdecl advise` proposes it."""
    select: tuple[RuleName, ...] = ()
    """Rules and groups that are looked for besides those that always are, such as `advice`."""
    ignore: tuple[RuleName, ...] = ()
    """Rules and groups that do not hold here."""
    waive: tuple[Waiver, ...] = ()
    """Findings that are accepted for now, each with a reason and a last day."""
    baseline: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    """File with the findings that were there before the rules were (`kvmdecl rules --write-baseline`); they are not
    shown again. Relative to the manifest's file."""
