"""A CIB's status section, written here instead of observed: nodes that are up, and what runs where on them.

Pacemaker's scheduler answers what-if questions about a status. Letting crm_simulate find one itself, by simulating how
an empty cluster starts, takes minutes where nodes times resources are many: each is looked for on each node.
"""

from __future__ import annotations

import hashlib
import re
from copy import deepcopy
from typing import TYPE_CHECKING

from lxml import etree

from kvmdecl_pacemaker.cib import Element

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

DEFAULT_TIMEOUT = "20s"
"""Of an operation for which the CIB says none, whatever the agent advises (Pacemaker's `lib/common/options.c`)."""
_TRANSITION = "1:0:0:00000000-0000-0000-0000-000000000000"
_DURATION = re.compile(r"\s*(\d+)\s*([a-z]*)\s*", re.ASCII)
_UNITS = {
    "ms": 1, "msec": 1, "": 1000, "s": 1000, "sec": 1000, "m": 60_000, "min": 60_000, "h": 3_600_000, "hr": 3_600_000
}  # fmt: skip
_ESCAPES = str.maketrans(
    {
        "&": "&amp;",
        "<": "&lt;",
        ">": "&gt;",
        '"': "&quot;",
        "'": "&apos;",
        "\t": "    ",
        "\n": r"\n",
        "\r": r"\r",
    }
)
"""How Pacemaker writes text into attributes before it counts (`lib/common/xml.c`); its own way, not XML's."""


def with_status(cib: Element, running: Mapping[str, Collection[str]]) -> Element:
    """A copy of a CIB in which all nodes are up, with quorum, and each primitive runs on the nodes given with its id.

    A clone is known by its primitive. What is not named runs nowhere; the copy tells Pacemaker not to look for it.
    """
    whole = deepcopy(cib)
    for old in whole.findall("status"):
        whole.remove(old)
    _without_probes(whole)
    status = etree.SubElement(whole, "status")
    nodes = {node.get("uname", ""): node.get("id", "") for node in whole.iterfind("configuration/nodes/node")}
    whole.set("have-quorum", "1")
    whole.set("dc-uuid", next(iter(nodes.values()), ""))
    up = {"in_ccm": "true", "crmd": "online", "join": "member", "expected": "member"}
    executors = {}
    for name, number in nodes.items():
        state = etree.SubElement(status, "node_state", {"id": number, "uname": name, **up})
        executors[name] = etree.SubElement(etree.SubElement(state, "lrm", id=number), "lrm_resources")
    for primitive in primitives_of(whole):
        there = running.get(primitive.get("id", ""), ())
        operations = operations_of(whole, primitive) if there else ()
        for name in sorted(there):
            _write(executors[name], primitive, operations, whole.get("crm_feature_set", ""))
    return whole


def silenced(cib: Element, lost: Collection[str]) -> Element:
    """A copy of a CIB with a status, in which these nodes fell silent just now and are not fenced yet."""
    whole = deepcopy(cib)
    for state in whole.iterfind("status/node_state"):
        if state.get("uname") in lost:
            state.set("in_ccm", "false")
        else:
            whole.set("dc-uuid", state.get("id", ""))
    return whole


def primitives_of(cib: Element) -> Iterator[Element]:
    """All primitives, those of groups and clones too."""
    yield from cib.iterfind("configuration/resources//primitive")


def cloned(cib: Element) -> list[str]:
    """Ids of the primitives that run on all nodes."""
    return [each.get("id", "") for each in cib.iterfind("configuration/resources/clone//primitive")]


def nodes_of(cib: Element) -> list[str]:
    """Names of the nodes, in the CIB's order."""
    return [node.get("uname", "") for node in cib.iterfind("configuration/nodes/node")]


def milliseconds(text: str) -> int:
    """A duration as Pacemaker writes it: seconds, or a number with `ms`, `s`, `min` or `h`; 0 for anything else."""
    found = _DURATION.fullmatch(text.lower())
    return int(found[1]) * _UNITS.get(found[2], 0) if found else 0


def operation_digest(parameters: Mapping[str, str], timeout: int | None = None) -> str:
    """What Pacemaker compares to know whether a resource's definition changed since an operation ran on it.

    Args:
        parameters: instance attributes, of the resource and the operation.
        timeout: in ms, of a recurring operation; a change of any other does nothing.
    """
    counted = parameters if timeout is None else {**parameters, "CRM_meta_timeout": str(timeout)}
    written = "".join(f' {name}="{value.translate(_ESCAPES)}"' for name, value in sorted(counted.items()))
    return hashlib.md5(f" <parameters{written}/>\n".encode(), usedforsecurity=False).hexdigest()


def _without_probes(cib: Element) -> None:
    name = "enable-startup-probes"
    options = cib.find("configuration/crm_config/cluster_property_set")
    if options is None:
        config = cib.find("configuration/crm_config")
        assert config is not None  # noqa: S101 - every CIB has one, by its schema
        options = etree.SubElement(config, "cluster_property_set", id="kvmdecl-what-if")
    for old in options.findall(f"nvpair[@name='{name}']"):
        options.remove(old)
    etree.SubElement(options, "nvpair", id="kvmdecl-what-if-no-probes", name=name, value="false")


def operations_of(cib: Element, primitive: Element) -> tuple[tuple[str, int, str], ...]:
    """What ran where a primitive runs, its start and its recurring operations: name, interval in ms, and digest."""
    # What the primitive says itself outweighs the template that it is written with.
    template = [
        each
        for each in cib.iterfind("configuration/resources/template")
        if each.get("id") == primitive.get("template")
    ]
    parameters = _values("instance_attributes", primitive, *template)
    default = _values("meta_attributes", *cib.iterfind("configuration/op_defaults")).get(
        "timeout", DEFAULT_TIMEOUT
    )
    written = {
        (op.get("name", ""), milliseconds(op.get("interval", "0"))): op
        for part in (*template, primitive)
        for op in part.iterfind("operations/op")
        if op.get("enabled", "true") == "true" and op.get("role", "Started") == "Started"
    }
    found = [("start", 0, operation_digest(parameters))]
    for (name, interval), op in written.items():
        if interval:
            timeout = op.get("timeout") or _values("meta_attributes", op).get("timeout", default)
            own = {**parameters, **_values("instance_attributes", op)}
            found.append((name, interval, operation_digest(own, milliseconds(timeout))))
    return tuple(found)


def _values(kind: str, *owners: Element) -> dict[str, str]:
    """Names and values of all sets of one kind; the first that has a name wins, as in Pacemaker."""
    pairs = [pair for owner in owners for pair in owner.iterfind(f"{kind}/nvpair")]
    return {pair.get("name", ""): pair.get("value", "") for pair in reversed(pairs)}


def _write(
    executor: Element, primitive: Element, operations: tuple[tuple[str, int, str], ...], features: str
) -> None:
    """Write what a node remembers of a primitive that runs there: each operation and its success."""
    name = primitive.get("id", "")
    kind = {key: value for key in ("class", "provider", "type") if (value := _kind(primitive, key))}
    entry = etree.SubElement(executor, "lrm_resource", {"id": name, **kind})
    for call, (operation, interval, digest) in enumerate(operations, 1):
        etree.SubElement(
            entry,
            "lrm_rsc_op",
            {
                "id": f"{name}_{operation}_{interval}" if interval else f"{name}_last_0",
                "operation_key": f"{name}_{operation}_{interval}",
                "operation": operation,
                "crm_feature_set": features,
                "transition-key": _TRANSITION,
                "transition-magic": f"0:0;{_TRANSITION}",
                "call-id": str(call),
                "rc-code": "0",
                "op-status": "0",
                "interval": str(interval),
                "op-digest": digest,
            },
        )


def _kind(primitive: Element, key: str) -> str:
    """The class, provider or type of a primitive, which may be its template's."""
    if not primitive.get("template"):
        return primitive.get(key, "")
    resources = primitive.getroottree().getroot().iterfind("configuration/resources/template")
    return next((each.get(key, "") for each in resources if each.get("id") == primitive.get("template")), "")
