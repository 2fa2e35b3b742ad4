"""What all manifest models share: frozen, strict about keys, and a scalar form where one key says it all."""

from __future__ import annotations

import ast
import inspect
from collections.abc import KeysView
from functools import cache
from itertools import pairwise
from textwrap import dedent
from typing import Any, ClassVar, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    GetJsonSchemaHandler,
    ModelWrapValidatorHandler,
    ValidationInfo,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from kvmdecl.renamed import Renamed

_MOST_SHARED = 100_000


class Section(BaseModel):
    """A mapping of the manifest. One that is derived from another may add keys, and not define its keys anew.

    A subclass that sets `formerly` tells what its keys and their values were called before, for `kvmdecl migrate`.

    A subclass that sets `shorthand` may be written as the bare value of that key: `memory: 8GiB` is
    `memory: {size: 8GiB}`. One meaning, two spellings; everything after loading sees the long one.
    """

    # Validators are built with the manifest's, once, and docstrings read when a schema is asked for: every command
    # imports every model.
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    shorthand: ClassVar[str | None] = None
    formerly: ClassVar[tuple[Renamed, ...]] = ()
    _defaults: ClassVar[dict[str, Any]] = {}
    _rank: ClassVar[dict[str, int]] = {}

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:  # noqa: ANN401 - as pydantic declares it
        """Let the class answer for keys that were not given."""
        super().__pydantic_init_subclass__(**kwargs)
        own = inspect.get_annotations(cls)
        for base in cls.__mro__[1:]:
            # What pydantic makes of a key whose default a base class answers with, it makes without its checks.
            if issubclass(base, Section) and base is not Section:
                inherited = base.model_fields.items()
                cls.__pydantic_fields__ |= {key: field for key, field in inherited if key not in own}
        fields = cls.model_fields.items()
        cls._defaults = {
            key: field.get_default(call_default_factory=True)
            for key, field in fields
            if not field.is_required()
        }
        for key, value in cls._defaults.items():
            setattr(cls, key, value)
        for renamed in cls.formerly:
            renamed.require({field.alias or key for key, field in fields})
        cls._rank = {key: number for number, key in enumerate(cls.model_fields)}
        # The last validator is the outermost: what was met before is not checked again by those of the class either.
        validators = cls.__pydantic_decorators__.model_validators
        validators["_shared"] = validators.pop("_shared")

    def model_post_init(self, context: Any, /) -> None:  # noqa: ANN401 - as pydantic declares it
        """Keep only what differs from the defaults: most keys of most vms do not, and took most of the memory."""
        held, defaults = self.__dict__, self._defaults
        given = sorted(self.__pydantic_fields_set__, key=self._rank.__getitem__)
        said = {key: held[key] for key in given if key not in defaults or _differs(held[key], defaults[key])}
        object.__setattr__(self, "__dict__", said)

    @property
    def said(self) -> KeysView[str]:
        """The keys whose values are not the defaults."""
        return self.__dict__.keys()

    @classmethod
    def unsaid(cls) -> Self:
        """What a mapping without keys comes to, for defaults. To validate it would build a validator of its own."""
        return super().model_construct()

    @model_validator(mode="wrap")
    @classmethod
    def _shared(
        cls,
        data: Any,  # noqa: ANN401 - whatever the document holds
        validate: ModelWrapValidatorHandler[Self],
        info: ValidationInfo,
    ) -> Self:
        """Write out the short form. Sections of a manifest that say the same are one: most vms say little that is new.

        The context of a validation, if it has one, holds those that were met.
        """
        known: dict[object, Self] | None = info.context
        if known is None or not isinstance(data, (dict, str)):
            return validate(cls._written_out(data))
        key = (cls, data) if isinstance(data, str) else (cls, *data.items())
        try:
            section = known.get(key)
        except TypeError:  # it holds lists or mappings
            return validate(data)
        if section is None:
            section = validate(cls._written_out(data))
            if len(known) < _MOST_SHARED:
                known[key] = section
        return section

    @classmethod
    def _written_out(cls, data: Any) -> Any:  # noqa: ANN401 - as above
        """The long form of what a document holds."""
        if isinstance(data, (dict, BaseModel)) or data is None or cls.shorthand is None:
            return data
        return {cls.shorthand: data}

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        long = handler(schema)
        properties = handler.resolve_ref_schema(long)["properties"]
        for name, text in _attribute_docstrings(cls).items():
            properties[cls.model_fields[name].alias or name].setdefault("description", text)
        return long if cls.shorthand is None else {"anyOf": [properties[cls.shorthand], long]}


def _differs(value: object, default: object) -> bool:
    """Sections are compared by what they say: what pydantic asks beyond that takes fifty times as long."""
    if isinstance(value, Section):
        return not isinstance(default, Section) or value.__dict__ != default.__dict__
    return value != default


@cache
def _attribute_docstrings(model: type[BaseModel]) -> dict[str, str]:
    """The string below each field of a model, as it stands in the source; empty where there is none to read."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if issubclass(base, Section) and base is not Section:
            found |= _docstrings_in(base)
    return {name: text for name, text in found.items() if name in model.model_fields}


def _docstrings_in(model: type[BaseModel]) -> dict[str, str]:
    try:
        body = ast.parse(dedent(inspect.getsource(model))).body[0]
    except (OSError, TypeError):
        return {}
    return {
        field.target.id: inspect.cleandoc(below.value.value)
        for field, below in pairwise(getattr(body, "body", ()))
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
        if isinstance(below.value.value, str)
    }


def wrong(what: str, summary: str, hint: str, *at: str | int) -> PydanticCustomError:
    """A finding `manifest.bad-WHAT`; `at` leads from the section that is checked to what is meant."""
    return refusal(f"manifest.bad-{what}", summary, hint, *at)


def refusal(code: str, summary: str, hint: str, *at: str | int) -> PydanticCustomError:
    """A finding of this code, for a validator to raise; `at` as in `wrong`."""
    # The template is the text's place: a text may hold braces.
    return PydanticCustomError(code, "{summary}", {"summary": summary, "hint": hint, "at": at})
