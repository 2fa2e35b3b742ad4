"""Pacemaker's configuration planned and applied: against files that its own programs read, change and judge."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from kvmdecl_pacemaker.cib import cib
from kvmdecl_pacemaker.forecast import effects
from kvmdecl_pacemaker.live import query, read_cib
from kvmdecl_pacemaker.manager import Pacemaker
from kvmdecl_pacemaker.monitor import read_status
from kvmdecl_pacemaker.ours import compare, overlay

from kvmdecl.diagnostics import Moved, TaskFailed
from kvmdecl.hosts.shell import UriReach
from kvmdecl.manager import Configuration, Said, Unknown
from kvmdecl.plan import Action, ChangeOrigin, Impact
from kvmdecl.tasks import ConfigureManager
from tests.pacemaker.live_cib import EMPTY, FileCluster
from tests.pacemaker.support import configured, manifest, placed, program

if TYPE_CHECKING:
    from kvmdecl.manager import Comparison
    from kvmdecl.plan import Step

HOSTS = ("kvm-1", "kvm-2", "kvm-3")
DB = "db: {disk: 1GiB, ha: true}"
WEB = "web: {disk: 1GiB, ha: true}"
BOTH = manifest(f"{DB}, {WEB}", more="services: []")


@pytest.fixture
def cluster(tmp_path: Path) -> FileCluster:
    """One that was given both vms, which run."""
    for name in ("cibadmin", "crm_diff", "crm_simulate"):
        program(name)
    cluster = FileCluster(tmp_path / "cib.xml")
    wanted = cib(configured(BOTH))
    cluster.write(
        overlay(read_cib(EMPTY), wanted, "edge"),
        {"db": ["kvm-1"], "web": ["kvm-2"], "fence-kvm-1": ["kvm-2"]},
    )
    return cluster


def planned(text: str, cluster: FileCluster) -> Comparison:
    return Pacemaker().compare(*placed(text), Configuration(query(cluster.shell("kvm-1")), "kvm-1"))


def step_of(text: str, cluster: FileCluster) -> Step:
    step = planned(text, cluster).step
    assert step is not None
    return step


def applied(step: Step, cluster: FileCluster) -> None:
    assert isinstance(step.task, ConfigureManager)
    Pacemaker().perform(step.task, step.precondition, cluster, HOSTS)


def shown(step: Step) -> dict[str, tuple[str | None, str | None, Impact]]:
    return {change.field: (change.before, change.after, change.impact) for change in step.changes}


# -- the plan ----------------------------------------------------------------------------------------------


def test_what_is_as_declared_is_no_step(cluster: FileCluster):
    assert planned(BOTH, cluster).step is None


def test_a_new_cluster_gets_all_of_it_and_starts_its_vms(cluster: FileCluster):
    cluster.write(read_cib(EMPTY))
    step = step_of(BOTH, cluster)
    assert step.action is Action.CREATE
    assert step.impact <= Impact.LIVE
    assert shown(step)["db/"] == (None, "ocf:heartbeat:VirtualDomain", Impact.NONE)
    assert shown(step)["effect/db"][0] is None


CHANGES = {
    # How the manifest changes -> what is shown of db and web, the worst impact, and what needs consent by name.
    "more memory": (BOTH.replace("db: {", "db: {memory: 2GiB, "), {"db/utilization.hv_memory"}, Impact.LIVE, ()),
    "another priority": (BOTH.replace("db: {disk: 1GiB, ha: true}", "db: {disk: 1GiB, ha: {priority: 9}}"),
                         {"db/meta.priority"}, Impact.LIVE, ()),
    "one vm less": (BOTH.replace(f", {WEB}", ""), {"web/", "effect/web"}, Impact.DOWNTIME, ("pacemaker/vm/web",)),
    "one that is absent": (BOTH.replace("web: {", "web: {state: absent, "), {"web/", "effect/web"}, Impact.DOWNTIME,
                           ("pacemaker/vm/web",)),
    "one that is stopped": (BOTH.replace("web: {", "web: {state: stopped, "), {"web/meta.target-role", "effect/web"},
                            Impact.DOWNTIME, ()),
    "one that Pacemaker runs no more": (BOTH.replace(WEB, "web: {disk: 1GiB}"), {"web/"}, Impact.LIVE, ()),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_a_plan_says_what_becomes_of_each_guest(name: str, cluster: FileCluster):
    text, fields, impact, deletions = CHANGES[name]
    step = step_of(text, cluster)
    assert fields <= shown(step).keys()
    assert {field for field in shown(step) if field.startswith("effect/")} == {
        f for f in fields if "effect" in f
    }
    assert (step.impact, step.deletions) == (impact, deletions)


def test_a_parameter_changes_without_a_restart_which_it_would_mean_otherwise(cluster: FileCluster):
    text = BOTH.replace("services: []", "services: [], migration: {options: --auto-converge}")
    step = step_of(text, cluster)
    assert isinstance(step.task, ConfigureManager)
    assert step.task.refreshes == ("db", "web")
    assert step.impact is Impact.LIVE

    found = cluster.cib
    after = overlay(found, cib(configured(text)), "edge")
    careless = effects(found, after, (), (), lambda _vm: None)
    assert {change.impact for change in careless} == {Impact.RESTART}


def test_what_others_changed_is_drift_where_the_manifest_is_the_same(cluster: FileCluster):
    cluster.edit("--modify", "--xml-text", '<nvpair id="db-meta-priority" value="77"/>')
    [change] = step_of(BOTH, cluster).changes
    assert (change.field, change.before, change.origin) == ("db/meta.priority", "77", ChangeOrigin.DRIFT)
    more = step_of(BOTH.replace("services: []", "services: [], stickiness: 7"), cluster).changes
    assert {change.origin for change in more} == {ChangeOrigin.MANIFEST}


def test_somebody_elses_resource_blocks_the_plan(cluster: FileCluster):
    cluster.write(read_cib(EMPTY.replace("<resources/>", '<resources><primitive id="db" class="ocf" '
                                         'provider="heartbeat" type="VirtualDomain"/></resources>')))  # fmt: skip
    found = planned(BOTH, cluster)
    assert found.step is None
    assert [each.code for each in found.blocked] == ["ha.not-ours"]


BY_HAND = {
    '<rsc_location id="cli-ban-db" rsc="db" node="kvm-2" score="-INFINITY"/>': ("constraints", "ha.left-over-rule"),
    '<nvpair id="n" name="maintenance-mode" value="true"/>': ("crm_config/cluster_property_set", "ha.paused"),
    '<instance_attributes id="nodes-1"><nvpair id="s" name="standby" value="on"/></instance_attributes>':
        ("nodes/node", "ha.paused"),
    '<nvpair id="m" name="maintenance" value="true"/>':
        ("resources/primitive[@id='db']/meta_attributes", "ha.set-by-hand"),
    '<nvpair id="u" name="is-managed" value="false"/>':
        ("resources/primitive[@id='db']/meta_attributes", "ha.set-by-hand"),
}  # fmt: skip


@pytest.mark.parametrize("xml", BY_HAND)
def test_what_somebody_did_by_hand_is_told(xml: str, cluster: FileCluster):
    from lxml import etree

    assert planned(BOTH, cluster).notes == ()
    where, code = BY_HAND[xml]
    found = cluster.cib
    found.find(f"configuration/{where}").append(etree.fromstring(xml))
    cluster.write(found, {"db": ["kvm-1"], "web": ["kvm-2"]})
    assert [note.code for note in planned(BOTH, cluster).notes] == [code]


def test_a_vm_that_is_down_is_told(cluster: FileCluster):
    cluster.write(cluster.cib, {"web": ["kvm-2"]})
    assert [(note.code, note.subject) for note in planned(BOTH, cluster).notes] == [("ha.down", "vm/db")]


# -- who does not answer -----------------------------------------------------------------------------------


def test_an_unreachable_cluster_is_unknown_and_never_empty(cluster: FileCluster):
    there = placed(BOTH)[0].cluster
    observe = Pacemaker().observe
    assert isinstance(observe(there, cluster, HOSTS), Configuration)

    tls = observe(there, UriReach({host.name: host.uri for host in there.hosts}), HOSTS)
    assert isinstance(tls, Unknown)
    assert (tls.asked, tls.diagnostic.code) == (False, "ha.no-way")

    cluster.silent = HOSTS[:2]
    found = observe(there, cluster, HOSTS)
    assert isinstance(found, Configuration)
    assert found.host == "kvm-3"

    cluster.file.write_text(cluster.file.read_text().replace('have-quorum="1"', 'have-quorum="0"'))
    found = observe(there, cluster, HOSTS)
    assert isinstance(found, Unknown)
    assert found.asked
    assert "kvm-3 has no quorum" in found.diagnostic.summary


@pytest.mark.parametrize(
    "said", [Said(0, "<cib", ""), Said(0, "<oops/>", ""), Said(1, "", "Connection failed")]
)
def test_what_is_no_cib_is_unknown(said: Said, cluster: FileCluster):
    cluster.said["cibadmin"] = said
    assert isinstance(Pacemaker().observe(placed(BOTH)[0].cluster, cluster, HOSTS), Unknown)


# -- the change --------------------------------------------------------------------------------------------


def test_what_was_planned_is_what_there_is_afterwards(cluster: FileCluster):
    text = BOTH.replace("services: []", "services: [], stickiness: 7")
    applied(step_of(text, cluster), cluster)
    assert planned(text, cluster).step is None
    assert not [asked for asked in cluster.asked if "refresh" in asked]


def test_a_guest_is_left_alone_while_its_parameters_change(cluster: FileCluster):
    text = BOTH.replace("services: []", "services: [], migration: {options: --auto-converge}")
    step = step_of(text, cluster)
    applied(step, cluster)
    assert [asked for asked in cluster.asked if "refresh" in asked] == [
        "--refresh --resource db",
        "--refresh --resource web",
    ]
    assert compare(cluster.cib, cib(configured(text)), "edge") == ()
    assert "maintenance" not in cluster.file.read_text()


def test_a_configuration_that_moved_is_refused(cluster: FileCluster):
    step = step_of(BOTH.replace("services: []", "services: [], stickiness: 7"), cluster)
    cluster.edit("--modify", "--xml-text", '<nvpair id="defaults-resource-stickiness" value="5"/>')
    with pytest.raises(Moved):
        applied(step, cluster)


def test_what_others_change_meanwhile_of_theirs_is_no_reason_to_refuse(cluster: FileCluster):
    step = step_of(BOTH.replace("services: []", "services: [], stickiness: 7"), cluster)
    cluster.edit("--create", "--scope", "resources", "--xml-text",
                 '<primitive id="theirs" class="ocf" provider="pacemaker" type="Dummy"/>')  # fmt: skip
    applied(step, cluster)
    assert 'id="theirs"' in cluster.file.read_text()


def test_a_vm_that_does_not_come_up_is_a_failure(cluster: FileCluster):
    cluster.write(cluster.cib, {"web": ["kvm-2"]})
    step = step_of(BOTH.replace("services: []", "services: [], stickiness: 7"), cluster)
    with pytest.raises(TaskFailed) as failed:
        applied(step, cluster)
    assert failed.value.diagnostic.code == "ha.not-at-rest"


def test_a_saved_plan_has_to_show_what_it_does(cluster: FileCluster):
    from dataclasses import replace

    step = step_of(BOTH.replace("services: []", "services: [], stickiness: 7"), cluster)
    assert Pacemaker().shows(step, cluster, HOSTS)
    assert not Pacemaker().shows(replace(step, changes=step.changes[1:]), cluster, HOSTS)
    assert isinstance(step.task, ConfigureManager)
    hidden = replace(step, task=replace(step.task, deletes=("web",)))
    assert not Pacemaker().shows(hidden, cluster, HOSTS)


# -- status ------------------------------------------------------------------------------------------------


def test_crm_mon_is_read(cluster: FileCluster):
    from tests.pacemaker.live_cib import run_here

    said = run_here(cluster.file, ["crm_mon", "--one-shot", "--output-as=xml", "--inactive"])
    found = read_status(said.out, "edge", "kvm-1")
    assert found.quorum
    assert [(host.host, host.state) for host in found.hosts] == [(name, "online") for name in HOSTS]
    vms = {each.name: (each.state, each.hosts) for each in found.resources if each.kind == "vm"}
    assert vms == {"db": ("running", ("kvm-1",)), "web": ("running", ("kvm-2",))}


@pytest.mark.parametrize(
    ("program_", "code"), [("cibadmin", "ha.not-applied"), ("crm_resource", "ha.not-at-rest")]
)
def test_what_pacemaker_refuses_is_told(program_: str, code: str, cluster: FileCluster):
    step = step_of(BOTH.replace("services: []", "services: [], stickiness: 7"), cluster)
    assert isinstance(step.task, ConfigureManager)
    cluster.refused = {program_}
    with pytest.raises(TaskFailed) as failed:
        applied(step, cluster)
    assert failed.value.diagnostic.code == code


def test_an_answer_that_does_not_come_is_no_success(cluster: FileCluster):
    step = step_of(BOTH.replace("services: []", "services: [], stickiness: 7"), cluster)
    cluster.mute = {"crm_resource"}
    with pytest.raises(TaskFailed) as failed:
        applied(step, cluster)
    assert failed.value.diagnostic.code == "ha.no-answer"
