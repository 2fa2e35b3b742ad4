"""What the loading tests share: a manifest from text, and what a user would see of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pydantic import Field, create_model

from kvmdecl.diagnostics import Diagnostic, Rejected
from kvmdecl.load import LoadedManifest, load
from kvmdecl.manifest import Section
from kvmdecl.names import Positive
from kvmdecl.source import line_reader
from kvmdecl.views.diagnostics_text import render

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HEAD = "apiVersion: kvmdecl/v1\ncluster: demo\n"

BACKUP = create_model(
    "Backup", __base__=Section, __doc__="What is kept.", keep=(Positive, Field(description="Copies."))
)
"""A section as a plugin would bring it."""


class Loader:
    """Writes manifests into a folder of their own and loads them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, text: str | bytes, name: str = "cluster.yaml", head: str = HEAD) -> Path:
        path = self.folder / name
        path.write_bytes(text if isinstance(text, bytes) else (head + text).encode("utf-8", "surrogatepass"))
        return path

    def load(self, text: str | bytes, head: str = HEAD) -> LoadedManifest:
        return load(self.write(text, head=head))

    def reject(self, text: str | bytes, head: str = HEAD) -> tuple[Diagnostic, ...]:
        with pytest.raises(Rejected) as rejected:
            self.load(text, head)
        return rejected.value.diagnostics

    def codes(self, text: str | bytes, head: str = HEAD) -> list[str]:
        return [diagnostic.code for diagnostic in self.reject(text, head)]

    def show(self, text: str | bytes, head: str = HEAD) -> str:
        """What the terminal shows, with the folder's own path taken out."""
        shown = render(self.reject(text, head), color=False, read_line=line_reader())
        return shown.replace(f"{self.folder}/", "")


@pytest.fixture
def manifest(tmp_path: Path) -> Loader:
    return Loader(tmp_path)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], Path]:
    def write_file(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write_file
