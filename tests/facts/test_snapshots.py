"""Hosts are saved to files and read back the same, without secrets; saved XML makes the same files."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import replace
from pathlib import Path

import libvirt
import pytest

from kvmdecl.diagnostics import Rejected
from kvmdecl.hosts.fake import FakeReader
from kvmdecl.hosts.fleet import ReadingFleet
from kvmdecl.hosts.identity import check_identities
from kvmdecl.hosts.protocol import Scope
from kvmdecl.libvirt_xml.redact import redact
from kvmdecl.saved_xml import from_xml_dir
from kvmdecl.snapshot import SnapshotReader, load_snapshots, render_snapshot, write_snapshots
from kvmdecl.state import HostSnapshot, Ledger, Unreachable
from kvmdecl.uri import parse_manifest_uri


@pytest.fixture(scope="module")
def snapshot() -> HostSnapshot:
    """libvirt's simulated host."""
    with ReadingFleet({"kvm-1": parse_manifest_uri("test:///default")}) as fleet:
        seen = fleet.observe(Scope(pools=frozenset({"default-pool"}), devices=True))["kvm-1"]
    assert isinstance(seen, HostSnapshot)
    return seen


def with_domain_xml(snapshot: HostSnapshot, xml: str) -> HostSnapshot:
    domain = replace(snapshot.state.domains[0], xml=xml)
    return replace(snapshot, state=replace(snapshot.state, domains=(domain,)))


def test_a_snapshot_is_read_back_as_it_was(snapshot: HostSnapshot, tmp_path: Path):
    write_snapshots(tmp_path / "facts", [snapshot])
    assert load_snapshots(tmp_path / "facts") == {"kvm-1": snapshot}


def test_a_file_from_before_is_read_with_what_it_has(snapshot: HostSnapshot, tmp_path: Path):
    write_snapshots(tmp_path, [snapshot])
    document = json.loads((tmp_path / "kvm-1.json").read_text())
    for later in ("caches", "pool_types", "connections", "in_use"):
        del document["facts"][later]
    (tmp_path / "kvm-1.json").write_text(json.dumps(document))
    facts = load_snapshots(tmp_path)["kvm-1"].facts
    assert (facts.devices, facts.connections) == (snapshot.facts.devices, ())


def test_the_same_snapshot_is_the_same_bytes(snapshot: HostSnapshot, tmp_path: Path):
    write_snapshots(tmp_path, [snapshot])
    first = (tmp_path / "kvm-1.json").read_bytes()
    write_snapshots(tmp_path, load_snapshots(tmp_path).values())
    assert (tmp_path / "kvm-1.json").read_bytes() == first


def test_a_file_of_facts_is_for_its_owner_and_nothing_unfinished_is_left(
    snapshot: HostSnapshot, tmp_path: Path
):
    write_snapshots(tmp_path, [snapshot])
    assert [path.name for path in tmp_path.iterdir()] == ["kvm-1.json"]
    assert stat.S_IMODE((tmp_path / "kvm-1.json").stat().st_mode) == 0o600


def test_xml_stands_in_the_file_line_by_line(snapshot: HostSnapshot):
    (domain,) = json.loads(render_snapshot(snapshot))["state"]["domains"]
    assert domain["xml"][1] == "  <name>test</name>"


def test_text_from_a_host_survives_whatever_it_holds(snapshot: HostSnapshot, tmp_path: Path):
    odd = with_domain_xml(snapshot, "<domain>\u2028\u0085\r\n<name>\u202e\U0001f600</name></domain>")
    write_snapshots(tmp_path, [odd])
    assert load_snapshots(tmp_path) == {"kvm-1": odd}


SECRETS = """<domain xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><devices>
<graphics type='vnc' passwd='hunter2'/><graphics type='spice' passwd="hunter2"/></devices>
<sysinfo type='fwcfg'><entry name='opt/com.coreos/config'>hunter2</entry></sysinfo>
<qemu:commandline><qemu:arg value='secret,id=a,data=hunter2'/><qemu:env name='TOKEN' value='hunter2'/>
<qemu:arg value='-nodefaults'/></qemu:commandline></domain>"""


def test_secrets_are_not_written(snapshot: HostSnapshot):
    text = render_snapshot(with_domain_xml(snapshot, SECRETS))
    assert "hunter2" in SECRETS
    assert "hunter2" not in text
    assert "-nodefaults" in text


def test_xml_without_secrets_is_not_touched(snapshot: HostSnapshot):
    xml = snapshot.state.domains[0].xml
    assert redact(xml) == xml


def test_a_host_that_sent_no_xml_is_refused_when_it_is_saved(snapshot: HostSnapshot):
    with pytest.raises(Rejected) as rejected:
        render_snapshot(with_domain_xml(snapshot, "not XML"))
    assert [d.code for d in rejected.value.diagnostics] == ["host.bad-answer"]


def test_all_bad_files_are_named_at_once(snapshot: HostSnapshot, tmp_path: Path):
    write_snapshots(tmp_path, [snapshot])
    good = json.loads((tmp_path / "kvm-1.json").read_text())
    bad = {
        "cut": json.dumps(good)[:-20],
        "deep": "[" * 100_000,
        "other-format": json.dumps({**good, "format": "kvmdecl/facts/v9"}),
        "other-host": json.dumps(good),
        "list": "[]",
        "no-facts": json.dumps({**good, "host": "no-facts", "facts": None}),
        "memory": json.dumps({**good, "host": "memory", "facts": {**good["facts"], "memory": "much"}}),
        "binary": "\x00",
    }
    for name, text in bad.items():
        (tmp_path / f"{name}.json").write_text(text)
    with pytest.raises(Rejected) as rejected:
        load_snapshots(tmp_path)
    assert {d.code for d in rejected.value.diagnostics} == {"facts.bad-file"}
    named = "\n".join(d.summary for d in rejected.value.diagnostics)
    assert all(f"{name}.json" in named for name in bad)
    assert len(rejected.value.diagnostics) == len(bad)


@pytest.mark.parametrize("folder", ["nowhere", "."])
def test_a_folder_without_facts_is_refused(folder: str, tmp_path: Path):
    with pytest.raises(Rejected) as rejected:
        load_snapshots(tmp_path / folder)
    assert [d.code for d in rejected.value.diagnostics] == ["facts.not-found"]


def test_a_host_without_a_file_is_unreachable(snapshot: HostSnapshot, tmp_path: Path):
    write_snapshots(tmp_path, [snapshot])
    seen = SnapshotReader(tmp_path, ["kvm-1", "kvm-2"]).observe(Scope())
    assert seen["kvm-1"] == snapshot
    assert isinstance(seen["kvm-2"], Unreachable)
    assert seen["kvm-2"].diagnostic.code == "facts.no-host"


def test_the_fake_reader_answers_with_files(snapshot: HostSnapshot, tmp_path: Path):
    write_snapshots(tmp_path, [snapshot])
    reader = FakeReader.from_files(tmp_path)
    assert reader.observe(Scope(devices=True)) == {"kvm-1": snapshot}
    assert reader.asked == [Scope(devices=True)]


# -- saved XML ----------------------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """What virsh prints on libvirt's simulated host, in files."""
    connection = libvirt.openReadOnly("test:///default")
    files = {"capabilities.xml": connection.getCapabilities()}
    files |= {
        f"domains-live/{domain.name()}.xml": domain.XMLDesc(0) for domain in connection.listAllDomains()
    }
    files |= {
        f"domains/{domain.name()}.xml": domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
        for domain in connection.listAllDomains()
    }
    files |= {
        f"{folder}/{network.name()}.xml": network.XMLDesc(0)
        for network in connection.listAllNetworks()
        for folder in ("networks", "networks-live")
    }
    files |= {f"pools/{pool.name()}.xml": pool.XMLDesc(0) for pool in connection.listAllStoragePools()}
    files |= {f"nodedev/{device.name()}.xml": device.XMLDesc(0) for device in connection.listAllDevices()}
    files |= {f"interfaces/{found.name()}.xml": found.XMLDesc(0) for found in connection.listAllInterfaces(0)}
    files["version.txt"] = (
        "Using API: QEMU 9.0.0\nRunning hypervisor: QEMU 7.2.22\nRunning against daemon: 9.1.2\n"
    )
    folder = tmp_path / "kvm-1"
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_saved_xml_gives_what_reading_the_host_gives(saved: Path, snapshot: HostSnapshot):
    built = from_xml_dir(saved.parent)["kvm-1"]
    assert replace(built.state, settings=()) == snapshot.state
    assert replace(built.facts, libvirt=0, qemu=0) == replace(snapshot.facts, libvirt=0, qemu=0)


def test_the_files_of_a_single_host_may_stand_alone(saved: Path):
    assert from_xml_dir(saved) == from_xml_dir(saved.parent)


def test_versions_come_from_what_virsh_version_printed(saved: Path):
    facts = from_xml_dir(saved)["kvm-1"].facts
    assert (facts.libvirt, facts.qemu) == (9_001_002, 7_002_022)


def test_capabilities_alone_are_a_host_with_nothing_on_it(saved: Path, tmp_path: Path):
    alone = tmp_path / "alone"
    alone.mkdir()
    (saved / "capabilities.xml").rename(alone / "capabilities.xml")
    built = from_xml_dir(alone)["alone"]
    assert (built.state.domains, built.facts.libvirt, built.facts.devices) == ((), 0, ())


def test_what_xml_does_not_tell_comes_from_lists_of_names(saved: Path):
    (saved / "domains-autostart.txt").write_text("test\n\n")
    (saved / "networks-autostart.txt").write_text("default\n")
    (saved / "networks-active.txt").write_text("\n")
    (saved / "pools-active.txt").write_text("\n")
    state = from_xml_dir(saved)["kvm-1"].state
    assert [domain.autostart for domain in state.domains] == [True]
    assert [(network.active, network.autostart) for network in state.networks] == [(False, True)]
    assert [(pool.active, pool.capacity) for pool in state.pools] == [(False, 0)]


def test_a_running_domain_without_a_definition_is_transient(saved: Path):
    (saved / "domains" / "test.xml").unlink()
    (domain,) = from_xml_dir(saved)["kvm-1"].state.domains
    assert (domain.active, domain.persistent) == (True, False)


def test_volumes_and_ledgers_are_read(saved: Path):
    (saved / "volumes" / "default-pool").mkdir(parents=True)
    (saved / "volumes" / "default-pool" / "a.xml").write_text(
        "<volume><name>a</name><capacity>5</capacity></volume>"
    )
    (saved / "secrets").mkdir()
    (saved / "secrets" / "other.xml").write_text(
        "<secret><uuid>1b671a64-40d5-491e-99b0-da01ff1f3341</uuid>"
        "<usage type='ceph'><name>other</name></usage></secret>"
    )
    note = json.dumps({"format": 1, "cluster": "demo", "entries": []})
    (saved / "secrets" / "ledger.xml").write_text(
        f"<secret><description>{note}</description>"
        "<usage type='ceph'><name>kvmdecl-ledger-demo</name></usage></secret>"
    )
    state = from_xml_dir(saved)["kvm-1"].state
    assert [volume.name for volume in state.pools[0].volumes] == ["a"]
    assert state.ledgers == (Ledger("demo"),)


def test_all_files_that_make_no_sense_are_named_at_once(saved: Path):
    (saved / "domains" / "cut.xml").write_text("<domain>")
    (saved / "domains" / "binary.xml").write_bytes(b"\xff\xfe\x00")
    (saved / "pools" / "outside.xml").write_text("<pool><name>../../domains</name></pool>")
    (saved / "nodedev" / "doctype.xml").write_text("<!DOCTYPE device><device><name>a</name></device>")
    os.mkfifo(saved / "networks" / "pipe.xml")
    with pytest.raises(Rejected) as rejected:
        from_xml_dir(saved)
    named = [d.summary for d in rejected.value.diagnostics]
    assert {d.code for d in rejected.value.diagnostics} == {"facts.bad-file"}
    for file in ("cut.xml", "binary.xml", "outside.xml", "doctype.xml", "pipe.xml"):
        assert any(file in summary for summary in named)


def test_a_folder_without_a_host_is_refused(tmp_path: Path):
    with pytest.raises(Rejected) as rejected:
        from_xml_dir(tmp_path)
    assert [d.code for d in rejected.value.diagnostics] == ["facts.no-capabilities"]


# -- identity -----------------------------------------------------------------------------------------------


def test_two_names_of_one_machine_are_an_error_that_names_both(snapshot: HostSnapshot):
    one = replace(snapshot, facts=replace(snapshot.facts, uuid="d1e90744-7254-56f0-accd-14900442d137"))
    (found,) = check_identities({"kvm-1": one, "kvm-2": replace(one, host="kvm-2")})
    assert found.code == "host.same-machine"
    assert "kvm-1 and kvm-2" in found.summary


def test_simulated_hosts_may_be_as_many_as_one_likes(snapshot: HostSnapshot):
    assert check_identities({"kvm-1": snapshot, "kvm-2": snapshot}) == ()
