"""The processes that hold a lab together: the init of its hub and of each of its hosts.

An init is a shell that is process 1 of its own PID namespace; when it dies, the kernel kills everything in
it. The hosts' PID namespaces lie inside the hub's, so the death of the hub's init ends the whole lab. An init
is found by its command line, which names the lab's directory and the host. The kernel's process table is thus
the only record of what runs: no file can be stale, half-written or missing, and no process id is ever trusted
after it was reused.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from kvmdecl.lab.refusals import SEARCH_PATH, refusal
from kvmdecl.text import safe_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HUB = ""  # the role of the hub's init; the role of a host's init is the host's name
_MARK = "kvmdecl-lab"
_READY = b"ready\n"
_START_TIMEOUT = 30.0
_KILL_TIMEOUT = 20.0
_BURIAL_TIMEOUT = 2.0
_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Init:
    """A namespace's process 1, or the wrapper that waits for it outside (`unshare`, `nsenter`).

    Attributes:
        pid: as seen from here.
        role: the host's name, or HUB.
        wrapper: whether this is not process 1 itself.
    """

    pid: int
    role: str
    wrapper: bool


def inits(directory: Path) -> Iterator[Init]:
    """Yield this user's processes that hold, or are about to hold, a namespace of a lab."""
    mark, own = str(directory), os.geteuid()
    for process in Path("/proc").glob("[0-9]*"):
        argv = _read(process / "cmdline").decode(errors="surrogateescape").split("\0")[:-1]
        if argv[-3:-1] != [_MARK, mark]:
            continue
        uid, inner_pid = _status(process)
        if uid == own:
            yield Init(int(process.name), argv[-1], wrapper=inner_pid != 1)


def find_init(directory: Path, role: str) -> int | None:
    """Return the process id of a running init, or None."""
    return next((init.pid for init in inits(directory) if init.role == role and not init.wrapper), None)


def enter(pid: int, *namespaces: str) -> list[str]:
    """Return the prefix that runs a command in an init's namespaces (options of nsenter: `--net`).

    A lab without root lives in a user namespace, which is entered too, unless we are in it already.
    """
    theirs, ours = Path(f"/proc/{pid}/ns/user"), Path("/proc/self/ns/user")
    user = [] if theirs.readlink() == ours.readlink() else ["--user", "--preserve-credentials"]
    return ["nsenter", "--target", str(pid), *user, *namespaces, "--"]


def start_init(
    directory: Path,
    role: str,
    script: str,
    *,
    within: Sequence[str] = (),
    unshare: Sequence[str],
    log: Path,
    arguments: Sequence[str] = (),
    pass_fds: Sequence[int] = (),
    lifeline: int = subprocess.DEVNULL,
) -> None:
    """Run `script` as process 1 of new namespaces; return once it has written the line `ready`.

    Args:
        directory: of the lab.
        role: the host's name, or HUB.
        script: for `sh -e`; `$1` and so on are `arguments`. After `ready` it must go on for ever.
        within: a prefix that enters the namespaces in which the new ones are made.
        unshare: options of unshare, one for each new namespace.
        log: gets what the script writes to standard error.
        arguments: of the script.
        pass_fds: file descriptors that the script uses.
        lifeline: file descriptor that becomes the script's standard input.

    Raises:
        Rejected: `lab.start-failed`, or `lab.no-namespaces` where the kernel forbids them.
    """
    # `setsid --fork` makes the init nobody's child: it neither dies with us nor becomes our zombie.
    argv = [
        "setsid",
        "--fork",
        *within,
        "unshare",
        *unshare,
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
    ]
    argv += ["sh", "-ec", script, "sh", *arguments, _MARK, str(directory), role]
    with log.open("wb") as errors:
        process = subprocess.Popen(
            argv,
            stdin=lifeline,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment(),
            pass_fds=pass_fds,
        )
    with process:
        assert process.stdout is not None  # noqa: S101 - said above
        if not _becomes_ready(process.stdout):
            raise _start_failed(role, log)


def end(directory: Path, role: str | None = None) -> bool:
    """End a whole lab, or one host of it. Returns whether anything ran.

    Raises:
        Rejected: `lab.stuck`.
    """
    for attempt in range(_ATTEMPTS):  # while we look, a lab that is just starting may start one more
        found = [init for init in inits(directory) if role in {None, init.role}]
        if not found:
            return attempt > 0
        # A namespace is gone when all of it is buried. Wrappers bury their children at once; if they were
        # killed too, that would be left to process 1 of the machine, and some take seconds.
        kill([init.pid for init in found if not init.wrapper] or [init.pid for init in found])
        _wait([init.pid for init in found], _BURIAL_TIMEOUT)
    raise refusal("lab.stuck", f"processes of the lab do not end: {', '.join(str(i.pid) for i in found)}")


def kill(pids: Sequence[int]) -> None:
    """Kill processes and wait until they, and the PID namespaces that they held, are gone."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    _wait(pids, _KILL_TIMEOUT)


def stop(pid: int) -> None:
    """Stop a process with SIGSTOP, and wait until it has stopped."""
    os.kill(pid, signal.SIGSTOP)
    deadline = time.monotonic() + _KILL_TIMEOUT
    while not is_stopped(pid) and is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.001)


def is_alive(pid: int) -> bool:
    """Whether a process exists and is not a zombie: its first thread may be one while others still hold its files."""
    state = _state(pid)
    return state not in {"", "X"} and (state != "Z" or _has_more_threads(pid))


def _has_more_threads(pid: int) -> bool:
    try:
        return sum(1 for _ in Path(f"/proc/{pid}/task").iterdir()) > 1
    except OSError:
        return False


def is_stopped(pid: int) -> bool:
    """Whether a process was stopped by a signal."""
    return _state(pid) == "T"


def find_process(init: int, name: str) -> int | None:
    """Return the process called `name` in the PID namespace of `init`, or None; ids as seen here."""
    try:
        namespace = Path(f"/proc/{init}/ns/pid").readlink()
    except OSError:
        return None
    for process in Path("/proc").glob("[0-9]*"):
        if _read(process / "comm") == f"{name}\n".encode() and is_alive(int(process.name)):
            try:
                if (process / "ns/pid").readlink() == namespace:
                    return int(process.name)
            except OSError:
                continue
    return None


def environment() -> dict[str, str]:
    """The environment of everything that runs inside a lab: none of the caller's, which may steer libvirt.

    The last one lets libudev take the files of a fabricated topology for those of sysfs.
    """
    return {"PATH": SEARCH_PATH, "HOME": "/root", "LANG": "C.UTF-8", "SYSTEMD_DEVICE_VERIFY_SYSFS": "0"}


def _becomes_ready(pipe: IO[bytes]) -> bool:
    """Whether `ready` arrives before the end of the pipe, which is the end of the script."""
    readable, _, _ = select.select([pipe], [], [], _START_TIMEOUT)
    return bool(readable) and pipe.readline() == _READY


def _start_failed(role: str, log: Path) -> Exception:
    tail = safe_text(" | ".join(log.read_text(errors="replace").strip().splitlines()[-3:]))[-500:]
    if "unshare failed" in tail or "uid_map failed" in tail:
        return refusal(
            "lab.no-namespaces",
            f"this user may not create namespaces: {tail}",
            cause="A lab without root lives in an unprivileged user namespace, which this system forbids.",
            hint="run as root, or allow it: `sysctl kernel.apparmor_restrict_unprivileged_userns=0` (Ubuntu),"
            " `sysctl kernel.unprivileged_userns_clone=1` (Debian), `sysctl user.max_user_namespaces=10000`",
        )
    what = f"host {role}" if role else "the lab's hub"
    return refusal(
        "lab.start-failed",
        f"{what} did not start: {tail or 'no reason was given'}",
        hint="`kvmdecl explain lab.start-failed` lists what such messages mean",
        subject=f"host/{role}" if role else "",
    )


def _wait(pids: Sequence[int], timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while any(is_alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.005)


def _state(pid: int) -> str:
    """The letter of proc(5) for what a process is doing; empty if there is none."""
    after_name = _read(Path(f"/proc/{pid}/stat")).rpartition(b")")[2]
    return after_name[1:2].decode()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # the process is gone, or hidden
        return b""


def _status(process: Path) -> tuple[int | None, int | None]:
    """The real user id of a process, and its id in its own PID namespace; see proc(5)."""
    lines = dict(
        line.partition(":")[::2] for line in _read(process / "status").decode(errors="replace").splitlines()
    )
    uids, pids = lines.get("Uid", "").split(), lines.get("NSpid", "").split()
    return (int(uids[0]) if uids else None), (int(pids[-1]) if pids else None)
