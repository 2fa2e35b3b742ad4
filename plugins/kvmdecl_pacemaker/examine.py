"""Whether fencing works, as far as it can be tried without switching anybody off."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from kvmdecl.api import Answer, NoAnswer, safe_text
from kvmdecl_pacemaker import live
from kvmdecl_pacemaker.fencing import fencing
from kvmdecl_pacemaker.model import Ha

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from kvmdecl.api import Reach, ResolvedCluster, Said, Shell

_AT_ONCE = 16
_NOT_THERE = 127  # of a program that the host does not have
_AGENT, _DEVICE, _FENCING = "fencing-agent", "fencing-device", "fencing"
_NO_WAY = "its URI leads to libvirt alone"
_CONTROL = 'add `control: "root@{name}.example"` to `ha`, or say `--ssh root@{name}`'


def examine(cluster: ResolvedCluster, reach: Reach, up: Collection[str]) -> Iterator[Answer]:
    """Agents on every host; then, by one on which Pacemaker runs, devices, and who can be switched off."""
    ha = cluster.sections.get("ha")
    if not isinstance(ha, Ha) or not ha.fencing:
        return
    there = [host.name for host in cluster.hosts if host.name in up]
    shells = dict(live.shells_by(ha.control or "", reach, there))  # `ha.remote` leads to the CIB alone
    yield from (Answer(host, _AGENT, "unknown", _NO_WAY, _CONTROL) for host in there if host not in shells)
    if not shells:
        return
    agents = sorted({spec.agent for spec in ha.fencing.values()})
    with ThreadPoolExecutor(max_workers=min(_AT_ONCE, len(shells))) as pool:
        jobs = [pool.submit(_agents, host, shell, agents) for host, shell in shells.items()]
        for job in jobs:
            yield from job.result()
    names = [host.name for host in cluster.hosts]
    devices = [device.id for device in fencing(ha, names, per_host_delays=True).devices]
    yield from _tried(shells, devices, names)


def _agents(host: str, shell: Shell, agents: Sequence[str]) -> list[Answer]:
    """Whether a host has the programs that devices are switched by; each is asked for its description."""
    missing = []
    for agent in agents:
        try:
            said = shell.run(["stonith_admin", "--metadata", "--agent", agent, "--timeout", "15"])
        except NoAnswer as error:
            return [Answer(host, _AGENT, "unknown", str(error))]
        if said.code == _NOT_THERE:
            return [
                Answer(
                    host, _AGENT, "failure", "has no Pacemaker", "install pacemaker and fence-agents there"
                )
            ]
        if said.code:
            missing.append(agent)
    if missing:
        told = f"lacks the fencing agent {', '.join(missing)}, or it does not start"
        return [Answer(host, _AGENT, "failure", told, "install fence-agents there")]
    return [Answer(host, _AGENT, "ok", f"has {', '.join(agents)}")]


def _tried(shells: dict[str, Shell], devices: Sequence[str], hosts: Sequence[str]) -> Iterator[Answer]:
    why = "Pacemaker runs on none of the hosts"
    for shell in shells.values():
        try:
            if shell.run(["stonith_admin", "--list-registered", "--timeout", "15"]).code:
                continue
            found = [*_switched_off(shell), *_devices(shell, devices), *_hosts(shell, hosts)]
        except NoAnswer as error:
            why = str(error)
            continue
        yield from found
        return
    yield Answer(
        "", _FENCING, "unknown", why, "start corosync and Pacemaker with what `kvmdecl ha emit` writes"
    )


def _switched_off(shell: Shell) -> Iterator[Answer]:
    said = shell.run(
        ["crm_attribute", "--type", "crm_config", "--name", "stonith-enabled", "--query", "--quiet"]
    )
    if said.code == 0 and said.out.strip().lower() in {"false", "off", "no", "n", "0"}:
        told = "Pacemaker is told not to fence (stonith-enabled): a guest of a silent host may run twice"
        yield Answer(
            "",
            _FENCING,
            "failure",
            told,
            "`kvmdecl apply` sets it, or `crm_attribute -n stonith-enabled -v true`",
        )


def _devices(shell: Shell, devices: Sequence[str]) -> Iterator[Answer]:
    """Each device has its agent ask the controller or power switch how it is (its action `monitor`)."""
    for device in devices:
        said = shell.run(["stonith_admin", "--query", device, "--timeout", "30"], timeout=45)
        if said.code:
            told = f"fencing device {device} does not answer: {_reason(said)}"
            fix = "see that its address, user and password are right, and that hosts reach it; or `kvmdecl apply` it"
            yield Answer("", _DEVICE, "failure", told, fix)
        else:
            yield Answer("", _DEVICE, "ok", f"fencing device {device} answers")


def _hosts(shell: Shell, hosts: Sequence[str]) -> Iterator[Answer]:
    alive = []
    for host in hosts:
        said = shell.run(["stonith_admin", "--list", host, "--timeout", "30"], timeout=45)
        if said.code or "0 fence devices found" in said.out:
            told = f"no device that Pacemaker knows can switch {host} off: {_reason(said)}"
            fix = "name the host in a device of `ha.fencing`, and `kvmdecl apply`"
            yield Answer("", _FENCING, "failure", told, fix)
        else:
            alive.append(host)
    if alive:
        yield Answer("", _FENCING, "ok", f"{', '.join(alive)} can be switched off (nobody was)")


def _reason(said: Said) -> str:
    lines = [line for line in (said.err or said.out).splitlines() if line.strip()]
    return safe_text(" ".join(lines[-1].split()))[:200] if lines else f"stonith_admin ended with {said.code}"
