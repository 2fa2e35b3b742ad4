"""What the lab takes for a living process."""

from __future__ import annotations

import subprocess
import sys

from kvmdecl.lab.namespaces import is_alive, kill

_FIRST_THREAD_ENDS = """\
import ctypes, threading, time
threading.Thread(target=time.sleep, args=(60,)).start()
print("ready", flush=True)
ctypes.CDLL(None).syscall(60, 0)  # exit(2), of this thread alone, on x86-64
"""


def test_a_process_is_alive_as_long_as_one_of_its_threads_is():
    """Its files, and locks on them, are its own until then: another libvirtd would not get its PID file."""
    with subprocess.Popen([sys.executable, "-c", _FIRST_THREAD_ENDS], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        while b"Z" not in _stat(process.pid):
            assert process.poll() is None

        assert is_alive(process.pid)
        kill([process.pid])
        assert not is_alive(process.pid)


def _stat(pid: int) -> bytes:
    with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123
        return file.read().rpartition(b")")[2][:3]
