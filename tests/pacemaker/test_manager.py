"""Pacemaker's configuration planned and applied: against files that its own programs read, change and judge."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from kvmdecl_pacemaker.cib import cib
from kvmdecl_pacemaker.forecast import Handled, prospects
from kvmdecl_pacemaker.live import query, read_cib
from kvmdecl_pacemaker.manager import Pacemaker
from kvmdecl_pacemaker.monitor import read_status
from kvmdecl_pacemaker.ours import _all_fields, compare, overlay

from kvmdecl.cli.planning import asked
from kvmdecl.diagnostics import Moved, TaskFailed
from kvmdecl.hosts.shell import UriReach
from kvmdecl.manager import Comparison, Configuration, Said, Unknown
from kvmdecl.pipeline import load_cluster, plan_cluster
from kvmdecl.plan import Action, ChangeOrigin, Fate, Impact
from kvmdecl.pluginhost import load_plugins
from kvmdecl.scenario import example_host
from kvmdecl.state import Kind
from kvmdecl.tasks import ConfigureManager
from tests.pacemaker.live_cib import EMPTY, FileCluster
from tests.pacemaker.support import configured, hosts, manifest, placed, program

if TYPE_CHECKING:
    from kvmdecl.hosts.protocol import Scope
    from kvmdecl.plan import Step
    from kvmdecl.state import Observation

HOSTS = ("kvm-1", "kvm-2", "kvm-3")
DB = "db: {disk: 1GiB, ha: true}"
WEB = "web: {disk: 1GiB, ha: true}"
BOTH = manifest(f"{DB}, {WEB}", more="services: []")
DRAINED = (
    "hosts: {"
    + ", ".join(f"{name}: {{uri: 'qemu+tls://{name}.edge.example/system'}}" for name in HOSTS)
    + "}\n"
)
DRAINED = DRAINED.replace("kvm-2.edge.example/system'", "kvm-2.edge.example/system', maintenance: true")


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


def fates(found: Comparison) -> dict[str, Fate]:
    return {each.vm: each.fate for each in found.prospects}


# -- the plan ----------------------------------------------------------------------------------------------


def test_what_is_as_declared_is_no_step(cluster: FileCluster):
    assert planned(BOTH, cluster).step is None


def test_a_new_cluster_gets_all_of_it_and_starts_its_vms(cluster: FileCluster):
    cluster.write(read_cib(EMPTY))
    found = planned(BOTH, cluster)
    assert found.step is not None
    assert found.step.action is Action.CREATE
    assert found.step.impact <= Impact.LIVE
    assert shown(found.step)["db/"] == (None, "ocf:heartbeat:VirtualDomain", Impact.NONE)
    assert fates(found) == {"db": Fate.START, "web": Fate.START}
    assert all(each.dest and not each.source for each in found.prospects)


CHANGES = {
    # How the manifest changes -> what is shown, what becomes of db and web, the worst impact, consent by name.
    "more memory": (BOTH.replace("db: {", "db: {memory: 2GiB, "), {"db/utilization.hv_memory"},
                    (Fate.LIVE, Fate.NONE), Impact.LIVE, ()),
    "another priority": (BOTH.replace("db: {disk: 1GiB, ha: true}", "db: {disk: 1GiB, ha: {priority: 9}}"),
                         {"db/meta.priority"}, (Fate.LIVE, Fate.NONE), Impact.LIVE, ()),
    "one that is absent": (BOTH.replace("web: {", "web: {state: absent, "), {"web/"}, (Fate.NONE, Fate.STOP),
                           Impact.DOWNTIME, ("pacemaker/vm/web",)),
    "one that is stopped": (BOTH.replace("web: {", "web: {state: stopped, "), {"web/meta.target-role"},
                            (Fate.NONE, Fate.STOP), Impact.DOWNTIME, ()),
    "one that Pacemaker runs no more": (BOTH.replace(WEB, "web: {disk: 1GiB}"), {"web/"}, (Fate.NONE, Fate.LIVE),
                                        Impact.LIVE, ()),
    "a host in maintenance": (BOTH.replace(hosts(3), DRAINED), {"host kvm-2/attributes.standby"},
                              (Fate.NONE, Fate.MIGRATE), Impact.MIGRATE, ()),
    "what is not of a guest": (BOTH.replace("services: []", "services: [], stickiness: 7"),
                               {"defaults/resource-stickiness"}, (Fate.NONE, Fate.NONE), Impact.LIVE, ()),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_a_plan_says_what_becomes_of_each_guest(name: str, cluster: FileCluster):
    text, fields, (db, web), impact, deletions = CHANGES[name]
    found = planned(text, cluster)
    assert found.step is not None
    assert fields <= shown(found.step).keys()
    assert fates(found) == {"db": db, "web": web}
    assert (found.step.impact, found.step.deletions) == (impact, deletions)


def test_a_vm_that_left_the_manifest_stays_as_it_is_with_its_rules(cluster: FileCluster):
    """One comes at the same time, and one waited for it."""
    services, waiting = "services: [libvirtd]", "api: {disk: 1GiB, ha: true, after: [web]}"
    with_web = manifest(f"{DB}, {WEB}, {waiting}", more=services)
    without = manifest(f"{DB}, new: {{disk: 1GiB, ha: true}}, {waiting}", more=services).replace(
        "[web]", "[db]"
    )
    cluster.write(
        overlay(read_cib(EMPTY), cib(configured(with_web)), "edge"), {"db": ["kvm-1"], "web": ["kvm-2"]}
    )

    found = planned(without, cluster)

    assert found.step is not None
    assert [note.subject for note in found.notes if note.code == "plan.orphan"] == ["vm/web"]
    assert not [field for field in shown(found.step) if field.startswith("web/")]
    assert (fates(found)["web"], found.step.deletions) == (Fate.NONE, ())
    assert isinstance(found.step.task, ConfigureManager)
    after = overlay(cluster.cib, read_cib(found.step.task.wanted), "edge")
    cluster.write(after, {"db": ["kvm-1"], "web": ["kvm-2"], "api": ["kvm-3"], "new": ["kvm-3"]})
    rules = {
        rule.get("id"): [ref.get("id") for ref in rule.iter("resource_ref")]
        for rule in cluster.cib.iter("rsc_order")
    }
    assert "web" in rules["order-services"]
    assert rules["after-db"] == ["db", "api"]
    assert planned(without, cluster).step is None
    assert step_of(with_web, cluster).deletions == ()


def test_a_protected_vm_is_not_taken_out_whatever_the_manifest_says_by_then(cluster: FileCluster):
    safe, gone = WEB.replace("{", "{protect: true, "), WEB.replace("{", "{state: absent, ")
    protecting = step_of(BOTH.replace(WEB, safe), cluster)
    assert shown(protecting) == {"web/protect": (None, "true", Impact.METADATA)}
    applied(protecting, cluster)
    for text in (gone, gone.replace("{", "{protect: true, ")):
        found = planned(BOTH.replace(WEB, text), cluster)
        assert [(each.code, each.subject) for each in found.blocked] == [("plan.protected", "vm/web")]
        assert found.step is None
    left = planned(BOTH.replace(f", {WEB}", ""), cluster)
    assert (left.step, left.blocked) == (None, ())
    applied(step_of(BOTH, cluster), cluster)
    assert step_of(BOTH.replace(WEB, gone), cluster).deletions == ("pacemaker/vm/web",)


def test_what_would_interrupt_more_than_the_plan_says_is_not_done(cluster: FileCluster):
    """A host was drained by hand meanwhile, so that the change lets no guest stay there."""
    text = BOTH.replace(hosts(3), DRAINED)
    step = step_of(text, cluster)
    assert isinstance(step.task, ConfigureManager)
    assert step.task.interrupts == ("web: migrate",)
    cluster.write(cluster.cib, {"db": ["kvm-2"], "web": ["kvm-2"], "fence-kvm-1": ["kvm-2"]})
    with pytest.raises(Moved) as moved:
        applied(step, cluster)
    assert "db: migrate" in moved.value.diagnostic.summary


def test_a_parameter_changes_without_a_restart_which_it_would_mean_otherwise(cluster: FileCluster):
    text = BOTH.replace("services: []", "services: [], migration: {options: --auto-converge}")
    step = step_of(text, cluster)
    assert isinstance(step.task, ConfigureManager)
    assert step.task.refreshes == ("db", "web")
    assert step.impact is Impact.LIVE

    found = cluster.cib
    after = overlay(found, cib(configured(text)), "edge")
    careless = prospects(found, after, Handled(), lambda _vm: None)
    assert {each.fate for each in careless} == {Fate.RESTART}


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


# -- the way back ------------------------------------------------------------------------------------------


def fields(cluster: FileCluster) -> set[tuple[str, str, str]]:
    return set(_all_fields(cluster.cib))


def undone(step: Step, cluster: FileCluster, *others: str) -> Comparison | str:
    assert isinstance(step.task, ConfigureManager)
    return Pacemaker().undo(step.task, cluster, HOSTS, others)


BACK = {
    # How the manifest changed -> who is shut down on the way back.
    BOTH.replace("services: []", "services: [], stickiness: 7, migration: {options: --auto-converge}").replace(
        "db: {", "db: {memory: 2GiB, host: kvm-2, after: [web], "): (),
    BOTH.replace(WEB, f"{WEB}, new: {{disk: 1GiB, ha: true, apart: host, after: [db]}}"): ("new",),
    BOTH.replace("web: {", "web: {state: absent, "): (),
}  # fmt: skip


@pytest.mark.parametrize("text", BACK)
def test_a_change_is_undone_and_what_others_did_since_stays(text: str, cluster: FileCluster):
    before = fields(cluster)
    step = step_of(text, cluster)
    wanted = cib(configured(text))
    cluster.write(overlay(cluster.cib, wanted, "edge"), {"db": ["kvm-1"], "web": ["kvm-2"]})
    cluster.edit("--create", "--scope", "resources", "--xml-text",
                 '<primitive id="theirs" class="ocf" provider="pacemaker" type="Dummy"/>')  # fmt: skip
    found = undone(step, cluster)
    assert isinstance(found, Comparison), found
    assert found.step is not None
    assert found.step.deletions == tuple(f"pacemaker/vm/{name}" for name in BACK[text])
    assert Pacemaker().shows(found.step, cluster, HOSTS)
    if f", {WEB}" in text:
        applied(found.step, cluster)
    else:  # nobody starts it in a file
        with pytest.raises(TaskFailed, match="does not run web"):
            applied(found.step, cluster)
    assert fields(cluster) == before | {("theirs", "", "ocf:pacemaker:Dummy")}
    assert planned(BOTH, cluster).step is None
    again = undone(step, cluster)
    assert isinstance(again, Comparison)
    assert again.step is None


def test_the_first_apply_is_undone_by_shutting_all_down(cluster: FileCluster):
    cluster.write(read_cib(EMPTY))
    before, step = fields(cluster), step_of(BOTH, cluster)
    cluster.write(overlay(cluster.cib, cib(configured(BOTH)), "edge"), {"db": ["kvm-1"], "web": ["kvm-2"]})
    found = undone(step, cluster)
    assert isinstance(found, Comparison)
    assert found.step is not None
    assert found.step.deletions == ("pacemaker/vm/db", "pacemaker/vm/web")
    applied(found.step, cluster)
    assert fields(cluster) == before


def test_what_cannot_be_undone_is_named(cluster: FileCluster):
    let_go = step_of(BOTH.replace(WEB, "web: {disk: 1GiB}"), cluster)
    cluster.edit("--modify", "--xml-text", '<primitive id="fence-kvm-1">'
                 '<instance_attributes id="fence-kvm-1-parameters"><nvpair id="p" name="passwd" value="hunter2"/>'
                 "</instance_attributes></primitive>")  # fmt: skip
    secret = step_of(BOTH, cluster)
    assert "hunter2" not in repr(secret)
    cluster.write(
        overlay(cluster.cib, cib(configured(BOTH.replace(f", {WEB}", ""))), "edge"), {"db": ["kvm-1"]}
    )
    assert str(undone(let_go, cluster)).startswith("web went from libvirt to Pacemaker or back")
    assert str(undone(secret, cluster, "web")).startswith("web went")
    found = undone(secret, cluster)
    assert isinstance(found, Comparison)
    assert [note.summary for note in found.notes] == ["passwd of fence-kvm-1 is not given back"]


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


# -- the whole plan ----------------------------------------------------------------------------------------


class Examples:
    """A HostReader of hosts with nothing on them."""

    def observe(self, scope: Scope) -> dict[str, Observation]:
        return {name: example_host(name) for name in HOSTS}


@pytest.mark.parametrize(("memory", "survives"), [(20, True), (40, False)])
def test_pacemaker_is_not_touched_before_it_is_proven_that_a_host_may_be_lost(
    memory: int, survives: bool, cluster: FileCluster, tmp_path: Path
):
    """Two hosts of 64 GiB have room for three times 40, but not for each of them."""
    path = tmp_path / "edge.yaml"
    path.write_text(BOTH.replace("db: {", f"big: {{count: 3, memory: {memory}GiB, ha: true}}, db: {{"))
    plugins = load_plugins()
    there = load_cluster(path, plugins)

    plan, _ = plan_cluster(there, Examples(), plugins, managed=asked(cluster), prove=True)

    kinds = [step.address.kind for step in plan.steps]
    assert (Kind.CLUSTER in kinds, bool(plan.managers[0].prospects)) == (survives, survives)
    found = {(each.code, each.at is not None) for each in plan.blocked}
    assert found == (set() if survives else {("failover.no-home", True)})
    assert [proof.survives for proof in plan.proofs] == [survives]
