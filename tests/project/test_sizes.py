"""How few lines a guest takes, of a manifest that is valid, fits its hosts, and comes to the XML that one expects."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from lxml import etree

from kvmdecl.diagnostics import Severity
from kvmdecl.facts import DomainSupport, HostFacts, NodeDevice, PagePool
from kvmdecl.names import GIB, KIB
from kvmdecl.pipeline import Compiled, compile_cluster, facts_of, load_cluster
from kvmdecl.pluginhost import load_plugins
from kvmdecl.scenario import example_host
from kvmdecl.state import DesiredDomain, HostSnapshot

HEAD = "apiVersion: kvmdecl/v1\ncluster: edge\n"
SHARED = f"""\
networks: {{lan: {{bridge: br0}}}}
storage: {{vms: /srv/vms}}
images: {{debian-13: {{source: debian-13.qcow2, sha256: {"0" * 64}}}}}
"""
HOSTS = 'hosts: {kvm-1: "qemu+tls://kvm-1.example/system"}\n'
CLOUD_IMAGE = """\
vms:
  web: {image: debian-13, disk: 20GiB, memory: 2GiB, nics: [lan],
        cloud_init: {meta_data: {public_keys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMe me]}}}
"""
GPU = """\
hosts: {kvm-1: {uri: "qemu+tls://kvm-1.example/system", huge_pages: {1GiB: {1: 64}}}}
vms:
  train:
    image: debian-13
    disk: 200GiB
    cpus: {count: 8, model: host-passthrough, pins: "16-23"}
    memory: {size: 64GiB, pages: 1GiB}
    numa: "1"
    hostdevs: [{pci: "0000:41:00.0"}]
    nics: [lan]
"""

HA_HOSTS = 'hosts: {"kvm-{1..3}": "qemu+tls://{name}.edge.example/system"}\n'
HA = """\
ha:
  fencing: {agent: fence_ipmilan, address: "{name}-bmc", password: /etc/bmc, own_power: true}
  links: ["10.1.0.{n}", "10.2.0.{n}"]
vms:
  web: {count: 3, image: debian-13, memory: 4GiB, nics: [lan], apart: host, ha: {crowd: true}}
"""


def gpu_host(facts: HostFacts) -> HostFacts:
    """Two cells of 16 CPUs and 128 GiB, 1 GiB pages, and a GPU at the second."""
    cells = tuple(
        replace(
            cell,
            memory=128 * GIB,
            cpus=tuple(replace(facts.cells[0].cpus[0], id=cell.id * 16 + number) for number in range(16)),
            pages=(PagePool(4 * KIB, 32 * 1024**2), PagePool(GIB, 0)),
        )
        for cell in facts.cells
    )
    gpu = {"address": "0000:41:00.0", "vendor": "0x10de", "product": "0x2330", "numa_cell": "1"}
    gpu |= {"iommu_group": "7", "driver": "vfio-pci"}
    vfio = (("cpu/mode", ("custom", "host-passthrough")), ("devices/hostdev/pciBackend", ("vfio",)))
    support = DomainSupport("x86_64", "kvm", facts.guests[0].machines[0].canonical, 288, vfio, ("EPYC",))
    return replace(
        facts,
        cells=cells,
        memory=256 * GIB,
        devices=(NodeDevice("pci_0000_41_00_0", "computer", "pci", tuple(gpu.items())),),
        domain_support=(support,),
    )


def compiled(folder: Path, text: str) -> Compiled:
    path = folder / "cluster.yaml"
    path.write_text(text)
    plugins = load_plugins()
    host = example_host("kvm-1")
    seen = HostSnapshot("kvm-1", gpu_host(host.facts), host.state)
    return compile_cluster(load_cluster(path, plugins), {"kvm-1": seen}, plugins)


def guest(found: Compiled) -> etree._Element:
    (domain,) = (thing for thing in found.desired.resources if isinstance(thing, DesiredDomain))
    return etree.fromstring(domain.xml)


@pytest.mark.parametrize(
    ("text", "most"), [(CLOUD_IMAGE, 3), (GPU, 10), (HA, 5)], ids=["cloud image", "gpu", "ha"]
)
def test_a_guest_takes_no_more_lines(text: str, most: int):
    lines = [line for line in text.splitlines() if line.strip()]
    assert len(lines) <= most
    assert max(map(len, lines)) <= 100


def test_a_guest_from_a_cloud_image_has_its_disk_its_nic_and_its_seed(tmp_path: Path):
    found = compiled(tmp_path, HEAD + HOSTS + SHARED + CLOUD_IMAGE)
    web = guest(found)
    assert not found.warnings
    assert [disk.get("device") for disk in web.iterfind("devices/disk")] == ["disk", "cdrom"]
    assert [nic.get("bridge") for nic in web.iterfind("devices/interface/source")] == ["br0"]


def test_a_guest_with_a_gpu_has_it_with_cpus_and_pages_of_its_cell(tmp_path: Path):
    found = compiled(tmp_path, HEAD + SHARED + GPU)
    train = guest(found)
    assert [d for d in found.warnings if d.severity is Severity.ERROR] == []
    assert [(pin.get("vcpu"), pin.get("cpuset")) for pin in train.iterfind("cputune/vcpupin")] == [
        (str(n), str(16 + n)) for n in range(8)
    ]
    assert train.find("memoryBacking/hugepages/page").attrib == {"size": "1048576", "unit": "KiB"}
    assert train.find("numatune/memory").attrib == {"mode": "strict", "nodeset": "1"}
    assert train.find("cpu").get("mode") == "host-passthrough"
    (gpu,) = train.iterfind("devices/hostdev")
    assert gpu.attrib == {"mode": "subsystem", "type": "pci", "managed": "yes"}
    assert gpu.find("source/address").attrib == {
        "domain": "0x0000", "bus": "0x41", "slot": "0x00", "function": "0x0"
    }  # fmt: skip
    assert train.findtext("memory") == str(64 * 1024**2)


def test_three_guests_on_three_hosts_are_fenced_apart_and_have_a_home_when_a_host_is_lost(tmp_path: Path):
    path = tmp_path / "cluster.yaml"
    path.write_text(HEAD + HA_HOSTS + SHARED.replace("/srv/vms", "{path: /srv/vms, shared: true}") + HA)
    plugins = load_plugins()
    hosts = {name: example_host(name) for name in ("kvm-1", "kvm-2", "kvm-3")}
    found = compile_cluster(load_cluster(path, plugins), hosts, plugins)
    files = {file.path: file.text for file in plugins.emit(found.placed, facts_of(hosts))}
    cib = etree.fromstring(files["cib.xml"])
    assert not found.warnings
    assert [each.get("id") for each in cib.iterfind(".//primitive[@type='fence_ipmilan']")] == [
        "fence-kvm-1", "fence-kvm-2", "fence-kvm-3"
    ]  # fmt: skip
    (apart,) = cib.iterfind(".//rsc_colocation[@id='apart-host-web-1']")
    assert [ref.get("id") for ref in apart.iter("resource_ref")] == ["web-1", "web-2", "web-3"]
    assert int(apart.get("score")) < 0
