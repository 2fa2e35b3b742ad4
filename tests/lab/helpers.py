"""What the tests of the lab look at from outside: processes, mounts, namespaces, and libvirt connections."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import libvirt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kvmdecl.lab import LabHost

TINY_GUEST = """
<domain type='qemu'>
  <name>tiny</name>
  <memory unit='MiB'>32</memory>
  <os><type arch='x86_64' machine='{machine}'>hvm</type></os>
  <features><acpi/></features>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw'/><source file='/srv/tiny.raw'/><target dev='vda' bus='virtio'/>
    </disk>
    <serial type='file'><source path='/srv/serial.log'/></serial>
  </devices>
</domain>"""


@contextmanager
def connected(host: LabHost) -> Iterator[Any]:
    connection = libvirt.open(host.uri())
    try:
        yield connection
    finally:
        connection.close()


def eventually(happens: Callable[[], bool], seconds: float = 10) -> bool:
    """Whether it happens within that time."""
    deadline = time.monotonic() + seconds
    while not happens():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def processes_of(directory: Path) -> list[str]:
    """Command lines of all processes that name the directory, or live in a namespace of one that does."""
    found = {process: _cmdline(process) for process in Path("/proc").glob("[0-9]*")}
    spaces = {_namespace(process, "pid") for process, line in found.items() if str(directory) in line}
    ours = _namespace(Path("/proc/self"), "pid")
    return [
        line
        for process, line in found.items()
        if line and (str(directory) in line or _namespace(process, "pid") in spaces - {ours, None})
    ]


@dataclass(frozen=True)
class Process:
    """A living process: its command line, its namespaces, and when it started (seconds of CLOCK_BOOTTIME)."""

    command: str
    namespaces: frozenset[str]
    started: float


def processes() -> list[Process]:
    kinds = ("net", "mnt", "uts", "pid", "user")
    return [
        Process(
            command=line,
            namespaces=frozenset(name for kind in kinds if (name := _namespace(process, kind))),
            started=_started(process),
        )
        for process in Path("/proc").glob("[0-9]*")
        if (line := _cmdline(process))
    ]


def mounts() -> set[str]:
    return set(Path("/proc/self/mountinfo").read_text().splitlines())


def links() -> set[str]:
    return {entry.name for entry in Path("/sys/class/net").iterdir()}


def cgroups() -> set[str]:
    return {str(folder) for folder in Path("/sys/fs/cgroup").glob("**/*") if folder.is_dir()}


def _cmdline(process: Path) -> str:
    try:
        return (process / "cmdline").read_text(errors="replace").replace("\0", " ")
    except OSError:
        return ""


def _started(process: Path) -> float:
    """Field 22 of /proc/PID/stat, see proc(5); infinity for a process that has just ended."""
    try:
        fields = (process / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return float("inf")
    return int(fields[19]) / os.sysconf("SC_CLK_TCK")


def _namespace(process: Path, kind: str) -> str | None:
    try:
        return str((process / "ns" / kind).readlink())
    except OSError:
        return None
