"""What cannot work, or should not be, in the section `ha` itself: fencing, links, quorum, definitions."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface
from itertools import combinations
from typing import TYPE_CHECKING

from kvmdecl.api import Diagnostic, Severity, did_you_mean, format_duration, quoted
from kvmdecl_pacemaker.corosync import detection_time
from kvmdecl_pacemaker.fencing import is_in_host, targets
from kvmdecl_pacemaker.guests import no_definitions, start_timeout
from kvmdecl_pacemaker.hosts import addresses, filled, links, node_ids, remote_uri
from kvmdecl_pacemaker.quorum import votes
from kvmdecl_pacemaker.services import needs_lock_manager

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from kvmdecl.api import Span
    from kvmdecl_pacemaker.configuration import Corosync
    from kvmdecl_pacemaker.site import Site

_LIBVIRTS_OWN = ("/etc/libvirt", "/run/libvirt", "/var/run/libvirt", "/var/lib/libvirt/qemu")


def check_cluster(site: Site, corosync: Corosync, fencing_seconds: int) -> Iterator[Diagnostic]:
    """Everything about the section, but for what vms ask of it."""
    yield from _check_names(site)
    yield from _check_definitions(site)
    yield from _check_fencing(site)
    yield from _check_links(site)
    yield from _check_quorum(site, corosync)
    yield from _check_time(site, corosync, fencing_seconds)
    yield from _check_way(site)
    yield from _check_remote(site)


def _at(site: Site, key: str) -> Span | None:
    return site.cluster.origin.find(f"ha.{key}" if key else "ha")


# -- names -------------------------------------------------------------------------------------------------


def _check_names(site: Site) -> Iterator[Diagnostic]:
    known = [host.name for host in site.hosts]
    for key, names in _named(site):
        for name in names:
            if name not in known:
                hint = did_you_mean(name, known) or f"hosts are {', '.join(known[:10])}"
                yield Diagnostic(
                    "ha.unknown-host", f"there is no host {quoted(name)}", _at(site, f"{key}.{name}"),
                    "Whatever is said of it here, is said of no host.", hint,
                )  # fmt: skip
    ids = node_ids(known, site.ha.node_ids)
    for one, other in combinations(known, 2):
        if ids[one] == ids[other]:
            yield Diagnostic(
                "ha.same-node-id", f"{one} and {other} both have corosync's number {ids[one]}",
                _at(site, "node_ids"), "corosync tells hosts apart by their numbers.",
                f"give one of them another: `node_ids: {{{other}: {max(ids.values()) % 65535 + 1}}}`",
            )  # fmt: skip


def _named(site: Site) -> Iterator[tuple[str, Iterable[str]]]:
    """The keys whose entries are named like hosts."""
    for name, device in site.ha.fencing.items():
        for key in ("plugs", "addresses", "delay"):
            yield f"fencing.{name}.{key}", getattr(device, key)
        yield f"fencing.{name}.hosts", device.hosts or ()
    for number, link in enumerate(site.ha.links):
        yield f"links.{number}.addresses", link.addresses
    yield "node_ids", site.ha.node_ids


# -- definitions and mounts --------------------------------------------------------------------------------


def _check_definitions(site: Site) -> Iterator[Diagnostic]:
    pools = {pool.name for pool in site.file_pools}
    for pool in site.ha.mounts:
        if pool not in pools:
            yield _unknown_pool(site, pool, f"mounts.{pool}")
    wanted = site.ha.definitions
    if wanted is not None and wanted.pool is not None and wanted.pool not in pools:
        yield _unknown_pool(site, wanted.pool, "definitions")
        return
    if site.definitions is None:
        if site.vms:
            yield no_definitions(site)
        return
    if (site.definitions + "/").startswith(tuple(f"{path}/" for path in _LIBVIRTS_OWN)):
        yield Diagnostic(
            "ha.definitions-in-libvirt", f"{site.definitions} is libvirt's own directory", _at(site, "definitions"),
            "The agent undefines a guest before it starts it, and libvirt then deletes the file.",
            "choose another directory, such as /srv/ha",
        )  # fmt: skip
    if wanted is not None and wanted.path is not None and site.vms:
        yield Diagnostic(
            "ha.definitions-by-hand", f"nothing puts the definitions of the guests into {wanted.path}",
            _at(site, "definitions"), "kvmdecl writes through libvirt, which writes into pools alone.",
            "name a pool of files (`definitions: NAME`), or put there what `kvmdecl ha emit` writes after each change",
            severity=Severity.WARNING,
        )  # fmt: skip
    pool_ = site.definitions_pool
    if pool_ is None or (wanted is not None and wanted.path is not None):
        return
    lacking = [host.name for host in site.hosts if host.name not in pool_.hosts]
    affected = sorted({host for vm in site.vms for host in site.homes[vm.name]} & set(lacking))
    if affected:
        yield Diagnostic(
            "ha.definitions-elsewhere", f"{', '.join(affected)} does not get the pool {pool_.name}",
            _at(site, "definitions"),
            "A guest cannot start where its definition is not, and Pacemaker does not try again.",
            f"add the host to `hosts:` of the pool {pool_.name}, or choose a pool that all hosts get",
        )  # fmt: skip


def _unknown_pool(site: Site, name: str, key: str) -> Diagnostic:
    able = [pool.name for pool in site.file_pools]
    hint = did_you_mean(name, able) or f"pools of files are {', '.join(able) or 'none'}"
    return Diagnostic(
        "ha.unknown-pool", f"{quoted(name)} is no pool whose volumes are files", _at(site, key),
        "It needs a directory on the hosts.", hint,
    )  # fmt: skip


# -- fencing -----------------------------------------------------------------------------------------------


def _check_fencing(site: Site) -> Iterator[Diagnostic]:
    names = [host.name for host in site.hosts]
    for name, device in site.ha.fencing.items():
        if device.address and "{" in device.address:
            yield from _no_number(site, device.address, f"fencing.{name}", set(device.addresses))
        known = addresses(device, names)
        yield from _check_shared_address(site, name, known if not device.plugs else {})
        yield from _check_ways(site, name, known.values())
    for host in names:
        its = [device for device in site.ha.fencing.values() if host in targets(device, names)]
        if not its and site.ha.sbd is None:
            yield Diagnostic(
                "ha.not-fenced", f"nothing switches {host} off", _at(site, "fencing"),
                "A host that does not answer may still run its guests: until it is off, they start nowhere else.",
                "name a device in `ha.fencing` that can, or let its watchdog do it: `sbd: 5s`",
                subject=f"host/{host}",
            )  # fmt: skip
        elif its and all(map(is_in_host, its)) and site.ha.sbd is None:
            yield Diagnostic(
                "ha.fence-shares-power", f"only a controller inside of {host} can switch it off",
                _at(site, "fencing"),
                "When the host loses its power, so does the controller: nobody can tell that it is off, and its guests"
                " start nowhere else.",
                "add a second way, such as the outlets of a PDU or `sbd: 5s`; say `own_power: true` if it has its own",
                severity=Severity.WARNING, subject=f"host/{host}",
            )  # fmt: skip


def _check_shared_address(site: Site, name: str, known: Mapping[str, str]) -> Iterator[Diagnostic]:
    device = site.ha.fencing[name]
    if not device.addresses and "{" not in (device.address or ""):
        return  # one device, which all hosts hang on
    seen: dict[str, str] = {}
    for host, address in known.items():
        if address in seen:
            yield Diagnostic(
                "ha.fence-shared", f"{seen[address]} and {host} have one controller, {address}",
                _at(site, f"fencing.{name}.addresses.{host}"),
                "To switch one host off would switch off another.",
                "give each its own address, or say `plugs:` if it is one device with an outlet for each",
            )  # fmt: skip
        seen.setdefault(address, host)


def _check_ways(site: Site, name: str, fenced: Iterable[str]) -> Iterator[Diagnostic]:
    """Controllers on a network of the links cannot be reached when it is that network which fails."""
    ways = [_subnet(address) for link in links(site.ha, site.hosts) for address in link.values()]
    on = next((address for address in fenced if _subnet(address) in ways and _subnet(address)), None)
    if on is not None and len(site.ha.links) < 2:
        yield Diagnostic(
            "ha.fence-on-link", f"{on} is on the network on which the hosts hear each other",
            _at(site, f"fencing.{name}"),
            "When that network fails, hosts miss each other and cannot switch each other off either.",
            "give the controllers a network of their own, or the hosts a second link",
            severity=Severity.WARNING,
        )  # fmt: skip


def _subnet(address: str) -> str:
    """The network that an address is probably on; empty for a name, of which nothing is known."""
    try:
        version = ip_address(address).version
    except ValueError:
        return ""
    return str(ip_interface(f"{address}/{24 if version == 4 else 64}").network)


# -- links -------------------------------------------------------------------------------------------------


def _check_links(site: Site) -> Iterator[Diagnostic]:
    if len(site.ha.links) < 2 and len(site.hosts) > 1:
        yield Diagnostic(
            "ha.one-link", "the hosts hear each other on one network only", _at(site, "links"),
            "When it fails, hosts that are well switch each other off.",
            "add a second one, on other cards and switches: `links: [10.1.0.{n}, 10.2.0.{n}]`",
            severity=Severity.WARNING,
        )  # fmt: skip
    ways = links(site.ha, site.hosts)
    for number, link in enumerate(site.ha.links):
        if link.address:
            yield from _no_number(site, link.address, f"links.{number}", set(link.addresses))
        lacking = [
            host.name
            for host in site.hosts
            if host.name not in ways[number]
            and not (link.address and filled(link.address, host.name) is None)
        ]
        for host in lacking:
            yield Diagnostic(
                "ha.no-address", f"link {number} has no address of {host}", _at(site, f"links.{number}"),
                "Every host is on every link.", f"add it to `addresses:`, or say `address: 10.{number + 1}.0.{{n}}`",
            )  # fmt: skip
    for one, other in combinations(range(len(ways)), 2):
        yield from _check_apart(site, one, other, ways[one], ways[other])


def _check_apart(
    site: Site, one: int, other: int, first: Mapping[str, str], second: Mapping[str, str]
) -> Iterator[Diagnostic]:
    for host in first.keys() & second.keys():
        if first[host] == second[host] or (
            _subnet(first[host]) and _subnet(first[host]) == _subnet(second[host])
        ):
            yield Diagnostic(
                "ha.links-together", f"links {one} and {other} are on one network", _at(site, f"links.{other}"),
                f"{first[host]} and {second[host]} fail together: of two links nothing is won.",
                "put them on different cards, switches and networks",
            )  # fmt: skip
            return


def _no_number(site: Site, template: str, key: str, given: set[str]) -> Iterator[Diagnostic]:
    for host in site.hosts:
        if host.name not in given and filled(template, host.name) is None:
            yield Diagnostic(
                "ha.no-address", f"{host.name} has no number at its end for `{{n}}`", _at(site, key),
                "`{n}` in an address stands for it.", f"write its address out: `addresses: {{{host.name}: ...}}`",
            )  # fmt: skip


# -- quorum and time ---------------------------------------------------------------------------------------


def _check_quorum(site: Site, corosync: Corosync) -> Iterator[Diagnostic]:
    hosts, device, survive = len(site.hosts), site.ha.quorum.device, site.ha.survive
    most = max((lost for lost in range(hosts) if votes(hosts, corosync, lost).enough), default=0)
    if survive > most:
        yield Diagnostic(
            "ha.no-quorum", f"{hosts} hosts do not go on when {survive} are lost", _at(site, "survive"),
            f"The others have quorum as long as no more than {most} {'is' if most == 1 else 'are'} missing; then they"
            " stop all guests.",
            f"say `survive: {most}`, add hosts, or a vote from outside: `quorum: {{device: {{host: ..., algorithm:"
            " lms}}`",
        )  # fmt: skip
    if hosts > 2 and hosts % 2 == 0 and device is None:
        yield Diagnostic(
            "ha.even-split", f"of {hosts} hosts, two halves that lose each other both stop", _at(site, "quorum"),
            "Neither half has more than half of the votes.",
            "add a vote from outside (`quorum: qnetd.example`), or a host",
            severity=Severity.WARNING,
        )  # fmt: skip
    if needs_lock_manager(site) and site.ha.quorum.lost == "stop":
        yield Diagnostic(
            "ha.cannot-stop", "a part without quorum cannot stop what is on a clustered file system",
            _at(site, "quorum"),
            "Without quorum nothing gets a lock of gfs2 or ocfs2: it cannot be unmounted, and the host is fenced.",
            "say `quorum: {lost: freeze}`", severity=Severity.WARNING,
        )  # fmt: skip
    if hosts == 2 and device is None and site.ha.sbd is not None and not site.ha.sbd.devices:
        yield Diagnostic(
            "ha.sbd-two-hosts", "two hosts cannot rely on their watchdogs alone", _at(site, "sbd"),
            "A watchdog fires when a host has no quorum, and of two hosts each has it alone.",
            "add a vote from outside (`quorum: qnetd.example`), or a shared disk to `sbd.devices`",
        )  # fmt: skip


def _check_time(site: Site, corosync: Corosync, fencing_seconds: int) -> Iterator[Diagnostic]:
    within = site.ha.recover_within
    if within is None or not site.vms:
        return
    noticed = -(-detection_time(corosync, len(site.hosts)) // 1000)
    slowest = max(site.vms, key=lambda vm: (start_timeout(site, vm), vm.name))
    start = start_timeout(site, slowest)
    needed = noticed + fencing_seconds + start
    if needed > within:
        yield Diagnostic(
            "ha.too-slow", f"a guest may be away for {format_duration(needed)}", _at(site, "recover_within"),
            f"Until the loss of a host is noticed {format_duration(noticed)} pass, until it is switched off"
            f" {format_duration(max(1, fencing_seconds))}, and {slowest.name} may take {format_duration(start)} then.",
            "shorten `timeout` of the fencing devices, `token`, or `start_timeout` of the vm; or allow more",
        )  # fmt: skip


def _check_way(site: Site) -> Iterator[Diagnostic]:
    if len(site.hosts) < 2 or remote_uri(site.hosts) is not None:
        return
    if any(not (host.peer_uri or host.uri).host for host in site.hosts):
        summary = "the hosts' URIs do not say how one reaches the other"
    else:
        summary = "the hosts' names are no part of their URIs in the same way"
    yield Diagnostic(
        "ha.names-differ", summary, site.hosts[0].origin.find("uri"),
        "To move a guest, a host has to reach the libvirt of another one by the name that Pacemaker knows it by; with"
        " TLS its certificate has to be of that name.",
        'write all URIs alike, such as `"qemu+tls://{name}.example/system"`',
        severity=Severity.WARNING,
    )  # fmt: skip


def _check_remote(site: Site) -> Iterator[Diagnostic]:
    remote = site.ha.remote
    if remote is None or (remote.address or "").startswith("127."):
        return
    yield Diagnostic(
        "ha.remote-unverified", "Pacemaker's remote access does not prove who answers", _at(site, "remote"),
        "Its TLS is anonymous: no certificate is shown or checked, so whoever stands between this machine and the hosts"
        " gets the password, and with it the configuration.",
        "use it on a network of administrators alone, and say so by `rules: {ignore: [ha.remote-unverified]}`; or run"
        ' its programs by SSH: `control: "root@{name}.example"`',
        severity=Severity.WARNING,
    )  # fmt: skip
