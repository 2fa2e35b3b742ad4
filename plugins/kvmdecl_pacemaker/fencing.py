"""`ha.fencing` -> resources that switch hosts off, and in which order they are tried."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from kvmdecl_pacemaker.configuration import NEVER, Level, Location, Operation, Primitive, SecretValue
from kvmdecl_pacemaker.hosts import addresses

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kvmdecl_pacemaker.model import FenceDevice, Ha

WATCHDOG = "watchdog"
"""What Pacemaker calls a host's own watchdog among fencing devices; no resource of the CIB."""
SBD = "sbd"
HEAD_START = 5
"""Seconds that the first of two hosts has; a second one of the same length is given to who runs more."""
IN_HOST = ("fence_ipmilan", "fence_ilo", "fence_idrac", "fence_redfish", "fence_imm")
"""Beginnings of the names of agents whose devices are a part of the host, and lose power with it."""
_UNFENCING = frozenset({"fence_scsi", "fence_mpath"})
_USUAL = {"fence_ipmilan": {"lanplus": "1"}}
_MONITOR = 60


class Fencing(NamedTuple):
    """What the section comes to. `seconds` is how long all levels of the slowest host may take."""

    devices: tuple[Primitive, ...]
    levels: tuple[Level, ...]
    bans: tuple[Location, ...]
    secrets: tuple[SecretValue, ...]
    seconds: int


class _Device(NamedTuple):
    """A resource, the hosts that it switches off, and when it is tried."""

    primitive: Primitive
    targets: tuple[str, ...]
    level: int
    spec: FenceDevice


def fencing(ha: Ha, hosts: Sequence[str], *, per_host_delays: bool) -> Fencing:
    """All devices. `per_host_delays`: Pacemaker knows delays of hosts that share a device (from 2.1.2)."""
    made = [
        device
        for number, (name, spec) in enumerate(ha.fencing.items(), 1)
        for device in _devices(name, spec, spec.level or number, hosts, per_host_delays=per_host_delays)
    ]
    shared = _sbd(ha, hosts)
    last = max((device.level for device in made), default=0) + 1
    primitives = sorted([device.primitive for device in made] + ([shared] if shared else []), key=_id)
    return Fencing(
        tuple(primitives),
        tuple(_levels(ha, made, hosts, last)),
        tuple(_bans(made)),
        tuple(_secrets(made)),
        _seconds(ha, made, hosts),
    )


def targets(spec: FenceDevice, hosts: Sequence[str]) -> tuple[str, ...]:
    """The hosts that a device of the manifest can switch off."""
    named = spec.hosts if spec.hosts is not None else tuple(spec.plugs) or hosts
    if not spec.plugs and (spec.addresses or "{" in (spec.address or "")):
        known = addresses(spec, hosts)
        return tuple(host for host in hosts if host in named and host in known)
    return tuple(host for host in hosts if host in named)


def is_in_host(spec: FenceDevice) -> bool:
    """Whether it goes when its host loses power."""
    return not spec.own_power and spec.agent.startswith(IN_HOST)


def _devices(
    name: str, spec: FenceDevice, level: int, hosts: Sequence[str], *, per_host_delays: bool
) -> Iterator[_Device]:
    hang_on = targets(spec, hosts)
    if not hang_on:
        return
    if not spec.plugs and (spec.addresses or "{" in (spec.address or "")):
        known = addresses(spec, hosts)
        for host in hang_on:
            parameters = {"ip": known[host], "pcmk_host_list": host}
            if delay := _delay(spec, hosts, host):
                parameters["pcmk_delay_base"] = f"{delay}s"
            yield _Device(_primitive(f"{name}-{host}", spec, parameters), (host,), level, spec)
        return
    parameters = {"ip": spec.address} if spec.address else {}
    if spec.plugs:
        parameters["pcmk_host_map"] = ";".join(f"{host}:{spec.plugs[host]}" for host in hang_on)
    parameters["pcmk_host_list"] = " ".join(hang_on)
    delays = [f"{host}:{_delay(spec, hosts, host)}s" for host in hang_on if _delay(spec, hosts, host)]
    if delays and per_host_delays:
        parameters["pcmk_delay_base"] = ";".join(delays)
    yield _Device(_primitive(name, spec, parameters), hang_on, level, spec)


def _delay(spec: FenceDevice, hosts: Sequence[str], host: str) -> int:
    if spec.delay:
        return spec.delay.get(host, 0)
    return HEAD_START if len(hosts) == 2 and host == hosts[0] else 0


def _primitive(id_: str, spec: FenceDevice, parameters: dict[str, str]) -> Primitive:
    said = {
        **_USUAL.get(spec.agent, {}),
        **parameters,
        "pcmk_host_check": "static-list",
        "pcmk_off_timeout": f"{spec.timeout}s",
        "pcmk_reboot_timeout": f"{spec.timeout}s",
    }
    if spec.user is not None:
        said["username"] = spec.user
    if spec.password is not None and spec.password.script is not None:
        said["password_script"] = spec.password.script
    elif spec.password is not None:
        said["password"] = "lrm://"  # noqa: S105 - where Pacemaker puts the value in when it calls the agent
    meta: dict[str, str] = {}
    if spec.agent in _UNFENCING:
        said["pcmk_reboot_action"] = "off"
        meta["provides"] = "unfencing"
    operations = (Operation("monitor", _MONITOR, _MONITOR), Operation("start", 0, _MONITOR))
    parameters_ = tuple(sorted((said | spec.options).items()))
    return Primitive(id_, f"stonith:{spec.agent}", parameters_, operations, tuple(sorted(meta.items())))


def _sbd(ha: Ha, hosts: Sequence[str]) -> Primitive | None:
    """Where hosts are told by way of a shared disk, a resource does so; a watchdog alone needs none."""
    if ha.sbd is None or not ha.sbd.devices:
        return None
    parameters = {"devices": ",".join(ha.sbd.devices), "pcmk_host_list": " ".join(hosts)}
    operations = (Operation("monitor", _MONITOR, _MONITOR), Operation("start", 0, _MONITOR))
    return Primitive(SBD, "stonith:fence_sbd", tuple(sorted(parameters.items())), operations)


def _levels(ha: Ha, made: list[_Device], hosts: Sequence[str], last: int) -> Iterator[Level]:
    """None where each host has one device alone: it is found by its targets."""
    for host in hosts:
        by_level: defaultdict[int, list[str]] = defaultdict(list)
        for device in made:
            if host in device.targets:
                by_level[device.level].append(device.primitive.id)
        if ha.sbd is not None and by_level:
            by_level[last].append(SBD if ha.sbd.devices else WATCHDOG)
        if sum(map(len, by_level.values())) > 1:
            yield from (Level(host, index, tuple(sorted(ids))) for index, ids in sorted(by_level.items()))


def _bans(made: list[_Device]) -> Iterator[Location]:
    """No host runs the device that switches it off: it could not when it has to."""
    for device in sorted(made, key=lambda device: device.primitive.id):
        if len(device.targets) == 1:
            id_, (host,) = device.primitive.id, device.targets
            yield Location(f"{id_}-not-on-{host}", id_, host, NEVER)


def _secrets(made: list[_Device]) -> Iterator[SecretValue]:
    for device in made:
        password = device.spec.password
        if password is not None and password.env is not None:
            yield SecretValue(device.primitive.id, "password", f"${password.env}")


def _seconds(ha: Ha, made: list[_Device], hosts: Sequence[str]) -> int:
    slowest = 0
    for host in hosts:
        its = [device for device in made if host in device.targets]
        delays = max((_delay(device.spec, hosts, host) for device in its), default=0)
        slowest = max(slowest, sum(device.spec.timeout for device in its) + delays)
    return slowest + (watchdog_timeout(ha) if ha.sbd is not None else 0)


def watchdog_timeout(ha: Ha) -> int:
    """Seconds after which a host that cannot be reached is known to have switched itself off: twice the watchdog's."""
    return 2 * ha.sbd.timeout if ha.sbd is not None else 0


def _id(primitive: Primitive) -> str:
    return primitive.id
