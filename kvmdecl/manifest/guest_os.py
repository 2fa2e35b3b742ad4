"""Os profiles: what `os:` decides where the manifest says nothing. A table; whatever it says can be overridden."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from kvmdecl.architectures import ARCHITECTURES, Architecture
from kvmdecl.manifest.base import Section
from kvmdecl.manifest.devices import Input, Tpm
from kvmdecl.manifest.disks import Disk
from kvmdecl.manifest.firmware import Firmware
from kvmdecl.manifest.hyperv import Hyperv
from kvmdecl.manifest.screens import Video
from kvmdecl.manifest.vms import Vm

_Part = TypeVar("_Part", bound=Section)


@dataclass(frozen=True, slots=True)
class Profile:
    """Values by key: of the vm, of each of its disks, of each of its NICs."""

    vm: Mapping[str, Any] = field(default_factory=dict)
    disk: Mapping[str, Any] = field(default_factory=dict)
    nic: Mapping[str, Any] = field(default_factory=dict)


_WINDOWS = {"clock": "localtime", "hyperv": Hyperv()}
_DRIVERS_OF_ITS_OWN = {"disk": {"bus": "sata"}, "nic": {"model": "e1000e"}}

PROFILES: Mapping[str, Profile] = {
    "linux": Profile(),
    "bsd": Profile(),
    "windows": Profile(_WINDOWS, **_DRIVERS_OF_ITS_OWN),
    "windows-11": Profile(
        {**_WINDOWS, "firmware": Firmware(type="uefi", secure_boot=True), "tpm": Tpm()}, **_DRIVERS_OF_ITS_OWN
    ),
}
"""Linux and the BSDs have virtio drivers; an installer of Windows has none, so it gets disks and NICs that it knows.
Windows keeps local time in its clock, and Windows 11 asks for Secure Boot and a TPM."""

NEEDS_HPET = frozenset({"bsd"})
"""Whose kernels may have no paravirtual clock, and count time by the HPET then."""


def with_defaults(spec: Vm) -> Vm:
    """The vm with what its os and its architecture decide, where the manifest (or a profile of it) does not."""
    architecture = ARCHITECTURES[spec.arch]
    return _with_os(spec) if architecture.is_pc else _with_architecture(_with_os(spec), architecture)


def _with_architecture(spec: Vm, architecture: Architecture) -> Vm:
    """What a screen implies (see `screen` of its XML) is said here, so that it is of the architecture, too."""
    implied: dict[str, Any] = {}
    if spec.graphics.screens:
        implied = {"video": Video(), "inputs": (Input(type="tablet"),)}
    given = spec.model_fields_set
    parts: dict[str, Any] = {"machine": architecture.machine} if "machine" not in given else {}
    for key, values in architecture.parts.items():
        if key in given and key not in spec.said:  # it was given, and says what is said anyway
            continue
        part = getattr(spec, key)
        match implied.get(key) if part is None else part:
            case Section() as section:
                parts[key] = _filled(section, values)
            case tuple() as entries:
                parts[key] = tuple(_filled(entry, values) for entry in entries)
            case dict() as entries:
                parts[key] = {name: _filled(entry, values) for name, entry in entries.items()}
    return spec.model_copy(update=parts)


def _with_os(spec: Vm) -> Vm:
    profile = PROFILES[spec.os]
    if not (profile.vm or profile.disk or profile.nic):
        return spec
    root = spec.disk or (Disk(image=spec.image) if spec.image else None)
    parts = {
        "disk": root and _filled(root, profile.disk),
        "disks": {name: _filled(disk, profile.disk) for name, disk in spec.disks.items()},
        "nics": tuple(_filled(nic, profile.nic) if nic.has_model else nic for nic in spec.nics),
    }
    return _filled(spec, profile.vm).model_copy(update=parts)


def _filled(part: _Part, values: Mapping[str, Any]) -> _Part:
    """A section with values for the keys that it was not given."""
    return part.model_copy(update={k: v for k, v in values.items() if k not in part.model_fields_set})
