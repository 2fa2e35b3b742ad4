"""Which process a run is, and whether the process behind another run is dead for certain."""

from __future__ import annotations

import getpass
import os
import pwd
import re
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

from kvmdecl.runs import Holder, new_run, new_token

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_JOB = re.compile(r"https?://[!-?A-~]{1,500}")  # no `@`: no password of anybody
_DEAD = {"Z", "X"}  # it has ended, and nobody has asked how yet


def this_run(cluster: str) -> Holder:
    """A new run that is this process."""
    found = _stat(os.getpid())
    started = found[1] if found else 0
    return Holder(
        new_run(), new_token(), cluster, _user(), socket.gethostname(), _space(), os.getpid(), started
    )


def user_and_machine() -> tuple[str, str]:
    """Whom the kernel takes this process for, whatever its environment says, and the name of its machine."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name, socket.gethostname()
    except KeyError:
        return str(os.getuid()), socket.gethostname()


def job() -> str:
    """Address of the job of a CI system that this process is part of, as that says; empty if there is none."""
    said = os.environ
    run = "/".join(said.get(f"GITHUB_{key}", "") for key in ("SERVER_URL", "REPOSITORY"))
    github = f"{run}/actions/runs/{said['GITHUB_RUN_ID']}" if "GITHUB_RUN_ID" in said else ""
    found = github or said.get("CI_JOB_URL", "") or said.get("BUILD_URL", "")  # GitHub, GitLab, Jenkins
    return found if _JOB.fullmatch(found) else ""


def is_dead(holder: Holder) -> bool:
    """Whether a run's process has ended, seen with our own eyes: it would be in our sight, and is not there.

    A process on another machine, or in another PID namespace, is never dead for certain.
    """
    if not is_here(holder):
        return False
    found = _stat(holder.pid)
    return found is None or found[0] in _DEAD or found[1] != holder.started


def is_here(holder: Holder) -> bool:
    """Whether a run's process would be in our sight."""
    return bool(holder.space) and holder.space == _space() and holder.started > 0


def end_with_parent() -> None:
    """Have the kernel end this process with the one that started it, even if it is stopped (Linux, prctl)."""
    if sys.platform == "linux":
        import ctypes  # loads code, which is noticed where nothing but a manifest should be read

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _user() -> str:
    with suppress(KeyError, OSError):
        return getpass.getuser()
    return str(os.getuid())


def _space() -> str:
    """The boot of this machine and our PID namespace; empty where a kernel tells neither."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"  # noqa: PTH115 - no path, but a name like `pid:[4026531836]`
    except OSError:
        return ""


def _stat(pid: int) -> tuple[str, int] | None:
    """State and start of a process, in clock ticks after the boot; None if there is none (proc_pid_stat(5))."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # its name, in brackets, may hold anything
    return fields[0], int(fields[19])
