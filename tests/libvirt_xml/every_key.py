"""Every key of a vm in every place where it might mean something: guests that say it, and the same guests without it.

A variant is a guest and a section of it. To the section each key is added alone, with a value that its model takes:
so a new key is tried in all variants of its section, without anybody thinking of it.
"""

from __future__ import annotations

import json
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from kvmdecl.cluster import ResolvedVm
from kvmdecl.diagnostics import Rejected
from kvmdecl.images import Inputs
from kvmdecl.libvirt_xml.declared import declared_domain
from kvmdecl.load import load
from kvmdecl.manifest import Vm
from kvmdecl.resolve import resolve
from tests.libvirt_xml.examples import UUID

Path_ = tuple[str | int, ...]
Tree = dict[str, Any]

NETWORKS = {
    "lan": {"bridge": "br0"},
    "inner": {"mode": "isolated", "subnet": "10.0.0.0/24"},
    "functions": {"mode": "hostdev", "device": "eth1"},
    "tap": {"mode": "macvtap", "device": "eth1"},
    "switch": {"bridge": "br1", "openvswitch": True, "portgroups": {"1": {"vlan": 4}}},
}
QUIET = {"host": "kvm-1", "type": "qemu", "balloon": False, "rng": False, "agent": False}
"""What every guest says, so that a key stands out."""
VALUES: tuple[Any, ...] = (
    *("1", "2", "64", "256", "500", "5950", "1KiB", "1MiB", "2MiB", "128MiB", "2s", "/srv/x", "abc", "de"),
    *("0000:41:00.0", "0-1", "127.0.0.1", "auto", "1920x1080", "5000c50015ea71aa"),
    *(
        "640",
        "0x0003",
        "AAAA",
        "sda",
        ["1"],
        "/machine/x",
        "inner",
        "128KiB",
        ["cpu_clock"],
        "iqn.2013-07.org.x:y",
    ),
)
"""What is tried for a key that has no list of words: the first that its model takes."""


LATER = frozenset({("panic", "model", "pvpanic")})
"""What the lab's libvirt 9.0 does not know."""


@dataclass(frozen=True, slots=True, eq=False)
class Variant:
    """A guest, and the section of it to which keys are added."""

    vm: Tree
    where: Path_

    @property
    def name(self) -> str:
        return json.dumps(self.vm)


@dataclass(frozen=True, slots=True)
class Single:
    """A variant with one more key."""

    variant: Variant
    key: Path_
    value: str
    vm: Tree

    @property
    def name(self) -> str:
        return f"{'.'.join(map(str, self.key))}={self.value} in {self.variant.name}"

    @property
    def model_key(self) -> str:
        """The key without the names and numbers that lead to its section."""
        return ".".join(str(part) for part in self.key if isinstance(part, str) and part not in _NAMES)


_NAMES = frozenset(
    {"d", "cd", "r", "s", "m", "dac", "/dev/sda", "rtc", "pit", "hpet", "kvmclock", "tsc", "hypervclock"}
)
_SHARED = {"memory": {"source": "memfd", "access": "shared"}}
_PLUGS: tuple[Tree, ...] = (
    *({"network": name} for name in NETWORKS),
    *({"device": "eth0", "macvtap_mode": mode} for mode in ("bridge", "passthrough")),
    {"pci": "0000:03:10.0"},
    {"vhost_user": "/srv/s"},
    {"user": "slirp"},
    {"vdpa": "/dev/vhost-vdpa-0"},
)
_MADE = {"size": "8MiB"}
_THERE = {"source": "/dev/sdx", "format": "raw"}
_NAMES_OF = {"iscsi": "iqn.2013-07.com.example:t/1", "rbd": "pool/image", "gluster": "vol/file"}
_RATES = {
    f"{way}_{unit}": "1MiB" if unit == "bytes_sec" else "2"
    for way in ("read", "write")
    for unit in ("bytes_sec", "iops_sec")
}
_BURSTS = _RATES | {f"{key}_max": "64MiB" if "bytes" in key else "256" for key in _RATES}
_CHARACTER: Mapping[str, Tree] = {
    "pty": {},
    "file": {"path": "/srv/y"},
    "unix": {"path": "/srv/y"},
    "tcp": {"address": "127.0.0.1", "port": "5"},
    "udp": {"address": "127.0.0.1", "port": "5"},
}


def _disk(**given: Any) -> Tree:
    return {"disks": {"d": given}, "iothreads": 2}


def _source(protocol: str) -> Tree:
    source = {"protocol": protocol, "servers": ["10.0.0.1"], "name": _NAMES_OF.get(protocol, "x")}
    return _disk(
        source=source, format="raw", **{"readonly": True} if protocol[:4] in {"http", "ftp", "ftps"} else {}
    )


def _variants() -> Iterator[tuple[Tree, Path_]]:
    for plug in _PLUGS:
        models = ("virtio", "e1000e") if {"network", "device", "user"} & plug.keys() else ("virtio",)
        for model in models if plug != {"network": "functions"} else models[:1]:
            yield (
                {
                    "nics": [plug | ({} if model == "virtio" else {"model": model})],
                    **_SHARED,
                },
                ("nics", 0),
            )
    for bus in ("virtio", "scsi", "sata", "usb"):
        yield _disk(**_MADE, bus=bus), ("disks", "d")
        yield _disk(**_THERE, bus=bus), ("disks", "d")
    yield {**_disk(**_MADE, bus="ide"), "machine": "pc"}, ("disks", "d")
    yield _disk(**_THERE, bus="scsi", lun=True), ("disks", "d")
    yield _disk(**_MADE, format="raw"), ("disks", "d")
    yield _disk(**_MADE, cache="none", discard="unmap"), ("disks", "d")
    for protocol in ("nbd", "rbd", "iscsi", "gluster", "http", "https", "ftp", "ftps"):
        yield _source(protocol), ("disks", "d")
    yield _disk(source={"nvme": "0000:01:00.0"}, format="raw"), ("disks", "d")
    for tuning in ({}, {"total_bytes_sec": "1MiB", "total_iops_sec": "9"}, _RATES, _BURSTS):
        yield _disk(**_MADE, iotune=tuning), ("disks", "d", "iotune")
    yield {"cdroms": {"cd": {"source": "/srv/x.iso"}}}, ("cdroms", "cd")
    yield {**_disk(**_MADE, bus="scsi"), "scsi_controller": {}}, ("scsi_controller",)
    for kind, more in _CHARACTER.items():
        yield {"serial": {"type": kind, **more}}, ("serial",)
        yield {"serials": [{"type": kind, **more}]}, ("serials", 0)
        yield {"consoles": [{"type": kind, **more}]}, ("consoles", 0)
    yield from _screens()
    yield from _small_devices()
    yield from _of_the_host()
    yield from _board()


def _screens() -> Iterator[tuple[Tree, Path_]]:
    for more in ({"type": "vnc"}, {"type": "spice"}, {"type": "spice", "listen": "none"},
                 {"type": "vnc", "listen": "socket"}, {"type": "vnc", "gl": True}, {"type": "vnc", "port": "5950"},
                 {"type": "spice", "network": "inner"}, {"type": "vnc", "also": {"type": "spice"}}):  # fmt: skip
        yield {"graphics": more}, ("graphics",)
    for model in ("virtio", "vga", "qxl", "bochs", "cirrus", "none"):
        yield {"graphics": {"type": "vnc", "gl": model == "virtio"}, "video": {"model": model}}, ("video",)
    for device in ("tablet", "keyboard", "mouse"):
        yield {"inputs": [{"type": device}]}, ("inputs", 0)
    for device in ("evdev", "passthrough"):
        yield {"inputs": [{"type": device, "path": "/dev/input/event3"}]}, ("inputs", 0)
    for model in ("ich9", "ac97", "usb"):
        yield {"sound": {"model": model}}, ("sound",)
    for backend in ("none", "spice", "alsa", "pulseaudio", "jack", "oss", "file"):
        audio = {"type": backend} | ({"path": "/srv/y.wav"} if backend == "file" else {})
        yield {"sound": "ich9", "graphics": "spice", "audio": audio}, ("audio",)


def _small_devices() -> Iterator[tuple[Tree, Path_]]:
    yield {"channels": [{"name": "org.example.0"}]}, ("channels", 0)
    for screen, kind in (("spice", "spice"), ("vnc", "vdagent")):
        yield (
            {"graphics": screen, "channels": [{"name": "com.redhat.spice.0", "type": kind}]},
            ("channels", 0),
        )
    for more in ({}, {"source": "builtin"}, {"rate": "1KiB"}):
        yield {"rng": more}, ("rng",)
    for more in ({}, {"model": "tpm-tis"}, {"type": "passthrough", "model": "tpm-tis"}):
        yield {"tpm": more}, ("tpm",)
    for model in ("i6300esb", "ib700"):
        yield {"watchdog": {"model": model}}, ("watchdog",)
    yield {"panic": {}}, ("panic",)
    yield {"vsock": {}}, ("vsock",)
    yield {"balloon": {"enabled": True}}, ("balloon",)


def _of_the_host() -> Iterator[tuple[Tree, Path_]]:
    for device in ({"usb": {"vendor": "046d", "product": "c52b"}}, {"usb": {"bus": "1", "device": "4"}},
                   {"pci": {"address": "0000:41:00.0"}}, {"scsi": {"adapter": "scsi_host0"}},
                   {"mdev": {"uuid": "c2a5e6c6-1111-2222-3333-444444444444"}}):  # fmt: skip
        yield {"hostdevs": [device], "graphics": "vnc"}, ("hostdevs", 0)
    for memory in ({"size": "1MiB"}, {"server": "/srv/sock"}):
        yield {"shared_memory": {"r": memory}}, ("shared_memory", "r")
    for share in (
        {"path": "/srv"},
        {"socket": "/srv/s"},
        {"path": "/srv", "driver": "9p", "access": "mapped"},
    ):
        yield {"shares": {"s": share}, **_SHARED}, ("shares", "s")
    for mode in ("host", "spice"):
        yield {"smartcard": {"mode": mode}, "graphics": "spice"}, ("smartcard",)
    for more in ({"model": "intel"}, {"model": "virtio"}, {"model": "intel", "interrupt_remapping": True}):
        yield {"iommu": more, "features": {"ioapic": "qemu"}}, ("iommu",)


def _board() -> Iterator[tuple[Tree, Path_]]:
    for module in ({}, {"model": "virtio-mem"}, {"model": "nvdimm", "path": "/srv/nv"}):
        modules = {"m": {"size": "128MiB", **module}}
        yield (
            {"memory": {"size": "256MiB", "hotplug_max": "1GiB", "modules": modules}},
            ("memory", "modules", "m"),
        )
    for more in (
        {},
        {"hotplug_max": "1GiB"},
        {"pages": "2MiB"},
        {"allocation": "immediate"},
        {"hard_limit": "1GiB"},
    ):
        yield {"memory": {"size": "256MiB", **more}}, ("memory",)
    for more in ({"type": "bios"}, {"type": "uefi"}, {"boot_menu": True},
                 {"type": "uefi", "loader": "/usr/share/OVMF/OVMF_CODE_4M.fd"}):  # fmt: skip
        yield {"firmware": more}, ("firmware",)
    yield {"kernel": {"path": "/srv/k"}}, ("kernel",)
    yield {"smbios": {}}, ("smbios",)
    for kind in ("qemu", "kvm"):
        yield {"features": {}, "type": kind}, ("features",)
        for timer in ("rtc", "pit", "hpet", "tsc", *(("kvmclock", "hypervclock") * (kind == "kvm"))):
            yield {"timers": {timer: {}}, "type": kind}, ("timers", timer)
        for model in ("host-passthrough", "Nehalem"):
            yield {"type": kind, "iothreads": 2, "cpus": {"model": model, "count": "2"}}, ("cpus",)
    for label in ({"type": "dynamic"}, {"type": "static", "label": "+107:+107"}, {"type": "none"}):
        yield {"security": {"dac": label}}, ("security", "dac")
    yield {"blkio": {}}, ("blkio",)
    yield {"blkio": {"devices": {"/dev/sda": {"weight": "500"}}}}, ("blkio", "devices", "/dev/sda")
    yield {"numa": {"nodeset": "0"}}, ("numa",)
    yield {"type": "kvm", "hyperv": {}}, ("hyperv",)
    yield {"type": "kvm"}, ()


VARIANTS: tuple[Variant, ...] = tuple(Variant({**vm}, where) for vm, where in _variants())


# -- keys of a section ---------------------------------------------------------------------------------------


@cache
def singles(variant: Variant) -> tuple[Single, ...]:
    """The variant with each key that its model takes beside what it says, and that is not its default."""
    base, found = Vm.model_validate(QUIET | variant.vm), []
    for path, annotation in _keys(_model_at(variant.where), deep=bool(variant.where)):
        key = (*variant.where, *path)
        if _said(variant.vm, key):
            continue
        words = _words(annotation)
        for value in words or VALUES:
            vm = _put(variant.vm, key, value)
            try:
                is_other = Vm.model_validate(QUIET | vm) != base
            except ValidationError:
                continue
            if is_other and (*key, str(value)) not in LATER:
                found.append(Single(variant, key, str(value), vm))
            if not words:
                break
    return tuple(found)


def together(variant: Variant) -> Tree:
    """The variant with as many of those keys as go together."""
    vm = variant.vm
    for single in singles(variant):
        more = _put(vm, single.key, _get(single.vm, single.key))
        try:
            Vm.model_validate(QUIET | more)
        except ValidationError:
            continue
        vm = more
    return vm


def _keys(model: type[BaseModel], *, deep: bool, prefix: Path_ = ()) -> Iterator[tuple[Path_, Any]]:
    """Keys of a section and of sections in it; what is in lists and mappings has variants of its own."""
    for name, field in model.model_fields.items():
        inner, several = _models(field.annotation), _holds_several(field.annotation)
        if not inner:
            yield (*prefix, name), field.annotation
        elif deep and not several:
            yield from _keys(inner[0], deep=True, prefix=(*prefix, name))


def _model_at(where: Path_) -> type[BaseModel]:
    model: type[BaseModel] = Vm
    parts = list(where)
    while parts:
        annotation = model.model_fields[str(parts.pop(0))].annotation
        if _holds_several(annotation):
            parts.pop(0)
        model = _models(annotation)[0]
    return model


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in typing.get_args(annotation) for model in _models(part)]


def _holds_several(annotation: Any) -> bool:
    return typing.get_origin(annotation) in {dict, tuple} or any(
        map(_holds_several, typing.get_args(annotation))
    )


def _words(annotation: Any) -> list[str]:
    """All values of a key that has only a few."""
    if typing.get_origin(annotation) is typing.Literal:
        return [str(word) for word in typing.get_args(annotation)]
    if annotation is bool:
        return ["true", "false"]
    found = [word for part in typing.get_args(annotation) for word in _words(part)]
    return found if "auto" not in found else []


def _put(tree: Any, path: Sequence[str | int], value: Any) -> Any:
    if not path:
        return value
    head, *rest = path
    if isinstance(tree, list):
        return [_put(item, rest, value) if number == head else item for number, item in enumerate(tree)]
    return {**tree, head: _put(tree.get(head, {}), rest, value)} if isinstance(tree, dict) else {head: value}


def _get(tree: Any, path: Sequence[str | int]) -> Any:
    for part in path:
        tree = tree[part]
    return tree


def _said(tree: Tree, path: Path_) -> bool:
    """Whether a key, or the short form of its section, is in the tree."""
    for part in path:
        if not isinstance(tree, dict | list):
            return True
        if isinstance(tree, dict) and part not in tree:
            return False
        tree = tree[part]
    return True


# -- what becomes of them ------------------------------------------------------------------------------------


def compiled(vms: Sequence[Tree]) -> list[str | None]:
    """The declared definitions of guests, in one run; None for those that the manifest refuses as a whole."""
    left = {f"vm-{number}": {**QUIET, **vm, "host": f"vm-{number}"} for number, vm in enumerate(vms)}
    for _ in range(3):
        text = "\n".join(
            [
                "apiVersion: kvmdecl/v1",
                "cluster: keys",
                # A host for each, so that none is in another's way.
                f'hosts: {{"vm-{{0..{len(vms)}}}": {{uri: "qemu+tls://{{name}}/system"}}}}',
                "storage: {vms: {path: /srv}}",
                f"networks: {json.dumps(NETWORKS)}",
                "vms:",
                *(f"  {name}: {json.dumps(vm)}" for name, vm in left.items()),
            ]
        )
        file = Path("keys.yaml")
        try:
            cluster = resolve(load(file, texts={file: text}), Inputs({}, {}))
        except Rejected as rejected:
            lines = text.splitlines()
            told = {d.at.line for d in rejected.diagnostics if d.at is not None}
            names = {lines[line - 1].strip().partition(":")[0] for line in told}
            left = {name: vm for name, vm in left.items() if name not in names}
        else:
            pools = {pool.name: pool.spec for pool in cluster.pools}
            found = {vm.name: _as_of_one(vm, declared_domain(vm, pools)) for vm in cluster.vms}
            return [found.get(f"vm-{number}") for number in range(len(vms))]
    raise AssertionError("guests are refused and it is not told where")


def _as_of_one(vm: ResolvedVm, text: str) -> str:
    """A definition as that of any other guest that says the same."""
    for own, common in (
        (f"<name>{vm.name}</name>", "<name>web-1</name>"),
        (vm.uuid, UUID),
        *((f"/{vm.name}.{disk.name}.", f"/web-1.{disk.name}.") for disk in vm.disks),
        *((nic.mac, f"52:54:00:00:00:{number:02x}") for number, nic in enumerate(vm.nics)),
    ):
        text = text.replace(own, common)
    return text
