"""Defaults, profiles, counts, ranges and loops: what wins, what is shared, and where a value was written."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from kvmdecl import source
from kvmdecl.expand import expand
from kvmdecl.manifest import Manifest
from kvmdecl.shape import model_shape

if TYPE_CHECKING:
    from tests.load.conftest import Loader

GIB = 1024**3


def expanded(text: str) -> source.Mapping:
    root, found = source.parse(source.Source("t.yaml", text))
    assert found == []
    result = expand(root, model_shape(Manifest))
    assert result.found == ()
    return result.root


def test_the_nearer_one_wins_and_mappings_merge_deeply(manifest: Loader) -> None:
    loaded = manifest.load(
        "defaults: {vms: {cpus: {count: 1, max: 8}, memory: 1GiB, graphics: vnc}}\n"
        "profiles:\n"
        "  base: {cpus: {count: 2}, memory: 2GiB, nics: [lan, san]}\n"
        "  big: {extends: base, memory: {max: 8GiB}}\n"
        "vms:\n"
        "  web: {profile: big, nics: [dmz]}\n"
        "  db: {memory: 3GiB}\n"
    ).manifest
    web, db = loaded.vms["web"], loaded.vms["db"]
    assert (web.cpus.count, web.cpus.max) == (2, 8)
    assert (web.memory.size, web.memory.max) == (2 * GIB, 8 * GIB)
    assert [nic.network for nic in web.nics] == ["dmz"]
    assert web.graphics.type == "vnc"
    assert (db.memory.size, db.cpus.count, db.cpus.max) == (3 * GIB, 1, 8)


def test_a_bare_value_merges_as_the_key_that_it_stands_for(manifest: Loader) -> None:
    vms = manifest.load(
        "profiles: {p: {memory: {size: 2GiB, max: 8GiB}}, q: {memory: 2GiB}}\n"
        "vms: {a: {profile: p, memory: 4GiB}, b: {profile: q, memory: {max: 4GiB}}}\n"
    ).manifest.vms
    assert (vms["a"].memory.size, vms["a"].memory.max) == (4 * GIB, 8 * GIB)
    assert (vms["b"].memory.size, vms["b"].memory.max) == (2 * GIB, 4 * GIB)


def test_a_bare_value_merges_inside_of_named_disks_too(manifest: Loader) -> None:
    vms = manifest.load(
        "profiles: {p: {disks: {data: {size: 1GiB, cache: none}}}}\n"
        "vms: {a: {profile: p, disks: {data: 2GiB, log: 3GiB}}}\n"
    ).manifest.vms
    assert (vms["a"].disks["data"].size, vms["a"].disks["data"].cache) == (2 * GIB, "none")
    assert [*vms["a"].disks] == ["data", "log"]


def test_of_several_extended_profiles_the_later_wins(manifest: Loader) -> None:
    vms = manifest.load(
        "profiles: {a: {cpus: 1, machine: a}, b: {cpus: 2}, c: {extends: [a, b]}}\nvms: {x: {profile: c}}\n"
    ).manifest.vms
    assert (vms["x"].cpus.count, vms["x"].machine) == (2, "a")


def test_null_takes_away_what_a_profile_says(manifest: Loader) -> None:
    vms = manifest.load("profiles: {p: {disk: 1GiB}}\nvms: {a: {profile: p, disk: ~}}\n").manifest.vms
    assert vms["a"].disk is None


def test_defaults_reach_entries_in_their_short_form(manifest: Loader) -> None:
    hosts = manifest.load(
        "defaults: {hosts: {reserve: {cpus: 2}}}\nhosts: {a: 'qemu:///system'}\n"
    ).manifest.hosts
    assert hosts["a"].reserve.cpus == 2


@pytest.mark.parametrize(
    ("entry", "names"),
    [
        ("web: {count: 3}", ["web-1", "web-2", "web-3"]),
        ("'web{n}': {count: 2}", ["web1", "web2"]),
        ("'web-{1..3}': {}", ["web-1", "web-2", "web-3"]),
        ("'web-{08..11}': {}", ["web-08", "web-09", "web-10", "web-11"]),
        ("'r{1..2}-{1..2}': {}", ["r1-1", "r1-2", "r2-1", "r2-2"]),
        ("'{z}-{n}': {for: {z: [a, b], n: 1..2}}", ["a-1", "a-2", "b-1", "b-2"]),
        ("'{z}-{01..02}': {for: {z: [a, b]}}", ["a-01", "a-02", "b-01", "b-02"]),
        ("'{1..1}x': {}", ["1x"]),
    ],
)
def test_an_entry_is_written_out_in_order(manifest: Loader, entry: str, names: list[str]) -> None:
    assert [*manifest.load(f"vms:\n  {entry}\n").manifest.vms] == names


def test_ranges_and_loops_work_in_every_section_of_named_things(manifest: Loader) -> None:
    loaded = manifest.load(
        "hosts: {'kvm-{1..2}': 'qemu+tls://{name}.example/system'}\n"
        "networks: {'vlan-{v}': {for: {v: 10..11}, bridge: 'br{v}'}}\n"
        "storage: {'pool-{1..2}': '/srv/{n}'}\n"
        "images: {'os-{v}': {for: {v: [a, b]}, source: './{v}.qcow2'}}\n"
    ).manifest
    assert [str(host.uri) for host in loaded.hosts.values()] == [
        "qemu+tls://kvm-1.example/system", "qemu+tls://kvm-2.example/system",
    ]  # fmt: skip
    assert {name: network.bridge.name for name, network in loaded.networks.items() if network.bridge} == {
        "vlan-10": "br10",
        "vlan-11": "br11",
    }
    assert [pool.path for pool in loaded.storage.values()] == ["/srv/1", "/srv/2"]
    assert [image.source for image in loaded.images.values()] == ["./a.qcow2", "./b.qcow2"]


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("{name} {n} {zone}", "a-1 1 a"),
        ("${name} {{name}} {x} {} {Name} {n", "${name} {{name}} {x} {} {Name} {n"),
        ("{name}{n}", "a-11"),
        ("{{7*7}} {% raw %}", "{{7*7}} {% raw %}"),
    ],
)
def test_variables_are_filled_in_and_everything_else_is_left_alone(
    manifest: Loader, text: str, filled: str
) -> None:
    vms = manifest.load(
        f"vms: {{'{{zone}}-{{1..1}}': {{for: {{zone: [a]}}, description: '{text}'}}}}\n"
    ).manifest.vms
    assert vms["a-1"].description == filled


def test_variables_are_filled_in_nested_keys_and_in_what_profiles_say(manifest: Loader) -> None:
    vms = manifest.load(
        "profiles: {p: {description: 'I am {name}'}}\n"
        "vms: {web: {count: 2, profile: p, disks: {'data-{n}': 1GiB}}, plain: {profile: p}}\n"
    ).manifest.vms
    assert [*vms["web-2"].disks] == ["data-2"]
    assert vms["web-2"].description == "I am web-2"
    assert vms["plain"].description == "I am {name}"


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("vms: {web: {count: 0}}", ["expand.bad-count"]),
        ("vms: {web: {count: -1}}", ["expand.bad-count"]),
        ("vms: {web: {count: 1.5}}", ["expand.bad-count"]),
        ("vms: {web: {count: [1]}}", ["expand.bad-count"]),
        ("vms: {web: {count: }}", ["expand.bad-count"]),
        ("vms: {web: {count: \uff13}}", ["expand.bad-count"]),
        ("vms: {'w{1..2}': {count: 2}}", ["expand.bad-count"]),
        ("vms: {'w{2..1}': {}}", ["expand.bad-range"]),
        ("vms: {'w{z}': {for: {z: 3..1}}}", ["expand.bad-range"]),
        ("vms: {'w{z}': {for: {z: []}}}", ["expand.bad-for"]),
        ("vms: {'w{z}': {for: {z: [~]}}}", ["expand.bad-for"]),
        ("vms: {'w{z}': {for: {z: [[a]]}}}", ["expand.bad-for"]),
        ("vms: {'w{z}': {for: {z: a}}}", ["expand.bad-for"]),
        ("vms: {w: {for: [a]}}", ["expand.bad-for"]),
        ("vms: {w: {for: {}}}", ["expand.bad-for"]),
        ("vms: {'w{name}': {for: {name: [a]}}}", ["expand.bad-for"]),
        ("vms: {'w{n}{1..2}': {for: {n: [a]}}}", ["expand.bad-for"]),
        ("vms: {'w{A}': {for: {A: [a]}}}", ["expand.bad-for"]),
        ("vms: {w: {for: {z: [a, b]}}}", ["expand.unused-variable"]),
        ("vms: {'w{z}': {for: {z: [a, a]}}}", ["expand.collision"]),
        ("vms: {'w{1..2}': {}, w2: {}}", ["expand.collision"]),
        ("vms: {'w{1..12}{1..12}': {}}", ["expand.collision"] * 2),
        ("vms: {'w{1..1}': {disks: {'d{n}': 1GiB, d1: 1GiB}}}", ["expand.collision"]),
        ("vms: {w: {count: 200000}}", ["expand.too-large"]),
        ("vms: {'w{1..400}-{1..400}': {}}", ["expand.too-large"]),
        ("vms: {'w{0..999999999}': {}}", ["expand.too-large"]),
        ("vms: {'" + "{1..9}" * 150 + "': {}}", ["expand.too-large"]),
        ("profiles: {p: {extends: p}}\nvms: {w: {profile: p}}", ["expand.profile-cycle"]),
        ("profiles: {p: {extends: [q]}}", ["expand.unknown-profile"]),
        ("profiles: {p: {count: 2}}", ["expand.misplaced-key"]),
        ("profiles: {p: {profile: q}}", ["expand.misplaced-key"]),
        ("defaults: {vms: {for: {a: [b]}}}", ["expand.misplaced-key"]),
        ("profiles: {p: ~}", ["manifest.wrong-type"]),
        ("profiles: [p]", ["manifest.wrong-type"]),
        ("defaults: ~", ["manifest.wrong-type"]),
        ("defaults: {vms: 3}", ["manifest.wrong-type"]),
        ("vms: {w: {profile: [a, b]}}", ["manifest.wrong-type"]),
        ("profiles: {p: {extends: [{a: b}]}}", ["manifest.wrong-type"]),
        ("hosts: {h: {uri: 'qemu:///system', count: 2}}", ["manifest.unknown-key"]),
    ],
)  # fmt: skip
def test_what_cannot_be_expanded_is_refused(manifest: Loader, text: str, codes: list[str]) -> None:
    start = time.process_time()
    assert manifest.codes(text + "\n") == codes
    assert time.process_time() - start < 8


def test_text_that_grows_without_bound_is_refused(manifest: Loader) -> None:
    text = f"vms: {{w: {{count: 20000, cloud_init: {{user_data: '{{name}}{'x' * 100_000}'}}}}}}\n"
    assert manifest.codes(text) == ["expand.too-large"]


def test_a_chain_of_thousands_of_profiles_needs_no_stack(manifest: Loader) -> None:
    chain = "".join(f"  p{i}: {{extends: p{i - 1}}}\n" for i in range(1, 3000))
    loaded = manifest.load(f"profiles:\n  p0: {{cpus: 7}}\n{chain}vms: {{w: {{profile: p2999}}}}\n")
    assert loaded.manifest.vms["w"].cpus.count == 7


def test_profiles_that_multiply_are_bounded(manifest: Loader) -> None:
    wide = ", ".join(f"d{i}: 1GiB" for i in range(2000))
    chain = "".join(f"  p{i}: {{extends: p{i - 1}, disks: {{x{i}: 1GiB}}}}\n" for i in range(1, 6000))
    start = time.process_time()
    assert manifest.codes(f"profiles:\n  p0: {{disks: {{{wide}}}}}\n{chain}") == ["expand.too-large"]
    assert time.process_time() - start < 8


def test_copies_share_what_does_not_differ() -> None:
    root = expanded("vms: {web: {count: 3, description: '{name}', disks: {data: {size: 1GiB}}}}\n")
    vms = root.get("vms")
    assert isinstance(vms, source.Mapping)
    first, second = vms.get("web-1"), vms.get("web-2")
    assert isinstance(first, source.Mapping)
    assert isinstance(second, source.Mapping)
    assert first is not second
    assert first.get("disks") is second.get("disks")
    plain = expanded("vms: {web: {count: 3, cpus: 1}}\n").get("vms")
    assert isinstance(plain, source.Mapping)
    assert plain.get("web-1") is plain.get("web-3")


def test_every_value_points_at_where_it_was_written(manifest: Loader) -> None:
    loaded = manifest.load(
        "defaults:\n"  # line 3
        "  vms: {machine: pc}\n"
        "profiles:\n"
        "  p: {memory: 2GiB}\n"
        "vms:\n"
        "  web:\n"  # line 8
        "    count: 2\n"
        "    profile: p\n"
        "    description: I am {name}\n"
        "    disks:\n"
        "      data: {size: 1GiB}\n"
    )

    def place(*path: str | int) -> tuple[int, int]:
        span = loaded.span(*path)
        return span.line, span.column

    assert place("vms", "web-2", "machine") == (4, 18)
    assert place("vms", "web-1", "memory") == (6, 15)
    assert place("vms", "web-1", "memory", "size") == (6, 15)
    assert place("vms", "web-2", "description") == (11, 18)
    assert place("vms", "web-2", "disks", "data", "size") == (13, 20)
    assert place("vms", "web-2", "disks") == (13, 7)
    assert place("vms", "web-2") == (8, 3)
    assert place("vms", "web-2", "cpus", "count") == (8, 3)
    assert place("hosts", "nowhere") == (1, 1)


def test_the_digest_is_of_what_is_said_and_not_of_how(manifest: Loader) -> None:
    short = manifest.load("# comment\nvms: {b: {cpus: 2}, a: {}}\n").digest
    long = manifest.load("profiles: {p: {cpus: '2'}}\nvms:\n  a: {}\n  b:\n    profile: p\n").digest
    other = manifest.load("vms: {b: {cpus: 3}, a: {}}\n").digest
    assert short == long != other
    assert len(short) == 64
