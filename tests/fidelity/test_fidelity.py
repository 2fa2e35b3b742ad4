"""A share of what `python -m tests.fidelity` proves, in the time that a test suite has."""

from __future__ import annotations

import pytest

from kvmdecl.libvirt_xml.fields import differences
from kvmdecl.state import Kind
from tests.fidelity.campaigns import BASES, Tally, change, read, restart, rewrite, run
from tests.fidelity.host import connected
from tests.fidelity.losses import losses
from tests.fidelity.taking_over import take_over

pytestmark = pytest.mark.xdist_group("lab")


@pytest.fixture
def target(clean_lab):
    with connected(clean_lab) as target:
        yield target


@pytest.fixture
def trials(target):
    trials, tally = read(target, BASES)
    assert tally.wrong == []
    assert tally.counts["files"] == tally.counts["clean"]
    return trials


def assert_right(tally: Tally, word: str, least: int) -> None:
    assert tally.wrong == []
    assert tally.counts[word] >= least


def test_a_restart_of_libvirtd_makes_no_difference(target, trials):
    assert_right(restart(target, trials), "clean", 14)


def test_a_guest_that_was_just_started_waits_for_nothing(target, trials):
    assert_right(run(target, trials), "clean", 1)


def test_a_definition_in_other_words_is_no_difference(target, trials):
    assert_right(rewrite(target, trials, 150, seed=2), "clean", 150)


@pytest.mark.parametrize(("kind", "count"), [(Kind.DOMAIN, 40), (Kind.NETWORK, 20), (Kind.POOL, 10)])
def test_what_somebody_changed_is_told_by_its_field(target, trials, kind: Kind, count: int):
    tally = change(target, [trial for trial in trials if trial.kind is kind], count, seed=2)

    assert_right(tally, "changes", count // 2)
    assert tally.counts["declared named"] == tally.counts["declared fields"] > 0


def test_whatever_somebody_defined_is_the_same_when_made_anew_from_its_entry(target, trials):
    assert_right(take_over(target, trials, 15, seed=2), "the same when made anew", 15)


SHARED = "<mac address='52:54:00:ee:96:6b'/><source type='unix' path='/tmp/x' mode='server'/><model type='virtio'/>"
LOST = {
    "a filter on a NIC that has no tap": (
        f"<interface type='vhostuser'>{SHARED}<filterref filter='clean-traffic'/></interface>",
        "devices/interface[52:54:00:ee:96:6b]/filterref@filter",
    ),
    "a driver of a NIC that is not virtio": (
        (
            "<interface type='user'><mac address='52:54:00:00:00:01'/><model type='e1000'/><driver queues='4'/>"
            "</interface>"
        ),
        "devices/interface[52:54:00:00:00:01]/driver@queues",
    ),
}


@pytest.mark.parametrize(("device", "path"), LOST.values(), ids=LOST)
def test_what_libvirt_takes_and_forgets_is_a_difference_right_after(target, device: str, path: str):
    declared = (
        "<domain type='qemu'><name>lossy</name><memory unit='MiB'>16</memory><memoryBacking><access mode='shared'/>"
        f"</memoryBacking><os><type>hvm</type></os><devices>{device}</devices></domain>"
    )
    found = differences(declared, None, target.read_back(declared, Kind.DOMAIN), Kind.DOMAIN)

    assert [d.path for d in found] == [path]
    assert list(losses(declared, Kind.DOMAIN, found)) == [path]
