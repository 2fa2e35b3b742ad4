"""A manifest of 20,000 guests, each written out, 300,000 lines: how long `kvmdecl validate` takes."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from benchmarks import big_manifest
from benchmarks.result import Result, cost_of, middle

GUESTS = 20_000
_RUNS = 3


def measure() -> list[Result]:
    """Return seconds and memory of `kvmdecl validate`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cluster.yaml"
        with path.open("w") as out:
            big_manifest.write(GUESTS, out)
        command: list[str | Path] = [Path(sys.executable).with_name("kvmdecl"), "validate", path]
        cost = middle([cost_of(command, path.parent) for _ in range(_RUNS)])
    return [
        Result("validate 20,000 guests, time", cost.seconds, "s", 5),
        Result("validate 20,000 guests, memory", cost.peak / 1024**2, "MiB", 400),
    ]
