"""`python -m tests.impact`: try every kind of change on a running guest, restart it after each, print what comes."""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from pathlib import Path

from kvmdecl.testing import temporary_lab
from tests.impact.bench import Bench, images
from tests.impact.kinds import KINDS
from tests.impact.trial import Trial, settle, try_kind


def main() -> int:
    """Returns how many kinds came out otherwise than planned."""
    with temporary_lab(["kvm-1"]) as lab, tempfile.TemporaryDirectory() as folder:
        bench = Bench(lab.host("kvm-1"), Path(folder))
        images(bench.folder)
        settle(bench)
        trials = [_show(try_kind(bench, kind, cure=True)) for kind in KINDS]
    counts = Counter(trial.real for trial in trials)
    wrong = [trial for trial in trials if not _holds(trial)]
    print(f"{len(trials)} kinds: {', '.join(f'{n} {impact}' for impact, n in counts.most_common())}")
    print(f"{sum(trial.pending for trial in trials)} pending until the guest was powered off and on")
    print(f"{len(wrong)} otherwise than planned")
    return len(wrong)


def _holds(trial: Trial) -> bool:
    return trial.predicted == trial.real == trial.kind.impact and not trial.lost and trial.cured is not False


def _show(trial: Trial) -> Trial:
    pending = "pending" if trial.pending else ""
    mark = "ok" if _holds(trial) else f"WRONG {trial.lost} {trial.cured}"
    print(f"{trial.kind.name:<44} {trial.predicted:<10} {trial.real:<10} {pending:<8} {mark}", flush=True)
    return trial


if __name__ == "__main__":
    sys.exit(min(main(), 1))
