"""A real cluster, applied to: vms come, change and go; a host dies, and all comes as it was proven to."""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Self
from uuid import uuid4

import pytest
from lxml import etree

from kvmdecl.lab.namespaces import find_init
from tests.e2e.conftest import HOSTS, Story
from tests.lab.helpers import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kvmdecl.lab import Lab
    from kvmdecl.testing import MakeLab

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(280)]

# Of different sizes, so that no two hosts are equally good for one of them.
CLUSTER = """\
apiVersion: kvmdecl/v1
cluster: NAME
hosts:
  kvm-{1..3}: "qemu+tcp://{name}/system"
storage: {vms: {path: /srv/shared/vms, shared: true}}
ha:
  fencing: {agent: fence_kvmdecl_lab, plugs: {kvm-1: kvm-1, kvm-2: kvm-2, kvm-3: kvm-3}, own_power: true}
  links: ["10.78.0.{n}", "10.79.0.{n}"]
  services: []
  locks: none
vms:
  db: {memory: 128MiB, disk: 1MiB, shutdown: 10s, ha: {monitor: 5s}}
  api: {memory: 96MiB, disk: 1MiB, shutdown: 10s, ha: {monitor: 5s}}
  web: {memory: 64MiB, disk: 1MiB, shutdown: 10s, ha: {monitor: 5s}}
"""
VMS = ("api", "db", "web")


class Watch:
    """Looks all the time at which QEMU processes run each guest, wherever in the lab they are.

    `seen` are all processes that ran a guest, by its name, and `twice` what was seen of two at once.
    """

    def __init__(self, uuids: dict[str, str]) -> None:
        self.uuids = uuids
        self.seen: defaultdict[str, set[int]] = defaultdict(set)
        self.twice: list[tuple[str, set[int]]] = []
        self.looks = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def now(self) -> dict[str, set[int]]:
        """The processes of each guest that runs."""
        found: defaultdict[str, set[int]] = defaultdict(set)
        for process in Path("/proc").glob("[0-9]*"):
            try:
                line = (process / "cmdline").read_bytes()
            except OSError:
                continue
            for name, uuid in self.uuids.items():
                if f"-uuid\0{uuid}\0".encode() in line:
                    found[name].add(int(process.name))
        return dict(found)

    def _look(self) -> None:
        while not self._stop.wait(0.05):
            for name, pids in self.now().items():
                self.seen[name] |= pids
                if len(pids) > 1:
                    self.twice.append((name, pids))
            self.looks += 1


class Cluster:
    """The lab's cluster, as Pacemaker and the processes show it."""

    def __init__(self, lab: Lab, watch: Watch) -> None:
        self.lab = lab
        self.watch = watch

    def says(self, *argv: str, on: str = "kvm-1") -> str:
        done = self.lab.run(argv, host=on)
        assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done.stdout

    def online(self, on: str = "kvm-1") -> set[str]:
        status = etree.fromstring(self.says("crm_mon", "--one-shot", "--output-as=xml", on=on).encode())
        return {
            str(node.get("name")) for node in status.iterfind("nodes/node") if node.get("online") == "true"
        }

    def homes(self) -> dict[str, str]:
        """The host of each guest whose process runs."""
        spaces = {}
        for name in HOSTS:
            init = find_init(self.lab.directory, name)
            if init is not None:
                spaces[str(Path(f"/proc/{init}/ns/pid").readlink())] = name
        found = {}
        for name, pids in self.watch.now().items():
            for pid in pids:
                try:
                    found[name] = spaces[str(Path(f"/proc/{pid}/ns/pid").readlink())]
                except (OSError, KeyError):
                    continue
        return found


@pytest.fixture
def story(make_lab: MakeLab, tmp_path: Path) -> Story:
    story = Story(tmp_path, make_lab(HOSTS, pacemaker=True))
    story.write(CLUSTER.replace("NAME", f"live-{uuid4().hex[:8]}"))
    return story


@pytest.fixture
def watch(story: Story) -> Iterator[Watch]:
    """With corosync and Pacemaker up, and the manifest applied: files first, then Pacemaker's configuration."""
    story.ok("ha", "emit", "--out", "ha")
    story.lab.start_cluster((story.folder / "ha/corosync.conf").read_text())
    with Watch({}) as watch:
        cluster = Cluster(story.lab, watch)
        assert eventually(lambda: is_there(lambda: cluster.online() == set(HOSTS)), 40)
        for name in VMS:
            watch.uuids[name] = uuid_of(story, name)
        story.ok("apply", "--yes")
        yield watch


def uuid_of(story: Story, name: str) -> str:
    """The UUID in the definition that is written out for a vm."""
    return str(etree.parse(story.folder / f"ha/definitions/{name}.xml").findtext("uuid"))


def test_a_host_dies_and_its_vms_run_again_where_it_was_proven(story: Story, watch: Watch):
    cluster = Cluster(story.lab, watch)
    assert set(cluster.homes()) == set(VMS), "apply returns when they run"
    cluster.says("crm_verify", "--live-check", "--verbose")
    findings = json.loads(story.run("doctor", "--format", "json").out)["findings"]
    fencing = {f["name"]: f["outcome"] for f in findings if f["name"].startswith("fencing")}
    assert fencing == {"fencing-agent": "ok", "fencing-device": "ok", "fencing": "ok"}

    # What is changed meanwhile is changed where the guest runs, or waits in its file; nobody is restarted for it.
    assert story.ok("plan", "--detailed-exitcode").out.startswith("No changes:")
    story.edit("api: {memory: 96MiB", "api: {memory: 96MiB, on_crash: restart")
    story.edit("web: {memory: 64MiB", "web: {memory: 64MiB, cpus: 2")
    started = watch.now()
    story.ok("apply", "--yes")
    assert story.ok("plan", "--detailed-exitcode").out.startswith("No changes:")
    assert watch.now() == started

    # What was written down of it says the same where nobody is asked.
    story.ok("facts", "--out", "facts")
    assert story.ok("plan", "--facts", "facts", "--detailed-exitcode").out.startswith("No changes:")

    # Now it runs, Pacemaker is asked anew about what there is.
    before, processes = cluster.homes(), watch.now()
    proof = json.loads(story.ok("ha", "simulate", "--format", "json").out)
    assert proof["start"] == before
    victim = before["db"]
    [takeover] = [each for each in proof["takeovers"] if each["lost"] == [victim]]
    [left, *_] = sorted(set(HOSTS) - {victim})

    story.lab.power_off(victim)
    expected = {**before, **takeover["homes"], **takeover["moved"]}
    assert eventually(lambda: cluster.homes() == expected, 60), (cluster.homes(), expected)

    assert eventually(lambda: is_there(lambda: cluster.online(left) == set(HOSTS)), 60), "the host came back"
    time.sleep(3)
    assert cluster.homes() == expected
    # Nobody else was restarted, and nobody ever ran twice.
    others = set(VMS) - set(takeover["homes"])
    assert {name: watch.seen[name] for name in others} == {name: processes[name] for name in others}
    assert {name: len(watch.seen[name]) for name in takeover["homes"]} == dict.fromkeys(takeover["homes"], 2)
    assert watch.twice == []
    assert watch.looks > 100


def test_vms_come_change_and_go_by_apply_and_nobody_else_is_restarted(story: Story, watch: Watch):
    cluster = Cluster(story.lab, watch)
    processes = watch.now()
    assert set(processes) == set(VMS)
    assert story.run("plan", "--detailed-exitcode").code == 0

    story.edit("  web: {", "  new: {memory: 48MiB, disk: 1MiB, shutdown: 10s, ha: {monitor: 5s}}\n  web: {")
    story.ok("ha", "emit", "--out", "ha")
    watch.uuids["new"] = uuid_of(story, "new")
    story.ok("apply", "--yes")
    assert "new" in cluster.homes()

    # A parameter of each would restart all of them, if it were just written.
    story.edit("  services: []", "  services: []\n  migration: {options: --auto-converge}")
    story.edit("db: {memory: 128MiB, disk: 1MiB, shutdown: 10s, ha: {monitor: 5s}}",
               "db: {memory: 128MiB, disk: 1MiB, shutdown: 10s, ha: {monitor: 5s, priority: 9}}")  # fmt: skip
    assert {step["impact"] for step in story.ok("plan", "--format", "json").plan["steps"]} == {"live"}
    story.ok("apply", "--yes")
    story.ok("undo", "last", "--yes")
    assert {step["impact"] for step in story.ok("plan", "--format", "json").plan["steps"]} == {"live"}
    story.ok("apply", "--yes")

    story.edit("  web: {memory: 64MiB, disk: 1MiB, shutdown: 10s, ha: {monitor: 5s}}\n", "")
    story.ok("apply", "--yes")
    assert "web" in cluster.homes(), "a line that vanished ends nothing"
    absent = "  web: {state: absent, memory: 64MiB, disk: 1MiB, shutdown: 10s, ha: {monitor: 5s}}\n"
    story.edit("  new: {", f"{absent}  new: {{")
    assert story.run("apply", "--yes").code == 4
    assert "web" in cluster.homes(), "its end lacks consent"
    story.ok("apply", "--yes", *story.consents("pacemaker/vm/web"))
    assert "web" not in cluster.homes()
    story.edit(absent, "")

    story.edit(
        "api: {memory: 96MiB, disk: 1MiB, shutdown: 10s, ha: {monitor: 5s}}",
        "api: {memory: 96MiB, disk: 1MiB}",
    )
    story.ok("apply", "--yes")

    assert story.run("plan", "--detailed-exitcode").code == 0
    assert {name: watch.seen[name] for name in VMS} == processes
    assert watch.now().keys() == {"db", "api", "new"}
    with story.connect(cluster.homes()["api"]) as connection:
        assert connection.lookupByName("api").isPersistent()
    status = json.loads(story.ok("ha", "status", "--format", "json").out)
    assert status["healthy"]
    assert {each["name"] for each in status["resources"] if each["kind"] == "vm"} == {"db", "new"}
    assert watch.twice == []


def is_there(question: Callable[[], bool]) -> bool:
    """Whether it is so; a cluster that does not answer yet is asked again."""
    try:
        return question()
    except AssertionError:
        return False
