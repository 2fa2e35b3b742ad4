"""What the hosts' libvirt says to the domains of a plan becomes part of the plan."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from kvmdecl.deep import deepen
from kvmdecl.diagnostics import Diagnostic, Span, TaskFailed
from kvmdecl.hosts.protocol import Conversion
from kvmdecl.plan import Action, Change, HostStatus, Impact, Plan, PlannedHost, Step
from kvmdecl.planner.clusters import without_hollow
from kvmdecl.state import Address, Kind
from kvmdecl.tasks import ConfigureManager, CreatePool, DefineDomain, WriteDefinition

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmdecl.hosts.protocol import ConversionRequest

VM, KEY = Span("c.yaml", 9, 3, 9, 6), Span("c.yaml", 10, 12, 10, 30)
NO_POOL = 49  # VIR_ERR_NO_STORAGE_POOL


@dataclass
class Oracle:
    """A HostConverter that answers as told, and takes what it was told nothing about."""

    answers: Mapping[str, Conversion | TaskFailed] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def submit(self, request: ConversionRequest) -> Future[Conversion]:
        self.asked.append(str(request.address))
        future: Future[Conversion] = Future()
        known = (str(request.address), request.address.name)
        answer = next((self.answers[name] for name in known if name in self.answers), Conversion())
        if isinstance(answer, TaskFailed):
            future.set_exception(answer)
        else:
            future.set_result(answer)
        return future


def pool(host: str) -> Step:
    task = CreatePool("vms", "", "<pool/>", autostart=True)
    return Step(Address(host, Kind.POOL, "vms"), Action.CREATE, Impact.NONE, (), "", "", task)


def domain(host: str, name: str, *changes: Change, after: tuple[Address, ...] = ()) -> Step:
    task = DefineDomain(name, "", "<domain/>", None, (), "start", autostart=True, cluster="c", revision="r")
    address = Address(host, Kind.DOMAIN, name)
    return Step(address, Action.CREATE, Impact.NONE, changes, "", "", task, after, VM)


def file(host: str, *readers: str) -> Step:
    task = WriteDefinition("defs", "a.xml", "a", "", "<domain/>", "pacemaker", readers=readers)
    return Step(
        Address(host, Kind.VOLUME, "defs/a.xml"), Action.CREATE, Impact.NONE, (), "", "", task, (), VM
    )


def manager(*after: Step) -> Step:
    task = ConfigureManager("pacemaker", "c", "<cib/>", "h1", "", (), (), ())
    address = Address("pacemaker", Kind.CLUSTER, "c")
    waits = tuple(step.address for step in after)
    return Step(address, Action.UPDATE, Impact.LIVE, (), "", "", task, waits, VM)


def plan(*steps: Step) -> Plan:
    names = dict.fromkeys(step.address.host for step in steps)
    return Plan("c", "r", tuple(PlannedHost(name, "", HostStatus.OK) for name in names), steps, 0)


def names(of: Plan) -> list[str]:
    return [str(step.address) for step in of.steps]


def test_only_domains_are_converted_and_a_plan_that_every_host_takes_stays_as_it_is():
    oracle, whole = Oracle(), plan(pool("h1"), domain("h1", "a"), domain("h2", "b"))

    assert deepen(whole, oracle) == whole
    assert oracle.asked == ["h1/domain/a", "h2/domain/b"]


def test_a_refused_domain_is_blocked_at_its_vm_and_the_others_go_on():
    refusal = Conversion("internal error: Unknown CPU model NoSuchCpu", 1)

    deep = deepen(plan(domain("h1", "a"), domain("h1", "b")), Oracle({"a": refusal}))

    assert names(deep) == ["h1/domain/b"]
    (found,) = deep.blocked
    assert (found.code, found.at, found.subject) == ("plan.deep-refused", VM, "h1/domain/a")
    assert "h1" in found.summary
    assert "Unknown CPU model NoSuchCpu" in found.summary
    assert "virsh cpu-models" in found.hint


def test_a_file_is_tried_by_each_host_that_may_start_its_guest_from_there():
    refusal = Conversion("internal error: Unknown CPU model NoSuchCpu", 1)
    oracle = Oracle({"h3/volume/defs/a.xml": refusal})
    shared = file("h1", "h2", "h3")

    deep = deepen(plan(shared, domain("h2", "b"), domain("h3", "c")), oracle)

    assert oracle.asked[:3] == ["h1/volume/defs/a.xml", "h2/volume/defs/a.xml", "h3/volume/defs/a.xml"]
    assert names(deep) == ["h2/domain/b", "h3/domain/c"]
    assert [found.summary for found in deep.blocked] == [f"h3 could not start a: {refusal.refusal}"]


def test_no_manager_is_told_of_a_guest_that_a_host_could_not_start():
    files = file("h1"), file("h2")
    whole = plan(*files, manager(*files))
    assert without_hollow(deepen(whole, Oracle())) == whole

    deep = without_hollow(deepen(whole, Oracle({"h2/volume/defs/a.xml": Conversion("no", 1)})))

    assert names(deep) == ["h1/volume/defs/a.xml"]
    assert {found.code for found in deep.blocked} == {"plan.deep-refused", "plan.held"}


def test_a_refused_change_is_shown_where_the_manifest_makes_it():
    changes = (
        Change("cpu/model", "cpus.model", "qemu64", "NoSuchCpu", Impact.NEXT_BOOT, "", at=KEY),
        Change("vcpu", "cpus.max", "1", "2", Impact.NEXT_BOOT, "", at=VM),
    )
    refusal = Conversion("internal error: Unknown CPU model NoSuchCpu", 1)

    deep = deepen(plan(domain("h1", "a", *changes)), Oracle({"a": refusal}))

    assert deep.blocked[0].at == KEY


def test_what_the_plan_itself_will_make_is_not_reported_as_missing():
    refusal = Conversion("Storage pool not found: no storage pool with matching name 'vms'", NO_POOL)
    steps = pool("h1"), domain("h1", "a", after=(Address("h1", Kind.POOL, "vms"),))

    assert not deepen(plan(*steps), Oracle({"a": refusal})).blocked
    assert deepen(plan(domain("h1", "a")), Oracle({"a": refusal})).blocked


def test_a_host_that_does_not_answer_is_unknown_and_all_its_objects_are_left_alone():
    silence = TaskFailed(Diagnostic("host.timeout", "h1: no answer"))

    deep = deepen(plan(pool("h1"), domain("h1", "a"), domain("h2", "b")), Oracle({"a": silence}))

    assert names(deep) == ["h2/domain/b"]
    assert not deep.complete
    assert deep.hosts[0].reason == "h1: no answer"
    assert deep.hosts[0].frozen == ("h1/pool/vms", "h1/domain/a")


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("unsupported configuration: unknown CPU feature: nosuch", "virsh domcapabilities"),
        ("CPU mode 'host-passthrough' for x86_64 qemu domain on x86_64 host is not supported", "KVM"),
        ("internal error: hugetlbfs filesystem is not mounted or disabled by administrator config", "hugetlbfs"),
        ("unsupported configuration: NUMA node 7 is unavailable", "NUMA cell"),
        ("unsupported configuration: TPM version '2.0' is not supported", "swtpm"),
        ("unsupported configuration: Maximum CPUs greater than specified machine type limit 288", "fewer CPUs"),
        ("something new", "virsh domcapabilities"),
    ],
)  # fmt: skip
def test_what_libvirt_says_comes_with_advice(said: str, advice: str):
    deep = deepen(plan(domain("h1", "a")), Oracle({"a": Conversion(said, 67)}))

    assert advice in deep.blocked[0].hint
