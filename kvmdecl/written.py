"""A file of a section's own beside the manifest: read and checked as manifests are, with a place for each finding."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError

from kvmdecl.diagnostics import Rejected, Span
from kvmdecl.locate import diagnose, nearest
from kvmdecl.shape import model_shape
from kvmdecl.source import MAX_FINDINGS, Mapping, read_file, to_data

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kvmdecl.diagnostics import Diagnostic
    from kvmdecl.manifest import Section

    SpanOf = Callable[..., Span]

Model = TypeVar("Model", bound="Section")


def read_written(path: Path, model: type[Model]) -> tuple[Model, SpanOf]:
    """What a file says, and where, by the way to it from the top.

    Raises:
        Rejected: with everything that is wrong in it.
    """
    root, found = read_file(path)
    section, span = checked(root, model, found)
    if found:
        raise Rejected(found)
    return section, span


def checked(root: Mapping, model: type[Model], found: list[Diagnostic]) -> tuple[Model, SpanOf]:
    """What a tree says by a model, and where, by the way to it from the top.

    Raises:
        Rejected: with everything that is wrong in it, after what was `found` before.
    """
    shape = model_shape(model)
    try:
        section = model.model_validate(to_data(root))
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False)[:MAX_FINDINGS]
        raise Rejected([*found, *diagnose(errors, root, shape)]) from error
    return section, lambda *way: nearest(root, shape, way).span
