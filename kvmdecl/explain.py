"""What a diagnostic's code means: one Markdown page per code, of the core or of an installed plugin."""

from __future__ import annotations

from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

from kvmdecl.diagnostics import Diagnostic, Rejected
from kvmdecl.text import did_you_mean, quoted

_CORE = Path(__file__).parent / "codes"


def codes() -> dict[str, Path]:
    """All codes that have a page, sorted, with the file that holds it.

    Plugins are looked up where they are installed, without importing them; none replaces a page of the core.
    """
    pages: dict[str, Path] = {}
    for folder in (_CORE, *_plugin_folders()):
        for file in folder.glob("*.md"):
            pages.setdefault(file.stem, file)
    return dict(sorted(pages.items()))


def core_codes() -> frozenset[str]:
    """The codes that the core has a page for."""
    return frozenset(file.stem for file in _CORE.glob("*.md"))


def page(code: str) -> str:
    """The page of a code, as Markdown.

    Raises:
        Rejected: `explain.unknown-code`, with the nearest code.
    """
    known = codes()
    if code not in known:
        hint = did_you_mean(code, known) or "`kvmdecl explain` lists all codes"
        summary = f"there is no code {quoted(code)}"
        raise Rejected([Diagnostic("explain.unknown-code", summary, hint=hint)])
    return known[code].read_text("utf-8")


def overview() -> str:
    """One line for each code: the code and its page's title."""
    titles = {code: _title(code, file) for code, file in codes().items()}
    width = max(map(len, titles), default=0)
    return "".join(f"{code:<{width}}  {title}\n" for code, title in titles.items())


def _title(code: str, file: Path) -> str:
    with file.open(encoding="utf-8") as lines:
        return lines.readline().strip().removeprefix(f"# {code}:").strip()


def _plugin_folders() -> list[Path]:
    folders: list[Path] = []
    for entry in sorted(entry_points(group="kvmdecl"), key=lambda entry: entry.name):
        # The package alone: looking up a submodule would import what is above it.
        spec = find_spec(entry.module.partition(".")[0])
        places = spec.submodule_search_locations if spec is not None else None
        folders += [Path(place) / "codes" for place in places or ()]
    return folders
