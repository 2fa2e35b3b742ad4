"""A busy host fails for a moment. What stands in for its pool here is a fake: no test can make a host that busy."""

from __future__ import annotations

from typing import Any

import libvirt
import pytest

from kvmdecl.hosts.perform.volumes import create_xml

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
