"""A cluster from a few lines of manifest, and what a user would be told of it."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

from kvmdecl.diagnostics import Rejected
from kvmdecl.images import read_inputs
from kvmdecl.load import load
from kvmdecl.resolve import resolve

if TYPE_CHECKING:
    from kvmdecl.cluster import ResolvedCluster, ResolvedVm
    from kvmdecl.diagnostics import Diagnostic

HEAD = "apiVersion: kvmdecl/v1\ncluster: demo\n"
HOSTS = 'hosts:\n  kvm-{1..3}: "qemu+tls://{name}.example/system"\n'
BASE = HEAD + HOSTS
SHA256 = "ab" * 32
DEBIAN = f'storage: {{vms: /srv/vms}}\nimages:\n  debian: {{source: debian.qcow2, sha256: "{SHA256}"}}\n'


def resolved(text: str, folder: Path | None = None, head: str = BASE) -> ResolvedCluster:
    """The linked cluster of a manifest; its paths are seen from `folder` if that is given."""
    if folder is None:
        with TemporaryDirectory() as scratch:
            return resolved(text, Path(scratch), head)
    path = folder / "cluster.yaml"
    path.write_text(head + text)
    loaded = load(path)
    return resolve(loaded, read_inputs(loaded), loaded.digest)


def rejected(text: str, folder: Path | None = None, head: str = BASE) -> tuple[Diagnostic, ...]:
    """What is wrong with a manifest."""
    with pytest.raises(Rejected) as caught:
        resolved(text, folder, head)
    return caught.value.diagnostics


def told(text: str, folder: Path | None = None, head: str = BASE) -> list[tuple[str, str]]:
    """The code of each finding, and the text that is underlined."""
    lines = (head + text).splitlines()
    return [
        (found.code, lines[found.at.line - 1][found.at.column - 1 : found.at.end_column - 1])
        for found in rejected(text, folder, head)
        if found.at is not None
    ]


def only_vm(text: str, folder: Path | None = None) -> ResolvedVm:
    """The one vm of a manifest."""
    (vm,) = resolved(text, folder).vms
    return vm
