"""From placed vms to the objects of each host: what is there, what it needs, and what is left unsaid."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from kvmdecl.cluster import PlacedCluster
from kvmdecl.emit import emit
from kvmdecl.names import GIB, derive_uuid
from kvmdecl.state import (
    Absent,
    DesiredDomain,
    DesiredNetwork,
    DesiredPool,
    DesiredVolume,
    FileContent,
    Kind,
    Role,
    SeedContent,
)
from tests.placement.support import domain, host, hosts, silent
from tests.resolve.support import DEBIAN, SHA256, resolved

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kvmdecl.state import Desired, DesiredState, Observation

NETS = "networks: {lan: {bridge: br0}, nat: {mode: nat, subnet: 10.0.0.0/24}}\n"


def emitted(
    text: str, observations: Mapping[str, Observation] | None = None, folder: Path | None = None
) -> DesiredState:
    """What hosts should hold when every vm that names no host is on kvm-1."""
    cluster = resolved(text, folder)
    vms = tuple(vm.on(vm.host or "kvm-1") for vm in cluster.vms)
    return emit(PlacedCluster(cluster, vms), hosts() if observations is None else observations)


def by_address(state: DesiredState) -> dict[str, Desired]:
    return {str(resource.address): resource for resource in state.resources}


def test_a_cluster_without_vms_is_its_pools_and_networks_on_their_hosts() -> None:
    text = (
        "storage: {vms: {path: /srv/vms, hosts: [kvm-2], autostart: false}}\n"
        "networks: {lan: {bridge: br0}, nat: {mode: nat, subnet: 10.0.0.0/24, hosts: [kvm-3]}}\n"
    )
    found = by_address(emitted(text))
    assert set(found) == {"kvm-2/pool/vms", "kvm-3/network/nat"}
    pool, network = found["kvm-2/pool/vms"], found["kvm-3/network/nat"]
    assert isinstance(pool, DesiredPool)
    assert (pool.uuid, pool.autostart) == (derive_uuid("demo", Kind.POOL, "vms"), False)
    assert "/srv/vms" in pool.xml
    assert isinstance(network, DesiredNetwork)
    assert "10.0.0" in network.xml


def test_a_guest_needs_its_volumes_pools_and_networks() -> None:
    text = NETS + DEBIAN + "vms: {web: {image: debian, disk: 20GiB, disks: {data: 1GiB}, nics: [lan, nat]}}\n"
    found = by_address(emitted(text))
    guest = found["kvm-1/domain/web"]
    assert isinstance(guest, DesiredDomain)
    needs = [str(address) for address in guest.needs]
    assert needs[:2] == ["kvm-1/network/nat", "kvm-1/pool/vms"]
    assert [need.partition(".")[0] for need in needs[2:]] == ["kvm-1/volume/vms/web"] * 3
    assert set(needs) <= set(found)
    assert (guest.running, guest.autostart) == (True, True)
    assert guest.uuid in guest.xml


def test_a_disk_begins_as_the_volume_of_its_image() -> None:
    found = by_address(emitted(DEBIAN + "vms: {web: {image: debian, disk: 20GiB}}\n"))
    disk = found["kvm-1/volume/vms/web.root.qcow2"]
    image = found[f"kvm-1/volume/vms/debian.{SHA256[:12]}.qcow2"]
    assert isinstance(disk, DesiredVolume)
    assert isinstance(image, DesiredVolume)
    assert (disk.role, disk.capacity, disk.backing, disk.vm) == (Role.DISK, 20 * GIB, image.name, "web")
    assert (image.role, image.capacity, image.vm) == (Role.IMAGE, None, None)
    assert isinstance(image.content, FileContent)


def test_an_image_is_one_volume_per_pool_and_host_that_needs_it() -> None:
    text = (
        DEBIAN
        + "vms:\n  a: {image: debian, host: kvm-1}\n  b: {image: debian, host: kvm-1}\n"
        + ("  c: {image: debian, host: kvm-3}\n")
    )
    images = [name for name in by_address(emitted(text)) if "/debian." in name]
    assert [name.partition("/")[0] for name in images] == ["kvm-1", "kvm-3"]


def test_a_seed_is_a_volume_of_its_vm() -> None:
    seeds = [
        resource
        for resource in emitted(DEBIAN + "vms: {web: {image: debian}}\n").resources
        if isinstance(resource, DesiredVolume) and resource.role is Role.SEED
    ]
    assert [isinstance(seed.content, SeedContent) and seed.vm for seed in seeds] == ["web"]


@pytest.mark.parametrize(("state", "running"), [("running", True), ("stopped", False)])
def test_power_is_a_part_of_what_is_desired(state: str, running: bool) -> None:
    guest = by_address(emitted(f"vms: {{web: {{state: {state}, autostart: false}}}}"))["kvm-1/domain/web"]
    assert isinstance(guest, DesiredDomain)
    assert (guest.running, guest.autostart) == (running, False)


def test_what_shall_be_absent_is_said_and_its_volumes_are_not() -> None:
    text = (
        "storage: {vms: {path: /srv/vms, state: absent}}\n"
        "networks: {nat: {mode: nat, subnet: 10.0.0.0/24, state: absent, hosts: [kvm-1]}}\n"
        "vms: {web: {state: absent, disk: {size: 1GiB, pool: vms}}}\n"
    )
    uuid = resolved(text).vms[0].uuid
    seen = hosts(kvm_2=host("kvm-2", domain(uuid)), kvm_3=host("kvm-3", domain(uuid)))
    state = emitted(text, seen)
    assert all(isinstance(resource, Absent) for resource in state.resources)
    assert set(by_address(state)) == {
        "kvm-1/network/nat", "kvm-1/pool/vms", "kvm-2/pool/vms", "kvm-3/pool/vms",
        "kvm-2/domain/web", "kvm-3/domain/web",
    }  # fmt: skip


def test_an_absent_vm_of_a_silent_host_is_not_forgotten() -> None:
    state = emitted("vms: {web: {state: absent, host: kvm-2}}", hosts() | {"kvm-2": silent("kvm-2")})
    assert set(by_address(state)) == {"kvm-2/domain/web"}


def test_undecided_vms_are_named_and_not_emitted() -> None:
    cluster = resolved("vms: {web: {}}")
    state = emit(PlacedCluster(cluster, (), ("web",)), {})
    assert (state.resources, state.unplaced) == ((), ("web",))


def test_the_same_input_gives_the_same_output_in_order_of_addresses(tmp_path: Path) -> None:
    text = NETS + DEBIAN + "vms: {b: {image: debian, nics: [nat]}, a: {image: debian}}\n"
    one, two = emitted(text, folder=tmp_path), emitted(text, folder=tmp_path)
    assert one == two
    addresses = [resource.address for resource in one.resources]
    assert addresses == sorted(addresses)


def test_ten_thousand_vms_are_emitted_in_seconds() -> None:
    cluster = resolved(
        NETS + DEBIAN + "vms: {web: {count: 10000, image: debian, disk: 20GiB, nics: [lan]}}\n"
    )
    placed = PlacedCluster(cluster, tuple(vm.on(f"kvm-{1 + n % 3}") for n, vm in enumerate(cluster.vms)))
    began = time.process_time()
    state = emit(placed, hosts())
    took = time.process_time() - began
    assert len(state.resources) == 3 + 3 + 3 + 30_000
    assert took < 20
