"""Each file of `tests/scenarios/devices` is a story: hosts, what the user wrote, and all that is said about devices.

Its first lines are the story and its hosts, as `hosts.py` has them; what follows `=== says` is compared as a whole, and
written anew by `pytest tests/devices --update-golden`. Read the difference before you commit it.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kvmdecl import explain
from kvmdecl.diagnostics import Diagnostic, Rejected
from kvmdecl.hosts.fake import FakeReader
from kvmdecl.pipeline import load_cluster, plan_cluster
from kvmdecl.pluginhost import load_plugins
from kvmdecl.source import line_reader
from kvmdecl.views.diagnostics_text import render
from tests.devices.hosts import story_host

STORIES = Path(__file__).parents[1] / "scenarios" / "devices"
PLUGINS = load_plugins()
NAMES = sorted(path.stem for path in STORIES.glob("*.txt"))
SAYS = "=== says\n"


def told(name: str, folder: Path) -> tuple[Diagnostic, ...]:
    """What a user of the story would be told of devices and hosts before anything is touched."""
    return tuple(found for found in _told(name, folder) if found.code.startswith(("vfio.", "check.")))


def _told(name: str, folder: Path) -> tuple[Diagnostic, ...]:
    text = (STORIES / f"{name}.txt").read_text().partition(SAYS)[0]
    hosts = dict(re.findall(r"^# (kvm-\d): (.+)$", text, re.MULTILINE))
    path = folder / "cluster.yaml"
    path.write_text(text)
    reader = FakeReader({host: story_host(host, words) for host, words in hosts.items()})
    try:
        return plan_cluster(load_cluster(path, PLUGINS), reader, PLUGINS, to_apply=True)[1]
    except Rejected as rejected:
        return rejected.diagnostics


@pytest.mark.parametrize("name", NAMES)
def test_the_story_ends_as_expected(name: str, tmp_path: Path, request: pytest.FixtureRequest):
    said = render(told(name, tmp_path), color=False, read_line=line_reader()).replace(f"{tmp_path}/", "")
    file = STORIES / f"{name}.txt"
    text, _, expected = file.read_text().partition(SAYS)
    if request.config.getoption("--update-golden"):
        file.write_text(f"{text}{SAYS}{said}")
        return
    assert said == expected


def test_each_finding_has_a_story_in_which_it_is_made_and_one_in_which_it_is_not():
    """A story that is to pass names the codes that it does not end with: `# not: vfio.group-split`."""
    texts = [path.read_text() for path in STORIES.glob("*.txt")]
    made = {code for text in texts for code in re.findall(r"\[(vfio\.[a-z-]+)\]", text.partition(SAYS)[2])}
    not_made = {code for text in texts for code in re.findall(r"vfio\.[a-z-]+", _passes(text))}
    codes = {code for code in explain.codes() if code.startswith("vfio.")}
    assert (made, not_made) == (codes, codes)


@pytest.mark.parametrize("name", NAMES)
def test_a_story_that_is_to_pass_does(name: str):
    text = (STORIES / f"{name}.txt").read_text()
    for code in re.findall(r"[a-z]+\.[a-z-]+", _passes(text)):
        assert f"[{code}]" not in text.partition(SAYS)[2]


def test_the_codes_of_the_plugin_are_those_that_have_a_page():
    package = Path(__file__).parents[2] / "plugins" / "kvmdecl_vfio"
    used = {
        code for file in package.glob("*.py") for code in re.findall(r'"(vfio\.[a-z-]+)"', file.read_text())
    }
    assert used == {code for code in explain.codes() if code.startswith("vfio.")}


def _passes(text: str) -> str:
    return " ".join(re.findall(r"^# not: (.+)$", text, re.MULTILINE))
