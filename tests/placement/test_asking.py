"""What a solver is asked: who needs a place, who has one, who belongs with whom, and which hosts are open."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from kvmdecl.diagnostics import Rejected
from kvmdecl.placement import place
from kvmdecl.solver import CellPlace, Group, Place, PlaceAnswer
from tests.placement.support import hosts
from tests.resolve.support import resolved

if TYPE_CHECKING:
    from kvmdecl.diagnostics import Diagnostic
    from kvmdecl.solver import PlaceRequest

HEAD = """\
apiVersion: kvmdecl/v1
cluster: demo
hosts:
  kvm-1: {uri: "qemu+tcp://a/system", labels: {rack: r1, zone: a}}
  kvm-2: {uri: "qemu+tcp://b/system", labels: {rack: r1, zone: b}}
  kvm-3: {uri: "qemu+tcp://c/system", labels: {rack: r2, zone: b}, maintenance: true}
"""


class Recorder:
    """A solver that keeps what it was asked, and puts every vm on its first candidate."""

    def __init__(self) -> None:
        self.request: PlaceRequest | None = None

    def __call__(self, request: PlaceRequest) -> PlaceAnswer:
        self.request = request
        return PlaceAnswer(
            {vm.name: vm.candidates[0] for vm in request.vms},
            {},
            {vm.name: vm.place for vm in request.residents if vm.place},
        )


def asked(vms: str) -> PlaceRequest:
    solver = Recorder()
    with suppress(Rejected):  # what it answers is of no matter here
        place(resolved(f"vms:\n{vms}", head=HEAD), hosts(), solver)
    assert solver.request is not None
    return solver.request


def refused(vms: str) -> Diagnostic:
    with pytest.raises(Rejected) as rejected:
        place(resolved(f"vms:\n{vms}", head=HEAD), hosts(), Recorder())
    (found,) = rejected.value.diagnostics
    return found


def candidates(vms: str) -> dict[str, tuple[str, ...]]:
    return {vm.name: vm.candidates for vm in asked(vms).vms}


def test_a_vm_is_put_where_labels_allow_it_and_nobody_is_at_work():
    assert candidates("  any: {}\n  near: {host_labels: {zone: a}}\n") == {
        "any": ("kvm-1", "kvm-2"),
        "near": ("kvm-1",),
    }


def test_a_vm_for_which_no_host_is_open_says_why():
    found = refused("  far: {host_labels: {rack: r2}}\n")
    assert found.code == "placement.no-host"
    assert [note.text for note in found.notes][:3] == [
        "kvm-1: rack is r1, r2 wanted",
        "kvm-2: rack is r1, r2 wanted",
        "kvm-3: is in maintenance",
    ]


@pytest.mark.parametrize(
    ("vms", "groups"),
    [
        ("  web: {count: 2, apart: host}\n", [({"web-1", "web-2"}, "host", True, 1)]),
        (
            "  web: {count: 3, apart: {scope: rack, most: 2}}\n",
            [({"web-1", "web-2", "web-3"}, "rack", True, 2)],
        ),
        (
            "  a: {together: {group: shop}}\n  b: {together: {group: shop}}\n",
            [({"a", "b"}, "host", False, 1)],
        ),
        (
            "  web: {count: 2, apart: {scope: rack, soft: true}}\n",
            [({"web-1", "web-2"}, "rack", True, 1, True)],
        ),
        (
            "  web: {count: 2, together: {scope: rack, soft: true}}\n",
            [({"web-1", "web-2"}, "rack", False, 1, True)],
        ),
        ("  a: {apart: host}\n  b: {apart: host}\n", []),
    ],
)
def test_who_belongs_with_whom(vms: str, groups: list[Any]):
    found = [Group(frozenset(members), *of) for members, *of in groups]
    assert list(asked(vms).groups) == found


def test_of_an_ordinary_vm_that_is_somewhere_its_group_is_told():
    request = asked("  a: {host: kvm-2, apart: {group: g}}\n  b: {apart: {group: g}}\n")
    assert [(vm.name, vm.place) for vm in request.residents] == [("a", Place("kvm-2", ()))]
    assert [vm.name for vm in request.vms] == ["b"]


def test_a_bound_vm_that_names_its_host_is_asked_for_there():
    class Seats(Recorder):
        def __call__(self, request: PlaceRequest) -> PlaceAnswer:
            self.request = request
            cell = CellPlace(0, ((0, 4, 1024),), (), ((0, 2),))
            return PlaceAnswer({"a": "kvm-2"}, {}, {"a": Place("kvm-2", (cell,))})

    solver = Seats()
    placed = place(
        resolved("vms:\n  a: {host: kvm-2, cpus: 2, numa: {bind: true}}\n", head=HEAD), hosts(), solver
    )
    assert solver.request is not None
    assert [(vm.name, vm.candidates) for vm in solver.request.vms] == [("a", ("kvm-2",))]
    (vm,) = placed.vms
    assert vm.spec.numa is not None
    assert vm.spec.numa.nodeset == "0"
    assert placed.places["a"].cells[0].home == 0


@pytest.mark.parametrize(
    ("key", "value"), [("apart", "rak"), ("together", "zon"), ("host_labels", "{rak: r1}")]
)
def test_a_label_that_no_host_has_is_told(key: str, value: str):
    found = refused(f"  a: {{{key}: {value}}}\n")
    assert (found.code, found.hint.startswith("did you mean")) == ("reference.unknown-label", True)
