"""A finding's identity from run to run: it stays when lines move, and two findings of a run never share one."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kvmdecl.diagnostics import Diagnostic


def with_fingerprints(diagnostics: Iterable[Diagnostic]) -> Iterator[tuple[Diagnostic, str]]:
    """Each finding with 32 hexadecimal digits of its code, subject, file and words; the same ones are counted."""
    met: Counter[tuple[str, ...]] = Counter()
    for each in diagnostics:
        file = each.at.file if each.at is not None else ""
        same = (each.code, each.subject, file, each.summary)
        met[same] += 1
        yield each, hashlib.sha256("\0".join((*same, str(met[same]))).encode()).hexdigest()[:32]
