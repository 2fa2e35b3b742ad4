"""One stream of events, three views: lines for logs, a moving picture for terminals, JSON for programs."""

from __future__ import annotations

import io
import json
import os
import re
import threading
import time
from pathlib import Path

import jsonschema_rs
import pytest

from kvmdecl.diagnostics import Diagnostic, Note
from kvmdecl.events import (
    ApplyFinished,
    ApplyStarted,
    Event,
    StepDone,
    StepFailed,
    StepProgress,
    StepRefused,
    StepSkipped,
    StepStarted,
)
from kvmdecl.plan import Action, Impact, Plan, Step
from kvmdecl.state import Address, Kind
from kvmdecl.tasks import DeleteVolume
from kvmdecl.views.board import Board
from kvmdecl.views.events_json import JsonView, events_schema
from kvmdecl.views.events_live import LiveView
from kvmdecl.views.events_text import TextView

IMAGE = Address("kvm-1", Kind.VOLUME, "vms/debian.qcow2")
WEB = Address("kvm-1", Kind.DOMAIN, "web-1")
DB = Address("kvm-22", Kind.DOMAIN, "db-1")
OLD = Address("kvm-22", Kind.DOMAIN, "old")

MOVED = Diagnostic(
    "step.moved",
    "kvm-22/domain/db-1 was changed since the plan was made; nothing was done to it",
    cause="Somebody else did.",
    hint="plan again.",
    notes=(Note("differs from the manifest now: memory"),),
)
EVIL = Diagnostic("step.test", "the host says \x1b[2Jboo\nand more")

RUN: tuple[Event, ...] = (
    ApplyStarted("edge", (IMAGE, WEB, DB, OLD)),
    StepStarted(IMAGE),
    StepStarted(DB),
    StepProgress(IMAGE, 3 << 20, 10 << 20, "bytes"),
    StepRefused(DB, MOVED),
    StepDone(IMAGE, 2.51, ("it keeps \x1b[1mrunning",)),
    StepStarted(WEB),
    StepFailed(WEB, EVIL),
    StepSkipped(OLD, WEB),
    ApplyFinished(1, 1, 1, 1, 3.25),
)


def make_plan() -> Plan:
    actions = {IMAGE: Action.CREATE, WEB: Action.CREATE, DB: Action.UPDATE, OLD: Action.DELETE}
    steps = tuple(
        Step(address, action, Impact.NONE, (), "", "absent", DeleteVolume("vms", "x"))
        for address, action in actions.items()
    )
    return Plan("edge", "r1", (), steps, 0)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def as_text(*events: Event) -> str:
    out = io.StringIO()
    with TextView(make_plan(), out.write, clock=Clock()) as view:
        for event in events:
            view.show(event)
    return out.getvalue()


def test_lines_for_a_log_tell_how_each_step_ended_and_why():
    assert as_text(*RUN) == (
        "kvm-22  ~ domain db-1  refused[step.moved]: "
        "kvm-22/domain/db-1 was changed since the plan was made; nothing was done to it\n"
        "          Somebody else did.\n"
        "          note: differs from the manifest now: memory\n"
        "          hint: plan again.\n"
        "kvm-1   + volume vms/debian.qcow2  done  2.5 s\n"
        "kvm-1   + volume vms/debian.qcow2  note: it keeps \\x1b[1mrunning\n"
        "kvm-1   + domain web-1  failed[step.test]: the host says \\x1b[2Jboo\\nand more\n"
        "kvm-22  - domain old  not begun: kvm-1/domain/web-1 did not succeed\n"
        "1 of 4 steps done, 1 failed, 1 refused, 1 not begun, in 3.2 s.\n"
    )


def test_an_upload_tells_how_far_it_is_every_five_seconds_and_no_more_often():
    out, clock = io.StringIO(), Clock()
    with TextView(make_plan(), out.write, clock=clock) as view:
        view.show(StepStarted(IMAGE))
        for second in range(13):
            clock.now = float(second)
            view.show(StepProgress(IMAGE, second << 20, 12 << 20, "bytes"))
    assert out.getvalue() == (
        "kvm-1   + volume vms/debian.qcow2  5.0 MiB of 12.0 MiB (41 %), about 7 s left\n"
        "kvm-1   + volume vms/debian.qcow2  10.0 MiB of 12.0 MiB (83 %), about 2 s left\n"
    )


def test_a_run_that_has_nothing_to_say_still_names_what_it_waits_for():
    lines: list[str] = []
    with TextView(make_plan(), lines.append, heartbeat=0.02) as view:
        view.show(StepStarted(WEB))
        view.show(StepProgress(WEB, 7, 120, "seconds"))
        deadline = time.monotonic() + 10
        while len(lines) < 2 and time.monotonic() < deadline:
            time.sleep(0.005)
    assert lines[:2] == ["running: kvm-1 + domain web-1  waiting, 7 s of at most 120 s\n"] * 2


def test_an_interrupted_run_says_so_once_and_what_it_still_waits_for():
    text = as_text(StepStarted(WEB), StepSkipped(DB, None), StepSkipped(OLD, None), StepDone(WEB, 1.0))
    assert text == (
        "interrupted: nothing more is begun; running: kvm-1 + domain web-1\n"
        "kvm-1   + domain web-1  done  1.0 s\n"
    )


def test_json_lines_are_numbered_without_gaps_and_valid_by_their_schema():
    lines: list[str] = []
    with JsonView(lines.append) as view:
        for event in (*RUN, StepProgress(WEB, 1, 2, "seconds"), StepSkipped(OLD, None)):
            view.show(event)
    documents = [json.loads(line) for line in lines]
    assert [document["sequence"] for document in documents] == list(range(1, len(documents) + 1))
    validator = jsonschema_rs.validator_for(events_schema())
    for document in documents:
        validator.validate(document)
    assert documents[4]["address"] == {"host": "kvm-22", "kind": "domain", "name": "db-1"}
    assert all(line.count("\n") == 1 and line.isascii() for line in lines)


def test_the_schema_refuses_an_event_without_its_fields():
    validator = jsonschema_rs.validator_for(events_schema())
    assert not validator.is_valid({"formatVersion": "1.0", "sequence": 1, "event": "step-done"})
    assert not validator.is_valid({"event": "step-started", "address": {}})


def test_the_published_schema_is_that_of_the_source():
    published = Path(__file__).parents[2] / "schemas" / "events.v1.json"
    assert json.loads(published.read_text()) == events_schema(), "run `make schemas`"


class Terminal:
    """The rows that a terminal of this width would show, one string for each drawn line."""

    def __init__(self, width: int, *, color: bool) -> None:
        self.out = io.StringIO()
        self.view = LiveView(make_plan(), self.out, color=color, width=width, height=24)

    def frame(self) -> list[str]:
        console = self.view._console
        options = console.options.update(width=console.width)
        lines = console.render_lines(self.view._render(), options, pad=False)
        return ["".join(segment.text for segment in line) for line in lines]


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_no_moving_line_is_wider_than_the_terminal_and_all_busy_hosts_are_there(width: int):
    terminal = Terminal(width, color=False)
    for event in RUN[:4]:
        terminal.view.show(event)
    frame = terminal.frame()
    assert all(len(line) <= width for line in frame)
    assert [line.split()[0] for line in frame] == ["kvm-1", "kvm-22", "0"]
    assert "volume vms/debian.qcow2" in frame[0]
    if width >= 120:
        assert "3.0 MiB of 10.0 MiB (30 %)" in frame[0]
        assert "##--------------" in frame[0]


@pytest.mark.parametrize(
    ("seconds", "done", "left"),
    [
        (1, 50, ""),
        (5, 0, ""),
        (5, 10, "about 45 s left"),
        (5, 1, "about 8 min left"),
        (5, 100, "about 0 s left"),
    ],
)
def test_how_long_a_transfer_will_take_is_told_once_its_pace_is_known(seconds: int, done: int, left: str):
    clock = Clock()
    board = Board(make_plan(), clock)
    board.note(StepProgress(IMAGE, 0, 100, "bytes"))
    clock.now = float(seconds)
    assert board.told(StepProgress(IMAGE, done, 100, "bytes")).partition("), ")[2] == left
    assert board.told(StepProgress(IMAGE, 5, 100, "seconds")) == "waiting, 5 s of at most 100 s"


def screen(written: str, width: int) -> tuple[list[str], list[str]]:
    """What is left on a terminal that was written to, and everything that was ever on its last line."""
    lines, row, column, ever = [""], 0, 0, []
    for token in re.findall(r"\x1b\[\??[\d;]*[A-Za-z]|.", written, re.DOTALL):
        if re.fullmatch(r"\x1b\[[\d;]*m|\x1b\[\?25[lh]", token):
            continue
        if up := re.fullmatch(r"\x1b\[(\d*)A", token):
            row = max(0, row - int(up[1] or 1))
        elif token == "\x1b[2K":
            lines[row] = ""
        elif token == "\r":
            column = 0
        elif token == "\n" or column == width:
            row, column = row + 1, column if token == "\n" else 0
            lines += [""] * (row + 1 - len(lines))
        if len(token) == 1 and token not in "\r\n":
            assert token.isprintable(), token
            lines[row] = lines[row].ljust(column)[:column] + token + lines[row][column + 1 :]
            column += 1
        elif token[0] == "\x1b":
            assert token[-1] in "AK", f"{token!r} would clear or scroll what others wrote"
        ever.append(lines[row])
    return [line.rstrip() for line in lines if line.strip()], ever


@pytest.mark.parametrize("width", [80, 100])
def test_on_a_terminal_lines_are_redrawn_in_place_and_nothing_but_the_outcome_is_left(width: int):
    main, other = os.openpty()
    seen: list[bytes] = []
    reader = threading.Thread(target=lambda: seen.extend(iter(lambda: read(main), b"")))
    reader.start()
    with os.fdopen(other, "w") as out, LiveView(make_plan(), out, color=True, width=width, height=24) as view:
        for event in RUN[:6]:
            view.show(event)
            time.sleep(0.15)
        for event in RUN[6:]:
            view.show(event)
    reader.join(5)
    os.close(main)

    left, ever = screen(b"".join(seen).decode(), width)
    assert any(line.startswith("kvm-1 ") and "vms/debian.qcow2" in line for line in ever), "a moving line"
    written = b"".join(seen)
    assert written.rfind(b"\x1b[?25h") > written.rfind(b"\x1b[?25l"), "the cursor is back"
    assert left[0].startswith("refused[step.moved]")
    assert left[-1] == "1 of 4 steps done, 1 failed, 1 refused, 1 not begun, in 3.2 s."
    assert not any(re.search(r"\d/\d|of 4 steps$", line) for line in left), left


def read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the other end is closed
        return b""


def test_a_moving_picture_never_grows_higher_than_the_terminal():
    steps = tuple(
        Step(
            Address(f"kvm-{n}", Kind.DOMAIN, "a"),
            Action.CREATE,
            Impact.NONE,
            (),
            "",
            "absent",
            DeleteVolume("", ""),
        )
        for n in range(100)
    )
    view = LiveView(Plan("edge", "r1", (), steps, 0), io.StringIO(), color=False, width=80, height=10)
    lines = view._console.render_lines(view._render(), pad=False)
    assert len(lines) <= 10
    assert "and 93 more hosts" in "".join(segment.text for segment in lines[-2])


def test_the_summary_and_the_problems_stay_when_the_picture_vanishes():
    terminal = Terminal(80, color=False)
    with terminal.view as view:
        for event in RUN:
            view.show(event)
    shown = terminal.out.getvalue()
    assert "refused[step.moved]: kvm-22/domain/db-1 was changed" in shown
    assert "the host says \\x1b[2Jboo\\nand more" in shown
    assert shown.rstrip().endswith("1 of 4 steps done, 1 failed, 1 refused, 1 not begun, in 3.2 s.")


@pytest.mark.parametrize(("color", "found"), [(True, True), (False, False)])
def test_colours_are_used_only_when_wanted(color: bool, found: bool):
    terminal = Terminal(80, color=color)
    with terminal.view as view:
        for event in RUN:
            view.show(event)
    assert bool(re.search(r"\x1b\[[0-9;]*3[0-7]m", terminal.out.getvalue())) is found
