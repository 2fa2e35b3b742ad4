"""What `kvmdecl validate` takes for 20,000 guests, each written out, 300,000 lines; what rules cost, and advice.

Rules are measured as a ratio: the same 10,000 guests with all rules, advice too, and with none, one after the other.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from statistics import median

from benchmarks import big_manifest
from benchmarks.result import Cost, Result, cost_of, middle

GUESTS = 20_000
HALF = 10_000
_RUNS = 3
_PAIRS = 5


def measure() -> list[Result]:
    """Return seconds and memory of `kvmdecl validate`, how much longer rules make it, and seconds of `advise`."""
    with tempfile.TemporaryDirectory() as folder:
        path = _written(Path(folder) / "cluster.yaml", GUESTS, "")
        cost = middle([_validate(path) for _ in range(_RUNS)])
        with_all = _written(Path(folder) / "all.yaml", HALF, "rules: {select: [all]}\n")
        with_none = _written(Path(folder) / "none.yaml", HALF, "rules: {ignore: [all]}\n")
        advice = middle([_run("advise", "web-00007", with_none, "-w", "database") for _ in range(_RUNS)])
        ratio = median(_validate(with_all).seconds / _validate(with_none).seconds for _ in range(_PAIRS))
    return [
        Result("validate 10,000 guests, all rules to none", ratio, "times", 1.5),
        Result("advise one of 10,000 guests", advice.seconds, "s", 8),
        Result("validate 20,000 guests, time", cost.seconds, "s", 5),
        Result("validate 20,000 guests, memory", cost.peak / 1024**2, "MiB", 400),
    ]


def _written(path: Path, guests: int, head: str) -> Path:
    with path.open("w") as out:
        big_manifest.write(guests, out)
        out.write(head)
    return path


def _validate(path: Path) -> Cost:
    return _run("validate", path)


def _run(*arguments: str | Path) -> Cost:
    return cost_of([Path(sys.executable).with_name("kvmdecl"), *arguments], Path(tempfile.gettempdir()))
