"""XML -> keys: NICs and everything else below `devices` but disks (`libvirt_xml/domain_nics.py` and its like)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.adopt.guest import (
    Guest,
    Keys,
    Row,
    Value,
    kib,
    number,
    pci,
    present,
    read,
    seconds,
    short,
    size_of,
    switch,
    text_at,
    word,
)
from kvmdecl.libvirt_xml.ports import is_reserved
from kvmdecl.manifest.devices import (
    SPICE_CHANNEL,
    Channel,
    CharacterDevice,
    Input,
    Rng,
    Tpm,
    Watchdog,
)
from kvmdecl.manifest.hostdevs import Iommu, MediatedDevice, PciDevice, ScsiDevice, SharedMemory, UsbDevice
from kvmdecl.manifest.leases import Lease
from kvmdecl.manifest.memory import Balloon
from kvmdecl.manifest.nics import GuestOffloads, HostOffloads, Nic, NicDriver, Rom, VhostUser
from kvmdecl.manifest.screens import Graphics, Video
from kvmdecl.manifest.shares import Share, ShareDaemon
from kvmdecl.manifest.sound import Audio, AudioStream
from kvmdecl.manifest.traffic import Rate
from kvmdecl.words import AGENT_CHANNEL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.libvirt_xml.safe import Element

# -- NICs ----------------------------------------------------------------------------------------------------


def _nics(guest: Guest) -> Iterator[Keys]:
    nics = guest.all("devices/interface")
    chosen = any(nic.find("boot") is not None for nic in nics)
    for nic in nics:
        plug, mac = _plug(guest, nic), text_at(nic, "mac@address")
        if plug is not None and mac is not None:
            boot = False if chosen and nic.find("boot") is None else None
            yield {"nics": [{**plug, "mac": mac.lower(), **_nic(nic), "boot": boot}]}


def _plug(guest: Guest, nic: Element) -> Keys | None:
    """What a NIC is plugged into, None if the manifest has no word for it."""
    kind, device = nic.get("type", ""), text_at(nic, "source@dev")
    network = guest.networks.names.get(f"{kind}:{text_at(nic, f'source@{kind}')}")
    if kind in {"bridge", "network"} and network is not None:
        return {"network": network, "portgroup": text_at(nic, "source@portgroup")}
    if kind == "direct" and device is not None:
        mode = text_at(nic, "source@mode")
        return {"device": device, "macvtap_mode": mode if mode != "bridge" else None}
    if kind == "hostdev":
        return {
            "pci": pci(nic.find("source/address")),
            "managed": None if nic.get("managed") == "yes" else False,
        }
    if kind == "vhostuser":
        return {"vhost_user": short(read(nic, VhostUser, _VHOST_USER), "path")}
    if kind == "user":
        return {"user": "passt" if text_at(nic, "backend@type") == "passt" else "slirp"}
    return {"vdpa": device} if kind == "vdpa" else None


_VHOST_USER = {
    "path": ("source@path", word),
    "mode": ("source@mode", word),
    "reconnect": ("source/reconnect@timeout", number),
}


def _nic(nic: Element) -> Keys:
    alias = text_at(nic, "teaming@persistent") or text_at(nic, "alias@name") or ""
    offloads = {
        side: read(nic, model, {key: (f"driver/{side}@{key}", switch) for key in model.model_fields})
        for side, model in (("host", HostOffloads), ("guest", GuestOffloads))
    }
    return {
        **read(
            nic,
            Nic,
            {key: row for key, row in _NIC.items() if key != "model" or nic.get("type") != "hostdev"},
        ),
        "vlan": _vlan(nic.find("vlan")),
        "bandwidth": {way: _rate(nic.find(f"bandwidth/{way}")) for way in ("inbound", "outbound")},
        "filter": _filter(nic.find("filterref")),
        "driver": short(read(nic, NicDriver, _NIC_DRIVER), "name"),
        "offloads": offloads,
        "rom": short(read(nic, Rom, {"bar": ("rom@bar", switch), "file": ("rom@file", word)}), "bar"),
        "team": alias.removeprefix("ua-team-") if alias.startswith("ua-team-") else None,
    }


_NIC = {
    "model": ("model@type", word),
    "link": ("link@state", word),
    "mtu": ("mtu@size", number),
    "queues": ("driver@queues", number),
    "isolated": ("port@isolated", switch),
    "trust_guest_rx_filters": ("@trustGuestRxFilters", switch),
    "coalesce": ("coalesce/rx/frames@max", number),
    "tap": ("target@dev", word),
}
_NIC_DRIVER = {
    "name": ("driver@name", word),
    "tx_mode": ("driver@txmode", word),
    "rx_queue_size": ("driver@rx_queue_size", word),
    "tx_queue_size": ("driver@tx_queue_size", word),
    **{
        name: (f"driver@{name}", switch)
        for name in (
            "ioeventfd",
            "event_idx",
            "packed",
            "rss",
            "rss_hash_report",
            "page_per_vq",
            "iommu",
            "ats",
        )
    },
}


def _vlan(vlan: Element | None) -> Value:
    if vlan is None:
        return None
    tags = [number(tag.get("id")) for tag in vlan.iterfind("tag")]
    trunk = True if vlan.get("trunk") == "yes" and len(tags) == 1 else None
    native = vlan.find("tag[@nativeMode]")
    mode = text_at(native, "@nativeMode")
    return short(
        {
            "tags": tags if len(tags) > 1 else tags[0],
            "trunk": trunk,
            "native": number(text_at(native, "@id")),
            "native_mode": mode if mode != "untagged" else None,
        },
        "tags",
    )


def _rate(rate: Element | None) -> Value:
    rows = {name: (f"@{name}", kib) for name in ("average", "peak", "burst")}
    return None if rate is None else short(read(rate, Rate, rows), "average")


def _filter(filter_: Element | None) -> Value:
    if filter_ is None:
        return None
    values: dict[str, list[str]] = {}
    for parameter in filter_.iterfind("parameter"):
        values.setdefault(parameter.get("name", ""), []).append(parameter.get("value", ""))
    parameters = {name: several if len(several) > 1 else several[0] for name, several in values.items()}
    return short({"name": filter_.get("filter"), "parameters": parameters}, "name")


# -- consoles ------------------------------------------------------------------------------------------------


def _serials(guest: Guest) -> Iterator[Keys]:
    serials = guest.all("devices/serial")
    if not serials or serials[0].get("type") not in _LEADS_TO:
        yield {"serial": False}
    else:
        yield {"serial": _character(serials[0])}
        if serials[0].find("log") is not None:
            yield {"serial": {"log": True}}
    yield from ({"serials": [_kind(port)]} for port in serials[1:])
    yield from (
        {"consoles": [_kind(console)]}
        for console in guest.all("devices/console")
        if text_at(console, "target@type") == "virtio"
    )


_LEADS_TO = frozenset(("pty", "file", "unix", "tcp", "udp"))


def _kind(device: Element) -> Value:
    return short({"type": device.get("type"), **_character(device)}, "type")


def _character(device: Element) -> Keys:
    return (
        read(device, CharacterDevice, _CHARACTER)
        if device.get("type") != "udp"
        else read(device, CharacterDevice, {key: _CHARACTER[key] for key in ("type", "address", "port")})
    )


_CHARACTER = {
    "type": ("@type", word),
    "path": ("source@path", word),
    "address": ("source@host", word),
    "port": ("source@service", number),
    "mode": ("source@mode", lambda text: "client" if text == "connect" else None),
    "telnet": ("protocol@type", lambda text: text == "telnet"),
}


def _screens(guest: Guest) -> Iterator[Keys]:
    screens = [screen for screen in guest.all("devices/graphics") if screen.get("type") in {"vnc", "spice"}]
    for screen in screens[:1]:
        yield {"graphics": _graphics(guest, screen)}
    for screen in screens[1:2]:
        yield {"graphics": {"also": _graphics(guest, screen)}}
    for headless in guest.all("devices/graphics[@type='egl-headless']")[:1]:
        yield {"graphics": {"gl": True, "render_node": text_at(headless, "gl@rendernode")}}
    for video in guest.all("devices/video")[:1]:
        x, y = (text_at(video, f"model/resolution@{side}") for side in "xy")
        size = f"{x}x{y}" if x is not None else None
        model = text_at(video, "model@type")
        yield {"video": short({"model": model, **read(video, Video, _VIDEO), "resolution": size}, "model")}
    inputs = [_input(device) for device in guest.all("devices/input")]
    if inputs != (["tablet"] if screens else []):
        yield {"inputs": inputs}
    for sound in guest.all("devices/sound")[:1]:
        codecs = [codec.get("type", "") for codec in sound.iterfind("codec")]
        yield {"sound": short({"model": sound.get("model"), "codecs": codecs or None}, "model")}
    for audio in guest.all("devices/audio[@id='1']"):
        streams = {way: _stream(audio, way) for way in ("output", "input")}
        yield {"audio": short({"type": audio.get("type"), **read(audio, Audio, _AUDIO), **streams}, "type")}
    redirections = guest.all("devices/redirdev[@type='spicevmc']")
    yield {"usb_redirections": len(redirections) or None}


def _graphics(guest: Guest, screen: Element) -> Keys:
    kind = text_at(screen, "listen@type")
    address = text_at(screen, "listen@address") or screen.get("listen")
    listen = kind if kind in {"socket", "none"} else address
    network = text_at(screen, "listen@network")
    has_ports = address is not None or network is not None
    fixed = screen.get("autoport") != "yes" and has_ports
    websocket = screen.get("websocket")
    channels = {
        channel.get("name", ""): _PROTECTION.get(channel.get("mode", ""))
        for channel in screen.iterfind("channel")
    }
    return {
        **read(screen, Graphics, _GRAPHICS),
        "listen": listen if listen != "127.0.0.1" and network is None else None,
        "network": guest.networks.names.get(f"network:{network}"),
        "expose": True if address in {"0.0.0.0", "::"} else None,  # noqa: S104 - said, not done
        "port": number(screen.get("port")) if fixed else None,
        "tls_port": number(screen.get("tlsPort")) if fixed else None,
        "websocket": "auto" if websocket == "-1" else number(websocket),
        "channels": channels,
    }


_PROTECTION = {"secure": "always", "insecure": "never"}
_GRAPHICS: dict[str, Row] = {
    "type": ("@type", word),
    "tls": ("@defaultMode", _PROTECTION.get),
    "keymap": ("@keymap", word),
    "share": ("@sharePolicy", word),
    "power_control": ("@powerControl", switch),
    "image_compression": ("image@compression", word),
    "jpeg_compression": ("jpeg@compression", word),
    "zlib_compression": ("zlib@compression", word),
    "playback_compression": ("playback@compression", switch),
    "streaming": ("streaming@mode", word),
    "mouse": ("mouse@mode", word),
    "clipboard": ("clipboard@copypaste", switch),
    "file_transfer": ("filetransfer@enable", switch),
    "gl": ("gl@enable", switch),
    "render_node": ("gl@rendernode", word),
}


def _stream(audio: Element, way: str) -> Keys:
    stream = audio.find(way)
    if stream is None:
        return {}
    device = stream.get("dev") or stream.get("name")
    mix = None if stream.get("fixedSettings") == "yes" else switch(stream.get("mixingEngine"))
    return {**read(stream, AudioStream, _AUDIO_STREAM), "device": device, "mix": mix}


_AUDIO = {
    "path": ("@path", word),
    "server": ("@serverName", word),
    "runtime_dir": ("@runtimeDir", word),
    "timer": ("@timerPeriod", number),
}
_AUDIO_STREAM = {
    "stream": ("@streamName", word),
    "latency": ("@latency", number),
    "server": ("@serverName", word),
    "client": ("@clientName", word),
    "ports": ("@connectPorts", word),
    "rate": ("settings@frequency", number),
    "channels": ("settings@channels", number),
    "format": ("settings@format", word),
    "voices": ("@voices", number),
    "buffer": ("@bufferLength", number),
}
_VIDEO = {
    "heads": ("model@heads", number),
    "vram": ("model@vram", kib),
    "ram": ("model@ram", kib),
    "vgamem": ("model@vgamem", kib),
    "accel3d": ("model/acceleration@accel3d", switch),
}


def _input(device: Element) -> Value:
    kind = device.get("type")
    rows = _INPUTS.get(kind or "", {"bus": ("@bus", word)})
    return short({"type": kind, **read(device, Input, rows)}, "type")


_INPUTS: dict[str, dict[str, Row]] = {
    "passthrough": {"path": ("source@evdev", word)},
    "evdev": {
        "path": ("source@dev", word),
        "grab": ("source@grab", word),
        "repeat": ("source@repeat", switch),
    },
}


def _channels(guest: Guest) -> Iterator[Keys]:
    channels = [(channel, text_at(channel, "target@name")) for channel in guest.all("devices/channel")]
    if AGENT_CHANNEL not in {name for _, name in channels}:
        yield {"agent": False}
    for channel, name in channels:
        kind = _CHANNELS.get(channel.get("type", ""))
        if name in {AGENT_CHANNEL, None} or kind is None or (kind == "socket") == (name == SPICE_CHANNEL):
            continue
        if kind != "socket" or channel.find("source") is None:
            options = read(channel, Channel, _VDAGENT) if kind == "vdagent" else {}
            type_ = kind if kind != "socket" else None
            yield {"channels": [short({"name": name, "type": type_, **options}, "name")]}


_CHANNELS = {"unix": "socket", "spicevmc": "spice", "qemu-vdagent": "vdagent"}
_VDAGENT = {"clipboard": ("source/clipboard@copypaste", switch), "mouse": ("source/mouse@mode", word)}

# -- shares --------------------------------------------------------------------------------------------------


def _shares(guest: Guest) -> Iterator[Keys]:
    for share in guest.all("devices/filesystem"):
        driver = "9p" if text_at(share, "driver@type") != "virtiofs" else None
        keys = {"driver": driver, **read(share, Share, _SHARE), "daemon": read(share, ShareDaemon, _DAEMON)}
        yield {"shares": {text_at(share, "target@dir") or "": short(keys, "path")}}


def _leases(guest: Guest) -> Iterator[Keys]:
    for lease in guest.all("devices/lease"):
        yield {"leases": {text_at(lease, "key") or "": read(lease, Lease, _LEASE)}}


_LEASE = {
    "lockspace": ("lockspace", word),
    "path": ("target@path", word),
    "offset": ("target@offset", lambda text: f"{int(text)}B"),
}
_SHARE = {
    "path": ("source@dir", word),
    "socket": ("source@socket", word),
    "readonly": ("readonly", present),
    "access": ("@accessmode", lambda text: text if text != "passthrough" else None),
    "file_mode": ("@fmode", lambda text: text[-3:]),
    "dir_mode": ("@dmode", lambda text: text[-3:]),
    "several_devices": ("@multidevs", word),
    "write_through": ("driver@wrpolicy", lambda text: text == "immediate"),
    "queue_size": ("driver@queue", word),
}
_DAEMON = {
    "path": ("binary@path", word),
    "cache": ("binary/cache@mode", word),
    "xattr": ("binary@xattr", switch),
    "sandbox": ("binary/sandbox@mode", word),
    "threads": ("binary/thread_pool@size", number),
    "posix_locks": ("binary/lock@posix", switch),
    "flocks": ("binary/lock@flock", switch),
}

# -- devices of the host -------------------------------------------------------------------------------------


def _host_devices(guest: Guest) -> Iterator[Keys]:
    for device in guest.all("devices/hostdev"):
        if (keys := _hostdev(device)) is not None:
            yield {"hostdevs": [{device.get("type", ""): keys}]}
    for memory in guest.all("devices/shmem"):
        keys = {"size": size_of(memory.find("size")), **read(memory, SharedMemory, _SHMEM)}
        if "server" in keys:
            del keys["size"]
        yield {"shared_memory": {memory.get("name", ""): short(keys, "size")}}
    for card in guest.all("devices/smartcard")[:1]:
        yield {
            "smartcard": {("host", None): "host", ("passthrough", "spicevmc"): "spice"}.get(
                (card.get("mode", ""), card.get("type"))
            )
        }
    for iommu in guest.all("devices/iommu")[:1]:
        yield {"iommu": short(read(iommu, Iommu, _IOMMU), "model")}


def _hostdev(device: Element) -> Value:
    match device.get("type"):
        case "usb":
            return read(device, UsbDevice, _USB)
        case "pci":
            address = pci(device.find("source/address"))
            managed = None if device.get("managed") == "yes" else False
            rom = {"rom": ("rom@bar", switch), "rom_file": ("rom@file", word)}
            return short({"address": address, "managed": managed, **read(device, PciDevice, rom)}, "address")
        case "mdev":
            rows = {"uuid": ("source/address@uuid", word), "display": ("@display", switch)}
            return short(read(device, MediatedDevice, rows), "uuid")
        case "scsi":
            return read(device, ScsiDevice, _SCSI)
        case "scsi_host":
            return text_at(device, "source@wwpn")
        case _:
            return None


def _hex(text: str) -> str:
    return text.removeprefix("0x")


_USB = {
    "vendor": ("source/vendor@id", _hex),
    "product": ("source/product@id", _hex),
    "bus": ("source/address@bus", number),
    "device": ("source/address@device", number),
    "if_missing": ("source@startupPolicy", word),
}
_SCSI = {
    "adapter": ("source/adapter@name", word),
    "bus": ("source/address@bus", number),
    "target": ("source/address@target", number),
    "unit": ("source/address@unit", number),
    "readonly": ("readonly", present),
    "shareable": ("shareable", present),
    "raw_io": ("@rawio", switch),
    "filtered": ("@sgio", lambda text: text == "filtered"),
}
_SHMEM = {"role": ("@role", word), "server": ("server@path", word), "vectors": ("msi@vectors", number)}
_IOMMU = {
    "model": ("@model", word),
    "interrupt_remapping": ("driver@intremap", switch),
    "caching_mode": ("driver@caching_mode", switch),
    "eim": ("driver@eim", switch),
    "iotlb": ("driver@iotlb", switch),
    "address_bits": ("driver@aw_bits", word),
}

# -- other devices -------------------------------------------------------------------------------------------


def _others(guest: Guest) -> Iterator[Keys]:
    yield from _rng(guest.all("devices/rng[@model='virtio']"))
    balloon = guest.root.find("devices/memballoon")
    if balloon is None or balloon.get("model") == "none":
        yield {"balloon": False}
    else:
        yield {"balloon": read(balloon, Balloon, _BALLOON)}
    for watchdog in guest.all("devices/watchdog")[:1]:
        action = watchdog.get("action")
        yield {"watchdog": short({"action": action, **read(watchdog, Watchdog, {"model": _MODEL})}, "action")}
    for panic in guest.all("devices/panic")[:1]:
        yield {"panic": panic.get("model")}
    for tpm in guest.all("devices/tpm")[:1]:
        kind, version = text_at(tpm, "backend@type"), text_at(tpm, "backend@version")
        section = {"type": kind, **read(tpm, Tpm, {"model": _MODEL})}
        yield {"tpm": short({**section, "version": version if version != "2.0" else None}, "type")}
    for cid in guest.all("devices/vsock/cid")[:1]:
        yield {"vsock": "auto" if cid.get("auto") == "yes" else number(cid.get("address"))}
    if ports := sum(map(is_reserved, guest.all("devices/controller"))):
        yield {"hotplug_ports": ports}


_MODEL = ("@model", word)
_BALLOON = {
    "free_page_reporting": ("@freePageReporting", switch),
    "autodeflate": ("@autodeflate", switch),
    "stats_period": ("stats@period", seconds),
}


def _rng(generators: list[Element]) -> Iterator[Keys]:
    """The manifest says one: the first of those that it can say."""
    usable = [rng for rng in generators if text_at(rng, "backend@model") in {"random", "builtin"}]
    if not usable:
        yield {"rng": False}
        return
    path, period = text_at(usable[0], "backend"), number(text_at(usable[0], "rate@period"))
    rate = number(text_at(usable[0], "rate@bytes"))
    yield {
        "rng": {
            **read(usable[0], Rng, {"source": ("backend@model", word)}),
            "path": path if path and path != "/dev/urandom" else None,
            "rate": f"{rate}B" if rate else None,
            "period": f"{period // 1000}s" if period and period % 1000 == 0 else None,
        }
    }


DEVICES = (_shares, _leases, _nics, _serials, _screens, _channels, _host_devices, _others)
