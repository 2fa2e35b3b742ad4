"""Snapshots of hosts in files: what `kvmdecl facts` writes and `plan --facts` reads in the place of hosts.

One file for each host, `DIR/HOST.json`, and for each cluster manager, `DIR/managers/NAME.json`: sorted, indented, XML
as a list of lines, so that it is reviewed and compared like source. Secrets are never written.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import cache
from typing import TYPE_CHECKING, Any

from kvmdecl.diagnostics import Diagnostic, Rejected
from kvmdecl.hosts.errors import bad_answer
from kvmdecl.libvirt_xml.redact import redact
from kvmdecl.libvirt_xml.safe import BadXml
from kvmdecl.manager import Configuration, NoAnswer
from kvmdecl.state import HostSnapshot, Unreachable
from kvmdecl.text import quoted, safe_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from pydantic import TypeAdapter

    from kvmdecl.hosts.protocol import Scope
    from kvmdecl.manager import Manager
    from kvmdecl.state import Observation

FORMAT = "kvmdecl/facts/v1"
MANAGER_FORMAT = "kvmdecl/manager-facts/v1"
MANAGERS = "managers"
"""Folder of the files of cluster managers, beside those of hosts."""
MAX_FILE = 256 * 1024 * 1024
_LONGEST_REASON = 300
_XML_KEYS = ("xml", "live_xml")


class SnapshotReader:
    """Reads hosts from files of a directory. A HostReader; a host without a file is unreachable."""

    def __init__(self, directory: Path, hosts: Iterable[str]) -> None:
        self._snapshots = load_snapshots(directory)
        self._hosts = tuple(hosts)

    def observe(self, scope: Scope) -> Mapping[str, Observation]:
        """Return all snapshots. They hold what was in scope when they were taken, whatever `scope` says."""
        return {host: self._snapshots.get(host) or Unreachable(host, _no_file(host)) for host in self._hosts}


def render_snapshot(snapshot: HostSnapshot) -> str:
    """Return the text of a snapshot's file, without secrets.

    Raises:
        Rejected: `host.bad-answer`, when there is no XML where XML belongs.
    """
    try:
        document = {"format": FORMAT, **_with_lines(asdict(snapshot))}
    except BadXml as error:
        raise Rejected([bad_answer(snapshot.host, str(error))]) from error
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def write_snapshots(directory: Path, snapshots: Iterable[HostSnapshot]) -> None:
    """Write a file for each snapshot, whole or not at all; nobody else may read it.

    Raises:
        OSError: the directory cannot be written to.
        Rejected: as `render_snapshot`.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for snapshot in snapshots:
        _write(directory / f"{snapshot.host}.json", render_snapshot(snapshot))


def write_manager(directory: Path, name: str, manager: Manager, observed: Configuration) -> Path:
    """Write a file for what a cluster manager goes by, as `write_snapshots`; returns which.

    Raises:
        OSError: the directory cannot be written to.
    """
    recorded = manager.recorded(observed)
    document = {
        "format": MANAGER_FORMAT,
        "host": recorded.host,
        "configuration": recorded.text.split("\n"),
    }
    (directory / MANAGERS).mkdir(parents=True, exist_ok=True)
    path = directory / MANAGERS / f"{name}.json"
    _write(path, json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    return path


def load_manager(directory: Path, name: str, manager: Manager) -> Configuration | None:
    """What a cluster manager went by when its file was written, None if there is no such file.

    Raises:
        Rejected: `facts.bad-file`.
    """
    path = directory / MANAGERS / f"{name}.json"
    if not path.exists():
        return None
    try:
        document = _document(path, MANAGER_FORMAT)
        text = "\n".join(map(str, document["configuration"]))
        return manager.recorded(Configuration(text, safe_text(str(document["host"]))))
    except (OSError, ValueError, TypeError, KeyError, RecursionError, NoAnswer) as error:
        raise Rejected([_bad_file(path, str(error))]) from error


def _write(path: Path, text: str) -> None:
    unfinished = path.with_name(f".{path.name}.new")
    unfinished.unlink(missing_ok=True)
    unfinished.touch(mode=0o600, exist_ok=False)
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)


def load_snapshots(directory: Path) -> dict[str, HostSnapshot]:
    """Read all snapshots of a directory, by host.

    Raises:
        Rejected: `facts.not-found`, `facts.bad-file`; all bad files at once.
    """
    snapshots: dict[str, HostSnapshot] = {}
    bad: list[Diagnostic] = []
    for path in _files(directory):
        try:
            snapshot = _load(path)
        except (OSError, ValueError, RecursionError) as error:
            bad.append(_bad_file(path, str(error)))
        else:
            snapshots[snapshot.host] = snapshot
    if bad:
        raise Rejected(bad)
    return snapshots


def _files(directory: Path) -> list[Path]:
    paths = sorted(directory.glob("*.json")) if directory.is_dir() else []
    if paths:
        return paths
    raise Rejected(
        [
            Diagnostic(
                code="facts.not-found",
                summary=f"there are no facts in {safe_text(str(directory))}",
                cause="Facts are files named HOST.json.",
                hint="write them with `kvmdecl facts CLUSTER --out DIR`",
            )
        ]
    )


@cache
def _host_snapshot() -> TypeAdapter[HostSnapshot]:
    """What a file is checked against: made once, which takes as long as to read a file."""
    from pydantic import TypeAdapter

    return TypeAdapter(HostSnapshot)


def _load(path: Path) -> HostSnapshot:
    """Every value is checked against its type. Raises ValueError, of which pydantic's error is one."""
    document = _document(path, FORMAT)
    snapshot = _host_snapshot().validate_python(document)
    if snapshot.host != path.stem:
        raise ValueError(f"it is about the host {quoted(snapshot.host)}; a file is named after its host")
    return snapshot


def _document(path: Path, format_: str) -> dict[str, Any]:
    """What is in a file of this format. Raises ValueError."""
    if not path.is_file():  # reading a pipe or a device could last for ever
        raise ValueError("it is not a plain file")
    if path.stat().st_size > MAX_FILE:
        raise ValueError(f"it has more than {MAX_FILE:,} bytes")
    document = json.loads(path.read_text(encoding="utf-8"), object_hook=_without_lines)
    if not isinstance(document, dict) or document.pop("format", None) != format_:
        raise ValueError(f"its format is not {format_}")
    return document


def _with_lines(value: Any) -> Any:  # noqa: ANN401 - any part of a JSON document
    """XML as lines, secrets removed."""
    if isinstance(value, dict):
        return {
            key: redact(part).split("\n") if key in _XML_KEYS and part is not None else _with_lines(part)
            for key, part in value.items()
        }
    return [_with_lines(part) for part in value] if isinstance(value, (list, tuple)) else value


def _without_lines(document: dict[str, Any]) -> dict[str, Any]:
    """XML as text again, for each object of a JSON document."""
    for key in _XML_KEYS:
        if isinstance(lines := document.get(key), list):
            document[key] = "\n".join(map(str, lines))
    return document


def _bad_file(path: Path, why: str) -> Diagnostic:
    reason = why if len(why) <= _LONGEST_REASON else why[:_LONGEST_REASON] + "..."
    return Diagnostic(
        code="facts.bad-file",
        summary=f"{safe_text(str(path))} cannot be read: {safe_text(reason)}",
        hint="write it again with `kvmdecl facts`, or take it away",
    )


def _no_file(host: str) -> Diagnostic:
    return Diagnostic(
        code="facts.no-host",
        summary=f"{host}: there is no file of facts for this host",
        cause="It is treated as a host that does not answer.",
        hint=f"write it with `kvmdecl facts CLUSTER --out DIR --host {host}`",
        subject=f"host/{host}",
    )
