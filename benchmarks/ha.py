"""16 hosts and 200 vms with `ha`: how long it takes to write what Pacemaker is given, and to prove each single failure.

With saved facts, so that no host is asked. Most of the time is crm_simulate's, of which two run at once.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.result import Result, cost_of
from kvmdecl.scenario import example_host
from kvmdecl.snapshot import write_snapshots

if TYPE_CHECKING:
    from collections.abc import Sequence

HOSTS = 16
MANIFEST = f"""\
apiVersion: kvmdecl/v1
cluster: edge
hosts: {{'kvm-{{1..{HOSTS}}}': {{uri: "qemu+tls://{{name}}.edge.example/system", labels: {{rack: "r{{n}}"}}}}}}
networks: {{lan: {{bridge: br0}}}}
storage: {{vms: {{path: /srv/vms, shared: true}}}}
ha:
  fencing: {{agent: fence_ipmilan, address: "{{name}}-bmc", password: /etc/bmc, own_power: true}}
  links: ["10.1.0.{{n}}", "10.2.0.{{n}}"]
vms:
  db: {{count: 30, memory: 8GiB, disk: 20GiB, nics: [lan], ha: {{priority: 1}}}}
  app: {{count: 70, memory: 4GiB, disk: 20GiB, nics: [lan], ha: true}}
  web: {{count: 100, memory: 2GiB, disk: 20GiB, nics: [lan], ha: true}}
"""
"""Memory is filled by three quarters."""


def measure() -> list[Result]:
    """Return seconds of `kvmdecl ha emit` and `kvmdecl ha simulate`, and of both."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "cluster.yaml").write_text(MANIFEST)
        write_snapshots(folder / "facts", [example_host(f"kvm-{n}") for n in range(1, HOSTS + 1)])
        emit, prove = (_seconds(folder, verb) for verb in (["emit", "--out", "ha"], ["simulate"]))
    return [
        Result("ha emit, 16 hosts, 200 vms", emit, "s"),
        Result("ha simulate, each single failure of 16 hosts", prove, "s"),
        Result("emit and prove 16 hosts, 200 vms", emit + prove, "s", 15),
    ]


def _seconds(folder: Path, verb: Sequence[str]) -> float:
    began = time.perf_counter()
    program = Path(sys.executable).with_name("kvmdecl")
    cost_of([program, "ha", verb[0], "cluster.yaml", "--facts", "facts", *verb[1:]], folder)
    return time.perf_counter() - began
