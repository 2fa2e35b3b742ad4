"""What all manifest models share: frozen, strict about keys, and a scalar form where one key says it all."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError


class Section(BaseModel):
    """A mapping of the manifest.

    A subclass that sets `shorthand` may be written as the bare value of that key: `memory: 8GiB` is
    `memory: {size: 8GiB}`. One meaning, two spellings; everything after loading sees the long one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    shorthand: ClassVar[str | None] = None

    @model_validator(mode="before")
    @classmethod
    def _from_shorthand(cls, data: Any) -> Any:  # noqa: ANN401 - whatever the document holds
        if isinstance(data, (dict, BaseModel)) or data is None or cls.shorthand is None:
            return data
        return {cls.shorthand: data}

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        long = handler(schema)
        if cls.shorthand is None:
            return long
        short = handler.resolve_ref_schema(long)["properties"][cls.shorthand]
        return {"anyOf": [short, long]}


def wrong(what: str, summary: str, hint: str, *at: str | int) -> PydanticCustomError:
    """A finding `manifest.bad-WHAT`; `at` leads from the section that is checked to what is meant."""
    context = {"summary": summary, "hint": hint, "at": at}
    return PydanticCustomError(f"manifest.bad-{what}", "{summary}", context)
