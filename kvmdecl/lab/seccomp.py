"""Run a program whose calls for privileges that a lab lacks are answered with success, and do nothing.

Run as a script: `python seccomp.py CLASS[,CLASS] PROGRAM [ARGUMENT...]`. All descendants inherit the filter.

`identity`: an unprivileged user namespace maps one user, so each attempt to become another one fails.
libvirtd calls setgroups() before every start of QEMU, dnsmasq drops to its own user, sshd to `sshd`; one uid
is all they need here.

`placement`: pinning a guest to CPUs and memory cells that exist only in a fabricated topology.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from pathlib import Path

# linux/seccomp.h, linux/filter.h, linux/prctl.h, linux/audit.h
_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _MODE_FILTER = 22, 38, 2
_LOAD_WORD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _ERRNO_0 = 0x7FFF0000, 0x00050000
_NUMBER_OFFSET, _ARCH_OFFSET = 0, 4  # in struct seccomp_data
_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

# System call numbers; aarch64 has no chown, lchown.
_CALLS: dict[str, dict[str, dict[str, int]]] = {
    "x86_64": {
        "identity": {
            "chown": 92, "fchown": 93, "lchown": 94, "fchownat": 260, "setuid": 105, "setgid": 106,
            "setreuid": 113, "setregid": 114, "setgroups": 116, "setresuid": 117, "setresgid": 119,
        },
        "placement": {"sched_setaffinity": 203, "mbind": 237, "set_mempolicy": 238, "migrate_pages": 256},
    },
    "aarch64": {
        "identity": {
            "fchownat": 54, "fchown": 55, "setregid": 143, "setgid": 144, "setreuid": 145, "setuid": 146,
            "setresuid": 147, "setresgid": 149, "setgroups": 159,
        },
        "placement": {"sched_setaffinity": 122, "mbind": 235, "set_mempolicy": 237, "migrate_pages": 238},
    },
}  # fmt: skip


def prefix(classes: tuple[str, ...]) -> list[str]:
    """Return what to put before a command so that it runs under the filter; nothing for no classes."""
    return [sys.executable, "-I", "-S", str(Path(__file__)), ",".join(classes)] if classes else []


def compile_filter(classes: list[str], machine: str) -> bytes:
    """Return the BPF program that answers the calls of `classes` with errno 0 and allows all others.

    Raises:
        KeyError: an unknown class, or a machine without a table.
    """
    numbers = sorted(number for name in classes for number in _CALLS[machine][name].values())
    code = [
        (_LOAD_WORD, 0, 0, _ARCH_OFFSET),
        (
            _JUMP_IF_EQUAL,
            0,
            len(numbers) + 1,
            _ARCHITECTURES[machine],
        ),  # another ABI's numbers mean other calls
        (_LOAD_WORD, 0, 0, _NUMBER_OFFSET),
        *((_JUMP_IF_EQUAL, len(numbers) - i, 0, number) for i, number in enumerate(numbers)),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _ERRNO_0),
    ]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


def install(program: bytes) -> None:
    """Put this process, and everything that it will start, under the filter.

    Raises:
        OSError: the kernel refuses (built without seccomp, or forbidden).
    """
    buffer = ctypes.create_string_buffer(program, len(program))
    pointer = struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(
        _PR_SET_SECCOMP, _MODE_FILTER, pointer, 0, 0
    ):
        raise OSError(ctypes.get_errno(), "the kernel refused the seccomp filter")


if __name__ == "__main__":
    install(compile_filter(sys.argv[1].split(","), os.uname().machine))
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606 - the command that the caller gave us
