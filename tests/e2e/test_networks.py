"""A running network hands out new leases and names, and neither its bridge nor its guests notice."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import libvirt
import pytest

from tests.e2e.conftest import Story, qemu_pid

pytestmark = pytest.mark.xdist_group("lab")

CLUSTER = """\
apiVersion: kvmdecl/v1
cluster: story
hosts:
  kvm-1: {uri: "qemu+tls://kvm-1.example/system"}
networks:
  inner:
    mode: nat
    subnet: 192.168.150.0/24
    domain: lab.example
    dhcp: {start: 192.168.150.10, end: 192.168.150.99}
storage:
  vms: {path: /srv/vms}
images:
  tiny: {source: tiny.img, format: raw}
vms:
  web: {image: tiny, memory: 64MiB, nics: [{network: inner, mac: "52:54:00:00:00:01"}]}
"""
MORE = """\
    dhcp:
      start: 192.168.150.10
      end: 192.168.150.199
      hosts: [{mac: "52:54:00:00:00:01", ip: 192.168.150.5, name: web}]
    dns:
      hosts: [{ip: 192.168.150.2, names: [gw.lab.example]}]
      txt: [{name: note.lab.example, value: "hello there"}]
      srv: [{service: ldap, protocol: tcp, target: gw.lab.example, port: 389}]
"""
ASK = """\
import socket, sys
name = b"".join(bytes([len(part)]) + part.encode() for part in sys.argv[1].split("."))
asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asking.settimeout(5)
question = b"\\0\\1\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0" + name + b"\\0\\0" + bytes([int(sys.argv[2])]) + b"\\0\\1"
asking.sendto(question, ("192.168.150.1", 53))
print(asking.recv(512)[len(question):].hex())
"""
A, TXT, SRV = 1, 16, 33


def ask(story: Story, name: str, kind: int) -> bytes:
    """What the network's dnsmasq answers, without the question."""
    command = story.lab.host_command("kvm-1", [sys.executable, "-c", ASK, name, str(kind)])
    return bytes.fromhex(_output(command))


def _output(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=20).stdout


def links(story: Story) -> list[tuple[str, int, str]]:
    """Name, number and bridge of the host's interfaces: another number would be another interface."""
    found = json.loads(_output(story.lab.host_command("kvm-1", ["ip", "-j", "link"])))
    return sorted((link["ifname"], link["ifindex"], link.get("master", "")) for link in found)


def test_leases_and_names_come_and_go_while_the_network_runs(story: Story):
    path = story.write(CLUSTER)
    story.ok("apply", "--yes")
    before, pid = links(story), qemu_pid(story, "kvm-1", "web")
    assert [bridge for name, _, bridge in before if name.startswith("vnet")] != [""]

    story.edit("    dhcp: {start: 192.168.150.10, end: 192.168.150.99}\n", MORE)
    plan = story.ok("plan")
    assert "network inner  live" in plan.out, plan.out
    assert "next-boot" not in plan.out, plan.out
    story.ok("apply", "--yes")

    assert bytes([192, 168, 150, 2]) in ask(story, "gw.lab.example", A)
    assert b"hello there" in ask(story, "note.lab.example", TXT)
    assert (389).to_bytes(2, "big") in ask(story, "_ldap._tcp.lab.example", SRV)
    assert links(story) == before
    assert qemu_pid(story, "kvm-1", "web") == pid
    assert story.run("plan", "--detailed-exitcode").code == 0

    path.write_text(CLUSTER)
    story.ok("apply", "--yes")
    assert bytes([192, 168, 150, 2]) not in ask(story, "gw.lab.example", A)
    assert links(story) == before
    assert story.run("plan", "--detailed-exitcode").code == 0


def test_what_only_the_running_network_lacks_is_shown_and_made_up_for(story: Story):
    story.write(CLUSTER)
    story.ok("apply", "--yes")
    story.edit("    dhcp: {start: 192.168.150.10, end: 192.168.150.99}\n", MORE)
    story.ok("plan", "--out", "plan.json")
    story.ok("apply", "plan.json", "--yes")
    with story.connect("kvm-1") as connection:
        connection.networkLookupByName("inner").destroy()
        connection.networkLookupByName("inner").create()
        connection.networkLookupByName("inner").update(2, 10, -1, "<host ip='192.168.150.2'/>", 1)

    plan = story.run("plan", "--detailed-exitcode")
    assert plan.code == 2
    assert "dns.hosts  + 192.168.150.2 gw.lab.example  live" in plan.out
    story.ok("apply", "--yes")

    assert bytes([192, 168, 150, 2]) in ask(story, "gw.lab.example", A)
    assert story.run("plan", "--detailed-exitcode").code == 0


def test_an_undeclared_field_of_a_network_that_somebody_changed_is_a_note_and_no_change(story: Story):
    path = story.write(CLUSTER)
    assert story.run("apply", str(path), "--yes").code == 0
    with story.connect("kvm-1") as connection:
        network = connection.networkLookupByName("inner")
        definition = network.XMLDesc(libvirt.VIR_NETWORK_XML_INACTIVE)
        connection.networkDefineXML(re.sub("<mac [^>]*>", "<mac address='52:54:00:aa:bb:cc'/>", definition))

    plan = story.run("plan", str(path), "--detailed-exitcode")

    assert plan.code == 0, plan.out
    assert "plan.changed-outside" in plan.err
    assert "mac@address" in plan.err
    assert "52:54:00:aa:bb:cc" in plan.err
