"""`kvmdecl adopt`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kvmdecl.cli import common

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmdecl.adopt import Adoption, Files
    from kvmdecl.cluster import ResolvedCluster
    from kvmdecl.plan import Plan
    from kvmdecl.state import HostSnapshot, Observation


def run(
    host: Annotated[str, typer.Argument(help="Host of the manifest that has the guests.")],
    path: common.ClusterPath = common.DEFAULT_PATH,
    vm: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A guest to take over; may be given several times."),
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Take over every guest that is nobody's.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; print what would be added.")] = False,
    facts: Annotated[
        Path | None, typer.Option(help="Look offline, at the files that `kvmdecl facts` wrote.")
    ] = None,
) -> None:
    """Write entries for guests that exist on a host into the manifest.

    The entries declare exactly what is there: a plan with them only marks the guests as this cluster's, and that is
    made sure of before anything is written. Nothing changes on the host; the next apply writes the mark.

    Entries are added at the end of their sections, and no other byte of the file changes. In a folder they get a
    file of their own, adopted-HOST.yaml.

    Examples:
      kvmdecl adopt kvm-1 --vm db clusters/demo
      kvmdecl adopt kvm-1 --all --check

    Exit codes: 0 written, or could be (--check); 1 error, or nothing was taken over; 3 some guests were not.
    """
    if bool(vm) == all_:
        raise typer.BadParameter("name guests with --vm, or say --all")
    files, adoption = _adopt(host, path, None if all_ else vm, facts)
    common.report(adoption.refused)
    if adoption.text is None and not (all_ and not adoption.refused):
        raise typer.Exit(common.Exit.ERROR)
    if check:
        common.say(_shown(adoption), end="")
    elif adoption.text is not None:
        _write(files.target, adoption.text)
    common.say(_closing(adoption, files.target, path, check=check), end="")
    failed = any(found.code != "adopt.secret" for found in adoption.refused)
    raise typer.Exit(common.Exit.PARTIAL if failed else common.Exit.OK)


def _adopt(host: str, path: Path, names: list[str] | None, facts: Path | None) -> tuple[Files, Adoption]:
    from kvmdecl.adopt import adopt
    from kvmdecl.cli import planning
    from kvmdecl.pluginhost import load_plugins

    plugins = load_plugins()
    cluster = planning.read_cluster(path, plugins)
    _require_host(host, cluster)
    observations = _observe(cluster, facts)
    files = _files(path, host)

    def plan(texts: Mapping[Path, str]) -> Plan:
        return planning.make_from(path, plugins, observations, texts)

    return files, adopt(cluster, files, _snapshot(host, observations), names, plan)


def _require_host(host: str, cluster: ResolvedCluster) -> None:
    from kvmdecl.diagnostics import Diagnostic, Rejected
    from kvmdecl.text import did_you_mean, quoted

    names = [known.name for known in cluster.hosts]
    if host not in names:
        hint = did_you_mean(host, names) or f"hosts are {', '.join(names) or 'not in the manifest yet'}"
        raise Rejected([Diagnostic("adopt.unknown-host", f"there is no host {quoted(host)}", hint=hint)])


def _observe(cluster: ResolvedCluster, facts: Path | None) -> Mapping[str, Observation]:
    """All hosts, as `plan` reads them: a guest may be defined on two."""
    from dataclasses import replace

    from kvmdecl.hosts.fleet import ReadingFleet
    from kvmdecl.hosts.sanity import believable
    from kvmdecl.pipeline import read_from, scope_of
    from kvmdecl.snapshot import SnapshotReader

    scope, uris = replace(scope_of(cluster), interfaces=True), read_from(cluster)
    if facts is not None:
        return believable(SnapshotReader(facts, uris).observe(scope))
    with ReadingFleet(uris) as fleet:
        return believable(fleet.observe(scope))


def _snapshot(host: str, observations: Mapping[str, Observation]) -> HostSnapshot:
    from kvmdecl.diagnostics import Rejected
    from kvmdecl.state import Unreachable

    seen = observations[host]
    if isinstance(seen, Unreachable):
        raise Rejected([seen.diagnostic])
    return seen


def _files(path: Path, host: str) -> Files:
    from kvmdecl.adopt import Files
    from kvmdecl.source import find_files, read_text

    texts = {file: read_text(file) for file in find_files(path)}
    return Files(texts, path / f"adopted-{host}.yaml" if path.is_dir() else path)


def _write(target: Path, text: str) -> None:
    """Keep a byte order mark, a link, and that a file is private."""
    place = target.resolve()
    mark = ""
    private = False
    if place.exists():
        with place.open("rb") as stream:
            mark = "\ufeff" if stream.read(3) == b"\xef\xbb\xbf" else ""
        private = not place.stat().st_mode & 0o077
    common.write_file(place, mark + text, private=private)


def _shown(adoption: Adoption) -> str:
    parts = (
        "\n".join([f"{section}:", *(f"  {line}".rstrip() for line in lines)])
        for section, lines in adoption.added.items()
    )
    return "".join(f"{part}\n" for part in parts)


def _closing(adoption: Adoption, target: Path, path: Path, *, check: bool) -> str:
    from kvmdecl.text import safe_text

    if not adoption.vms:
        return "No guest of this host is nobody's.\n"
    number = len(adoption.vms)
    guests = f"{number} guest{'s' * (number > 1)}"
    if check:
        return f"A plan with this would only mark {guests} as the cluster's. Nothing was written.\n"
    lines = [
        f"wrote {safe_text(str(target))}: {guests} added.",
        "Nothing has changed on the host; to take them over:",
    ]
    return "\n".join([*lines, f"    kvmdecl apply {safe_text(str(path))}"]) + "\n"
