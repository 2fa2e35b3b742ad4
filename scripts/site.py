"""What the site has beside docs/: the README as its first page, the codes' pages, the examples, the schemas.

A hook of mkdocs, named in mkdocs.yml. Nothing is written into the checkout.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File

from kvmdecl import explain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).parents[1]


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add what is kept elsewhere in the checkout, or made from it."""
    for name, text in _texts():
        files.append(File.generated(config, name, content=text))
    for path in sorted((*ROOT.glob("schemas/*.json"), ROOT / "requirements/run.txt")):
        files.append(File.generated(config, str(path.relative_to(ROOT)), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Let links lead to where the site has what the checkout has beside docs/."""
    within_docs = markdown.replace("](docs/", "](").replace("](CHANGELOG.md)", "](changelog.md)")
    examples = re.sub(r"\]\((?:\.\./)?clusters(?:/([a-z-]+)(?:/[a-z.]+)?)?/?\)", _example, within_docs)
    beside = re.sub(r"\]\(\.\./(?!\.\./)", "](", examples)
    return beside.replace("](../../docs/", "](../")  # of a code's page


def _example(link: re.Match[str]) -> str:
    return f"](clusters.md#{link[1]})" if link[1] else "](clusters.md)"


def _texts() -> Iterator[tuple[str, str]]:
    yield "index.md", (ROOT / "README.md").read_text("utf-8")
    yield "changelog.md", (ROOT / "CHANGELOG.md").read_text("utf-8")
    yield "clusters.md", "".join(_examples())
    titles = dict(line.split(None, 1) for line in explain.overview().splitlines())
    rows = "".join(f"| [`{code}`](codes/{code}.md) | {title} |\n" for code, title in titles.items())
    yield (
        "codes.md",
        f"# Codes of messages\n\n`kvmdecl explain CODE` shows the same.\n\n| | |\n| --- | --- |\n{rows}",
    )
    for code in titles:
        yield f"codes/{code}.md", explain.page(code)


def _examples() -> Iterator[str]:
    yield "# Examples\n\nWhole manifests, in the checkout's `clusters/`.\n"
    for folder in sorted(path for path in (ROOT / "clusters").iterdir() if path.is_dir()):
        yield f"\n## {folder.name}\n"
        for path in sorted(folder.iterdir()):
            language = "yaml" if path.suffix == ".yaml" or path.name == "user-data" else "text"
            yield f"\n`{path.name}`:\n\n```{language}\n{path.read_text('utf-8').rstrip()}\n```\n"
