"""Devices beside disks and NICs as libvirt XML."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.libvirt_xml.build import node
from kvmdecl.libvirt_xml.domain_memory import balloon, modules
from kvmdecl.manifest.devices import AGENT_CHANNEL, Input, Video

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.cluster import ResolvedVm
    from kvmdecl.libvirt_xml.safe import Element
    from kvmdecl.manifest import Channel, Graphics, Tpm, Vm

_LOGS = "/var/log/libvirt/qemu"  # where libvirt has the guests' other logs, and may write


def other_devices(vm: ResolvedVm) -> Iterator[Element]:
    """Everything below `devices` but disks and NICs."""
    spec = vm.spec
    if any(disk.spec.bus == "scsi" for disk in vm.disks):
        yield node(
            "controller", type="scsi", index="0", model="virtio-scsi"
        )  # libvirt's choice would be an lsilogic
    yield from modules(spec)
    yield from _serial(vm)
    if spec.agent:
        yield node("channel", node("target", type="virtio", name=AGENT_CHANNEL), type="unix")
    yield from map(_channel, spec.channels)
    yield from _screen(spec)
    if spec.sound is not None:
        yield node(
            "sound", node("alias", name="ua-sound"), model=spec.sound.model
        )  # a guest may have several
    if spec.rng:
        yield node("rng", node("backend", "/dev/urandom", model="random"), model="virtio")
    yield balloon(spec.balloon)
    yield from _health(spec)
    if spec.tpm is not None:
        yield _tpm(spec.tpm)
    if spec.vsock is not None:
        yield _vsock(spec.vsock.cid)


def _serial(vm: ResolvedVm) -> Iterator[Element]:
    serial = vm.spec.serial
    if serial.enabled:
        log = serial.log and node("log", file=f"{_LOGS}/{vm.name}.serial.log", append="on")
        yield node("serial", log, type="pty")
        yield node("console", node("target", type="serial", port="0"), type="pty")


def _channel(channel: Channel) -> Element:
    kind = "unix" if channel.type == "socket" else "spicevmc"
    return node("channel", node("target", type="virtio", name=channel.name), type=kind)


def _screen(spec: Vm) -> Iterator[Element]:
    """A screen, what draws on it (every system can do plain VGA), and a pointer that stays under the hand."""
    shown = spec.graphics.type != "none"
    for device in spec.inputs if spec.inputs is not None else (Input(type="tablet"),) * shown:
        yield node("input", type=device.type, bus=device.bus)
    if shown:
        yield _graphics(spec.graphics)
    card = spec.video or (Video() if shown else None)
    if card is not None:
        yield _video(card)


def _graphics(graphics: Graphics) -> Element:
    port = None if graphics.port is None else str(graphics.port)
    return node(
        "graphics",
        node("listen", type="address", address=graphics.listen),
        type=graphics.type,
        port=port,
        autoport="yes" if port is None else "no",
        keymap=graphics.keymap,
    )


def _video(video: Video) -> Element:
    width, _, height = (video.resolution or "").partition("x")
    heads = None if video.heads is None else str(video.heads)
    resolution = bool(width) and node("resolution", x=width, y=height)
    return node("video", node("model", resolution, type=video.model, heads=heads))


def _health(spec: Vm) -> Iterator[Element]:
    if spec.watchdog is not None:
        yield node("watchdog", model=spec.watchdog.model, action=spec.watchdog.action)
    if spec.panic is not None:
        yield node("panic", model=spec.panic.model)


def _tpm(tpm: Tpm) -> Element:
    if tpm.type == "passthrough":
        backend = node("backend", node("device", path="/dev/tpm0"), type="passthrough")
    else:
        backend = node("backend", type="emulator", version=tpm.version or "2.0")
    return node("tpm", backend, model=tpm.model)


def _vsock(cid: int | str) -> Element:
    chosen = node("cid", auto="yes") if cid == "auto" else node("cid", auto="no", address=str(cid))
    return node("vsock", chosen, model="virtio")
