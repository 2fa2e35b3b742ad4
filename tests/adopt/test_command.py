"""`kvmdecl adopt` offline: whole files as they are written."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from kvmdecl.scenario import example_host
from kvmdecl.snapshot import write_snapshots
from kvmdecl.state import HostState, ObservedDomain, ObservedNetwork

UUID = "11111111-2222-4333-8444-55555555555{}"
HEAD = "apiVersion: kvmdecl/v1\ncluster: demo\nhosts:\n  kvm-1: qemu+tls://kvm-1.example/system  # rack 1\n"


def guest(number: int, name: str, more: str = "", tail: str = "") -> ObservedDomain:
    """A guest as virt-install makes them, with what libvirt fills in."""
    uuid = UUID.format(number)
    xml = f"""<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
      <name>{name}</name><uuid>{uuid}</uuid>
      <memory unit='KiB'>4194304</memory><currentMemory unit='KiB'>4194304</currentMemory>
      <vcpu placement='static'>2</vcpu>
      <os><type arch='x86_64' machine='pc-q35-9.2'>hvm</type><boot dev='hd'/></os>
      <features><acpi/><apic/></features>
      <cpu mode='host-passthrough' check='none' migratable='on'/>
      <clock offset='utc'><timer name='rtc' tickpolicy='catchup'/><timer name='pit' tickpolicy='delay'/>
        <timer name='hpet' present='no'/></clock>
      <on_poweroff>destroy</on_poweroff><on_reboot>restart</on_reboot><on_crash>destroy</on_crash>
      <devices>
        <emulator>/usr/bin/qemu-system-x86_64</emulator>
        <disk type='file' device='disk'><driver name='qemu' type='qcow2' discard='unmap'/>
          <source file='/srv/{name}.qcow2'/><target dev='vda' bus='virtio'/>
          <address type='pci' domain='0x0000' bus='0x03' slot='0x00' function='0x0'/></disk>
        <controller type='usb' index='0' model='qemu-xhci'/><controller type='pci' index='0' model='pcie-root'/>
        <interface type='network'><mac address='52:54:00:00:00:0{number}'/><source network='default'/>
          <model type='virtio'/></interface>
        <serial type='pty'><target type='isa-serial' port='0'><model name='isa-serial'/></target></serial>
        <console type='pty'><target type='serial' port='0'/></console>
        <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
        <input type='mouse' bus='ps2'/><input type='keyboard' bus='ps2'/><audio id='1' type='none'/>
        <memballoon model='virtio'/>
        <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>{more}
      </devices>{tail}
    </domain>"""
    return ObservedDomain(
        name, uuid, xml, None, active=False, persistent=True, autostart=False, managed_save=False
    )


DEFAULT = ObservedNetwork(
    "default",
    UUID.format(0),
    f"<network><name>default</name><uuid>{UUID.format(0)}</uuid></network>",
    True,
    True,
)


def run(
    folder: Path, text: str, *guests: ObservedDomain, arguments: tuple[str, ...] = ("--all",)
) -> tuple[str, str, int]:
    """Adopt guests that are read from a file. Returns the manifest afterwards, what was said, and the exit code."""
    path = folder / "cluster.yaml"
    path.write_text(text)
    host = replace(example_host("kvm-1"), state=HostState(domains=guests, networks=(DEFAULT,)))
    write_snapshots(folder / "facts", [host])
    done = subprocess.run(
        [sys.executable, "-m", "kvmdecl", "adopt", "kvm-1", "--facts", "facts", *arguments],
        cwd=folder, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return path.read_text(), done.stdout + done.stderr, done.returncode


def test_a_usual_guest_is_said_by_keys_alone(tmp_path: Path):
    text, said, code = run(tmp_path, HEAD, guest(1, "db"))

    assert code == 0
    assert text == HEAD + (
        """
networks:
  default: {mode: existing}

vms:
  db:
    uuid: "11111111-2222-4333-8444-555555555551"
    host: kvm-1
    state: stopped
    autostart: false
    machine: pc-q35-9.2
    cpus: {count: 2, model: host-passthrough, nested: host}
    memory: 4GiB
    disk: {source: /srv/db.qcow2, format: qcow2, target: vda, discard: unmap}
    nics: [{network: default, mac: "52:54:00:00:00:01"}]
    boot: []
"""
    )
    assert said == (
        "wrote cluster.yaml: 1 guest added.\nNothing has changed on the host; to take them over:\n"
        "    kvmdecl apply cluster.yaml\n"
    )


def test_what_no_key_says_is_xml_and_what_may_be_a_secret_is_not_written(tmp_path: Path):
    odd = guest(
        1,
        "db",
        "<graphics type='vnc' port='-1' autoport='yes' listen='127.0.0.1' passwd='hunter2'>"
        "<listen type='address' address='127.0.0.1'/></graphics><video><model type='vga' vram='16384' heads='1'"
        " primary='yes'/></video><redirdev bus='usb' type='spicevmc'/>",
        "<qemu:commandline><qemu:arg value='-object'/><qemu:arg value='secret,id=a,data=hunter2'/></qemu:commandline>",
    )

    text, said, code = run(tmp_path, HEAD, odd)

    assert code == 0
    assert "hunter2" not in text + said
    assert text.endswith("""\
vms:
  # db: no key says all of devices/redirdev; `xml` does.
  # db: what may be a secret stays on the host and is not written here.
  db:
    uuid: "11111111-2222-4333-8444-555555555551"
    host: kvm-1
    state: stopped
    autostart: false
    machine: pc-q35-9.2
    cpus: {count: 2, model: host-passthrough, nested: host}
    memory: 4GiB
    disk: {source: /srv/db.qcow2, format: qcow2, target: vda, discard: unmap}
    nics: [{network: default, mac: "52:54:00:00:00:01"}]
    boot: []
    graphics: {type: vnc}
    video: vga
    inputs: []
    xml: |
      <devices>
        <redirdev bus="usb" type="spicevmc"/>
      </devices>
""")
    assert "warning[adopt.secret]" in said


def test_what_three_guests_say_alike_is_said_once(tmp_path: Path):
    text, _, code = run(tmp_path, HEAD, guest(1, "a"), guest(2, "b"), guest(3, "c"))

    assert code == 0
    assert text.endswith("""\
profiles:
  kvm-1-adopted-1:
    state: stopped
    autostart: false
    machine: pc-q35-9.2
    cpus: {count: 2, model: host-passthrough, nested: host}
    memory: 4GiB
    boot: []

vms:
  a:
    profile: kvm-1-adopted-1
    uuid: "11111111-2222-4333-8444-555555555551"
    host: kvm-1
    disk: {source: /srv/a.qcow2, format: qcow2, target: vda, discard: unmap}
    nics: [{network: default, mac: "52:54:00:00:00:01"}]
  b:
    profile: kvm-1-adopted-1
    uuid: "11111111-2222-4333-8444-555555555552"
    host: kvm-1
    disk: {source: /srv/b.qcow2, format: qcow2, target: vda, discard: unmap}
    nics: [{network: default, mac: "52:54:00:00:00:02"}]
  c:
    profile: kvm-1-adopted-1
    uuid: "11111111-2222-4333-8444-555555555553"
    host: kvm-1
    disk: {source: /srv/c.qcow2, format: qcow2, target: vda, discard: unmap}
    nics: [{network: default, mac: "52:54:00:00:00:03"}]
""")


def test_defaults_of_the_manifest_are_reckoned_with(tmp_path: Path):
    defaults = "defaults:\n  vms: {memory: 4GiB, rng: false, watchdog: reset}\n"

    text, said, code = run(tmp_path, HEAD + defaults, guest(1, "db"))

    assert code == 0, said
    assert "    rng: true\n" in text
    assert "memory:" not in text.split("vms:\n  db:")[1]


def test_the_rest_is_taken_over_when_one_cannot_be(tmp_path: Path):
    text, said, code = run(tmp_path, HEAD, guest(1, "Big_One"), guest(2, "db"))

    assert code == 3
    assert "  db:\n" in text
    assert (
        "error[adopt.not-possible]: domain `Big_One` of kvm-1 is not taken over: a name in a manifest has"
        in said
    )
    assert "virsh domrename" in said


def test_guests_that_exclude_each_other_stay_and_the_others_are_taken_over(tmp_path: Path):
    old = guest(2, "db-old")
    old = replace(old, xml=old.xml.replace("/srv/db-old.qcow2", "/srv/db.qcow2"))
    twin = guest(4, "disks")
    twin = replace(twin, xml=twin.xml.replace("52:54:00:00:00:04", "52:54:00:00:00:05"))

    text, said, code = run(
        tmp_path, HEAD, guest(1, "db"), old, guest(3, "web"), twin, guest(5, "cache"), guest(6, "mail")
    )

    assert code == 3
    assert text.count("uuid:") == 2
    assert "  web:\n" in text
    assert "  mail:\n" in text
    assert said.count("error[adopt.conflict]") == 4
    assert "`db` of kvm-1 is not taken over: disk root of db and disk root of db-old are one" in said
    assert "`disks` of kvm-1 is not taken over: a NIC of cache and one of disks have the same MAC" in said


def test_a_check_writes_nothing(tmp_path: Path):
    text, said, code = run(tmp_path, HEAD, guest(1, "db"), arguments=("--vm", "db", "--check"))

    assert (text, code) == (HEAD, 0)
    assert "  db:\n" in said


def test_a_running_guest_that_is_not_what_its_definition_says_is_left_alone(tmp_path: Path):
    stopped = guest(1, "db")
    live = stopped.xml.replace("<domain type='kvm'", "<domain type='kvm' id='1'").replace(
        "4194304<", "2097152<"
    )
    running = replace(
        stopped, active=True, live_xml=live.replace("vda", "vdb").replace("db.qcow2", "old.qcow2")
    )

    text, said, code = run(tmp_path, HEAD, running, arguments=("--vm", "db"))

    assert (text, code) == (HEAD, 1)
    assert "error[adopt.not-empty]" in said


def test_unknown_guests_and_hosts_are_told(tmp_path: Path):
    _, said, code = run(tmp_path, HEAD, guest(1, "db"), arguments=("--vm", "dv"))

    assert code == 1
    assert "error[adopt.unknown-vm]" in said
    assert "domains are `db`" in said


def test_in_a_folder_entries_get_a_file_of_their_own(tmp_path: Path):
    folder = tmp_path / "cluster"
    folder.mkdir()
    (folder / "all.yaml").write_text(HEAD)

    _, said, code = run(tmp_path, HEAD, guest(1, "db"), arguments=("--all", "cluster"))

    assert code == 0, said
    assert (folder / "all.yaml").read_text() == HEAD
    assert (
        (folder / "adopted-kvm-1.yaml")
        .read_text()
        .startswith("networks:\n  default: {mode: existing}\n\nvms:\n  db:\n")
    )
