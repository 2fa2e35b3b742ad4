"""Drift is what changed on the hosts and not in the manifest; and it is told to people, programs and Prometheus."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jsonschema_rs
import pytest

from kvmdecl.cli.drift import _seen
from kvmdecl.diagnostics import Diagnostic, Severity
from kvmdecl.drift import DriftClass, find_drift
from kvmdecl.hosts.processes import job, user_and_machine
from kvmdecl.libvirt_xml.fingerprint import ABSENT
from kvmdecl.notices import DriftSeen
from kvmdecl.plan import Action, Change, ChangeOrigin, HostStatus, Impact, Plan, PlannedHost, Step
from kvmdecl.state import Address, Kind
from kvmdecl.tasks import CreateVolume, DefineDomain, Task
from kvmdecl.views.drift import FORMAT_VERSION, render_drift, render_drift_json, render_metrics

ROOT = Path(__file__).parents[2]
GUEST = Address("kvm-1", Kind.DOMAIN, "web-1")
VOLUME = Address("kvm-1", Kind.VOLUME, "vms/web-1.root.qcow2")
DEFINE = DefineDomain(
    "web-1", "u", "<domain><devices><disk /></devices></domain>", None, (), "keep", True, "demo", "r"
)
CREATE = CreateVolume("vms", "web-1.root.qcow2", "disk", "qcow2", 1, "off", None, None, "web-1")


def step(
    address: Address, action: Action, task: Task, *changes: Change, after: tuple[Address, ...] = ()
) -> Step:
    return Step(address, action, Impact.NONE, changes, "", ABSENT, task, after)


def change(origin: ChangeOrigin, key: str = "memory.size") -> Change:
    return Change("currentMemory", key, "80MiB", "64MiB", Impact.LIVE, "virDomainSetMemory", origin=origin)


def plan(*steps: Step, notes: tuple[Diagnostic, ...] = (), blocked: tuple[Diagnostic, ...] = ()) -> Plan:
    hosts = (PlannedHost("kvm-1", "", HostStatus.OK), PlannedHost("kvm-2", "", HostStatus.OK))
    return Plan("demo", "r", hosts, steps, 0, blocked, notes)


def silent(found: Plan) -> Plan:
    return replace(
        found, hosts=(found.hosts[0], PlannedHost("kvm-2", "", HostStatus.UNREACHABLE, "no route"))
    )


CHANGED = plan(step(GUEST, Action.UPDATE, DEFINE, change(ChangeOrigin.DRIFT)))
OUTSIDE = plan(
    notes=(
        Diagnostic("plan.changed-outside", "iothreads", severity=Severity.WARNING, subject=str(GUEST)),
        Diagnostic("plan.pending", "vcpu", severity=Severity.WARNING, subject=str(GUEST)),
    )
)


def classes(found: Plan) -> list[DriftClass]:
    return [finding.drift for finding in find_drift(found).findings]


def test_hosts_that_are_as_declared_have_no_drift():
    drift = find_drift(plan())

    assert not drift.found
    assert render_drift(drift) == "No drift on 2 of 2 hosts that answered.\n"


def test_a_declared_field_that_somebody_changed_is_drift():
    drift = find_drift(CHANGED)

    assert drift.found
    assert render_drift(drift).splitlines() == [
        "kvm-1  changed: not what was last applied",
        "    domain/web-1  memory.size: 64MiB declared, 80MiB found",
        "Drift in 1 object on 2 of 2 hosts that answered.",
    ]


def test_what_the_manifest_changed_is_listed_and_no_drift():
    drift = find_drift(plan(step(GUEST, Action.UPDATE, DEFINE, change(ChangeOrigin.MANIFEST))))

    assert [finding.drift for finding in drift.findings] == [DriftClass.UNAPPLIED]
    assert not drift.found


def test_a_guest_whose_disks_are_there_is_missing_and_a_new_one_is_not():
    assert classes(plan(step(GUEST, Action.CREATE, DEFINE))) == [DriftClass.MISSING]
    new = plan(step(VOLUME, Action.CREATE, CREATE), step(GUEST, Action.CREATE, DEFINE, after=(VOLUME,)))
    assert set(classes(new)) == {DriftClass.UNAPPLIED}


def test_a_volume_that_nothing_new_needs_is_missing():
    assert classes(plan(step(VOLUME, Action.CREATE, CREATE))) == [DriftClass.MISSING]


def test_a_volume_that_was_never_whole_is_not_missing():
    begun = replace(step(VOLUME, Action.CREATE, CREATE), precondition="of what is there")

    assert classes(plan(begun)) == [DriftClass.UNAPPLIED]


def test_undeclared_changes_are_drift_and_what_waits_for_a_boot_is_none():
    assert classes(OUTSIDE) == [DriftClass.OUTSIDE]


@pytest.mark.parametrize(
    ("code", "drift"),
    [
        ("plan.renamed", DriftClass.CHANGED),
        ("plan.transient", DriftClass.CHANGED),
        ("plan.volume-shrink", DriftClass.UNAPPLIED),
    ],
)
def test_what_is_blocked_is_drift_only_where_no_manifest_can_be_the_cause(code: str, drift: DriftClass):
    assert classes(plan(blocked=(Diagnostic(code, "why", subject=str(GUEST)),))) == [drift]


def test_the_json_satisfies_its_published_schema_and_never_holds_a_time():
    validator = jsonschema_rs.validator_for(json.loads((ROOT / "schemas/drift.v1.json").read_text()))
    text = render_drift_json(find_drift(silent(CHANGED)))
    document = json.loads(text)

    validator.validate(document)
    assert (document["formatVersion"], document["found"], document["complete"]) == (
        FORMAT_VERSION,
        True,
        False,
    )
    assert text == render_drift_json(find_drift(silent(CHANGED)))


def test_metrics_count_objects_by_host_and_class_and_name_no_guest():
    text = render_metrics(find_drift(CHANGED), 1000, "")

    assert 'kvmdecl_drift_objects{cluster="demo",host="kvm-1",class="changed"} 1' in text
    assert 'kvmdecl_drift_objects{cluster="demo",host="kvm-2",class="changed"} 0' in text
    assert 'kvmdecl_last_success_timestamp_seconds{cluster="demo"} 1000' in text
    assert "web-1" not in text


def test_two_fields_of_a_guest_are_one_object():
    drifted = [change(ChangeOrigin.DRIFT), change(ChangeOrigin.DRIFT, "cpus.count")]
    drift = find_drift(plan(step(GUEST, Action.UPDATE, DEFINE, *drifted)))

    assert drift.objects("kvm-1", DriftClass.CHANGED) == 1
    assert len(drift.findings) == 2


def test_a_silent_host_counts_nothing_and_the_last_success_stays_what_it_was():
    first = render_metrics(find_drift(plan()), 1000, "")
    second = render_metrics(find_drift(silent(plan())), 2000, first)
    third = render_metrics(find_drift(silent(plan())), 3000, "")

    assert 'kvmdecl_host_up{cluster="demo",host="kvm-2"} 0' in second
    assert 'kvmdecl_drift_objects{cluster="demo",host="kvm-2"' not in second
    assert 'kvmdecl_last_success_timestamp_seconds{cluster="demo"} 1000' in second
    assert 'kvmdecl_last_run_timestamp_seconds{cluster="demo"} 2000' in second
    assert "kvmdecl_last_success" not in third


def test_a_notice_has_how_many_there_are_of_each():
    assert _seen(find_drift(silent(CHANGED))) == DriftSeen(
        "demo",
        *user_and_machine(),
        job(),
        True,
        hosts=2,
        silent=1,
        changed=1,
        missing=0,
        outside=0,
        unapplied=0,
    )
