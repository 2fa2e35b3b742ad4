"""The example clusters, applied twice on stand-ins for their hosts."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from kvmdecl.lab import Lab
from kvmdecl.lab.guest import tiny_image
from kvmdecl.lab.topology import load_topology
from kvmdecl.load import host_names
from tests.e2e.conftest import Story, sha256

pytestmark = pytest.mark.xdist_group("lab")

CLUSTERS = sorted(path for path in (Path(__file__).parents[2] / "clusters").iterdir() if path.is_dir())


@pytest.mark.parametrize("example", CLUSTERS, ids=lambda path: path.name)
def test_a_second_apply_has_nothing_to_write(example: Path, make_lab: Callable[..., Lab], tmp_path: Path):
    folder = tmp_path / example.name
    shutil.copytree(example, folder)
    give_images(folder)
    hosts = host_names(folder)
    story = Story(folder, make_lab(hosts, topologies=dict.fromkeys(hosts, load_topology("default"))))
    story.ok("apply", "--yes", ".")
    for host in story.lab.hosts.values():
        only_reading(host.folder / "run/libvirt")

    answer = story.ok("apply", "--yes", ".")

    assert answer.out.startswith("No changes:"), "and a single call that writes would have been refused"


def only_reading(sockets: Path) -> None:
    """Let libvirtd's socket lead to the one on which it refuses all that writes."""
    (sockets / "libvirt-sock").unlink()
    (sockets / "libvirt-sock").symlink_to("libvirt-sock-ro")


def give_images(folder: Path) -> None:
    """Put a tiny guest where a manifest has an image, and its digest for the one that stands there."""
    for path in folder.glob("*.yaml"):
        text = path.read_text()
        for name, digest in re.findall(r"source: ([\w./-]+)[^}]*?sha256: \"?(\w{64})", text, re.DOTALL):
            image = folder / name
            image.parent.mkdir(exist_ok=True)
            raw = tiny_image(folder / "made.img")
            if image.suffix == ".qcow2":
                subprocess.run(["qemu-img", "convert", "-O", "qcow2", raw, image], check=True)
                raw.unlink()
            else:
                raw.rename(image)
            text = text.replace(digest, sha256(image))
        path.write_text(text)
