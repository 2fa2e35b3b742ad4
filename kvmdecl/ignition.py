"""What Ignition reads in a guest: one JSON document, checked as far as that can be done without knowing its version."""

from __future__ import annotations

import json
import re

from kvmdecl.state import SeedContent

FW_CFG = "opt/com.coreos/config"
"""Where Ignition's QEMU platform looks: an entry of the firmware configuration device."""

_VERSION = re.compile(r"[23]\.[0-9]{1,3}\.[0-9]{1,3}(-experimental)?")


def fault(text: str) -> str:
    """What is wrong with a configuration, empty if nothing is. Its version is judged, and that it is JSON."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        return f"it is not JSON: {error}"
    ignition = document.get("ignition") if isinstance(document, dict) else None
    version = ignition.get("version") if isinstance(ignition, dict) else None
    if not isinstance(version, str) or not _VERSION.fullmatch(version):
        return "it has no `ignition.version` such as `3.4.0`"
    return ""


def configuration(text: str) -> SeedContent:
    """The content of the volume from which the guest gets it."""
    return SeedContent((("config.ign", text),), plain=True)
