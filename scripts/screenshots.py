"""Take the pictures of docs/ with a headless Chromium, which must not complain of a page or ask for anything for it.

Run by `make screenshots`, from the top of the checkout. The pages are what `kvmdecl diff` makes of tests/views/review.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kvmdecl.scenario import example_host
from kvmdecl.snapshot import write_snapshots
from kvmdecl.views.plan_html import render_html
from kvmdecl.views.topology_svg import render_svg
from tests.views.plans import HOSTILE, hostile

if TYPE_CHECKING:
    from collections.abc import Iterator

TOP = Path(__file__).parents[1]
REVIEW = TOP / "tests" / "views" / "review"
MOST_BYTES = 200_000
PICTURES = (("plan.html", "plan-page.png", (1100, 1180)), ("plan.svg", "plan-picture.png", (1340, 390)))
GIT = ["git", "-c", "user.name=docs", "-c", "user.email=docs@example.com", "-c", "commit.gpgsign=false"]


class Seen(NamedTuple):
    """What a browser had to say of a page, and what it asked for besides."""

    said: tuple[str, ...]
    asked: tuple[str, ...]


def main() -> None:
    """Take all pictures; a page that is not quiet ends this."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        must_notice(folder)
        for file, text in pages(folder).items():
            (folder / file).write_text(text)
            must_be_quiet(folder / file)
        for file, picture, size in PICTURES:
            taken = folder / picture
            look(folder / file, f"--screenshot={taken}", f"--window-size={size[0]},{size[1]}")
            if taken.stat().st_size > MOST_BYTES:
                sys.exit(f"{picture} has {taken.stat().st_size:,} bytes, {MOST_BYTES:,} at most")
            shutil.copy(taken, TOP / "docs" / "images" / picture)
            print(f"docs/images/{picture}  {taken.stat().st_size:,} bytes")


def pages(folder: Path) -> dict[str, str]:
    """The plan of a pull request, made by the program as its reviewer would; and one of hostile names."""
    repository, facts = folder / "shop", folder / "facts"
    repository.mkdir()
    write_snapshots(facts, [example_host(f"kvm-{number}") for number in range(1, 5)])
    subprocess.run([*GIT, "init", "-q"], cwd=repository, check=True)
    for revision in ("before", "after"):
        shutil.copy(REVIEW / f"{revision}.yaml", repository / "shop.yaml")
        subprocess.run([*GIT, "add", "."], cwd=repository, check=True)
        subprocess.run([*GIT, "commit", "-qm", revision], cwd=repository, check=True)
    command = [
        sys.executable,
        "-m",
        "kvmdecl",
        "diff",
        "HEAD~1..HEAD",
        "shop.yaml",
        "--facts",
        str(facts),
        "--format",
    ]
    made = {
        f"plan.{form}": subprocess.run(
            [*command, form], cwd=repository, capture_output=True, text=True, check=True
        )
        for form in ("html", "svg")
    }
    bad = hostile([f"{one}{other}" for one, other in product(HOSTILE, HOSTILE)][:500])
    hostile_pages = {"hostile.html": render_html(bad), "hostile.svg": render_svg(bad)}
    return {name: done.stdout for name, done in made.items()} | hostile_pages


# -- the browser -----------------------------------------------------------------------------------------------


def must_be_quiet(page: Path) -> None:
    """End this if a page makes the browser say something, or ask for anything but the page."""
    if (seen := look(page, "--dump-dom")) != Seen((), ()):
        sys.exit(f"{page.name}: the browser said {seen.said} and asked for {seen.asked}")
    print(f"{page.name}: no error, no request")


def must_notice(folder: Path) -> None:
    """End this if an error and a request of a page would go by unnoticed."""
    page = folder / "loud.html"
    page.write_text("<script>console.error('loud')</script><img src='http://127.0.0.1:9/x.png'>")
    seen = look(page, "--dump-dom")
    if not (any("loud" in line for line in seen.said) and "http://127.0.0.1:9/x.png" in seen.asked):
        sys.exit(f"a page with an error and a request was taken for a quiet one: {seen}")


def look(page: Path, *options: str) -> Seen:
    """Open a page, and note what is written to the console and what is asked for."""
    log = page.with_name("net.json")
    profile = page.with_name("profile")
    command = [
        "chromium", "--headless", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--disable-sync",
        "--disable-background-networking", "--disable-component-update", "--disable-default-apps",
        "--enable-logging=stderr", f"--user-data-dir={profile}", f"--log-net-log={log}", *options,
    ]  # fmt: skip
    if os.geteuid() == 0:
        command.append("--no-sandbox")  # which Chromium demands of root
    done = subprocess.run([*command, page.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    said = tuple(line for line in done.stderr.splitlines() if ":CONSOLE" in line)
    return Seen(said, tuple(requests(log)))


def requests(log: Path) -> Iterator[str]:
    """The URLs that were asked for by a page, from the browser's log of its network.

    What the browser asks for by itself has no initiator.
    """
    document = json.loads(log.read_text())
    started = document["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"]
    for event in document["events"]:
        params = event.get("params", {})
        if event["type"] == started and params.get("initiator", _NOBODY) != _NOBODY:
            yield params["url"]


_NOBODY = "not an origin"


if __name__ == "__main__":
    main()
