from __future__ import annotations

import pytest
from lxml import etree

from kvmdecl.diagnostics import Span
from kvmdecl.libvirt_xml.impact import ROWS, assess, is_settled, not_running_as_declared
from kvmdecl.manifest import Balloon, Firmware, Graphics, Numa, Watchdog
from kvmdecl.names import GIB, MIB
from kvmdecl.plan import Impact
from kvmdecl.state import Origin
from tests.libvirt_xml.examples import OTHER_SEED, SEED, cdrom, declared, disk, kept, nic, observed

NOWHERE = Origin()
TWO = (disk(), disk("data"))


def assessed(before: dict[str, object], after: dict[str, object], *, running: bool = True):
    was = kept(declared(**before))
    return assess(declared(**after), declared(**before), observed(was, was if running else None), NOWHERE)


def only(before: dict[str, object], after: dict[str, object]):
    """The one change that leads from one guest to the other."""
    (change,) = assessed(before, after).changes
    return change


@pytest.mark.parametrize(
    ("before", "after", "key", "impact", "calls"),
    [
        ({}, {"cpus": 2}, "cpus.count", Impact.LIVE, ["set-vcpus"]),
        ({"cpus": 2}, {"cpus": 1}, "cpus.count", Impact.NEXT_BOOT, []),
        ({}, {"max_cpus": 4}, "cpus.max", Impact.NEXT_BOOT, []),
        ({}, {"memory": 128 * MIB}, "memory.size", Impact.LIVE, ["set-memory"]),
        ({}, {"memory": 32 * MIB}, "memory.size", Impact.LIVE, ["set-memory"]),
        ({"balloon": False}, {"balloon": False, "memory": 128 * MIB}, "memory.size", Impact.NEXT_BOOT, []),
        ({}, {"max_memory": 256 * MIB}, "memory.max", Impact.NEXT_BOOT, []),
        ({}, {"cpu_model": "qemu64"}, "cpus.model", Impact.NEXT_BOOT, []),
        ({}, {"cpu_keys": {"topology": {"cores": "2"}}}, "cpus.topology", Impact.NEXT_BOOT, []),
        ({}, {"cpu_keys": {"features": {"aes": "disable"}}}, "cpus.features", Impact.NEXT_BOOT, []),
        ({}, {"cpu_keys": {"nested": True}}, "cpus.nested", Impact.NEXT_BOOT, []),
        ({}, {"cpu_keys": {"shares": 512}}, "cpus.shares", Impact.LIVE, ["set-scheduler"]),
        ({"cpu_keys": {"shares": 512}}, {}, "cpus.shares", Impact.NEXT_BOOT, []),
        ({}, {"cpu_keys": {"period": 5000}}, "cpus.period", Impact.LIVE, ["set-scheduler"]),
        ({"cpu_keys": {"period": 5000}}, {}, "cpus.period", Impact.NEXT_BOOT, []),
        ({}, {"cpu_keys": {"quota": 5000}}, "cpus.quota", Impact.LIVE, ["set-scheduler"]),
        ({"cpu_keys": {"quota": 5000}}, {}, "cpus.quota", Impact.LIVE, ["set-scheduler"]),
        *(
            ({}, {"cpu_keys": {name: 5000}}, f"cpus.{name}", Impact.LIVE, ["set-scheduler"])
            for name in ("emulator_period", "emulator_quota")
        ),
        ({}, {"cpu_keys": {"pins": {"0": "1"}}}, "cpus.pins", Impact.LIVE, ["pin-vcpu"]),
        ({}, {"cpu_keys": {"pins": {"1": "1"}}}, "cpus.pins", Impact.NEXT_BOOT, []),
        ({"cpu_keys": {"pins": {"0": "1"}}}, {}, "cpus.pins", Impact.NEXT_BOOT, []),
        ({}, {"cpu_keys": {"emulator_pin": "0-1"}}, "cpus.emulator_pin", Impact.LIVE, ["pin-emulator"]),
        ({"cpu_keys": {"emulator_pin": "0-1"}}, {}, "cpus.emulator_pin", Impact.NEXT_BOOT, []),
        *(
            ({}, {"memory_keys": {name: GIB}}, f"memory.{name}", Impact.LIVE, ["set-memory-limits"])
            for name in ("hard_limit", "soft_limit")
        ),
        ({"memory_keys": {"hard_limit": GIB}}, {}, "memory.hard_limit", Impact.LIVE, ["set-memory-limits"]),
        (
            {"memory_keys": {"hard_limit": GIB}},
            {"memory_keys": {"hard_limit": GIB, "swap_hard_limit": 2 * GIB}},
            "memory.swap_hard_limit",
            Impact.LIVE,
            ["set-memory-limits"],
        ),
        ({}, {"memory_keys": {"pages": 2 * MIB}}, "memory.pages", Impact.NEXT_BOOT, []),
        ({"memory_keys": {"pages": 2 * MIB}}, {}, "memory.pages", Impact.NEXT_BOOT, []),
        ({}, {"memory_keys": {"source": "memfd"}}, "memory.source", Impact.NEXT_BOOT, []),
        ({}, {"memory_keys": {"access": "shared"}}, "memory.access", Impact.NEXT_BOOT, []),
        ({}, {"memory_keys": {"locked": True}}, "memory.locked", Impact.NEXT_BOOT, []),
        ({}, {"memory_keys": {"ksm": False}}, "memory.ksm", Impact.NEXT_BOOT, []),
        ({}, {"numa": Numa(nodeset="0")}, "numa", Impact.NEXT_BOOT, []),
        ({}, {"balloon": Balloon(free_page_reporting=True)}, "balloon", Impact.NEXT_BOOT, []),
        ({}, {"machine": "pc"}, "machine", Impact.NEXT_BOOT, []),
        ({}, {"firmware": Firmware(type="uefi")}, "firmware", Impact.NEXT_BOOT, []),
        ({}, {"description": "new"}, "description", Impact.METADATA, []),
        ({}, {"disks": TWO}, "disks.data", Impact.LIVE, ["attach-device"]),
        ({"disks": TWO}, {}, "disks.data", Impact.LIVE, ["detach-device"]),
        ({}, {"disks": (disk(), disk("data", bus="sata"))}, "disks.data", Impact.NEXT_BOOT, []),
        ({"disks": (disk(), disk("data", bus="sata"))}, {}, "disks.data", Impact.NEXT_BOOT, []),
        ({}, {"disks": (disk(cache="none"),)}, "disk.cache", Impact.NEXT_BOOT, []),
        ({}, {"disks": (disk(discard="unmap"),)}, "disk.discard", Impact.NEXT_BOOT, []),
        *(
            ({}, {"disks": (disk(**{key: value}),)}, f"disk.{key}", Impact.NEXT_BOOT, [])
            for key, value in (
                *(("io", "threads"), ("detect_zeroes", "on"), ("queues", 2), ("copy_on_read", True)),
                *(("error_policy", "stop"), ("read_error_policy", "report"), ("readonly", True)),
            )
        ),
        *(
            (
                {"disks": (disk(bus="scsi"),)},
                {"disks": (disk(bus="scsi", **{key: value}),)},
                f"disk.{key}",
                Impact.NEXT_BOOT,
                [],
            )
            for key, value in (("wwn", "5000c50015ea71aa"), ("rotation_rate", 1))
        ),
        (
            {"disks": (disk(format="raw"),)},
            {"disks": (disk(format="raw", shareable=True),)},
            "disk.shareable",
            Impact.NEXT_BOOT,
            [],
        ),
        ({}, {"disks": (disk(iotune={"total_iops_sec": 9}),)}, "disk.iotune", Impact.LIVE, ["set-iotune"]),
        ({"disks": (disk(iotune={"total_iops_sec": 9}),)}, {}, "disk.iotune", Impact.LIVE, ["set-iotune"]),
        ({}, {"iothreads": 2}, "iothreads", Impact.LIVE, ["add-iothreads"]),
        ({"iothreads": 2}, {"iothreads": 1}, "iothreads", Impact.LIVE, ["remove-iothreads"]),
        ({"iothreads": 2}, {}, "iothreads", Impact.LIVE, ["remove-iothreads"]),
        (
            {"iothreads": 2},
            {"iothreads": 2, "disks": (disk(iothread=2),)},
            "disk.iothread",
            Impact.NEXT_BOOT,
            [],
        ),
        ({}, {"disks": (disk(serial="X"),)}, "disk.serial", Impact.NEXT_BOOT, []),
        ({}, {"disks": (disk(bus="sata"),)}, "disk.bus", Impact.NEXT_BOOT, []),
        ({}, {"disks": (disk(boot_order=1),)}, "boot", Impact.NEXT_BOOT, []),
        ({}, {"disks": (disk(volume="other.qcow2"),)}, "disk", Impact.DATA_LOSS, []),
        (SEED, OTHER_SEED, "cloud_init", Impact.LIVE, ["update-device"]),
        (
            {"cdroms": (cdrom("cd", "a.iso"),)},
            {"cdroms": (cdrom("cd", "b.iso"),)},
            "cdroms.cd",
            Impact.LIVE,
            ["update-device"],
        ),
        (
            {"cdroms": (cdrom(),)},
            {"cdroms": (cdrom("cd", "b.iso"),)},
            "cdroms.cd",
            Impact.LIVE,
            ["update-device"],
        ),
        (
            {"cdroms": (cdrom("cd", "a.iso"),)},
            {"cdroms": (cdrom(),)},
            "cdroms.cd",
            Impact.LIVE,
            ["update-device"],
        ),
        ({}, {"cdroms": (cdrom(),)}, "cdroms.cd", Impact.NEXT_BOOT, []),
        ({"cdroms": (cdrom(),)}, {}, "cdroms.cd", Impact.NEXT_BOOT, []),
        ({}, SEED, "cloud_init", Impact.NEXT_BOOT, []),
        ({}, {"nics": (nic(), nic(2))}, "nics", Impact.LIVE, ["attach-device"]),
        ({"nics": (nic(), nic(2))}, {}, "nics", Impact.LIVE, ["detach-device"]),
        ({}, {"nics": (nic(link="down"),)}, "nics", Impact.LIVE, ["update-device"]),
        ({}, {"nics": (nic(source="br1"),)}, "nics", Impact.LIVE, ["update-device"]),
        ({}, {"nics": (nic(model="e1000"),)}, "nics", Impact.NEXT_BOOT, []),
        ({}, {"nics": (nic(mtu=9000),)}, "nics", Impact.NEXT_BOOT, []),
        ({}, {"graphics": Graphics(type="vnc")}, "graphics", Impact.NEXT_BOOT, []),
        ({}, {"serial": False}, "serial", Impact.NEXT_BOOT, []),
        ({"rng": False}, {}, "rng", Impact.LIVE, ["attach-device"]),
        ({}, {"rng": False}, "rng", Impact.LIVE, ["detach-device"]),
        ({}, {"agent": False}, "agent", Impact.LIVE, ["detach-device"]),
        ({}, {"balloon": False}, "balloon", Impact.NEXT_BOOT, []),
        ({}, {"watchdog": Watchdog()}, "watchdog", Impact.NEXT_BOOT, []),
        ({"watchdog": Watchdog()}, {"watchdog": Watchdog(action="pause")}, "watchdog", Impact.NEXT_BOOT, []),
    ],
)
def test_what_a_change_does_to_a_running_guest(before, after, key, impact, calls):
    found = assessed(before, after)

    assert {change.key for change in found.changes} == {key}
    assert {change.impact for change in found.changes} == {impact}
    assert [call.call for call in found.live] == calls
    assert all(change.why for change in found.changes if change.impact is Impact.NEXT_BOOT)


def test_nothing_can_disturb_a_guest_that_is_off():
    found = assessed({}, {"machine": "pc", "disks": TWO, "memory": 128 * MIB}, running=False)

    assert found.changes
    assert {change.impact for change in found.changes} == {Impact.NONE}
    assert (found.live, found.pending) == ((), ())


def test_no_change_is_no_change():
    assert assessed(SEED, SEED) == assessed({}, {})
    assert assessed({}, {}).changes == ()


def test_values_are_shown_as_the_manifest_writes_them():
    change = only({}, {"memory": 128 * MIB})

    assert (change.before, change.after, change.how) == ("64MiB", "128MiB", "virDomainSetMemoryFlags")


def test_a_change_is_shown_where_the_manifest_says_it():
    place = Span("cluster.yaml", 7, 3, 7, 9)
    origin = Origin(keys={"disks.data": place})
    was = kept(declared(disks=TWO))
    new = declared(disks=(disk(), disk("data", cache="none")))

    (change,) = assess(new, declared(disks=TWO), observed(was, was), origin).changes

    assert (change.key, change.at) == ("disks.data.cache", place)


def test_more_memory_than_the_guest_began_with_waits_for_its_next_boot():
    found = assessed({}, {"memory": GIB, "max_memory": GIB})

    assert {(c.key, c.impact) for c in found.changes} == {
        ("memory.size", Impact.NEXT_BOOT),
        ("memory.max", Impact.NEXT_BOOT),
    }
    assert found.live == ()


def test_an_attached_device_is_the_declared_one_and_a_detached_one_a_key():
    (attach,), (detach,) = assessed({}, {"disks": TWO}).live, assessed({"disks": TWO}, {}).live

    assert etree.fromstring(attach.argument).findtext("serial") == "data"
    assert detach.argument == "disk[data]"


def test_a_controller_is_attached_before_the_disk_that_needs_it():
    found = assessed({}, {"disks": (disk(), disk("data", bus="scsi"))})

    assert [etree.fromstring(call.argument).tag for call in found.live] == ["controller", "disk"]


def test_an_update_names_nothing_that_libvirt_would_refuse_to_change():
    found = assessed({}, {"nics": (nic(link="down", model="e1000", mtu=9000, boot_order=2),)})

    (call,) = found.live
    device = etree.fromstring(call.argument)

    assert [child.tag for child in device] == ["mac", "source", "link"]
    assert {change.impact for change in found.changes} == {Impact.LIVE, Impact.NEXT_BOOT}


def test_a_thread_is_made_before_the_disk_that_it_serves_and_ended_after_it():
    served = {"iothreads": 1, "disks": (disk(), disk("data", iothread=1))}

    calls = [[c.call for c in assessed(*pair).live] for pair in [({}, served), (served, {})]]

    assert calls == [["add-iothreads", "attach-device"], ["detach-device", "remove-iothreads"]]


def test_a_thread_that_serves_a_disk_goes_with_the_next_boot():
    before, after = ({"iothreads": n, "disks": (disk(iothread=n),)} for n in (2, 1))
    found = assessed(before, after)

    assert {(c.key, c.impact) for c in found.changes} == {
        ("iothreads", Impact.NEXT_BOOT),
        ("disk.iothread", Impact.NEXT_BOOT),
    }
    assert found.live == ()


def test_two_live_changes_of_one_nic_are_one_call():
    assert len(assessed({}, {"nics": (nic(link="down", source="br1"),)}).live) == 1


def test_limits_that_change_together_are_one_call_and_what_is_lifted_is_no_limit():
    before = {"memory_keys": {"hard_limit": GIB, "soft_limit": MIB}, "cpu_keys": {"quota": 5000}}
    after = {"memory_keys": {"hard_limit": 2 * GIB}, "cpu_keys": {"shares": 512}}

    assert [(call.call, call.argument) for call in assessed(before, after).live] == [
        ("set-scheduler", "vcpu_quota=-1 cpu_shares=512"),
        ("set-memory-limits", "hard_limit=2097152 soft_limit=9007199254740991"),
    ]


def test_a_pin_names_the_vcpu_and_the_hosts_cpus_one_by_one():
    (pin,) = assessed({}, {"cpu_keys": {"pins": {"0": "4-6,9"}}}).live
    (emulator,) = assessed({}, {"cpu_keys": {"emulator_pin": "0-1"}}).live

    assert (pin.argument, emulator.argument) == ("0=4,5,6,9", "0,1")


def test_what_the_running_guest_has_already_is_not_done_again():
    found = assess(
        declared(disks=TWO), declared(), observed(kept(declared()), kept(declared(disks=TWO))), NOWHERE
    )

    assert [(c.impact, c.why) for c in found.changes] == [(Impact.NONE, "the running guest is so already")]
    assert found.live == ()


def test_what_only_the_running_guest_lacks_is_done_live():
    config, live = kept(declared(disks=TWO)), kept(declared())

    found = assess(declared(disks=TWO), declared(disks=TWO), observed(config, live), NOWHERE)

    assert [(c.field, c.impact) for c in found.changes] == [("devices/disk[data]", Impact.LIVE)]
    assert [call.call for call in found.live] == ["attach-device"]


def test_what_only_a_restart_can_bring_is_pending_and_no_change():
    new = declared(disks=(disk(cache="none"),), max_cpus=8)

    found = assess(new, new, observed(kept(new), kept(declared())), NOWHERE)

    assert (found.changes, found.live) == ((), ())
    assert [(change.field, change.before, change.after) for change in found.pending] == [
        ("devices/disk[root]/driver@cache", None, "none"),
        ("vcpu", "2", "8"),
    ]
    assert [d.path for d in not_running_as_declared(new, kept(declared()))] == [
        change.field for change in found.pending
    ]
    assert not_running_as_declared(new, kept(new)) == ()


def test_what_every_guest_has_otherwise_than_its_definition_is_never_pending():
    odd = "<domain><memory>131100</memory><devices><graphics type='vnc'/></devices></domain>"
    live = odd.replace("131100", "132096").replace("type='vnc'", "type='vnc' listen='127.0.0.1'")

    found = assess(odd, odd, observed(odd, live), Origin())

    assert (found.changes, found.pending) == ((), ())


def test_what_left_the_definition_and_not_the_guest_is_pending():
    pinned, served = declared(cpu_keys={"pins": {"0": "1"}}), declared(disks=TWO)

    for before, path, attribute in (
        (pinned, "cputune/vcpupin[0]", "pending"),
        (served, "devices/disk[data]", "beyond"),
    ):
        found = assess(declared(), declared(), observed(kept(declared()), kept(before)), NOWHERE)
        assert (found.changes, found.live) == ((), ())
        assert [(c.field, c.after) for c in (*found.pending, *found.beyond)] == [(path, None)]
        assert getattr(found, attribute)
        assert not is_settled(declared(), kept(declared()), kept(before))
    assert is_settled(declared(), kept(declared()), kept(declared()))


def with_ports(xml: str, *free: int) -> str:
    """A guest whose ports are all taken, but for these."""
    root = etree.fromstring(xml)
    devices = root.find("devices")
    for port in devices.xpath("controller[@model='pcie-root-port']"):
        devices.remove(port)
    for number in free:
        etree.SubElement(devices, "controller", type="pci", index=str(number), model="pcie-root-port")
    return etree.tostring(root, encoding="unicode")


def test_a_host_that_tells_no_number_of_a_port_breaks_nothing():
    was = with_ports(kept(declared()), 30).replace(' index="30"', "")
    found = assess(declared(disks=TWO), declared(), observed(was, was), NOWHERE)
    assert [change.impact for change in found.changes] == [Impact.LIVE]


def test_devices_for_which_no_port_is_left_wait_for_the_next_boot():
    was = with_ports(kept(declared()), 30, 31)
    more = declared(disks=(*TWO, disk("scsi", bus="scsi")), nics=(nic(), nic(2), nic(3)), rng=True)

    found = assess(more, declared(), observed(was, was), NOWHERE)

    impacts = {change.field: change.impact for change in found.changes}
    assert impacts == {
        "devices/controller[scsi:0]": Impact.LIVE,
        "devices/disk[data]": Impact.LIVE,
        "devices/disk[scsi]": Impact.LIVE,
        "devices/interface[52:54:00:00:00:02]": Impact.NEXT_BOOT,
        "devices/interface[52:54:00:00:00:03]": Impact.NEXT_BOOT,
    }
    assert [call.call for call in found.live] == ["attach-device"] * 3


BRIDGE = '<controller type="pci" index="40" model="pcie-to-pci-bridge"/></devices>'


@pytest.mark.parametrize(
    ("xml", "path"),
    [
        ("<shmem name='ring'><model type='ivshmem-plain'/><size unit='M'>1</size></shmem>", "shmem[ring]"),
        (
            (
                "<interface type='bridge'><mac address='52:54:00:00:00:09'/><source bridge='br0'/>"
                "<model type='e1000'/></interface>"
            ),
            "interface[52:54:00:00:00:09]",
        ),
    ],
    ids=["shmem", "e1000"],
)
def test_conventional_devices_wait_for_the_next_boot_where_there_are_only_ports_for_pcie(xml: str, path: str):
    was = with_ports(kept(declared()), 30, 31)
    more = declared().replace("</devices>", f"{xml}</devices>")

    for live, impact in ((was, Impact.NEXT_BOOT), (was.replace("</devices>", BRIDGE), Impact.LIVE)):
        found = assess(more, declared(), observed(live, live), NOWHERE)
        assert [(c.field, c.impact) for c in found.changes] == [(f"devices/{path}", impact)]


def test_a_device_of_the_host_needs_a_port_too():
    more = declared(hostdevs=({"pci": "0000:41:00.0"}, {"pci": "0000:42:00.0"}))
    was = with_ports(kept(declared()), 30)

    found = assess(more, declared(), observed(was, was), NOWHERE)

    assert [change.impact for change in found.changes] == [Impact.LIVE, Impact.NEXT_BOOT]


def test_what_libvirt_fills_in_at_the_start_is_no_left_over():
    shared = declared(disks=(disk(format="raw", shareable=True),))
    started = kept(shared).replace('type="raw"', 'type="raw" cache="none"')
    assert started != kept(shared)

    assert is_settled(shared, kept(shared), started)


def test_what_a_running_guest_cannot_show_is_never_pending():
    live = kept(declared()).replace('mode="maximum"', 'mode="custom"').replace(">65536<", ">131072<")
    live = live.replace("<acpi/>", "")

    assert not_running_as_declared(declared(), live) == ()


def test_every_row_names_the_function_that_decides_it_and_the_last_fits_everything():
    assert all(row.source.startswith(("qemu", "vir")) for row in ROWS)
    assert ROWS[-1].path == "*"
    assert ROWS[-1].on == "any"


def test_a_stopped_guest_is_not_given_another_disk_in_passing():
    before, after = declared(), declared(disks=(disk(volume="other.qcow2"),))
    found = assess(after, before, observed(kept(before)), Origin())
    assert [change.impact for change in found.changes] == [Impact.DATA_LOSS]


def test_what_is_in_the_drive_of_a_stopped_guest_is_changed_without_ado():
    before, after = declared(cdroms=(cdrom("cd", "a.iso"),)), declared(cdroms=(cdrom("cd", "b.iso"),))
    found = assess(after, before, observed(kept(before)), Origin())
    assert [change.impact for change in found.changes] == [Impact.NONE]


def test_what_is_in_a_drive_that_the_guest_has_not_got_yet_waits_with_it():
    before, after = declared(cdroms=(cdrom("cd", "a.iso"),)), declared(cdroms=(cdrom("cd", "b.iso"),))
    found = assess(after, before, observed(kept(before), kept(declared())), Origin())
    assert {change.impact for change in found.changes} == {Impact.NEXT_BOOT}
    assert found.live == ()
