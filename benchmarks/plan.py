"""A plan without changes against real libvirtd, beside a bare loop that reads the same XML."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from benchmarks import bare_loop
from benchmarks.result import Result, cost_of, middle
from kvmdecl import lab as labs
from kvmdecl.lab import Lab

GUESTS = 300
_HOSTS = [f"kvm-{number}" for number in (1, 2, 3)]
_RUNS = 5
# Guests that are defined and never started: nothing runs but the daemons that are asked.
_MANIFEST = f"""\
apiVersion: kvmdecl/v1
cluster: bench
hosts: {{"kvm-{{1..3}}": "qemu+tls://{{name}}.example/system"}}
networks: {{inner: {{mode: isolated}}}}
storage: {{vms: /srv/vms}}
vms:
  vm: {{count: {GUESTS}, memory: 16MiB, disk: 1MiB, nics: [inner], state: stopped}}
"""


def measure() -> list[Result]:
    """Return seconds of both, each with the start of its process, and their ratio."""
    with tempfile.TemporaryDirectory(prefix="kvmdecl-", dir="/tmp") as folder:
        place = Path(folder)
        manifest = place / "cluster.yaml"
        manifest.write_text(_MANIFEST)
        lab = labs.up(place / "lab", _HOSTS, tied=True)
        try:
            return _compare(lab, place)
        finally:
            labs.down(place / "lab")


def _compare(lab: Lab, place: Path) -> list[Result]:
    rehearsal = {"KVMDECL_LAB": str(lab.directory)}
    kvmdecl = [sys.executable, "-m", "kvmdecl"]
    cost_of([*kvmdecl, "apply", "--yes"], place, rehearsal)
    # --detailed-exitcode makes a plan that has changes a failure: it would not be the one to measure.
    plan = [*kvmdecl, "plan", "--detailed-exitcode"]
    bare = [sys.executable, bare_loop.__file__, *(host.uri() for host in lab.hosts.values())]
    planned, looped = (
        middle([cost_of(command, place, rehearsal) for _ in range(_RUNS)]) for command in (plan, bare)
    )
    return [
        Result(f"plan without changes, {GUESTS} guests on 3 hosts", planned.seconds, "s"),
        Result("bare loop over the same XML", looped.seconds, "s"),
        Result("plan / bare loop", planned.seconds / looped.seconds, "times"),
    ]
