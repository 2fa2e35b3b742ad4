"""Hosts on which something is wrong, one thing each, and what `kvmdecl doctor` says; a host on which nothing is."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from kvmdecl.answers import QUESTIONS, Answer
from kvmdecl.diagnostics import Diagnostic, Rejected
from kvmdecl.doctor import examine, with_choice
from kvmdecl.facts import Cell, DomainSupport, HostCpu, PagePool
from kvmdecl.hosts.errors import diagnose
from kvmdecl.inside import Certificate, FileSystem, Inside, KvmDevice, Way
from kvmdecl.names import GIB, MIB
from kvmdecl.pipeline import load_cluster
from kvmdecl.pluginhost import load_plugins
from kvmdecl.state import (
    DomainLoad,
    HostSnapshot,
    HostState,
    ObservedDomain,
    ObservedNetwork,
    ObservedPool,
    ObservedSettings,
    ObservedVolume,
    Unreachable,
)
from kvmdecl.views.doctor import doctor_schema, render_doctor, render_doctor_json, render_doctor_metrics
from tests.hosts.test_errors import error
from tests.placement.support import facts as usual_facts

MANIFEST = """\
apiVersion: kvmdecl/v1
cluster: edge
hosts:
  kvm-1: {uri: "qemu+tls://kvm-1.example/system", reserve: {memory: 4GiB}}
  kvm-2: {uri: "qemu+tls://kvm-2.example/system", reserve: {memory: 4GiB}}
networks: {lan: {bridge: br0}, inner: {mode: isolated, bridge: br-inner}}
storage: {vms: /srv/vms}
vms: {web: {disks: {data: 1GiB}, nics: [lan, inner]}}
"""
SUPPORT = DomainSupport(
    "x86_64", "kvm", "pc-q35-9.2", 288,
    (
        ("cpu/nested", ("yes",)), ("devices/filesystem/driverType", ("virtiofs",)),
        ("devices/hostdev/pciBackend", ("vfio",)), ("devices/tpm/backendModel", ("emulator",)),
        ("os/firmware", ("bios", "efi")), ("os/loader/secure", ("yes", "no")),
    ),
    ("Nehalem", "Haswell"),
)  # fmt: skip


def healthy(name: str) -> HostSnapshot:
    """A host on which all is well."""
    facts = replace(
        usual_facts(support=(SUPPORT,)),
        uuid=f"uuid of {name}",
        iommu=True,
        security_models=("apparmor", "dac"),
    )
    pool = ObservedPool("vms", "", "<pool/>", True, True, 1000 * GIB, 500 * GIB, ())
    load = DomainLoad("web", 2, 10**12, 10**9, GIB, GIB)
    return HostSnapshot(name, facts, HostState(pools=(pool,), loads=(load,)))


PLUGINS = load_plugins()
NOW = 1_800_000_000.0
WELL = Inside(
    clock=(-0.2, 0.3),
    synchronised=True,
    name="kvm.example",
    virtualisation=True,
    kvm=KvmDevice(0o660, 0, 108, "libvirt-qemu", 64055, frozenset({64055, 108})),
    huge="madvise",
    defrag="madvise",
    merges=False,
    file_systems=(
        FileSystem("/srv/vms", 1000, 900, 1000 * GIB, 500 * GIB),
        FileSystem("/etc/libvirt", 0, 0, GIB, GIB),
    ),
    pressure=(("cpu", 0.5), ("io", 2.0)),
    certificates=(Certificate("/etc/pki/libvirt/servercert.pem", NOW + 90 * 86400),),
    ways=(Way("kvm-2", "kvm-2.example", 49152, "refused"),),
)
"""A host whose programs tell nothing bad of it."""

Change = Callable[[HostSnapshot], HostSnapshot]


def _facts(**changes: object) -> Change:
    return lambda host: replace(host, facts=replace(host.facts, **changes))


def _state(**changes: object) -> Change:
    return lambda host: replace(host, state=replace(host.state, **changes))


def _pool(**changes: object) -> Change:
    return lambda host: _state(pools=(replace(host.state.pools[0], **changes),))(host)


def _without(path: str) -> Change:
    kept = tuple(enum for enum in SUPPORT.enums if enum[0] != path)
    return _facts(domain_support=(replace(SUPPORT, enums=kept),))


def _domain(**changes: object) -> ObservedDomain:
    whole = ObservedDomain("old", "1", "<domain/>", None, False, True, False, False)
    return replace(whole, **changes)


def _chain(length: int) -> tuple[ObservedVolume, ...]:
    return tuple(
        ObservedVolume(
            "vms", f"s{n}", f"/srv/vms/s{n}", "qcow2", GIB, MIB, f"/srv/vms/s{n - 1}" if n else None
        )
        for n in range(length)
    )


_HALF = (
    Cell(0, 64 * GIB, (HostCpu(0, 0, 0, 0, (0,)),), (), ()),
    Cell(1, 0, (HostCpu(1, 1, 0, 0, (1,)),), (), ()),
)
_PAGED = (Cell(0, 64 * GIB, (HostCpu(0, 0, 0, 0, (0,)),), (PagePool(4096, 1), PagePool(2 * MIB, 8)), ()),)
_INNER = ObservedNetwork("inner", "", "<network/>", False, True)
_GUEST = "vms: {web: {"
BROKEN: dict[str, tuple[str, str, Change, str, str]] = {
    # what is broken: (name of the finding, outcome, the host's change, replaced in the manifest, by)
    "plain TCP": ("transport", "failure", lambda h: h, "qemu+tls://kvm-1", "qemu+tcp://kvm-1"),
    "no libvirt version": ("libvirt", "failure", _facts(libvirt=0), "", ""),
    "old libvirt": ("libvirt", "advice", _facts(libvirt=6_000_000), "", ""),
    "old QEMU": ("qemu", "advice", _facts(qemu=4_002_000), "", ""),
    "no QEMU": ("qemu", "failure", _facts(qemu=0), "", ""),
    "no KVM": ("kvm", "failure", lambda h: _facts(guests=h.facts.guests[1:])(h), "", ""),
    "no nesting": ("nested", "failure", _without("cpu/nested"), _GUEST, _GUEST + "cpus: {nested: true}, "),
    "no IOMMU": ("iommu", "failure", _facts(iommu=False), _GUEST, _GUEST + 'hostdevs: [{pci: "0000:01:00.0"}], '),
    "no vfio": (
        "vfio", "failure", _without("devices/hostdev/pciBackend"), _GUEST,
        _GUEST + 'hostdevs: [{pci: "0000:01:00.0"}], ',
    ),
    "nothing known of firmware": ("support", "unknown", _facts(domain_support=()), "", ""),
    "no UEFI": ("uefi", "failure", _without("os/firmware"), _GUEST, _GUEST + "firmware: uefi, "),
    "no Secure Boot": (
        "secure-boot", "failure", _without("os/loader/secure"), _GUEST,
        _GUEST + "firmware: {type: uefi, secure_boot: true}, ",
    ),
    "no swtpm": ("tpm", "failure", _without("devices/tpm/backendModel"), _GUEST, _GUEST + "tpm: emulator, "),
    "no virtiofsd": (
        "virtiofs", "failure", _without("devices/filesystem/driverType"), _GUEST,
        _GUEST + "memory: {size: 1GiB, source: memfd, access: shared}, shares: {code: /srv/code}, ",
    ),
    "nothing confines": ("confinement", "advice", _facts(security_models=("none", "dac")), "", ""),
    "nothing confines tenants": (
        "confinement", "failure", _facts(security_models=("dac",)), "storage:", "rules: {tenancy: shared}\nstorage:"
    ),
    "a cell without memory": ("cells", "advice", _facts(cells=_HALF), "", ""),
    "a dedicated CPU is offline": (
        "dedicated", "failure", lambda h: h, "memory: 4GiB}}", 'memory: 4GiB}, dedicated: "99"}'
    ),
    "nothing reserved": ("reserve", "advice", lambda h: h, ", reserve: {memory: 4GiB}", ""),
    "huge pages are not there": (
        "huge-pages", "advice", _facts(cells=_PAGED), "memory: 4GiB}}", "memory: 4GiB}, huge_pages: {2MiB: 64}}"
    ),
    "KSM between tenants": (
        "ksm", "failure", _state(settings=(ObservedSettings("ksm", (), (("pages_shared", 12),)),)),
        "storage:", "rules: {tenancy: shared}\nstorage:",
    ),
    "a pool is off": ("pool", "failure", _pool(active=False), "", ""),
    "a pool is full": ("pool-space", "failure", _pool(available=GIB), "", ""),
    "a pool is nearly full": ("pool-space", "advice", _pool(available=50 * GIB), "", ""),
    "a pool has promised too much": (
        "pool-promised", "advice",
        _pool(volumes=(ObservedVolume("vms", "a", "/a", "qcow2", 4000 * GIB, GIB, None),)), "", "",
    ),
    "a bridge is missing": ("bridge", "failure", _facts(interfaces=("eth0",)), "", ""),
    "guests did not start": ("autostart", "advice", _state(domains=(_domain(autostart=True),)), "", ""),
    "a guest's memory is saved": ("saved", "advice", _state(domains=(_domain(managed_save=True),)), "", ""),
    "a guest waits": ("contention", "advice", _state(loads=(DomainLoad("web", 2, 9 * 10**10, 10**10),)), "", ""),
    "a guest starves": ("contention", "failure", _state(loads=(DomainLoad("web", 2, 10**10, 10**10),)), "", ""),
    "vCPUs wait for a slow disk": (
        "io-wait", "advice", _state(loads=(DomainLoad("web", 2, 10**11, 10**9, 0, 0, 10**11),)), "", ""
    ),
    "KVM polls for an idle guest": (
        "halt-polling", "advice", _state(loads=(DomainLoad("web", 2, 10**10, 10**8, 0, 0, 0, 10**10),)), "", ""
    ),
    "a disk on twenty others": ("chain", "advice", _pool(volumes=_chain(20)), "", ""),
    "too many vCPUs": ("overcommit", "advice", _state(loads=(DomainLoad("web", 99, 10**12, 0),)), "", ""),
    "a balloon took half": (
        "balloon", "advice", _state(loads=(DomainLoad("web", 1, 10**12, 0, GIB, 4 * GIB),)), "", ""
    ),
    "another libvirt": ("libvirt-skew", "advice", _facts(libvirt=9_000_000), "", ""),
    "another QEMU": ("qemu-skew", "advice", _facts(qemu=8_002_000), "", ""),
    "a CPU without a feature of the others": (
        "cpu-baseline", "advice", lambda h: _facts(cpu_features=(*h.facts.cpu_features, "avx512f"))(h), "", "",
    ),
    "another CPU": ("cpu-baseline", "advice", _facts(cpu_model="Skylake-Server"), "", ""),
    "the same machine twice": ("identity", "failure", _facts(uuid="uuid of kvm-2"), "", ""),
}  # fmt: skip


_DISKS = WELL.file_systems
_WITH_KSM = ("memory: 4GiB}}", "memory: 4GiB}, ksm: {pages_to_scan: 9}}")
_TENANTS = ("storage:", "rules: {tenancy: shared}\nstorage:")
_ENDED = Certificate("/etc/pki/qemu/server-cert.pem", NOW - 1)
ON_THE_INSIDE: dict[str, tuple[str, str, dict[str, Any], str, str]] = {
    # what is broken: (name of the question, outcome, what programs tell, replaced in the manifest, by)
    "a clock is late": ("clock", "advice", {"clock": (-4.2, -3.9)}, "", ""),
    "a clock is an hour ahead": ("clock", "failure", {"clock": (3600.0, 3601.0)}, "", ""),
    "nothing keeps a clock right": ("clock", "advice", {"synchronised": False}, "", ""),
    "a clock that nobody tells": ("clock", "unknown", {"clock": None}, "", ""),
    "no transparent huge pages": ("thp", "advice", {"huge": "never"}, "", ""),
    "guests wait for huge pages": ("thp", "advice", {"defrag": "always"}, "", ""),
    "KSM runs for tenants": ("ksm", "failure", {"merges": True}, *_TENANTS),
    "KSM is off and wanted": ("ksm", "advice", {"merges": False}, *_WITH_KSM),
    "a pool has no inodes left": (
        "pool-inodes", "failure", {"file_systems": (FileSystem("/srv/vms", 1000, 9, GIB, GIB),)}, "", "",
    ),
    "a pool has few inodes left": (
        "pool-inodes", "advice", {"file_systems": (FileSystem("/srv/vms", 1000, 90, GIB, GIB),)}, "", "",
    ),
    "a pool that cannot be seen": ("pool-inodes", "unknown", {"file_systems": ()}, "", ""),
    "libvirt's disk is full": (
        "room", "failure", {"file_systems": (*_DISKS, FileSystem("/var/lib/libvirt", 9, 9, GIB, MIB))}, "", "",
    ),
    "libvirt's disk has no inodes": (
        "room", "failure", {"file_systems": (*_DISKS, FileSystem("/var/log/libvirt", 999, 1, GIB, GIB))}, "", "",
    ),
    "no port is left to migrate to": (
        "migration-ports", "failure", {"ports": (49152, 49153), "listening": frozenset({49152, 49153})}, "", "",
    ),
    "few ports are left": ("migration-ports", "advice", {"listening": frozenset(range(49152, 49190))}, "", ""),
    "a firewall swallows migrations": (
        "migration-way", "failure", {"ways": (Way("kvm-2", "kvm-2.example", 49152, "silent"),)}, "", "",
    ),
    "a firewall turns them away": (
        "migration-way", "failure", {"ways": (Way("kvm-2", "10.0.0.2", 49152, "unreachable"),)}, "", "",
    ),
    "a host whose name no other knows": (
        "migration-way", "advice", {"ways": (Way("kvm-2", "localhost.localdomain", 49152, "nameless"),)},
        _GUEST, _GUEST + "host: kvm-1, ",
    ),
    "a host that has no name of its own": ("migration-name", "failure", {"name": "localhost.localdomain"}, "", ""),
    "no way could be tried": ("migration-way", "unknown", {"ways": None}, "", ""),
    "everything waits for disks": ("pressure", "advice", {"pressure": (("cpu", 1.0), ("io", 45.5))}, "", ""),
    "a certificate has ended": ("certificate", "failure", {"certificates": (*WELL.certificates, _ENDED)}, "", ""),
    "a certificate ends soon": (
        "certificate", "advice", {"certificates": (replace(_ENDED, until=NOW + 86400),)}, "", "",
    ),
}  # fmt: skip


def _examined(
    folder: Path, change: Change, manifest: str = MANIFEST, inside: Inside = WELL, *, is_lab: bool = False
) -> tuple[Answer, ...]:
    path = folder / "cluster.yaml"
    path.write_text(manifest)
    cluster = load_cluster(path, PLUGINS)
    seen = {"kvm-1": change(healthy("kvm-1")), "kvm-2": healthy("kvm-2")}
    return examine(cluster, seen, {"kvm-1": inside, "kvm-2": WELL}, now=NOW, is_lab=is_lab)


def _wrong(found: Iterable[Answer]) -> list[tuple[str, str]]:
    return [(answer.name, answer.outcome) for answer in found if answer.outcome != "ok"]


def test_a_healthy_host_has_nothing_wrong_and_each_question_has_its_line(tmp_path: Path) -> None:
    found = _examined(tmp_path, lambda host: host)
    assert _wrong(found) == []
    assert {answer.name for answer in found if answer.host == "kvm-1"} == {
        "reach", "libvirt", "qemu", "kvm", "iommu", "uefi", "ksm", "confinement", "pool-space", "contention", "io-wait",
        "halt-polling", "overcommit", "balloon", "clock", "thp", "pool-inodes", "room", "migration-ports",
        "migration-way", "pressure", "certificate",
    }  # fmt: skip


@pytest.mark.parametrize("what", ON_THE_INSIDE)
def test_what_only_a_hosts_programs_tell_is_named_with_a_way_out(what: str, tmp_path: Path) -> None:
    name, outcome, told, before, after = ON_THE_INSIDE[what]
    manifest = MANIFEST.replace(before, after, 1)
    found = _examined(tmp_path, lambda host: host, manifest, replace(WELL, **told))
    assert _wrong(found) == [(name, outcome)]
    assert outcome == "unknown" or all(answer.fix for answer in found if answer.outcome != "ok")


@pytest.mark.parametrize(
    ("inside", "why"),
    [
        (WELL, "offers no guests on KVM"),
        (replace(WELL, kvm=KvmDevice(0o600, 0, 0, "libvirt-qemu", 64055, frozenset({108}))), "may not open /dev/kvm"),
        (replace(WELL, kvm=KvmDevice(0o600, 0, 0)), "offers no guests on KVM"),
        (replace(WELL, kvm=None), "there is no /dev/kvm"),
        (replace(WELL, kvm=None, virtualisation=False), "show no virtualisation"),
    ],
)  # fmt: skip
def test_why_there_is_no_kvm_is_told_as_far_as_it_can_be_seen(
    inside: Inside, why: str, tmp_path: Path
) -> None:
    found = _examined(tmp_path, _facts(guests=usual_facts().guests[1:]), inside=inside)
    assert _wrong(found) == [("kvm", "failure")]
    assert why in next(answer.told for answer in found if answer.name == "kvm")


def test_a_kvm_that_is_closed_to_qemu_is_advice_where_no_vm_wants_it(tmp_path: Path) -> None:
    closed = replace(WELL, kvm=KvmDevice(0o600, 0, 0, "libvirt-qemu", 64055, frozenset({108})))
    no_kvm = _facts(guests=usual_facts().guests[1:])
    emulated = MANIFEST.replace(_GUEST, _GUEST + "type: qemu, ")
    assert _wrong(_examined(tmp_path, no_kvm, emulated, closed)) == [("kvm", "advice")]
    assert _wrong(_examined(tmp_path, no_kvm, emulated)) == []


def test_a_host_that_nobody_can_look_into_has_what_was_not_seen_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(MANIFEST)
    seen = {name: healthy(name) for name in ("kvm-1", "kvm-2")}
    found = examine(load_cluster(path, PLUGINS), seen, now=NOW)
    assert {outcome for _, outcome in _wrong(found)} == {"unknown"}
    text = render_doctor(found)
    assert (
        "  unknown clock, thp, pool-inodes, room, migration-ports, pressure: its URI leads to libvirt alone\n"
        in text
    )
    assert text.count("fix: say how SSH gets there") == 2, "of both hosts at once, and of their certificates"


def test_a_lab_says_nothing_bad_of_the_machine_that_it_is_on(tmp_path: Path) -> None:
    bare = _facts(security_models=("none", "dac"))
    busy = replace(WELL, pressure=(("cpu", 99.0),))
    assert _wrong(_examined(tmp_path, bare, inside=busy)) == [
        ("confinement", "advice"),
        ("pressure", "advice"),
    ]
    found = _examined(tmp_path, bare, inside=busy, is_lab=True)
    assert _wrong(found) == []
    assert (
        "does not confine guests: one that breaks out has the host's files (the machine that the lab is on)"
        in {answer.told for answer in found}
    )


def test_certificates_that_hosts_show_and_this_machines_own_are_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(MANIFEST)
    cluster = load_cluster(path, PLUGINS)
    seen = {name: healthy(name) for name in ("kvm-1", "kvm-2")}
    inside = dict.fromkeys(seen, replace(WELL, certificates=()))
    shown = {
        "kvm-1": Certificate("shown", NOW + 86400),
        "kvm-2": Certificate("shown", NOW + 86400 * 99),
        "": _ENDED,
    }
    found = examine(cluster, seen, inside, shown, now=NOW)
    assert _wrong(found) == [("certificate", "advice"), ("client-certificate", "failure")]


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_broken_is_named_with_a_way_out(what: str, tmp_path: Path) -> None:
    name, outcome, change, before, after = BROKEN[what]
    wrong = [f for f in _examined(tmp_path, change, MANIFEST.replace(before, after, 1)) if f.outcome != "ok"]
    assert [(f.name, f.outcome) for f in wrong if f.host or name not in {"libvirt", "qemu"}] == [
        (name, outcome)
    ]
    assert wrong[0].fix


def test_a_network_that_is_off_is_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(MANIFEST)
    cluster = load_cluster(path, PLUGINS)
    uuid = next(network.uuid for network in cluster.networks if network.name == "inner")
    off = _state(networks=(replace(_INNER, uuid=uuid),))
    assert [f.name for f in _examined(tmp_path, off) if f.outcome == "failure"] == ["network"]


def test_a_host_that_does_not_answer_says_why(tmp_path: Path) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(MANIFEST)
    gone = Unreachable("kvm-1", Diagnostic("host.unreachable", "kvm-1 does not answer", hint="switch it on"))
    found = examine(load_cluster(path, PLUGINS), {"kvm-1": gone, "kvm-2": healthy("kvm-2")})
    assert (found[0].host, found[0].name, found[0].outcome, found[0].fix) == (
        "kvm-1",
        "reach",
        "failure",
        "switch it on",
    )


@pytest.mark.parametrize(
    ("part", "number", "said"),
    [
        ("host-key", 38, "Cannot recv data: Host key verification failed.: Connection reset by peer"),
        ("login", 38, "Cannot recv data: deploy@kvm-1: Permission denied (publickey)."),
        ("login", 45, "authentication failed: Failed to start SASL negotiation: -4 (no mechanism available)"),
        ("certificate", 1, "The certificate hasn't got a known issuer"),
        ("permission", 88, "access denied by policy"),
        ("service", 38, "unable to connect to server at 'kvm-1:16514': Connection refused"),
        ("name", 38, "unable to connect to server at 'kvm-1:16514': Name or service not known"),
        ("network", 38, "End of file while reading data: Input/output error"),
        ("answer", 38, "unable to connect to server at 'kvm-1:16514': Connection timed out"),
        ("reach", 1, "internal error: something else"),
    ],
)
def test_each_way_not_to_reach_a_host_has_its_name_and_a_way_out(
    part: str, number: int, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(MANIFEST)
    gone = Unreachable("kvm-1", diagnose(error(number, said), "kvm-1", "connecting"))
    (found,) = [
        f
        for f in examine(load_cluster(path, PLUGINS), {"kvm-1": gone, "kvm-2": healthy("kvm-2")})
        if f.host == "kvm-1"
    ]
    assert (found.name, found.outcome) == (part, "failure")
    assert found.fix or part == "reach"


def test_far_more_than_25_broken_hosts_and_as_many_questions_are_known() -> None:
    assert len(BROKEN) + len(ON_THE_INSIDE) >= 60
    wrong = [
        name for name, outcome, *_ in (*BROKEN.values(), *ON_THE_INSIDE.values()) if outcome != "unknown"
    ]
    assert len(set(wrong)) >= 40


def test_the_text_shows_what_is_wrong_and_counts_what_is_well(tmp_path: Path) -> None:
    found = _examined(tmp_path, _pool(active=False))
    text = render_doctor(found)
    assert "kvm-1: 1 failing, " in text
    assert "  FAILURE pool: has pool vms, and it is not active\n          fix: see why with" in text
    assert "runs guests on KVM" not in text
    assert "  ok      kvm: runs guests on KVM" in render_doctor(found, verbose=True)


def test_what_all_hosts_answer_alike_is_told_once(tmp_path: Path) -> None:
    manifest = MANIFEST.replace("qemu+tls", "qemu+tcp")
    text = render_doctor(_examined(tmp_path, _pool(active=False), manifest))
    assert text.startswith("of each host:\n  FAILURE transport: is reached by plain TCP")
    assert text.count("FAILURE transport") == 1
    assert "\nkvm-1: 2 failing, 20 well\n  FAILURE pool: has pool vms, and it is not active\n" in text
    assert re.search(r"^kvm-2: 1 failing, \d+ well$", text, re.MULTILINE)


def test_json_keeps_to_its_schema_and_metrics_to_their_format(tmp_path: Path) -> None:
    found = _examined(tmp_path, _pool(active=False))
    document = json.loads(render_doctor_json(found))
    jsonschema_rs.validator_for(doctor_schema()).validate(document)
    assert len(document["findings"]) == len(found)
    metrics = render_doctor_metrics("edge", found)
    assert 'kvmdecl_doctor_findings{cluster="edge",host="kvm-1",outcome="failure"} 1\n' in metrics
    wrong = 'kvmdecl_doctor_wrong{cluster="edge",host="kvm-1",question="pool",outcome="failure"} 1\n'
    assert wrong in metrics
    assert all(
        re.fullmatch(r'# .*|kvmdecl_doctor_(findings|wrong)\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\} [0-9]+', line)
        for line in metrics.splitlines()
    )


_TOLERATED = """\
rules:
  ignore: [doctor.transport]
  waive:
  - {rule: doctor.pool, on: [host/kvm-1], until: 2031-05-04, reason: it is being moved}
  - {rule: doctor.libvirt-skew, on: [cluster], until: 2031-05-04, reason: the others follow on Monday}
"""


def test_what_the_manifest_accepts_is_told_and_not_wrong_any_more(tmp_path: Path) -> None:
    def older(host: HostSnapshot) -> HostSnapshot:
        return _facts(libvirt=10_000_001)(_pool(active=False)(host))

    manifest = MANIFEST.replace("qemu+tls", "qemu+tcp") + _TOLERATED
    asked = _examined(tmp_path, older, manifest)
    assert {"transport", "pool", "libvirt-skew"} <= {name for name, _ in _wrong(asked)}
    found = with_choice(load_cluster(tmp_path / "cluster.yaml", PLUGINS), asked)
    assert {outcome for _, outcome in _wrong(found)} == {"accepted"}
    assert "transport" not in {answer.name for answer in found}
    told = next(answer.told for answer in found if answer.name == "pool" and answer.host == "kvm-1")
    assert told.endswith("(until 2031-05-04: it is being moved)")
    assert "kvm-1: 20 well, 1 accepted\n" in render_doctor(found)
    assert "moved" not in render_doctor(found)
    assert "  accepted libvirt-skew: " in render_doctor(found, verbose=True)
    jsonschema_rs.validator_for(doctor_schema()).validate(json.loads(render_doctor_json(found)))
    metrics = render_doctor_metrics("edge", found)
    assert 'host="kvm-1",outcome="accepted"} 1\n' in metrics
    assert "kvmdecl_doctor_wrong{" not in metrics


def test_a_waiver_is_for_its_host_alone(tmp_path: Path) -> None:
    manifest = MANIFEST + _TOLERATED.replace("host/kvm-1", "host/kvm-2")
    found = with_choice(
        load_cluster(_written(tmp_path, manifest), PLUGINS), _examined(tmp_path, _pool(active=False))
    )
    assert ("pool", "failure") in _wrong(found)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("doctor.pol-space", "did you mean `doctor.pool-space`?"),
        ("doctro.pool", "did you mean `doctor.pool`?"),
        ("doctor", None),
        ("doctor.pool-space", None),
        ("doctor.coffee-machine", None),  # a plugin may ask it
    ],
)
def test_a_slip_in_the_name_of_a_question_is_told(tmp_path: Path, name: str, hint: str | None) -> None:
    path = _written(tmp_path, f"{MANIFEST}rules: {{ignore: [{name}]}}\n")
    if hint is None:
        load_cluster(path, PLUGINS)
        return
    with pytest.raises(Rejected) as rejected:
        load_cluster(path, PLUGINS)
    assert [(found.code, found.hint) for found in rejected.value.diagnostics] == [("rules.unknown", hint)]


def test_each_question_of_the_manual_can_be_accepted_and_each_that_can_be_is_there() -> None:
    text = Path("docs/doctor.md").read_text()
    rows = [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| `")]
    assert {name for row in rows for name in re.findall(r"`([a-z-]+)`", row)} == QUESTIONS
    assert {name for name, *_ in (*BROKEN.values(), *ON_THE_INSIDE.values())} <= QUESTIONS


def _written(folder: Path, manifest: str) -> Path:
    path = folder / "cluster.yaml"
    path.write_text(manifest)
    return path
