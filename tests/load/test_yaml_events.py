"""A great text is read by a second process; whoever builds from it cannot tell."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kvmdecl import yaml_events
from kvmdecl.yaml_events import Batch, YamlSyntaxError, _read, _receive, _start
from tests.load.test_commands import run

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable
    from multiprocessing.connection import Connection

HEAD = (
    "apiVersion: kvmdecl/v1\ncluster: great\nhosts: {kvm-1: 'qemu:///system'}\nstorage: {vms: /srv}\nvms:\n"
)
VM = """\
  web-{0:05d}:
    description: >-
      folded,
      and "quoted"
    cpus: '{1}'
    disk: {{size: 20GiB}}
"""


def great_text(vms: int = 12_000) -> str:
    return HEAD + "".join(VM.format(number, number % 7 + 1) for number in range(vms))


def _read_beside(text: str) -> Generator[Batch]:
    return _receive(_start(text), text)


def told(batches: Iterable[Batch]) -> list[tuple[bytes, list[int], dict]]:
    return [(bytes(kinds), list(places), details) for kinds, places, details in batches]


def children() -> set[str]:
    """The processes that this one began, other tests' among them."""
    return {
        pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()
    }


def test_both_ways_of_reading_tell_the_same():
    text = great_text() + "  last: &a {nics: []}\n  more: *a\n  tagged: !odd [1]\n"
    assert told(_read_beside(text)) == told(_read(text))


def test_when_the_second_process_dies_the_first_reads_on(monkeypatch: pytest.MonkeyPatch):
    def die(sender: Connection, text: str) -> None:
        sender.send(next(_read(text)))
        os._exit(1)

    monkeypatch.setattr(yaml_events, "_send", die)
    text = great_text(5_000)
    assert told(_read_beside(text)) == told(_read(text))


def test_a_reader_that_is_left_early_ends():
    before = children()
    batches = _read_beside(great_text())
    next(batches)
    assert children() > before
    batches.close()
    assert children() == before


@pytest.mark.parametrize("read", [_read, _read_beside])
def test_what_is_before_a_mistake_is_told_before_it(read):
    text = great_text(3_000) + "  a: [\n"
    batches = []
    with pytest.raises(YamlSyntaxError) as error:
        batches.extend(read(text))
    assert sum(len(batch.kinds) for batch in batches) > 3_000 * 9
    assert (error.value.at, error.value.problem) == (len(text), "did not find expected node content")


def test_a_mistake_in_a_great_manifest_is_shown_at_its_line(tmp_path: Path):
    manifest = tmp_path / "cluster.yaml"
    text = great_text()
    manifest.write_text(text + "  bad: {cpus: 2}}\n")
    assert len(text) > 1024**2

    done = run("validate", manifest)

    assert done.returncode == 1
    assert f"cluster.yaml:{text.count(chr(10)) + 1}:" in done.stderr


def test_a_great_manifest_is_valid(tmp_path: Path):
    manifest = tmp_path / "cluster.yaml"
    manifest.write_text(great_text())
    assert "12000 vms" in run("validate", manifest).stdout
