"""`kvmdecl migrate`: words of earlier versions become today's where they stand, and no other byte changes."""

from __future__ import annotations

import re
from pathlib import Path
from random import Random

import pytest

from kvmdecl import renamed
from kvmdecl.cli.main import run
from kvmdecl.diagnostics import Rejected
from kvmdecl.load import load
from kvmdecl.manifest import Cpus, Disk, Manifest, Nic, Section, Vm
from kvmdecl.migrate import migrated
from kvmdecl.renamed import Renamed, of_format
from kvmdecl.source import BYTE_ORDER_MARK, Source
from tests.layout.styles import styles, written

HEAD = "apiVersion: kvmdecl/v0\ncluster: edge\nhosts: {kvm-1: 'qemu:///system'}\n"
V1 = "kvmdecl/v1"
BY_MODEL = {
    Manifest: (Renamed(key="pools", to="storage", since=V1),),
    Vm: (
        Renamed(key="ram", to="memory", since=V1, why="as libvirt calls it"),
        Renamed(key="clock", values={"local": "localtime", "zulu": "utc"}, since=V1),
    ),
    Cpus: (Renamed(key="maximum", to="max", since=V1), Renamed(key="vcpus", to="count", since=V1)),
    Nic: (Renamed(key="type", to="model", since=V1), Renamed(key="network", values={"all": "lan"}, since=V1)),
    Disk: (Renamed(key="bus", values={"pv": "virtio", "zulu": "sata"}, since=V1),),
}


class House(Section):
    """A section of a plugin."""

    formerly = (
        Renamed(key="limit", to="cpus", since="house 2.0"),
        Renamed(key="on", values={"halt": "pause", "off": "on"}, since="house 2.0"),
    )

    cpus: int
    on: tuple[str, ...] = ()


@pytest.fixture
def v0(monkeypatch: pytest.MonkeyPatch) -> None:
    """A format before the first one."""
    monkeypatch.setattr(renamed, "FORMATS", ("kvmdecl/v0", V1))
    for model, formerly in BY_MODEL.items():
        monkeypatch.setattr(model, "formerly", (*(of_format() if model is Manifest else ()), *formerly))


def now(text: str) -> str:
    (file,) = migrated([Source("cluster.yaml", text)], {"house": House})
    return file.text


# -- whatever the hand ---------------------------------------------------------------------------------------------

WORDS = (
    (r"^storage(?=:)", "pools"),
    (r"\bmemory(?=:)", "ram"),
    (r"\bmax(?=:)", "maximum"),
    (r"\bcount(?=: +.?2.?(?:,|\r?\n +max))", "vcpus"),
    (r"\bmodel(?=:)", "type"),
    (r"\blocaltime\b", "local"),
    (r"(?<=bus: )(['\"]?)virtio", r"\1pv"),
)
"""Words of today's manifest with what they were called; that of a vm's `cpus.count`, and not that of a vm's `count`."""
ALL = [written(style).removeprefix(BYTE_ORDER_MARK) for style in styles(200)]


def aged(text: str, words: tuple[tuple[str, str], ...]) -> str:
    for word, old in words:
        text = re.sub(word, old, text, flags=re.MULTILINE)
    return text.replace(V1, "kvmdecl/v0")


@pytest.mark.usefixtures("v0")
@pytest.mark.parametrize("rounds", [1, pytest.param(10, marks=pytest.mark.proof)])
def test_whatever_hand_wrote_it_each_old_word_is_replaced_and_no_other_byte(rounds: int):
    random = Random(rounds)
    for text in ALL * rounds:
        old = aged(text, WORDS if rounds == 1 else tuple(random.sample(WORDS, random.randrange(len(WORDS)))))
        (file,) = migrated([Source("cluster.yaml", old)], {})

        assert file.text == text
        lines = zip(old.split("\n"), text.split("\n"), strict=True)
        differ = {number for number, (before, after) in enumerate(lines, 1) if before != after}
        assert {change.at.line for change in file.changes} == differ


@pytest.mark.usefixtures("v0")
def test_what_every_hand_wrote_is_the_manifest_of_today_again(tmp_path: Path):
    path = tmp_path / "cluster.yaml"
    for text in ALL[::40]:
        path.write_text(now(aged(text, WORDS)))
        assert load(path).digest == load(path, texts={path: text}).digest


# -- where words stand ---------------------------------------------------------------------------------------------

PLACES = {
    "a profile is as a vm": ("profiles: {p: {ram: 1}}", "profiles: {p: {memory: 1}}"),
    "defaults are as an entry": ("defaults: {vms: {ram: 1}}", "defaults: {vms: {memory: 1}}"),
    "keys keep their quotes": ("vms: {w: {'ram': 1, \"clock\" : 'local'}}",
                               "vms: {w: {'memory': 1, \"clock\" : 'localtime'}}"),
    "keys keep their signs": ("vms:\n  w:\n    ? ram # now\n    : 1\n    clock: &c local\n",
                              "vms:\n  w:\n    ? memory # now\n    : 1\n    clock: &c localtime\n"),
    "a short form is the value of its key": ("vms: {w: {nics: [all, {type: x}]}, v: {nics: all}}",
                                             "vms: {w: {nics: [lan, {model: x}]}, v: {nics: lan}}"),
    "what an alias repeats is replaced once": ("vms: {w: &w {ram: 1}, v: *w, u: {clock: &c local}, t: {clock: *c}}",
                     "vms: {w: &w {memory: 1}, v: *w, u: {clock: &c localtime}, t: {clock: *c}}"),
    "elsewhere it is no old word": ("vms: {ram: {description: local, ram: 1}}",
                                    "vms: {ram: {description: local, memory: 1}}"),
    "a section may have had another name": ("pools: {ram: /srv}\ndefaults: {pools: {}}",
                                            "storage: {ram: /srv}\ndefaults: {storage: {}}"),
    "items of a list are values": ("house: {limit: 2, on: [halt, off]}", "house: {cpus: 2, on: [pause, on]}"),
    "what is empty stays": ("vms: {w: {clock: , ram: ~}}", "vms: {w: {clock: , memory: ~}}"),
}  # fmt: skip


@pytest.mark.usefixtures("v0")
@pytest.mark.parametrize("place", PLACES)
def test_a_word_is_replaced_where_it_stands_for_what_was_renamed(place: str):
    before, after = PLACES[place]
    assert now(HEAD + before) == HEAD.replace("v0", "v1") + after
    assert now(now(HEAD + before)) == now(HEAD + before)


def test_a_manifest_of_today_has_words_of_plugins_replaced_and_none_of_the_formats(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(Vm, "formerly", BY_MODEL[Vm])
    text = HEAD.replace("v0", "v1") + "vms: {w: {ram: 1}}\nhouse: {limit: 2}\n"
    assert now(text) == text.replace("limit", "cpus")


def test_each_version_is_brought_to_the_last_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(renamed, "FORMATS", ("kvmdecl/v0", V1, "kvmdecl/v2"))
    monkeypatch.setattr(Manifest, "formerly", of_format())
    later = Renamed(key="memory_size", to="memory", since="kvmdecl/v2")
    monkeypatch.setattr(Vm, "formerly", (*BY_MODEL[Vm], later))
    for version, words in (("v0", "{memory: 1}, v: {memory: 1}"), ("v1", "{ram: 1}, v: {memory: 1}")):
        text = f"apiVersion: kvmdecl/{version}\nvms: {{w: {{ram: 1}}, v: {{memory_size: 1}}}}\n"
        assert now(text) == f"apiVersion: kvmdecl/v2\nvms: {{w: {words}}}\n"
    for version in ("kvmdecl/v2", "kvmdecl/v9", ""):
        text = f"apiVersion: {version}\nvms: {{w: {{ram: 1, memory_size: 1}}}}\n"
        assert now(text) == text


REFUSED = {
    "both": ("vms: {w: {ram: 1, memory: 2}}", "4:11", "`memory` is here"),
    "both, the new one first": ("vms: {w: {memory: 2, ram: 1}}", "4:22", "`memory` is here"),
    "repeated as another word": ("vms: {w: {description: &l local, clock: *l}}", "4:24", "An alias repeats"),
    "repeated as another key": ("networks: {w: &w {ram: 1}}\nvms: {w: *w}", "4:19", "An alias repeats"),
    "repeated as another old word": ("vms: {w: {clock: &z zulu, disk: {bus: *z}}}", "4:18", "An alias repeats"),
    "an alias as a key": ("vms: {w: {name: &k ram, *k : 1}}", "4:25", "It is an alias"),
    "with escapes": ('vms: {w: {"r\\x61m": 1}}', "4:11", "escapes"),
    "over several lines": ("vms:\n  w:\n    clock: >-\n      local\n", "6:12", "several lines"),
}  # fmt: skip


@pytest.mark.usefixtures("v0")
@pytest.mark.parametrize("case", REFUSED)
def test_a_word_that_cannot_be_replaced_is_shown(case: str):
    text, at, why = REFUSED[case]
    with pytest.raises(Rejected) as rejected:
        now(HEAD + text)
    (found,) = rejected.value.diagnostics
    assert (found.code, str(found.at)) == ("migrate.not-possible", f"cluster.yaml:{at}")
    assert why in " ".join([found.cause, *(note.text for note in found.notes)])


# -- until it is migrated ------------------------------------------------------------------------------------------

HINTS = {
    "vms: {w: {ram: 1GiB}}": ("manifest.unknown-key", "4:11", "it is called `memory` since kvmdecl/v1"),
    "profiles: {p: {ram: 1GiB}}": ("manifest.unknown-key", "4:16", "it is called `memory` since kvmdecl/v1"),
    "vms: {w: {memory: 1GiB, clock: zulu}}": ("manifest.bad-value", "4:32", "it is called `utc` since"),
    "house: {limit: 2}": ("manifest.unknown-key", "4:9", "it is called `cpus` since house 2.0"),
}


@pytest.mark.usefixtures("v0")
@pytest.mark.parametrize("text", HINTS)
def test_an_old_word_is_told_the_new_one(text: str, tmp_path: Path):
    path = tmp_path / "cluster.yaml"
    path.write_text(HEAD + text)
    with pytest.raises(Rejected) as rejected:
        load(path, {"house": House})
    version, found = rejected.value.diagnostics
    assert (version.code, version.hint) == (
        "manifest.version",
        "`kvmdecl migrate` writes it in the words of today's",
    )
    code, at, hint = HINTS[text]
    assert (found.code, str(found.at)) == (code, f"{path}:{at}")
    assert found.hint.startswith(hint)
    assert found.hint.endswith("; `kvmdecl migrate` renames it")


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({"key": "a"}, "either another name or other values"),
        ({"key": "a", "to": "cpus", "values": {"b": "c"}}, "either another name or other values"),
        ({"key": "a", "to": "a"}, "both an old and a new word"),
        ({"key": "cpus", "values": {"b": "c", "c": "d"}}, "both an old and a new word"),
        ({"key": "cpus", "values": {"b": "c: d"}}, "without quotes"),
        ({"key": "cpus", "values": {"b": "null"}}, "without quotes"),
        ({"key": "a", "to": "b"}, "'b' is no key of the section"),
        ({"key": "a", "values": {"b": "c"}}, "'a' is no key of the section"),
        ({"key": "other", "to": "cpus"}, "it is a key of its section"),
    ],
)
def test_what_cannot_be_meant_is_refused_where_it_is_told(told: dict, reason: str):
    with pytest.raises(ValueError, match=reason):
        type(
            "Bad",
            (Section,),
            {
                "__module__": __name__,
                "__annotations__": {"cpus": int, "other": int},
                "formerly": (Renamed(since="house 2.0", **told),),
            },
        )


def test_the_last_of_the_formats_is_that_of_the_models():
    (version,) = Manifest.model_fields["api_version"].annotation.__args__
    assert renamed.FORMATS[-1] == version


# -- the command ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("v0")
def test_a_folder_is_one_manifest_and_is_told_what_became_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    first, second, third = (tmp_path / name for name in ("a.yaml", "b.yaml", "c.yaml"))
    first.write_text(HEAD)
    second.write_bytes(b"\xef\xbb\xbfvms:\r\n  w:  {ram: 1GiB}  # web\r\n")
    third.write_text("networks: {lan: {bridge: br0}}\n")

    assert run(["migrate", "--check", str(tmp_path)]) == 1
    shown = capsys.readouterr().out
    assert f"{second}:2:8: `ram` is `memory` since kvmdecl/v1: as libvirt calls it\n" in shown
    assert "-  w:  {ram: 1GiB}  # web\n+  w:  {memory: 1GiB}  # web\n" in shown
    assert first.read_text() == HEAD

    assert run(["migrate", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{first}:1:13: `kvmdecl/v0` is `kvmdecl/v1` since kvmdecl/v1",
        f"{second}:2:8: `ram` is `memory` since kvmdecl/v1: as libvirt calls it",
    ]
    assert second.read_bytes() == b"\xef\xbb\xbfvms:\r\n  w:  {memory: 1GiB}  # web\r\n"
    assert run(["migrate", "--check", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "Nothing to migrate.\n"


@pytest.mark.usefixtures("v0")
def test_a_manifest_with_one_word_that_cannot_be_replaced_stays_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "a.yaml").write_text(HEAD)
    (tmp_path / "b.yaml").write_text("vms: {w: {ram: 1GiB, memory: 1GiB}}\n")

    assert run(["migrate", str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "error[migrate.not-possible]" in said.err
    assert (tmp_path / "a.yaml").read_text() == HEAD
