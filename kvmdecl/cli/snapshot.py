"""`kvmdecl snapshot`: snapshots of the vms of a manifest, by command or by its policies, and the way back to them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kvmdecl.cli import common

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmdecl.cluster import ResolvedCluster
    from kvmdecl.planner.snapshots import Found, Wish
    from kvmdecl.state import Observation

app = typer.Typer(
    name="snapshot",
    help="Take, list, merge and go back to snapshots of vms, by command or by the manifest's policies.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Manifest = Annotated[
    Path, typer.Argument(metavar="PATH", help="Manifest file, or folder.", show_default=False)
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Progress = Annotated[common.ProgressView, typer.Option(help="How to show progress.")]


@app.callback()
def snapshot() -> None:
    """Take, list, merge and go back to snapshots of vms, by command or by the manifest's policies.

    A snapshot keeps the disks of a guest as they are at one moment: from then on it writes to new files beside
    its volumes. To delete a snapshot is to merge these files into the volumes while the guest runs; what it wrote
    stays. To revert is to begin again from what the volumes kept. Snapshots are no backup: they lie beside the disks.

    Examples:
      kvmdecl snapshot create clusters/demo db --quiesce
      kvmdecl snapshot list clusters/demo
      kvmdecl snapshot run clusters/demo --yes
    """


@app.command()
def create(
    path: Manifest,
    vms: Annotated[
        list[str] | None, typer.Argument(metavar="VM", help="Vms; all of them if none is named.")
    ] = None,
    name: Annotated[
        str, typer.Option(help="Name of the snapshot.", show_default="manual- and the time, in UTC")
    ] = "",
    quiesce: Annotated[
        bool, typer.Option("--quiesce", help="Have the guest agent freeze file systems meanwhile.")
    ] = False,
    yes: Yes = False,
    progress: Progress = common.ProgressView.AUTO,
    journal: common.JournalDirectory = None,
) -> None:
    """Take a snapshot of vms, whether they run or not.

    All disks of a vm are taken at one moment: those that it writes to, and that are files.

    Examples:
      kvmdecl snapshot create clusters/demo db --name before-upgrade --quiesce

    Exit codes: 0 done, 1 error or blocked, 3 done in part,
    5 another run holds a host.
    """
    from datetime import UTC, datetime

    from kvmdecl.planner.snapshots import Wish

    cluster, seen = _observe(path)
    name = _checked(name) if name else f"manual-{datetime.now(UTC):%Y%m%dt%H%M%Sz}"
    wishes = [Wish(vm, take=name, quiesce=quiesce) for vm in _chosen(vms, cluster)]
    _carry_out(cluster, seen, wishes, yes=yes, progress=progress, journal=journal)


@app.command()
def delete(
    path: Manifest,
    vm: Annotated[str, typer.Argument(help="Name of the vm.", show_default=False)],
    names: Annotated[list[str], typer.Argument(metavar="NAME", help="Snapshots.", show_default=False)],
    yes: Yes = False,
    progress: Progress = common.ProgressView.AUTO,
    journal: common.JournalDirectory = None,
) -> None:
    """Merge snapshots of a running vm into its disks.

    What it wrote since stays, the way back goes. Only snapshots that kvmdecl made are touched.

    Examples:
      kvmdecl snapshot delete clusters/demo db before-upgrade

    Exit codes: 0 done, 1 error or blocked, 3 done in part,
    5 another run holds a host.
    """
    from kvmdecl.planner.snapshots import Wish

    cluster, seen = _observe(path)
    wishes = [Wish(vm, drop=tuple(dict.fromkeys(names))) for vm in _chosen([vm], cluster)]
    _carry_out(cluster, seen, wishes, yes=yes, progress=progress, journal=journal)


@app.command()
def revert(
    path: Manifest,
    vm: Annotated[str, typer.Argument(help="Name of the vm.", show_default=False)],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Snapshot.", show_default=False)],
    discard: Annotated[bool, typer.Option("--discard", help="Delete what was written since.")] = False,
    yes: Yes = False,
    progress: Progress = common.ProgressView.AUTO,
    journal: common.JournalDirectory = None,
) -> None:
    """Begin again from the newest snapshot of a vm that is off.

    Its disks are as they were then, and it writes to new files. What it wrote since stays in files beside them, unless
    --discard. The snapshot stays, too. Firmware variables, the state of a TPM and what was not on the snapshot's disks
    are as they are now.

    Examples:
      kvmdecl snapshot revert clusters/demo db before-upgrade

    Exit codes: 0 done, 1 error or blocked, 3 done in part,
    5 another run holds a host.
    """
    from datetime import UTC, datetime

    from kvmdecl.planner.snapshots import Wish

    cluster, seen = _observe(path)
    stamp = f"{datetime.now(UTC):%Y%m%dt%H%M%Sz}"
    wishes = [Wish(vm, revert=name, stamp=stamp, discard=discard) for vm in _chosen([vm], cluster)]
    _carry_out(cluster, seen, wishes, yes=yes, progress=progress, journal=journal)


@app.command()
def run(
    path: common.ClusterPath = common.DEFAULT_PATH,
    yes: Yes = False,
    progress: Progress = common.ProgressView.AUTO,
    journal: common.JournalDirectory = None,
) -> None:
    """Take what is due by policy, merge the oldest beyond it.

    For cron. Snapshots that no policy made are neither counted nor touched, and guests that are off are left alone.

    Examples:
      kvmdecl snapshot run clusters/demo --yes

    Exit codes: 0 done or nothing due, 1 error or blocked, 3 done in part,
    5 another run holds a host.
    """
    from datetime import UTC, datetime

    from kvmdecl.planner.snapshots import due

    cluster, seen = _observe(path)
    _carry_out(
        cluster, seen, due(cluster, seen, datetime.now(UTC)), yes=yes, progress=progress, journal=journal
    )


@app.command("list")
def list_(
    path: common.ClusterPath = common.DEFAULT_PATH,
    format_: Annotated[common.Format, typer.Option("--format", help="Output format.")] = common.Format.TEXT,
) -> None:
    """List the snapshots of the manifest's vms.

    With the time when each was made, and by whom.

    Examples:
      kvmdecl snapshot list clusters/demo --format json

    Exit codes: 0 listed, 1 error, 3 a host did not answer.
    """
    from kvmdecl.planner.snapshots import find
    from kvmdecl.state import Unreachable

    cluster, seen = _observe(path)
    found = find(cluster, seen)
    common.say((_as_json if format_ is common.Format.JSON else _as_text)(found, cluster.name), end="")
    silent = [each.diagnostic for each in seen.values() if isinstance(each, Unreachable)]
    common.report(silent)
    raise typer.Exit(common.Exit.PARTIAL if silent else common.Exit.OK)


def _rows(found: Mapping[str, Found], cluster: str) -> list[dict[str, str]]:
    from datetime import UTC, datetime

    who = {"command": "kvmdecl", "policy": "kvmdecl, by policy"}
    return [
        {
            "host": each.host,
            "vm": name,
            "snapshot": snapshot.name,
            "created": f"{datetime.fromtimestamp(snapshot.created, UTC):%Y-%m-%dT%H:%M:%SZ}",
            "by": who[snapshot.by] if snapshot.cluster == cluster else "somebody else",
        }
        for name, each in sorted(found.items())
        for snapshot in each.domain.snapshots
    ]


def _as_json(found: Mapping[str, Found], cluster: str) -> str:
    import json

    document = {"formatVersion": "1.0", "cluster": cluster, "snapshots": _rows(found, cluster)}
    return json.dumps(document, indent=2, ensure_ascii=True) + "\n"


def _as_text(found: Mapping[str, Found], cluster: str) -> str:
    from kvmdecl.text import safe_text

    rows = [[safe_text(value) for value in row.values()] for row in _rows(found, cluster)]
    if not rows:
        return "There are no snapshots.\n"
    table = [["HOST", "VM", "SNAPSHOT", "CREATED", "BY"], *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ("  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)) for row in table)
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _observe(path: Path) -> tuple[ResolvedCluster, dict[str, Observation]]:
    from kvmdecl.cli import planning
    from kvmdecl.hosts.fleet import ReadingFleet
    from kvmdecl.hosts.protocol import Scope
    from kvmdecl.hosts.sanity import believable
    from kvmdecl.pluginhost import load_plugins

    cluster = planning.read_cluster(path, load_plugins())
    with ReadingFleet({host.name: host.uri for host in cluster.hosts}) as fleet:
        return cluster, believable(fleet.observe(Scope(snapshots=True)))


def _chosen(vms: list[str] | None, cluster: ResolvedCluster) -> list[str]:
    from kvmdecl.diagnostics import Diagnostic, Rejected
    from kvmdecl.text import hint_for_vm, safe_text

    known = [vm.name for vm in cluster.vms if vm.state != "absent"]
    if unknown := [vm for vm in vms or () if vm not in known]:
        raise Rejected(
            [
                Diagnostic(
                    "show.unknown-vm",
                    f"there is no vm {safe_text(vm)}",
                    hint=hint_for_vm(vm, known),
                )
                for vm in unknown
            ]
        )
    return list(dict.fromkeys(vms)) if vms else known


def _checked(name: str) -> str:
    """The name becomes a part of file names."""
    from pydantic_core import PydanticCustomError

    from kvmdecl.names import parse_name

    try:
        return parse_name(name)
    except PydanticCustomError as error:
        raise typer.BadParameter(str(error), param_hint="--name") from error


def _carry_out(
    cluster: ResolvedCluster,
    seen: Mapping[str, Observation],
    wishes: list[Wish] | tuple[Wish, ...],
    *,
    yes: bool,
    progress: common.ProgressView,
    journal: Path | None,
) -> None:
    from kvmdecl.cli import applying, planning
    from kvmdecl.planner.snapshots import make_snapshot_plan

    plan = make_snapshot_plan(cluster, seen, wishes)
    applying.show(plan, progress)
    if not plan.steps:
        raise typer.Exit(planning.exit_code(plan, detailed=False))
    given = applying.consent(plan, yes=yes, allowed=frozenset(), reviewed=False)
    errand = applying.Errand("snapshot", cluster.name, seen, given, journal)
    raise typer.Exit(applying.carry_out(plan, errand, parallel=8, progress=progress))
