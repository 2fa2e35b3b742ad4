"""What Pacemaker itself says of a CIB: `crm_verify`, and the answers of its scheduler to what-if questions.

Its programs run here on files in a temporary directory, with this machine's Pacemaker; no cluster is contacted.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lxml import etree

from kvmdecl.api import Diagnostic, Rejected, safe_text
from kvmdecl_pacemaker.status import cloned, nodes_of, silenced, with_status

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from kvmdecl_pacemaker.cib import Element

TIMEOUT = 120.0
"""Seconds for one run of a program. 1000 vms on 32 nodes take 4."""
_AT_A_TIME = 2
_MOST_PASSES = 5
_MOST_MESSAGES = 5
_SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

Running = dict[str, frozenset[str]]
"""Ids of primitives, and the nodes on which each runs."""


@dataclass(frozen=True, slots=True)
class Action:
    """What the scheduler would do.

    Attributes:
        resource: id of a primitive, of whatever instance of a clone.
        action: as crm_simulate calls it: `start`, `stop`, `move`, `migrate`, `restart`, `recover`, ...
        source: the node that it leaves, empty if none.
        dest: the node that it is on afterwards, empty if none.
        blocked: it would, if something did not stand in the way.
        reason: why, or what does; may be empty.
    """

    resource: str
    action: str
    source: str
    dest: str
    blocked: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Settled:
    """A cluster at rest: its CIB, without a status, what runs where, and what the scheduler still would change."""

    cib: Element
    running: Running
    restless: tuple[Action, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What comes of the loss of some nodes: what runs where afterwards, and what was done."""

    lost: tuple[str, ...]
    running: Running
    actions: tuple[Action, ...]


def pacemaker() -> str:
    """Version of the Pacemaker that is asked.

    Raises:
        Rejected: `ha.missing-tool`.
    """
    with tempfile.TemporaryDirectory(prefix="kvmdecl-") as folder:
        said = run_tool(["crm_simulate", "--version"], Path(folder)).stdout
    return safe_text(said.partition("\n")[0].removeprefix("Pacemaker ").strip())


def verify(cib: Element) -> tuple[str, ...]:
    """What crm_verify has against a CIB that has a status, at most five sentences; nothing if it is valid.

    Raises:
        Rejected: `ha.missing-tool`, `ha.tool-failed`.
    """
    with tempfile.TemporaryDirectory(prefix="kvmdecl-") as folder:
        file = _write(Path(folder), cib)
        done = run_tool(["crm_verify", "--xml-file", file.name, "--verbose"], Path(folder))
    if done.returncode == 0:
        return ()
    lines = [line for line in done.stderr.splitlines() if not line.startswith("crm_verify:")]
    said = dict.fromkeys(" ".join(line.removeprefix(f"{file.name}:").split()) for line in lines)
    return tuple(safe_text(line) for line in said if line)[:_MOST_MESSAGES] or ("it gives no reason",)


def settle(cib: Element, running: Mapping[str, Collection[str]] | None = None) -> Settled:
    """Let a cluster with all nodes up come to rest: from a start, or where these primitives run on these nodes.

    Clones run on all nodes then.

    Raises:
        Rejected: `ha.missing-tool`, `ha.tool-failed`.
    """
    now: Running = {}
    if running is not None:
        now = dict.fromkeys(cloned(cib), frozenset(nodes_of(cib)))
        now |= {name: frozenset(nodes) for name, nodes in running.items()}
    for _ in range(_MOST_PASSES):
        actions = ask(with_status(cib, now))
        if not any(not action.blocked for action in actions):
            break
        now = after(now, actions)
    return Settled(cib, now, actions)


def lose(settled: Settled, losses: Iterable[Sequence[str]]) -> tuple[Outcome, ...]:
    """What comes of each loss of nodes that fall silent at once and are fenced while the others keep quorum.

    Raises:
        Rejected: `ha.missing-tool`, `ha.tool-failed`.
    """
    whole = with_status(settled.cib, settled.running)

    def one(lost: Sequence[str]) -> Outcome:
        actions = ask(silenced(whole, lost))
        there = {name: nodes - set(lost) for name, nodes in after(settled.running, actions).items()}
        return Outcome(tuple(lost), there, actions)

    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        return tuple(pool.map(one, losses))


def after(running: Mapping[str, frozenset[str]], actions: Iterable[Action]) -> Running:
    """What runs where once these actions are done."""
    there = dict(running)
    for action in actions:
        if not action.blocked:
            nodes = there.get(action.resource, frozenset())
            there[action.resource] = (nodes - {action.source}) | ({action.dest} - {""})
    return {name: nodes for name, nodes in there.items() if nodes}


def ask(cib: Element) -> tuple[Action, ...]:
    """What the scheduler would do about a CIB that has a status.

    Raises:
        Rejected: `ha.missing-tool`, `ha.tool-failed`.
    """
    with tempfile.TemporaryDirectory(prefix="kvmdecl-") as folder:
        file = _write(Path(folder), cib)
        argv = ["crm_simulate", "--xml-file", file.name, "--run", "--output-as=xml"]
        done = run_tool(argv, Path(folder))
    parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True)
    try:
        answer = etree.fromstring(done.stdout.encode(), parser)
    except etree.XMLSyntaxError:
        answer = etree.Element("none")
    if done.returncode or answer.find("actions") is None:
        raise _failed(argv, done.stderr or done.stdout)
    return tuple(_action(each) for each in answer.iterfind("actions/rsc_action"))


def _action(found: Element) -> Action:
    name, node = found.get("action", ""), found.get("node", "")
    source, dest = found.get("source", ""), found.get("dest", "")
    if node:
        source, dest = ("", node) if name == "start" else (node, "") if name == "stop" else (node, node)
    return Action(
        found.get("resource", "").partition(":")[0],
        name,
        source,
        dest,
        found.get("blocked") == "true",
        found.get("reason", ""),
    )


def _write(folder: Path, cib: Element) -> Path:
    file = folder / "cib.xml"
    file.write_bytes(etree.tostring(cib))
    return file


def run_tool(argv: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run one of Pacemaker's programs here, in a directory of its own.

    Raises:
        Rejected: `ha.missing-tool`, `ha.tool-failed` if it does not end.
    """
    program = shutil.which(argv[0]) or shutil.which(argv[0], path=_SEARCH_PATH)
    if program is None:
        raise _missing(argv[0])
    # It keeps copies in the directory of shadow CIBs, and asks nobody else's settings.
    environment = {
        "PATH": _SEARCH_PATH,
        "HOME": str(folder),
        "LC_ALL": "C.UTF-8",
        "CIB_shadow_dir": str(folder),
    }
    try:
        return subprocess.run(
            [program, *argv[1:]],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _failed(argv, f"it did not end within {TIMEOUT:.0f} s") from None


def _missing(program: str) -> Rejected:
    return Rejected(
        [
            Diagnostic(
                "ha.missing-tool",
                f"the program `{program}` is not installed",
                cause="What Pacemaker would do is asked of Pacemaker's own programs, on this machine.",
                hint="install the package pacemaker-cli-utils (Fedora: pacemaker-cli)",
            )
        ]
    )


def _failed(argv: Sequence[str], said: str) -> Rejected:
    lines = [safe_text(" ".join(line.split())) for line in said.splitlines() if line.strip()]
    return Rejected(
        [
            Diagnostic(
                "ha.tool-failed",
                f"`{argv[0]}` gave no answer: {'; '.join(lines[:_MOST_MESSAGES]) or 'it gives no reason'}",
                cause="Without it nothing is known of what Pacemaker would do.",
                hint="`kvmdecl ha emit` writes the configuration that it was asked about",
            )
        ]
    )
