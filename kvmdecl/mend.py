"""Findings that have a safe change -> the manifest's files with these changes made, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kvmdecl.cluster import ResolvedHost, ResolvedNetwork, ResolvedPool, ResolvedVm
from kvmdecl.diagnostics import Rejected
from kvmdecl.edit import Splice, applied, removal, setting
from kvmdecl.images import Care
from kvmdecl.load import load
from kvmdecl.pipeline import load_cluster
from kvmdecl.resolve import parts_of
from kvmdecl.rules import open_findings, site_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kvmdecl.load import LoadedManifest
    from kvmdecl.pluginhost import Plugins
    from kvmdecl.rules import Finding, Rule

_SECTIONS = {ResolvedVm: "vms", ResolvedHost: "hosts", ResolvedNetwork: "networks", ResolvedPool: "storage"}


def mended(path: Path, plugins: Plugins) -> dict[Path, str]:
    """The files of a manifest that safe changes alter, as they are going to be; empty if there is nothing to mend.

    A change is made only if the manifest is valid with it and the finding is gone.

    Raises:
        Rejected: with everything that is wrong in the manifest as it is.
    """
    loaded = load(path, plugins.sections())
    found = [each for each in _findings(path, plugins, {}) if each[1].change is not None]
    texts: dict[Path, str] = {}
    splices = sorted(
        {splice for _, finding in found if (splice := _splice(loaded, finding, texts)) is not None}
    )
    good: list[Splice] = []
    for trial in (splices, *([splice] for splice in splices)):
        if good != splices and _helps(path, plugins, texts, [*good, *trial], len(found)):
            good += [splice for splice in trial if splice not in good]
    return _with(texts, good)


def _helps(
    path: Path, plugins: Plugins, texts: Mapping[Path, str], splices: Iterable[Splice], before: int
) -> bool:
    try:
        after = _findings(path, plugins, _with(texts, splices))
    except Rejected:
        return False
    return sum(finding.change is not None for _, finding in after) < before


def _with(texts: Mapping[Path, str], splices: Iterable[Splice]) -> dict[Path, str]:
    by_file: dict[Path, list[Splice]] = {}
    for splice in splices:
        by_file.setdefault(Path(splice.file), []).append(splice)
    return {file: applied(texts[file], mine) for file, mine in by_file.items()}


def _findings(path: Path, plugins: Plugins, texts: Mapping[Path, str]) -> list[tuple[Rule, Finding]]:
    cluster = load_cluster(path, plugins, Care.LOOK, texts)
    return open_findings(plugins.rules(), site_of(cluster))


def _splice(loaded: LoadedManifest, finding: Finding, texts: dict[Path, str]) -> Splice | None:
    """The change of a finding as a splice; the text of its file goes into `texts`."""
    change = finding.change
    if change is None:
        return None
    way = (_SECTIONS[type(finding.subject)], finding.subject.name, *parts_of(change.key))
    place = loaded.place(*way if change.value is not None else way[:-1])
    texts[Path(place.node.source.name)] = place.node.source.text
    if change.value is not None:
        return setting(place, way, change.value)
    return removal(place, str(way[-1])) if place.path == way[:-1] else None
