"""Others are told how runs end and of drift, and whatever becomes of who tells them, the run does not notice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import jsonschema_rs
import pytest
from kvmdecl_webhook.post import NotPostedError, post

from kvmdecl.diagnostics import Diagnostic
from kvmdecl.events import ApplyStarted, StepDone, StepFailed
from kvmdecl.hosts.processes import job
from kvmdecl.notices import DriftSeen, Result, RunBegan, ended
from kvmdecl.notifying import Notifying
from kvmdecl.state import Address, Kind
from tests.notify.inbox import Inbox, inbox

__all__ = ["inbox"]

ROOT = Path(__file__).parents[2]
SCHEMA = jsonschema_rs.validator_for(json.loads((ROOT / "schemas/notices.v1.json").read_text()))
BEGAN = RunBegan("edge", "20261126t074211z-7f3a5c", "apply", "ci", "runner-7", "https://ci.example/4711", 3)
WEB, DB = Address("kvm-1", Kind.DOMAIN, "web-1"), Address("kvm-2", Kind.DOMAIN, "db-1")
EVENTS = (
    ApplyStarted("edge", (WEB, DB), BEGAN.run),
    StepDone(WEB, 1.2),
    StepFailed(DB, Diagnostic("libvirt.refused", "no room on secret-pool")),
)
FOUND = DriftSeen(
    "edge", "ci", "runner-7", "", True, hosts=3, silent=1, changed=2, missing=1, outside=0, unapplied=0
)
RUN_TEXT = """\
kvmdecl apply of edge: done in part. 1 of 3 steps done, 1 failed.
Run 20261126t074211z-7f3a5c by ci on runner-7, https://ci.example/4711"""
DRIFT_TEXT = """\
kvmdecl drift of edge: drift. Objects: 2 changed, 1 missing. 1 of 3 hosts did not answer.
Seen by ci on runner-7"""


def carry_out(notifiers: Notifying) -> None:
    for notice in (BEGAN, *EVENTS):
        notifiers.tell(notice)
    notifiers.tell(ended(BEGAN, Result.IN_PART, notifiers.events, 2.04))


def test_how_runs_end_and_drift_are_posted_without_names_of_objects(inbox: Inbox):
    notifiers = Notifying(["webhook"])
    carry_out(notifiers)
    notifiers.tell(replace(FOUND, found=False, silent=0))  # all is well
    notifiers.tell(FOUND)

    assert notifiers.close() == ()
    assert [(got["path"], got["text"]) for got in inbox.got] == [
        ("/hooks/SECRET", RUN_TEXT),
        ("/hooks/SECRET", DRIFT_TEXT),
    ]
    assert inbox.got[0]["notice"]["result"] == "done-in-part"
    for got in inbox.got:
        SCHEMA.validate(got["notice"])
    assert not any(word in json.dumps(inbox.got) for word in ("kvm-", "db-1", "web-1", "secret-pool"))


def test_a_run_that_is_killed_is_told_to_have_broken_off(inbox: Inbox):
    """By `kill -9`, when it has told of its steps; and here details are wanted."""
    program = """
import os, signal
from kvmdecl.notifying import Notifying
from tests.notify.test_notify import BEGAN, EVENTS
told = Notifying(["webhook"])
for notice in (BEGAN, *EVENTS): told.tell(notice)
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env={**os.environ, "KVMDECL_WEBHOOK_DETAILS": "1"}
    )

    got = inbox.wait()
    assert got["text"].startswith("kvmdecl apply of edge: broke off. 1 of 3 steps done, 1 failed.\n")
    assert got["text"].endswith("\nkvm-2/domain/db-1: no room on secret-pool (libvirt.refused)")
    SCHEMA.validate(got["notice"])


BAD = """
import os, signal, sys, time
from kvmdecl.api import hookimpl

def dies(notices):
    os.kill(os.getpid(), signal.SIGKILL)

def raises(notices):
    print("a line on its own", file=sys.stderr)
    for notice in notices:
        if notice["event"] == "step-done":
            raise OSError("no such chat")

def hangs(notices):
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    open(os.environ["HANGS"], "w").close()
    time.sleep(600)

@hookimpl
def kvmdecl_notifiers():
    return {"dies": dies, "raises": raises, "hangs": hangs}
"""


def test_notifiers_that_die_raise_or_hang_cost_a_warning_and_no_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "bad.py").write_text(BAD)
    (tmp_path / "bad-1.dist-info").mkdir()
    (tmp_path / "bad-1.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: bad\nVersion: 1\n")
    (tmp_path / "bad-1.dist-info/entry_points.txt").write_text("[kvmdecl]\nbad = bad\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("HANGS", str(tmp_path / "hangs"))
    notifiers, hanging = Notifying(["dies", "raises"]), Notifying(["hangs"])
    longest = 0.0
    for number in range(5000):  # more than a pipe holds
        start = time.perf_counter()
        for each in (notifiers, hanging):
            each.tell(StepDone(Address(f"kvm-{number}", Kind.DOMAIN, "web" * 20), 1.0))
        longest = max(longest, time.perf_counter() - start)

    told = notifiers.close()
    while not (tmp_path / "hangs").exists():
        time.sleep(0.05)
    told += hanging.close(0.1)

    assert longest < 1, "nobody waited for them"
    assert {each.subject.partition("/")[2]: each.summary.partition(": ")[2] for each in told} == {
        "dies": "its process ended with -9",
        "hangs": "it was not done 10 s after the end, and was stopped",
        "raises": "OSError: no such chat",
    }


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("file:///etc/SECRET", "KVMDECL_WEBHOOK is no https:// address"),
        ("http://chat.example/SECRET", "KVMDECL_WEBHOOK is no https:// address"),
        ("https://[SECRET", "KVMDECL_WEBHOOK is no https:// address"),
        ("https://", "KVMDECL_WEBHOOK is no https:// address"),
        ("http://localhost:1/SECRET", "localhost cannot be reached: Connection refused"),
        ("http://localhost:x/SECRET", "localhost did not answer as it should: InvalidURL"),
        ("https://127.0.0.1:{port}/SECRET", "127.0.0.1 cannot be reached: "),
    ],
)
def test_an_address_that_is_none_or_does_not_answer_is_no_secret_given_away(inbox: Inbox, url: str, why: str):
    with pytest.raises(NotPostedError, match=f"^{why}") as error:
        post(url.replace("{port}", str(inbox.server_port)), b"{}")
    assert "SECRET" not in str(error.value)


@pytest.mark.parametrize("code", [302, 307, 404, 500])
def test_only_a_2xx_is_an_answer_and_nobody_is_led_elsewhere(inbox: Inbox, code: int):
    inbox.answer = code
    with pytest.raises(NotPostedError, match=f"^127.0.0.1 answered {code}$"):
        post(inbox.url, b"{}")
    assert len(inbox.got) == 1


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({}, ""),
        (
            {"GITHUB_SERVER_URL": "https://github.com", "GITHUB_REPOSITORY": "a/b", "GITHUB_RUN_ID": "7"},
            "https://github.com/a/b/actions/runs/7",
        ),
        ({"CI_JOB_URL": "https://gitlab.example/a/b/-/jobs/7"}, "https://gitlab.example/a/b/-/jobs/7"),
        ({"BUILD_URL": "https://ci.example/job/7/"}, "https://ci.example/job/7/"),
        ({"BUILD_URL": "https://me:secret@ci.example/job/7/"}, ""),
        ({"BUILD_URL": "javascript:alert(1)"}, ""),
    ],
)
def test_the_job_is_an_address_that_the_ci_system_says(
    monkeypatch: pytest.MonkeyPatch, said: dict[str, str], told: str
):
    for name in ("GITHUB_RUN_ID", "CI_JOB_URL", "BUILD_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    assert job() == told
