"""Network filters on a real host: noted in the ledger, left alone when they are somebody else's or in use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kvmdecl.diagnostics import Moved, TaskFailed
from kvmdecl.libvirt_xml.nwfilter import digest
from kvmdecl.names import derive_uuid
from kvmdecl.state import Kind, LedgerEntry
from kvmdecl.tasks import DefineFilter, DeleteFilter

if TYPE_CHECKING:
    from tests.perform.conftest import Hand

pytestmark = pytest.mark.xdist_group("lab")

UUID = derive_uuid("edge", "nwfilter", "web")
XML = f"<filter name='web' chain='root'><uuid>{UUID}</uuid><rule action='drop' direction='in'/></filter>"
DEFINE, DELETE = DefineFilter("web", UUID, XML), DeleteFilter("web", UUID)


def test_a_filter_is_defined_replaced_noted_and_forgotten(hand: Hand):
    hand.do(DEFINE)
    hand.do(DEFINE)
    other = XML.replace("'in'", "'out'")
    hand.do(DefineFilter("web", UUID, other))

    assert "direction='out'" in hand.connection.nwfilterLookupByName("web").XMLDesc()
    assert hand.ledger.entries == (LedgerEntry(Kind.NWFILTER, "web", "", digest(other), complete=True),)

    hand.do(DELETE)

    assert "web" not in [found.name() for found in hand.connection.listAllNWFilters()]
    assert hand.ledger.entries == ()


def test_a_filter_that_was_changed_since_the_plan_is_not_touched(hand: Hand):
    hand.do(DEFINE)
    planned = hand.look(hand.address(DEFINE))
    hand.connection.nwfilterDefineXML(XML.replace("'drop'", "'accept'"))

    for task in (DEFINE, DELETE):
        with pytest.raises(Moved):
            hand.do(task, planned=planned)


@pytest.mark.parametrize("task", [DEFINE, DELETE], ids=lambda task: task.task)
def test_somebody_elses_filter_is_refused_even_if_it_was_planned(
    hand: Hand, task: DefineFilter | DeleteFilter
):
    hand.connection.nwfilterDefineXML(
        "<filter name='web'><uuid>11111111-2222-3333-4444-555555555555</uuid></filter>"
    )

    with pytest.raises(TaskFailed, match=r"step\.not-ours"):
        hand.do(task)


@pytest.mark.parametrize("user", ["guest", "theirs"])
def test_a_filter_that_a_guest_or_another_filter_uses_is_not_deleted(hand: Hand, user: str):
    hand.do(DEFINE)
    if user == "guest":
        nic = "<interface type='bridge'><source bridge='br0'/><filterref filter='web'/></interface>"
        hand.connection.defineXML(
            f"<domain type='qemu'><name>{user}</name><memory>65536</memory><os><type>hvm</type></os>"
            f"<devices>{nic}</devices></domain>"
        )
    else:
        hand.connection.nwfilterDefineXML("<filter name='theirs'><filterref filter='web'/></filter>")

    with pytest.raises(TaskFailed, match=rf"is used by {user}"):
        hand.do(DELETE)

    assert hand.ledger.find(Kind.NWFILTER, "web")
