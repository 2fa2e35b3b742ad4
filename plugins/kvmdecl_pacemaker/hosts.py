"""The hosts as the cluster's daemons know them: numbers, addresses, and how one reaches the libvirt of another."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kvmdecl.api import ResolvedHost
    from kvmdecl_pacemaker.model import FenceDevice, Ha, Link

_HIGHEST = 65535  # knet counts hosts in 16 bits


def number_of(name: str) -> int | None:
    """The number at the end of a host's name, if there is one."""
    found = re.search(r"[0-9]{1,5}$", name.partition(".")[0])
    return int(found[0]) if found else None


def node_ids(names: Iterable[str], given: Mapping[str, int]) -> dict[str, int]:
    """Corosync's number of each host: what is given, else a function of its name that the other hosts do not change.

    Numbers at the ends of names are taken only if all hosts have one of their own; two hosts may come to the
    same number, which a check tells.
    """
    numbers = {name: number_of(name) for name in names}
    right = [number for number in numbers.values() if number is not None and 0 < number <= _HIGHEST]
    plain = len(set(right)) == len(numbers)
    own = {
        name: number if plain and number is not None else crc32(name.encode()) % _HIGHEST + 1
        for name, number in numbers.items()
    }
    return own | {name: number for name, number in given.items() if name in own}


def filled(template: str, name: str) -> str | None:
    """An address with a host's name and number put in; None where the name has no number to put in."""
    number = number_of(name)
    if "{n}" in template and number is None:
        return None
    return template.replace("{name}", name).replace("{n}", str(number))


def addresses(section: FenceDevice | Link, names: Iterable[str]) -> dict[str, str]:
    """The address of each host, those left out of which nothing is said."""
    found: dict[str, str] = {}
    for name in names:
        address = section.addresses.get(name)
        if address is None and section.address is not None:
            address = filled(section.address, name)
        if address is not None:
            found[name] = address
    return found


def links(ha: Ha, hosts: Iterable[ResolvedHost]) -> tuple[dict[str, str], ...]:
    """Each link, as an address by host. Without links, the way is that of the hosts' URIs."""
    there = list(hosts)
    if not ha.links:
        return ({host.name: host.uri.host or host.name for host in there},)
    return tuple(addresses(link, [host.name for host in there]) for link in ha.links)


def remote_uri(hosts: Iterable[ResolvedHost]) -> str | None:
    """How any host is reached, with `%n` for its name, as far as the URIs of all are alike; else None.

    What a URI says about the machine that plans (its keys and certificates) is left out.
    """
    found = set()
    for host in hosts:
        uri = host.peer_uri or host.uri
        if not uri.host or uri.host.count(host.name) != 1:
            return None
        user = f"{uri.user}@" if uri.user else ""
        port = f":{uri.port}" if uri.port else ""
        transport = "ssh" if uri.transport == "libssh2" else uri.transport
        address = uri.host.replace(host.name, "%n")
        found.add(f"{uri.driver}+{transport}://{user}{address}{port}{uri.path}")
    return found.pop() if len(found) == 1 else None


def address_of_all(hosts: Iterable[ResolvedHost]) -> str | None:
    """Where any host is, with `{name}` for its name, as far as the URIs of all are alike; else None."""
    there = [(host.name, (host.peer_uri or host.uri).host) for host in hosts]
    found = {address.replace(name, "{name}") for name, address in there}
    alone = len(found) == 1 and all(address.count(name) == 1 for name, address in there)
    return found.pop() if alone else None


def attribute(label: str) -> str:
    """The attribute of nodes that holds a label of hosts; Pacemaker has attributes of its own."""
    return f"label-{label}"
