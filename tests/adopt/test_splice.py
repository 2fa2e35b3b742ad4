"""Entries go to the end of their section, and every other byte stays."""

from __future__ import annotations

import pytest

from kvmdecl.adopt.splice import splice
from kvmdecl.diagnostics import Rejected

NEW = ["db:", "  memory: 2GiB"]

STORIES = {
    "after the last entry, and before what follows": (
        "vms:\n  web: {memory: 1GiB}   # s\n\n# bridge\nnetworks:\n  lan: {bridge: br0}\n",
        "vms:\n  web: {memory: 1GiB}   # s\n  db:\n    memory: 2GiB\n\n# bridge\nnetworks:\n  lan: {bridge: br0}\n",
    ),
    "with the indentation that is there": (
        "vms:\n    web:\n        memory: 1GiB\n",
        "vms:\n    web:\n        memory: 1GiB\n    db:\n      memory: 2GiB\n",
    ),
    "after a literal text": (
        "vms:\n  web:\n    xml: |\n      <title>a</title>\n\ncluster: x\n",
        "vms:\n  web:\n    xml: |\n      <title>a</title>\n  db:\n    memory: 2GiB\n\ncluster: x\n",
    ),
    "after a list over several lines": (
        "vms:\n  web:\n    nics: [lan,\n      wan\n    ]\ncluster: x\n",
        "vms:\n  web:\n    nics: [lan,\n      wan\n    ]\n  db:\n    memory: 2GiB\ncluster: x\n",
    ),
    "after a mapping over several lines": (
        "vms:\n  web: {memory: 1GiB,\n    cpus: 2\n  }\ncluster: x\n",
        "vms:\n  web: {memory: 1GiB,\n    cpus: 2\n  }\n  db:\n    memory: 2GiB\ncluster: x\n",
    ),
    "below a section without entries": (
        "vms:   # none yet\ncluster: x\n",
        "vms:   # none yet\n  db:\n    memory: 2GiB\ncluster: x\n",
    ),
    "in a section that is begun": ("cluster: x\n", "cluster: x\n\nvms:\n  db:\n    memory: 2GiB\n"),
    "where the last line has no end": ("cluster: x", "cluster: x\n\nvms:\n  db:\n    memory: 2GiB\n"),
    "with the line ends that are there": (
        "cluster: x\r\nvms:\r\n  web: {}\r\n",
        "cluster: x\r\nvms:\r\n  web: {}\r\n  db:\r\n    memory: 2GiB\r\n",
    ),
}


@pytest.mark.parametrize("story", STORIES)
def test_entries_are_added(story: str):
    before, after = STORIES[story]

    assert splice("cluster.yaml", before, "vms", NEW) == after


@pytest.mark.parametrize(
    "text",
    [
        "vms: {}\n",
        "vms: {web: {memory: 1GiB}}\n",
        "{cluster: x}\n",
        "cluster: x\n...\n",
        "a: &a {web: {}}\nvms: *a\n",
        "vms: nothing\n",
        "vms:\n  web:\n    description: |+\n      a\n\n\ncluster: x\n",
    ],
)
def test_where_there_is_no_place_nothing_is_guessed(text: str):
    with pytest.raises(Rejected) as rejected:
        splice("cluster.yaml", text, "vms", NEW)
    assert [found.code for found in rejected.value.diagnostics] == ["adopt.no-room"]
