"""`rollout:` becomes waves of hosts, and an order between guests of which only so many may be down."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvmdecl.cli.validate import _check
from kvmdecl.diagnostics import Rejected, Span
from kvmdecl.pipeline import load_cluster
from kvmdecl.plan import Action, HostStatus, Impact, Plan, PlannedGate, PlannedHost, Rollout, Step, Wave
from kvmdecl.planner.waves import _one_after_the_other, rollout_of, until_wave
from kvmdecl.pluginhost import load_plugins
from kvmdecl.state import Address, Kind
from kvmdecl.tasks import DeleteVolume
from kvmdecl.views.plan_markdown import render_markdown
from kvmdecl.views.plan_text import render_plan
from kvmdecl.waves import spent, waves_of
from tests.safety.support import plan_for

HOSTS = """\
apiVersion: kvmdecl/v1
cluster: edge
hosts:
  kvm-{1..2}: {uri: "qemu+tls://{name}.example/system", labels: {rack: r2}}
  kvm-{3..4}: {uri: "qemu+tls://{name}.example/system", labels: {rack: r1}}
  kvm-5: {uri: "qemu+tls://kvm-5.example/system"}
"""


def rollout(tmp_path: Path, said: str) -> Rollout | None:
    path = tmp_path / "cluster.yaml"
    path.write_text(HOSTS + said)
    return rollout_of(load_cluster(path, load_plugins()))


@pytest.mark.parametrize(
    ("said", "waves"),
    [
        ("{}", [("all", "1 2 3 4 5")]),
        ("{canary: [kvm-3]}", [("canary", "3"), ("rest", "1 2 4 5")]),
        ("{by: rack}", [("r1", "3 4"), ("r2", "1 2"), ("rest", "5")]),
        ("{canary: [kvm-3], by: rack}", [("canary", "3"), ("r1", "4"), ("r2", "1 2"), ("rest", "5")]),
        ("{waves: [[kvm-5, kvm-1], [kvm-2]]}", [("wave-1", "5 1"), ("wave-2", "2"), ("rest", "3 4")]),
        (
            "{canary: [kvm-1], waves: [[kvm-2, kvm-3, kvm-4, kvm-5]]}",
            [("canary", "1"), ("wave-1", "2 3 4 5")],
        ),
    ],
)
def test_every_host_is_in_one_wave(tmp_path: Path, said: str, waves: list[tuple[str, str]]):
    found = rollout(tmp_path, f"rollout: {said}\n")

    assert found is not None
    assert [(w.name, " ".join(host[4:] for host in w.hosts)) for w in found.waves] == waves


def test_racks_go_in_the_order_of_their_numbers_and_none_has_the_name_of_another_wave(tmp_path: Path):
    racks = ["r10", "r9", "2", "canary", "rest"]
    labels = "".join(f"  x-{n}: {{uri: 'qemu+tls://x-{n}.example/system', labels: {{of: '{rack}'}}}}\n"
                     for n, rack in enumerate(racks))  # fmt: skip
    found = rollout(tmp_path, f"{labels}rollout: {{canary: [kvm-1], by: of}}\n")

    assert found is not None
    assert " ".join(wave.name for wave in found.waves) == "canary of=2 of=canary r9 r10 of=rest rest"


def test_without_a_rollout_there_are_no_waves(tmp_path: Path):
    assert rollout(tmp_path, "") is None


@pytest.mark.parametrize(
    ("said", "code", "line"),
    [
        ("{canary: [kvm-9]}", "reference.unknown-host", 7),
        ("{waves: [[kvm-1], [kvm-9]]}", "reference.unknown-host", 7),
        ("{waves: [[kvm-1], []]}", "manifest.bad-rollout", 7),
        ("{by: rak}", "reference.unknown-label", 7),
        ("{by: rack, waves: [[kvm-1]]}", "manifest.bad-rollout", 7),
        ("{canary: [kvm-1], waves: [[kvm-1]]}", "manifest.bad-rollout", 7),
        ("{max_failed: -1}", "manifest.bad-value", 7),
        ("{max_parallel: 0}", "manifest.bad-value", 7),
        ("{gates: [runing]}", "plugin.unknown-gate", 7),
        ("{gates: [{check: running, vms: [web]}]}", "reference.unknown-vm", 7),
        ("{gates: [tcp]}", "manifest.missing-key", 7),
        ("{gates: [{check: tcp, with: {prot: 22}}]}", "manifest.unknown-key", 7),
        ("{gates: [{check: tcp, with: {port: 99999}}]}", "manifest.bad-value", 7),
        ("{gates: [{check: settle, for: 1s, with: {port: 1}}]}", "manifest.unknown-key", 7),
        ("{gates: [settle]}", "manifest.missing-key", 7),
        ("{gates: [pacemaker]}", "manifest.missing-key", 7),
        ("{canary: [kvm-1, kvm-1]}", "manifest.bad-rollout", 7),
        ("{gates: [{check: command, with: {argv: []}}]}", "manifest.wrong-type", 7),
        ("{gates: [{check: settle, for: soon}]}", "manifest.bad-value", 7),
    ],
)
def test_what_cannot_be_is_refused_at_its_line(tmp_path: Path, said: str, code: str, line: int):
    with pytest.raises(Rejected) as planned:
        rollout(tmp_path, f"rollout: {said}\n")
    with pytest.raises(Rejected) as validated:
        _check(tmp_path / "cluster.yaml", (), ())

    (found,) = planned.value.diagnostics
    assert (found.code, found.at.line if found.at else 0) == (code, line)
    assert validated.value.diagnostics == planned.value.diagnostics


def test_a_gate_that_names_no_vm_is_told_the_entry_that_was_meant(tmp_path: Path):
    with pytest.raises(Rejected) as rejected:
        rollout(tmp_path, "rollout: {gates: [{check: running, vms: [wbe]}]}\nvms: {web: {count: 12}}\n")
    assert [found.hint for found in rejected.value.diagnostics] == ["did you mean `web`?"]


RACKS = Rollout((Wave("canary", ("kvm-1",)), Wave("r1", ("kvm-2", "kvm-3")), Wave("rest", ("kvm-4",))), 1, 0)


def step(name: str, host: int, *after: str, impact: Impact = Impact.RESTART, entry: int = 1) -> Step:
    waits = tuple(Address(f"kvm-{other[-1]}", Kind.DOMAIN, other) for other in after)
    address = Address(f"kvm-{host}", Kind.DOMAIN, name)
    at = Span("cluster.yaml", entry, 1, entry, 1)
    task = DeleteVolume("vms", name)
    return Step(address, Action.UPDATE, impact, (), "", "there", task, after=waits, at=at)


def plan_of(*steps: Step, silent: int = 0) -> Plan:
    status = [HostStatus.UNREACHABLE] * silent + [HostStatus.OK] * (4 - silent)
    hosts = tuple(PlannedHost(f"kvm-{n}", "", each) for n, each in enumerate(status, 1))
    return Plan("edge", "r", hosts, steps, 0, rollout=RACKS)


def test_a_step_comes_no_earlier_than_what_it_waits_for():
    plan = plan_of(step("db-1", 1, "app-4"), step("app-4", 4), step("web-2", 2), step("last-1", 1, "db-1"))

    waves = waves_of(plan)

    assert {address.name: wave for address, wave in waves.items()} == {
        "db-1": 2,
        "app-4": 2,
        "web-2": 1,
        "last-1": 2,
    }


@pytest.mark.parametrize("wanted", ["r1", "2"])
def test_the_waves_after_one_are_left_to_a_later_run(wanted: str):
    plan = plan_of(step("db-1", 1), step("app-4", 4), step("web-2", 2), step("later-1", 1, "app-4"))

    assert [each.address.name for each in until_wave(plan, wanted).steps] == ["db-1", "web-2"]
    with pytest.raises(Rejected, match=r"rollout\.unknown-wave"):
        until_wave(plan, "r9")


def test_the_plan_shows_the_waves():
    text = render_plan(plan_of(step("db-1", 1), step("web-2", 2), step("web-3", 3)), color=False)

    assert text.split("\n\n")[-2] == (
        "In waves; at most 1 host at once, ended when something fails on more than 0 hosts:\n"
        "  1  canary  1 step  kvm-1\n"
        "  2  r1      2 steps  kvm-2 kvm-3\n"
        "  3  rest    0 steps  kvm-4"
    )


def test_the_plan_shows_how_much_is_done_at_once_also_in_a_comment():
    plan = plan_of(step("db-1", 1), step("web-2", 2), step("web-3", 3))
    plan = replace(plan, rollout=replace(RACKS, max_migrations=3, max_unavailable=1))
    told = (
        "In waves; at most 1 host at once, at most 1 guest of an entry down at once, at most 3 moves from or to a"
        " host at once, ended when something fails on more than 0 hosts: "
    )

    assert told.rstrip() in render_plan(plan, color=False)
    assert f"\n{told}`canary` (1 step) → `r1` (2 steps) → `rest` (0 steps)\n" in render_markdown(plan)


def test_the_plan_shows_what_each_wave_is_asked_and_every_word_of_a_command():
    gates = (
        PlannedGate("tcp", {"port": "22"}, ("web-2",), 30, 300, 2),
        PlannedGate("command", {"argv": ("rm", "a b")}, (), 0, 60, 2),
    )
    guests = (Wave("canary", ("kvm-1",), (Address("kvm-1", Kind.DOMAIN, "db-1"),)), *RACKS.waves[1:])
    plan = replace(plan_of(step("db-1", 1)), rollout=replace(RACKS, waves=guests, gates=gates))

    assert render_plan(plan, color=False).split("\n\n")[-2].partition("\n")[2] == (
        "  1  canary  1 step  kvm-1  (1 guest at its gates)\n"
        "  2  r1      0 steps  kvm-2 kvm-3  (0 guests at its gates)\n"
        "  3  rest    0 steps  kvm-4  (0 guests at its gates)\n"
        "After each wave, before the next:\n"
        "  tcp  port `22`  of web-2  for 30s, within 5m\n"
        "  command  argv `rm` `a b`  within 1m"
    )


def test_gates_ask_the_guests_that_should_run_when_a_wave_has_ended(tmp_path: Path):
    path = tmp_path / "cluster.yaml"
    path.write_text(
        HOSTS + "rollout: {canary: [kvm-1], max_unavailable: 1, gates: [{check: running, vms: [web]}]}\n"
        "vms:\n"
        "  web: {count: 2, host: kvm-1, memory: 64MiB}\n"
        "  off: {host: kvm-1, memory: 64MiB, state: stopped}\n"
        "  late: {host: kvm-1, memory: 64MiB, after: [db]}\n"
        "  db: {host: kvm-5, memory: 64MiB}\n"
    )
    plan = plan_for(path, {})

    assert plan.rollout
    asked = [" ".join(guest.name for guest in wave.guests) for wave in plan.rollout.waves]
    assert asked == ["web-1 web-2", "late db"]
    assert plan.rollout.gates == (PlannedGate("running", {}, ("web-1", "web-2"), 0, 120, 2),)
    assert plan.rollout.max_unavailable == 1


@pytest.mark.parametrize(("silent", "code"), [(0, None), (1, "rollout.budget-spent")])
def test_hosts_that_do_not_answer_use_up_the_budget(silent: int, code: str | None):
    found = spent(plan_of(silent=silent))
    assert (found.code if found else None) == code


@given(
    st.lists(
        st.tuples(
            st.integers(1, 4),
            st.integers(1, 3),
            st.sampled_from([Impact.LIVE, Impact.RESTART, Impact.DOWNTIME]),
        ),
        max_size=12,
    ),
    st.integers(1, 3),
    st.data(),
)
def test_no_more_guests_of_an_entry_are_down_than_may_be(drawn, most: int, data: st.DataObject):
    steps: list[Step] = []
    for number, (host, entry, impact) in enumerate(drawn):
        earlier = [f"{s.address.name}" for s in steps]
        after = data.draw(st.lists(st.sampled_from(earlier), unique=True, max_size=2)) if earlier else []
        steps.append(step(f"v{number}-{host}", host, *after, impact=impact, entry=entry))
    chained = _one_after_the_other(tuple(data.draw(st.permutations(steps))), RACKS, most)

    waves = waves_of(plan_of(*chained))
    assert waves == waves_of(plan_of(*steps)), "no step is put off to a later wave"
    assert len(list(waves)) == len(steps), "there is no ring"
    waits = {each.address: set(each.after) for each in chained}
    for entry in (1, 2, 3):
        left = [s.address for s in chained if s.at and s.at.line == entry and s.impact >= Impact.RESTART]
        while left:
            free = [address for address in left if not _reach(address, waits) & set(left)]
            assert 1 <= len(free) <= most
            left.remove(free[0])


def _reach(address: Address, waits: dict[Address, set[Address]]) -> set[Address]:
    found: set[Address] = set()
    queue = list(waits[address])
    while queue:
        if (each := queue.pop()) not in found:
            found.add(each)
            queue += waits[each]
    return found
