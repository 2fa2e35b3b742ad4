"""On a real kernel and a real libvirtd: what is read is so, what is refused would fail, and the rest works."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import libvirt
import pytest

from tests.machine.host import ALONE, RealHost

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(900)]

NETWORK_CARD, CONVENTIONAL, DRIVE = "0000:01:00.0", "0000:02:01.0", "0000:03:00.0"


class Site:
    """A folder with a manifest for the machine."""

    def __init__(self, folder: Path, host: RealHost) -> None:
        self.folder = folder
        self.host = host

    def run(self, *words: str, vms: str = "", host: str = "") -> str:
        """What kvmdecl prints about a manifest with these vms, errors and all."""
        text = f'apiVersion: kvmdecl/v1\ncluster: demo\nhosts: {{kvm-1: {{uri: "{self.host.uri}"{host}}}}}\n'
        (self.folder / "cluster.yaml").write_text(f"{text}vms:\n{vms}" if vms else text)
        command = [sys.executable, "-m", "kvmdecl", *words]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=600)
        return done.stdout + done.stderr

    def facts(self) -> dict[str, dict[str, str]]:
        """What kvmdecl reads of the PCI functions, by address."""
        self.run("facts", "--out", "facts", vms="  web: {type: qemu}\n")
        told = json.loads((self.folder / "facts" / "kvm-1.json").read_text())["facts"]["devices"]
        devices = (dict(device["properties"]) for device in told if device["capability"] == "pci")
        return {device["address"]: device for device in devices}

    def driver(self, address: str) -> str:
        """Who drives a function, as the kernel has it."""
        return self.host.shell(f"basename $(readlink -f /sys/bus/pci/devices/{address}/driver)")


def guest(name: str, *addresses: str, more: str = "") -> str:
    devices = ", ".join(f'{{pci: "{address}"}}' for address in addresses)
    return f"  {name}: {{type: qemu, memory: 128MiB, hostdevs: [{devices}]{more}}}\n"


@pytest.fixture
def site(host: RealHost, tmp_path: Path) -> Site:
    return Site(tmp_path, host)


def test_groups_drivers_and_cells_are_those_of_the_kernel(site: Site):
    listing = site.host.shell(
        "cd /sys/bus/pci/devices; for f in *; do"
        " echo $f $(basename $(readlink -f $f/iommu_group)) $(cat $f/numa_node)"
        " $([ -e $f/driver ] && basename $(readlink -f $f/driver)); done"
    )
    kernel = {line.split()[0]: [*line.split()[1:], ""][:3] for line in listing.splitlines()}
    told = {
        address: [of["iommu_group"], of.get("numa_cell", "-1"), of.get("driver", "")]
        for address, of in site.facts().items()
    }
    assert told == kernel
    assert kernel[ALONE][1:] == ["1", "e1000e"]
    shown = site.run("devices", "kvm-1", "--facts", "facts")
    assert all(address.removeprefix("0000:") in shown for address in kernel)


@pytest.mark.parametrize(
    ("address", "others", "why"),
    [
        (NETWORK_CARD, ["0000:01:00.1"], "parts of one device"),
        (CONVENTIONAL, ["0000:02:02.0"], "above does not keep apart what is below it"),
        ("0000:00:1f.3", ["0000:00:1f.0", "0000:00:1f.2"], "parts of one device"),
    ],
)
def test_a_group_that_plan_refuses_to_split_the_kernel_refuses_to_split(
    site: Site, address: str, others: list[str], why: str
):
    said = site.run("plan", vms=guest("web", address))
    assert "error[vfio.group-split]" in said
    assert why in said
    assert all(f"{other} " in said for other in others)
    assert "not viable" in started(site.host, address)


def test_a_whole_group_goes_to_a_guest_with_its_bridge_left_behind(site: Site):
    assert "error" not in site.run("plan", vms=guest("web", CONVENTIONAL, "0000:02:02.0"))
    assert started(site.host, CONVENTIONAL, "0000:02:02.0") == ""


def test_a_nic_goes_to_a_guest_and_comes_back(site: Site):
    said = site.run("apply", "--yes", vms=guest("web", ALONE))
    assert "1 of 1 step done" in said
    assert site.driver(ALONE) == "vfio-pci"

    assert "error" not in site.run("plan", vms=guest("web", ALONE))
    both = site.run("plan", vms=guest("web", ALONE) + guest("other", ALONE))
    assert "error[vfio.two-owners]" in both
    assert "in use by driver QEMU, domain web" in started(site.host, ALONE)
    stranger = site.run("plan", vms=guest("other", ALONE)).replace("\n", " ")
    assert re.search(r"error\[vfio.in-use\].*the domain web of kvm-1 has it", stranger)

    off = ", state: stopped, shutdown: {timeout: 1s, force: true}"  # nothing in it hears the power button
    assert "1 of 1 step done" in site.run("apply", "--yes", vms=guest("web", ALONE, more=off))
    assert site.driver(ALONE) == "e1000e"
    gone = "  web: {state: absent, type: qemu}\n"
    consent = re.search(r"--allow-delete (\S+)", site.run("apply", "--yes", vms=gone))
    assert consent
    site.run("apply", "--yes", "--allow-delete", consent[1], vms=gone)


def test_what_a_plan_says_about_virtual_functions_makes_them(site: Site):
    wanted = f', sriov: {{"{DRIVE}": 2}}'
    said = site.run("plan", host=wanted, vms="  web: {type: qemu}\n")
    assert "0 of 2 virtual functions" in said
    (command,) = re.findall(r"hint: run on the host.*`(echo 2 > [^`]+)`", said)
    assert site.host.shell(command) == ""
    assert "virtual functions" not in site.run("plan", host=wanted, vms="  web: {type: qemu}\n")
    made = [of for of in site.facts().values() if of.get("physical_function") == DRIVE]
    assert len(made) == 2


def started(host: RealHost, *addresses: str) -> str:
    """What libvirt and the kernel say to a guest that is given these: nothing, if it starts. It is ended at once."""
    devices = "".join(
        f"<hostdev mode='subsystem' type='pci' managed='yes'><source><address domain='0x{a[:4]}' bus='0x{a[5:7]}'"
        f" slot='0x{a[8:10]}' function='0x{a[11]}'/></source></hostdev>"
        for a in addresses
    )
    xml = (
        "<domain type='qemu'><name>trial</name><memory unit='MiB'>128</memory><vcpu>1</vcpu>"
        f"<os><type arch='x86_64' machine='q35'>hvm</type></os><devices>{devices}</devices></domain>"
    )
    connection = libvirt.open(host.uri)
    try:
        connection.createXML(xml, libvirt.VIR_DOMAIN_START_AUTODESTROY).destroy()
    except libvirt.libvirtError as error:
        return str(error)
    finally:
        connection.close()
    return ""
