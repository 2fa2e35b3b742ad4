"""A busy host fails for a moment. What stands in for its pool here is a fake: no test can make a host that busy.

A libvirtd that is busy with a guest says so after half a minute, so that one is simulated.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import libvirt
import pytest

from kvmdecl.diagnostics import TaskFailed
from kvmdecl.hosts.perform import Patience
from kvmdecl.hosts.perform.domains import shut_down
from kvmdecl.hosts.perform.job import Job
from kvmdecl.hosts.perform.volumes import create_xml
from kvmdecl.hosts.protocol import TaskRequest
from kvmdecl.state import Address, Kind, PowerOff
from kvmdecl.tasks import DeleteDomain
from tests.simulation.libvirtd import Connection, SimulatedHost, fail

BUSY = "internal error: qemu-img create -f luks: unexpected exit status 1: Unable to get accurate CPU usage"


class FakePool:
    """Fails as often as it is told, with the message it is told."""

    def __init__(self, message: str, times: int) -> None:
        self.message, self.times, self.asked = message, times, 0

    def createXML(self, xml: str, flags: int) -> str:  # noqa: N802 - libvirt's name
        self.asked += 1
        if self.asked <= self.times:
            raise libvirt.libvirtError(self.message)
        return "volume"


@pytest.mark.parametrize(
    ("message", "times", "asked"), [(BUSY, 0, 1), (BUSY, 2, 3), (BUSY, 9, 5), ("disk full", 1, 1)]
)
def test_a_key_that_could_not_be_measured_is_asked_for_again_and_nothing_else_is(
    message: str, times: int, asked: int
):
    pool: Any = FakePool(message, times)

    if times < asked:
        assert create_xml(pool, "<volume/>", 0) == "volume"
    else:
        with pytest.raises(libvirt.libvirtError):
            create_xml(pool, "<volume/>", 0)
    assert pool.asked == asked


GUEST = (
    "<domain type='qemu'><name>db</name><uuid>507de1c4-fc92-532c-95ff-df817c70a9c5</uuid><memory/></domain>"
)
LOCKED = "Timed out during operation: cannot acquire state change lock"


@pytest.mark.parametrize("force", [True, False], ids=["its plug is pulled", "it keeps running"])
def test_a_guest_that_cannot_be_asked_to_power_off_for_long_is_one_that_ignores_it(force: bool):
    host = SimulatedHost("kvm-1")
    connection: Any = host.connect()
    domain = connection.defineXMLFlags(GUEST)
    domain.create()
    host.meddle = busy
    task = DeleteDomain("db", domain.UUIDString(), stop=True)
    request = TaskRequest(Address("kvm-1", Kind.DOMAIN, "db"), task, "", "edge", "r1")
    job = Job(connection, request, lambda _: None, Patience(shutdown=0, ask_again=0, poll=0))

    if force:
        shut_down(job, domain, PowerOff(force=True))
    else:
        with pytest.raises(TaskFailed, match=r"step\.shutdown-ignored"):
            shut_down(job, domain, PowerOff())
    assert domain.isActive() is not force


def busy(_line: Connection, name: str, effect: Callable[[], Any]) -> Any:
    return fail(libvirt.VIR_ERR_OPERATION_TIMEOUT, LOCKED) if name == "shutdown" else effect()
