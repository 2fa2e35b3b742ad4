"""The live CIB: read through cibadmin on one of the hosts, and changed by patches that fit no other version of it."""

from __future__ import annotations

import tempfile
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lxml import etree

from kvmdecl.api import (
    Configuration,
    Diagnostic,
    NoAnswer,
    Severity,
    TaskFailed,
    Unknown,
    safe_text,
)
from kvmdecl_pacemaker.model import Ha
from kvmdecl_pacemaker.remote import RemoteShell, forget, is_remote, remote_shell, remote_way
from kvmdecl_pacemaker.simulate import run_tool

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from kvmdecl.api import Reach, ResolvedCluster, Said, Shell
    from kvmdecl_pacemaker.cib import Element

_MOST_ASKED = 4
_STALE = 103
"""Exit code of cibadmin for a patch to another version (CRM_EX_OLD)."""
_NOT_CONNECTED = (102, 127)
"""Exit codes of cibadmin without a cluster (CRM_EX_DISCONNECT), and of a host that does not even have it."""
_SETTLED_WITHIN = 900
"""Seconds that a cluster may take for what follows from a change: guests are shut down, moved and started."""


def read_cib(text: str) -> Element:
    """A CIB from what a host said.

    Raises:
        NoAnswer: it is none.
    """
    parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True, remove_blank_text=True)
    try:
        root = etree.fromstring(text.encode(), parser)
    except etree.XMLSyntaxError:
        raise NoAnswer("what cibadmin said is no XML") from None
    if root.tag != "cib" or root.find("configuration") is None or "<!DOCTYPE" in text[:1000]:
        raise NoAnswer("what cibadmin said is no CIB")
    return root


def shells(cluster: ResolvedCluster, reach: Reach, hosts: Iterable[str]) -> Iterator[tuple[str, Shell]]:
    """The hosts that can be asked, as `ha.control`, `ha.remote` or their URIs say."""
    control = control_of(cluster)
    yield from shells_by(control, reach, hosts) if control is not None else ()


def control_of(cluster: ResolvedCluster) -> str | None:
    """How hosts are reached, as a task says it: empty for by their URIs, None if that is not known."""
    ha = cluster.sections.get("ha")
    if not isinstance(ha, Ha):
        return ""
    return (ha.control or "") if ha.remote is None else remote_way(ha.remote, cluster.hosts)


def shells_by(control: str, reach: Reach, hosts: Iterable[str]) -> Iterator[tuple[str, Shell]]:
    """The same, from what `control_of` said."""
    for host in hosts:
        way = control.replace("{name}", host)
        shell = remote_shell(host, control, reach) if is_remote(control) else reach.shell(host, way)
        if shell is not None:
            yield host, shell


def observe(cluster: ResolvedCluster, reach: Reach, up: Collection[str]) -> Configuration | Unknown:
    """The CIB of the first host that has quorum; a host without might know an old one."""
    known = list(shells(cluster, reach, (host.name for host in cluster.hosts)))
    if not known:
        return Unknown(no_way(cluster), asked=False)
    there = [(host, shell) for host, shell in known if host in up]
    found = first_answer(there[:_MOST_ASKED])
    if isinstance(found, Configuration):
        return found
    # A cluster that is yet to be begun is no reason to call a plan incomplete, if that is certain.
    begun = not found.runs_nowhere or len(there) < len(cluster.hosts) or len(there) > _MOST_ASKED
    return Unknown(_not_read(cluster, found.why), asked=begun)


@dataclass(frozen=True, slots=True)
class Silence:
    """Why no host told a CIB. `runs_nowhere`: all of them were asked, and Pacemaker runs on none."""

    why: str
    runs_nowhere: bool


class _NotRunning(NoAnswer):
    """The host answered, and Pacemaker does not run on it."""


def first_answer(there: Iterable[tuple[str, Shell]]) -> Configuration | Silence:
    """The CIB of the first host that has quorum, or why there is none to have."""
    why, runs_nowhere = [], True
    for host, shell in there:
        try:
            text = query(shell)
            if read_cib(text).get("have-quorum") == "1":
                return Configuration(text, host)
            why.append(f"{host} has no quorum")
            runs_nowhere = False
        except NoAnswer as error:
            why.append(safe_text(f"{host}: {error}" if isinstance(error, _NotRunning) else str(error)))
            runs_nowhere = runs_nowhere and isinstance(error, _NotRunning)
    return Silence("; ".join(why) or "no host answers", runs_nowhere and bool(why))


def query(shell: Shell) -> str:
    """The whole CIB as text.

    Raises:
        NoAnswer: Pacemaker does not answer there.
    """
    said = shell.run(["cibadmin", "--query"])
    if said.code in _NOT_CONNECTED:
        raise _NotRunning("Pacemaker does not run")
    if said.code:
        raise NoAnswer(f"cibadmin: {_last_line(said)}")
    return said.out


def patch(shell: Shell, before: Element, after: Element) -> bool:
    """Change the CIB from one version to the next; False if it is another one by now, and nothing was changed.

    Raises:
        NoAnswer: as `query`.
        TaskFailed: `ha.not-applied`.
    """
    new = deepcopy(after)
    new.set("epoch", str(int(before.get("epoch", "0")) + 1))
    new.set("num_updates", "0")
    with tempfile.TemporaryDirectory(prefix="kvmdecl-") as folder:
        old_file, new_file = Path(folder) / "old.xml", Path(folder) / "new.xml"
        old_file.write_bytes(etree.tostring(before))
        new_file.write_bytes(etree.tostring(new))
        made = run_tool(["crm_diff", "--original", str(old_file), "--new", str(new_file)], Path(folder))
    said = shell.run(["cibadmin", "--patch", "--xml-pipe"], given=made.stdout, timeout=60)
    if said.code == _STALE:
        return False
    if said.code:
        raise TaskFailed(
            Diagnostic(
                "ha.not-applied",
                f"Pacemaker refuses the change of its configuration: {_last_line(said)}",
                cause="Nothing was changed.",
                hint="`crm_verify --live-check --verbose` on a host tells what is wrong with what there is",
            )
        )
    return True


def settle(shell: Shell) -> bool:
    """Wait until there is nothing left to do for the cluster; whether it came to that.

    Raises:
        NoAnswer: as `query`.
    """
    argv = ["crm_resource", "--wait", f"--timeout={_SETTLED_WITHIN}s"]
    return shell.run(argv, timeout=_SETTLED_WITHIN + 20).code == 0


def refresh(shell: Shell, resource: str) -> None:
    """Have the cluster forget what it knows of a resource, and look anew whether it runs.

    Raises:
        NoAnswer: as `query`.
        TaskFailed: `ha.not-applied`.
    """
    argv = ["crm_resource", "--refresh", "--resource", resource]
    said = shell.run(forget(resource) if isinstance(shell, RemoteShell) else argv, timeout=120)
    if said.code:
        raise TaskFailed(
            Diagnostic(
                "ha.not-applied",
                f"the cluster does not look anew at {resource}: {_last_line(said)}",
                cause="A change is half made: guests go on, and Pacemaker leaves them alone meanwhile.",
                hint="`kvmdecl apply` again goes on with it",
            )
        )


def _last_line(said: Said) -> str:
    lines = [line for line in said.err.splitlines() if line.strip()] or ["it gives no reason"]
    return safe_text(" ".join(lines[-1].split()))[:300]


def no_way(cluster: ResolvedCluster) -> Diagnostic:
    """The diagnostic for hosts of which it is not known how programs run there."""
    return Diagnostic(
        "ha.no-way",
        "Pacemaker's configuration is left alone: it is not said how its hosts are reached",
        cluster.origin.find("ha.control") or cluster.origin.find("ha.remote"),
        "Their URIs lead to libvirt alone, or are not alike.",
        'add `control: "root@{name}.example"` to `ha`, for SSH, or `remote` with an `address`, or put there'
        " yourself what `kvmdecl ha emit` writes",
        severity=Severity.WARNING,
    )


def _not_read(cluster: ResolvedCluster, why: str) -> Diagnostic:
    return Diagnostic(
        "ha.not-read",
        f"Pacemaker's configuration is unknown: {why}",
        cluster.origin.find("ha"),
        "What is not known is not changed, and vms of the cluster manager stay as they are.",
        "start corosync and Pacemaker with what `kvmdecl ha emit` writes, or look why none has quorum",
        severity=Severity.WARNING,
    )
