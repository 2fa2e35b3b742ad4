"""A hung, a dead and a slow host among others: those finish, the exit code says so, and nothing is made twice."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from kvmdecl.lab import Lab
from kvmdecl.lab.guest import tiny_image
from tests.e2e.conftest import Story

pytestmark = pytest.mark.xdist_group("lab")

HUNG, DEAD, SLOW = "kvm-2", "kvm-4", "kvm-3"
GUESTS_EACH = 2


def cluster(hosts: list[str]) -> str:
    """Guests that name no host: one that went missing could be made again elsewhere."""
    entries = "".join(f'  {host}: {{uri: "qemu+tls://{host}.example/system"}}\n' for host in hosts)
    return (
        f"apiVersion: kvmdecl/v1\ncluster: story\nhosts:\n{entries}storage: {{vms: {{path: /srv/vms}}}}\n"
        f"vms: {{web: {{count: {GUESTS_EACH * len(hosts)}, disk: 1MiB, memory: 32MiB, state: stopped}}}}\n"
    )


@contextmanager
def slowed(lab: Lab, host: str) -> Iterator[None]:
    """Its libvirtd stands still for most of the time."""
    over = threading.Event()

    def pulse() -> None:
        while not over.wait(0.15):
            lab.freeze(host)
            over.wait(0.25)
            lab.thaw(host)

    thread = threading.Thread(target=pulse)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def roll_out(story: Story, faults: dict[str, Callable[[str], object]]) -> tuple[int, float]:
    """Apply; a fault happens to its host when its first step begins. Returns the exit code and seconds."""
    began, due = time.monotonic(), dict(faults)
    with story.start("apply", "--yes", "--progress", "json") as process:
        assert process.stdout
        assert process.stderr
        for line in process.stdout:
            event = json.loads(line)
            host = event.get("address", {}).get("host", "")
            if event["event"] == "step-started" and host in due:
                due.pop(host)(host)
        assert "Traceback" not in process.stderr.read()
    assert not due, "a fault that did not happen proves nothing"
    return process.returncode, time.monotonic() - began


def guests(story: Story, hosts: list[str]) -> list[str]:
    found: list[str] = []
    for host in hosts:
        with story.connect(host) as connection:
            found += [domain.name() for domain in connection.listAllDomains()]
    return found


def test_a_hung_and_a_slow_host_keep_no_other_from_finishing(story: Story):
    hosts = ["kvm-1", HUNG, SLOW]
    story.write(cluster(hosts))
    with slowed(story.lab, SLOW):
        code, seconds = roll_out(story, {HUNG: story.lab.freeze})

    assert code == 3
    assert seconds < 60
    assert len(guests(story, ["kvm-1", SLOW])) == 2 * GUESTS_EACH


@pytest.mark.proof
def test_one_hung_one_dead_and_one_slow_host_of_eight(make_lab: Callable[..., Lab], tmp_path_factory):
    hosts = [f"kvm-{n}" for n in range(1, 9)]
    folder = tmp_path_factory.mktemp("story")
    tiny_image(folder / "tiny.img")
    story = Story(folder, make_lab(hosts))
    story.write(cluster(hosts))
    code, usual = roll_out(story, {})
    assert code == 0
    story.ok("destroy", "--confirm", "story", *(
        part for host in hosts for name in volumes(story, host) for part in ("--volume", f"{host}/volume/vms/{name}")
    ))  # fmt: skip
    well = [host for host in hosts if host not in {HUNG, DEAD}]

    with slowed(story.lab, SLOW):
        code, seconds = roll_out(story, {HUNG: story.lab.freeze, DEAD: story.lab.power_off})
        assert code == 3
        assert seconds < usual + 30
        made = guests(story, well)
        assert len(made) == len(set(made)) == GUESTS_EACH * len(well)
        again = story.run("apply", "--yes")
        assert again.code == 3, again
    assert sorted(guests(story, well)) == sorted(made), "nothing is made elsewhere while nobody knows"

    story.lab.thaw(HUNG)
    story.lab.power_on(DEAD)
    story.ok("apply", "--yes")
    everywhere = guests(story, hosts)
    assert len(everywhere) == len(set(everywhere)) == GUESTS_EACH * len(hosts)
    assert story.run("plan", "--detailed-exitcode").code == 0


def volumes(story: Story, host: str) -> list[str]:
    with story.connect(host) as connection:
        found: list[str] = connection.storagePoolLookupByName("vms").listVolumes()
        return found
