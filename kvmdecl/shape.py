"""What the models know about a place of the manifest: its keys, and the key that its short form means."""

from __future__ import annotations

import types
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

if TYPE_CHECKING:
    from kvmdecl.renamed import Renamed


@dataclass(frozen=True, slots=True)
class Shape:
    """A place: a model, a mapping or list whose elements have one shape, or (neither) a single value."""

    model: type[BaseModel] | None = None
    element: Shape | None = None

    @property
    def shorthand(self) -> str | None:
        """The key that a bare value stands for."""
        return getattr(self.model, "shorthand", None)

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys that a mapping may have here; none if it may have any."""
        return tuple(_fields(self.model)) if self.model is not None else ()

    def child(self, key: str | int) -> Shape:
        """The shape of the value at a key or index."""
        if self.model is not None:
            return _fields(self.model).get(str(key), _SCALAR)
        return self.element or _SCALAR

    def key_now(self, key: str, version: str) -> Renamed | None:
        """How a key is called now that a manifest of a version of the format says in an old word."""
        formerly = _formerly(self)
        return next((was for was in formerly if was.to and was.key == key and was.holds(version)), None)

    def values_now(self, key: str, version: str) -> dict[str, Renamed]:
        """The old words among the values of a key, with those of the key that its short form means."""
        below = self.child(key)
        while below.element is not None:
            below = below.element
        found = [was for was in _formerly(self) if was.key == key]
        found += [was for was in _formerly(below) if was.key == below.shorthand]
        return {word: was for was in found if was.holds(version) for word in was.values}

    def only_value(self, key: str) -> str | None:
        """The value of a key that takes a single one, such as `apiVersion`."""
        fields = self.model.model_fields.items() if self.model is not None else ()
        for name, field in fields:
            if (field.alias or name) == key and get_origin(field.annotation) is Literal:
                values = get_args(field.annotation)
                return str(values[0]) if len(values) == 1 else None
        return None


_SCALAR = Shape()


def model_shape(model: type[BaseModel]) -> Shape:
    """The shape of a section's model."""
    return Shape(model=model)


def _formerly(shape: Shape) -> tuple[Renamed, ...]:
    return getattr(shape.model, "formerly", ())


@cache
def _fields(model: type[BaseModel]) -> dict[str, Shape]:
    fields = model.model_fields.items()
    return {field.alias or name: _shape_of(field.annotation) for name, field in fields}


def _shape_of(annotation: Any) -> Shape:  # noqa: ANN401 - annotations have no common type
    """Look through `Annotated`, `| None` and containers for the model; a union keeps its first one."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return Shape(model=annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _shape_of(arguments[0])
    if origin in {Union, types.UnionType}:
        found = (_shape_of(argument) for argument in arguments)
        return next((shape for shape in found if shape != _SCALAR), _SCALAR)
    if origin is dict:
        return Shape(element=_shape_of(arguments[1]))
    if origin in {list, tuple}:
        return Shape(element=_shape_of(arguments[0]))
    return _SCALAR
