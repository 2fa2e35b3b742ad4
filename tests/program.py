"""The program for tests that run it often: a process that has everything imported, and forks for each command.

Reading the modules takes a second of CPU, more than most commands do. Each command has a process, a working directory,
environment, arguments and files of its own. Not its own are the order of hashes (some tests vary `PYTHONHASHSEED` for
that), and what is imported when: tests of start-up start an interpreter.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def kvmdecl(
    *args: str, cwd: Path, env: Mapping[str, str], timeout: float = 100
) -> subprocess.CompletedProcess[str]:
    """Run `kvmdecl ARGS` to its end, as `python -m kvmdecl` would.

    Raises:
        subprocess.TimeoutExpired: it took longer, and was killed.
    """
    server = _server()
    assert server.stdin is not None
    assert server.stdout is not None
    with tempfile.TemporaryDirectory() as folder:
        files = [str(Path(folder) / name) for name in ("out", "err")]
        ask = {"args": args, "cwd": str(cwd), "env": dict(env), "files": files}
        server.stdin.write(json.dumps(ask).encode() + b"\n")
        server.stdin.flush()
        pid = int(server.stdout.readline())
        ended, _, _ = select.select([server.stdout], [], [], timeout)
        if not ended:
            os.kill(pid, signal.SIGKILL)
        code = int(server.stdout.readline())
        out, err = (Path(file).read_text() for file in files)
    if not ended:
        raise subprocess.TimeoutExpired(["kvmdecl", *args], timeout, out, err)
    return subprocess.CompletedProcess(["kvmdecl", *args], code, out, err)


@cache
def _server() -> subprocess.Popen[bytes]:
    env = {**os.environ, "NO_COLOR": "1", "COLUMNS": "120"}  # some of it is looked at while modules are read
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.program"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, env=env,
        cwd=Path(__file__).parents[1],
    )  # fmt: skip
    atexit.register(_end, server)
    return server


def _end(server: subprocess.Popen[bytes]) -> None:
    assert server.stdin is not None
    server.stdin.close()
    server.wait()


def _serve() -> None:
    _read_modules()
    for line in sys.stdin:
        ask = json.loads(line)
        pid = os.fork()
        if not pid:
            _become(ask["args"], ask["cwd"], ask["env"], ask["files"])
        _say(pid)
        _say(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def _say(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def _read_modules() -> None:
    import importlib
    import pkgutil

    import kvmdecl as package

    for module in pkgutil.walk_packages(package.__path__, "kvmdecl."):
        if module.name not in {"kvmdecl.testing", "kvmdecl.lab.power"} and "__main__" not in module.name:
            importlib.import_module(module.name)
    for name in (
        "libvirt",
        "lxml.etree",
        "networkx",
        "ruamel.yaml",
        "kvmdecl_numa.solver",
        "kvmdecl_spread.solver",
    ):
        importlib.import_module(name)


def _become(args: Sequence[str], cwd: str, env: Mapping[str, str], files: Sequence[str]) -> None:
    """Be the program, and end as it does."""
    from kvmdecl.__main__ import main

    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = ["kvmdecl", *args]
    nowhere = os.open(os.devnull, os.O_RDONLY)
    out, err = (os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600) for file in files)
    for fd, mine in enumerate((nowhere, out, err)):
        os.dup2(mine, fd)
        os.close(mine)
    try:
        main()  # which ends the process, but for answers to `--help`
    except Exception as error:  # noqa: BLE001 - what Python would do
        sys.excepthook(type(error), error, error.__traceback__)
        os._exit(1)
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    _serve()
