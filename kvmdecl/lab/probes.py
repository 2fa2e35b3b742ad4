"""What libvirt has found out about the QEMU programs of this machine, kept from lab to lab.

Probing takes libvirtd about a second for each QEMU program; its answers are files in /var/cache/libvirt that
it checks by itself before it uses them (virQEMUCapsIsValid: times of the programs, kernel, microcode), so
that a stale copy costs time and never gives a wrong answer. Everything here is best-effort: without a cache a
lab starts slower.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

_DRIVER = "libvirt/connection-driver/libvirt_driver_qemu.so"
_PROGRAMS = ("bin/qemu-system-*", "sbin/libvirtd", f"lib/{_DRIVER}", f"lib64/{_DRIVER}", f"lib/*/{_DRIVER}")
_IN_HOST = Path("cache/qemu/capabilities")


def cache_home() -> Path:
    """This user's cache directory for labs (XDG base directory specification)."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return Path(base if base.startswith("/") else Path.home() / ".cache") / "kvmdecl"


def store() -> Path:
    """Where the probes of today's QEMU and libvirt belong."""
    facts = [os.uname().release, str(os.access("/dev/kvm", os.R_OK | os.W_OK))]
    for pattern in _PROGRAMS:
        stats = [(program, program.stat()) for program in sorted(Path("/usr").glob(pattern))]
        facts += [f"{program} {stat.st_ctime_ns} {stat.st_size}" for program, stat in stats]
    return cache_home() / "probes" / hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]


def recall(source: Path, folder: Path) -> bool:
    """Give a host the kept probes. Returns whether there were any."""
    try:
        shutil.copytree(source, folder / _IN_HOST, dirs_exist_ok=True)
    except OSError:
        return False
    return True


def remember(folder: Path, target: Path) -> None:
    """Keep what a host has probed; of several labs that start at the same time one wins."""
    scratch = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=target.parent))
        shutil.copytree(folder / _IN_HOST, scratch, dirs_exist_ok=True)
        scratch.rename(target)
    except OSError:
        if scratch:
            shutil.rmtree(scratch, ignore_errors=True)
