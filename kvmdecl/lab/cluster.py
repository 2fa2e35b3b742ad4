"""A lab whose hosts are nodes of a corosync and Pacemaker cluster, with power switches that the cluster may use.

Two rings of their own tie the hosts; what they share lies below /srv/shared on all of them. Fencing is real: the agent
`fence_kvmdecl_lab` asks the lab's power controller, which takes the power from a host or gives it back.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from kvmdecl.lab.namespaces import enter, environment
from kvmdecl.lab.refusals import refusal, require_tools, tool

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvmdecl.lab.record import LabHost

_TOOLS = ("corosync", "corosync-cmapctl", "pacemakerd", "cibadmin")
AGENT = "fence_kvmdecl_lab"
RINGS = ("10.78.0", "10.79.0")
"""Networks of the rings; a host's last number is its place in the lab, from 1."""
SHARED = "shared"  # in the lab's directory
FOLDER = "cluster"  # in a host's folder; also the mark by which a host is known to be a node
SWITCH = "power"  # the power controller's socket, in the lab's directory
# Directory in FOLDER -> where the host sees it.
_MOUNTS = {
    "corosync": "/etc/corosync",
    "lib/corosync": "/var/lib/corosync",
    "lib/pacemaker": "/var/lib/pacemaker",
    "log/corosync": "/var/log/corosync",
    "log/pacemaker": "/var/log/pacemaker",
}
_OWNED = (
    "lib/pacemaker",
    *(f"lib/pacemaker/{name}" for name in ("blackbox", "cib", "cores", "pengine")),
    "log/pacemaker",
)
_USER, _GROUP = "hacluster", "haclient"  # as Pacemaker's packages make them
# Spares a first start the 20 s that Pacemaker waits for others before it acts.
_OPTIONS = (
    '<crm_config><cluster_property_set id="cib-bootstrap-options">'
    '<nvpair id="cib-bootstrap-options-dc-deadtime" name="dc-deadtime" value="2s"/>'
    "</cluster_property_set></crm_config>"
)
# A lab's host has no cgroups, and is not alone on its machine.
_SYSTEM = """
system {
    move_to_root_cgroup: no
    sched_rr: no
    priority: 0
}
"""
_START_TIMEOUT = 30.0
# Parts of a host's boot script, run in its folder; $2 is the hub's network namespace, $3 the host's number. The
# first runs before /run is mounted, which may hide the lab, the second once /srv is the host's own.
MOUNT_SCRIPT = f"""
{"; ".join(f"mount -c --bind {FOLDER}/{source} {target}" for source, target in _MOUNTS.items())}
mount -t overlay -o lowerdir={FOLDER}/sbin:/usr/sbin overlay /usr/sbin
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
"""
LINK_SCRIPT = f"""
mkdir -p /srv/shared
mount -c --bind ../../{SHARED} /srv/shared
nsenter --net="$2" sh -ec 'for link; do ip link delete $link 2>/dev/null || :; done; ip -batch -' sh r$3 s$3 <<END
link add r$3 master ring0 up type veth peer name eth2 netns 1
link add s$3 master ring1 up type veth peer name eth3 netns 1
END
ip -batch - <<END
addr add {RINGS[0]}.$3/24 dev eth2
addr add {RINGS[1]}.$3/24 dev eth3
link set eth2 up
link set eth3 up
END
"""
# Pacemaker gives up where corosync does not answer yet.
DAEMON = """
mkdir -p /run/resource-agents /run/lock
corosync
export PCMK_logfile=/var/log/pacemaker/pacemaker.log PCMK_logfacility=none
( until corosync-cmapctl runtime.members. 2>/dev/null | grep -q joined; do sleep 0.05; done
exec setsid pacemakerd -f ) >/var/log/pacemaker/pacemakerd.log 2>&1 </dev/null &
"""


def require() -> None:
    """Check that a cluster can be formed here.

    Raises:
        Rejected: `lab.missing-tool`, `lab.needs-root`.
    """
    require_tools(_TOOLS)
    if os.geteuid() != 0:
        raise refusal(
            "lab.needs-root",
            "a lab with a Pacemaker cluster needs root",
            cause="Pacemaker's daemons run as users of their own, and a user namespace of ours knows one.",
            hint="start it as root, or do without a cluster",
        )


def write_node(host: LabHost) -> None:
    """Make what a host needs to be a node.

    Raises:
        Rejected: `lab.start-failed` if Pacemaker's user is not known.
    """
    folder = host.folder / FOLDER
    for part in (*_MOUNTS, *_OWNED, "sbin"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    first = folder / "lib/pacemaker/cib/cib.xml"
    first.write_text(_first_cib())
    try:
        for owned in (*(folder / part for part in _OWNED), first):
            shutil.chown(owned, _USER, _GROUP)
    except LookupError as error:
        raise refusal("lab.start-failed", f"Pacemaker is not installed whole: {error}") from None
    agent = folder / "sbin" / AGENT
    # The agent asks only the socket; it starts where nothing of ours can be imported.
    source = Path(__file__).with_name("fence_agent.py")
    agent.write_text(f'#!/bin/sh\nexec {sys.executable} -I "{source}" "{host.directory / SWITCH}" "$@"\n')
    agent.chmod(0o755)


def _first_cib() -> str:
    """An empty CIB as this machine's Pacemaker makes it, so that its schema is the newest that it knows."""
    made = subprocess.run([tool("cibadmin"), "--empty"], capture_output=True, text=True, check=True)
    return made.stdout.replace("<crm_config/>", _OPTIONS)


def write_corosync(hosts: Iterable[LabHost], conf: str) -> None:
    """Give all hosts one corosync.conf and one key.

    Raises:
        Rejected: `lab.no-cluster` if they were not made for it.
    """
    key = secrets.token_bytes(256)
    for host in hosts:
        place = host.folder / FOLDER / "corosync"
        if not place.is_dir():
            raise refusal(
                "lab.no-cluster",
                "the hosts of this lab were not made for a cluster",
                hint="start it with `kvmdecl lab up --pacemaker`",
            )
        (place / "corosync.conf").write_text(conf + ("" if "\nsystem {" in conf else _SYSTEM))
        (place / "authkey").write_bytes(key)
        (place / "authkey").chmod(0o400)


def start_controller(directory: Path, hub: int) -> None:
    """Start the power controller in the hub, with which it ends; return once it answers.

    Raises:
        Rejected: `lab.start-failed`.
    """
    (directory / SHARED).mkdir()
    inside = ["setsid", "--fork", sys.executable, "-m", "kvmdecl.lab.power", str(directory)]
    with (directory / "power.log").open("wb") as log:
        subprocess.run(
            [*enter(hub, "--net", "--mount", "--pid"), *inside],
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            check=False,
        )
    deadline = time.monotonic() + _START_TIMEOUT
    while not (directory / SWITCH).is_socket():
        if time.monotonic() > deadline:
            raise refusal("lab.start-failed", "the lab's power controller did not start")
        time.sleep(0.02)
