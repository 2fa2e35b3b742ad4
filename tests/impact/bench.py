"""A host of the lab with one manifest, planned and applied in this process: no command has to start for it.

Reading is what a worker does, and so is writing; between them lies everything from the manifest's text to the plan.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Event as Flag
from typing import TYPE_CHECKING, Any

import libvirt
from lxml import etree

from kvmdecl.apply import apply
from kvmdecl.diagnostics import Moved, TaskFailed
from kvmdecl.events import StepDone, StepFailed, StepRefused
from kvmdecl.hosts.checkin import check_in
from kvmdecl.hosts.perform import Patience, perform
from kvmdecl.hosts.protocol import TaskResult
from kvmdecl.hosts.read import read_host
from kvmdecl.lab.guest import BANNER, tiny_image
from kvmdecl.pipeline import in_schedule, load_cluster, plan_cluster
from kvmdecl.pluginhost import Plugins, load_plugins
from kvmdecl.state import HostSnapshot, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from kvmdecl.diagnostics import Diagnostic
    from kvmdecl.hosts.protocol import CheckIn, Progress, Scope, TaskRequest
    from kvmdecl.lab import LabHost
    from kvmdecl.plan import Plan, Step

libvirt.registerErrorHandler(lambda _context, _error: None, None)  # errors are asserted, not printed

PATIENCE = Patience(ask_again=1.0, unplug=10.0, poll=0.02)
Manifest = dict[str, Any]


@dataclass
class Bench:
    """One host, and the folder of the manifest."""

    host: LabHost
    folder: Path
    patience: Patience = PATIENCE
    booted: int = 0

    @cached_property
    def connection(self) -> libvirt.virConnect:
        """To look at the host, and for what a worker would do."""
        return libvirt.open(self.host.uri())

    @cached_property
    def plugins(self) -> Plugins:
        return load_plugins()

    # A HostReader and a HostWriter.

    def observe(self, scope: Scope) -> Mapping[str, HostSnapshot]:
        return {self.host.name: read_host(self.connection, self.host.name, scope)}

    def check_in(self, asked: CheckIn) -> Future[TaskResult]:
        return self._answer(lambda: check_in(self.connection, asked))

    def submit(self, request: TaskRequest, progress: Callable[[Progress], None]) -> Future[TaskResult]:
        return self._answer(lambda: perform(self.connection, request, progress, self.patience))

    def _answer(self, work: Callable[[], TaskResult]) -> Future[TaskResult]:
        answer: Future[TaskResult] = Future()
        try:
            answer.set_result(work())
        except (Moved, TaskFailed) as error:
            answer.set_exception(error)
        return answer

    # What a user does.

    def plan(self, manifest: Manifest, *, scheduled: bool = False) -> Plan:
        """Plan a manifest: JSON is YAML."""
        path = self.folder / "cluster.yaml"
        path.write_text(json.dumps(manifest, indent=1))
        cluster = load_cluster(path, self.plugins)
        plan, _ = plan_cluster(in_schedule(cluster) if scheduled else cluster, self, self.plugins)
        return plan

    def carry_out(self, plan: Plan) -> tuple[tuple[str, ...], tuple[Diagnostic, ...]]:
        """Apply a plan to its end. Returns the remarks, and what went wrong."""
        events = list(apply(plan, self, cancelled=Flag()))
        wrong = tuple(event.diagnostic for event in events if isinstance(event, StepFailed | StepRefused))
        return tuple(
            remark for event in events if isinstance(event, StepDone) for remark in event.remarks
        ), wrong

    def apply(self, plan: Plan) -> tuple[str, ...]:
        """Apply a plan, all of it. Returns the remarks."""
        remarks, wrong = self.carry_out(plan)
        assert not wrong, "\n".join(map(str, wrong))
        return remarks

    def converge(self, manifest: Manifest) -> Plan:
        """Plan and apply; nothing may be blocked, and nothing be left to do. Returns the plan with nothing to do."""
        plan = self.plan(manifest)
        assert not plan.blocked, plan.blocked
        self.apply(plan)
        left = self.plan(manifest) if plan.steps else plan
        assert not left.steps, [(s.address, s.changes, s.summary) for s in left.steps]
        return left

    # What is there.

    def domain(self, name: str) -> libvirt.virDomain:
        return self.connection.lookupByName(name)

    def process(self, vm: str) -> tuple[int, str] | None:
        """The guest's QEMU by pid and time of its start, None if none runs."""
        if not self.domain(vm).isActive():
            return None
        pid = int((self.host.folder / "run/libvirt/qemu" / f"{vm}.pid").read_text())
        status = self.domain(vm).XMLDesc(0)
        return pid, re.search(r"id='(\d+)'", status)[1]

    def files(self) -> dict[str, str]:
        """Digests of all volumes and firmware variables of the host, by path."""
        places = ("srv", "lib/qemu/nvram", "lib/qemu/snapshot")
        found = [p for place in places for p in (self.host.folder / place).rglob("*") if p.is_file()]
        return {
            str(p.relative_to(self.host.folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in found
        }

    def await_boot(self, vm: str) -> None:
        """Wait until the guest's operating system, such as it is, says that it is up."""
        deadline = time.monotonic() + 150  # a busy machine takes its time, and firmware writes until then
        while BANNER.encode() not in self._log(vm)[self.booted :] and time.monotonic() < deadline:
            time.sleep(0.02)

    def forget_boot(self, vm: str) -> None:
        """Wait for the next one from now on: the log goes on where it was."""
        self.booted = len(self._log(vm))

    def _log(self, vm: str) -> bytes:
        log = self.host.folder / "log/qemu" / f"{vm}.serial.log"
        return log.read_bytes() if log.exists() else b""


def steps_of(plan: Plan, kind: Kind) -> Iterator[Step]:
    return (step for step in plan.steps if step.address.kind is kind)


_PASSING = ("metadata", "currentMemory", "seclabel")


def dump(domain: libvirt.virDomain, *, live: bool) -> str:
    """A definition as libvirt gives it, without our marker and what a guest changes by itself."""
    root = etree.fromstring(domain.XMLDesc(0 if live else libvirt.VIR_DOMAIN_XML_INACTIVE))
    for tag in _PASSING:
        for element in root.findall(tag):
            root.remove(element)
    return etree.tostring(root, encoding="unicode")


def images(folder: Path) -> None:
    """The files that manifests here name."""
    tiny_image(folder / "tiny.img", unplug=True)
    (folder / "a.iso").write_bytes(b"\0" * 0x8000 + b"\1CD001\1" + b"a" * 2041)
    (folder / "b.iso").write_bytes(b"\0" * 0x8000 + b"\1CD001\1" + b"b" * 2041)
