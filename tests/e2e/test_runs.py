"""Runs of a cluster: one at a time, and whatever becomes of one, the next finishes it."""

from __future__ import annotations

import json
import re
import signal
import time
from dataclasses import replace

import libvirt
import pytest

from kvmdecl.hosts.processes import this_run
from kvmdecl.hosts.protocol import TakeLock
from kvmdecl.hosts.runlock import read_lock, take_lock
from kvmdecl.runs import Holder
from tests.e2e.conftest import HOSTS, Answer, Story
from tests.notify.inbox import Inbox, inbox

__all__ = ["inbox"]

pytestmark = pytest.mark.xdist_group("lab")

INTERRUPTED = "Interrupted: running steps finish, no other begins. Ctrl-C again ends at once.\n"
CLUSTER = """\
apiVersion: kvmdecl/v1
cluster: story
hosts:
  kvm-{1..3}: {uri: "qemu+tls://{name}.example/system"}
storage:
  vms: {path: /srv/vms}
images:
  tiny: {source: tiny.img, format: raw}
vms:
  db: {host: kvm-3, image: tiny, memory: 32MiB}
  web: {host: kvm-2, image: tiny, memory: 32MiB, after: [{vm: db, until: agent, timeout: 50s}]}
"""


def holder(story: Story, host: str) -> Holder | None:
    with story.connect(host) as connection:
        return read_lock(connection, "story")


def runs(story: Story, host: str, vm: str) -> bool:
    with story.connect(host) as connection:
        return vm in {domain.name() for domain in connection.listAllDomains() if domain.isActive()}


def until(met, seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_two_runs_at_once_ctrl_c_and_what_is_left(story: Story):
    story.write(CLUSTER)
    first = story.start("apply", "--yes")
    until(lambda: runs(story, "kvm-3", "db"))  # and now it waits for an agent that there is not
    held = holder(story, "kvm-1")
    assert held is not None
    assert held.pid == first.pid

    second = story.run("apply", "--yes")

    assert second.code == 5, second
    assert f"is held by {held}" in second.err
    assert not runs(story, "kvm-2", "web")
    assert "run.alive" in story.run("unlock", held.run).err

    began = time.monotonic()
    first.send_signal(signal.SIGINT)
    assert first.stderr is not None
    _rehearsal, *heard = [first.stderr.readline() for _ in range(3)]
    assert heard == [INTERRUPTED, f"To go on later: kvmdecl apply --resume {held.run}\n"]
    assert time.monotonic() - began < 1
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=5)
    assert first.returncode == 130

    told = story.ok("history", held.run[:-2]).out
    assert "interrupted" in told.splitlines()[0]
    assert "+ kvm-3/domain/db  begun, end unknown" in told
    assert "+ kvm-2/domain/web  not reached" in told
    rest = story.ok("apply", "--resume", held.run, "--yes")
    assert "kvm-3" not in rest.out, "what the host did though nobody heard of it is not done again"
    assert runs(story, "kvm-2", "web")
    assert story.run("plan", "--detailed-exitcode").code == 0
    assert [holder(story, host) for host in HOSTS] == [None] * 3


def test_a_run_is_undone_through_a_plan_that_is_reviewed(
    story: Story, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
):
    story.write(CLUSTER.split("  web:", maxsplit=1)[0])
    told = story.run("apply", "--yes")
    assert (told.code, "notify.failed" in told.err) == (0, False), told.err
    monkeypatch.delenv("KVMDECL_WEBHOOK")
    (posted,) = inbox.got
    assert re.match(r"kvmdecl apply of story: done. (\d+) of \1 steps done\.\nRun ", posted["text"])
    story.write(
        CLUSTER.replace("32MiB", "48MiB").replace(", after: [{vm: db, until: agent, timeout: 50s}]", "")
    )
    story.ok("apply", "--yes", "--journal", "runs")

    undo = story.ok("undo", "last", "--journal", "runs", "--out", "back.json")

    assert "memory.max   48MiB -> 32MiB" in undo.out
    assert "undo.not-possible" in undo.err
    assert "volume/vms/web." in undo.err
    back = story.ok("apply", "back.json", "--yes", "--allow-delete", "kvm-2/domain/web")
    assert "done" in back.out
    assert not runs(story, "kvm-2", "web")
    with story.connect("kvm-3") as connection:
        config = connection.lookupByName("db").XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
        assert f"<memory unit='KiB'>{32 * 1024}</memory>" in config
    states = [
        json.loads(story.ok("history", "--format", "json", *where).out)
        for where in ([], ["--journal", "runs"])
    ]
    assert [[(run["command"], run["state"]) for run in each["runs"]] for each in states] == [
        [("apply", "done"), ("apply", "done")],
        [("apply", "done")],
    ]
    assert [(each["to"], each["way"]) for each in states[0]["runs"][0]["agreed"]] == [
        ("plan", "flag"), ("kvm-2/domain/web", "flag")
    ]  # fmt: skip


def test_the_lock_of_a_run_on_another_machine_is_broken_by_its_name_only(story: Story):
    story.write(CLUSTER.replace(", after: [{vm: db, until: agent, timeout: 50s}]", ""))
    other = replace(this_run("story"), machine="ci-7", user="alice", space="elsewhere")
    with story.connect("kvm-2") as connection:
        take_lock(connection, TakeLock("kvm-2", other))

    refused = story.run("apply", "--yes")

    assert refused.code == 5
    assert "of alice on ci-7" in refused.err
    assert not any(runs(story, host, "db") for host in HOSTS)
    assert f"Broken: kvm-2 was held by {other}." in story.ok("unlock", other.run).out
    assert holder(story, "kvm-2") is None


def made(story: Story) -> list[int]:
    """How many pools and guests each host has."""
    found = []
    for host in HOSTS:
        with story.connect(host) as connection:
            found.append(len(connection.listAllStoragePools()) + len(connection.listAllDomains()))
    return found


def definitions(story: Story) -> list[str]:
    """Of v1, v2 and v3, without kvmdecl's note of which revision wrote them."""
    found = []
    for number, host in enumerate(HOSTS, 1):
        with story.connect(host) as connection:
            xml = connection.lookupByName(f"v{number}").XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
            found.append(re.sub(r"<metadata>.*</metadata>", "", xml, flags=re.DOTALL))
    return found


def test_a_gate_that_does_not_pass_after_the_canary_leaves_later_waves_alone_and_undo_leads_back(
    story: Story,
):
    cluster = CLUSTER.split("  db:", maxsplit=1)[0] + "".join(
        f"  v{n}: {{host: kvm-{n}, image: tiny, memory: 32MiB, description: old}}\n" for n in (1, 2, 3)
    )
    story.write(cluster)
    story.ok("apply", "--yes")
    before = definitions(story)

    def roll_out(gate: str) -> Answer:
        rollout = f"rollout: {{canary: [kvm-1], gates: [running, {{{gate}, timeout: 1s}}]}}\nhosts:"
        story.write(cluster.replace("old", "new").replace("hosts:", rollout))
        return story.run("apply", "--yes")

    failed = roll_out("check: command, with: {argv: ['false']}")

    assert failed.code == 3, failed
    assert "  command  argv `false`  within 1s" in failed.out
    assert "gate running after canary: passed" in failed.out
    assert "gate command after canary: failed" in failed.out
    assert [was == now for was, now in zip(before, definitions(story), strict=True)] == [False, True, True]
    assert "? gate command after wave canary  failed: it ended with 1" in story.ok("history", "last").out
    run = failed.err.partition("To go back: kvmdecl undo ")[2].split()[0]

    paused = roll_out(
        "check: agent, vms: [v1]"
    )  # the canary is as declared by now, and is looked at all the same

    assert paused.code == 6, paused
    assert (
        "inconclusive after 1.0 s: v1 on kvm-1: no agent has started in it; nothing more is begun"
        in paused.out
    )
    assert "Paused: nobody knows whether gate agent holds." in paused.err
    assert definitions(story)[1:] == before[1:]
    story.ok("undo", run, "--yes")
    assert definitions(story) == before


def test_a_rollout_stops_at_its_canary_and_goes_on_wave_by_wave(story: Story):
    story.write(
        CLUSTER.split("  db:", maxsplit=1)[0].replace("hosts:", "rollout: {canary: [kvm-1]}\nhosts:")
        + "".join(
            f"  v{n}: {{host: kvm-{n}, image: tiny, memory: 32MiB, state: stopped}}\n" for n in (1, 2, 3)
        )
    )
    in_the_way = story.lab.hosts["kvm-1"].folder / "srv" / "vms"
    in_the_way.write_text("not a directory")

    failed = story.run("apply", "--yes")

    assert failed.code == 3, failed
    assert "wave 1 of 2: canary (kvm-1)" in failed.out
    assert "stopped: something failed on kvm-1, and it may on 0" in failed.out
    assert made(story)[1:] == [0, 0]
    in_the_way.unlink()
    canary = story.ok("apply", "--yes", "--until-wave", "canary")
    assert "In waves; ended when something fails on more than 0 hosts:" in canary.out
    assert made(story) == [2, 0, 0]
    one = story.ok("apply", "--yes", "--vm", "v3")
    assert "A part of the plan: --vm v3, with " in one.out
    assert made(story) == [2, 0, 2]
    story.ok("apply", "--yes")
    assert made(story) == [2, 2, 2]


def test_a_rollout_is_undone_wave_by_wave_with_consents_of_a_file(story: Story):
    story.write(
        CLUSTER.split("  db:", maxsplit=1)[0].replace("hosts:", "rollout: {canary: [kvm-1]}\nhosts:")
        + "".join(f"  v{n}: {{host: kvm-{n}, memory: 32MiB, state: stopped}}\n" for n in (1, 2))
    )
    story.ok("apply", "--yes")
    run = json.loads(story.ok("history", "--format", "json").out)["runs"][0]["run"]
    refused = story.run("undo", run, "--yes")
    deletions = re.findall(r"--allow-delete (\S+)@([0-9a-f]{12})", refused.err)
    agreed = [f"- {{allow: {gone}, plan: '{plan}', by: alice, why: tried}}\n" for gone, plan in deletions]
    (story.folder / "agreed.yaml").write_text(f"apiVersion: kvmdecl/v1\nconsents:\n{''.join(agreed)}")
    by_file = "--yes", "--consents", "agreed.yaml"

    saved = story.run("undo", run, "--out", "back.json", "--until-wave", "canary")
    canary = story.ok("undo", run, *by_file, "--until-wave", "canary")

    assert (refused.code, saved.code) == (4, 64)
    assert "give --until-wave and --consents to `apply FILE`" in saved.err
    assert "Until wave canary: " in canary.err
    assert defined(story) == [[], ["v2"], []]
    rest = story.run("undo", run, *by_file)
    assert (rest.code, "apply.stale-consent" in rest.err) == (4, True)


def defined(story: Story) -> list[list[str]]:
    """The guests of each host."""
    found = []
    for host in HOSTS:
        with story.connect(host) as connection:
            found.append(sorted(domain.name() for domain in connection.listAllDomains()))
    return found
