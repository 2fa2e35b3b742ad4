"""Devices that placement chose, as a real libvirtd has them: defined, read back, and kept where they are."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kvmdecl.libvirt_xml.domain import domain_xml
from kvmdecl.libvirt_xml.fields import differences
from kvmdecl.libvirt_xml.holders import devices_in
from kvmdecl.libvirt_xml.overlay import complete, overlay
from kvmdecl.manifest import Pool
from kvmdecl.state import Kind
from tests.devices.test_requests import A40, placed
from tests.libvirt_xml.test_on_libvirt import DUMP, host

__all__ = ["host"]

POOLS = {"vms": Pool(path="/srv")}
GUESTS = {
    "devices by what they are": "{devices: [{alias: gpu, count: 2, rom: false}, {mdev: nvidia-563}]}",
    "another one, with its own rom": "{devices: [{alias: gpu, rom_file: /srv/rom.bin}, uplink]}",
    "devices near its cells": "{numa: {cells: [{}, {}], bind: true}, cpus: 2, devices: [{alias: gpu, count: 3}]}",
    "none": "{}",
}


def declared(text: str, hosts: str = "kvm-1") -> str:
    (vm,) = placed(f"  a: {text}\n", hosts).vms
    return domain_xml(replace(vm, type="qemu"), POOLS)


FUNCTIONS = "{nics: [{vf: uplink, vlan: 5}, {vf: {alias: card}}]}"


@pytest.mark.parametrize("text", [*GUESTS.values()])
def test_what_is_chosen_fits_libvirts_schema(against_schema, text):
    assert against_schema("domain", complete(declared(text))) == []
    assert against_schema("domain", complete(declared(FUNCTIONS, "kvm-2"))) == []


@pytest.mark.xdist_group("lab")
def test_a_guest_reads_back_as_it_was_placed_also_with_other_devices(host):
    before = declared("{}")
    domain = host.define(complete(before))
    for text in [*GUESTS.values(), *reversed(GUESTS.values())]:
        after = declared(text)

        domain = host.define(overlay(domain.XMLDesc(DUMP), after, before))

        there = domain.XMLDesc(DUMP)
        assert differences(after, before, there, Kind.DOMAIN) == (), text
        assert sorted(devices_in(there)) == sorted(devices_in(after))
        before = after
    assert A40[0] in devices_in(declared(GUESTS["devices near its cells"]))


@pytest.mark.xdist_group("lab")
def test_virtual_functions_read_back_as_nics(host):
    text = declared(FUNCTIONS, "kvm-2")

    there = host.define(complete(text)).XMLDesc(DUMP)

    assert differences(text, None, there, Kind.DOMAIN) == ()
    assert devices_in(there) == ("0000:3b:02.0", "0000:3b:02.1")
