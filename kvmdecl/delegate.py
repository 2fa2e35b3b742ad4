"""A HostWriter that hands the tasks of cluster managers to their plugins, and all others on."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kvmdecl.diagnostics import Rejected, TaskFailed
from kvmdecl.hosts.protocol import TaskResult
from kvmdecl.tasks import ConfigureManager

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kvmdecl.hosts.protocol import CheckIn, DropLock, HostWriter, Progress, TakeLock, TaskRequest
    from kvmdecl.manager import Manager, Reach


@dataclass(frozen=True)
class Delegating:
    """Carries out tasks: those of `managers` by way of `reach`, through one of `hosts`; others by `writer`."""

    writer: HostWriter
    managers: Mapping[str, Manager]
    reach: Reach
    hosts: Sequence[str]
    _threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1), repr=False)

    def take_lock(self, asked: TakeLock) -> Future[TaskResult]:
        """As `HostWriter`."""
        return self.writer.take_lock(asked)

    def drop_lock(self, asked: DropLock) -> Future[TaskResult]:
        """As `HostWriter`."""
        return self.writer.drop_lock(asked)

    def check_in(self, asked: CheckIn) -> Future[TaskResult]:
        """As `HostWriter`."""
        return self.writer.check_in(asked)

    def submit(self, request: TaskRequest, progress: Callable[[Progress], None]) -> Future[TaskResult]:
        """As `HostWriter`."""
        task = request.task
        if not isinstance(task, ConfigureManager):
            return self.writer.submit(request, progress)
        return self._threads.submit(self._perform, task, request.precondition)

    def _perform(self, task: ConfigureManager, precondition: str) -> TaskResult:
        try:
            manager = self.managers[task.manager]
            return TaskResult(manager.perform(task, precondition, self.reach, self.hosts))
        except Rejected as rejected:  # such as a program of the manager that is not installed here
            raise TaskFailed(rejected.diagnostics[0]) from rejected
