"""What a plan says of huge pages and KSM: which numbers change, what may come of it, and what the kernel refuses."""

from __future__ import annotations

import pytest

from kvmdecl.facts import Cell, PagePool
from kvmdecl.hosts.fake import FakeReader
from kvmdecl.libvirt_xml.fingerprint import fingerprint
from kvmdecl.names import GIB, KIB, MIB, format_size
from kvmdecl.pipeline import plan_cluster, rehearse, scope_of
from kvmdecl.plan import Action, ChangeOrigin, Impact
from kvmdecl.planner.settings import plan_settings, settings_left
from kvmdecl.planner.verdict import HostView, Verdict
from kvmdecl.pluginhost import load_plugins
from kvmdecl.scenario import example_host
from kvmdecl.settings import HUGE_PAGES, KSM, page_name, shares, split_page_name
from kvmdecl.state import (
    Address,
    DesiredSettings,
    DesiredState,
    HostState,
    Kind,
    Ledger,
    LedgerEntry,
    ObservedSettings,
)
from kvmdecl.tasks import UpdateHost
from kvmdecl.uri import parse_manifest_uri
from tests.resolve.support import HEAD, resolved, told

PAGES = ObservedSettings(HUGE_PAGES, (("2MiB.0", 100), ("2MiB.1", 100)), (("2MiB.0", 60), ("2MiB.1", 0)))
NUMBERS = ObservedSettings(
    KSM, (("merge_across_nodes", 1), ("pages_to_scan", 100)), (("full_scans", 7), ("pages_shared", 0))
)
IDLE = ObservedSettings(KSM, NUMBERS.values, (("full_scans", 0), ("pages_shared", 0)))
SHARING = ObservedSettings(KSM, NUMBERS.values, (("full_scans", 7), ("pages_shared", 9)))

CELLS = tuple(
    Cell(id_, memory, (), tuple(PagePool(size, 0) for size in sizes), ())
    for id_, memory, sizes in (
        (0, 4 * GIB, (4 * KIB, 2 * MIB)),
        (1, 0, (4 * KIB, 2 * MIB)),  # CPUs without memory of their own
        (2, 4 * GIB, (4 * KIB, 2 * MIB, GIB)),
    )
)


def view(*there: ObservedSettings, noted: str = "", name: str = HUGE_PAGES) -> HostView:
    entries = (LedgerEntry(Kind.HOST, name, "", noted, complete=True),) if noted else ()
    return HostView("kvm-1", "edge", "r1", HostState(settings=there, ledgers=(Ledger("edge", entries),)))


def plan(name: str, there: ObservedSettings, noted: str = "", **values: int) -> Verdict:
    wanted = {key.replace("c", "2MiB.") if name == HUGE_PAGES else key: n for key, n in values.items()}
    desired = DesiredSettings(Address("kvm-1", Kind.HOST, name), tuple(wanted.items()))
    return plan_settings(desired, view(there, noted=noted, name=name))


@pytest.mark.parametrize("size", [64 * KIB, 2 * MIB, GIB, 16 * GIB])
def test_pages_are_named_by_their_size_as_a_manifest_writes_it(size: int):
    assert page_name(size, 3) == f"{format_size(size)}.3"
    assert split_page_name(page_name(size, 3)) == (size, 3)


def test_numbers_that_are_as_declared_need_nothing():
    assert plan(HUGE_PAGES, PAGES, c0=100) == Verdict()


def test_a_plan_says_what_pages_take_and_that_there_may_be_fewer():
    step = plan(HUGE_PAGES, PAGES, c0=612, c1=100).step
    assert step is not None
    assert (step.action, step.impact) == (Action.UPDATE, Impact.NONE)
    assert step.summary == (
        "takes 1GiB of memory until the host reboots; gets fewer where it is in pieces, and fails then"
    )
    assert [(c.key, c.before, c.after, c.how) for c in step.changes] == [
        ("huge_pages.2MiB.0", "100", "612", "virNodeAllocPages")
    ]
    assert step.task == UpdateHost(HUGE_PAGES, (("2MiB.0", 612), ("2MiB.1", 100)))
    assert step.precondition == fingerprint(PAGES)


@pytest.mark.parametrize(
    ("noted", "origin"),
    [("", ChangeOrigin.MANIFEST), ("2MiB.0=50", ChangeOrigin.MANIFEST), ("2MiB.0=200", ChangeOrigin.DRIFT)],
)
def test_what_was_set_and_is_lost_is_drift(noted: str, origin: ChangeOrigin):
    step = plan(HUGE_PAGES, PAGES, noted, c0=200).step
    assert step is not None
    assert step.changes[0].origin is origin


def test_pages_that_are_free_are_given_back():
    assert plan(HUGE_PAGES, PAGES, c0=60, c1=0).step


@pytest.mark.parametrize(
    ("name", "there", "values", "code"),
    [
        (HUGE_PAGES, PAGES, {"c0": 59}, "plan.pages-in-use"),
        (HUGE_PAGES, PAGES, {"c2": 8}, "plan.setting-unknown"),
        (KSM, SHARING, {"merge_across_nodes": 0}, "plan.pages-shared"),
        (KSM, NUMBERS, {"sleep_millisecs": 9}, "plan.setting-unknown"),
    ],
)
def test_what_the_kernel_refuses_is_blocked_and_holds_nothing_else_up(
    name: str, there: ObservedSettings, values: dict[str, int], code: str
):
    verdict = plan(name, there, **values)
    assert verdict.blocked is not None
    assert (verdict.blocked.code, verdict.usable, verdict.step) == (code, True, None)


def test_numbers_of_ksm_change_at_once_also_while_pages_are_shared():
    step = plan(KSM, SHARING, merge_across_nodes=1, pages_to_scan=500).step
    assert step is not None
    assert [(c.key, c.before, c.after) for c in step.changes] == [("ksm.pages_to_scan", "100", "500")]


def test_a_switch_of_ksm_is_shown_as_the_manifest_says_it():
    step = plan(KSM, NUMBERS, merge_across_nodes=0).step
    assert step is not None
    assert (step.changes[0].before, step.changes[0].after) == ("true", "false")


@pytest.mark.parametrize("number", [100, 500])
def test_ksm_that_does_not_run_is_told(number: int):
    assert [n.code for n in plan(KSM, IDLE, pages_to_scan=number).notes] == ["plan.ksm-idle"]
    assert plan(KSM, NUMBERS, pages_to_scan=number).notes == ()


@pytest.mark.parametrize(
    ("noted", "left"),
    [
        ("2MiB.0=100 2MiB.1=100", "huge_pages.2MiB.0 = 100, huge_pages.2MiB.1 = 100"),
        ("2MiB.0=100 2MiB.1=7", "huge_pages.2MiB.0 = 100"),  # the other is not what it was set to
        ("2MiB.0=99", ""),
        ("", ""),
    ],
)
def test_what_left_the_manifest_is_told_while_it_is_still_so(noted: str, left: str):
    told = [
        note.summary for note in settings_left(DesiredState("edge", "r1", ()), [view(PAGES, noted=noted)])
    ]
    assert told == ([f"kvm-1 keeps what no manifest says any more: {left}"] if left else [])


def test_what_is_still_declared_did_not_leave():
    desired = DesiredSettings(Address("kvm-1", Kind.HOST, HUGE_PAGES), (("2MiB.0", 100),))
    state = DesiredState("edge", "r1", (desired,))
    assert not list(settings_left(state, [view(PAGES, noted="2MiB.0=100")]))


def host(keys: str) -> str:
    return f"{HEAD}hosts: {{kvm-1: {{uri: 'qemu:///system', {keys}}}}}\n"


@pytest.mark.parametrize(
    ("keys", "pages"),
    [
        ("huge_pages: {2MiB: 512}", {"2MiB.0": 256, "2MiB.2": 256}),
        ("huge_pages: {2MiB: 513, 1GiB: {2: 4}}", {"2MiB.0": 257, "2MiB.2": 256, "1GiB.2": 4}),
        ("huge_pages: {1GiB: 3}", {"1GiB.2": 3}),  # the only cell that has such
        ("huge_pages: {2MiB: 0}", {"2MiB.0": 0, "2MiB.2": 0}),
        ("reserve: {cpus: 1}", {}),
    ],
)
def test_pages_of_a_host_are_divided_among_the_cells_that_have_such(keys: str, pages: dict[str, int]):
    (found,) = resolved("", head=host(keys)).hosts
    assert shares(found.huge_pages, CELLS) == pages


@pytest.mark.parametrize(
    ("keys", "code", "place"),
    [
        ("huge_pages: {2M: 512}", "manifest.bad-value", "2M"),
        ("huge_pages: {3MiB: 512}", "manifest.bad-host", "512"),
        ("huge_pages: {2048KiB: 512}", "manifest.bad-host", "512"),
        ("huge_pages: {2MiB: -1}", "manifest.bad-value", "-1"),
        ("huge_pages: {2MiB: many}", "manifest.wrong-type", "many"),
        ("huge_pages: {2MiB: {evenly: 4, 0: 4}}", "manifest.bad-host", "{evenly: 4, 0: 4}"),
        ("ksm: {pages_to_scan: 0}", "manifest.bad-value", "0"),
        ("ksm: {run: true}", "manifest.unknown-key", "run"),
    ],
)
def test_what_no_host_can_have_is_refused_where_it_is_said(keys: str, code: str, place: str):
    assert told("", head=host(keys)) == [(code, place)]


def test_a_guest_waits_for_the_pages_that_it_needs_and_an_ordinary_one_does_not():
    text = "storage: {vms: /srv/vms}\nvms: {db: {memory: {size: 4MiB, pages: 2MiB}}, web: {}}\n"
    cluster = resolved(text, head=host("huge_pages: {2MiB: 8}"))
    plan, _ = plan_cluster(cluster, FakeReader({"kvm-1": example_host("kvm-1")}), load_plugins())
    waiting = [
        step.address.name for step in plan.steps if Address("kvm-1", Kind.HOST, HUGE_PAGES) in step.after
    ]
    assert waiting == ["db"]


def test_only_hosts_of_which_something_is_declared_are_asked():
    assert scope_of(resolved("", head=host("ksm: {pages_to_scan: 5}"))).settings
    assert not scope_of(resolved("", head=host("reserve: {cpus: 1}"))).settings


def test_a_rehearsal_leaves_the_memory_of_its_machine_alone():
    cluster = resolved("", head=host("huge_pages: {2MiB: 8}, ksm: {pages_to_scan: 5}"))
    (stand_in,) = rehearse(cluster, {"kvm-1": parse_manifest_uri("test:///default")}).hosts
    assert (stand_in.huge_pages, stand_in.ksm) == ((), ())
