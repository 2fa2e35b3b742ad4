"""Guests with CPUs of their own on a host of two cells: placed, started, left where they are, and moved by review."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import libvirt
import pytest
from lxml import etree

from kvmdecl.lab import Topology
from tests.e2e.conftest import Story, qemu_pid

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kvmdecl.lab import Lab

MACHINE = Topology(sockets=2, cells=2, cores=4, threads=2, cell_mib=8192, hugepages=(), devices=())
CELLS = ({1, 2, 3, 9, 10, 11}, {5, 6, 7, 13, 14, 15})
"""CPUs that each cell sets aside; threads of a core are 8 apart."""
GUESTS = """\
vms:
  train: {cpus: {count: 4, policy: dedicated, threads: require}, memory: 256MiB}
  web: {cpus: {count: 2, policy: dedicated, emulator: share}, memory: 128MiB}
  plain: {memory: 64MiB}
"""


@pytest.fixture
def story(make_lab: Callable[..., Lab], tmp_path: Path) -> Story:
    return Story(tmp_path, make_lab(["kvm-1"], topologies={"kvm-1": MACHINE}))


def declare(story: Story, guests: str = GUESTS) -> None:
    uri = story.lab.host("kvm-1").uri()
    head = "apiVersion: kvmdecl/v1\ncluster: edge\ndefaults: {vms: {type: qemu}}\n"
    host = f"hosts:\n  kvm-1: {{uri: '{uri}', dedicated: '1-3,5-7,9-11,13-15', reserve: {{memory: 1GiB}}}}\n"
    story.write(head + host + guests)


def live(story: Story, vm: str) -> etree._Element:
    with story.connect("kvm-1") as connection:
        return etree.fromstring(connection.lookupByName(vm).XMLDesc())


def pins(story: Story, vm: str) -> dict[int, str]:
    """As libvirt has them of the running guest (virDomainGetVcpuPinInfo)."""
    with story.connect("kvm-1") as connection:
        found = connection.lookupByName(vm).vcpuPinInfo()
    return {
        vcpu: ",".join(str(cpu) for cpu, there in enumerate(cpus) if there) for vcpu, cpus in enumerate(found)
    }


def mapped(story: Story, vm: str) -> dict[int, str]:
    """As the map has them."""
    (host,) = json.loads(story.ok("map", "--format", "json").out)["hosts"]
    cpus = (cpu for cell in host["cells"] for core in cell["cores"] for cpu in core)
    seats = [(seat, str(cpu["id"])) for cpu in cpus for seat in cpu["seats"] if seat["guest"] == f"vm/{vm}"]
    return dict(sorted((seat["number"], cpu) for seat, cpu in seats if seat["role"] == "vcpu"))


def cores_of(story: Story) -> list[frozenset[int]]:
    with story.connect("kvm-1") as connection:
        cpus = etree.fromstring(connection.getCapabilities()).iterfind(".//cells/cell/cpus/cpu")
        found = {cpu.get("siblings"): int(cpu.get("id", "")) for cpu in cpus}
    return [frozenset(map(int, siblings.replace("-", ",").split(","))) for siblings in found if siblings]


def test_guests_run_where_they_were_placed_and_stay_there(story: Story):
    declare(story)
    story.ok("apply", "--yes")
    story.ok("plan", "--detailed-exitcode")

    train = pins(story, "train")
    cores = cores_of(story)
    taken = {int(cpu) for cpu in train.values()}
    assert len(taken) == 4
    assert sum(core <= taken for core in cores) == 2
    assert all(any({int(train[n]), int(train[n + 1])} == core for core in cores) for n in (0, 2))
    node = live(story, "train").find("numatune/memory")
    assert node is not None
    assert node.get("mode") == "strict"
    assert live(story, "train").find("cpu/topology").attrib["threads"] == "2"
    assert set(pins(story, "web").values()).isdisjoint(set(train.values()))
    assert pins(story, "plain") == {0: "0,4,8,12"}

    assert (mapped(story, "train"), mapped(story, "web")) == (train, pins(story, "web"))

    story.ok("facts", "--out", "facts")
    shown = story.ok("show", "train", "cluster.yaml", "--facts", "facts").out
    assert all(f'<vcpupin vcpu="{vcpu}" cpuset="{cpu}"/>' in shown for vcpu, cpu in train.items())

    before = {vm: pins(story, vm) for vm in ("train", "web", "plain")}
    declare(story, GUESTS + "  alpha: {cpus: {count: 2, policy: dedicated}, memory: 64MiB}\n")
    story.ok("apply", "--yes")
    assert {vm: pins(story, vm) for vm in before} == before
    story.ok("plan", "--detailed-exitcode")


def test_a_lock_file_is_followed_and_changes_places_only_by_review(story: Story):
    guests = GUESTS.replace("count: 4", "count: 2")
    declare(story, guests)
    story.ok("lock")
    lock = story.folder / "cluster.lock.yaml"
    written = lock.read_text()
    story.ok("lock", "--check")
    story.ok("apply", "--yes")
    story.ok("plan", "--detailed-exitcode")

    old, new = other_cpus(written)
    lock.write_text(written.replace(f'"{old}"', f'"{new}"'))
    planned = story.run("plan", "--detailed-exitcode")
    assert planned.code == 2
    assert "live" in planned.out
    assert re.search(r"^  ~ [a-z]  web ", story.ok("map").out, re.MULTILINE)
    pid = qemu_pid(story, "kvm-1", "web")
    story.ok("apply", "--yes")
    assert ",".join(pins(story, "web").values()) == new
    assert qemu_pid(story, "kvm-1", "web") == pid

    declare(story, guests + "  late: {memory: 64MiB}\n")
    refused = story.run("plan")
    assert refused.code == 1
    assert "lock.missing" in refused.err


def other_cpus(lock: str) -> tuple[str, str]:
    """The CPUs of the guest of 128 MiB, and others of its cell that are free."""
    given = [line.split('"')[1] for line in lock.splitlines() if "pins" in line]
    old = next(line.split('"')[1] for line in lock.splitlines() if "128MiB" in line)
    taken = {int(cpu) for cpus in given for cpu in cpus.split(",")}
    cell = next(cell for cell in CELLS if int(old.split(",")[0]) in cell)
    return old, ",".join(map(str, sorted(cell - taken)[:2]))


def test_what_does_not_fit_says_why_and_one_that_may_spill_stays_as_it_was_shared_out(story: Story):
    wide = "cpus: {count: 8, policy: dedicated}, memory: 9GiB"
    declare(story, f"vms:\n  wide: {{{wide}}}\n")
    refused = story.run("plan")
    assert refused.code == 1
    assert "placement.no-host" in refused.err
    assert "cell 0" in refused.err

    spilled = f"vms:\n  wide: {{{wide}, numa: {{spill: true}}}}\n"
    declare(story, spilled)
    story.ok("apply", "--yes")
    story.ok("plan", "--detailed-exitcode")
    story.ok("lock")
    lock = story.folder / "cluster.lock.yaml"
    shares = re.search(r"memory: \{0: (\w+), 1: (\w+)\}", lock.read_text())
    assert shares
    assert shares[1] != shares[2]

    lock.unlink()  # what is left is counted by that, too
    declare(story, f"{spilled}  small: {{cpus: {{policy: dedicated}}, memory: 2GiB}}\n")
    story.ok("plan")


def test_a_guest_of_nobody_keeps_its_cpus(story: Story):
    with story.connect("kvm-1") as connection:
        connection.createXML(
            "<domain type='qemu'><name>theirs</name><memory unit='MiB'>64</memory><vcpu>2</vcpu>"
            "<cputune><vcpupin vcpu='0' cpuset='1'/><vcpupin vcpu='1' cpuset='9'/></cputune>"
            "<os><type arch='x86_64' machine='q35'>hvm</type></os></domain>",
            libvirt.VIR_DOMAIN_START_PAUSED,
        )
    declare(
        story,
        "vms:\n  mine: {count: 5, cpus: {count: 2, policy: dedicated, threads: require}, memory: 64MiB}\n",
    )
    story.ok("apply", "--yes")
    given = {cpu for number in range(1, 6) for cpu in pins(story, f"mine-{number}").values()}
    assert len(given) == 10
    assert given.isdisjoint({"1", "9"})
    assert "theirs  2 CPUs, 64MiB, not in the manifest: pinned on 1,9" in story.ok("map").out


@pytest.mark.proof
def test_a_running_guest_arrives_on_cpus_and_in_the_cell_of_its_new_host(
    make_lab: Callable[..., Lab], tmp_path: Path
):
    names = ("kvm-1", "kvm-2")
    story = Story(tmp_path, make_lab(names, topologies=dict.fromkeys(names, MACHINE)))
    hosts = "".join(
        f"  {name}: {{uri: '{story.lab.host(name).uri()}', dedicated: '{cpus}', reserve: {{memory: 1GiB}}}}\n"
        for name, cpus in zip(names, ("1-3,9-11", "5-7,13-15"), strict=True)
    )
    guest = "vms: {a: {host: kvm-1, type: qemu, cpus: {count: 2, policy: dedicated}, memory: 64MiB}}\n"
    story.write(f"apiVersion: kvmdecl/v1\ncluster: edge\nhosts:\n{hosts}{guest}")
    story.ok("apply", "--yes", rehearse=False)
    story.edit("host: kvm-1", "host: kvm-2")
    assert "stays where it is\n" not in story.ok("plan", rehearse=False).out.partition("numa")[2]
    story.ok("apply", "--yes", rehearse=False)

    with story.connect("kvm-2") as connection:
        domain = connection.lookupByName("a")
        assert [[cpu for cpu, there in enumerate(cpus) if there] for cpus in domain.vcpuPinInfo()] == [
            [5],
            [13],
        ]
        memory = etree.fromstring(domain.XMLDesc()).find("numatune/memory")
    assert memory is not None
    assert memory.get("nodeset") == "1"
    assert story.run("plan", "--detailed-exitcode", rehearse=False).code == 0
