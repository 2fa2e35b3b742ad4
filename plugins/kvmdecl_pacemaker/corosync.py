"""Configuration -> corosync.conf, for /etc/corosync on every host (corosync.conf(5), votequorum(5))."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl_pacemaker.configuration import Configuration, Corosync, Node

TOKEN = 3000
TOKEN_COEFFICIENT = 650
"""Milliseconds (corosync.conf(5)): a host is missed after the one, and the other for each host beyond two."""


def corosync_conf(configuration: Configuration) -> str:
    """The file as text. The key that hosts prove themselves with is no part of it: it is /etc/corosync/authkey."""
    wanted = configuration.corosync
    lines = [
        *_block("totem", _totem(wanted)),
        *_block("nodelist", [line for node in configuration.nodes for line in _block("node", _host(node))]),
        *_block("quorum", _quorum(wanted)),
        *_block("logging", ["to_syslog: yes", "timestamp: on"]),
    ]
    return "\n".join(lines) + "\n"


def detection_time(wanted: Corosync, hosts: int) -> int:
    """Milliseconds until the others agree that a host is gone: token, and then consensus, 1.2 times as long."""
    token = (wanted.token or TOKEN) + max(0, hosts - 2) * TOKEN_COEFFICIENT
    return token + token * 6 // 5


def _block(name: str, lines: list[str]) -> Iterator[str]:
    yield f"{name} {{"
    yield from (f"    {line}" for line in lines)
    yield "}"


def _totem(wanted: Corosync) -> list[str]:
    lines = [
        "version: 2",
        f"cluster_name: {wanted.cluster_name}",
        f"config_version: {wanted.config_version}",
        "transport: knet",
        "crypto_cipher: aes256",
        "crypto_hash: sha256",
        "link_mode: passive",
    ]
    lines += [f"token: {wanted.token}"] if wanted.token else []
    lines += [f"send_join: {wanted.send_join}"] if wanted.send_join else []
    for number, priority in enumerate(wanted.priorities):
        lines += _block("interface", [f"linknumber: {number}", f"knet_link_priority: {priority}"])
    return lines


def _host(node: Node) -> list[str]:
    addresses = [f"ring{number}_addr: {address}" for number, address in enumerate(node.links)]
    return [f"name: {node.name}", f"nodeid: {node.id}", *addresses]


def _quorum(wanted: Corosync) -> list[str]:
    lines = ["provider: corosync_votequorum"]
    if wanted.two_node:
        lines.append("two_node: 1")
    device = wanted.device
    if device is not None:
        net = [
            f"host: {device.host}",
            f"port: {device.port}",
            f"algorithm: {device.algorithm}",
            f"tls: {device.tls}",
        ]
        # Of the other algorithm the device counts its votes itself (corosync-qdevice(8)).
        votes = ["votes: 1"] if device.algorithm == "ffsplit" else []
        lines += _block("device", ["model: net", *votes, *_block("net", net)])
    return lines
