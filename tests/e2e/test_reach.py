"""Hosts that fail, hang or are reached over a network."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time

import pytest

from tests.e2e.conftest import Story, find_vm
from tests.e2e.test_apply import CLUSTER

pytestmark = pytest.mark.xdist_group("lab")


def test_a_dead_host_is_unknown_its_objects_frozen_and_the_others_planned(own_story: Story):
    own_story.write(CLUSTER)
    own_story.ok("apply", "--yes")
    dead = find_vm(own_story, "web-1")
    own_story.lab.power_off(dead)
    own_story.edit("cpus: {count: 1, max: 2}", "cpus: {count: 2, max: 2}")

    answer = own_story.run("plan", "--detailed-exitcode")

    assert answer.code == 3, answer.out + answer.err
    assert f"{dead}  unreachable" in answer.out
    assert "web-1" in answer.err, "the vm that may be on the dead host is named as left alone"
    assert "web-2" in answer.out
    assert "to create" not in answer.out, "nothing is made again elsewhere"


def test_a_frozen_host_is_given_up_within_15_seconds_and_ctrl_c_answers_within_one(own_story: Story):
    own_story.write(CLUSTER)
    own_story.ok("apply", "--yes")
    own_story.lab.freeze("kvm-2")
    try:
        began = time.monotonic()
        answer = own_story.run("plan")
        assert time.monotonic() - began < 15
        assert answer.code == 3
        assert "kvm-2  unreachable" in answer.out

        answers = (_seconds_to_answer_ctrl_c(own_story) for _ in range(3))  # others may take the CPU once
        assert any(seconds < 1 for seconds in answers)
    finally:
        own_story.lab.thaw("kvm-2")


def _seconds_to_answer_ctrl_c(story: Story) -> float:
    hanging = story.start("plan")
    time.sleep(3)
    assert hanging.poll() is None, "it should be waiting for the frozen host"
    interrupted = time.monotonic()
    hanging.send_signal(signal.SIGINT)
    out, err = hanging.communicate(timeout=30)
    seconds = time.monotonic() - interrupted
    assert hanging.returncode == 130
    assert "Traceback" not in out + err
    return seconds


@pytest.mark.parametrize("transport", ["tcp", "tls", "ssh"])
def test_the_whole_way_over_a_network_transport(make_lab, tmp_path, transport: str):
    from kvmdecl.lab.guest import tiny_image

    lab = make_lab(["kvm-1", "kvm-2"], tls=transport == "tls", ssh=transport == "ssh")
    tiny_image(tmp_path / "tiny.img")
    story = Story(tmp_path, lab)
    uris = {name: host.uri(transport) for name, host in lab.hosts.items()}
    hosts = "".join(f'  {name}: {{uri: "{uri}"}}\n' for name, uri in uris.items())
    text = CLUSTER.replace('  kvm-{1..3}: {uri: "qemu+tls://{name}.example/system"}\n', hosts)
    story.write(text.replace("    count: 3", "    count: 2\n    type: qemu"))
    inside = lab.command([])

    story.ok("apply", "--yes", rehearse=False, prefix=inside)
    answer = story.run("plan", "--detailed-exitcode", rehearse=False, prefix=inside)

    assert answer.code == 0, answer.out + answer.err
    assert answer.out.startswith("No changes:")


def test_no_process_of_kvmdecl_outlives_it(story: Story):
    story.write(CLUSTER)
    process = story.start("plan")
    time.sleep(1.0)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=10)

    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and _workers_of(story):
        time.sleep(0.1)
    assert _workers_of(story) == []


def _workers_of(story: Story) -> list[str]:
    """Processes whose working directory is the story's folder: kvmdecl's own and its workers'."""
    found = []
    for entry in os.listdir("/proc"):  # noqa: PTH208
        if entry.isdigit():
            try:
                if os.readlink(f"/proc/{entry}/cwd") == str(story.folder):  # noqa: PTH115
                    found.append(entry)
            except OSError:
                continue
    return found


def test_an_apply_that_was_killed_is_finished_by_the_next_one(story: Story):
    _with_a_large_image(story)
    process = story.start("apply", "--yes", "--progress", "json")
    _await_upload(process)
    process.kill()
    process.communicate(timeout=10)

    plan = story.run("plan")
    assert "an earlier run was interrupted" in plan.out, plan.out
    story.ok("apply", "--yes")

    assert story.run("plan", "--detailed-exitcode").code == 0


def test_the_first_ctrl_c_finishes_what_runs_and_begins_nothing_else(story: Story):
    _with_a_large_image(story)
    process = story.start("apply", "--yes", "--progress", "json")
    _await_upload(process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)

    assert process.returncode == 130, out + err
    assert "Interrupted" in err
    assert '"step-skipped"' in out
    assert "Traceback" not in out + err
    story.ok("apply", "--yes")
    assert story.run("plan", "--detailed-exitcode").code == 0


def _with_a_large_image(story: Story) -> None:
    """The guest's image grows to a size that takes a few seconds to upload: whoever looks is in time to see it."""
    with (story.folder / "tiny.img").open("r+b") as image:
        image.truncate(600 * 1024**2)
    story.write(CLUSTER)


def _await_upload(process: subprocess.Popen[str]) -> None:
    """Wait until an upload is well under way and far from its end."""
    for line in process.stdout:
        event = json.loads(line)
        if (
            event.get("event") == "step-progress"
            and event["unit"] == "bytes"
            and event["done"] * 2 < event["total"]
        ):
            return
    raise AssertionError("the upload was over before it was seen")
