"""One loader, the same for all plugins: sorted, complete, and closed to whatever is broken."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from kvmdecl.cluster import PlacedCluster, ResolvedCluster
from kvmdecl.diagnostics import Diagnostic, Rejected
from kvmdecl.hosts.shell import UriReach
from kvmdecl.pluginhost import PluginError, load_plugins
from kvmdecl.solver import CellPlace, Place, PlaceAnswer, PlaceRequest
from tests.plugins.hook_manual import MANUAL
from tests.resolve.support import resolved

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HEAD = "from kvmdecl.api import *\nfrom kvmdecl.api import hookimpl\n"
NOTHING = PlacedCluster(ResolvedCluster("demo", "", "spread", (), (), (), (), ()), ())


@dataclass(frozen=True)
class Site:
    """A folder on sys.path into which tests install plugins."""

    folder: Path

    def install(self, module: str, code: str, *, name: str = "", distribution: str = "") -> None:
        (self.folder / f"{module}.py").write_text(HEAD + code)
        project = distribution or module.replace("_", "-")
        info = self.folder / f"{project.replace('-', '_')}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[kvmdecl]\n{name or module} = {module}\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.syspath_prepend(tmp_path)
    yield Site(tmp_path)
    for file in tmp_path.glob("*.py"):
        sys.modules.pop(file.stem, None)


def broken() -> Diagnostic:
    with pytest.raises(PluginError) as error:
        load_plugins()
    (found,) = error.value.diagnostics
    assert found.code == "plugin.broken"
    return found


SOLVER = "@hookimpl\ndef kvmdecl_solvers():\n    return {NAME: lambda request: PlaceAnswer({})}\n"
SECTION = "class S(Section):\n    size: Size\n@hookimpl\ndef kvmdecl_sections():\n    return {NAME: S}\n"


def test_plugins_come_in_order_of_name_with_what_they_bring(site: Site) -> None:
    site.install("zebra", SOLVER.replace("NAME", "'pack'") + SECTION.replace("NAME", "'stripes'"))
    site.install("aardvark", SECTION.replace("NAME", "'ants'"))
    found = load_plugins().installed()
    assert [info.name for info in found if not info.built_in] == ["aardvark", "zebra"]
    assert [info.name for info in found] == sorted(info.name for info in found)
    zebra = found[-1]
    assert (zebra.distribution, zebra.version, zebra.module, zebra.built_in) == (
        "zebra",
        "1.2",
        "zebra",
        False,
    )
    assert zebra.hooks == ("kvmdecl_sections", "kvmdecl_solvers")
    assert (zebra.sections, zebra.solvers) == (("stripes",), ("pack",))
    assert list(load_plugins().sections()) == ["ants", "ha", "stripes"]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import no_such_module\n", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise SystemExit(3)\n", "SystemExit: 3"),
        ("1/0\n", "ZeroDivisionError"),
        ("", "has no hook"),
        ("@hookimpl\ndef kvmdecl_chekc(cluster):\n    return []\n", "unknown hook 'kvmdecl_chekc'"),
        ("@hookimpl\ndef kvmdecl_check(clutser):\n    return []\n", "clutser"),
        ("@hookimpl\ndef kvmdecl_solvers():\n    return None\n", "kvmdecl_solvers returned None"),
        ("@hookimpl\ndef kvmdecl_solvers():\n    return {'x': 3}\n", "the solver 'x' cannot be called"),
        ("@hookimpl\ndef kvmdecl_solvers():\n    return {'': print}\n", "'' is no solver name"),
        ("@hookimpl\ndef kvmdecl_solvers():\n    raise OSError('disk')\n", "OSError: disk"),
        ("@hookimpl\ndef kvmdecl_sections():\n    return {'x': int}\n", "no subclass of Section"),
        (SECTION.replace("NAME", "'Bad-Key'"), "'Bad-Key' is no section key"),
        (SECTION.replace("NAME", "'vms'"), "the section 'vms' belongs to kvmdecl"),
        (SECTION.replace("NAME", "'apiVersion'"), "no section key"),
        (SECTION.replace("NAME", "'profiles'"), "the section 'profiles' belongs to kvmdecl"),
        (SOLVER.replace("NAME", "'spread'"), "'spread' of kvmdecl_solvers is also offered by plugin spread"),
    ],
)
def test_a_broken_plugin_stops_everything_and_is_named(site: Site, code: str, reason: str) -> None:
    site.install("sample_broken", code, name="t-sample", distribution="sample-dist")
    found = broken()
    assert found.summary.startswith("plugin t-sample of sample-dist 1.2 is broken: ")
    assert reason in found.summary


def test_two_plugins_of_one_name_are_an_error_that_names_both(site: Site) -> None:
    site.install("first", SOLVER.replace("NAME", "'a'"), name="same")
    site.install("second", SOLVER.replace("NAME", "'b'"), name="same")
    assert (
        broken().summary == "plugin same of second 1.2 is broken: first 1.2 offers a plugin of the same name"
    )


def test_two_sections_of_one_name_are_an_error(site: Site) -> None:
    site.install("first", SECTION.replace("NAME", "'quota'"))
    site.install("second", SECTION.replace("NAME", "'quota'"))
    assert "'quota' of kvmdecl_sections is also offered by plugin first" in broken().summary


def test_what_a_plugin_says_about_itself_cannot_act_on_a_terminal(site: Site) -> None:
    site.install("sample_escape", "raise ValueError('\\x1b[2J')\n")
    assert "\x1b" not in broken().summary


CHECK = """
@hookimpl
def kvmdecl_check(cluster):
    for number in (2, 1):
        yield Diagnostic(f"{NAME}.c{number}", "found", Span("f", number, 1, number, 2))
"""


def test_findings_of_all_plugins_are_collected_in_order_of_place(site: Site) -> None:
    site.install("zebra", CHECK.replace("{NAME}", "z"))
    site.install("aardvark", CHECK.replace("{NAME}", "a"))
    assert [found.code for found in load_plugins().check(NOTHING, {}, {})] == ["a.c1", "z.c1", "a.c2", "z.c2"]


def test_the_smallest_plugin_of_the_manual_works(site: Site) -> None:
    code = re.findall(r"```python\n(.*?)```", MANUAL.read_text(encoding="utf-8"), re.DOTALL)[0]
    site.install("house", "", name="house")
    (site.folder / "house.py").write_text(code)
    cluster = resolved("vms:\n  web: {host: kvm-1}\n  db: {host: kvm-1, description: data}\n")
    (found,) = load_plugins().check(PlacedCluster(cluster, cluster.vms), {}, {})
    assert (found.code, found.summary) == ("house.no-description", "web has no description")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("    yield 3\n", "kvmdecl_check gave int and no Diagnostic"),
        ("    yield Diagnostic('a.b', 'x')\n    raise RuntimeError('half-way')\n", "RuntimeError: half-way"),
        ("    return 7\n", "TypeError"),
    ],
)
def test_a_check_that_fails_is_never_taken_for_one_that_found_nothing(
    site: Site, body: str, reason: str
) -> None:
    site.install("sample_check", "@hookimpl\ndef kvmdecl_check(cluster, facts):\n" + body)
    plugins = load_plugins()
    with pytest.raises(PluginError) as error:
        plugins.check(NOTHING, {}, {})
    assert reason in error.value.diagnostics[0].summary
    assert "sample_check" in error.value.diagnostics[0].summary


EMIT = SECTION.replace("NAME", "'notes'") + "@hookimpl\ndef kvmdecl_emit(cluster):\n"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("    yield 3\n", "kvmdecl_emit gave int and no Artifact"),
        ("    yield Artifact('vms', 'a', '')\n", "the section 'vms' of an artifact is none of this plugin's"),
        ("    yield Artifact('notes', '../a', '')\n", "'../a' is no path of an artifact"),
        ("    yield Artifact('notes', '/a', '')\n", "'/a' is no path of an artifact"),
        (
            "    yield Artifact('notes', 'a', '')\n    yield Artifact('notes', 'a', 'b')\n",
            "'a' is written twice",
        ),
        ("    yield Artifact('notes', 'a', '')\n    raise OSError('disk')\n", "OSError: disk"),
    ],
)
def test_files_that_a_plugin_may_not_write_stop_the_run(site: Site, body: str, reason: str) -> None:
    site.install("sample_emit", EMIT + body)
    with pytest.raises(PluginError, match="sample_emit") as error:
        load_plugins().emit(NOTHING, {})
    assert reason in error.value.diagnostics[0].summary


def test_files_come_in_order_of_section_and_path(site: Site) -> None:
    files = "    yield Artifact('notes', 'b/c', 'x')\n    yield Artifact('notes', 'a', 'y')\n"
    site.install("sample_emit", EMIT + files)
    assert [(file.path, file.text) for file in load_plugins().emit(NOTHING, {})] == [("a", "y"), ("b/c", "x")]


def test_what_a_plugin_refuses_to_write_is_told_as_it_is(site: Site) -> None:
    site.install(
        "sample_emit", EMIT + "    raise Rejected([Diagnostic('notes.none', 'there is nothing to write')])\n"
    )
    with pytest.raises(Rejected) as error:
        load_plugins().emit(NOTHING, {})
    assert [found.code for found in error.value.diagnostics] == ["notes.none"]


@pytest.mark.parametrize("body", ["return None", "return {}", "raise RuntimeError('x')"])
def test_a_solver_that_fails_is_named(site: Site, body: str) -> None:
    code = (
        f"def solve(request):\n    {body}\n@hookimpl\ndef kvmdecl_solvers():\n    return {{'mine': solve}}\n"
    )
    site.install("sample_solver", code)
    solve = load_plugins().solver("mine")
    with pytest.raises(PluginError, match="sample_solver"):
        solve(PlaceRequest((), ()))


CELL = CellPlace(0, ((0, 4, 512),), ((0, 1),), ((0, 1),))
PLACE = Place("kvm-1", (CELL,), (2,), (3,), (("0000:41:00.0",),))


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [
        (PlaceAnswer({"a": "kvm-1"}, {"b": {"kvm-1": "full"}}, {"a": PLACE}), ""),
        (PlaceAnswer([("a", "kvm-1")]), "`hosts`"),
        (PlaceAnswer({"a": 1}), "`hosts`"),
        (PlaceAnswer({}, {"a": "full"}), "`refused`"),
        (PlaceAnswer({}, {"a": {"kvm-1": None}}), "`refused`"),
        (PlaceAnswer({}, {}, {"a": None}), "`places`"),
        (PlaceAnswer({}, {}, {1: PLACE}), "`places`"),
        (PlaceAnswer({}, {}, {"a": replace(PLACE, host=None)}), "`places`"),
        (PlaceAnswer({}, {}, {"a": replace(PLACE, cells=[CELL])}), "`places`"),
        (PlaceAnswer({}, {}, {"a": replace(PLACE, cells=((0, (), (), ()),))}), "`places`"),
        (PlaceAnswer({}, {}, {"a": replace(PLACE, emulator=(True,))}), "`places`"),
        (PlaceAnswer({}, {}, {"a": replace(PLACE, io_threads=3)}), "`places`"),
        (PlaceAnswer({}, {}, {"a": replace(PLACE, devices=("0000:41:00.0",))}), "`places`"),
        (PlaceAnswer({}, {}, {"a": replace(PLACE, cells=(replace(CELL, home="0"),))}), "`places`"),
        (PlaceAnswer({}, {}, {"a": replace(PLACE, cells=(replace(CELL, memory=((0, 4),)),))}), "`places`"),
        (PlaceAnswer({}, {}, {"a": replace(PLACE, cells=(replace(CELL, pins={0: 1}),))}), "`places`"),
        (
            PlaceAnswer({}, {}, {"a": replace(PLACE, cells=(replace(CELL, floating=((0, 1.5),)),))}),
            "`places`",
        ),
    ],
)
def test_a_solver_that_answers_with_something_else_is_named(
    site: Site, answer: PlaceAnswer, wrong: str
) -> None:
    site.install(
        "sample_solver", SOLVER.replace("NAME", "'mine'").replace("PlaceAnswer({})", "request.groups")
    )
    solve = load_plugins().solver("mine")
    asked = PlaceRequest((), (), groups=answer)
    if not wrong:
        assert solve(asked) == answer
        return
    with pytest.raises(PluginError, match=f"sample_solver.*{wrong}"):
        solve(asked)


def test_an_unknown_solver_is_answered_with_the_nearest() -> None:
    with pytest.raises(Rejected) as rejected:
        load_plugins().solver("spraed")
    (found,) = rejected.value.diagnostics
    assert (found.code, found.hint) == ("plugin.unknown-solver", "did you mean `spread`?")


@pytest.mark.parametrize("answer", ["1", "Answer('kvm-9', 'x', 'ok', 'x')", "Answer('', 'x', 'poor', 'x')"])
def test_what_a_plugin_answers_the_doctor_is_an_answer_about_one_of_the_hosts(
    site: Site, answer: str
) -> None:
    given = (
        f"def kvmdecl_doctor(cluster, up):\n    return [Answer('kvm-1', 'disk', 'ok', 'is well'), {answer}]\n"
    )
    site.install("looks", f"@hookimpl\n{given}")
    plugins = load_plugins()
    with pytest.raises(PluginError, match="something else than an Answer about one of these hosts"):
        plugins.doctor(NOTHING.cluster, UriReach({}), ["kvm-1"])
