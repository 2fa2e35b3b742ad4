"""A saved plan does what it shows, to the objects that it names, and never makes a guest that is elsewhere by now."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from kvmdecl.diagnostics import Rejected
from kvmdecl.plan import Plan
from kvmdecl.planner.saved import require_consistent, retrace
from kvmdecl.scenario import example_host
from kvmdecl.snapshot import load_snapshots
from kvmdecl.state import HostState, ObservedDomain
from kvmdecl.views.plan_json import read_plan, render_plan_json
from tests.safety.support import BEFORE, plan_for, silent, with_state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from kvmdecl.state import Observation

STORIES = (
    "first-plan",
    "cpus-within-the-maximum",
    "disk-grown",
    "network-changed",
    "absent",
    "stopped",
    "restart-allowed",
    "restart-forced",
)


def story(name: str) -> tuple[Plan, dict[str, Observation]]:
    folder = BEFORE.parents[1] / name
    seen: dict[str, Observation] = {}
    if (folder / "observed").is_dir():
        seen |= load_snapshots(folder / "observed")
    plan = plan_for(folder / "cluster.yaml", seen)
    return plan, {host.name: seen.get(host.name) or example_host(host.name) for host in plan.hosts}


@pytest.mark.parametrize("name", STORIES)
def test_what_kvmdecl_saves_it_accepts_unchanged(name: str, tmp_path: Path):
    plan, hosts = story(name)
    assert plan.steps
    path = tmp_path / "plan.json"
    path.write_text(render_plan_json(plan))

    saved = read_plan(path)
    require_consistent(saved)

    assert retrace(saved, hosts) == saved == plan


def tampered(plan: Plan, tmp_path: Path, tamper: Callable[[Any], None]) -> Plan:
    document = json.loads(render_plan_json(plan))
    tamper(document)
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(document))
    return read_plan(path)


def first(document: Any, task: str) -> Any:
    return next(step for step in document["steps"] if step["task"]["task"] == task)


def other_host(document: Any) -> None:
    document["steps"][0]["address"]["host"] = "kvm-9"


def silent_host(document: Any) -> None:
    document["hosts"][0]["status"] = "unreachable"
    document["hosts"][1]["status"] = "unreachable"


def delete_in_disguise(document: Any) -> None:
    step = first(document, "define-domain")
    step["task"] = {
        "task": "delete-domain",
        "name": step["task"]["name"],
        "uuid": step["task"]["uuid"],
        "stop": True,
    }


def volume_in_disguise(document: Any) -> None:
    step = first(document, "create-volume")
    pool, name = step["address"]["name"].split("/")
    step["task"] = {"task": "delete-volume", "pool": pool, "name": name}


def other_object(document: Any) -> None:
    first(document, "define-domain")["task"]["name"] = "payroll"


def other_definition(document: Any) -> None:
    task = first(document, "define-domain")["task"]
    task["xml"] = task["xml"].replace(f"<name>{task['name']}</name>", "<name>payroll</name>")


def other_identity(document: Any) -> None:
    first(document, "define-domain")["task"]["uuid"] = "11111111-2222-3333-4444-555555555555"


def other_cluster(document: Any) -> None:
    document["cluster"] = "payroll"


def other_content(document: Any) -> None:
    step = next(s for s in document["steps"] if s["task"].get("role") == "image")
    step["task"]["content"]["sha256"] = "0" * 64


def content_for_a_disk(document: Any) -> None:
    image = next(s for s in document["steps"] if s["task"].get("role") == "image")
    disk = next(s for s in document["steps"] if s["task"].get("role") == "disk")
    disk["task"]["content"] = image["task"]["content"]


def other_volume(document: Any) -> None:
    first(document, "create-volume")["task"]["pool"] = "payroll"


def path_as_a_name(document: Any) -> None:
    step = first(document, "create-volume")
    step["task"]["name"] = "../../etc/passwd"
    step["address"]["name"] = f"{step['task']['pool']}/../../etc/passwd"


def escape_in_a_name(document: Any) -> None:
    step = first(document, "create-pool")
    step["task"]["name"] = step["address"]["name"] = "vms\x1b[2J"


def doubled_host(document: Any) -> None:
    document["hosts"].append({**document["hosts"][0], "uri": "qemu+tls://elsewhere.example/system"})


@pytest.mark.parametrize(
    "tamper",
    [
        other_host, silent_host, delete_in_disguise, volume_in_disguise, other_object, other_definition,
        other_identity, other_cluster, other_content, content_for_a_disk, other_volume, path_as_a_name,
        escape_in_a_name, doubled_host,
    ],
)  # fmt: skip
def test_a_step_that_is_not_what_it_seems_is_refused(tamper: Callable[[Any], None], tmp_path: Path):
    plan, _ = story("first-plan")
    changed = tampered(plan, tmp_path, tamper)

    with pytest.raises(Rejected) as refused:
        require_consistent(changed)

    assert {found.code for found in refused.value.diagnostics} == {"plan.inconsistent"}


def hidden_changes(document: Any) -> Iterator[Callable[[Any], None]]:
    """Edits that look at nothing but one step's task or its show."""
    step = document["steps"][0]
    yield lambda _: step["changes"].clear()
    yield lambda _: step.update(summary="nothing at all")
    yield lambda _: step["task"].update(autostart=not step["task"].get("autostart"))
    yield lambda _: step["task"].update(power="shutdown")
    yield lambda _: step["task"].update(
        xml=step["task"]["xml"].replace("</devices>", "<tpm model='x'/></devices>")
    )
    yield lambda _: step["task"].update(live=[{"call": "detach-device", "argument": "disk[root]"}])


@pytest.mark.parametrize("number", range(6))
def test_a_task_that_does_more_than_the_step_shows_is_refused(number: int, tmp_path: Path):
    plan, hosts = story("cpus-within-the-maximum")
    (step,) = plan.steps
    assert step.task.task == "define-domain"

    def tamper(document: Any) -> None:
        list(hidden_changes(document))[number](document)

    changed = tampered(plan, tmp_path, tamper)
    assert changed != plan
    require_consistent(changed)

    with pytest.raises(Rejected) as refused:
        retrace(changed, hosts)

    assert [found.code for found in refused.value.diagnostics] == ["plan.inconsistent"]


@pytest.mark.parametrize(
    "hidden", [{"power": "keep"}, {"power": "shutdown"}, {"power_off": {"timeout": 120, "force": True}}]
)
def test_a_restart_is_gentle_and_is_one_if_the_plan_shows_that(hidden: dict[str, Any], tmp_path: Path):
    plan, hosts = story("restart-allowed")
    changed = tampered(plan, tmp_path, lambda document: document["steps"][0]["task"].update(hidden))
    assert changed != plan
    require_consistent(changed)

    with pytest.raises(Rejected, match=r"plan\.inconsistent"):
        retrace(changed, hosts)


def test_an_object_that_moved_is_left_to_the_host_to_refuse():
    plan, hosts = story("cpus-within-the-maximum")
    (step,) = plan.steps
    state = hosts[step.address.host].state
    moved = replace(
        hosts[step.address.host],
        state=replace(state, domains=tuple(replace(domain, autostart=True) for domain in state.domains)),
    )

    assert retrace(plan, {**hosts, step.address.host: moved}) == plan


def creation() -> tuple[Plan, dict[str, Observation], Any]:
    plan, hosts = story("first-plan")
    step = next(step for step in plan.steps if step.task.task == "define-domain")
    return plan, hosts, step


def test_a_guest_that_another_host_has_by_now_is_not_made_again():
    plan, hosts, step = creation()
    xml = f"<domain><name>{step.address.name}</name><uuid>{step.task.uuid}</uuid></domain>"
    twin = ObservedDomain(step.address.name, step.task.uuid, xml, xml, True, True, False, False)
    elsewhere = next(name for name in hosts if name != step.address.host)

    left = retrace(plan, {**hosts, elsewhere: with_state(elsewhere, HostState(domains=(twin,)))})

    assert [found.code for found in left.blocked] == ["plan.second-copy"]
    made = {s.address for s in plan.steps} - {s.address for s in left.steps}
    assert step.address in made
    assert all(address.name.split("/")[-1].startswith(step.address.name) for address in made)
    assert all(address not in made for s in left.steps for address in s.after)


def test_a_guest_that_a_host_fallen_silent_may_have_is_not_made():
    plan, hosts, step = creation()
    quiet = next(name for name in hosts if name != step.address.host)

    left = retrace(plan, {**hosts, quiet: silent(quiet)})

    assert not [s for s in left.steps if s.address == step.address]
    assert "plan.second-copy" in {found.code for found in left.blocked}
