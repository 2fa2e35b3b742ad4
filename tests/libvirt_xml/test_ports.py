"""PCIe root ports that are reserved for devices to come."""

from __future__ import annotations

import libvirt
import pytest
from lxml import etree
from pydantic import ValidationError

from kvmdecl.libvirt_xml.fields import differences
from kvmdecl.libvirt_xml.impact import Assessment, assess
from kvmdecl.libvirt_xml.overlay import attachable, complete, overlay
from kvmdecl.manifest import Vm
from kvmdecl.plan import Impact
from kvmdecl.state import Kind, Origin
from tests.libvirt_xml.device_examples import is_taken
from tests.libvirt_xml.examples import disk
from tests.libvirt_xml.test_hostdevs import GUESTS as HOSTDEVS
from tests.libvirt_xml.test_on_libvirt import DUMP, GUESTS, ROOT, Host, declared, host
from tests.libvirt_xml.test_shares import GUESTS as SHARES

__all__ = ["host"]

ALL = {**GUESTS, **HOSTDEVS, **SHARES}


@pytest.mark.parametrize("number", [1, 64])
def test_reserved_ports_fit_libvirts_schema(against_schema, number: int):
    assert against_schema("domain", complete(declared(hotplug_ports=number))) == []


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ({"machine": "pc"}, "use `machine: q35`"),
        ({"machine": "pc-i440fx-7.2"}, "use `machine: q35`"),
        ({"arch": "s390x"}, "leave it out"),
        ({"arch": "ppc64le"}, "leave it out"),
    ],
)
def test_a_machine_without_pci_express_has_no_ports_to_reserve(given, hint: str):
    with pytest.raises(ValidationError) as refused:
        Vm(**given, hotplug_ports=4)

    error = refused.value.errors()[0]
    assert error["type"] == "manifest.bad-hotplug-ports"
    assert hint in str(error["ctx"])


@pytest.mark.parametrize("arch", ["aarch64", "armv7l", "riscv64"])
def test_other_machines_with_pci_express_have_some(arch: str):
    assert Vm(arch=arch, hotplug_ports=4).hotplug_ports == 4


@pytest.mark.parametrize("number", ["0", "65"])
def test_there_are_neither_no_nor_endless_ports(number: str):
    with pytest.raises(ValidationError):
        Vm(hotplug_ports=number)


@pytest.mark.xdist_group("lab")
def test_whatever_a_new_guest_has_as_many_ports_are_free_as_it_reserves(host: Host):
    free = {}
    for name in [name for name, given in ALL.items() if given.get("machine") != "pc" and is_taken(name)]:
        text = declared(**{**ALL[name], "hotplug_ports": 3})
        domain = host.define(complete(text))
        free[name] = free_ports(domain.XMLDesc(DUMP))
        assert differences(text, text, domain.XMLDesc(DUMP), Kind.DOMAIN) == (), name
        domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_NVRAM)

    assert {name: number for name, number in free.items() if number != 3} == {}


@pytest.mark.xdist_group("lab")
def test_a_device_takes_a_reserved_port_while_the_guest_runs_and_the_definition_gets_another(host: Host):
    one = declared(disks=(ROOT,), nics=(), hotplug_ports=2)
    domain = host.define(complete(one))
    domain.create()
    for number in (1, 2, 3):
        more = declared(disks=(ROOT, *late(number)), nics=(), hotplug_ports=2)
        found = assess(more, one, host.observe(domain), Origin())
        expected = Impact.LIVE if number < 3 else Impact.NEXT_BOOT  # the guest that runs began with two
        assert [(change.key, change.impact) for change in found.changes] == [
            (f"disks.late{number}", expected)
        ]

        domain = bring(host, domain, found, more, one)

        assert free_ports(domain.XMLDesc(DUMP)) == 2
        again = assess(more, more, host.observe(domain), Origin())
        assert (again.changes, again.live) == ((), ())
        assert [change.key for change in again.pending] == ([] if number < 3 else ["disks.late3"])
        one = more
    domain.destroy()
    domain.create()
    assert free_ports(domain.XMLDesc(0)) == 2
    assert assess(one, one, host.observe(domain), Origin()) == Assessment((), ())


@pytest.mark.xdist_group("lab")
@pytest.mark.parametrize(
    ("before", "after", "counts"),
    [
        (2, 4, (2, 0)),
        (None, 4, (0, 4)),  # the ports that any new guest has get names
        (None, 6, (2, 4)),
    ],
)
def test_more_ports_wait_for_the_next_boot(host: Host, before: int | None, after: int, counts):
    was, wanted = (declared(disks=(ROOT,), nics=(), hotplug_ports=n) for n in (before, after))
    domain = host.define(complete(was))
    domain.create()

    found = assess(wanted, was, host.observe(domain), Origin())
    domain = bring(host, domain, found, wanted, was)

    assert {change.key for change in found.changes} == {"hotplug_ports"}
    assert {change.impact for change in found.changes} == {Impact.NEXT_BOOT}
    names = sum(change.field.endswith("/alias@name") for change in found.changes)
    assert (len(found.changes) - names, names) == counts
    again = assess(wanted, wanted, host.observe(domain), Origin())
    assert (again.changes, again.live) == ((), ())
    assert len(again.pending) == counts[0]
    domain.destroy()
    domain.create()
    assert free_ports(domain.XMLDesc(0)) == after
    assert assess(wanted, wanted, host.observe(domain), Origin()) == Assessment((), ())


@pytest.mark.xdist_group("lab")
@pytest.mark.parametrize("after", [1, None])
def test_fewer_ports_leave_those_that_there_are(host: Host, after: int | None):
    was, wanted = (declared(disks=(ROOT,), nics=(), hotplug_ports=n) for n in (2, after))
    domain = host.define(complete(was))

    assert assess(wanted, was, host.observe(domain), Origin()) == Assessment((), ())
    domain = host.define(overlay(domain.XMLDesc(DUMP), wanted, was))
    assert free_ports(domain.XMLDesc(DUMP)) == 2


def late(number: int) -> tuple[object, ...]:
    return tuple(disk(f"late{n}", volume=f"late{n}.raw", format="raw") for n in range(1, number + 1))


def bring(
    host: Host, domain: libvirt.virDomain, found: Assessment, wanted: str, base: str
) -> libvirt.virDomain:
    """What an apply does to a running guest."""
    for call in found.live:
        device = attachable(call.argument, domain.XMLDesc(0), domain.XMLDesc(DUMP))
        domain.attachDeviceFlags(device, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    return host.define(overlay(domain.XMLDesc(DUMP), wanted, base, domain.XMLDesc(0)))


def free_ports(definition: str) -> int:
    root = etree.fromstring(definition)
    taken = {int(bus, 0) for bus in root.xpath("devices/*/address[@type='pci']/@bus")}
    return len({int(n) for n in root.xpath("devices/controller[@model='pcie-root-port']/@index")} - taken)
