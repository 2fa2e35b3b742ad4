"""Start the hub and the hosts of a lab, and the daemons of a host."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from kvmdecl.lab import cluster, config, probes, seccomp, topology
from kvmdecl.lab.namespaces import HUB, enter, environment, find_init, start_init
from kvmdecl.lab.record import NETWORK
from kvmdecl.lab.refusals import refusal
from kvmdecl.text import safe_text

if TYPE_CHECKING:
    from kvmdecl.lab.record import LabHost

NOBODY = 65534
"""Who runs QEMU, as on any host a user without rights, where a lab knows more users than root."""
HOST_NAMESPACES = ("--net", "--mount", "--uts", "--pid")
_DAEMONS = {
    "libvirtd": "libvirtd --daemon --listen --config /etc/libvirt/libvirtd.conf --pid-file /run/libvirtd.pid",
    "sshd": '"$(command -v sshd)" -f /etc/libvirt/ssh/sshd_config -E /var/log/libvirt/sshd.log',
    "pacemaker": cluster.DAEMON,
}
# A shell that waits for a child reaps orphans too; without that libvirtd waits for QEMU processes that are
# zombies.
_READY = "cd /; echo ready; exec >/dev/null 2>&1"
_FOR_EVER = "while :; do sleep 86400; done"
_UNTIL_INPUT_ENDS = "cat"
_HUB_SCRIPT = f"""
ip -batch - <<END
link set lo up
link add mgmt up type bridge
link add guests up type bridge
link add ring0 up type bridge
link add ring1 up type bridge
addr add {NETWORK[1]}/{NETWORK.prefixlen} dev mgmt
END
{_READY}
"""
# A node of the host's own: where QEMU's user may not open /dev/kvm, libvirtd, which probes with CAP_DAC_OVERRIDE,
# takes each answer for stale and asks again, for seconds, before each start of a guest.
_KVM_SCRIPT = """
mount -t tmpfs tmpfs /mnt
mknod -m 666 /mnt/kvm c 10 232
mount --bind /mnt/kvm /dev/kvm
umount -l /mnt
"""
# $1 the host's folder, $2 the hub's network namespace, $3 number, $4 address, $5 name, $6 `mapped` in a user
# namespace. Sources of mounts are relative to the folder and not looked up again (-c): a mount may hide the
# path that leads to it.
_HOST_SCRIPT = f"""
cd "$1"
mount -t sysfs sysfs /sys 2>/dev/null || echo 'no own /sys: the interfaces of this machine show through' >&2
if [ -d sys ]; then
{"; ".join(f"mount -c --bind {source} {target}" for source, target in topology.MOUNTS.items())}
fi
if [ -z "$6" ]; then  # root could set huge pages and KSM of the machine itself
for tree in {" ".join(topology.SHARED)}; do
[ ! -d $tree ] || {{ mount --rbind $tree $tree; mount -o remount,bind,ro $tree; }}
done
[ ! -d sys ] || mount -o remount,bind,ro /sys/kernel/mm/ksm
[ ! -c /dev/kvm ] || {{ {_KVM_SCRIPT} }}
fi
[ ! -e /etc/machine-id ] || mount -c --bind machine-id /etc/machine-id
[ ! -e /etc/shadow ] || mount -c --bind ../../shadow /etc/shadow
[ -z "$6" ] || mount -c --bind ../../passwd /etc/passwd
mount -c --bind ../../etc-hosts /etc/hosts
[ ! -d {cluster.FOLDER} ] || {{
{cluster.MOUNT_SCRIPT}
}}
{"; ".join(f"mount -c --bind {source} {target}" for source, target in config.MOUNTS.items())}
hostname "$5"
nsenter --net="$2" sh -ec '
  for link; do ip link delete $link 2>/dev/null || :; done  # what the host left when its power went
  ip -batch -' sh m$3 g$3 <<END
link add m$3 master mgmt up type veth peer name eth0 netns 1
link add g$3 master guests up type veth peer name eth1 netns 1
END
ip -batch - <<END
link set lo up
addr add $4/{NETWORK.prefixlen} dev eth0
link set eth0 up
link add br0 up type bridge
link set eth1 master br0 up
END
[ ! -d {cluster.FOLDER} ] || {{
{cluster.LINK_SCRIPT}
}}
{_DAEMONS["libvirtd"]}
[ ! -d /etc/libvirt/ssh ] || {_DAEMONS["sshd"]}
[ ! -f /etc/corosync/corosync.conf -o ! -d {cluster.FOLDER} ] || {{
{_DAEMONS["pacemaker"]}
}}
{_READY}
{_FOR_EVER}
"""


def start_hub(directory: Path, lifeline: int | None) -> int:
    """Start the hub: the PID namespace of the whole lab, and its two switches. Returns its init's process id.

    Without root it is also the user namespace in which we are root. With a `lifeline`, a file descriptor, the
    lab ends when there is no more to be read from it.

    Raises:
        Rejected: `lab.start-failed`, `lab.no-namespaces`.
    """
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    start_init(
        directory,
        HUB,
        _HUB_SCRIPT + (_UNTIL_INPUT_ENDS if lifeline is not None else _FOR_EVER),
        unshare=[*user, "--net", "--mount"],
        log=directory / "hub.log",
        lifeline=subprocess.DEVNULL if lifeline is None else lifeline,
    )
    return require_init(directory, HUB)


def start_host(host: LabHost, number: int, hub: int) -> None:
    """Switch a host on: namespaces, mounts, links, then libvirtd. Volumes and definitions are kept.

    Args:
        host: which one.
        number: its place in the lab, from 1; names its links in the hub.
        hub: process id of the hub's init.

    Raises:
        Rejected: `lab.start-failed`.
    """
    shutil.rmtree(
        host.folder / "run", ignore_errors=True
    )  # as on any machine, /run does not outlive the power
    identity = config.host_uuid(host.directory, host.name)
    mapped = "mapped" if _is_mapped(hub) else ""
    config.write_host(
        host.folder,
        identity=identity,
        address=host.address,
        tls="tls" in host.transports,
        user=0 if mapped else NOBODY,
    )
    network = os.open(f"/proc/{hub}/ns/net", os.O_RDONLY)
    try:
        start_init(
            host.directory,
            host.name,
            _HOST_SCRIPT,
            within=[*seccomp.prefix(_pretended(host, hub)), *enter(hub, "--net", "--pid")],
            unshare=["--net", "--mount", "--uts"],
            log=host.folder / "boot.log",
            arguments=[
                str(host.folder),
                f"/proc/self/fd/{network}",
                str(number),
                host.address,
                host.name,
                mapped,
            ],
            pass_fds=[network],
        )
    finally:
        os.close(network)


def start_daemon(host: LabHost, name: str) -> None:
    """Start `libvirtd`, `sshd` or `pacemaker`, with corosync, on a running host.

    Raises:
        Rejected: `lab.host-off`, `lab.start-failed`.
    """
    init = require_init(host.directory, host.name)
    prefix = [*seccomp.prefix(_pretended(host, init)), *enter(init, *HOST_NAMESPACES)]
    done = subprocess.run(
        [*prefix, "sh", "-ec", _DAEMONS[name]], env=environment(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise refusal(
            "lab.start-failed",
            f"{name} of host {host.name} did not start: {safe_text(done.stderr.strip()[-300:])}",
            subject=f"host/{host.name}",
        )


def probe(host: LabHost) -> None:
    """Let libvirtd probe all QEMU programs, and keep the answers for other hosts and labs. Never fails."""
    argv = ["virsh", "--quiet", "--connect", host.uri("unix"), "capabilities"]
    try:
        done = subprocess.run(argv, env=environment(), capture_output=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return
    if done.returncode == 0:
        probes.remember(host.folder, probes.store())


def require_init(directory: Path, role: str) -> int:
    """Return the process id of the init of a host, or of the hub.

    Raises:
        Rejected: `lab.not-found` (hub), `lab.host-off`.
    """
    if pid := find_init(directory, role):
        return pid
    if role == HUB:
        raise refusal(
            "lab.not-found", f"the lab in {directory} is not running", hint="start it with `kvmdecl lab up`"
        )
    raise refusal(
        "lab.host-off",
        f"host {role} is switched off",
        hint=f"switch it on with `kvmdecl lab power-on {role}`",
        subject=f"host/{role}",
    )


def _is_mapped(pid: int) -> bool:
    """Whether a process lives in a user namespace that knows one user only."""
    return Path(f"/proc/{pid}/uid_map").read_text().split()[2:] == ["1"]


def _pretended(host: LabHost, pid: int) -> tuple[str, ...]:
    identity = ("identity",) if _is_mapped(pid) else ()
    return (*identity, "placement") if (host.folder / "sys").is_dir() else identity
