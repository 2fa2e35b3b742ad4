"""Guests with every kind of device: checked against libvirt's schema, defined, read back, and started if TCG can."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from kvmdecl.lab.namespaces import environment
from kvmdecl.manifest import Firmware

DEVICES: dict[str, dict[str, Any]] = {
    "a console at a fixed port, with a keymap": {"graphics": {"type": "vnc", "port": 5999, "keymap": "de"}},
    "a spice console with its agent": {
        "graphics": {"type": "spice", "port": 5998},
        "channels": [{"name": "com.redhat.spice.0", "type": "spice"}, "org.example.backup.0"],
    },
    "a screen without a pointer": {"graphics": "vnc", "inputs": ()},
    "every input": {
        "inputs": [
            {"type": kind, "bus": bus}
            for kind in ("tablet", "keyboard", "mouse")
            for bus in ("usb", "virtio")
        ]
    },
    "two heads": {"graphics": "vnc", "video": {"model": "virtio", "heads": 2, "resolution": "1920x1080"}},
    "a card of qxl": {"graphics": "vnc", "video": {"model": "qxl", "heads": 2}},
    "a card of bochs": {"graphics": "vnc", "video": {"model": "bochs", "resolution": "1280x720"}},
    "a card of cirrus": {"graphics": "vnc", "video": "cirrus"},
    "a card without a console": {"video": "vga"},
    "a console without a card": {"graphics": "vnc", "video": "none"},
    "a kept serial console": {"serial": {"log": True}},
    "a channel, but none for an agent": {"agent": False, "channels": ["org.example.backup.0"]},
    "a tpm": {"tpm": "emulator"},
    "an old tpm": {"tpm": {"version": "1.2", "model": "tpm-tis"}},
    "a host's tpm": {"tpm": {"type": "passthrough", "model": "tpm-tis"}},
    "tpm and secure boot": {"tpm": "emulator", "firmware": Firmware(type="uefi", secure_boot=True)},
    "a vsock": {"vsock": "auto"},
    "a vsock of a chosen address": {"vsock": "7"},
    "a console on a socket": {"graphics": {"type": "vnc", "listen": "socket", "share": "force-shared"}},
    "a console for nobody yet": {"graphics": {"type": "spice", "listen": "none"}},
    "every option of spice": {
        "graphics": {
            "type": "spice",
            "image_compression": "auto_lz",
            "playback_compression": False,
            "streaming": "filter",
            "mouse": "client",
            "clipboard": False,
            "file_transfer": False,
        },
        "usb_redirections": 2,
    },
    "vnc of what the host's card drew": {
        "graphics": {"type": "vnc", "gl": True, "render_node": "/dev/dri/renderD128"},
        "video": {"model": "virtio", "accel3d": True},
    },
    "spice with the host's card": {"graphics": {"type": "spice", "listen": "none", "gl": True}},
    "two consoles": {
        "graphics": {"type": "vnc", "websocket": "auto", "power_control": True, "also": "spice"},
        "channels": [{"name": "com.redhat.spice.0", "type": "spice"}],
    },
    "two consoles at fixed ports": {
        "graphics": {
            "type": "spice",
            "port": 5990,
            "jpeg_compression": "auto",
            "zlib_compression": "never",
            "also": {"type": "vnc", "port": 5991, "websocket": 5790, "listen": "::1"},
        }
    },
    "spice by tls": {
        "graphics": {
            "type": "spice",
            "tls_port": 5997,
            "tls": "always",
            "channels": {"cursor": "never", "main": "always"},
        }
    },
    "spice by no tls": {"graphics": {"type": "spice", "tls": "never", "channels": {"cursor": "never"}}},
    "spice on the network of what the host's card drew": {"graphics": {"type": "spice", "gl": True}},
    "a console on a network": {"graphics": {"type": "vnc", "network": "inner", "also": "spice"}},
    "sound in a file": {
        "sound": "ich9",
        "audio": {
            "type": "file",
            "path": "/srv/sound.wav",
            "timer": 5000,
            "output": {"rate": 48000, "channels": 2, "format": "s16", "voices": 2, "buffer": 10000},
        },
    },
    "sound for nobody": {"sound": "ac97", "audio": {"type": "none", "input": {"mix": False}}},
    "sound by spice": {"sound": "ich6", "audio": "spice", "graphics": "spice"},
    "sound by alsa": {
        "sound": "ich9",
        "audio": {"type": "alsa", "output": {"device": "hw:0"}, "input": {"device": "default"}},
    },
    "sound by oss": {"sound": "ich9", "audio": {"type": "oss", "output": {"device": "/dev/dsp0"}}},
    "sound by pulseaudio": {
        "sound": "ich9",
        "audio": {
            "type": "pulseaudio",
            "server": "unix:/run/user/1000/pulse/native",
            "output": {"device": "speakers", "stream": "guest", "latency": 20000},
        },
    },
    "sound by jack": {
        "sound": "ich9",
        "audio": {"type": "jack", "output": {"server": "default", "client": "guest", "ports": "system:.*"}},
    },
    "an agent for vnc": {
        "graphics": "vnc",
        "channels": [{"name": "com.redhat.spice.0", "type": "vdagent", "clipboard": True, "mouse": "client"}],
    },
    "memory of a card": {
        "graphics": "vnc",
        "video": {"model": "qxl", "ram": "64MiB", "vram": "32MiB", "vgamem": "16MiB"},
    },
    "memory of plain vga": {"graphics": "vnc", "video": {"vram": "32MiB"}},
    "codecs": {"sound": {"model": "ich6", "codecs": ["micro", "duplex"]}, "graphics": "vnc"},
    "a serial console in a file": {"serial": {"type": "file", "path": "/srv/console.txt"}},
    "a serial console on a socket": {"serial": {"type": "unix", "path": "/srv/console.sock", "log": True}},
    "a serial console on the network": {
        "serial": {"type": "tcp", "address": "127.0.0.1", "port": 4555, "telnet": True}
    },
    "a serial console by udp": {"serial": {"type": "udp", "address": "127.0.0.1", "port": 4556}},
    "serial ports and consoles": {
        "serial": True,
        "serials": ["pty", {"type": "file", "path": "/srv/second.txt"}],
        "consoles": ["pty", {"type": "unix", "path": "/srv/hvc1.sock"}],
    },
    "consoles alone": {"serial": False, "consoles": ["pty"]},
    "a generator with a limit": {"rng": {"path": "/dev/random", "rate": "1KiB", "period": "2s"}},
    "a generator of QEMU's": {"rng": {"source": "builtin"}},
    "a balloon that gives way": {
        "balloon": {"autodeflate": True, "stats_period": "10s", "free_page_reporting": True}
    },
    "a generation": {"genid": "auto"},
    "a generation of its own": {"genid": "43dc0cf8-809b-4adb-9bea-a9abb5f3d90e"},
    "a panic device": {"panic": "isa"},
    "a panic device of Windows": {"panic": "hyperv"},
    **{
        f"a sound card of {model}": {"sound": model, "graphics": "vnc"}
        for model in ("ich9", "ich6", "ac97", "es1370", "sb16", "usb")
    },
}

NEEDS: dict[str, str] = {
    "a host's tpm": "/dev/tpm0",
    "vnc of what the host's card drew": "/dev/dri/renderD128",
    "spice with the host's card": "/dev/dri",
    "a vsock": "/dev/vhost-vsock",
    "a vsock of a chosen address": "/dev/vhost-vsock",
}
"""Devices of the host without which a guest of that name does not start."""
NEEDS_SWTPM = frozenset({"a tpm", "an old tpm", "tpm and secure boot"})
"""Guests that libvirt does not even define where swtpm is not installed."""
_SOUND_SYSTEMS = tuple(f"sound by {system}" for system in ("alsa", "oss", "pulseaudio", "jack"))
NEEDS |= dict.fromkeys(_SOUND_SYSTEMS, "/dev/snd/seq")
NEEDS |= {
    "spice on the network of what the host's card drew": "/dev/dri",
    "a console on a network": "/sys/class/net/inner",
}
NEEDS_SPICE_TLS = frozenset({"spice by tls"})
NEEDS_KVM = frozenset({"a panic device of Windows"})


def has_swtpm() -> bool:
    """Whether the hosts of a lab find the emulator of TPMs."""
    return shutil.which("swtpm", path=environment()["PATH"]) is not None


def is_taken(name: str) -> bool:
    """Whether a host of the lab takes the definition of a guest of that name."""
    return name not in NEEDS_SPICE_TLS and (name not in NEEDS_SWTPM or has_swtpm())


def skip_unless_taken(name: str) -> None:
    """Skip a test of a guest that the lab's hosts do not even define."""
    if not is_taken(name):
        pytest.skip("swtpm is not installed, or qemu.conf allows no SPICE by TLS")
