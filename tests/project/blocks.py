"""The code blocks of the project's pages, and the small world in which they are tried."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NOT_RUN = re.compile(r"<!-- not run: (.+?) -->")


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block."""

    page: str
    line: int
    language: str
    text: str
    not_run: str
    """Why it is not run: what the comment before it says."""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(language: str) -> list[Block]:
    """All blocks in this language, page by page, in their order."""
    return [block for page in PAGES for block in _of_page(page) if block.language == language]


def _of_page(page: Path) -> list[Block]:
    found: list[Block] = []
    said = ""
    for token in MarkdownIt().parse(page.read_text("utf-8")):
        if token.type == "fence" and token.map is not None:
            why = NOT_RUN.search(said)
            found.append(Block(page.name, token.map[0] + 1, token.info, token.content, why[1] if why else ""))
        said = token.content if token.type == "html_block" else ""
    return found


DEMO = """\
apiVersion: kvmdecl/v1
cluster: demo
hosts: {"kvm-{1..3}": "qemu+tls://{name}.example/system"}
storage: {vms: /srv/vms}
vms:
  db: {memory: 64MiB, disk: 1MiB, host: kvm-1}
"""
EDGE = """\
apiVersion: kvmdecl/v1
cluster: edge
hosts: {"kvm-{1..3}": "qemu+tls://{name}.edge.example/system"}
networks: {lan: {mode: isolated}}
storage: {edge: /srv/edge}
profiles:
  small: {memory: 64MiB, disk: 1MiB, nics: [lan]}
vms:
  web: {profile: small, count: 2}
  "db-{site}": {for: {site: [north, south]}, profile: small, state: stopped}
  train: {profile: small, state: stopped}
"""
WORLD = {
    "clusters/demo/cluster.yaml": DEMO,
    "clusters/edge/cluster.yaml": EDGE,
    "clusters/prod/cluster.yaml": DEMO.replace("demo", "prod").replace("db", "shop"),
    "cluster.yaml": DEMO,
    "my-cluster.yaml": DEMO,
    ".venv/bin/activate": "",
}
"""The files that the pages' commands find: what they call demo, edge and prod is fit for the hosts of a lab."""

KVMDECL = """\
#!/bin/sh
# Whoever reads the page says yes, and does not mind that the doctor finds something.
case "$1" in apply | snapshot) case "$2" in list) ;; *) set -- "$@" --yes ;; esac ;; esac
"{python}" -m kvmdecl "$@" || {{ code=$?; [ "$1 $code" = "doctor 2" ] || exit $code; }}
"""
