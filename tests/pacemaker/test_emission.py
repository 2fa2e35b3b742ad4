"""Mistakes that nobody can make, since what is written out is right: shown on every story, and where it is hard."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from kvmdecl_pacemaker.check import check
from kvmdecl_pacemaker.cib import cib, cib_text
from kvmdecl_pacemaker.commands import commands
from kvmdecl_pacemaker.configuration import NEVER, Configuration, Primitive
from kvmdecl_pacemaker.configure import configure
from kvmdecl_pacemaker.corosync import corosync_conf, detection_time
from lxml import etree

from kvmdecl.diagnostics import Diagnostic
from kvmdecl.facts import HostFacts
from kvmdecl.names import GIB
from kvmdecl.pipeline import load_cluster, rehearse
from kvmdecl.pluginhost import load_plugins
from kvmdecl.scenario import example_host
from kvmdecl.snapshot import write_snapshots
from kvmdecl.state import Unreachable
from kvmdecl.uri import parse_manifest_uri
from tests.pacemaker.support import FENCING, LINKS, URI, configured, manifest, placed, told

STORIES = Path(__file__).parents[1] / "scenarios"
NAMES = sorted(path.parent.name for path in STORIES.glob("ha-*/cluster.yaml"))

ALLOWED = {
    "autoset_utilization_cpu", "autoset_utilization_host_memory", "autoset_utilization_hv_memory", "config",
    "hypervisor", "migrate_options", "migration_network_suffix", "migration_transport", "remoteuri", "start_resources",
}  # fmt: skip


@pytest.fixture(scope="module", params=NAMES)
def story(request: pytest.FixtureRequest) -> Configuration:
    return configured((STORIES / request.param / "cluster.yaml").read_text())


def parameters(resource: Primitive) -> dict[str, str]:
    return dict(resource.parameters)


def timeouts(resource: Primitive) -> dict[str, int]:
    return {operation.name: operation.timeout for operation in resource.operations}


def only(text: str) -> Primitive:
    (resource,) = configured(text).resources
    return resource


def web(keys: str, more: str = "") -> str:
    return manifest(f"web: {{disk: 1GiB, {keys}}}", more=more)


# -- on every story ----------------------------------------------------------------------------------------


def test_the_agent_never_sets_utilization_itself(story: Configuration):
    for vm in story.resources:
        autoset = [value for name, value in vm.parameters if name.startswith("autoset_")]
        assert autoset == ["false"] * 3


def test_a_guest_that_moves_has_time_to(story: Configuration):
    for vm in story.resources:
        moves = dict(vm.meta)["allow-migrate"] == "true"
        assert ({"migrate_to", "migrate_from"} <= timeouts(vm).keys()) == moves
        assert all(timeout >= 60 for name, timeout in timeouts(vm).items() if name.startswith("migrate"))


def test_everything_is_monitored(story: Configuration):
    everything = [*story.devices, *story.resources, *(clone.primitive for clone in story.services)]
    assert all("monitor" in timeouts(each) for each in everything)


def test_what_a_guest_asks_for_every_host_counts(story: Configuration):
    """A name that a host lacks counts as nothing there."""
    asked = {name for vm in story.resources for name, _ in vm.utilization}
    assert all(asked <= dict(node.utilization).keys() for node in story.nodes)


def test_a_host_that_comes_back_restarts_nothing_elsewhere(story: Configuration):
    assert all(dict(clone.meta)["interleave"] == "true" for clone in story.services)


def test_what_is_ordered_after_a_clone_is_also_where_it_runs(story: Configuration):
    clones = {clone.id for clone in story.services}
    ordered = {(first, then) for o in story.orders for first in o.first for then in o.then if first in clones}
    together = {(near, one) for c in story.colocations for near in c.near for one in c.resources}
    assert ordered == together


def test_nothing_moves_back_by_itself(story: Configuration):
    stickiness = int(dict(story.defaults)["resource-stickiness"])
    soft = [rule.score for rule in (*story.locations, *story.colocations) if "INFINITY" not in rule.score]
    assert all(abs(int(score)) < stickiness for score in soft)


def test_no_parameter_does_nothing_or_harm(story: Configuration):
    """Such as migrateport, shutdown_mode, snapshot and force_stop."""
    for vm in story.resources:
        assert parameters(vm).keys() <= ALLOWED
        assert parameters(vm)["hypervisor"] == "qemu:///system"


def test_fencing_is_on_and_no_host_switches_itself_off(story: Configuration):
    options = dict(story.options)
    assert options["stonith-enabled"] == "true"
    banned = {(rule.resource, rule.node) for rule in story.locations if rule.score == "-INFINITY"}
    for device in story.devices:
        targets = parameters(device)["pcmk_host_list"].split()
        assert len(targets) > 1 or (device.id, targets[0]) in banned


def test_a_definition_is_what_is_counted(story: Configuration):
    counted = {vm.id: dict(vm.utilization) for vm in story.resources}
    for guest in story.guests:
        domain = etree.fromstring(guest.definition)
        assert int(domain.findtext("memory") or 0) == int(counted[guest.name]["hv_memory"]) * 1024
        assert domain.find("vcpu").get("current") == counted[guest.name]["cpu"]


def test_the_agent_finds_the_name_in_each_definition(story: Configuration, tmp_path: Path):
    """By the line that ends in `</name>`, of which there is one (VirtualDomain 4.12, its last lines)."""
    for guest, vm in zip(story.guests, story.resources, strict=True):
        assert guest.path == parameters(vm)["config"]
        assert guest.path.startswith("/")
        assert name_by_the_agent(guest.definition, tmp_path) == vm.id


def name_by_the_agent(definition: str, folder: Path) -> str:
    file = folder / "definition.xml"
    file.write_text(definition)
    pattern = r"[[:space:]]*<name>.*<\/name>[[:space:]]*$"
    script = rf"""grep -E '{pattern}' "$0" | sed -e 's/[[:space:]]*<name>\(.*\)<\/name>[[:space:]]*$/\1/'"""
    return subprocess.run(
        ["sh", "-c", script, file], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_no_name_is_found_in_a_text_for_people(tmp_path: Path):
    text = 'vms: {web: {disk: 1GiB, ha: true, description: "one\\n<name>other</name>\\nthree"}}'
    (guest,) = configured(manifest().rpartition("vms: ")[0] + text + "\n").guests
    assert name_by_the_agent(guest.definition, tmp_path) == "web"


def test_ids_are_used_once(story: Configuration):
    ids = [element.get("id") for element in cib(story).iterfind("configuration//*[@id]")
           if element.tag not in {"resource_ref", "obj_ref"}]  # fmt: skip
    assert len(ids) == len(set(ids))


def test_the_same_input_gives_the_same_bytes():
    text = (STORIES / "ha-five-hosts" / "cluster.yaml").read_text()
    once, again = configured(text), configured(text)
    assert cib_text(once) == cib_text(again)
    assert (corosync_conf(once), commands(once)) == (corosync_conf(again), commands(again))


# -- times -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "operation", "seconds"),
    [
        ("ha: true", "stop", 125),
        ("ha: true, shutdown: 10m", "stop", 605),
        ("ha: true, memory: 8GiB", "migrate_to", 164),
        ("ha: true, memory: 1GiB", "migrate_to", 120),
        ("ha: true, memory: 60GiB", "migrate_to", 1229),
        ("ha: true, memory: 60GiB", "start", 180),
        ("ha: {start_timeout: 30s}", "start", 30),
        ("ha: {monitor: 2m}", "monitor", 120),
    ],
)
def test_times_fit_the_guest(keys: str, operation: str, seconds: int):
    assert timeouts(only(web(keys)))[operation] == seconds


def test_a_faster_network_needs_less_time():
    assert timeouts(only(web("ha: true, memory: 60GiB", "migration: {bandwidth: 1GiB}")))["migrate_to"] == 120


@pytest.mark.parametrize(("hosts", "milliseconds"), [(2, 6600), (3, 8030), (16, 26_620)])
def test_more_hosts_notice_a_loss_later(hosts: int, milliseconds: int):
    assert detection_time(configured(manifest()).corosync, hosts) == milliseconds


# -- what moves, where, and in which order -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "moves"),
    [
        ("ha: true", "true"),
        ("ha: {migrate: false}", "false"),
        ("ha: true, hostdevs: [{pci: '0000:41:00.0'}]", "false"),
        ("ha: true, shares: {code: {path: /srv/code, driver: 9p}}", "false"),
        ("ha: true, shared_memory: {ring: {size: 4MiB, role: peer}}", "false"),
    ],
)
def test_what_is_tied_to_its_host_is_restarted_and_not_moved(keys: str, moves: str):
    assert dict(only(web(keys)).meta)["allow-migrate"] == moves


@pytest.mark.parametrize(
    ("uri", "way"),
    [
        ("qemu+tls://{name}.edge.example/system", ("remoteuri", "qemu+tls://%n.edge.example/system")),
        (
            "qemu+ssh://root@{name}:2222/system?keyfile=/me/id",
            ("remoteuri", "qemu+ssh://root@%n:2222/system"),
        ),
        ("qemu+libssh2://root@{name}/system", ("remoteuri", "qemu+ssh://root@%n/system")),
        ("qemu+tls://10.0.0.{n}/system", ("migration_transport", "tls")),
        ("qemu+ssh://10.0.0.{n}/system", ("migration_transport", "ssh")),
    ],
)
def test_a_host_reaches_another_as_kvmdecl_does(uri: str, way: tuple[str, str]):
    text = manifest(on=f"'kvm-{{1..3}}': {{uri: \"{uri}\"}}")
    assert way in only(text).parameters


def test_states_are_pacemakers():
    assert dict(only(web("ha: true, state: stopped")).meta)["target-role"] == "Stopped"
    assert dict(only(web("ha: true, state: unmanaged")).meta)["is-managed"] == "false"


@pytest.mark.parametrize("wish", ["apart: {soft: true}", "together: {soft: true}"])
def test_a_wish_is_weaker_than_staying_and_never_keeps_a_vm_down(wish: str):
    made = configured(manifest(f"web: {{count: 4, disk: 1GiB, ha: true, {wish}}}"))
    (score,) = [int(c.score) for c in made.colocations if c.id.startswith(("apart", "together"))]
    assert 0 < abs(score) < int(dict(made.defaults)["resource-stickiness"])
    assert (score < 0) == wish.startswith("apart")


def test_a_vm_that_shall_be_absent_is_no_resource():
    assert configured(web("ha: true, state: absent")).resources == ()


def test_a_host_that_is_drained_is_on_standby():
    hosts = f"'kvm-{{1..1}}': {{uri: {URI}, maintenance: true}}, 'kvm-{{2..3}}': {{uri: {URI}}}"
    nodes = configured(manifest(on=hosts)).nodes
    assert [dict(node.attributes).get("standby") for node in nodes] == ["on", None, None]


def test_reserves_and_huge_pages_are_no_room():
    keys = "reserve: {cpus: 4, memory: 4GiB}, huge_pages: {1GiB: 8}, overcommit: 2"
    hosts = f"'kvm-{{1..3}}': {{uri: {URI}, {keys}}}"
    found = configured(manifest("web: {disk: 1GiB, memory: {size: 2GiB, pages: 1GiB}, ha: true}", on=hosts))
    facts: HostFacts = example_host("kvm-1").facts
    assert dict(found.nodes[0].utilization) == {
        "cpu": str((16 - 4) * 2),
        "hv_memory": str((facts.memory - 4 * GIB - 8 * GIB) // 1024**2),
        "pages-1GiB": "8",
    }
    assert dict(found.resources[0].utilization) == {"cpu": "1", "hv_memory": "0", "pages-1GiB": "2"}


def test_the_class_decides_and_then_the_larger_first():
    vms = "a: {disk: 1GiB, ha: true}, b: {disk: 1GiB, memory: 8GiB, ha: true}, c: {disk: 1GiB, ha: {priority: 1}}"
    ranked = {vm.id: int(dict(vm.meta)["priority"]) for vm in configured(manifest(vms)).resources}
    assert sorted(ranked, key=ranked.__getitem__) == ["a", "b", "c"]


# -- names of releases and hosts ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "schema", "features", "option"),
    [
        ("2.0.5", "pacemaker-3.4", "3.4.1", "stonith-enabled"),
        ("2.1.2", "pacemaker-3.7", "3.10.0", "stonith-enabled"),
        ("2.1.9", "pacemaker-3.9", "3.16.1", "stonith-enabled"),
        ("3.0.1", "pacemaker-3.9", "3.16.1", "stonith-enabled"),
        ("3.0.2", "pacemaker-3.9", "3.19.0", "fencing-enabled"),
    ],
)
def test_nothing_is_newer_than_the_oldest_host(version: str, schema: str, features: str, option: str):
    found = configured(manifest(more=f"pacemaker: {version}"))
    assert (found.release.schema, found.release.feature_set) == (schema, features)
    assert option in dict(found.options)


@pytest.mark.parametrize(
    ("names", "ids"),
    [
        (["kvm-1", "kvm-2"], {"kvm-1": 1, "kvm-2": 2}),
        (["kvm-2", "kvm-7"], {"kvm-2": 2, "kvm-7": 7}),
        (["left", "right"], {"left": 25041, "right": 10720}),
        (["left", "kvm-2"], {"left": 25041, "kvm-2": 60292}),
    ],
)
def test_a_hosts_number_does_not_change_with_the_others(names: list[str], ids: dict[str, int]):
    hosts = ", ".join(f'{name}: {{uri: "qemu+tls://{name}.example/system"}}' for name in names)
    ha = f"{FENCING}, links: [{{address: '{{name}}-a'}}, {{address: '{{name}}-b'}}]"
    assert {node.name: node.id for node in configured(manifest(on=hosts, ha=ha)).nodes} == ids


def test_passwords_are_in_no_file():
    found = configured(manifest(ha=f"{FENCING.replace('/etc/bmc', '{env: KVMDECL_SECRET_BMC}')}, {LINKS}"))
    assert 'name="password" value="lrm://"' in cib_text(found)
    assert 'cibsecret set fence-kvm-1 password "$KVMDECL_SECRET_BMC"' in commands(found)


def test_a_guest_with_cpus_of_its_own_is_started_where_it_has_some_and_never_moves():
    two = "memory: 1GiB, disk: {size: 1GiB, pool: vms}, ha: true, cpus: {count: 2, policy: dedicated}"
    host = "{uri: 'qemu+tls://NAME.example/system', dedicated: CPUS}"
    on = ", ".join(
        f"{name}: {host.replace('NAME', name).replace('CPUS', cpus)}"
        for name, cpus in (("kvm-1", "2-7"), ("kvm-2", "2-7"), ("kvm-3", "4-5"))
    )
    found = configured(
        manifest(f"a: {{host: kvm-1, {two}}}, b: {{host: kvm-1, {two}}}", on=on, more="definitions: defs",
                 pools="vms: {path: /srv/vms, shared: true}, defs: {path: /srv/defs}")
    )  # fmt: skip
    assert {dict(each.meta)["allow-migrate"] for each in found.resources} == {"false"}
    bans = {
        (rule.resource, rule.node)
        for rule in found.locations
        if rule.resource in "ab" and rule.score == NEVER
    }
    assert bans == {("b", "kvm-3")}
    a, b = found.guests
    assert ([host for host, _ in a.elsewhere], [host for host, _ in b.elsewhere]) == (
        ["kvm-2", "kvm-3"],
        ["kvm-2"],
    )
    assert dict(a.elsewhere)["kvm-3"] != a.definition


def test_in_a_rehearsal_guests_move_between_hosts_of_the_lab():
    real, facts = placed(manifest())
    lab = {
        host.name: parse_manifest_uri("qemu+unix:///system?socket=/lab/sock") for host in real.cluster.hosts
    }
    stand_in = replace(real, cluster=rehearse(real.cluster, lab))
    [web] = configure(stand_in, facts).resources
    assert dict(web.parameters)["remoteuri"] == "qemu+tcp://%n/system"
    assert "ha.names-differ" not in {each.code for each in check(stand_in, facts)}


# -- what is not known -------------------------------------------------------------------------------------


def silent(name: str) -> Unreachable:
    return Unreachable(name, Diagnostic("host.unreachable", "no route"))


def test_without_a_host_nothing_is_written():
    assert "ha.host-unknown" in {each.code for each in told(manifest(), {"kvm-3": silent("kvm-3")})}


def test_without_the_section_nothing_is_written(tmp_path: Path):
    file = tmp_path / "cluster.yaml"
    file.write_text("apiVersion: kvmdecl/v1\ncluster: edge\n" + "vms: {}\n")
    plugins = load_plugins()
    from kvmdecl.cluster import PlacedCluster

    cluster = load_cluster(file, plugins)
    assert plugins.emit(PlacedCluster(cluster, ()), {}) == ()


# -- the command -------------------------------------------------------------------------------------------


def kvmdecl(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("KVMDECL")}
    program = Path(sys.executable).with_name("kvmdecl")
    return subprocess.run(
        [program, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_the_command_writes_files_from_facts_and_leaves_others_alone(tmp_path: Path):
    (tmp_path / "cluster.yaml").write_text(manifest())
    write_snapshots(tmp_path / "facts", [example_host(f"kvm-{number}") for number in (1, 2, 3)])
    (tmp_path / "ha").mkdir()
    (tmp_path / "ha" / "notes").write_text("mine")

    answer = kvmdecl(tmp_path, "ha", "emit", "--facts", "facts")

    assert (answer.returncode, answer.stdout) == (0, "5 files in ha\n"), answer.stderr
    found = {
        str(path.relative_to(tmp_path / "ha")) for path in (tmp_path / "ha").rglob("*") if path.is_file()
    }
    assert found == {
        "cib.xml",
        "corosync.conf",
        "commands.sh",
        "definitions/web.xml",
        "qemu-lockd.conf",
        "notes",
    }
    before = (tmp_path / "ha" / "cib.xml").stat().st_mtime_ns
    assert kvmdecl(tmp_path, "ha", "emit", "--facts", "facts").returncode == 0
    assert (tmp_path / "ha" / "cib.xml").stat().st_mtime_ns == before


def test_the_command_says_where_the_section_is_missing(tmp_path: Path):
    (tmp_path / "cluster.yaml").write_text(manifest("web: {disk: 1GiB}", ha=""))
    write_snapshots(tmp_path / "facts", [example_host(f"kvm-{number}") for number in (1, 2, 3)])

    answer = kvmdecl(tmp_path, "ha", "emit", "--facts", "facts")

    assert answer.returncode == 1
    assert "ha.no-section" in answer.stderr
