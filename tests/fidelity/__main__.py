"""Prove on a real libvirtd that comparisons neither cry wolf nor sleep.

Usage: python -m tests.fidelity [--rewrites N] [--changes N] [--adoptions N] [--seed N] [--show N] [FOLDER...]

Every definition below the folders (libvirt's own tests/ are such) is defined in a throw-away lab, read back and
compared; so are rewrites of it that mean the same, and changes of it made behind kvmdecl's back. Changed at random,
they are adopted and made anew from their entries. Without a folder, those written for this purpose are put to the test.
Ends with 1 if a difference was told that is none, one that is there was not, or a domain made anew is another one.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from kvmdecl.state import Kind
from kvmdecl.testing import temporary_lab
from tests.fidelity.campaigns import BASES, Tally, change, read, restart, rewrite, run
from tests.fidelity.host import connected
from tests.fidelity.taking_over import take_over

_SHARES = {Kind.DOMAIN: 1.0, Kind.NETWORK: 0.25, Kind.POOL: 0.15}
"""Of the changes asked for, how many each kind gets."""


def main(arguments: list[str]) -> int:
    """Print a line for each campaign, and what went wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.fidelity", description=__doc__)
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER")
    for name, usual in (("rewrites", 2000), ("changes", 2000), ("adoptions", 500), ("seed", 1), ("show", 40)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    options = parser.parse_args(arguments)
    wrong = 0
    with temporary_lab(["kvm-1"]) as lab, connected(lab) as target:
        for folder in options.folders or [BASES]:
            begun = time.monotonic()
            trials, tally = read(target, folder)
            wrong += _tell(f"{folder}: definitions", tally, begun, options.show)
            for name, campaign in (("restart of libvirtd", restart), ("started guests", run)):
                begun = time.monotonic()
                wrong += _tell(name, campaign(target, trials), begun, options.show)
            begun = time.monotonic()
            wrong += _tell(
                "rewrites", rewrite(target, trials, options.rewrites, options.seed), begun, options.show
            )
            begun = time.monotonic()
            tally = take_over(target, trials, options.adoptions, options.seed)
            wrong += _tell("domains taken over", tally, begun, options.show)
            for kind, share in _SHARES.items():
                if some := [trial for trial in trials if trial.kind is kind]:
                    begun, count = time.monotonic(), round(options.changes * share)
                    tally = change(target, some, count, options.seed)
                    wrong += _tell(f"changes of {kind}s", tally, begun, options.show)
    return int(wrong > 0)


def _tell(name: str, tally: Tally, begun: float, show: int) -> int:
    print(f"{name}: {tally.told()} ({time.monotonic() - begun:.0f} s)", flush=True)
    for line in tally.wrong[:show]:
        print(f"    {line}")
    if len(tally.wrong) > show:
        print(f"    and {len(tally.wrong) - show} more")
    return len(tally.wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
