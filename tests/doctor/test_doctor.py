"""Hosts on which something is wrong, one thing each, and what `kvmdecl doctor` says; a host on which nothing is."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jsonschema_rs
import pytest

from kvmdecl.diagnostics import Diagnostic
from kvmdecl.doctor import Finding, examine
from kvmdecl.facts import Cell, DomainSupport, HostCpu, PagePool
from kvmdecl.hosts.errors import diagnose
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
    "nothing known of firmware": ("support", "advice", _facts(domain_support=()), "", ""),
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
    "another CPU": ("cpu-baseline", "advice", _facts(cpu_model="Skylake-Server"), "", ""),
    "the same machine twice": ("identity", "failure", _facts(uuid="uuid of kvm-2"), "", ""),
}  # fmt: skip


def _examined(folder: Path, change: Change, manifest: str = MANIFEST) -> tuple[Finding, ...]:
    path = folder / "cluster.yaml"
    path.write_text(manifest)
    cluster = load_cluster(path, load_plugins())
    return examine(cluster, {"kvm-1": change(healthy("kvm-1")), "kvm-2": healthy("kvm-2")})


def test_a_healthy_host_has_nothing_wrong(tmp_path: Path) -> None:
    found = _examined(tmp_path, lambda host: host)
    assert [finding for finding in found if finding.outcome != "ok"] == []
    assert {"reach", "kvm", "uefi", "pool-space", "confinement"} <= {finding.name for finding in found}


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
    cluster = load_cluster(path, load_plugins())
    uuid = next(network.uuid for network in cluster.networks if network.name == "inner")
    off = _state(networks=(replace(_INNER, uuid=uuid),))
    assert [f.name for f in _examined(tmp_path, off) if f.outcome == "failure"] == ["network"]


def test_a_host_that_does_not_answer_says_why(tmp_path: Path) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(MANIFEST)
    gone = Unreachable("kvm-1", Diagnostic("host.unreachable", "kvm-1 does not answer", hint="switch it on"))
    found = examine(load_cluster(path, load_plugins()), {"kvm-1": gone, "kvm-2": healthy("kvm-2")})
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
        for f in examine(load_cluster(path, load_plugins()), {"kvm-1": gone, "kvm-2": healthy("kvm-2")})
        if f.host == "kvm-1"
    ]
    assert (found.name, found.outcome) == (part, "failure")
    assert found.fix or part == "reach"


def test_at_least_25_broken_hosts_are_known() -> None:
    assert len(BROKEN) >= 25
    assert len({name for name, *_ in BROKEN.values()}) >= 25


def test_the_text_shows_what_is_wrong_and_counts_what_is_well(tmp_path: Path) -> None:
    found = _examined(tmp_path, _pool(active=False))
    text = render_doctor(found)
    assert "kvm-1: 1 failing, " in text
    assert "  FAILURE pool: has pool vms, and it is not active\n          fix: see why with" in text
    assert "runs guests on KVM" not in text
    assert "  ok      kvm: runs guests on KVM" in render_doctor(found, verbose=True)


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
