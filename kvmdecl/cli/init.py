"""`kvmdecl init`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kvmdecl.cli import common


def run(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder to write to; made if it is missing.")
    ] = Path(),
) -> None:
    """Write a small cluster to start from: a commented manifest, its schema for your editor, a tiny image.

    It plans as it is, against a lab on this machine; for real hosts change their URIs and the image. The
    cluster is named after the folder. Nothing is overwritten.

    Examples:
      kvmdecl init my-cluster
      kvmdecl lab up --from my-cluster
      eval "$(kvmdecl lab env)" && kvmdecl plan my-cluster

    Exit codes: 0 written, 1 a file is there already or cannot be written.
    """
    from kvmdecl.lab.guest import tiny_image
    from kvmdecl.pluginhost import load_plugins
    from kvmdecl.schema import render_schema
    from kvmdecl.text import safe_text

    manifest, schema, image = (
        directory / name for name in ("cluster.yaml", "cluster.v1.json", "images/tiny.img")
    )
    _refuse_existing([manifest, schema, image])
    schema_text = render_schema(load_plugins().sections())
    _make_folder(image.parent)
    tiny_image(image)
    common.write_file(schema, schema_text)
    common.write_file(manifest, _manifest(_cluster_name(directory)))
    for path in (manifest, schema, image):
        common.say(f"Wrote {safe_text(str(path))}")
    common.say(f"Next: {_next(directory)}")


def _manifest(cluster: str) -> str:
    template = Path(__file__).with_name("init-cluster.yaml").read_text("utf-8")
    return template.replace("cluster: my-cluster", f"cluster: {cluster}", 1)


def _next(directory: Path) -> str:
    import shlex

    where = "" if directory == Path() else f" {shlex.quote(str(directory))}"
    return f"kvmdecl validate{where}"


def _cluster_name(directory: Path) -> str:
    """The folder's name where that is a valid name."""
    from pydantic import TypeAdapter, ValidationError

    from kvmdecl.names import Name

    try:
        return TypeAdapter(Name).validate_python(directory.absolute().resolve().name)
    except ValidationError:
        return "my-cluster"


def _refuse_existing(paths: list[Path]) -> None:
    from kvmdecl.diagnostics import Diagnostic, Rejected
    from kvmdecl.text import quoted

    hint = "choose another folder, or move the file away"
    found = [
        Diagnostic("init.exists", f"{quoted(str(path))} exists", hint=hint) for path in paths if path.exists()
    ]
    if found:
        raise Rejected(found)


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise common.not_written(str(path), error) from error
