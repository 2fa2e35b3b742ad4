"""Devices beside disks and NICs as libvirt XML."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from kvmdecl.architectures import ARCHITECTURES
from kvmdecl.libvirt_xml.build import node
from kvmdecl.libvirt_xml.domain_disks import needs_scsi
from kvmdecl.libvirt_xml.domain_hostdevs import host_devices
from kvmdecl.libvirt_xml.domain_memory import balloon, modules
from kvmdecl.libvirt_xml.domain_shares import share
from kvmdecl.libvirt_xml.domain_sound import sound
from kvmdecl.libvirt_xml.expanders import expander
from kvmdecl.libvirt_xml.ports import reserved_ports
from kvmdecl.manifest.devices import Input
from kvmdecl.manifest.screens import Video
from kvmdecl.names import KIB
from kvmdecl.words import AGENT_CHANNEL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.cluster import ResolvedVm
    from kvmdecl.libvirt_xml.safe import Element
    from kvmdecl.manifest import Channel, Graphics, Tpm, Vm
    from kvmdecl.manifest.devices import CharacterDevice, Rng
    from kvmdecl.manifest.disks import ScsiController
    from kvmdecl.manifest.leases import Lease
    from kvmdecl.manifest.screens import Screen

_LOGS = "/var/log/libvirt/qemu"  # where libvirt has the guests' other logs, and may write


def other_devices(vm: ResolvedVm) -> Iterator[Element]:
    """Everything below `devices` but disks and NICs."""
    spec = vm.spec
    if not ARCHITECTURES[vm.arch].has_usb and _uses_usb(vm):
        yield node("controller", type="usb", index="0", model="qemu-xhci")
    if needs_scsi(vm):
        yield _scsi_controller(spec.scsi_controller)
    if spec.hotplug_ports is not None:
        yield from reserved_ports(spec.hotplug_ports)
    if spec.numa is not None and spec.numa.expanders:
        yield from map(expander, range(len(spec.cells)))
    yield from modules(spec)
    yield from (share(name, directory) for name, directory in spec.shares.items())
    yield from (_lease(name, lease) for name, lease in spec.leases.items())
    yield from _serial(vm)
    if spec.agent:
        yield node("channel", node("target", type="virtio", name=AGENT_CHANNEL), type="unix")
    yield from map(_channel, spec.channels)
    yield from _screen(spec)
    yield from sound(spec)
    yield from (node("redirdev", bus="usb", type="spicevmc") for _ in range(spec.usb_redirections))
    yield from host_devices(vm)
    if spec.rng.enabled:
        yield _rng(spec.rng)
    yield balloon(spec.balloon)
    yield from _health(spec)
    if spec.tpm is not None:
        yield _tpm(spec.tpm, vm.tpm_secret)
    if spec.vsock is not None:
        yield _vsock(spec.vsock.cid)


def _uses_usb(vm: ResolvedVm) -> bool:
    spec = vm.spec
    buses = {disk.spec.bus for disk in vm.disks} | {drive.spec.bus for drive in vm.cdroms}
    inputs = (device.bus for device in spec.inputs or () if not device.is_of_the_host)
    plugged = spec.usb_redirections or any(device.usb is not None for device in spec.hostdevs)
    return bool(plugged) or "usb" in {*buses, *inputs}


def _scsi_controller(spec: ScsiController | None) -> Element:
    """The model is said because libvirt's choice would be an lsilogic."""
    names = {"queues": "queues", "iothread": "iothread", "cmd_per_lun": "commands_per_unit"}
    names["max_sectors"] = "max_sectors"
    said = {
        name: str(value) for name, key in names.items() if (value := getattr(spec, key, None)) is not None
    }
    driver = bool(said) and node("driver", **said)
    return node("controller", driver, type="scsi", index="0", model="virtio-scsi")


def _serial(vm: ResolvedVm) -> Iterator[Element]:
    serial = vm.spec.serial
    if serial.enabled:
        log = serial.log and node("log", file=f"{_LOGS}/{vm.name}.serial.log", append="on")
        # Beside others with a port libvirt would give it the next free one.
        first = bool(vm.spec.serials) and node("target", port="0")
        yield node("serial", log, *_character_source(serial), first, type=serial.type)
        for number, port in enumerate(vm.spec.serials, 1):
            yield node("serial", *_character_source(port), node("target", port=str(number)), type=port.type)
        console = node("target", type="serial", port="0")
        yield node("console", *_character_source(serial), console, type=serial.type)
    for other in vm.spec.consoles:
        yield node("console", *_character_source(other), node("target", type="virtio"), type=other.type)


def _character_source(serial: CharacterDevice) -> Iterator[Element]:
    """Where a serial port leads to; the console on it is told the same."""
    mode = {"server": "bind", "client": "connect"}[serial.mode or "server"]
    port = None if serial.port is None else str(serial.port)
    match serial.type:
        case "file":
            yield node("source", path=serial.path, append="on")
        case "unix":
            yield node("source", mode=mode, path=serial.path)
        case "tcp":
            yield node("source", mode=mode, host=serial.address, service=port)
            yield node("protocol", type="telnet" if serial.telnet else "raw")
        case "udp":
            yield node("source", mode="connect", host=serial.address, service=port)


def _channel(channel: Channel) -> Element:
    kind = {"socket": "unix", "spice": "spicevmc", "vdagent": "qemu-vdagent"}[channel.type]
    options = (
        channel.clipboard is not None and node("clipboard", copypaste=_yes_no(channel.clipboard)),
        channel.mouse is not None and node("mouse", mode=channel.mouse),
    )
    source = node("source", *options) if any(part is not False for part in options) else None
    return node("channel", source, node("target", type="virtio", name=channel.name), type=kind)


def _yes_no(value: bool) -> str:
    return "yes" if value else "no"


def _rng(rng: Rng) -> Element:
    path = (rng.path or "/dev/urandom",) if rng.source == "random" else ()
    period = None if rng.period is None else str(rng.period * 1000)
    rate = rng.rate is not None and node("rate", bytes=str(rng.rate), period=period)
    return node("rng", rate, node("backend", *path, model=rng.source), model="virtio")


def _screen(spec: Vm) -> Iterator[Element]:
    """A screen, what draws on it (every system can do plain VGA), and a pointer that stays under the hand."""
    shown = bool(spec.graphics.screens)
    for device in spec.inputs if spec.inputs is not None else (Input(type="tablet"),) * shown:
        yield _input(device)
    if shown:
        yield from _graphics(spec.graphics)
    card = spec.video or (Video() if shown else None)
    if card is not None:
        yield _video(card)


def _input(device: Input) -> Element:
    if device.type == "passthrough":
        return node("input", node("source", evdev=device.path), type="passthrough", bus="virtio")
    if device.type == "evdev":
        repeat = None if device.repeat is None else ("on" if device.repeat else "off")
        return node("input", node("source", dev=device.path, grab=device.grab, repeat=repeat), type="evdev")
    return node("input", type=device.type, bus=device.bus)


def _graphics(graphics: Graphics) -> Iterator[Element]:
    gl = graphics.shares_the_card and node("gl", enable="yes", rendernode=graphics.render_node)
    for screen in graphics.screens:
        yield _screen_by(screen, gl)
    if graphics.gl and not graphics.shares_the_card:  # the consoles show what this one draws
        card = graphics.render_node is not None and node("gl", rendernode=graphics.render_node)
        yield node("graphics", card, type="egl-headless")


def _screen_by(screen: Screen, gl: Element | Literal[False]) -> Element:
    port, tls_port = _text(screen.port), _text(screen.tls_port)
    chosen = port is None and tls_port is None
    return node(
        "graphics",
        _listen(screen),
        *_spice(screen),
        gl,
        type=screen.type,
        port=port,
        tlsPort=tls_port,
        autoport=None if not screen.has_ports else "yes" if chosen else "no",
        websocket="-1" if screen.websocket == "auto" else _text(screen.websocket),
        defaultMode=None if screen.tls is None else _MODES[screen.tls],
        keymap=screen.keymap,
        sharePolicy=screen.share,
        powerControl=_said(screen.power_control, "yes", "no"),
    )


_MODES = {"always": "secure", "never": "insecure"}


def _listen(screen: Screen) -> Element:
    if screen.network is not None:
        return node("listen", type="network", network=screen.network)
    if screen.address is not None:
        return node("listen", type="address", address=screen.address)
    return node("listen", type=screen.listen)


def _spice(screen: Screen) -> Iterator[Element]:
    for name, protection in screen.channels.items():
        yield node("channel", name=name, mode=_MODES[protection])
    words = (
        ("image", "compression", screen.image_compression),
        ("jpeg", "compression", screen.jpeg_compression),
        ("zlib", "compression", screen.zlib_compression),
        ("playback", "compression", _said(screen.playback_compression, "on", "off")),
        ("streaming", "mode", screen.streaming),
        ("mouse", "mode", screen.mouse),
        ("clipboard", "copypaste", _said(screen.clipboard, "yes", "no")),
        ("filetransfer", "enable", _said(screen.file_transfer, "yes", "no")),
    )
    yield from (node(tag, **{name: value}) for tag, name, value in words if value is not None)


def _said(value: bool | None, yes: str, no: str) -> str | None:
    return None if value is None else (yes if value else no)


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _video(video: Video) -> Element:
    width, _, height = (video.resolution or "").partition("x")
    heads = None if video.heads is None else str(video.heads)
    sizes = {name: getattr(video, name) for name in ("ram", "vram", "vgamem")}
    accel3d = None if video.accel3d is None else _yes_no(video.accel3d)
    return node(
        "video",
        node(
            "model",
            bool(accel3d) and node("acceleration", accel3d=accel3d),
            bool(width) and node("resolution", x=width, y=height),
            type=video.model,
            heads=heads,
            **{name: str(size // KIB) for name, size in sizes.items() if size is not None},
        ),
    )


def _health(spec: Vm) -> Iterator[Element]:
    if spec.watchdog is not None:
        yield node("watchdog", model=spec.watchdog.model, action=spec.watchdog.action)
    if spec.panic is not None:
        yield node("panic", model=spec.panic.model)


def _tpm(tpm: Tpm, secret: str | None) -> Element:
    if tpm.type == "passthrough":
        backend = node("backend", node("device", path="/dev/tpm0"), type="passthrough")
    else:
        encryption = None if secret is None else node("encryption", secret=secret)
        backend = node("backend", encryption, type="emulator", version=tpm.version or "2.0")
    return node("tpm", backend, model=tpm.model)


def _lease(name: str, lease: Lease) -> Element:
    offset = str(lease.offset) if lease.offset else None
    return node(
        "lease",
        node("lockspace", lease.lockspace),
        node("key", name),
        node("target", path=lease.path, offset=offset),
    )


def _vsock(cid: int | str) -> Element:
    chosen = node("cid", auto="yes") if cid == "auto" else node("cid", auto="no", address=str(cid))
    return node("vsock", chosen, model="virtio")
