"""Measure, and compare with what was promised.

Usage: python -m benchmarks [startup] [validate] [plan] [growth] [ha]
"""

from __future__ import annotations

import sys
from importlib import import_module

ALL = ("startup", "validate", "plan", "growth", "ha")


def main(names: list[str]) -> int:
    """Print a table; return 1 when a target is missed."""
    if unknown := set(names) - set(ALL):
        print(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(ALL)}", file=sys.stderr)
        return 64
    missed = False
    print(f"{'':48} {'measured':>14} {'promised':>14}")
    for name in names or ALL:
        for result in import_module(f"benchmarks.{name}").measure():
            target = "" if result.target is None else f"{result.target:g} {result.unit}"
            verdict = "MISSED" if result.missed else ""
            measured = f"{result.value:.3g} {result.unit}"
            print(f"{result.name:48} {measured:>14} {target:>14}  {verdict}".rstrip(), flush=True)
            missed |= result.missed
    return int(missed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
