"""The map as text, whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kvmdecl.hostmap import HostMap, MappedCell, MappedCpu, MappedDevice, Role, Seat, Use
from kvmdecl.views.map_text import render_map
from kvmdecl.views.map_words import folded, in_runs, tags
from tests.hostmap.support import DB, DB_PLACE, TRAIN, TRAIN_PLACE, host, mapped, stranger
from tests.placement.support import silent

PLACES = {"train": TRAIN_PLACE, "db": DB_PLACE}
ONE_HOST = """\
kvm-1  16 CPUs, 15 for guests; 48GiB
  cell 0, socket 0
    0-3   -aac
    8-11  =aac
    4KiB  a 104MiB, others 4.3GiB, 11.5GiB of 16GiB free
    2MiB  a 4GiB, 4GiB of 8GiB free
  cell 1, socket 1
    4-7    =bbb
    12-15  =__b
    4KiB   b 2.1GiB, others 2.6GiB, 11.2GiB of 16GiB free
    2MiB   8GiB of 8GiB free
  memory  22.7GiB of 30GiB free beside huge pages
  + a  train  4 CPUs, 4GiB: vCPUs 0-3 on 1,9,2,10
  + b  db  4 CPUs, 2GiB: vCPUs 2-3 on 5-6, emulator on 7, I/O thread 1 on 15, 2
       vCPUs on shared CPUs of cell 1
    c  old  2 CPUs, 2GiB, not in the manifest: pinned on 3,11
  + 3 vms, 3 CPUs, 3GiB: web-{1..3}

= shared  - the host's  _ kept empty beside its guest  + new
"""
FIVE_HOSTS = """\
kvm-{1..5}  5 hosts, each 16 CPUs, 15 for guests; 48GiB
  cell 0, socket 0
    0-3   -...
    8-11  =...
    4KiB  others 2GiB to 2.9GiB, 13GiB to 14GiB of 16GiB free
    2MiB  8GiB of 8GiB free
  cell 1, socket 1
    4-7    =...
    12-15  =...
    4KiB   others 0MiB to 1GiB, 14.9GiB to 16GiB of 16GiB free
    2MiB   8GiB of 8GiB free
  kvm-1  28GiB of 30GiB free
    + 2 vms, 2 CPUs, 2GiB: web-{1..2}
  kvm-2  29GiB of 30GiB free
    + 1 vm, 1 CPU, 1GiB: web-3
  kvm-{3..5}  30GiB of 30GiB free

. free for a vCPU alone  = shared  - the host's  + new
"""
UNKNOWN = """\
kvm-2  not read: kvm-2 does not answer
    1 vm, 1 CPU, 1GiB: web-1

not placed: web-{2..3}; a host that was not read may have them

. free for a vCPU alone  = shared  - the host's
"""


def text(found: HostMap, *, color: bool = False) -> str:
    return render_map(found, color=color)


def test_a_host_is_drawn_cell_by_cell_with_a_letter_for_each_guest():
    seen = host("kvm-1", stranger("old", "3,11"))
    found = mapped(
        TRAIN,
        DB,
        "web: {count: 3}",
        where={f"web-{n}": "kvm-1" for n in (1, 2, 3)},
        places=PLACES,
        kvm_1=seen,
    )
    assert text(found) == ONE_HOST


def test_the_manual_shows_it():
    assert ONE_HOST in (Path(__file__).parents[2] / "docs/map.md").read_text()


def test_hosts_that_are_alike_are_drawn_once():
    where = {f"web-{n}": f"kvm-{1 + n // 3}" for n in (1, 2, 3)}
    assert text(mapped("web: {count: 3}", where=where, hosts=5)) == FIVE_HOSTS


def test_what_is_not_known_is_told():
    found = mapped(
        "web: {count: 3}",
        where={"web-1": "kvm-2"},
        hosts=2,
        undecided=("web-2", "web-3"),
        kvm_2=silent("kvm-2"),
    )
    assert text(found).split("\n\n", 1)[1] == UNKNOWN


def test_a_device_is_somebodys_or_free():
    seen = mapped(TRAIN, places={"train": TRAIN_PLACE}).hosts[0]
    devices = (
        MappedDevice("0000:41:00.0", "10de:2330", 1, "vm/train"),
        MappedDevice("0000:42:00.0", "10de:2330", None),
    )
    shown = text(HostMap("demo", (replace(seen, devices=devices),)))
    assert "\n  0000:41:00.0  10de:2330 at cell 1: a\n  0000:42:00.0  10de:2330: free\n" in shown


def test_what_is_new_is_green_and_what_is_not_for_guests_is_dim():
    found = text(mapped(TRAIN, places={"train": TRAIN_PLACE}), color=True)
    assert "\x1b[32ma\x1b[0m" in found
    assert "\x1b[2m=\x1b[0m" in found
    assert "\x1b[1mkvm-1\x1b[0m" in found


def test_a_hostile_name_does_nothing_to_a_terminal():
    shown = text(mapped(kvm_1=host("kvm-1", stranger("a\x1b[2J\nkvm-9" + "x" * 100, "1"))))
    assert "\x1b" not in shown
    assert r"a\x1b[2J\nkvm-9" in shown
    assert not any(line.startswith("kvm-9") for line in shown.splitlines())


def large(threads: int, guests: int) -> HostMap:
    """A cell of 64 cores, the first ones with a guest each."""
    cores = tuple(
        tuple(
            MappedCpu(core + 64 * thread, Use.TAKEN, (Seat(f"vm/g-{core + 1}", Role.VCPU, thread),))
            if core < guests
            else MappedCpu(core + 64 * thread, Use.FREE)
            for thread in range(threads)
        )
        for core in range(64)
    )
    found = mapped("g: {count: 64}", where={f"g-{n}": "kvm-1" for n in range(1, 65)})
    return replace(found, hosts=(replace(found.hosts[0], cells=(MappedCell(0, 0, cores, ()),)),))


@pytest.mark.parametrize(("threads", "guests"), [(1, 0), (2, 20), (2, 64), (8, 60)])
def test_a_large_host_fits_in_80_columns(threads: int, guests: int):
    assert max(map(len, text(large(threads, guests)).splitlines())) <= 80


def test_a_crowded_host_has_two_letters_for_each_guest():
    (crowded,) = large(2, 64).hosts
    shown = tags(crowded)
    assert len(set(shown.values())) == 64
    assert {len(tag) for tag in shown.values()} == {2}


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["web-1", "web-2", "web-3", "web-7"], "web-{1..3}, web-7"),
        (["web", "web1", "db"], "web, web1, db"),
        (["a-09", "a-010"], "a-0{9..10}"),
        ([], ""),
    ],
)
def test_names_that_differ_by_a_number_are_told_in_one(names: list[str], told: str):
    assert folded(names) == told


def test_cpus_keep_the_order_of_their_vcpus():
    assert in_runs([4, 5, 6, 20, 9]) == "4-6,20,9"
