"""Devices beside disks and NICs: their definitions, what a change of them does, and how they fare on a real host."""

from __future__ import annotations

from pathlib import Path

import pytest
from lxml import etree
from pydantic import ValidationError

from kvmdecl.libvirt_xml.impact import assess
from kvmdecl.libvirt_xml.overlay import complete, overlay
from kvmdecl.manifest import Audio, Balloon, Channel, Graphics, SerialConsole, Sound, Tpm, Video, Vm, Vsock
from kvmdecl.manifest.devices import Rng
from kvmdecl.plan import Impact
from kvmdecl.state import Origin
from tests.libvirt_xml.device_examples import DEVICES, NEEDS, NEEDS_KVM, skip_unless_taken
from tests.libvirt_xml.examples import declared, kept, observed
from tests.libvirt_xml.test_on_libvirt import ROOT, host, start_and_find_nothing_to_do
from tests.libvirt_xml.test_on_libvirt import declared as declared_on_host

__all__ = ["host"]


@pytest.mark.parametrize("name", DEVICES)
def test_every_device_fits_libvirts_schema(against_schema, name):
    assert against_schema("domain", complete(declared(**DEVICES[name]))) == []


SPICE = {"graphics": {"type": "spice"}}


@pytest.mark.parametrize(
    ("before", "after", "keys", "impact", "calls"),
    [
        ({}, {"tpm": "emulator"}, {"tpm"}, Impact.NEXT_BOOT, []),
        ({"tpm": "emulator"}, {}, {"tpm"}, Impact.NEXT_BOOT, []),
        ({"tpm": "emulator"}, {"tpm": {"model": "tpm-tis"}}, {"tpm"}, Impact.NEXT_BOOT, []),
        ({}, {"vsock": "auto"}, {"vsock"}, Impact.LIVE, ["attach-device"]),
        ({"vsock": "auto"}, {}, {"vsock"}, Impact.LIVE, ["detach-device"]),
        ({"vsock": "5"}, {"vsock": "6"}, {"vsock"}, Impact.NEXT_BOOT, []),
        ({}, {"panic": "isa"}, {"panic"}, Impact.NEXT_BOOT, []),
        ({}, {"sound": "ich9"}, {"sound"}, Impact.NEXT_BOOT, []),
        ({"graphics": "vnc"}, {"graphics": "vnc", "video": "virtio"}, {"video"}, Impact.NEXT_BOOT, []),
        (
            {"graphics": "vnc"},
            {"graphics": {"type": "vnc", "port": 5910}},
            {"graphics"},
            Impact.NEXT_BOOT,
            [],
        ),
        (
            {"graphics": {"type": "vnc", "port": 5910}},
            {"graphics": "vnc"},
            {"graphics"},
            Impact.NEXT_BOOT,
            [],
        ),
        ({"graphics": "vnc"}, {"graphics": "vnc", "inputs": ()}, {"graphics"}, Impact.NEXT_BOOT, []),
        ({}, {"inputs": [{"type": "mouse", "bus": "virtio"}]}, {"inputs"}, Impact.NEXT_BOOT, []),
        ({}, {"serial": {"log": True}}, {"serial.log"}, Impact.NEXT_BOOT, []),
        ({}, {"serial": {"type": "file", "path": "/srv/x"}}, {"serial"}, Impact.NEXT_BOOT, []),
        ({}, {"serials": ["pty"]}, {"serials"}, Impact.NEXT_BOOT, []),
        ({}, {"consoles": ["pty"]}, {"consoles"}, Impact.NEXT_BOOT, []),
        ({"consoles": ["pty"]}, {}, {"consoles"}, Impact.NEXT_BOOT, []),
        (SPICE, SPICE | {"usb_redirections": 1}, {"usb_redirections"}, Impact.LIVE, ["attach-device"]),
        (SPICE | {"usb_redirections": 1}, SPICE, {"usb_redirections"}, Impact.NEXT_BOOT, []),
        (SPICE, {"graphics": {"type": "spice", "clipboard": False}}, {"graphics"}, Impact.NEXT_BOOT, []),
        ({}, {"rng": {"rate": "1KiB"}}, {"rng"}, Impact.NEXT_BOOT, []),
        ({}, {"rng": {"enabled": False}}, {"rng"}, Impact.LIVE, ["detach-device"]),
        ({}, {"balloon": {"stats_period": "9s"}}, {"balloon"}, Impact.NEXT_BOOT, []),
        ({"sound": "ich9"}, {"sound": {"codecs": ["micro"]}}, {"sound"}, Impact.NEXT_BOOT, []),
        (
            {"sound": "ich9"},
            {"sound": "ich9", "audio": {"type": "file", "path": "/srv/x.wav"}},
            {"audio"},
            Impact.NEXT_BOOT,
            [],
        ),
        (
            {"graphics": "vnc"},
            {"graphics": {"type": "vnc", "also": "spice"}},
            {"graphics"},
            Impact.NEXT_BOOT,
            [],
        ),
        (
            {"graphics": "vnc"},
            {"graphics": {"type": "vnc", "websocket": "auto"}},
            {"graphics"},
            Impact.NEXT_BOOT,
            [],
        ),
        ({}, {"channels": ["org.example.0"]}, {"channels"}, Impact.LIVE, ["attach-device"]),
        ({"channels": ["org.example.0"]}, {}, {"channels"}, Impact.LIVE, ["detach-device"]),
        ({"agent": False}, {"agent": False, "channels": ["a.0"]}, {"channels"}, Impact.NEXT_BOOT, []),
    ],
)
def test_what_a_change_of_a_device_does_to_a_running_guest(before, after, keys, impact, calls):
    was = kept(declared(**before))
    if before.get("agent", True):
        was = was.replace("</devices>", SERIAL_CONTROLLER)

    found = assess(declared(**after), declared(**before), observed(was, was), Origin())

    assert {change.key for change in found.changes} == keys
    assert {change.impact for change in found.changes} == {impact}
    assert [call.call for call in found.live] == calls


SERIAL_CONTROLLER = '<controller type="virtio-serial" index="0"/></devices>'


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda: Graphics(type="vnc", listen="0.0.0.0"), "manifest.bad-graphics"),
        (lambda: Graphics(type="vnc", listen="::"), "manifest.bad-graphics"),
        (lambda: Graphics(type="vnc", listen=["127.0.0.1", "::1"]), "manifest.bad-graphics"),
        (lambda: Graphics(type="vnc", listen={"address": "::1"}), "manifest.bad-value"),
        (lambda: Graphics(port=5900), "manifest.bad-graphics"),
        (lambda: Video(model="vga", heads=2), "manifest.bad-video"),
        (lambda: Video(model="cirrus", resolution="800x600"), "manifest.bad-video"),
        (lambda: SerialConsole(enabled=False, log=True), "manifest.bad-serial"),
        (lambda: Tpm(version="1.2"), "manifest.bad-tpm"),
        (lambda: Tpm(type="passthrough", version="2.0"), "manifest.bad-tpm"),
        (lambda: Channel(name="com.redhat.spice.0"), "manifest.bad-channel"),
        (lambda: Vm(channels=["org.qemu.guest_agent.0"]), "manifest.bad-channel"),
        (lambda: Vm(channels=["a.0", "a.0"]), "manifest.bad-channel"),
        (lambda: Vm(channels=[{"name": "com.redhat.spice.0", "type": "spice"}]), "manifest.bad-channel"),
        *(
            (lambda given=given: Graphics(**given), "manifest.bad-graphics")
            for given in (
                {"type": "vnc", "clipboard": False},
                {"type": "spice", "share": "ignore"},
                {"type": "vnc", "listen": "socket", "port": "5901"},
                {"type": "vnc", "render_node": "/dev/dri/renderD128"},
                {"gl": True},
                {"type": "vnc", "tls": "always"},
                {"type": "spice", "websocket": "auto"},
                {"type": "vnc", "websocket": "5700"},
                {"type": "vnc", "websocket": "auto", "port": "5901"},
                {"type": "spice", "listen": "none", "tls_port": "5901"},
                {"type": "spice", "port": "5901", "tls_port": "5901"},
                {"type": "spice", "tls": "never", "tls_port": "5901"},
                {"type": "vnc", "network": "lan", "listen": "::1"},
                {"type": "vnc", "also": "vnc"},
                {"type": "vnc", "also": "none"},
                {"also": "vnc"},
            )
        ),
        (lambda: Video(model="virtio", vram="64MiB"), "manifest.bad-video"),
        (lambda: Video(model="qxl", vram="48MiB"), "manifest.bad-video"),
        (lambda: Vm(graphics="vnc", video={"model": "virtio", "accel3d": True}), "manifest.bad-video"),
        (lambda: Vm(graphics="vnc", usb_redirections="1"), "manifest.bad-graphics"),
        (lambda: SerialConsole(type="tcp", telnet="perhaps"), "manifest.wrong-type"),
        (lambda: Vm(audio="none"), "manifest.bad-audio"),
        (lambda: Vm(audio="spice", sound="ich9"), "manifest.bad-audio"),
        *(
            (lambda given=given: Audio(**given), "manifest.bad-audio")
            for given in (
                {"type": "file"},
                {"type": "alsa", "path": "/srv/x.wav"},
                {"type": "alsa", "server": "unix:/run/x"},
                {"type": "alsa", "output": {"latency": "5"}},
                {"type": "pulseaudio", "input": {"ports": "x"}},
                {"type": "none", "output": {"mix": False, "channels": "2"}},
            )
        ),
        (lambda: Sound(model="usb", codecs=["micro"]), "manifest.bad-sound"),
        (lambda: Sound(codecs=["micro", "micro"]), "manifest.bad-sound"),
        *(
            (lambda given=given: SerialConsole(**given), "manifest.bad-serial")
            for given in (
                {"type": "file"},
                {"type": "tcp", "address": "127.0.0.1"},
                {"path": "/srv/x"},
                {"type": "udp", "address": "127.0.0.1", "port": "5", "mode": "client"},
                {"type": "unix", "path": "/srv/x", "telnet": True},
                {"enabled": False, "type": "file", "path": "/srv/x"},
            )
        ),
        (lambda: Vm(serial="false", serials=["pty"]), "manifest.bad-serial"),
        (lambda: Vm(consoles=["file"]), "manifest.bad-serial"),
        (lambda: Channel(name="a.0", type="vdagent"), "manifest.bad-channel"),
        (lambda: Channel(name="a.0", clipboard=True), "manifest.bad-channel"),
        (
            lambda: Vm(graphics="spice", channels=[{"name": "com.redhat.spice.0", "type": "vdagent"}]),
            "manifest.bad-channel",
        ),
        (lambda: Rng(source="builtin", path="/dev/random"), "manifest.bad-rng"),
        (lambda: Rng(period="2s"), "manifest.bad-rng"),
        (lambda: Rng(rate="0B"), "manifest.bad-rng"),
        (lambda: Balloon(enabled=False, stats_period="5s"), "manifest.bad-balloon"),
        (lambda: Vsock(cid="2"), "greater_than_equal"),
        (lambda: Vsock(cid="any"), "manifest.wrong-type"),
    ],
)
def test_what_cannot_be_is_refused(make, code):
    with pytest.raises(ValidationError) as refused:
        make()

    assert code in {error["type"] for error in refused.value.errors()}


def test_a_generator_that_reads_no_device_any_more_keeps_no_path():
    before, after = declared(rng={"path": "/dev/random"}), declared(rng={"source": "builtin"})

    backend = etree.fromstring(overlay(kept(before), after, before)).find("devices/rng/backend")

    assert (backend.get("model"), (backend.text or "").strip()) == ("builtin", "")


def test_the_console_on_the_serial_port_is_the_first_of_all():
    before, after = declared(serial=False, consoles=["pty"]), declared(consoles=["pty", "pty"])

    targets = etree.fromstring(overlay(kept(before), after, before)).iterfind("devices/console/target")

    assert [target.get("type") for target in targets] == ["serial", "virtio", "virtio"]


def test_listening_on_every_address_has_to_be_meant():
    assert Graphics(type="vnc", listen="0.0.0.0", expose=True).listen == "0.0.0.0"


def test_a_console_log_is_where_libvirt_keeps_its_logs_whatever_the_manifest_says():
    root = etree.fromstring(declared(serial={"log": True}))

    assert root.find("devices/serial/log").get("file") == "/var/log/libvirt/qemu/web-1.serial.log"


@pytest.mark.xdist_group("lab")
@pytest.mark.parametrize("name", DEVICES)
def test_a_guest_with_every_device_starts_and_then_needs_nothing(host, name):
    if name in NEEDS and not Path(NEEDS[name]).exists():
        pytest.skip(f"there is no {NEEDS[name]}")
    skip_unless_taken(name)
    if name in NEEDS_KVM:
        pytest.skip("emulated CPUs have no Hyper-V registers")
    text = declared_on_host(disks=(ROOT,), nics=(), **DEVICES[name])

    start_and_find_nothing_to_do(host, text)


@pytest.mark.xdist_group("lab")
def test_a_console_that_listens_on_a_network_of_its_host_needs_nothing(host):
    inner = "<network><name>inner</name><ip address='10.99.1.1' prefix='24'/></network>"
    network = host.connection.networkCreateXML(inner)
    try:
        text = declared_on_host(disks=(ROOT,), nics=(), **DEVICES["a console on a network"])
        start_and_find_nothing_to_do(host, text)
    finally:
        network.destroy()
