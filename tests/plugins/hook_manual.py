"""The part of docs/plugins.md that is made from the hooks. Run as a module, this writes it again."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from kvmdecl import hooks
from kvmdecl.pluginhost import HOOKS
from kvmdecl.solver import Solver

MANUAL = Path(__file__).parents[2] / "docs" / "plugins.md"
_PART = re.compile(r"(<!-- hooks: [^\n]* -->\n)(.*?)(<!-- end of hooks -->\n)", re.DOTALL)


def hook_manual() -> str:
    """The hooks with their signatures and docstrings, and what a solver's answer must keep to, as Markdown."""
    rules = f"### Solver\n\n{inspect.getdoc(Solver)}\n\n{inspect.getdoc(Solver.__call__)}\n"
    return "\n".join([*map(_section, HOOKS), rules])


def written(text: str) -> str:
    """The part of the manual as it stands."""
    found = _PART.search(text)
    assert found, "docs/plugins.md has no place for the hooks"
    return found[2].strip() + "\n"


def _section(name: str) -> str:
    hook = getattr(hooks, name)
    signature = f"def {name}{inspect.signature(hook)}".replace("'", "")
    return f"### {name}\n\n```text\n{signature}\n\n{inspect.getdoc(hook)}\n```\n"


if __name__ == "__main__":
    fresh = _PART.sub(
        lambda part: f"{part[1]}\n{hook_manual()}\n{part[3]}", MANUAL.read_text(encoding="utf-8")
    )
    MANUAL.write_text(fresh, encoding="utf-8")
