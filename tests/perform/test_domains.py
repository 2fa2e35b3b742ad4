"""Domains are changed in place, with everything kept that only the host knows; and never stopped by force."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

import libvirt
import pytest
from lxml import etree

from kvmdecl.diagnostics import Moved, TaskFailed
from kvmdecl.hosts.perform.domains import shut_down
from kvmdecl.hosts.perform.job import Job
from kvmdecl.hosts.protocol import TaskRequest
from kvmdecl.lab.guest import tiny_image
from kvmdecl.libvirt_xml.marker import belongs
from kvmdecl.libvirt_xml.overlay import complete
from kvmdecl.names import derive_uuid
from kvmdecl.plan import Address
from kvmdecl.state import Kind, PowerOff
from kvmdecl.tasks import CreateVolume, DefineDomain, DeleteDomain, LiveChange, Power, ResizeVolume

if TYPE_CHECKING:
    from tests.perform.conftest import Hand

CLUSTER = "edge"
UUID = derive_uuid(CLUSTER, "domain", "web-1")
MAC = "52:54:00:00:00:07"

VNC = "<graphics type='vnc'><listen type='address' address='127.0.0.1'/></graphics>"
BRIDGE_NIC = (
    f"<interface type='bridge'><mac address='{MAC}'/><source bridge='br0'/><model type='virtio'/></interface>"
)


def disk(name: str, path: str, bus: str = "virtio") -> str:
    return (
        f"<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{path}'/>"
        f"<target bus='{bus}'/><alias name='ua-{name}'/></disk>"
    )


def domain_xml(
    *devices: str, memory: int = 32, cpus: int = 1, machine: str = "q35", head: str = "", os: str = ""
) -> str:
    return (
        f"<domain type='qemu'><name>web-1</name><uuid>{UUID}</uuid>{head}"
        f"<memory unit='MiB'>{memory}</memory><currentMemory unit='MiB'>{memory}</currentMemory>"
        f"<vcpu current='{cpus}'>4</vcpu><os><type arch='x86_64' machine='{machine}'>hvm</type>{os}</os>"
        "<features><acpi/><apic/></features>"
        f"<devices>{''.join(devices)}<memballoon model='virtio'/></devices></domain>"
    )


def define(xml: str, base: str | None = None, **changes: object) -> DefineDomain:
    task = DefineDomain(
        name="web-1",
        uuid=UUID,
        xml=xml,
        base=base,
        live=(),
        power="keep",
        autostart=False,
        cluster=CLUSTER,
        revision="r1",
    )
    return replace(task, **changes)  # type: ignore[arg-type]


@pytest.fixture
def obedient(hand: Hand) -> str:
    """A disk that boots a guest which powers off when it is asked to."""
    tiny_image(hand.path("/srv/tiny.img"))
    return disk("root", "/srv/tiny.img")


@pytest.fixture
def deaf(hand: Hand) -> str:
    """An empty disk: what boots from it hears nothing."""
    return disk("root", blank(hand, "blank.img"))


def blank(hand: Hand, name: str) -> str:
    hand.path(f"/srv/{name}").write_bytes(bytes(1 << 20))
    return f"/srv/{name}"


def domain(hand: Hand) -> libvirt.virDomain:
    return hand.connection.lookupByName("web-1")


def config(hand: Hand, flags: int = 0) -> etree._Element:
    return etree.fromstring(domain(hand).XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE | flags))


def running(hand: Hand) -> etree._Element:
    return etree.fromstring(domain(hand).XMLDesc())


def qemu_pid(hand: Hand) -> str:
    return (hand.host.folder / "run/libvirt/qemu/web-1.pid").read_text()


def address_of(root: etree._Element, path: str) -> dict[str, str]:
    (address,) = root.iterfind(f"{path}/address")
    return dict(address.attrib)


# -- made ------------------------------------------------------------------------------------------------


def test_a_new_domain_is_defined_marked_and_started(hand: Hand, deaf: str):
    result = hand.do(define(domain_xml(deaf, BRIDGE_NIC), power="start", autostart=True))
    assert result.remarks == ()
    assert (domain(hand).isActive(), domain(hand).autostart()) == (1, 1)
    assert belongs(domain(hand).XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE), CLUSTER, UUID)
    assert config(hand).find("devices/disk/target").get("dev") == "vda"


def test_a_new_domain_that_shall_be_off_stays_off(hand: Hand, deaf: str):
    hand.do(define(domain_xml(deaf)))
    assert not domain(hand).isActive()


def test_a_domain_that_libvirt_refuses_is_a_failed_step_and_leaves_nothing(hand: Hand, deaf: str):
    with pytest.raises(TaskFailed) as failed:
        hand.do(define(domain_xml(deaf, cpus=9)))
    found = failed.value.diagnostic
    assert (found.code, found.subject) == ("host.error", "kvm-1/domain/web-1")
    assert hand.connection.listAllDomains() == []


def test_a_domain_that_somebody_made_meanwhile_is_not_touched(hand: Hand, deaf: str):
    hand.connection.defineXML(f"<domain type='qemu'><name>web-1</name><memory>1</memory>{OS}</domain>")
    before = domain(hand).XMLDesc()
    with pytest.raises(Moved, match="appeared"):
        hand.do(define(domain_xml(deaf)), planned=None)
    assert domain(hand).XMLDesc() == before


OS = "<os><type arch='x86_64' machine='q35'>hvm</type></os>"


# -- changed in place ------------------------------------------------------------------------------------


def test_a_vnc_password_that_somebody_set_survives_an_update(hand: Hand, deaf: str):
    old, new = domain_xml(deaf, VNC), domain_xml(deaf, VNC, memory=64)
    hand.do(define(old))
    secret = config(hand)
    secret.find("devices/graphics").set("passwd", "s3cret")
    hand.connection.defineXML(etree.tostring(secret, encoding="unicode"))
    hand.do(define(new, old))
    kept = config(hand, libvirt.VIR_DOMAIN_XML_SECURE)
    assert kept.find("devices/graphics").get("passwd") == "s3cret"
    assert kept.findtext("memory") == str(64 * 1024)


def test_the_place_of_the_firmwares_variables_survives_an_update(hand: Hand, deaf: str):
    loader = "<loader readonly='yes' type='pflash'>/srv/code.fd</loader>"
    old = domain_xml(deaf, os=f"{loader}<nvram>/srv/chosen-by-hand.fd</nvram>")
    hand.do(define(old))
    new = domain_xml(deaf, os=loader, memory=64)
    hand.do(define(new, domain_xml(deaf, os=loader)))
    assert config(hand).findtext("os/nvram") == "/srv/chosen-by-hand.fd"


def test_addresses_and_the_machines_version_survive_an_update(hand: Hand, deaf: str):
    old = domain_xml(deaf, BRIDGE_NIC)
    hand.do(define(old))
    before = config(hand)
    extra = BRIDGE_NIC.replace(MAC, "52:54:00:00:00:01")
    hand.do(define(domain_xml(extra, deaf, BRIDGE_NIC), old))
    after = config(hand)
    assert after.find("os/type").get("machine") == before.find("os/type").get("machine") != "q35"
    nic = f"devices/interface/mac[@address='{MAC}']/.."
    for path in ("devices/disk", "devices/memballoon", nic):
        assert address_of(after, path) == address_of(before, path)


def test_what_left_the_manifest_leaves_the_domain_and_what_others_added_stays(hand: Hand, deaf: str):
    old = domain_xml(deaf, BRIDGE_NIC, head="<description>ours</description>")
    hand.do(define(old))
    edited = config(hand)
    etree.SubElement(edited, "title").text = "theirs"
    hand.connection.defineXML(etree.tostring(edited, encoding="unicode"))
    hand.do(define(domain_xml(deaf), old))
    after = config(hand)
    assert (after.findtext("description"), after.findtext("title")) == (None, "theirs")
    assert after.find("devices/interface") is None


def test_a_higher_maximum_of_vcpus_does_not_raise_their_number(hand: Hand, deaf: str):
    # libvirt leaves `current` out of a definition in which it equals the maximum.
    old = domain_xml(deaf).replace("current='1'>4<", "current='1'>1<")
    hand.do(define(old, power="start"))
    hand.do(define(domain_xml(deaf), old))
    vcpu = config(hand).find("vcpu")
    assert (vcpu.get("current"), vcpu.text) == ("1", "4")


def test_a_refused_definition_leaves_the_old_one(hand: Hand, deaf: str):
    old = domain_xml(deaf)
    hand.do(define(old))
    before = domain(hand).XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    with pytest.raises(TaskFailed) as failed:
        hand.do(define(domain_xml(deaf, cpus=9), old))
    assert failed.value.diagnostic.code == "host.error"
    assert domain(hand).XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE) == before


def test_a_field_that_libvirt_drops_is_a_failed_step_that_names_it(hand: Hand, deaf: str):
    odd = BRIDGE_NIC.replace("'virtio'/>", "'e1000'/><driver queues='4'/>")
    with pytest.raises(TaskFailed) as failed:
        hand.do(define(domain_xml(deaf, odd)))
    assert failed.value.diagnostic.code == "step.not-as-declared"
    assert "driver@queues" in failed.value.diagnostic.summary


def test_a_domain_that_was_edited_between_plan_and_step_is_not_touched(hand: Hand, deaf: str):
    old = domain_xml(deaf)
    hand.do(define(old, power="start"))
    planned = hand.look(hand.address(define(old)))
    edited = config(hand)
    edited.find("memory").text = str(128 * 1024)
    hand.connection.defineXML(etree.tostring(edited, encoding="unicode"))
    before, pid = domain(hand).XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE), qemu_pid(hand)
    with pytest.raises(Moved) as moved:
        hand.do(define(domain_xml(deaf, cpus=2), old, power="shutdown"), planned=planned)
    found = moved.value.diagnostic
    assert (found.code, found.subject) == ("step.moved", "kvm-1/domain/web-1")
    assert "differs from the manifest now: memory" in [note.text for note in found.notes]
    assert (domain(hand).XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE), qemu_pid(hand)) == (before, pid)


@pytest.mark.parametrize("power", ["restart", "shutdown"])
def test_a_guest_that_ended_by_itself_before_the_plan_ends_it_is_no_other_guest(
    hand: Hand, deaf: str, power: Power
):
    """As one does that a run asked to power off which was killed then."""
    old, new = domain_xml(deaf), domain_xml(deaf, memory=64)
    hand.do(define(old, power="start"))
    planned = hand.look(hand.address(define(old)))
    domain(hand).destroy()
    live = (LiveChange("set-vcpus", "1"),)
    assert hand.do(define(new, old, power=power, live=live), planned=planned).remarks == ()
    assert bool(domain(hand).isActive()) is (power == "restart")
    assert config(hand).findtext("memory") == str(64 * 1024)


class Ending:
    """A fake: a guest of libvirt that has powered off is active for 10 to 200 ms more, and refuses to be asked to."""

    def __init__(self, states: list[int]) -> None:
        self.states = states

    def XMLDesc(self, _flags: int) -> str:  # noqa: N802
        return "<domain/>"

    def isActive(self) -> int:  # noqa: N802
        now = self.states[0] if len(self.states) == 1 else self.states.pop(0)
        return int(now != libvirt.VIR_DOMAIN_SHUTOFF)

    def state(self) -> list[int]:
        return [self.states[0], 0]

    def shutdown(self) -> None:
        refused = libvirt.libvirtError("domain is not running")
        refused.err = (libvirt.VIR_ERR_OPERATION_INVALID, 10, "domain is not running", 2, "", "", "", -1, -1)
        raise refused


def test_a_guest_that_is_ending_need_not_be_asked_to(hand: Hand):
    address = Address("kvm-1", Kind.DOMAIN, "web-1")
    task = DeleteDomain("web-1", UUID, stop=True)
    job = Job(hand.connection, TaskRequest(address, task, "", "edge", "r1"), hand.told.append, hand.patience)
    ending = [libvirt.VIR_DOMAIN_SHUTDOWN] * 5 + [libvirt.VIR_DOMAIN_SHUTOFF]
    shut_down(job, cast("libvirt.virDomain", Ending(ending)), PowerOff(timeout=1))
    paused = cast("libvirt.virDomain", Ending([libvirt.VIR_DOMAIN_PAUSED]))
    with pytest.raises(libvirt.libvirtError, match="not running"):
        shut_down(job, paused, PowerOff(timeout=1))


@pytest.mark.parametrize("power", ["keep", "start"])
def test_a_guest_that_ended_where_the_plan_does_not_end_it_is_not_touched(
    hand: Hand, deaf: str, power: Power
):
    old = domain_xml(deaf)
    hand.do(define(old, power="start"))
    planned = hand.look(hand.address(define(old)))
    domain(hand).destroy()
    with pytest.raises(Moved) as moved:
        hand.do(define(domain_xml(deaf, memory=64), old, power=power), planned=planned)
    assert moved.value.diagnostic.code == "step.moved"
    assert (domain(hand).isActive(), config(hand).findtext("memory")) == (0, str(32 * 1024))


def test_a_guest_that_ended_by_itself_is_deleted_as_planned(hand: Hand, deaf: str):
    hand.do(define(domain_xml(deaf), power="start"))
    planned = hand.look(hand.address(define(domain_xml(deaf))))
    domain(hand).destroy()
    hand.do(DeleteDomain("web-1", domain(hand).UUIDString(), stop=True), planned=planned)
    assert hand.connection.listAllDomains() == []


def test_a_definition_that_a_saved_state_would_undo_is_refused(hand: Hand, deaf: str):
    old = domain_xml(deaf)
    hand.do(define(old, power="start"))
    domain(hand).managedSave()
    before = domain(hand).XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    with pytest.raises(TaskFailed) as failed:
        hand.do(define(domain_xml(deaf, memory=64), old, power="start"))
    assert failed.value.diagnostic.code == "step.managed-save"
    assert (domain(hand).XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE), domain(hand).isActive()) == (before, 0)
    hand.do(define(old, old, power="start"))  # as it was saved, it may go on
    assert domain(hand).isActive()


# -- changed while it runs -------------------------------------------------------------------------------


def test_live_changes_keep_the_guests_process_and_put_devices_where_they_will_stay(hand: Hand, deaf: str):
    old = domain_xml(deaf)
    hand.do(define(old, power="start"))
    pid = qemu_pid(hand)
    # Somebody plugged a device in by hand: guest and definition now differ in which slot is free next.
    by_hand = BRIDGE_NIC.replace(MAC, "52:54:00:00:00:99")
    domain(hand).attachDeviceFlags(by_hand, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    data = disk("data", blank(hand, "data.img"))
    new = domain_xml(deaf, data, BRIDGE_NIC, cpus=2)
    live = (
        LiveChange("set-vcpus", "2"),
        LiveChange("attach-device", data),
        LiveChange("attach-device", BRIDGE_NIC),
    )
    result = hand.do(define(new, old, live=live))
    assert result.remarks == ()
    assert qemu_pid(hand) == pid
    now, kept = running(hand), config(hand)
    assert now.find("vcpu").get("current") == kept.find("vcpu").get("current") == "2"
    for path in ("devices/disk[2]", f"devices/interface/mac[@address='{MAC}']/.."):
        assert address_of(now, path) == address_of(kept, path)
    assert now.find("devices/disk[2]/target").get("dev") == kept.find("devices/disk[2]/target").get("dev")


def test_a_live_change_that_was_made_already_is_not_made_twice(hand: Hand, deaf: str):
    old, new = domain_xml(deaf), domain_xml(deaf, BRIDGE_NIC, cpus=2)
    live = (LiveChange("set-vcpus", "2"), LiveChange("attach-device", BRIDGE_NIC))
    hand.do(define(old, power="start"))
    hand.do(define(new, old, live=live))
    hand.do(define(new, old, live=live))
    assert len(running(hand).findall("devices/interface")) == 1


def test_an_updated_device_keeps_what_the_manifest_does_not_name(hand: Hand, deaf: str):
    old = domain_xml(deaf, BRIDGE_NIC)
    hand.do(define(old, power="start"))
    pid, mine = qemu_pid(hand), running(hand).find("devices/interface")
    down = BRIDGE_NIC.replace("</interface>", "<link state='down'/></interface>")
    result = hand.do(define(domain_xml(deaf, down), old, live=(LiveChange("update-device", down),)))
    assert result.remarks == ()
    for root in (running(hand), config(hand)):
        assert root.find("devices/interface/link").get("state") == "down"
        assert address_of(root, "devices/interface") == dict(mine.find("address").attrib)
    assert qemu_pid(hand) == pid


def test_what_an_update_can_take_away_goes_when_it_is_no_longer_declared(hand: Hand, deaf: str):
    isolated = BRIDGE_NIC.replace("</interface>", "<port isolated='yes'/></interface>")
    old, new = domain_xml(deaf, isolated), domain_xml(deaf, BRIDGE_NIC)
    hand.do(define(old, power="start"))
    pid = qemu_pid(hand)
    assert running(hand).find("devices/interface/port").get("isolated") == "yes"
    result = hand.do(define(new, old, live=(LiveChange("update-device", BRIDGE_NIC),)))
    assert result.remarks == ()
    for root in (running(hand), config(hand)):
        assert root.find("devices/interface/port") is None
    assert qemu_pid(hand) == pid


def test_what_follows_a_crash_or_a_reboot_is_changed_while_the_guest_runs(hand: Hand, deaf: str):
    old = domain_xml(deaf)
    new = domain_xml(deaf, head="<on_reboot>destroy</on_reboot><on_crash>coredump-restart</on_crash>")
    live = (
        LiveChange("set-lifecycle", "on_reboot destroy"),
        LiveChange("set-lifecycle", "on_crash coredump-restart"),
    )
    hand.do(define(old, power="start"))
    pid = qemu_pid(hand)
    hand.do(define(new, old, live=live))
    hand.do(define(new, old, live=live))
    for root in (running(hand), config(hand)):
        assert (root.findtext("on_reboot"), root.findtext("on_crash")) == ("destroy", "coredump-restart")
    assert qemu_pid(hand) == pid


def test_a_device_that_needs_no_consent_is_unplugged_at_once(hand: Hand, deaf: str):
    controller = "<controller type='scsi' index='0' model='virtio-scsi'/>"
    data = disk("data", blank(hand, "data.img"), "scsi")
    old, new = domain_xml(controller, deaf, data), domain_xml(controller, deaf)
    hand.do(define(old, power="start"))
    result = hand.do(define(new, old, live=(LiveChange("detach-device", "disk[data]"),)))
    assert result.remarks == ()
    assert len(running(hand).findall("devices/disk")) == len(config(hand).findall("devices/disk")) == 1


def test_a_device_that_the_guest_keeps_leaves_at_its_next_start_and_the_user_is_told(hand: Hand, deaf: str):
    data = disk("data", blank(hand, "data.img"))
    old, new = domain_xml(deaf, data), domain_xml(deaf)
    hand.do(define(old, power="start"))
    result = hand.do(define(new, old, live=(LiveChange("detach-device", "disk[data]"),)))
    (remark,) = result.remarks
    assert remark == "the guest did not let disk[data] go; it leaves when the guest is next powered off"
    assert len(running(hand).findall("devices/disk")) == 2
    assert len(config(hand).findall("devices/disk")) == 1


def test_a_guest_that_answers_lets_pci_devices_go(hand: Hand):
    tiny_image(hand.path("/srv/tiny.img"), unplug=True)
    root, data = disk("root", "/srv/tiny.img"), disk("data", blank(hand, "data.img"))
    old, new = domain_xml(root, data, BRIDGE_NIC), domain_xml(root)
    boot(hand, old)
    pid = qemu_pid(hand)
    hand.patience = replace(hand.patience, unplug=10.0)
    gone = (LiveChange("detach-device", "disk[data]"), LiveChange("detach-device", f"interface[{MAC}]"))
    result = hand.do(define(new, old, live=gone))
    assert result.remarks == ()
    assert qemu_pid(hand) == pid
    assert len(running(hand).findall("devices/disk")) == 1
    assert running(hand).find("devices/interface") is None


def test_memory_that_the_guest_has_yet_to_give_back_is_told(hand: Hand, deaf: str):
    old = domain_xml(deaf)
    new = old.replace("<currentMemory unit='MiB'>32", "<currentMemory unit='MiB'>24")
    hand.do(define(old, power="start"))
    result = hand.do(define(new, old, live=(LiveChange("set-memory", str(24 * 1024)),)))
    (remark,) = result.remarks
    assert "its balloon driver moves towards 24MiB" in remark
    assert config(hand).findtext("currentMemory") == str(24 * 1024)


def test_a_disk_grows_under_its_running_guest(hand: Hand, pool: libvirt.virStoragePool):
    volume = CreateVolume("vms", "web-1.root.raw", "disk", "raw", 1 << 20, "off", None, None, "web-1")
    hand.do(volume)
    hand.do(define(domain_xml(disk("root", "/srv/vms/web-1.root.raw")), power="start"))
    hand.do(ResizeVolume("vms", volume.name, 4 << 20, UUID))
    assert domain(hand).blockInfo("vda")[0] == 4 << 20
    assert pool.storageVolLookupByName(volume.name).info()[1] == 4 << 20


LINK_DOWN = BRIDGE_NIC.replace("</interface>", "<link state='down'/></interface>")
PINNED = "<cputune><vcpupin vcpu='0' cpuset='0'/><emulatorpin cpuset='0'/></cputune>"


@pytest.mark.parametrize(
    ("call", "changes", "live", "field"),
    [
        ("updateDeviceFlags", {"nic": LINK_DOWN}, ("update-device", LINK_DOWN), "link@state"),
        ("pinVcpuFlags", {"head": PINNED}, ("pin-vcpu", "0=0"), "cputune/"),
        ("pinEmulator", {"head": PINNED}, ("pin-emulator", "0"), "cputune/"),
        ("addIOThread", {"head": "<iothreads>1</iothreads>"}, ("add-iothreads", "1"), "iothreads"),
        ("setVcpusFlags", {"cpus": 2}, ("set-vcpus", "2"), "virtual CPUs"),
        (
            "setLifecycleAction",
            {"head": "<on_crash>preserve</on_crash>"},
            ("set-lifecycle", "on_crash preserve"),
            "on_crash",
        ),
        ("setAutostart", {}, None, "autostart"),
    ],
)
def test_a_call_that_reports_success_and_does_nothing_is_a_failed_step_that_names_the_field(
    hand: Hand, deaf: str, monkeypatch: pytest.MonkeyPatch, call: str, changes, live, field: str
):
    def guest(nic: str = BRIDGE_NIC, **keys: object) -> str:
        return domain_xml(deaf, nic, **keys)

    old, new = guest(), guest(**changes)
    hand.do(define(old, power="start"))
    before = domain(hand).XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    monkeypatch.setattr(libvirt.virDomain, call, lambda *_args: 0)
    changed = (LiveChange(*live),) if live else ()
    with pytest.raises(TaskFailed, match=r"step\.not-as-declared") as failed:
        hand.do(define(new, old, live=changed, autostart=live is None))
    assert field in failed.value.diagnostic.summary
    if live:  # what did not reach the guest does not reach its definition either: the next plan repeats it
        assert domain(hand).XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE) == before


# -- power -----------------------------------------------------------------------------------------------


def boot(hand: Hand, xml: str) -> None:
    """Start a guest and wait until it listens to its power button."""
    log = "<serial type='file'><source path='/srv/serial.log'/></serial>"
    hand.do(define(xml.replace("<memballoon", f"{log}<memballoon"), power="start"))
    file = hand.path("/srv/serial.log")
    while b"guest up" not in (file.read_bytes() if file.exists() else b""):
        pass


def test_a_guest_that_obeys_is_shut_down(hand: Hand, obedient: str):
    xml = domain_xml(obedient)
    boot(hand, xml)
    hand.do(define(xml, None, power="shutdown"))
    assert not domain(hand).isActive()


def test_a_guest_that_cannot_hear_yet_is_asked_again(hand: Hand, obedient: str):
    hand.patience = replace(hand.patience, ask_again=0.3)
    hand.do(define(domain_xml(obedient), power="start"))  # the firmware is at work, the guest is not
    hand.do(DeleteDomain("web-1", UUID, stop=True))
    assert hand.connection.listAllDomains() == []


def test_a_shutdown_that_the_guest_ignores_never_becomes_a_destroy(hand: Hand, deaf: str):
    xml = domain_xml(deaf)
    hand.do(define(xml, power="start"))
    pid = qemu_pid(hand)
    hand.patience = replace(hand.patience, shutdown=1.2)
    for task in (define(xml, xml, power="shutdown"), DeleteDomain("web-1", UUID, stop=True)):
        hand.told.clear()
        with pytest.raises(TaskFailed) as failed:
            hand.do(task)
        assert failed.value.diagnostic.code == "step.shutdown-ignored"
        assert "virsh shutdown" in failed.value.diagnostic.hint
        assert [(told.done, told.unit) for told in hand.told] == [(0, "seconds"), (1, "seconds")]
        assert (domain(hand).isActive(), domain(hand).isPersistent(), qemu_pid(hand)) == (1, 1, pid)


def test_a_restart_gives_the_guest_what_waited_for_its_next_boot(hand: Hand, obedient: str):
    old, new = domain_xml(obedient), domain_xml(obedient, memory=64)
    boot(hand, old)
    pid = qemu_pid(hand)
    result = hand.do(define(new, old, power="restart"))
    assert result.remarks == ()
    assert qemu_pid(hand) != pid
    assert running(hand).findtext("memory") == config(hand).findtext("memory") == str(64 * 1024)


def test_a_guest_that_does_not_power_off_is_not_restarted_and_keeps_its_new_definition(hand: Hand, deaf: str):
    old, new = domain_xml(deaf), domain_xml(deaf, memory=64)
    hand.do(define(old, power="start"))
    pid = qemu_pid(hand)
    hand.patience = replace(hand.patience, shutdown=None)
    with pytest.raises(TaskFailed) as failed:
        hand.do(define(new, old, power="restart", power_off=PowerOff(timeout=1)))
    assert failed.value.diagnostic.code == "step.shutdown-ignored"
    assert "within 1 s; it keeps running" in failed.value.diagnostic.summary
    assert (qemu_pid(hand), domain(hand).isActive()) == (pid, 1)
    assert (running(hand).findtext("memory"), config(hand).findtext("memory")) == ("32768", "65536")


@pytest.mark.parametrize("power", ["restart", "shutdown"])
def test_a_guest_that_does_not_power_off_is_forced_where_the_plan_says_so(
    hand: Hand, deaf: str, power: Power
):
    old, new = domain_xml(deaf), domain_xml(deaf, memory=64)
    hand.do(define(old, power="start"))
    pid = qemu_pid(hand)
    hand.patience = replace(hand.patience, shutdown=None)
    hand.do(define(new, old, power=power, power_off=PowerOff(timeout=1, force=True)))
    assert bool(domain(hand).isActive()) is (power == "restart")
    assert power == "shutdown" or qemu_pid(hand) != pid
    assert config(hand).findtext("memory") == "65536"


def test_a_guest_that_restarts_when_powered_off_is_powered_off_all_the_same(hand: Hand, obedient: str):
    old = domain_xml(obedient, head="<on_poweroff>restart</on_poweroff>")
    boot(hand, old)
    hand.do(define(old, old, power="shutdown"))
    assert not domain(hand).isActive()
    assert config(hand).findtext("on_poweroff") == "restart"


def test_a_guest_that_ignores_it_restarts_again_when_powered_off(hand: Hand, deaf: str):
    old = domain_xml(deaf, head="<on_poweroff>restart</on_poweroff>")
    hand.do(define(old, power="start"))
    hand.patience = replace(hand.patience, shutdown=0.3)
    with pytest.raises(TaskFailed, match=r"step\.shutdown-ignored"):
        hand.do(define(old, old, power="shutdown"))
    assert running(hand).findtext("on_poweroff") == "restart"


def test_a_guest_that_is_saved_while_it_is_asked_to_power_off_is_not_resumed(
    hand: Hand, deaf: str, monkeypatch: pytest.MonkeyPatch
):
    old, new = domain_xml(deaf), domain_xml(deaf, memory=64)
    hand.do(define(old, power="start"))
    monkeypatch.setattr(libvirt.virDomain, "shutdown", libvirt.virDomain.managedSave)
    with pytest.raises(TaskFailed, match=r"step\.managed-save"):
        hand.do(define(new, old, power="restart"))
    assert (domain(hand).isActive(), domain(hand).hasManagedSaveImage()) == (0, 1)


# -- undefined -------------------------------------------------------------------------------------------


def test_a_deleted_domain_is_shut_down_first_and_its_disk_stays(hand: Hand, obedient: str):
    boot(hand, domain_xml(obedient))
    hand.do(DeleteDomain("web-1", UUID, stop=True))
    assert hand.connection.listAllDomains() == []
    assert hand.path("/srv/tiny.img").exists()


def test_a_running_domain_is_not_undefined_by_a_plan_that_does_not_stop_it(hand: Hand, deaf: str):
    hand.do(define(domain_xml(deaf), power="start"))
    with pytest.raises(TaskFailed) as failed:
        hand.do(DeleteDomain("web-1", UUID, stop=False))
    assert failed.value.diagnostic.code == "step.still-running"
    assert (domain(hand).isActive(), domain(hand).isPersistent()) == (1, 1)


def test_the_firmwares_variables_outlive_their_domain(hand: Hand, deaf: str):
    hand.path("/srv/vars.fd").write_bytes(b"keys")
    firmware = "<loader readonly='yes' type='pflash'>/srv/code.fd</loader><nvram>/srv/vars.fd</nvram>"
    hand.do(define(domain_xml(deaf, os=firmware)))
    hand.do(DeleteDomain("web-1", UUID, stop=False))
    assert hand.connection.listAllDomains() == []
    assert hand.path("/srv/vars.fd").read_bytes() == b"keys"


def test_a_domain_with_snapshots_or_a_saved_state_is_not_undefined(hand: Hand, deaf: str):
    hand.do(define(domain_xml(deaf), power="start"))
    hand_made = (
        "<domainsnapshot><name>before-upgrade</name><creationTime>1</creationTime><state>shutoff</state>{}"
    )
    definition = etree.tostring(config(hand), encoding="unicode")
    domain(hand).managedSave()
    domain(hand).snapshotCreateXML(
        f"{hand_made.format(definition)}</domainsnapshot>", libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE
    )
    with pytest.raises(TaskFailed) as failed:
        hand.do(DeleteDomain("web-1", UUID, stop=False))
    found = failed.value.diagnostic
    assert found.code == "step.saved-states"
    assert "a managed save image, snapshot before-upgrade" in found.summary
    assert (domain(hand).hasManagedSaveImage(), domain(hand).snapshotNum()) == (1, 1)


def test_somebody_elses_domain_is_refused_even_if_it_was_planned(hand: Hand, deaf: str):
    stranger = "11111111-2222-3333-4444-555555555555"
    xml = domain_xml(deaf)
    hand.connection.defineXML(complete(xml).replace(UUID, stranger))
    for task in (define(xml), DeleteDomain("web-1", UUID, stop=False)):
        with pytest.raises(TaskFailed, match=r"step\.not-ours"):
            hand.do(task)
    assert hand.connection.lookupByUUIDString(stranger).name() == "web-1"


def test_a_definition_that_a_migration_left_behind_is_not_started(
    hand: Hand, deaf: str, monkeypatch: pytest.MonkeyPatch
):
    hand.do(define(domain_xml(deaf)))
    left_behind = [libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_MIGRATED]
    monkeypatch.setattr(libvirt.virDomain, "state", lambda _domain, _flags=0: left_behind)
    with pytest.raises(TaskFailed, match=r"step\.moved-away"):
        hand.do(define(domain_xml(deaf), power="start"))
    assert not domain(hand).isActive()
