"""Write docs/rules.md and the pages of the rules' codes again, from the rules. Run by `make schemas`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import kvmdecl_rules

from kvmdecl.pluginhost import load_plugins

if TYPE_CHECKING:
    from kvmdecl.rules import Rule

DOCUMENT = Path(__file__).parents[1] / "docs" / "rules.md"
PAGES = Path(kvmdecl_rules.__file__).parent / "codes"
MARK = "<!-- From here on made by `make schemas` from the rules in plugins/kvmdecl_rules. -->\n"


def render(rules: tuple[Rule, ...]) -> str:
    """Return what the document must hold: the written part as it is, then a table for each group."""
    written, mark, _ = DOCUMENT.read_text("utf-8").partition(MARK)
    if not mark:
        raise SystemExit(f"{DOCUMENT}: the mark above the reference is gone: {MARK}")
    return written + MARK + "".join(_table(group, rules) for group in kvmdecl_rules.GROUPS)


def _table(group: str, rules: tuple[Rule, ...]) -> str:
    rows = "".join(_row(rule) for rule in rules if rule.group == group)
    return (
        f"\n## {group}\n\n| Rule | Weight | What goes wrong | What to do |\n| --- | --- | --- | --- |\n{rows}"
    )


def _row(rule: Rule) -> str:
    told = "with hosts read" if rule.needs_hosts else ""
    weight = ", ".join(filter(None, (rule.weight, told)))
    return f"| `{rule.code}` | {weight} | {rule.title} | {rule.fix} |\n"


def page(rule: Rule) -> str:
    """Return the page of a rule's code."""
    return (
        f"# {rule.code}: {rule.title}\n\n{rule.why}\n\nWhat to do: {rule.fix}.\n\n"
        f"Not so:\n\n```yaml\n{rule.bad}```\n\nBut so:\n\n```yaml\n{rule.good}```\n\n"
        f"Known from: {rule.source}.\n\nWhoever knows better accepts it for some objects and up to a day "
        "(`rules: {waive: ...}`), or leaves the rule out (`rules: {ignore: ...}`).\n"
    )


def pages(rules: tuple[Rule, ...]) -> dict[Path, str]:
    """Return every page by the file that it belongs in."""
    return {PAGES / f"{rule.code}.md": page(rule) for rule in rules if rule.group in kvmdecl_rules.GROUPS}


def main() -> None:
    """Write them, and take away the pages of rules that are gone."""
    rules = load_plugins().rules()
    DOCUMENT.write_text(render(rules), "utf-8")
    PAGES.mkdir(exist_ok=True)
    wanted = pages(rules)
    for file in PAGES.glob("*.md"):
        if file not in wanted:
            file.unlink()
    for file, text in wanted.items():
        file.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
