"""A connection takes few tasks at once, and one that is about two hosts needs room on both."""

from __future__ import annotations

import threading
from contextlib import suppress
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from kvmdecl.hosts import worker
from kvmdecl.hosts.messages import Call
from kvmdecl.hosts.protocol import TaskRequest, TaskResult
from kvmdecl.hosts.worker import Writer
from kvmdecl.state import Address, Kind
from kvmdecl.tasks import DeletePool

POOL = TaskRequest(Address("a", Kind.POOL, "vms"), DeletePool("vms", ""), "", "demo", "1")


class SlowRoom(threading.Semaphore):
    """Who has got in has others get in elsewhere before they go on."""

    def __init__(self, most: int, others: threading.Barrier) -> None:
        super().__init__(most)
        self._others = others

    def __enter__(self, *_: Any) -> bool:
        entered = super().__enter__()
        with suppress(threading.BrokenBarrierError):  # the others wait for this very room
            self._others.wait(0.2)
        return entered


def test_guests_that_swap_hosts_do_not_wait_for_each_other_for_ever(monkeypatch: pytest.MonkeyPatch):
    others = threading.Barrier(2)
    lines = {
        host: SimpleNamespace(room=SlowRoom(1, others), connection=host, begin=Mock(), end=Mock())
        for host in "ab"
    }
    monkeypatch.setattr(worker._Lines, "_line", lambda _self, call: lines[call.host])
    monkeypatch.setattr(worker, "carry_out", lambda *_, **__: TaskResult())
    writer, ends = Writer(Mock()), list[str]()

    def move(number: int, host: str, other: str) -> None:
        writer.work(Call(number, host, "", POOL, (other, "")))
        ends.append(host)

    threads = [
        threading.Thread(target=move, args=(number, host, other), daemon=True)
        for number, (host, other) in enumerate(["ab", "ba"])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)

    assert sorted(ends) == ["a", "b"]
