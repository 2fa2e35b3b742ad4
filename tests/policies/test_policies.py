"""A policy says what a plan must not do; a plan that one denies is shown, and none of it is carried out."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
import typer

from kvmdecl.cli import applying, judging, planning, validate
from kvmdecl.cli.common import Exit
from kvmdecl.diagnostics import Rejected, Severity, Span
from kvmdecl.pipeline import load_cluster
from kvmdecl.plan import Action, Change, HostStatus, Impact, Plan, PlannedHost, Step
from kvmdecl.planner.policies import counted
from kvmdecl.pluginhost import load_plugins
from kvmdecl.policing import (
    OfPlugin,
    PlanPolicy,
    PolicyContext,
    PolicyVerdict,
    findings,
    judged,
    with_file,
)
from kvmdecl.policy import DAYS, Effect, Policies, Window
from kvmdecl.policyfile import read_policies
from kvmdecl.state import Address, DesiredDomain, Kind
from kvmdecl.tasks import ConfigureManager, CreateVolume, DeleteDomain
from kvmdecl.views.plan_findings import findings as all_findings
from kvmdecl.views.plan_json import read_plan, render_plan_json
from kvmdecl.views.plan_markdown import LEAST_BYTES, render_markdown
from kvmdecl.views.plan_text import render_plan
from kvmdecl.views.sarif import render_sarif

REGO = Path(__file__).parents[2] / "docs" / "policies"
TODAY = date(2026, 11, 26)
WORKING = datetime(2026, 11, 26, 10, 0, tzinfo=UTC)  # a Thursday
AT_NIGHT = datetime(2026, 11, 26, 23, 0, tzinfo=UTC)
ON_PLAN = PolicyContext("plan", "alice", "ci-7")
MANIFEST = """\
apiVersion: kvmdecl/v1
cluster: edge
hosts:
  kvm-{1..2}: {uri: "qemu+tls://{name}.example/system", labels: {tier: prod, rack: "r1"}}
  kvm-{3..4}: {uri: "qemu+tls://{name}.example/system", labels: {tier: test, rack: "r2"}}
vms:
  web: {count: 4}
  db: {}
"""


def step(
    address: str,
    action: Action = Action.UPDATE,
    impact: Impact = Impact.RESTART,
    **changes: Impact,
) -> Step:
    """`kvm-1/domain/web-1`, and the impact of each key that changes."""
    host, kind, name = address.split("/", 2)
    at = Span("vms.yaml", 7, 3, 7, 9)
    its = tuple(
        Change(key, key.replace("_", "."), "1", "2", how, "virDomainDefineXML", at=replace(at, line=8 + n))
        for n, (key, how) in enumerate(changes.items())
    )
    task = (
        CreateVolume("vms", name, "disk", "qcow2", 1, "off", None, None, "db")
        if kind == "volume"
        else DeleteDomain(name, "", stop=False)
    )
    return Step(Address(host, Kind(kind), name), action, impact, its, "", "there", task, at=at)


STEPS = (
    step("kvm-1/domain/web-1", cpus_count=Impact.RESTART, description=Impact.METADATA),
    step("kvm-3/domain/web-2", impact=Impact.LIVE, memory_size=Impact.LIVE),
    step("kvm-3/domain/web-3", Action.DELETE, Impact.DOWNTIME),
    step("kvm-1/volume/vms/db.root.qcow2", Action.CREATE, Impact.NONE),
    step("kvm-4/network/lan", Action.CREATE, Impact.NONE),
)
HOSTS = tuple(
    PlannedHost(f"kvm-{n}", "", HostStatus.OK, labels={"tier": "prod" if n < 3 else "test"})
    for n in range(1, 5)
)
PLAN = Plan("edge", "r", HOSTS, STEPS, 3)


def policies(tmp_path: Path, *entries: str) -> Policies:
    """Policies of a manifest; each entry is what one says besides its reason, the first is on line 10."""
    lines = "".join(f"  p{n}: {entry}\n" for n, entry in enumerate(entries))
    path = tmp_path / "cluster.yaml"
    path.write_text(f"{MANIFEST}policies:\n{lines}")
    return load_cluster(path, load_plugins()).policies


def objections(plan: Plan) -> list[str]:
    return [str(each.address) for ruling in plan.rulings for each in ruling.objections]


def by(
    plan: Plan, context: PolicyContext = ON_PLAN, today: date = TODAY, offered: Iterable[OfPlugin] = ()
) -> Plan:
    return judged(plan, tuple(offered), context, today)


@pytest.mark.parametrize(
    ("says", "met"),
    [
        ("objects: [domain/web-1]", ["kvm-1/domain/web-1"]),
        ("objects: [domain/*1, 'network/l?n']", ["kvm-1/domain/web-1", "kvm-4/network/lan"]),
        ("objects: ['volume/vms/*']", ["kvm-1/volume/vms/db.root.qcow2"]),
        ("vms: [web]", ["kvm-1/domain/web-1", "kvm-3/domain/web-2", "kvm-3/domain/web-3"]),
        ("vms: [web-2, d*]", ["kvm-3/domain/web-2", "kvm-1/volume/vms/db.root.qcow2"]),
        ("vms: [we]", []),
        ("hosts: [kvm-4]", ["kvm-4/network/lan"]),
        ("labels: {tier: prod}", ["kvm-1/domain/web-1", "kvm-1/volume/vms/db.root.qcow2"]),
        ("labels: {tier: 't*'}, actions: [create]", ["kvm-4/network/lan"]),
        ("labels: {zone: '*'}", []),
        ("actions: [delete]", ["kvm-3/domain/web-3"]),
        ("impact: restart", ["kvm-1/domain/web-1", "kvm-3/domain/web-3"]),
        ("impact: live", ["kvm-1/domain/web-1", "kvm-3/domain/web-2", "kvm-3/domain/web-3"]),
        ("fields: [cpus.*]", ["kvm-1/domain/web-1"]),
        ("fields: [description], impact: restart", []),  # the restart comes of another key
        ("fields: [memory.size, cpus.count], impact: live", ["kvm-1/domain/web-1", "kvm-3/domain/web-2"]),
        ("vms: [web], more_than: 3", []),
        ("vms: [web], more_than: 2", ["kvm-1/domain/web-1", "kvm-3/domain/web-2", "kvm-3/domain/web-3"]),
        ("vms: [web], more_than: 75%", []),  # of four
        ("vms: [web], more_than: 74%", ["kvm-1/domain/web-1", "kvm-3/domain/web-2", "kvm-3/domain/web-3"]),
    ],
)  # fmt: skip
def test_a_policy_is_about_what_fits_all_that_it_says(tmp_path: Path, says: str, met: list[str]):
    held = policies(tmp_path, f"{{deny: it shall not be, {says}}}")
    cluster = load_cluster(tmp_path / "cluster.yaml", load_plugins())
    desired = [
        DesiredDomain(Address("kvm-1", Kind.DOMAIN, vm.name), "", "<domain/>", True, True)
        for vm in cluster.vms
    ]

    found = by(replace(PLAN, policies=counted(held, cluster, desired)))

    assert objections(found) == met
    assert bool(found.denied) is bool(met)


def test_a_finding_has_the_place_of_the_change_and_that_of_the_policy(tmp_path: Path):
    held = policies(tmp_path, "{deny: no restarts here, impact: restart, fields: [cpus.count]}")

    (found,) = findings(by(replace(PLAN, policies=held)))

    assert (found.code, found.severity) == ("policy.denied", Severity.ERROR)
    assert found.summary == (
        "policy p0 denies: domain web-1 on kvm-1 is changed (restart): cpus.count 1 -> 2"
    )
    assert (str(found.at), found.cause) == ("vms.yaml:8:3", "no restarts here.")
    assert [(note.text, note.at and note.at.line) for note in found.notes] == [("the policy", 10)]


def test_what_one_line_does_to_many_is_found_once(tmp_path: Path):
    many = tuple(step(f"kvm-1/domain/vm-{n}") for n in range(2_000))
    held = policies(tmp_path, "{warn: much at once, impact: restart}")

    judged_ = by(replace(PLAN, steps=many, policies=held))

    (found,) = findings(judged_)
    assert found.summary.endswith("domain vm-0 on kvm-1 is changed (restart), and 1999 more")
    assert not judged_.denied


def test_what_a_cluster_manager_forgets_is_deleted(tmp_path: Path):
    held = policies(tmp_path, "{deny: it stays, vms: [db], actions: [delete]}")
    task = ConfigureManager("pacemaker", "edge", "", "kvm-1", "", ("db",), (), ())
    forgets = Step(Address("pacemaker", Kind.CLUSTER, "edge"), Action.UPDATE, Impact.NONE, (), "", "", task)

    assert objections(by(replace(PLAN, steps=(forgets,), policies=held))) == ["pacemaker/domain/db"]


# -- time ------------------------------------------------------------------------------------------------------

CALM = '{deny: people work, impact: restart, during: {days: mon-fri, from: "08:00", to: "18:00"}}'


@pytest.mark.parametrize(
    ("window", "moment", "holds"),
    [
        ("mon-fri 08:00-18:00 UTC", WORKING, True),
        ("mon-fri 08:00-10:00 UTC", WORKING, False),  # the end is not part of it
        ("mon-fri 08:00-18:00 UTC", AT_NIGHT, False),
        ("fri 08:00-18:00 UTC", WORKING, False),
        ("mon-sun 00:00-24:00 UTC", AT_NIGHT, True),
        ("thu 22:00-06:00 UTC", AT_NIGHT, True),
        ("thu 22:00-06:00 UTC", datetime(2026, 11, 27, 5, tzinfo=UTC), True),  # it began on Thursday
        ("fri 22:00-06:00 UTC", datetime(2026, 11, 27, 5, tzinfo=UTC), False),
        ("thu 18:00-20:00 Asia/Tokyo", WORKING, True),
        ("fri 08:00-09:00 Asia/Tokyo", AT_NIGHT, True),
    ],
)
def test_a_window_is_hours_of_days_in_a_time_zone(window: str, moment: datetime, holds: bool):
    days, hours, zone = window.split()
    first, _, last = days.partition("-")
    numbers = tuple(range(DAYS.index(first), DAYS.index(last or first) + 1))
    begin, end = (int(t[:2]) * 60 + int(t[3:]) for t in hours.split("-"))

    found = Window(numbers, begin, end, zone)

    assert found.holds(moment) is holds
    assert str(found) == window.removeprefix("mon-sun 00:00-24:00 ")


def test_a_plan_tells_of_a_time_and_apply_looks_at_the_clock(tmp_path: Path):
    plan = replace(PLAN, policies=policies(tmp_path, CALM))

    planned = by(plan)
    at_work, at_night = (
        by(planned, replace(ON_PLAN, command="apply", now=now)) for now in (WORKING, AT_NIGHT)
    )

    (told,) = {found.summary.partition(": domain")[0] for found in findings(planned)}
    assert told == "policy p0 denies in mon-fri 08:00-18:00 UTC"
    assert {found.code for found in findings(planned)} == {"policy.timed"}
    assert (planned.denied, at_work.denied, at_night.rulings) == ((), ("p0",), ())


# -- waivers ---------------------------------------------------------------------------------------------------

WAIVED = (
    "{deny: not so, impact: restart, waive: [{on: [domain/web-1], until: 2026-11-26, reason: it is a test}]}"
)


def test_a_waiver_is_for_whom_it_names_up_to_its_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    plan = replace(PLAN, policies=policies(tmp_path, WAIVED.replace("2026-11-26", "2099-01-01")))
    today, later = by(plan), by(plan, today=date(2099, 1, 2))

    assert [(r.denies, objections(replace(plan, rulings=(r,)))) for r in today.rulings] == [
        (True, ["kvm-3/domain/web-3"]),
        (False, ["kvm-1/domain/web-1"]),
    ]
    assert [found.code for found in findings(today)] == ["policy.denied", "policy.waived"]
    assert objections(later) == [
        "kvm-1/domain/web-1",
        "kvm-3/domain/web-3",
    ]  # a saved plan is judged without it


def test_a_waiver_that_is_over_stops_every_command(tmp_path: Path):
    with pytest.raises(Rejected) as rejected:
        policies(tmp_path, WAIVED.replace("2026-11-26", "2020-01-01"))
    (found,) = rejected.value.diagnostics
    assert (found.code, found.at and found.at.line) == ("policy.waiver-expired", 10)
    with pytest.raises(Rejected, match=r"policy\.waiver-expired"):
        validate._check(tmp_path / "cluster.yaml", (), ())


# -- policies that are about nothing ---------------------------------------------------------------------------


def idle_in(folder: Path, policy: str, plan: Plan | None = None, beside: str = "") -> list[tuple[str, str]]:
    """What is told of a policy: the text of line 10 that is pointed at, and what is said of it."""
    path = folder / "cluster.yaml"
    path.write_text(f"{MANIFEST}policies:\n  p: {policy}\n{beside}")
    found = judging.idle(load_cluster(path, load_plugins()), plan)
    assert {(each.code, each.severity) for each in found} <= {("policy.nothing", Severity.WARNING)}
    lines = path.read_text().splitlines()
    return [
        (lines[each.at.line - 1][each.at.column - 1 : each.at.end_column - 1], each.summary)
        for each in found
        if each.at
    ]


@pytest.mark.parametrize(
    ("names", "place", "told"),
    [
        ('vms: [web, web-4, db, "d?"]', "", ""),
        ("vms: [web, wbe]", "wbe", "no vm is called `wbe`"),
        ("vms: [web-5]", "web-5", "no vm is called `web-5`"),
        ("vms: [mail-*]", "mail-*", "no vm is called `mail-*`"),
        ("hosts: [kvm-*, kvm-9]", "kvm-9", "no host is called `kvm-9`"),
        ('labels: {tier: prod, rack: "r?"}', "", ""),
        ("labels: {tier: prd}", "prd", "no host has the label `tier: prd`"),
        ("labels: {teir: prod}", "prod", "no host has the label `teir: prod`"),
        ('objects: [domain/web-1, "*/x", volume/x, cluster/x]', "", ""),
        ("objects: [domain/web]", "domain/web", "nothing is called `domain/web`"),
        ("objects: [network/lan]", "network/lan", "nothing is called `network/lan`"),
    ],
)
def test_what_a_policy_names_and_there_is_not_is_told_at_its_place(
    tmp_path: Path, names: str, place: str, told: str
):
    expected = [(place, f"policy p is about less than it says: {told}")] if told else []
    assert idle_in(tmp_path, f"{{deny: not so, {names}}}") == expected


def test_what_leaves_the_manifest_is_there_until_it_is_gone(tmp_path: Path):
    policy = (
        "{deny: not so, vms: [old], objects: [domain/old], "
        "waive: [{on: [domain/old, volume/x], until: 2099-01-01, reason: it moved}]}"
    )
    gone, leaving = replace(PLAN, steps=()), replace(PLAN, steps=(step("kvm-3/domain/old", Action.DELETE),))
    silent = replace(gone, hosts=(replace(HOSTS[0], status=HostStatus.UNREACHABLE), *HOSTS[1:]))

    assert idle_in(tmp_path, policy, leaving) == []
    assert len(idle_in(tmp_path, policy)) == 2  # nobody knows what a waiver is for who has seen no host
    assert len(idle_in(tmp_path, policy, silent)) == 2
    assert idle_in(tmp_path, policy, gone)[2:] == [
        ("2099-01-01", "a waiver of policy p is for `domain/old`, and nothing is called so")
    ]


def test_an_idle_policy_can_be_meant_so(tmp_path: Path):
    beside = "rules: {ignore: [policy.nothing]}\n"
    assert idle_in(tmp_path, "{deny: not so, vms: [later]}", beside=beside) == []


# -- a file of its own -----------------------------------------------------------------------------------------


def file_of(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "policies.yaml"
    path.write_text("apiVersion: kvmdecl/v1\n" + text)
    return path


def test_a_file_is_held_against_plans_beside_the_manifest(tmp_path: Path):
    file = file_of(tmp_path, "policies:\n  p0:\n    warn: look at it\n    actions: [delete]\n")
    plan = replace(PLAN, policies=policies(tmp_path, "{deny: not so, vms: [db]}"))

    found = by(judging.by_file(plan, file))

    assert [(r.source, r.policy, r.effect, r.at and r.at.line) for r in found.rulings] == [
        ("manifest", "p0", Effect.DENY, 10),
        ("file", "p0", Effect.WARN, 4),
    ]


def test_a_newer_file_takes_the_place_of_the_one_that_a_plan_was_saved_with(tmp_path: Path):
    share = "policies: {much: {deny: not so, vms: [web], more_than: 50%}}\n"
    first = read_policies(file_of(tmp_path, share), TODAY)
    saved = replace(first, declared=tuple(replace(each, there=4) for each in first.declared))

    same = with_file(saved, read_policies(file_of(tmp_path, share), TODAY))
    other = with_file(saved, read_policies(file_of(tmp_path, share.replace("50%", "60%")), TODAY))

    assert [each.there for each in same.declared] == [4]
    assert [(each.more_than, each.there) for each in other.declared] == [("60%", None)]
    assert by(replace(PLAN, policies=other)).denied == ("much",)  # where it is not known how many there are


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ("policies: {p: {deny: nothing at all}}\n", "manifest.bad-policy", 2),
        ("policies: {p: {deny: not so, warn: it is so, actions: [delete]}}\n", "manifest.bad-policy", 2),
        ("policies: {p: {actions: [delete]}}\n", "manifest.bad-policy", 2),
        ("policies: {p: {deny: not so, actions: [delte]}}\n", "manifest.bad-value", 2),
        ("policies: {p: {deny: not so, objects: [vm/x]}}\n", "manifest.bad-value", 2),
        ("policies: {p: {deny: not so, fields: [a], during: {zone: Atlantis/Main}}}\n", "manifest.bad-policy", 2),
        ("policies: {p: {deny: not so, fields: [a], during: {days: monday}}}\n", "manifest.bad-value", 2),
        ("vms: {}\n", "manifest.unknown-key", 2),
        ("waive:\n- {policy: calm, on: [domain/a], until: 2020-01-01, reason: it was}\n", "policy.waiver-expired", 3),
        ("policies: {}\npolicies: {}\n", "yaml.duplicate-key", 3),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_file_is_found_at_its_line(tmp_path: Path, text: str, code: str, line: int):
    with pytest.raises(Rejected) as rejected:
        read_policies(file_of(tmp_path, text), TODAY)
    assert [(found.code, found.at and found.at.line) for found in rejected.value.diagnostics] == [
        (code, line)
    ]


# -- policies of plugins ---------------------------------------------------------------------------------------


def quiet(plan: Plan, context: PolicyContext) -> Iterator[PolicyVerdict]:
    """No deletions by Alice; and she is told whenever she plans."""
    yield PolicyVerdict(None, "think twice", Effect.WARN)
    for each in plan.steps:
        if each.action is Action.DELETE and context.user == "alice":
            yield PolicyVerdict(each.address, "not by Alice")


QUIET = OfPlugin("house", PlanPolicy("quiet", quiet))


def test_a_plugins_policy_sees_the_plan_and_who_asks():
    assert by(PLAN, replace(ON_PLAN, user="bob"), offered=[QUIET]).denied == ()

    found = by(PLAN, offered=[QUIET])

    assert found.denied == ("quiet",)
    assert [each.summary for each in findings(found)] == [
        "policy quiet warns: the plan is planned",
        "policy quiet denies: domain web-3 on kvm-3 is deleted (downtime)",
    ]


def test_only_a_file_waives_what_a_plugin_finds(tmp_path: Path):
    text = "waive:\n- {policy: quiet, on: [domain/web-3], until: 2099-01-01, reason: she asked}\n"
    plan = judging.by_file(PLAN, file_of(tmp_path, text))

    assert by(plan, offered=[QUIET]).denied == ()
    with pytest.raises(Rejected, match=r"policy\.unknown"):
        judging.judge(plan, load_plugins(), "plan")


def test_what_a_plugin_denied_stays_denied_where_it_is_not_installed():
    saved = by(PLAN, offered=[QUIET])

    assert by(saved, replace(ON_PLAN, command="apply", now=AT_NIGHT)).denied == ("quiet",)


# -- who listens -----------------------------------------------------------------------------------------------


def test_a_denied_plan_is_shown_and_not_carried_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    held = policies(
        tmp_path, "{deny: it stays, actions: [delete]}", "{warn: look, impact: restart, more_than: 1}"
    )
    saved = tmp_path / "plan.json"
    saved.write_text(render_plan_json(by(replace(PLAN, policies=held))))
    plan = read_plan(saved)

    assert planning.exit_code(plan, detailed=False) is Exit.BLOCKED
    assert render_plan(plan, color=False, next_command="kvmdecl apply plan.json").splitlines()[-6:] == [
        "Policies:",
        "  p0  denies  1 object: it stays",
        "  p1  warns  2 of 2 objects, and at most 1 may be: look",
        "",
        "Plan: 2 to create, 2 to change, 1 to delete (1 downtime, 1 restart, 1 live); 3 unchanged.",
        "Denied by policy p0: nothing of it can be carried out.",
    ]
    assert "| `p0` `" in render_markdown(plan)
    results = json.loads(render_sarif(all_findings(plan)))["runs"][0]["results"]
    (denied,) = (each for each in results if each["ruleId"] == "policy.denied")
    assert denied["locations"][0]["physicalLocation"]["region"]["startLine"] == 7
    assert denied["relatedLocations"][0]["physicalLocation"]["region"]["startLine"] == 10
    # What a file says was found is not what counts when it is carried out.
    forged = replace(plan, rulings=())
    with pytest.raises(typer.Exit) as ended:
        applying.require_allowed(applying.policed(forged, None))
    assert ended.value.exit_code == Exit.BLOCKED
    assert "the plan is denied by p0" in capsys.readouterr().err


def test_the_comment_has_room_for_any_number_of_policies(tmp_path: Path):
    reason = "<img src=x> @all " + "x" * 380
    entry = f'{{deny: "{reason}", impact: live, vms: [web]}}'
    plan = by(replace(PLAN, policies=policies(tmp_path, *[entry] * 200)))

    text = render_markdown(plan, max_bytes=LEAST_BYTES)

    assert len(text.encode()) <= LEAST_BYTES
    assert "and 194 further rulings" in text
    assert len(render_plan(plan, color=False).splitlines()) < 80


@pytest.mark.skipif(shutil.which("conftest") is None, reason="conftest is not installed")
def test_the_example_for_conftest_says_what_the_same_policies_say_here(tmp_path: Path):
    held = policies(
        tmp_path,
        "{deny: by their own team, objects: [domain/db-*], actions: [delete, move]}",
        "{deny: not in production, labels: {tier: prod}, impact: restart}",
        "{warn: ask for the budget, fields: [cpus.*], more_than: 2}",
    )
    more = (step("kvm-4/domain/db-1", Action.DELETE, Impact.DOWNTIME), step("kvm-4/domain/db", Action.DELETE))
    cpus = tuple(step(f"kvm-4/domain/vm-{n}", impact=Impact.LIVE, cpus_count=Impact.LIVE) for n in range(2))
    plan = by(replace(PLAN, steps=(*STEPS, *more, *cpus), policies=held))
    saved = tmp_path / "plan.json"
    saved.write_text(render_plan_json(plan))

    command = ["conftest", "test", "--parser", "json", "--output", "json", "--policy", REGO, saved]
    done = subprocess.run(command, capture_output=True, text=True)

    (found,) = json.loads(done.stdout)
    denied = {
        f"{each.address.host}/{each.address.name}"
        for r in plan.rulings
        if r.denies
        for each in r.objections
        if each.address
    }
    assert (
        {each["msg"].partition(":")[0] for each in found["failures"]}
        == denied
        == {"kvm-4/db-1", "kvm-1/web-1"}
    )
    assert len(found["warnings"]) == sum(r.effect is Effect.WARN for r in plan.rulings) == 1
    assert done.returncode == 1
