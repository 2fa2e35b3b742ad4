"""PCI Express expander buses: a guest sees which of its cells a device is near to."""

from __future__ import annotations

from dataclasses import replace

import pytest
from lxml import etree
from pydantic import ValidationError

from kvmdecl.libvirt_xml.domain import domain_xml
from kvmdecl.libvirt_xml.fields import differences
from kvmdecl.libvirt_xml.impact import assess
from kvmdecl.libvirt_xml.overlay import attachable, complete, overlay
from kvmdecl.manifest import Vm
from kvmdecl.plan import Impact
from kvmdecl.state import Kind, Origin
from tests.devices.test_requests import placed
from tests.libvirt_xml.examples import kept, observed
from tests.libvirt_xml.test_on_libvirt import DUMP, host

__all__ = ["host"]

CELLS = "numa: {cells: [{}, {}], bind: true, expanders: true}, cpus: 2"
TWO = f"{{{CELLS}, devices: [{{alias: gpu, count: 2, prefer: distinct}}]}}"
THREE = f"{{{CELLS}, devices: [{{alias: gpu, count: 3}}]}}"


def declared(text):
    (vm,) = placed(f"  a: {text}\n").vms
    return domain_xml(replace(vm, type="qemu"), {})


def nodes(definition):
    """The guest's cell that each device of the host is on, by bus of the host."""
    devices = etree.fromstring(definition).find("devices")
    by_index = {int(each.get("index")): each for each in devices.iterfind("controller[@type='pci']")}
    found = {}
    for device in devices.iterfind("hostdev"):
        port = by_index[int(device.find("address").get("bus"), 0)]
        bus = by_index[int(port.find("address").get("bus"), 0)]
        found[device.find("source/address").get("bus")] = bus.findtext("target/node")
    return found


def test_it_fits_libvirts_schema(against_schema):
    assert against_schema("domain", complete(declared(THREE))) == []


@pytest.mark.xdist_group("lab")
def test_devices_are_on_the_buses_of_their_cells_also_in_a_guest_that_had_none(host):
    before = declared("{numa: {cells: [{}, {}], bind: true}, cpus: 2}")
    domain = host.define(complete(before))
    for text, there in (
        (TWO, {"0x19": "0", "0x9a": "1"}),
        (THREE, {"0x19": "0", "0x1a": "0", "0x9a": "1"}),
        (TWO, {"0x19": "0", "0x9a": "1"}),
    ):
        after = declared(text)

        domain = host.define(overlay(domain.XMLDesc(DUMP), after, before))

        assert differences(after, before, domain.XMLDesc(DUMP), Kind.DOMAIN) == ()
        assert nodes(domain.XMLDesc(DUMP)) == there
        before = after


@pytest.mark.xdist_group("lab")
def test_a_new_guest_has_them_there_from_the_beginning(host):
    text = declared(THREE)

    there = host.define(complete(text)).XMLDesc(DUMP)

    assert differences(text, None, there, Kind.DOMAIN) == ()
    assert nodes(there) == {"0x19": "0", "0x1a": "0", "0x9a": "1"}


def test_what_comes_live_takes_a_free_port_of_its_bus_if_there_is_one():
    running = """<domain><devices>
      <controller type='pci' index='1' model='pcie-expander-bus'><alias name='ua-cell0'/></controller>
      <controller type='pci' index='2' model='pcie-root-port'>
        <address type='pci' domain='0x0000' bus='0x01' slot='0x00' function='0x0'/></controller>
    </devices></domain>"""
    card = "<hostdev type='pci'><alias name='ua-cell{}-0000-19-00-0'/></hostdev>"

    assert 'bus="0x02"' in attachable(card.format(0), running)
    assert "address" not in attachable(card.format(1), running)


def test_buses_come_with_the_next_boot():
    before, text = declared("{numa: {cells: [{}, {}], bind: true}, cpus: 2}"), declared(f"{{{CELLS}}}")
    was = kept(before)

    found = assess(text, before, observed(was, was), Origin())

    assert {(change.key, change.impact) for change in found.changes} == {("numa.expanders", Impact.NEXT_BOOT)}


@pytest.mark.parametrize(
    "given",
    [
        {"numa": {"expanders": True, "cells": [{}]}},
        {"numa": {"expanders": True, "bind": True}},
        {"numa": {"expanders": True, "bind": True, "cells": [{}]}, "machine": "pc"},
    ],
)
def test_only_a_guest_whose_cells_are_chosen_has_them(given):
    with pytest.raises(ValidationError) as refused:
        Vm(**given)

    assert refused.value.errors()[0]["type"] == "manifest.bad-numa"
