"""Each check with a manifest that it refuses or warns of, and the nearest one that it has nothing against."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import kvmdecl_pacemaker
import pytest

from kvmdecl.cli.main import run
from kvmdecl.facts import GuestType, HostFacts, Machine, NodeDevice
from kvmdecl.pipeline import load_cluster
from kvmdecl.pluginhost import load_plugins
from kvmdecl.scenario import example_host
from kvmdecl.state import HostSnapshot
from tests.pacemaker.support import FENCING, LINKS, POOL, URI, WEB, manifest, told

PLUGINS = load_plugins()
IN_VMS = "web: {disk: {size: 1GiB, pool: vms}, ha: true}"
PDU = "fencing: {agent: fence_apc_snmp, address: pdu, plugs: {kvm-1: 1, kvm-2: 2%s}}, " + LINKS
REDFISH = (
    "fencing: {agent: fence_redfish, own_power: true, addresses: {kvm-1: a, kvm-2: %s, kvm-3: c}}, " + LINKS
)
OPTION = "fencing: {agent: fence_ipmilan, address: '{name}-bmc', own_power: true, options: {%s: x}}, " + LINKS
PARTLY = "defs: {path: /srv/defs, hosts: [kvm-1, kvm-2]}, " + POOL
TWO = "more: {path: /srv/more}, " + POOL
SECOND = "links: ['10.1.0.{n}', {addresses: {kvm-1: 10.2.0.1, kvm-2: 10.2.0.2%s}}]"
ZONE = f"'kvm-{{1..1}}': {{uri: {URI}, labels: {{zone: a}}}}, 'kvm-{{2..3}}': {{uri: {URI}%s}}"
RACKS = f"'kvm-{{1..3}}': {{uri: {URI}, labels: {{rack: 'r{{n}}'}}}}"
COLOURS = "red: 'qemu+tls://red.example/system', blue: 'qemu+tls://blue.example/system'"
NVRAM = "{type: uefi, loader: /srv/code.fd, nvram: /srv/vms/web.fd}"
GFS2 = "mounts: {vms: {device: /dev/sdb, type: gfs2}}"
REMOTE = "{port: 9898, password: {env: KVMDECL_SECRET_CIB}"
LMS = "quorum: {device: {host: q.example, algorithm: lms}}"


def web(keys: str) -> str:
    return manifest(f"web: {{disk: 1GiB, ha: true, {keys}}}")


def disk(keys: str) -> str:
    return manifest(f"web: {{disk: {{size: 1GiB, {keys}}}, ha: true}}")


def three(keys: str, hosts: str = "") -> str:
    return manifest(f"web: {{count: 3, disk: 1GiB, {keys}}}", on=hosts)


def after(keys: str, db: str) -> str:
    return manifest(f"web: {{disk: 1GiB, ha: true, after: [{keys}]}}, db: {{disk: 1GiB{db}}}")


@dataclass(frozen=True)
class Case:
    """A code, what the underlined text begins with, and the two manifests."""

    code: str
    at: str
    bad: str
    good: str


CASES = [
    Case("ha.no-section", "true", manifest(ha=""), manifest()),
    Case("ha.bad-section", "x", manifest(ha=OPTION % "passwd"), manifest(ha=OPTION % "cipher")),
    Case("ha.unknown-host", "3", manifest(ha=PDU % ", kvm-4: 3", more="sbd: 5s"), manifest(ha=PDU % ", kvm-3: 3")),
    Case("ha.same-node-id", "{kvm-1: 7", manifest(more="node_ids: {kvm-1: 7, kvm-2: 7}"),
         manifest(more="node_ids: {kvm-1: 7, kvm-2: 8}")),
    Case("ha.unknown-pool", "vsm", manifest(more="definitions: vsm"), manifest(more="definitions: vms")),
    Case("ha.no-definitions", "{fencing", manifest(IN_VMS, pools=TWO),
         manifest(IN_VMS, more="definitions: more", pools=TWO)),
    Case("ha.definitions-in-libvirt", "{path: /etc", manifest(more="definitions: {path: /etc/libvirt/qemu}"),
         manifest(more="definitions: {path: /etc/libvirt-ha}")),
    Case("ha.definitions-by-hand", "{path: /srv/ha", manifest(more="definitions: {path: /srv/ha}"),
         manifest(more="definitions: vms")),
    Case("ha.definitions-elsewhere", "defs", manifest(IN_VMS, more="definitions: defs", pools=PARTLY),
         manifest(IN_VMS, more="definitions: vms", pools=PARTLY)),
    Case("ha.not-fenced", "{agent", manifest(ha=PDU % ""), manifest(ha=PDU % "", more="sbd: 5s")),
    Case("ha.fence-shares-power", "{agent", manifest(ha=f"{FENCING.replace(', own_power: true', '')}, {LINKS}"),
         manifest()),
    Case("ha.fence-shared", "a", manifest(ha=REDFISH % "a"), manifest(ha=REDFISH % "b")),
    Case("ha.fence-on-link", "{agent",
         manifest(ha=FENCING.replace("{name}-bmc", "10.1.0.10{n}") + ", links: ['10.1.0.{n}']"),
         manifest(ha=FENCING.replace("{name}-bmc", "10.8.0.10{n}") + ", links: ['10.1.0.{n}']")),
    Case("ha.one-link", "['10.1", manifest(ha=f"{FENCING}, links: ['10.1.0.{{n}}']"), manifest()),
    Case("ha.no-address", "{addresses", manifest(ha=f"{FENCING}, {SECOND % ''}"),
         manifest(ha=f"{FENCING}, {SECOND % ', kvm-3: 10.2.0.3'}")),
    Case("ha.no-address", "'10.", manifest(on=COLOURS), manifest()),
    Case("ha.links-together", "'10.1.0.10{n}'", manifest(ha=f"{FENCING}, links: ['10.1.0.{{n}}', '10.1.0.10{{n}}']"),
         manifest()),
    Case("ha.no-quorum", "2", manifest(more="survive: 2"), manifest(more=f"survive: 2, {LMS}")),
    Case("ha.even-split", "{fencing", manifest(count=4), manifest(count=4, more="quorum: q.example")),
    Case("ha.cannot-stop", "{fencing", manifest(more=GFS2), manifest(more=f"{GFS2}, quorum: {{lost: freeze}}")),
    Case("ha.sbd-two-hosts", "5s", manifest(count=2, more="sbd: 5s"),
         manifest(count=2, more="sbd: 5s, quorum: q.example")),
    Case("ha.too-slow", "2m", manifest(more="recover_within: 2m"), manifest(more="recover_within: 3m")),
    Case("ha.names-differ", '"qemu+tls://10.0.0.{n}/system"',
         manifest(on="'kvm-{1..3}': {uri: \"qemu+tls://10.0.0.{n}/system\"}"), manifest()),
    Case("ha.remote-unverified", "{port", manifest(more=f"remote: {REMOTE}}}"),
         manifest(more=f"remote: {REMOTE}, address: 127.0.0.1}}")),
    Case("ha.bad-name", "{disk: 1GiB, ha: true}", manifest("1web: {disk: 1GiB, ha: true}"), manifest()),
    Case("ha.bad-name", "{disk: 1GiB, ha: true}", manifest("libvirtd: {disk: 1GiB, ha: true}"), manifest()),
    Case("ha.disk-not-shared", "1GiB", manifest(pools="vms: {path: /srv/vms}"), manifest()),
    Case("ha.disk-not-shared", "{source: /dev/vg0/x, format: raw}",
         web("disks: {data: {source: /dev/vg0/x, format: raw}}"),
         web("disks: {data: {source: {protocol: rbd, name: vms/x}, format: raw}}")),
    Case("ha.cache-unsafe", "unsafe", disk("cache: unsafe"), disk("cache: writeback")),
    Case("ha.tpm-local", "emulator", web("tpm: emulator"), web("rng: true")),
    Case("ha.nvram-local", "uefi", web("firmware: uefi"), web(f"firmware: {NVRAM}")),
    Case("ha.share-local", "{path: /srv/code, driver: 9p}", web("shares: {code: {path: /srv/code, driver: 9p}}"),
         manifest()),
    Case("ha.snapshots", "3", web("snapshots: 3"), manifest()),
    Case("ha.after-elsewhere", "db", after("db", ""), after("db", ", ha: true")),
    Case("ha.after-agent", "agent", after("{vm: db, until: agent}", ", ha: true"), after("db", ", ha: true")),
    Case("ha.bound", "{policy: dedicated, count: 2}",
         manifest(IN_VMS[:-1] + ", cpus: {policy: dedicated, count: 2}}",
                  on=f"'kvm-{{1..3}}': {{uri: {URI}, dedicated: '2-7'}}"), web("cpus: 2")),
    Case("ha.no-second-home", "true", manifest(WEB[:-1] + ", host_labels: {zone: a}}", on=ZONE % ""),
         manifest(WEB[:-1] + ", host_labels: {zone: a}}", on=ZONE % ", labels: {zone: a}")),
    Case("ha.no-room", "{fencing", three("memory: 50GiB, ha: true"), three("memory: 50GiB, ha: {best_effort: true}")),
    Case("ha.apart-too-many", "host", three("apart: host, ha: true"), three("apart: host, ha: {crowd: true}")),
    Case("ha.apart-by-label", "2", three("apart: {scope: rack, most: 2}, ha: true", RACKS),
         three("apart: {scope: host, most: 2}, ha: true")),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.code)
def test_the_mistake_is_told_where_it_is(case: Case):
    lines = case.bad.splitlines()
    found = [each for each in told(case.bad) if each.code == case.code]

    assert found, [each.code for each in told(case.bad)]
    assert all(each.hint for each in found)
    underlined = {lines[d.at.line - 1][d.at.column - 1 : d.at.end_column - 1] for d in found if d.at}
    assert {text[: len(case.at)] for text in underlined} == {case.at}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.code)
def test_without_the_mistake_nothing_is_told_of_it(case: Case):
    assert case.code not in {each.code for each in told(case.good)}


# -- without hosts ------------------------------------------------------------------------------------------

NEED_HOSTS = {"ha.no-second-home", "ha.no-room"}
"""Codes of cases that are about how much room hosts have."""


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.code != "ha.bad-section"], ids=lambda case: case.code
)
def test_what_no_host_need_be_asked_for_is_told_by_validate_alike(case: Case, tmp_path: Path):
    def alone(text: str) -> set[tuple[str, str]]:
        (tmp_path / "cluster.yaml").write_text(text)
        return {(d.code, d.summary) for d in PLUGINS.validate(load_cluster(tmp_path, PLUGINS))}

    for text in (case.bad, case.good):
        assert alone(text) <= {(d.code, d.summary) for d in told(text)}
    assert (case.code in {code for code, _ in alone(case.bad)}) is (case.code not in NEED_HOSTS)


def test_a_pull_request_is_told_of_a_disk_that_dies_with_its_host(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = tmp_path / "cluster.yaml"
    path.write_text(manifest(pools="vms: {path: /srv/vms}"))

    assert run(["validate", str(path)]) == 1

    assert "error[ha.disk-not-shared]: disk root of web is in the pool vms" in capsys.readouterr().err


def test_warnings_of_ha_are_accepted_by_validate_as_by_plan(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path, text = tmp_path / "cluster.yaml", manifest(ha=f"{FENCING}, links: ['10.1.0.{{n}}']")
    path.write_text(text)
    assert run(["validate", str(path)]) == 0
    assert "warning[ha.one-link]" in capsys.readouterr().err

    path.write_text(f"{text}rules: {{ignore: [ha.one-link]}}\n")
    assert run(["validate", str(path)]) == 0
    assert "ha.one-link" not in capsys.readouterr().err


# -- what hosts are ----------------------------------------------------------------------------------------


def seen(**unlike: HostFacts) -> dict[str, HostSnapshot]:
    """Hosts that are not like the others: `kvm_2` stands for kvm-2."""
    return {
        (name := key.replace("_", "-")): replace(example_host(name), facts=facts)
        for key, facts in unlike.items()
    }


def facts(**keys: object) -> HostFacts:
    return replace(example_host("kvm-2").facts, **keys)


def card(address: str) -> NodeDevice:
    return NodeDevice("pci", "computer", "pci", (("address", address), ("product", "0x1"), ("vendor", "0x2")))


MACHINES = (Machine("q35", "pc-q35-10.0", 288), Machine("pc-q35-9.2", "pc-q35-9.2", 288))
NEWER = (GuestType("x86_64", "kvm", "/usr/bin/qemu-system-x86_64", MACHINES),)
FEW_CPUS = tuple(replace(cell, cpus=cell.cpus[:4]) for cell in example_host("kvm-2").facts.cells)
UNLIKE = [
    ("ha.cpu-differs", manifest(), {"cpu_model": "Skylake-Server"}),
    ("ha.machine-differs", manifest(), {"guests": NEWER}),
    ("ha.cache-moves", disk("cache: writeback"), {"qemu": 3_001_000}),
    ("ha.pins-elsewhere", web("cpus: {count: 2, pins: '14-15'}"), {"cells": FEW_CPUS}),
]


@pytest.mark.parametrize(("code", "text", "keys"), UNLIKE, ids=[case[0] for case in UNLIKE])
def test_hosts_that_are_not_alike_are_told(code: str, text: str, keys: dict[str, object]):
    assert code in {each.code for each in told(text, seen(kvm_2=facts(**keys)))}
    assert code not in {each.code for each in told(text)}


def test_a_device_without_a_counterpart_is_told():
    text = web("hostdevs: [{pci: '0000:41:00.0'}]")
    there = facts(devices=(card("0000:41:00.0"),))
    elsewhere = facts(devices=(card("0000:05:00.0"),))

    def codes(other: HostFacts) -> set[str]:
        return {each.code for each in told(text, seen(kvm_1=there, kvm_2=other, kvm_3=there))}

    assert "ha.no-counterpart" in codes(elsewhere)
    assert "ha.no-counterpart" not in codes(there)


def test_block_devices_without_locks_are_told():
    text = "web: {disks: {data: {volume: unit-0, pool: san}}, disk: {size: 1GiB, pool: vms}, ha: true}"
    pools = f"san: {{type: iscsi, server: nas, target: 'iqn.2026-01.com.example:vms'}}, {POOL}"

    def codes(locks: str) -> set[str]:
        return {
            each.code for each in told(manifest(text, more=f"locks: {locks}, definitions: vms", pools=pools))
        }

    assert "ha.no-locks" in codes("none")
    assert "ha.no-locks" not in codes("sanlock")


def test_what_is_true_of_several_vms_of_an_entry_is_told_once():
    found = told(manifest("web: {count: 5, disk: 1GiB, ha: true, tpm: emulator}"))

    (tpm,) = (each for each in found if each.code == "ha.tpm-local")
    assert tpm.summary == "the TPM of web-1, web-2, web-3 and 2 more stays on its host"


def test_a_cluster_without_mistakes_is_told_nothing():
    assert told(manifest("web: {count: 2, disk: 1GiB, apart: host, ha: true}, own: {disk: 1GiB}")) == ()


def test_every_code_of_a_check_is_tried():
    tried = (
        {case.code for case in CASES} | {case[0] for case in UNLIKE} | {"ha.no-counterpart", "ha.no-locks"}
    )
    pages = {page.stem for page in (Path(kvmdecl_pacemaker.__file__).parent / "codes").glob("*.md")}

    assert pages - tried == {
        *("ha.host-unknown", "ha.vm-unknown"),  # of test_emission
        *("ha.missing-tool", "ha.not-started", "ha.refused", "ha.tool-failed"),  # of test_proof
        *(
            "ha.down",
            "ha.left-over-rule",
            "ha.moved",
            "ha.no-answer",
            "ha.needs-shell",
            "ha.no-way",
            "ha.not-applied",
        ),
        *("ha.not-at-rest", "ha.not-ours", "ha.not-read", "ha.paused", "ha.set-by-hand"),  # of test_manager
    }
