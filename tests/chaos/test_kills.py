"""What the kills count as a restart; they themselves run in `make chaos-short`."""

from __future__ import annotations

import pytest

from tests.chaos.kills import Holdings, restarts

START = "2026-01-01 10:00:00.000+0000: starting up libvirt version: 9.0.0\n"
CUT = "libvirt:  error : libvirtd quit during handshake: Input/output error\n"


def ended(reason: str) -> str:
    return f"2026-01-01 10:00:01.000+0000: shutting down, reason={reason}\n"


@pytest.mark.parametrize(
    ("log", "count"),
    [
        ("", 0),
        (ended("shutdown"), 0),
        (ended("shutdown") + START, 1),
        (START + ended("daemon") + START, 1),
        (START + ended("failed") + START, 1),
        (START + CUT + START, 1),
        (START + CUT + ended("crashed") + START, 1),
        (START + ended("crashed") + START, 2),
        (START + ended("shutdown") + START, 2),
        (START + CUT + START + ended("destroyed") + START, 2),
    ],
)
def test_a_start_that_libvirtd_did_not_live_to_finish_is_no_restart(log: str, count: int):
    before = "what the log had before\n"

    found = restarts(holdings(before), holdings(before + log))

    assert found["web"] == count


def holdings(log: str) -> Holdings:
    return Holdings(frozenset(), frozenset(), frozenset(), {"web": log})
