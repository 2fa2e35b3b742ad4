"""Where vms go: what is somewhere stays, what may be somewhere waits, the rest is asked of a solver."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from kvmdecl_spread.solver import spread

from kvmdecl.diagnostics import Rejected
from kvmdecl.facts import PagePool
from kvmdecl.names import GIB, KIB
from kvmdecl.placement import place
from kvmdecl.solver import PlaceAnswer, PlaceRequest
from tests.placement.support import domain, host, hosts, silent
from tests.resolve.support import HEAD, resolved

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmdecl.cluster import PlacedCluster, ResolvedCluster
    from kvmdecl.diagnostics import Diagnostic
    from kvmdecl.state import HostSnapshot, Observation, ObservedDomain

LAN = "networks: {lan: {bridge: br0, hosts: [kvm-1, kvm-2]}}\n"


def where(placed: PlacedCluster) -> dict[str, str | None]:
    return {vm.name: vm.host for vm in placed.vms}


def refused(cluster: ResolvedCluster, observations: Mapping[str, Observation]) -> tuple[Diagnostic, ...]:
    with pytest.raises(Rejected) as rejected:
        place(cluster, observations, spread)
    return rejected.value.diagnostics


def never(request: PlaceRequest) -> PlaceAnswer:
    pytest.fail("there was nothing to ask the solver")


def test_a_vm_goes_to_the_host_that_it_names() -> None:
    cluster = resolved("vms: {web: {host: kvm-2}}")
    assert where(place(cluster, hosts(), never)) == {"web": "kvm-2"}


def test_a_vm_stays_where_it_is_however_full_its_host() -> None:
    cluster = resolved("vms: {web: {memory: 4GiB}}")
    full = host("kvm-3", domain(cluster.vms[0].uuid), memory=GIB)
    assert where(place(cluster, hosts(kvm_3=full), never)) == {"web": "kvm-3"}


def test_a_stopped_vm_stays_where_it_is_defined() -> None:
    cluster = resolved("vms: {web: {state: stopped}}")
    there = host("kvm-3", domain(cluster.vms[0].uuid, active=False))
    assert where(place(cluster, hosts(kvm_3=there), never)) == {"web": "kvm-3"}


def test_a_vm_that_names_another_host_than_its_own_goes_there() -> None:
    cluster = resolved("vms: {web: {host: kvm-2}}")
    placed = place(cluster, hosts(kvm_3=host("kvm-3", domain(cluster.vms[0].uuid))), never)
    assert (where(placed), placed.moves) == ({"web": "kvm-2"}, {"web": "kvm-3"})


def test_a_vm_that_is_on_two_hosts_is_refused() -> None:
    cluster = resolved("vms: {web: {}}")
    twice = {name: host(name, domain(cluster.vms[0].uuid)) for name in ("kvm-1", "kvm-3")}
    (found,) = refused(cluster, hosts() | twice)
    assert (found.code, found.summary) == ("placement.twice", "web is defined on kvm-1 and kvm-3")


def test_a_vm_on_a_host_that_lost_its_network_is_refused() -> None:
    cluster = resolved(LAN + "vms: {web: {nics: [lan]}}")
    (found,) = refused(cluster, hosts(kvm_3=host("kvm-3", domain(cluster.vms[0].uuid))))
    assert found.code == "placement.stranded"
    assert found.summary == "web is on kvm-3, which does not get network lan"


@pytest.mark.parametrize("keys", ["", "host: kvm-1"])
def test_a_vm_that_may_be_on_a_silent_host_is_left_alone_until_the_user_calls_it_new(keys: str) -> None:
    cluster = resolved("vms: {web: {" + keys + "}}")
    seen = hosts() | {"kvm-2": silent("kvm-2")}
    assert place(cluster, seen, never).undecided == ("web",)
    new = replace(cluster, newcomers=frozenset({"web"}))
    assert where(place(new, seen, spread)).keys() == {"web"}


def test_a_vm_that_was_found_does_not_wait_for_silent_hosts() -> None:
    cluster = resolved("vms: {web: {}}")
    there = host("kvm-1", domain(cluster.vms[0].uuid))
    placed = place(cluster, hosts(kvm_1=there) | {"kvm-2": silent("kvm-2")}, never)
    assert (where(placed), placed.undecided) == ({"web": "kvm-1"}, ())


def test_a_vm_waits_for_any_silent_host_since_an_older_manifest_may_have_put_it_there() -> None:
    cluster = resolved(LAN + "vms: {web: {nics: [lan]}}")
    placed = place(cluster, hosts() | {"kvm-3": silent("kvm-3")}, never)
    assert (where(placed), placed.undecided) == ({}, ("web",))


def test_without_any_host_read_only_named_hosts_are_known() -> None:
    placed = place(resolved("vms: {a: {host: kvm-1}, web: {count: 2}}"), {}, never)
    assert (where(placed), placed.undecided) == ({"a": "kvm-1"}, ("web-1", "web-2"))


def test_an_absent_vm_is_where_it_was_seen_and_nowhere_else() -> None:
    cluster = resolved("vms: {web: {state: absent}, gone: {state: absent}}")
    there = host("kvm-2", domain(next(vm.uuid for vm in cluster.vms if vm.name == "web")))
    placed = place(cluster, hosts(kvm_2=there), never)
    assert (where(placed), placed.undecided) == ({"web": "kvm-2"}, ())


def test_an_absent_vm_that_may_be_on_a_silent_host_is_undecided() -> None:
    placed = place(resolved("vms: {web: {state: absent}}"), hosts() | {"kvm-2": silent("kvm-2")}, never)
    assert placed.undecided == ("web",)


def test_siblings_go_to_different_hosts() -> None:
    placed = place(resolved("vms: {web: {count: 3}}"), hosts(), spread)
    assert sorted(where(placed).values(), key=str) == ["kvm-1", "kvm-2", "kvm-3"]


def test_a_sibling_that_is_there_already_counts() -> None:
    cluster = resolved("vms: {web: {count: 2}}")
    there = host("kvm-1", domain(cluster.vms[0].uuid), memory=1024 * GIB)
    assert where(place(cluster, hosts(kvm_1=there), spread))["web-2"] != "kvm-1"


def test_running_guests_of_others_take_room_and_stopped_ones_do_not() -> None:
    cluster = resolved("vms: {web: {memory: 60GiB}}")
    strangers = {
        name: host(name, domain("00000000-0000-0000-0000-000000000001", memory=8 * GIB, active=active))
        for name, active in (("kvm-1", True), ("kvm-2", True), ("kvm-3", False))
    }
    assert where(place(cluster, strangers, spread)) == {"web": "kvm-3"}


def test_the_reserve_of_a_host_is_not_given_away() -> None:
    head = HEAD + 'hosts: {kvm-1: {uri: "qemu:///system", reserve: {memory: 8GiB}}}\n'
    cluster = resolved("vms: {web: {memory: 60GiB}}", head=head)
    (found,) = refused(cluster, {"kvm-1": host("kvm-1")})
    assert [note.text for note in found.notes] == ["kvm-1: 56GiB of 56GiB free, 60GiB wanted"]


def test_a_vm_that_fits_nowhere_is_told_with_the_reason_of_every_host() -> None:
    cluster = resolved(LAN + "vms: {web: {memory: 4GiB, nics: [lan]}}")
    small = {"kvm-1": host("kvm-1", memory=3 * GIB + GIB // 2), "kvm-2": host("kvm-2", memory=2 * GIB)}
    (found,) = refused(cluster, hosts() | small)
    assert (found.code, found.at) == ("placement.no-host", cluster.vms[0].origin.at)
    assert [note.text for note in found.notes] == [
        "kvm-1: 3.5GiB of 3.5GiB free, 4GiB wanted",
        "kvm-2: 2GiB of 2GiB free, 4GiB wanted",
        "kvm-3: no network lan",
    ]


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (PlaceAnswer({}), "it says nothing about web"),
        (PlaceAnswer({"web": "kvm-3"}), "it puts web on kvm-3, which is not among its candidates"),
        (PlaceAnswer({"web": "kvm-1", "x": "kvm-1"}), "it speaks of x, which it was not asked about"),
        (PlaceAnswer({}, {"web": {}}), "it says nothing about web"),
    ],
)
def test_what_a_solver_answers_is_checked(answer: PlaceAnswer, complaint: str) -> None:
    cluster = resolved(LAN + "vms: {web: {nics: [lan]}}")
    with pytest.raises(Rejected) as rejected:
        place(cluster, hosts(), lambda _: answer)
    (found,) = rejected.value.diagnostics
    assert found.code == "placement.bad-answer"
    assert complaint in found.summary


def with_pages(name: str, count: int, *guests: ObservedDomain) -> HostSnapshot:
    """A host with that many pages of 1 GiB."""
    seen = host(name, *guests)
    pages = (PagePool(4 * KIB, 1), PagePool(GIB, count))
    cells = (replace(seen.facts.cells[0], pages=pages),)
    return replace(seen, facts=replace(seen.facts, cells=cells))


PAGES = "defaults: {vms: {memory: {size: 4GiB, pages: 1GiB}}}\nvms: {db: {}, web: {}}\n"


def test_a_vm_of_huge_pages_goes_where_enough_are_free() -> None:
    cluster = resolved(PAGES)
    seen = {f"kvm-{n}": with_pages(f"kvm-{n}", count) for n, count in ((1, 0), (2, 3), (3, 8))}
    assert where(place(cluster, seen, spread)) == {"db": "kvm-3", "web": "kvm-3"}

    seen["kvm-2"] = with_pages("kvm-2", 7, domain(cluster.vms[0].uuid))
    assert where(place(cluster, seen, spread)) == {"db": "kvm-2", "web": "kvm-3"}


def test_pages_that_a_host_shall_set_aside_count_as_there() -> None:
    head = (
        HEAD
        + "hosts: {kvm-1: {uri: 'qemu:///system', huge_pages: {1GiB: 8}}, kvm-2: 'qemu+tls://b/system'}\n"
    )
    seen = {name: with_pages(name, 0) for name in ("kvm-1", "kvm-2")}
    assert where(place(resolved(PAGES, head=head), seen, spread)) == {"db": "kvm-1", "web": "kvm-1"}


def test_a_vm_that_finds_its_huge_pages_nowhere_is_told_how_many_there_are() -> None:
    cluster = resolved(PAGES)
    seen = hosts(kvm_1=with_pages("kvm-1", 7, domain(cluster.vms[0].uuid)), kvm_2=with_pages("kvm-2", 0))
    seen["kvm-3"] = with_pages("kvm-3", 3)
    (found,) = refused(cluster, seen)
    assert [note.text for note in found.notes] == [
        "kvm-1: 7 pages of 1GiB, 8 wanted with those of its guests",
        "kvm-2: 0 pages of 1GiB, 4 wanted with those of its guests",
        "kvm-3: 3 pages of 1GiB, 4 wanted with those of its guests",
    ]
