"""`kvmdecl unlock`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from kvmdecl.cli import common

if TYPE_CHECKING:
    from concurrent.futures import Future

    from kvmdecl.diagnostics import Diagnostic
    from kvmdecl.hosts.protocol import TaskResult
    from kvmdecl.uri import HostUri


def run(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Name of the run, as the refusal gives it.")],
    path: common.ClusterPath = common.DEFAULT_PATH,
) -> None:
    """Break the locks that a run left on hosts because it died before its end.

    Runs that died on this machine need no help: the next one sees that they are dead. The locks of other runs are left
    as they are, and so are those of one that is seen to be running here. One that is paused or cut off somewhere else
    finds its lock broken before its next step, and stops.

    Examples:
      kvmdecl unlock 20261126t074211z-7f3a5c
      kvmdecl unlock 20261126t074211z-7f3a5c clusters/demo

    Exit codes: 0 done or nothing to do, 1 error, 3 a host did not answer.
    """
    from kvmdecl.cli import planning
    from kvmdecl.diagnostics import TaskFailed
    from kvmdecl.pipeline import read_from
    from kvmdecl.pluginhost import load_plugins
    from kvmdecl.text import safe_text

    cluster = planning.read_cluster(path, load_plugins())
    answers = _drop(cluster.name, run, read_from(cluster))
    found: list[str] = []
    failed: list[Diagnostic] = []
    for future in answers:
        try:
            found += future.result().remarks
        except TaskFailed as error:
            failed.append(error.diagnostic)
    for remark in found:
        common.say(f"Broken: {remark}.")
    if not found and not failed:
        common.say(f"Nothing to break: {safe_text(run)} holds no host of {cluster.name}.")
    common.report(failed)
    alive = any(each.code == "run.alive" for each in failed)
    raise typer.Exit(common.Exit.ERROR if alive else common.Exit.PARTIAL if failed else common.Exit.OK)


def _drop(cluster: str, run: str, uris: dict[str, HostUri]) -> list[Future[TaskResult]]:
    """Break the run's locks on all hosts at once; every answer is there."""
    from concurrent.futures import wait

    from kvmdecl.hosts.fleet import WritingFleet
    from kvmdecl.hosts.protocol import DropLock

    with WritingFleet(uris) as fleet:
        answers = [fleet.drop_lock(DropLock(host, cluster, run, by_force=True)) for host in sorted(uris)]
        wait(answers)
    return answers
