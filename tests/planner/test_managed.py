"""Guests that a cluster manager runs: what is planned for their files, disks and themselves, wherever they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from lxml import etree

from kvmdecl.diagnostics import Diagnostic
from kvmdecl.libvirt_xml.definition import Written, file_text, note
from kvmdecl.pipeline import compile_cluster, load_cluster
from kvmdecl.plan import Impact, Plan, Step
from kvmdecl.planner import make_plan
from kvmdecl.planner.saved import require_consistent, retrace
from kvmdecl.pluginhost import Plugins, load_plugins
from kvmdecl.scenario import example_host
from kvmdecl.state import (
    Kind,
    Ledger,
    LedgerEntry,
    Observation,
    ObservedDomain,
    ObservedPool,
    ObservedVolume,
    Unreachable,
)
from kvmdecl.tasks import (
    CreatePool,
    CreateVolume,
    DefineDomain,
    HandOverDomain,
    ResizeVolume,
    WriteDefinition,
)

HEAD = """\
apiVersion: kvmdecl/v1
cluster: edge
hosts: {{"kvm-{{1..3}}": "qemu+tls://{{name}}/system"}}
networks: {{lan: {{bridge: br0}}}}
storage: {{vms: {{path: /srv/vms, shared: true}}, defs: {{path: /srv/defs{shared}}}}}
ha: {{fencing: {{agent: fence_ipmilan, address: "{{name}}-bmc"}}, definitions: defs}}
vms: {{db: {{memory: 1GiB, disk: {{size: {size}, pool: vms}}, nics: [lan]{keys}}}}}
"""
HOSTS = ("kvm-1", "kvm-2", "kvm-3")
Seen = dict[str, Observation]


def manifest(keys: str = ", ha: true", *, size: str = "1GiB", shared: bool = False) -> str:
    return HEAD.format(keys=keys, size=size, shared=", shared: true" if shared else "")


@cache
def plugins() -> Plugins:
    return load_plugins()


@pytest.fixture
def planned(tmp_path: Path):
    def plan(text: str, seen: Mapping[str, Observation] | None = None) -> Plan:
        path = tmp_path / "cluster.yaml"
        path.write_text(text)
        cluster = load_cluster(path, plugins())
        observations = {name: example_host(name) for name in HOSTS} | dict(seen or {})
        return make_plan(cluster, compile_cluster(cluster, observations, plugins()).desired, observations)

    return plan


def done(plan: Plan) -> Seen:
    """The hosts after a first plan was carried out."""
    found: Seen = {}
    for name in HOSTS:
        pools: dict[str, list[ObservedVolume]] = {"vms": [], "defs": []}
        entries = []
        uuids = {}
        for step in plan.steps:
            if step.address.host != name:
                continue
            match step.task:
                case CreatePool() as task:
                    uuids[task.name] = task
                case WriteDefinition() as task:
                    volume = ObservedVolume(
                        task.pool, task.name, f"/srv/defs/{task.name}", "raw", 1, 1, None, stamp="1"
                    )
                    pools[task.pool].append(volume)
                    applied = note(Written("1", task.xml))
                    entries.append(
                        LedgerEntry(Kind.VOLUME, step.address.name, task.owner, applied, complete=True)
                    )
                case CreateVolume() as task:
                    size = task.capacity or 0
                    volume = ObservedVolume(
                        task.pool, task.name, f"/srv/vms/{task.name}", "qcow2", size, 0, None
                    )
                    pools[task.pool].append(volume)
                    entries.append(LedgerEntry(Kind.VOLUME, step.address.name, task.owner, "", complete=True))
        there = tuple(
            ObservedPool(task.name, task.uuid, task.xml, True, task.autostart, 1, 1, tuple(pools[task.name]))
            for task in uuids.values()
        )
        host = example_host(name)
        ledger = Ledger("edge", tuple(entries))
        found[name] = replace(host, state=replace(host.state, pools=there, ledgers=(ledger,)))
    return found


def running(plan: Plan, seen: Seen, *hosts: str, persistent: bool = False) -> Seen:
    """The same hosts, on which the guest of a first plan runs."""
    (task, *_) = [step.task for step in plan.steps if isinstance(step.task, WriteDefinition)]
    xml = file_text(task.xml)
    domain = ObservedDomain("db", task.uuid, xml, xml, True, persistent, False, False)
    return seen | {
        host: replace(seen[host], state=replace(seen[host].state, domains=(domain,))) for host in hosts
    }


def with_file(seen: Seen, host: str, **changes: object) -> Seen:
    """The same hosts, on one of which the file is another one."""
    state = seen[host].state
    pools = tuple(
        replace(pool, volumes=tuple(replace(v, **changes) for v in pool.volumes))
        if pool.name == "defs"
        else pool
        for pool in state.pools
    )
    return seen | {host: replace(seen[host], state=replace(state, pools=pools))}


def noted(seen: Seen, host: str, *, complete: bool | None) -> Seen:
    """The same hosts, one of which noted something else of the file; nothing if None."""
    state = seen[host].state
    (ledger,) = state.ledgers
    entries = tuple(
        entry if entry.name != "defs/db.xml" else replace(entry, complete=bool(complete))
        for entry in ledger.entries
        if complete is not None or entry.name != "defs/db.xml"
    )
    return seen | {
        host: replace(seen[host], state=replace(state, ledgers=(replace(ledger, entries=entries),)))
    }


def silent(seen: Seen, host: str) -> Seen:
    return seen | {host: Unreachable(host, Diagnostic("host.unreachable", "no answer"))}


def told(plan: Plan) -> list[tuple[str, str, Impact]]:
    return [(str(step.action), str(step.address), step.impact) for step in plan.steps]


def codes(plan: Plan) -> set[str]:
    return {found.code for found in (*plan.blocked, *plan.notes)} - {"plan.ha-not-applied", "ha.not-applied"}


def test_each_host_gets_the_file_and_one_of_them_the_disk_and_then_nothing_is_to_be_done(planned):
    plan = planned(manifest())
    made = [str(step.address) for step in plan.steps if step.address.kind is Kind.VOLUME]
    assert made == ["kvm-1/volume/defs/db.xml", "kvm-1/volume/vms/db.root.qcow2",
                    "kvm-2/volume/defs/db.xml", "kvm-3/volume/defs/db.xml"]  # fmt: skip
    assert planned(manifest(), running(plan, done(plan), "kvm-2")).empty


def test_on_storage_that_hosts_share_there_is_one_file(planned):
    plan = planned(manifest(shared=True))
    files = [str(step.address) for step in plan.steps if isinstance(step.task, WriteDefinition)]
    assert files == ["kvm-1/volume/defs/db.xml"]
    assert planned(manifest(shared=True), running(plan, done(plan), "kvm-3")).empty


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda seen: with_file(seen, "kvm-2", stamp="2"), ("update", Impact.NEXT_BOOT)),
        (lambda seen: noted(seen, "kvm-2", complete=False), ("update", Impact.NONE)),
        (lambda seen: noted(seen, "kvm-2", complete=None), ("adopt", Impact.NEXT_BOOT)),
        (lambda seen: with_file(seen, "kvm-2", name="other.xml"), ("create", Impact.NONE)),
    ],
    ids=["changed by others", "torn", "put there by others", "gone"],
)
def test_a_file_that_is_not_what_was_noted_is_written_again(planned, change, expected):
    plan = planned(manifest())
    after = planned(manifest(), change(running(plan, done(plan), "kvm-3")))
    assert told(after) == [(expected[0], "kvm-2/volume/defs/db.xml", expected[1])]


def test_a_file_whose_writer_does_not_answer_is_left_alone(planned):
    plan = planned(manifest(shared=True))
    seen = done(plan)
    for host in ("kvm-2", "kvm-3"):  # they see it, too
        seen[host] = replace(seen[host], state=replace(seen[host].state, pools=seen["kvm-1"].state.pools))
    after = planned(manifest(shared=True), silent(running(plan, seen, "kvm-2"), "kvm-1"))
    assert (told(after), codes(after)) == ([], {"plan.definition-unknown"})


def test_a_disk_grows_through_the_guest_on_whichever_host_that_is(planned):
    plan = planned(manifest())
    seen = running(plan, done(plan), "kvm-3")
    (step,) = planned(manifest(size="2GiB"), seen).steps
    assert (str(step.address), step.impact) == ("kvm-3/volume/vms/db.root.qcow2", Impact.LIVE)
    assert isinstance(step.task, ResizeVolume)
    assert (step.task.maker, step.task.domain is not None) == ("kvm-1", True)


def test_firmware_variables_are_not_replaced_under_a_guest(planned):
    text = manifest(", ha: true, firmware: {type: uefi, loader: /l.fd, nvram: /a.fd}")
    first = planned(text)
    after = planned(text.replace("/a.fd", "/b.fd"), running(first, done(first), "kvm-2"))
    assert (told(after), codes(after)) == ([], {"plan.nvram-replaced"})


def test_a_guest_that_moves_is_left_alone(planned):
    plan = planned(manifest())
    seen = running(plan, done(plan), "kvm-1", "kvm-2")
    after = planned(manifest(), seen)
    assert (told(after), codes(after)) == ([], {"plan.moving"})


@pytest.mark.parametrize("state", ["running", "stopped", "unmanaged"])
def test_power_is_the_cluster_managers(planned, state):
    plan = planned(manifest())
    assert planned(manifest(f", ha: true, state: {state}"), done(plan)).empty
    assert planned(manifest(f", ha: true, state: {state}"), running(plan, done(plan), "kvm-2")).empty


TWO = "cpus: {count: 2, policy: dedicated}"
BOUND = (
    manifest(f", host: kvm-1, ha: true, {TWO}")
    .replace(
        '{"kvm-{1..3}": "qemu+tls://{name}/system"}',
        '{"kvm-{1..2}": {uri: "qemu+tls://{name}/system", dedicated: 2-7},'
        ' kvm-3: {uri: "qemu+tls://kvm-3/system", dedicated: 4-5}}',
    )
    .replace("vms: {db", f"vms: {{two: {{host: kvm-1, memory: 1GiB, ha: true, {TWO}}},"
             f" own: {{host: kvm-2, memory: 1GiB, {TWO}}}, db")
)  # fmt: skip


def pins(xml: str) -> set[str]:
    return {str(pin.get("cpuset")) for pin in etree.fromstring(xml).iter("vcpupin")}


def files(plan: Plan) -> dict[tuple[str, str], str]:
    """What is written of each vm on each host."""
    return {
        (step.task.owner, step.address.host): step.task.xml
        for step in plan.steps
        if isinstance(step.task, WriteDefinition)
    }


def test_each_host_has_a_file_with_cpus_of_its_own_that_nobody_else_there_has(planned):
    plan = planned(BOUND)
    found = {key: pins(xml) for key, xml in files(plan).items()}
    (own,) = [pins(step.task.xml) for step in plan.steps if isinstance(step.task, DefineDomain)]
    for host in ("kvm-1", "kvm-2"):
        taken = [found["db", host], found["two", host], *([own] if host == "kvm-2" else [])]
        assert len(set().union(*taken)) == 2 * len(taken), (host, taken)
    # Both may come to kvm-3 at once, where there is room for one.
    assert [key for key in found if key[1] == "kvm-3"] == [("db", "kvm-3")]
    assert found["db", "kvm-3"] == {"4", "5"}


def test_a_guest_that_was_started_elsewhere_has_what_it_got_there_and_its_files_stay(planned):
    plan = planned(BOUND)
    written, seen = files(plan), done(plan)
    uuids = {step.task.owner: step.task.uuid for step in plan.steps if isinstance(step.task, WriteDefinition)}
    (own,) = [step.task for step in plan.steps if isinstance(step.task, DefineDomain)]

    def with_(host: str, name: str, uuid: str, xml: str, *, persistent: bool = False) -> None:
        domain = ObservedDomain(name, uuid, xml, xml, True, persistent, False, False)
        seen[host] = replace(
            seen[host], state=replace(seen[host].state, domains=(*seen[host].state.domains, domain))
        )

    with_("kvm-2", "own", own.uuid, own.xml, persistent=True)
    for name in ("db", "two"):
        with_("kvm-2", name, uuids[name], file_text(written[name, "kvm-2"]))
    assert files(planned(BOUND, seen)) == {}


def test_one_file_that_hosts_share_takes_no_pins_of_one(planned):
    plan = planned(BOUND.replace("defs: {path: /srv/defs", "defs: {path: /srv/defs, shared: true"))
    assert "plan.bound-definition" in codes(plan)
    assert not files(plan)


def test_a_guest_is_handed_over_once_its_files_are_there_and_every_host_answers(planned):
    plan = planned(manifest())
    files = {step.address for step in plan.steps if isinstance(step.task, WriteDefinition)}
    bare = {host: replace(seen, state=replace(seen.state, ledgers=())) for host, seen in done(plan).items()}
    empty = {
        host: replace(
            seen, state=replace(seen.state, pools=tuple(replace(p, volumes=()) for p in seen.state.pools))
        )
        for host, seen in bare.items()
    }
    seen = running(plan, empty, "kvm-2", persistent=True)
    (step,) = [step for step in planned(manifest(), seen).steps if isinstance(step.task, HandOverDomain)]
    assert (step.impact, files <= set(step.after)) == (Impact.LIVE, True)

    without = planned(manifest(), silent(seen, "kvm-3"))
    assert "plan.hand-over" in codes(without)
    assert not [step for step in without.steps if isinstance(step.task, HandOverDomain)]


def test_a_guest_that_a_cluster_manager_may_start_is_not_made_beside_it(planned):
    plan = planned(manifest())
    after = planned(manifest(""), done(plan))
    assert told(after) == []
    assert codes(after) == {"plan.still-managed", "plan.definition-left"}


def test_a_saved_plan_is_what_it_was_when_it_is_made_again(planned):
    plan = planned(manifest())
    seen = running(plan, done(plan), "kvm-3")
    edited = manifest(", ha: true, cpus: 2", size="2GiB").replace(
        "nics: [lan]", "nics: [{network: lan, link: down}]"
    )
    for saved, hosts in ((plan, {name: example_host(name) for name in HOSTS}), (planned(edited, seen), seen)):
        require_consistent(saved)
        assert [_core(step) for step in retrace(saved, hosts).steps] == [_core(step) for step in saved.steps]


def _core(step: Step) -> tuple[object, ...]:
    return step.address, step.action, step.task
