"""What crm_mon says of a cluster, as values."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from lxml import etree

from kvmdecl.api import (
    Diagnostic,
    Failure,
    ManagerStatus,
    MemberState,
    NoAnswer,
    Rejected,
    ResourceState,
    safe_text,
)
from kvmdecl_pacemaker import live
from kvmdecl_pacemaker.ours import GUEST

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Literal

    from kvmdecl.api import Reach, ResolvedCluster, Shell, Span
    from kvmdecl_pacemaker.cib import Element

_ARGV = ("crm_mon", "--one-shot", "--output-as=xml", "--inactive")
_YES = "true"


def status(cluster: ResolvedCluster, reach: Reach) -> ManagerStatus:
    """How a cluster is, as one of its hosts sees it: one with quorum if there is any.

    Raises:
        Rejected: `ha.no-way`, `ha.not-read`.
    """
    known = list(live.shells(cluster, reach, (host.name for host in cluster.hosts)))
    if not known:
        raise Rejected([live.no_way(cluster)])
    return status_by(cluster.name, known, cluster.origin.find("ha"))


def status_by(cluster: str, known: Iterable[tuple[str, Shell]], at: Span | None = None) -> ManagerStatus:
    """The same, of a cluster by its name and the shells of its hosts.

    Raises:
        Rejected: `ha.not-read`.
    """
    seen, why = [], []
    for host, shell in known:
        try:
            said = shell.run(_ARGV)
            if said.code == 0:
                seen.append(read_status(said.out, cluster, host))
            else:
                why.append(f"{host}: crm_mon ended with {said.code}")
        except NoAnswer as error:
            why.append(safe_text(str(error)))
        if seen and seen[-1].quorum:
            return seen[-1]
    if not seen:
        raise Rejected([_not_read(why or ["nobody can be asked"], at)])
    return seen[0]


def read_status(text: str, cluster: str, host: str) -> ManagerStatus:
    """What crm_mon's XML says.

    Raises:
        NoAnswer: it is none.
    """
    parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True)
    try:
        root = etree.fromstring(text.encode(), parser)
    except etree.XMLSyntaxError:
        raise NoAnswer("what crm_mon said is no XML") from None
    if root.find("summary") is None:
        raise NoAnswer(f"{host}: {safe_text(root.findtext('status/errors/error', 'no answer'))}")
    chief = root.find("summary/current_dc")
    version = safe_text(chief.get("version", "") if chief is not None else "").partition("-")[0]
    return ManagerStatus(
        f"Pacemaker {version}".strip(),
        cluster,
        host,
        chief is not None and chief.get("with_quorum") == _YES,
        tuple(_member(node) for node in root.iterfind("nodes/node")),
        tuple(sorted(_resources(root), key=lambda each: (_KINDS.index(each.kind), each.name))),
        tuple(_failures(root)),
    )


_KINDS = ("vm", "service", "fencing")


def _member(node: Element) -> MemberState:
    words = [word for word in ("unclean", "pending", "maintenance", "standby") if node.get(word) == _YES]
    state = words[0] if words else "online"
    if node.get("online") != _YES:
        state = "unclean" if "unclean" in words else "offline"
    return MemberState(safe_text(node.get("name", "")), state, node.get("is_dc") == _YES)


def _resources(root: Element) -> Iterator[ResourceState]:
    """By name: of a clone all that it has."""
    found: defaultdict[str, list[Element]] = defaultdict(list)
    for resource in root.iterfind("resources//resource"):
        found[resource.get("id", "").partition(":")[0]].append(resource)
    for name, copies in found.items():
        agent = copies[0].get("resource_agent", "")
        kind: Literal["vm", "fencing", "service"] = "service"
        if agent.startswith("stonith:"):
            kind = "fencing"
        elif agent.endswith(f":{GUEST}"):
            kind = "vm"
        hosts = {safe_text(node.get("name", "")) for copy in copies for node in copy.iterfind("node")}
        yield ResourceState(
            safe_text(name), kind, _state(copies, hosts), tuple(sorted(hosts)), _remarks(copies)
        )


def _state(copies: list[Element], hosts: set[str]) -> str:
    if hosts:
        pending = next((safe_text(copy.get("pending", "")) for copy in copies if copy.get("pending")), "")
        return pending.lower() or "running"
    return "stopped" if any(copy.get("target_role") == "Stopped" for copy in copies) else "down"


def _remarks(copies: list[Element]) -> tuple[str, ...]:
    found = {"unmanaged" for copy in copies if copy.get("managed") == "false"}
    for word in ("failed", "blocked", "orphaned", "maintenance"):
        found |= {word for copy in copies if copy.get(word) == _YES}
    return tuple(sorted(found))


def _failures(root: Element) -> Iterator[Failure]:
    for failed in root.iterfind("failures/failure"):
        reason = failed.get("exitreason") or failed.get("exitstatus") or ""
        operation = failed.get("task") or failed.get("op_key", "")
        resource = failed.get("op_key", "").rpartition(f"_{operation}_")[0] or failed.get("op_key", "")
        yield Failure(
            safe_text(resource),
            safe_text(failed.get("node", "")),
            safe_text(f"{operation}: {reason}"),
            safe_text(failed.get("last-rc-change", "")),
        )
    for event in root.iterfind("fence_history/fence_event"):
        if event.get("status") in {"failed", "pending"}:
            what = f"{event.get('action')} is {event.get('status')}"
            yield Failure(
                "fencing",
                safe_text(event.get("target", "")),
                safe_text(what),
                safe_text(event.get("completed", "")),
            )


def _not_read(why: list[str], at: Span | None) -> Diagnostic:
    return Diagnostic(
        "ha.not-read",
        f"no host tells how the cluster is: {'; '.join(why)}",
        at,
        "Either Pacemaker runs on none of them, or none is reached.",
        "`systemctl status pacemaker` on a host tells more",
    )
