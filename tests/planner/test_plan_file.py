"""A saved plan: what is written is what is read, the schema holds, and a damaged file is refused in words."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema_rs
import pytest

from kvmdecl.cli.main import run
from kvmdecl.cli.schema import Document, _render
from kvmdecl.diagnostics import Rejected
from kvmdecl.pipeline import compile_cluster, load_cluster
from kvmdecl.plan import Plan
from kvmdecl.planner import make_plan
from kvmdecl.pluginhost import load_plugins
from kvmdecl.scenario import example_host
from kvmdecl.snapshot import write_snapshots
from kvmdecl.views.plan_json import plan_schema, read_plan, render_plan_json

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def plan() -> Plan:
    plugins = load_plugins()
    cluster = load_cluster(ROOT / "tests/scenarios/first-plan/cluster.yaml", plugins)
    hosts = {host.name: example_host(host.name) for host in cluster.hosts}
    return make_plan(cluster, compile_cluster(cluster, hosts, plugins).desired, hosts)


def test_what_is_written_is_what_is_read(plan: Plan, tmp_path: Path):
    path = tmp_path / "plan.json"
    path.write_text(render_plan_json(plan))

    assert read_plan(path) == plan


def test_a_saved_plan_in_the_place_of_a_manifest_is_one_mistake(plan: Plan, tmp_path: Path):
    path = tmp_path / "plan.json"
    path.write_text(render_plan_json(plan))

    with pytest.raises(Rejected) as refused:
        load_cluster(path, load_plugins())

    (found,) = refused.value.diagnostics
    assert (found.code, found.summary) == ("manifest.wrong-type", "this is a saved plan, and no manifest")
    assert "`kvmdecl plan FILE`" in found.hint


def test_the_file_satisfies_its_published_schema(plan: Plan):
    validator = jsonschema_rs.validator_for(json.loads((ROOT / "schemas/plan.v1.json").read_text()))

    validator.validate(json.loads(render_plan_json(plan)))
    assert plan_schema()["properties"]["formatVersion"]["pattern"] == r"^1\.[0-9]+$"


@pytest.mark.parametrize("document", Document)
def test_the_published_schemas_are_fresh(document: Document):
    name = "cluster" if document is Document.MANIFEST else document.value

    assert (ROOT / f"schemas/{name}.v1.json").read_text() == _render(document), "run `make schemas`"


@pytest.mark.parametrize("form", ["text", "json", "markdown", "html", "sarif", "github", "gitlab", "junit"])
def test_what_was_found_on_the_way_is_shown_of_a_saved_plan_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], form: str
):
    monkeypatch.chdir(tmp_path)
    write_snapshots(Path("facts"), [example_host("kvm-1")])
    Path("cluster.yaml").write_text(
        "apiVersion: kvmdecl/v1\ncluster: demo\nhosts: {kvm-1: 'qemu+tls://kvm-1.example/system'}\n"
        "vms: {web: {autostart: false}}\n"
    )

    def said(*words: str) -> str:
        run(["plan", *words, "--format", form])
        shown = capsys.readouterr()
        return (shown.out + shown.err).replace("cluster.yaml`", "plan.json`")

    made = said("--facts", "facts", "--out", "plan.json")

    assert "operations.stays-down" in made
    assert said("plan.json") == made


def test_a_key_of_a_later_minor_version_is_no_obstacle(plan: Plan, tmp_path: Path):
    path = tmp_path / "plan.json"
    path.write_text(json.dumps({**json.loads(render_plan_json(plan)), "formatVersion": "1.7", "news": True}))

    assert read_plan(path) == plan


def test_a_plan_from_before_networks_changed_live_is_read(plan: Plan, tmp_path: Path):
    path = tmp_path / "plan.json"
    document = json.loads(render_plan_json(plan))
    networks = [step["task"] for step in document["steps"] if step["task"]["task"] == "define-network"]
    for task in networks:
        del task["live"]
    path.write_text(json.dumps(document))

    assert networks
    assert read_plan(path) == plan


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda text: text[: len(text) // 2], "plan.unreadable"),
        (lambda text: text.replace('"1.4"', '"2.0"'), "formatVersion is 2.0"),
        (lambda text: text.replace('"task": "create-pool"', '"task": "burn-pool"'), "create-pool"),
        (lambda text: "[]", "formatVersion is missing"),
        (lambda text: "\x00\xff", "plan.unreadable"),
    ],
)
def test_a_damaged_file_is_refused_in_words(plan: Plan, tmp_path: Path, damage, said: str):
    path = tmp_path / "plan.json"
    path.write_text(damage(render_plan_json(plan)))

    with pytest.raises(Rejected) as refused:
        read_plan(path)

    (diagnostic,) = refused.value.diagnostics
    assert said in f"{diagnostic.code} {diagnostic.cause}"
