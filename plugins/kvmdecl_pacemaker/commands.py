"""Configuration -> the same as commands of `pcs`, for people to read, and to run on one of the hosts.

The CIB is made in a file and loaded as a whole: between two commands a cluster would do what no version asks for.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from kvmdecl_pacemaker.cib import cib
from kvmdecl_pacemaker.fencing import WATCHDOG

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl_pacemaker.configuration import Colocation, Configuration, Corosync, Node, Pairs, Primitive

_INDENT = " \\\n    "


def commands(configuration: Configuration) -> str:
    """The whole script."""
    file = f"{configuration.corosync.cluster_name}.cib"
    changes = (f"pcs -f {shlex.quote(file)} {command}" for command in cib_commands(configuration))
    lines = [
        "#!/bin/sh",
        "# Written by `kvmdecl ha emit`: a cluster from hosts that are in none, or that have none of this.",
        "set -eu",
        "",
        "# -- corosync",
        *_setup(configuration),
        "",
        "# -- Pacemaker",
        f"pcs cluster cib {shlex.quote(file)}",
        *changes,
        f"pcs cluster cib-push {shlex.quote(file)}",
    ]
    if configuration.secrets:
        lines += ["", "# -- secrets, which are in no file but on the hosts"]
        lines += [f'cibsecret set {s.resource} {s.parameter} "{s.source}"' for s in configuration.secrets]
    return "\n".join(lines) + "\n"


def cib_commands(configuration: Configuration) -> Iterator[str]:
    """What fills a CIB, each as what follows `pcs -f FILE`."""
    # An option of this release that this pcs does not know is one all the same.
    yield _line("property set", *_said(configuration.options), "--force")
    yield _line("resource defaults update", *_said(configuration.defaults))
    for node in configuration.nodes:
        yield from _node(node)
    for device in configuration.devices:
        yield _create("stonith create", device.agent.removeprefix("stonith:"), device)
    for level in configuration.levels:
        forced = ["--force"] if WATCHDOG in level.devices else []
        yield _line("stonith level add", str(level.index), level.target, *level.devices, *forced)
    for clone in configuration.services:
        line = _create(
            "resource create", clone.primitive.agent, clone.primitive, "clone", clone.id, *_said(clone.meta)
        )
        yield line
    for resource in configuration.resources:
        yield _create("resource create", resource.agent, resource)
        if resource.utilization:
            yield _line("resource utilization", resource.id, *_said(resource.utilization))
    for rule in configuration.locations:
        # What begins with a dash is an option to pcs, unless this ends them.
        yield _line("constraint location add --", rule.id, rule.resource, rule.node, rule.score)
    for order in configuration.orders:
        first, then = (("set", *names, "sequential=false") for names in (order.first, order.then))
        yield _line("constraint order", *first, *then, "setoptions", f"id={order.id}", f"kind={order.kind}")
    for colocation in configuration.colocations:
        yield from _colocation(colocation)
    for tag in cib(configuration).iterfind("configuration/tags/tag"):
        yield _line("tag create", tag.get("id", ""), *(ref.get("id", "") for ref in tag))


def _setup(configuration: Configuration) -> Iterator[str]:
    wanted = configuration.corosync
    hosts = [
        " ".join([node.name, *(f"addr={address}" for address in node.links)]) for node in configuration.nodes
    ]
    yield f"pcs host auth {' '.join(node.name for node in configuration.nodes)}"
    yield _INDENT.join([f"pcs cluster setup {wanted.cluster_name}", *hosts, *_transport(wanted)])
    if wanted.device is not None:
        algorithm, host = wanted.device.algorithm, wanted.device.host
        more = f"port={wanted.device.port} tls={wanted.device.tls}"
        yield f"pcs quorum device add model net algorithm={algorithm} host={host} {more}"
    yield "pcs cluster start --all --wait"
    if configuration.remote_port:  # a host listens from its next start on
        yield f"cibadmin --modify --xml-text '<cib remote-tls-port=\"{configuration.remote_port}\"/>'"
        yield "pcs cluster stop --all"
        yield "pcs cluster start --all --wait"
    yield "pcs cluster enable --all"


def _transport(wanted: Corosync) -> Iterator[str]:
    """Pcs numbers hosts in the order given, and turns two_node on by itself where there are two."""
    links = [f"link link_priority={priority}" for priority in wanted.priorities]
    yield " ".join(["transport knet link_mode=passive", *links, "crypto cipher=aes256 hash=sha256"])
    totem = [f"token={wanted.token}"] if wanted.token else []
    totem += [f"send_join={wanted.send_join}"] if wanted.send_join else []
    if totem:
        yield f"totem {' '.join(totem)}"


def _node(node: Node) -> Iterator[str]:
    if node.attributes:
        yield _line("node attribute", node.name, *_said(node.attributes))
    if node.utilization:
        yield _line("node utilization", node.name, *_said(node.utilization))


def _create(verb: str, agent: str, resource: Primitive, *more: str) -> str:
    operations = [
        word
        for operation in resource.operations
        for word in (operation.name, f"interval={operation.interval}s", f"timeout={operation.timeout}s")
    ]
    meta = ["meta", *_said(resource.meta)] if resource.meta else []
    parameters = _said(resource.parameters)
    # An agent that is not on the machine where the file is made is on the hosts.
    words = [resource.id, agent, *parameters, "op", *operations, *meta, *more, "--no-default-ops", "--force"]
    if verb.startswith("stonith"):
        words.remove("--no-default-ops")
    return _line(verb, *words)


def _colocation(rule: Colocation) -> Iterator[str]:
    if rule.attribute:
        for id_, one, other in rule.pairs:
            attribute = f"node-attribute={rule.attribute}"
            yield _line(
                "constraint colocation add --", one, "with", other, rule.score, attribute, f"id={id_}"
            )
        return
    sequential = f"sequential={str(not rule.near).lower()}"
    near = ["set", *rule.near, "sequential=false"] if rule.near else []
    options = ["setoptions", f"id={rule.id}", f"score={rule.score}"]
    yield _line("constraint colocation", "set", *rule.resources, sequential, *near, *options)


def _said(pairs: Pairs) -> list[str]:
    return [f"{name}={value}" for name, value in pairs]


def _line(verb: str, *words: str) -> str:
    return " ".join([verb, *map(shlex.quote, words)])
