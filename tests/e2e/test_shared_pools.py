"""A directory that all hosts see: an image goes there once, and every host's disks stand on it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

import pytest

from tests.e2e.conftest import Story

pytestmark = pytest.mark.xdist_group("lab")

CLUSTER = """\
apiVersion: kvmdecl/v1
cluster: story
hosts:
  kvm-{1..3}: {uri: "qemu+tls://{name}.example/system"}
storage:
  all: {path: FOLDER, shared: true}
images:
  tiny: {source: tiny.img, format: raw}
vms:
  a: {host: kvm-1, image: tiny, memory: 64MiB}
  b: {host: kvm-2, image: tiny, memory: 64MiB}
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """Under /var/tmp, which the lab's hosts do not have to themselves."""
    path = Path(mkdtemp(prefix="kvmdecl-shared-", dir="/var/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def test_an_image_in_a_shared_pool_is_uploaded_once_for_all_hosts(story: Story, folder: Path):
    story.write(CLUSTER.replace("FOLDER", str(folder)))

    plan = json.loads(story.run("plan", "--format", "json").out)
    uploads = [step["address"] for step in plan["steps"] if "image, uploaded" in step["summary"]]
    assert [upload["host"] for upload in uploads] == ["kvm-1"]
    story.ok("apply", "--yes")

    assert story.ok("plan", "--detailed-exitcode").out.startswith("No changes:")
    assert len(list(folder.glob("tiny.*.raw"))) == 1


def test_a_guest_on_another_host_finds_the_image_that_is_there(story: Story, folder: Path):
    story.write(CLUSTER.replace("FOLDER", str(folder)))
    story.ok("apply", "--yes")
    story.edit("  b: {host: kvm-2,", "  c: {host: kvm-3, image: tiny, memory: 64MiB}\n  b: {host: kvm-2,")

    plan = json.loads(story.run("plan", "--format", "json").out)
    assert not [step for step in plan["steps"] if "image, uploaded" in step["summary"]]
    story.ok("apply", "--yes")

    assert story.ok("plan", "--detailed-exitcode").out.startswith("No changes:")
