"""What an edit changes in a file."""

from __future__ import annotations

import re
from time import process_time

from hypothesis import given
from hypothesis import strategies as st

from kvmdecl.views.edit_text import lines_changed, patch

TEXTS = st.lists(st.sampled_from("abcd"), max_size=12)
MANY = [f"line {number % 7}" for number in range(60_000)]


@given(TEXTS, TEXTS, st.integers(0, 3))
def test_a_patch_leads_from_the_one_text_to_the_other(before: list[str], after: list[str], around: int):
    assert applied(before, list(patch(before, after, "cluster.yaml", around=around))) == after


def test_a_long_file_takes_no_longer_for_that():
    after = [*MANY[:30_000], "another", *MANY[30_001:]]
    began = process_time()

    assert [line[:1] for line in patch(MANY, after, "cluster.yaml")][2:] == list("@   -+   ")
    assert lines_changed("\n".join(MANY), "\n".join(after)) == 1
    assert process_time() - began < 1


def applied(before: list[str], lines: list[str]) -> list[str]:
    """As `patch` does it: by the numbers in the heads, and by what they say of the lines there."""
    found, at = list[str](), 0
    for line in lines[2:]:
        if head := re.fullmatch(r"@@ -(\d+)(?:,(\d+))? \+\d+(?:,\d+)? @@", line):
            first = int(head[1]) - (head[2] != "0")
            found, at = [*found, *before[at:first]], first
            continue
        if line[0] in " -":
            assert before[at] == line[1:]
            at += 1
        if line[0] in " +":
            found.append(line[1:])
    return found + before[at:]
