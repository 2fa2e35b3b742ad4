"""What of a definition belongs to the guest and what to its host, when the guest goes to another one."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from posixpath import split
from typing import TYPE_CHECKING, Literal

from lxml import etree

from kvmdecl.libvirt_xml.holders import devices_in
from kvmdecl.libvirt_xml.safe import parse_xml

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from kvmdecl.libvirt_xml.safe import Element

_PINS = ("vcpupin", "emulatorpin", "iothreadpin")
_HOSTS_OWN = (
    ("devices/hostdev", "it has devices of its host"),
    ("devices/interface[@type='hostdev']", "it has a network card of its host"),
    ("devices/interface[@type='vdpa']", "it has a network card of its host"),
    ("devices/filesystem", "it shares directories of its host"),
    ("devices/shmem", "it shares memory with its host"),
    ("launchSecurity", "its memory is encrypted by its host's CPU"),
)
"""What libvirt does not migrate (qemuMigrationSrcIsAllowed), or cannot in every version that we know."""


def bound_to_host(live_xml: str, shared: Container[str] = ()) -> tuple[str, ...]:
    """Why a running guest cannot go to another host while it runs, as far as its definition says; empty if it can.

    `shared` are devices of disks that both hosts see.

    Raises:
        BadXml: the definition is not acceptable XML.
    """
    root = parse_xml(live_xml)
    devices = devices_in(live_xml)
    found = [f"it has {' and '.join(devices)} of its host"] if devices else []
    found += [
        why
        for path, why in _HOSTS_OWN
        if root.find(path) is not None and not (devices and "devices of" in why)
    ]
    return tuple(dict.fromkeys((*found, *_devices_of_the_host(root, shared))))


def at_home_only(xml: str, shared: Container[str] = ()) -> tuple[str, ...]:
    """Why a guest that is off cannot go to another host: what it keeps there that nobody can copy.

    `shared` as in `bound_to_host`.

    Raises:
        BadXml: the definition is not acceptable XML.
    """
    root = parse_xml(xml)
    found = list(_devices_of_the_host(root, shared))
    if root.find("os/nvram[@type='block']") is not None:
        found.append("its firmware keeps its variables on a device of its host")
    return tuple(found)


@dataclass(frozen=True, slots=True)
class HostFiles:
    """Files of a guest in a folder of its host that is no pool's; `name` is empty if all in the folder are its own."""

    what: Literal["firmware", "tpm"]
    folder: str
    name: str = ""


HELD = {"firmware": "the variables of its firmware", "tpm": "the state of its TPM"}
"""What is in them."""


def host_files(xml: str) -> tuple[HostFiles, ...]:
    """Where a guest's variables of its firmware and the state of its TPM are, or will be once it runs.

    Where a definition does not say it, libvirt knows the place by the guest's name or UUID
    (qemuDomainNVRAMPathFormat, qemuTPMEmulatorInitPaths).

    Raises:
        BadXml: the definition is not acceptable XML.
    """
    root = parse_xml(xml)
    return (*_variables(root), *_tpm_state(root))


def _variables(root: Element) -> Iterator[HostFiles]:
    nvram = root.find("os/nvram")
    if nvram is None and root.find("os[@firmware='efi']") is None:
        return
    kind = "file" if nvram is None else nvram.get("type", "file")
    if kind == "file":
        said = "" if nvram is None else (nvram.text or "").strip()
        source = None if nvram is None else nvram.find("source")
        path = said or ("" if source is None else source.get("file", ""))
        folder, name = split(path or f"/var/lib/libvirt/qemu/nvram/{root.findtext('name')}_VARS.fd")
        yield HostFiles("firmware", folder, name)


def _tpm_state(root: Element) -> Iterator[HostFiles]:
    backend = root.find("devices/tpm/backend[@type='emulator']")
    if backend is None:
        return
    source = backend.find("source")
    if source is not None and source.get("type") == "file":
        yield HostFiles("tpm", *split(source.get("path", "")))
    elif source is not None:
        yield HostFiles("tpm", source.get("path", ""))
    else:
        folder = "tpm1.2" if backend.get("version") == "1.2" else "tpm2"
        yield HostFiles("tpm", f"/var/lib/libvirt/swtpm/{root.findtext('uuid')}/{folder}")


def _devices_of_the_host(root: Element, shared: Container[str]) -> Iterator[str]:
    for disk in root.iterfind("devices/disk[@type='block']"):
        source = disk.find("source")
        if source is None or source.get("dev", "") not in shared:
            yield f"its disk {_target(disk)} is a device of its host"


def _target(disk: Element) -> str:
    target = disk.find("target")
    return "?" if target is None else target.get("dev", "?")


def is_bound_field(path: str) -> bool:
    """Whether a field says on which CPUs and cells of the host a guest runs (`cputune/vcpupin[0]@cpuset`)."""
    return path.startswith(("numatune/", "vcpu@cpuset", *(f"cputune/{pin}" for pin in _PINS)))


def migrated(live_xml: str, declared: str) -> str | None:
    """The definition that a running guest arrives with: its own, with the CPUs and cells of its new host.

    Args:
        live_xml: of the guest, dumped with VIR_DOMAIN_XML_MIGRATABLE.
        declared: its definition on its new host.

    Returns:
        None if nothing of it binds it to CPUs or cells, before or after.

    Raises:
        BadXml: one of the definitions is not acceptable XML.
    """
    live, wanted = parse_xml(live_xml), parse_xml(declared)
    before, after = (_bindings(root) for root in (live, wanted))
    if before == after:
        return None
    _rebind(live, wanted)
    return etree.tostring(live, encoding="unicode")


def _bindings(root: Element) -> list[bytes]:
    vcpu = root.find("vcpu")
    parts = [root.find("numatune"), *(pin for name in _PINS for pin in root.iterfind(f"cputune/{name}"))]
    cpuset = "" if vcpu is None else vcpu.get("cpuset", "")
    return [
        cpuset.encode(),
        *(etree.tostring(part, method="c14n", with_tail=False) for part in parts if part is not None),
    ]


def _rebind(live: Element, wanted: Element) -> None:
    for vcpu, new in ((live.find("vcpu"), wanted.find("vcpu")),):
        if vcpu is not None:
            cpuset = None if new is None else new.get("cpuset")
            vcpu.attrib.pop("cpuset", "")
            if cpuset is not None:
                vcpu.set("cpuset", cpuset)
    if (old := live.find("numatune")) is not None:
        live.remove(old)
    if (new_tune := wanted.find("numatune")) is not None:
        live.append(deepcopy(new_tune))
    pins = [deepcopy(pin) for name in _PINS for pin in wanted.iterfind(f"cputune/{name}")]
    tune = live.find("cputune")
    if tune is None and pins:
        tune = etree.SubElement(live, "cputune")
    if tune is None:
        return
    for old_pin in [pin for name in _PINS for pin in tune.iterfind(name)]:
        tune.remove(old_pin)
    tune.extend(pins)
