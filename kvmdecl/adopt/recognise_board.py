"""XML -> keys: the board, what boots it, its clock, and what confines it (`libvirt_xml/domain_board.py`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.adopt.guest import (
    Guest,
    Keys,
    Value,
    amount,
    number,
    read,
    short,
    size_of,
    switch,
    text_at,
    word,
)
from kvmdecl.architectures import ARCHITECTURES
from kvmdecl.manifest.firmware import (
    BlockDevice,
    Features,
    Firmware,
    Kernel,
    LaunchSecurity,
    SecurityLabel,
    Timer,
)
from kvmdecl.words import ENLIGHTENMENTS, HYPERV, SPINLOCKS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.libvirt_xml.safe import Element


def _head(guest: Guest) -> Iterator[Keys]:
    yield {"description": guest.text("description")}
    if (generation := guest.text("genid")) is not None:
        yield {"genid": generation or "auto"}
    machine, arch = guest.get("os/type", "machine"), guest.get("os/type", "arch")
    if arch in ARCHITECTURES:
        yield {"machine": machine, "arch": arch if arch != "x86_64" else None}
    for event in ("on_poweroff", "on_reboot", "on_crash"):
        yield {event: guest.text(event)}


def _firmware(guest: Guest) -> Iterator[Keys]:
    os = guest.root.find("os")
    if os is None:
        return
    if os.get("firmware") == "efi":
        yield {"firmware": {"type": "uefi"}}
        yield {"firmware": {"secure_boot": True}}
    elif os.find("loader") is not None:
        flash = text_at(os, "loader@type") == "pflash"
        yield {"firmware": {"type": "uefi" if flash else None, **read(os, Firmware, _LOADER)}}
    elif "firmware" in guest.usual.parts:
        yield {"firmware": {"type": "bios"}}
    yield {"firmware": read(os, Firmware, _BOOT_MENU)}
    yield {"kernel": short(read(os, Kernel, _KERNEL), "path")}


_LOADER = {
    "loader": ("loader", word),
    "secure_boot": ("loader@secure", switch),
    "nvram": ("nvram", word),
    "nvram_template": ("nvram@template", word),
}
_BOOT_MENU = {"boot_menu": ("bootmenu@enable", switch), "boot_menu_timeout": ("bootmenu@timeout", number)}
_KERNEL = {"path": ("kernel", word), "initrd": ("initrd", word), "cmdline": ("cmdline", word)}


def _smbios(guest: Guest) -> Iterator[Keys]:
    tables = guest.root.find("sysinfo[@type='smbios']")
    found: Keys = {}
    for key, tag in (("bios", "bios"), ("system", "system"), ("board", "baseBoard"), ("chassis", "chassis")):
        entries = tables.findall(f"{tag}/entry") if tables is not None else []
        found[key] = {entry.get("name", ""): entry.text for entry in entries}
    oem = tables.findall("oemStrings/entry") if tables is not None else []
    mode = guest.get("os/smbios", "mode")
    found |= {"oem": [entry.text for entry in oem] or None, "mode": mode if mode != "sysinfo" else None}
    yield {"smbios": found}


def _features(guest: Guest) -> Iterator[Keys]:
    switches, usual = guest.root.find("features"), guest.usual
    firmware = guest.get("os", "firmware") == "efi" or guest.get("os/loader", "type") == "pflash"
    expected = {"acpi": usual.acpi and (usual.is_pc or firmware), "apic": usual.apic}
    for name, on in expected.items():
        if on != (switches is not None and switches.find(name) is not None):
            yield {"features": {name: not on}}
    if switches is None:
        return
    if switches.find("hyperv/*[@state='on']") is not None:  # all off is said by `xml`, as it is by libvirt
        yield {"hyperv": _hyperv(guest)}
    yield from ({"features": {key: value}} for key, value in read(switches, Features, _FEATURES).items())
    yield {"features": {"tseg": size_of(switches.find("smm/tseg"))}}


def _hyperv(guest: Guest) -> Value:
    """Enlightenments that are not as they usually are."""
    on = {name: guest.get(f"features/hyperv/{name}", "state") == "on" for name in ENLIGHTENMENTS}
    switched = {name: state for name, state in on.items() if state != (name in HYPERV)}
    tries = number(guest.get("features/hyperv/spinlocks", "retries"))
    direct = guest.get("features/hyperv/stimer/direct", "state") == "on"
    keys = {
        **switched,
        "spinlocks": tries if tries != SPINLOCKS else None,
        "stimer_direct": direct or None,
        "vendor": guest.get("features/hyperv/vendor_id", "value"),
    }
    return {key: value for key, value in keys.items() if value is not None} or True


_FEATURES = {
    "pmu": ("pmu@state", switch),
    "vmport": ("vmport@state", switch),
    "kvm_hidden": ("kvm/hidden@state", switch),
    "kvm_dedicated": ("kvm/hint-dedicated@state", switch),
    "kvm_poll_control": ("kvm/poll-control@state", switch),
    "ioapic": ("ioapic@driver", word),
    "gic": ("gic@version", word),
    "vmcoreinfo": ("vmcoreinfo@state", switch),
    "msrs": ("msrs@unknown", word),
}


def _clock(guest: Guest) -> Iterator[Keys]:
    if guest.get("clock", "offset") == "localtime":
        yield {"clock": "localtime"}
    for timer in guest.all("clock/timer"):
        name, keys = timer.get("name", ""), read(timer, Timer, _TIMER)
        usual = guest.root.get("type") == "kvm" and guest.usual.is_pc
        if not usual or keys != _USUAL_TIMERS.get(name):
            yield {"timers": {name: short(keys, "present")}}


_TIMER = {
    "present": ("@present", switch),
    "tick_policy": ("@tickpolicy", word),
    "track": ("@track", word),
    "frequency": ("@frequency", number),
}
_USUAL_TIMERS: dict[str, Keys] = {
    "rtc": {"tick_policy": "catchup"},
    "pit": {"tick_policy": "delay"},
    "hpet": {"present": False},
}


def _confined(guest: Guest) -> Iterator[Keys]:
    for label in guest.all("seclabel"):
        keys = read(label, SecurityLabel, _LABEL)
        if keys.get("type") != "static":
            keys.pop("relabel", None)
        yield {"security": {label.get("model", ""): keys or "dynamic"}}
    for protection in guest.all("launchSecurity"):
        yield {"launch_security": short(read(protection, LaunchSecurity, _LAUNCH), "type")}
    yield {"partition": guest.text("resource/partition")}
    events = guest.all("perf/event[@enabled='yes']")
    if events:
        yield {"perf": [event.get("name", "") for event in events]}
    devices = {text_at(device, "path") or "": _block(device) for device in guest.all("blkiotune/device")}
    blkio = {"weight": number(guest.text("blkiotune/weight")), "devices": devices}
    yield {"blkio": short(blkio, "weight") if guest.root.find("blkiotune") is not None else None}


def _block(device: Element) -> Keys:
    rows = {key: (key, amount if "bytes" in key else number) for key in BlockDevice.model_fields}
    return read(device, BlockDevice, rows)


_LABEL = {
    "type": ("@type", word),
    "label": ("label", word),
    "base": ("baselabel", word),
    "relabel": ("@relabel", lambda text: switch(text) or None),
}
_LAUNCH = {
    "type": ("@type", word),
    "policy": ("policy", word),
    "cbitpos": ("cbitpos", number),
    "reduced_phys_bits": ("reducedPhysBits", number),
    "kernel_hashes": ("@kernelHashes", switch),
    "session": ("session", word),
    "dh_cert": ("dhCert", word),
    "id_block": ("idBlock", word),
    "id_auth": ("idAuth", word),
    "host_data": ("hostData", word),
}

BOARD = (_head, _firmware, _smbios, _features, _clock, _confined)
