"""A device of the host that goes from one guest to another is let go before it is taken."""

from __future__ import annotations

from kvmdecl.plan import Action, Impact, Step
from kvmdecl.planner.handover import handed_over
from kvmdecl.planner.verdict import HostView
from kvmdecl.state import Address, HostState, Kind, ObservedDomain
from kvmdecl.tasks import DefineDomain, DeleteDomain


def definition(*buses: str) -> str:
    places = "".join(
        f"<hostdev type='pci'><source><address domain='0x0000' bus='0x{bus}' slot='0x00' function='0x0'/></source>"
        "</hostdev>"
        for bus in buses
    )
    return f"<domain><devices>{places}</devices></domain>"


def has(name: str, *buses: str, active: bool = True) -> ObservedDomain:
    xml = definition(*buses)
    return ObservedDomain(name, name, xml, xml if active else None, active, True, False, False)


def gets(name: str, *buses: str, power: str = "keep") -> Step:
    task = DefineDomain(name, name, definition(*buses), None, (), power, False, "demo", "")  # type: ignore[arg-type]
    return step(name, Action.UPDATE, task)


def step(name: str, action: Action, task: DefineDomain | DeleteDomain) -> Step:
    return Step(Address("kvm-1", Kind.DOMAIN, name), action, Impact.LIVE, (), "", "", task)


def order(*steps: Step, domains: tuple[ObservedDomain, ...]) -> tuple[dict[str, list[str]], list[str]]:
    """Who waits for whom, and who is refused."""
    going, refused = handed_over(steps, {"kvm-1": HostView("kvm-1", "demo", "", HostState(domains=domains))})
    waits = {each.address.name: [address.name for address in each.after] for each in going}
    return waits, [found.subject for found in refused]


def test_who_takes_a_device_waits_for_who_lets_it_go():
    steps = gets("a", "41"), gets("b", "42"), gets("c", "43", power="start")
    domains = has("a", "42"), has("b", "43"), has("c", active=False)
    assert order(*steps, domains=domains) == ({"a": [], "b": ["a"], "c": ["b"]}, [])


def test_a_guest_that_is_deleted_or_stopped_lets_its_devices_go():
    steps = gets("a", "41", power="shutdown"), step("b", Action.DELETE, DeleteDomain("b", "b", stop=True))
    taker = gets("c", "41", "42")
    domains = has("a", "41"), has("b", "42"), has("c")
    assert order(*steps, taker, domains=domains) == ({"a": [], "b": [], "c": ["a", "b"]}, [])


def test_a_guest_that_does_not_run_takes_nothing_and_has_nothing():
    domains = has("a", "41", active=False), has("b", "42", active=False)
    assert order(gets("a", "42"), gets("b", "41"), domains=domains)[0] == {"a": [], "b": []}


def test_guests_that_would_swap_devices_are_refused_and_others_go_on():
    domains = has("a", "41"), has("b", "42"), has("c", "43")
    waits, refused = order(gets("a", "42"), gets("b", "41"), gets("c"), domains=domains)
    assert (waits, refused) == ({"c": []}, ["kvm-1/domain/a", "kvm-1/domain/b"])
