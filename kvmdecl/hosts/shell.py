"""Programs on hosts, over SSH or on this machine. A shell reads nothing of ours but at the other end of SSH."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kvmdecl.manager import NoAnswer, Said
from kvmdecl.text import safe_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kvmdecl.manager import Shell
    from kvmdecl.uri import HostUri

LOCAL = "local"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_TARGET = re.compile(r"(?:([A-Za-z0-9_][A-Za-z0-9_.-]{0,63})@)?([A-Za-z0-9][A-Za-z0-9_.:-]{0,252})", re.ASCII)
_SSH = ("ssh", "-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=8", "-o", "StrictHostKeyChecking=yes")
_NOT_REACHED = 255  # of ssh
_OPTIONS = {"keyfile": ("-i", "{}"), "known_hosts": ("-o", "UserKnownHostsFile={}")}
"""What a URI says to libvirt's ways of SSH, as words of the program."""


@dataclass(frozen=True, slots=True)
class CommandShell:
    """A host that a command leads to: `wrap` makes of a program's command line the one that runs it there.

    `variables` are of the environment of the command, where no list of processes shows them.
    """

    host: str
    wrap: Callable[[Sequence[str]], Sequence[str]]
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)

    def run(self, argv: Sequence[str], *, given: str = "", timeout: float = 20.0) -> Said:
        """As `kvmdecl.manager.Shell`."""
        command = self.wrap(["env", "LC_ALL=C.UTF-8", f"PATH={_PATH}", *argv])
        program = shutil.which(command[0]) or shutil.which(command[0], path=_PATH) or command[0]
        try:
            done = subprocess.run(
                [program, *command[1:]],
                input=given,
                env={**os.environ, **self.variables},
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=timeout,
                check=False,
                start_new_session=True,  # nobody is asked for a password, and Ctrl-C is ours alone
            )
        except subprocess.TimeoutExpired:
            raise NoAnswer(f"{self.host}: {argv[0]} did not end within {timeout:.0f} s") from None
        except OSError as error:
            raise NoAnswer(f"{self.host}: {safe_text(error.strerror or str(error))}") from None
        if done.returncode == _NOT_REACHED:
            raise NoAnswer(f"{self.host}: {_line(done.stderr) or 'no connection'}")
        return Said(done.returncode, done.stdout, done.stderr)


@dataclass(frozen=True, slots=True)
class UriReach:
    """Leads to hosts as their URIs do; where one leads to libvirt alone, as `otherwise` says (`root@{name}`)."""

    uris: Mapping[str, HostUri]
    otherwise: str = ""

    def shell(self, host: str, way: str = "") -> Shell | None:
        """As `kvmdecl.manager.Reach`."""
        uri = self.uris.get(host)
        if way == LOCAL or (not way and uri is not None and uri.transport in {"local", "unix"}):
            return CommandShell(host, list)
        if way:
            return _over_ssh(host, way)
        if uri is None or uri.transport not in {"ssh", "libssh2"}:
            return _over_ssh(host, self.otherwise.replace("{name}", host)) if self.otherwise else None
        more = [word.format(value) for name, value in uri.parameters for word in _OPTIONS.get(name, ())]
        port = ["-p", str(uri.port)] if uri.port else []
        return _over_ssh(host, f"{uri.user}@{uri.host}" if uri.user else uri.host, (*port, *more))

    def here(self, host: str, variables: Mapping[str, str]) -> Shell | None:
        """As `kvmdecl.manager.Reach`."""
        return CommandShell(host, list, variables)


def _over_ssh(host: str, target: str, more: Sequence[str] = ()) -> Shell | None:
    if not _TARGET.fullmatch(target):
        return None
    command = (*_SSH, *more, "--", target)
    return CommandShell(host, lambda argv: [*command, shlex.join(argv)])


def _line(text: str) -> str:
    return safe_text(" ".join(text.split()))[:200]
