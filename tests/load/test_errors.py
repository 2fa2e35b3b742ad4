"""What a user sees of a bad manifest: whole outputs, since words, caret and hint are the product."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from kvmdecl.diagnostics import Diagnostic, Note, Rejected, Severity, Span
from kvmdecl.load import load
from kvmdecl.views.diagnostics_text import render, render_json
from tests.load.conftest import BACKUP

if TYPE_CHECKING:
    from pathlib import Path

    from tests.load.conftest import Loader

STORIES = {
    "a misspelt key": (
        "vms:\n  web:\n    memry: 1GiB\n",
        """\
cluster.yaml:5:5: error[manifest.unknown-key]: unknown key `memry`
  5 |     memry: 1GiB
    |     ^^^^^
  hint: did you mean `memory`?

1 error
""",
    ),
    "an address in another form": (
        'vms:\n  web: {hostdevs: [{pci: "41:00.0"}]}\n',
        """\
cluster.yaml:4:26: error[manifest.bad-value]: `41:00.0` is not a PCI address
  4 |   web: {hostdevs: [{pci: "41:00.0"}]}
    |                          ^^^^^^^^^
  hint: write for example `0000:41:00.0`

1 error
""",
    ),
    "one word where there are keys": (
        'vms:\n  web: {hostdevs: [{usb: "046d:c52b"}]}\n',
        """\
cluster.yaml:4:26: error[manifest.wrong-type]: a mapping is expected here, not `046d:c52b`
  4 |   web: {hostdevs: [{usb: "046d:c52b"}]}
    |                          ^^^^^^^^^^^
  hint: write `{key: value}`; keys here are bus, device, if_missing, product, vendor

1 error
""",
    ),
    "an inexact unit": (
        "vms:\n  web: {memory: 40G}\n",
        """\
cluster.yaml:4:17: error[unit.ambiguous]: `40G` has no exact meaning
  4 |   web: {memory: 40G}
    |                 ^^^
  Tools disagree whether such a unit counts in powers of 1000 or of 1024.
  hint: write `40GiB`

1 error
""",
    ),
    "a key given twice": (
        "vms:\n  web: {}\n  web: {cpus: 2}\n",
        """\
cluster.yaml:5:3: error[yaml.duplicate-key]: the key `web` stands twice
  5 |   web: {cpus: 2}
    |   ^^^
  Which of the two was meant cannot be known.
  note: cluster.yaml:4:3: first defined here
  hint: remove one of them, or join their contents

1 error
""",
    ),
    "a word that is nearly right": (
        "vms:\n  web: {state: runing}\n",
        """\
cluster.yaml:4:16: error[manifest.bad-value]: `runing` is not allowed here
  4 |   web: {state: runing}
    |                ^^^^^^
  It is one of `running`, `stopped`, `unmanaged`, `absent`.
  hint: did you mean `running`?

1 error
""",
    ),
    "a word of other programs, which is no more than near to the opposite": (
        "vms:\n  web: {state: present}\n",
        """\
cluster.yaml:4:16: error[manifest.bad-value]: `present` is not allowed here
  4 |   web: {state: present}
    |                ^^^^^^^
  It is one of `running`, `stopped`, `unmanaged`, `absent`.
  hint: write `running`

1 error
""",
    ),
    "a missing key": (
        "images:\n  cd: {format: raw}\n",
        """\
cluster.yaml:4:3: error[manifest.missing-key]: `source` is missing in `cd`
  4 |   cd: {format: raw}
    |   ^^
  hint: add `source: ...`

1 error
""",
    ),
    "a tab": (
        "vms:\n\tweb: {}\n",
        """\
cluster.yaml:4:1: error[yaml.syntax]: a tab is used for indentation
  4 |     web: {}
    | ^^^^
  The YAML reader says: found character that cannot start any token.
  hint: indent with spaces

1 error
""",
    ),
    "a key without its colon": (
        "vms:\n  web:\n    host kvm-1\n    cpus: 2\n",
        """\
cluster.yaml:5:5: error[yaml.syntax]: a key without `: `
  5 |     host kvm-1
    |     ^^^^^^^^^^
  The YAML reader says: mapping values are not allowed in this context.
  hint: write `host: kvm-1`

1 error
""",
    ),
    "a key without its colon, further down": (
        "vms:\n  web:\n    cpus: 2\n    host kvm-1   # the first\n  db: {}\n",
        """\
cluster.yaml:6:5: error[yaml.syntax]: a key without `: `
  6 |     host kvm-1   # the first
    |     ^^^^^^^^^^
  The YAML reader says: could not find expected ':'.
  hint: write `host: kvm-1`

1 error
""",
    ),
    "a colon without a space": (
        "vms:\n  web:\n    host:kvm-1\n\n    cpus: 2\n",
        """\
cluster.yaml:5:5: error[yaml.syntax]: a key without `: `
  5 |     host:kvm-1
    |     ^^^^^^^^^^
  The YAML reader says: mapping values are not allowed in this context.
  hint: write a space after the `:`, as in `host: kvm-1`

1 error
""",
    ),
    "a name above its entry": (
        "vms:\n  web\n    cpus: 2\n",
        """\
cluster.yaml:4:3: error[yaml.syntax]: a key without `: `
  4 |   web
    |   ^^^
  The YAML reader says: mapping values are not allowed in this context.
  hint: write `web:`

1 error
""",
    ),
    "a key that is indented too far": (
        "vms:\n  web:\n    host: kvm-1\n     cpus: 2\n",
        """\
cluster.yaml:6:10: error[yaml.syntax]: a `:` cannot stand here
  6 |      cpus: 2
    |          ^
  The YAML reader says: mapping values are not allowed in this context.
  hint: indent the key like its neighbours, or put text that contains `: ` in quotes

1 error
""",
    ),
    "a second line of a text, with a colon": (
        "vms:\n  web:\n    description: two\n      lines\n      and: a colon\n",
        """\
cluster.yaml:7:10: error[yaml.syntax]: a `:` cannot stand here
  7 |       and: a colon
    |          ^
  The YAML reader says: mapping values are not allowed in this context.
  hint: indent the key like its neighbours, or put text that contains `: ` in quotes

1 error
""",
    ),
    "a range in braces without quotes": (
        "vms: {web-{1..2}: {cpus: 2}}\n",
        """\
cluster.yaml:3:11: error[yaml.syntax]: a `{` cannot stand in the middle of this text
  3 | vms: {web-{1..2}: {cpus: 2}}
    |           ^
  The YAML reader says: did not find expected ',' or '}'.
  note: cluster.yaml:3:6: while parsing a flow mapping, which begins here
  hint: put the whole text in quotes

1 error
""",
    ),
    "a quote that is never closed": (
        'vms:\n  web: {description: "hello}\n',
        """\
cluster.yaml:4:22: error[yaml.syntax]: the quote is never closed
  4 |   web: {description: "hello}
    |                      ^
  The YAML reader says: found unexpected end of stream.
  hint: close it where the text ends

1 error
""",
    ),
    "profiles in a circle": (
        "profiles:\n  a: {extends: b}\n  b: {extends: c}\n  c: {extends: a}\nvms: {}\n",
        """\
cluster.yaml:4:3: error[expand.profile-cycle]: \
profiles extend each other in a circle: `a` -> `b` -> `c` -> `a`
  4 |   a: {extends: b}
    |   ^
  note: cluster.yaml:5:3: `b` is here
  note: cluster.yaml:6:3: `c` is here
  hint: remove one `extends`

1 error
""",
    ),
    "an unknown profile": (
        "profiles: {small: {}}\nvms:\n  web: {profile: smal}\n",
        """\
cluster.yaml:5:18: error[expand.unknown-profile]: there is no profile `smal`
  5 |   web: {profile: smal}
    |                  ^^^^
  hint: did you mean `small`?

1 error
""",
    ),
    "two entries of one name": (
        "vms:\n  web-{1..3}: {}\n  web-2: {}\n",
        """\
cluster.yaml:5:3: error[expand.collision]: two entries are named `web-2`
  5 |   web-2: {}
    |   ^^^^^
  note: cluster.yaml:4:3: the other one is here
  hint: change one of the names or ranges

1 error
""",
    ),
    "a check of a whole section, at the key that it means": (
        "networks:\n  lan:\n    mode: nat\n    subnet: 10.1.0.0/24\n    dhcp: {start: 10.1.0.9, end: 10.2.0.9}\n",
        """\
cluster.yaml:7:34: error[manifest.bad-network]: 10.2.0.9 is outside of the subnet 10.1.0.0/24
  7 |     dhcp: {start: 10.1.0.9, end: 10.2.0.9}
    |                                  ^^^^^^^^
  hint: choose addresses of the subnet

1 error
""",
    ),
    "a subnet without its length": (
        "networks: {lan: {mode: nat, subnet: 10.1.0.0}}\n",
        """\
cluster.yaml:3:37: error[manifest.bad-value]: `10.1.0.0` does not say how large the network is
  3 | networks: {lan: {mode: nat, subnet: 10.1.0.0}}
    |                                     ^^^^^^^^
  hint: add its prefix length, for example `10.1.0.0/24`

1 error
""",
    ),
    "a maximum below what there is": (
        "vms: {web: {memory: {size: 2GiB, max: 1GiB}}}\n",
        """\
cluster.yaml:3:39: error[manifest.bad-memory]: max is below size
  3 | vms: {web: {memory: {size: 2GiB, max: 1GiB}}}
    |                                       ^^^^
  hint: raise `max` or lower `size`

1 error
""",
    ),
    "a digest that is none": (
        "images: {tiny: {source: tiny.img, sha256: ABC}}\n",
        """\
cluster.yaml:3:43: error[manifest.bad-value]: `ABC` is not a SHA-256 digest
  3 | images: {tiny: {source: tiny.img, sha256: ABC}}
    |                                           ^^^
  hint: write the 64 digits, 0-9 and a-f, that `sha256sum FILE` prints

1 error
""",
    ),
    "a key without a space after it": (
        "vms: {web: {image:tiny}}\n",
        """\
cluster.yaml:3:18: error[yaml.syntax]: a `:` inside braces or brackets is neither followed by a space nor in quotes
  3 | vms: {web: {image:tiny}}
    |                  ^
  The YAML reader says: found unexpected ':'.
  note: cluster.yaml:3:13: while scanning a plain scalar, which begins here
  hint: after a key write `: ` with the space; put a value that holds a `:` in quotes

1 error
""",
    ),
    "a list without brackets": (
        "vms: {web: {nics: lan}}\n",
        """\
cluster.yaml:3:19: error[manifest.wrong-type]: a list is expected here, not `lan`
  3 | vms: {web: {nics: lan}}
    |                   ^^^
  hint: write `[lan]`

1 error
""",
    ),
    "a full allocation that libvirt does for raw volumes only": (
        "vms: {web: {disk: {size: 1GiB, preallocation: full}}}\n",
        """\
cluster.yaml:3:47: error[manifest.bad-disk]: a qcow2 disk cannot be filled with zeros
  3 | vms: {web: {disk: {size: 1GiB, preallocation: full}}}
    |                                               ^^^^
  hint: use `falloc`, or `format: raw`

1 error
""",
    ),
    "two hosts of one vm": (
        "vms: {web: {host: [kvm-1, kvm-2]}}\n",
        """\
cluster.yaml:3:19: error[manifest.wrong-type]: a single name is expected here, not a list
  3 | vms: {web: {host: [kvm-1, kvm-2]}}
    |                   ^^^^^^^^^^^^^^
  hint: write one name, without brackets

1 error
""",
    ),
    "one word where there are lists of keys": (
        'vms: {web: {hostdevs: "0000:41:00.0"}}\n',
        """\
cluster.yaml:3:23: error[manifest.wrong-type]: a list is expected here, not `0000:41:00.0`
  3 | vms: {web: {hostdevs: "0000:41:00.0"}}
    |                       ^^^^^^^^^^^^^^
  hint: write `[{key: value}]`; keys of each are mdev, pci, scsi, scsi_host, usb

1 error
""",
    ),
    "a loop whose variable has another name in the entry": (
        "vms:\n  db-{sites}:\n    for: {site: [a, b]}\n",
        """\
cluster.yaml:5:11: error[expand.unused-variable]: the key does not use `site`
  5 |     for: {site: [a, b]}
    |           ^^^^
  All of its values would give the same name.
  hint: write `db-{site}`

1 error
""",
    ),
    "a root disk of no size": (
        "vms: {web: {disk: {pool: vms}}}\n",
        """\
cluster.yaml:3:19: error[manifest.bad-disk]: a disk needs a size, an image or a source
  3 | vms: {web: {disk: {pool: vms}}}
    |                   ^^^^^^^^^^^
  hint: add `size: 20GiB`, `image: NAME`, or `source: PATH` for one that exists

1 error
""",
    ),
    "a further disk of no size, whatever the vm's image": (
        "vms: {web: {image: tiny, disks: {data: {pool: vms}}}}\n",
        """\
cluster.yaml:3:40: error[manifest.bad-disk]: a disk needs a size, an image or a source
  3 | vms: {web: {image: tiny, disks: {data: {pool: vms}}}}
    |                                        ^^^^^^^^^^^
  hint: add `size: 20GiB`, `image: NAME`, or `source: PATH` for one that exists

1 error
""",
    ),
    "a disk with a word of the boot order as its name": (
        "vms: {web: {disks: {network: 1GiB}}}\n",
        """\
cluster.yaml:3:30: error[manifest.bad-disks]: `network` means the NICs in the boot order
  3 | vms: {web: {disks: {network: 1GiB}}}
    |                              ^^^^
  hint: choose another name

1 error
""",
    ),
    "an unknown section": (
        "vm: {}\n",
        """\
cluster.yaml:3:1: error[manifest.unknown-key]: unknown key `vm`
  3 | vm: {}
    | ^^
  hint: did you mean `vms`?

1 error
""",
    ),
}


@pytest.mark.parametrize(("text", "shown"), STORIES.values(), ids=STORIES.keys())
def test_a_user_sees_place_line_cause_and_hint_of(manifest: Loader, text: str, shown: str) -> None:
    assert manifest.show(text) == shown


def test_all_independent_errors_are_told_in_one_run_in_order_of_place(manifest: Loader) -> None:
    text = (
        "hosts: {Bad_Name: 'qemu:///system'}\n"
        "defaults: {vmz: {}}\n"
        "profiles: {p: {cpus: many}}\n"
        "vms:\n"
        "  a: {memory: 1G}\n"
        "  a: {}\n"
        "  b: {count: 0}\n"
        "  c: {profile: q}\n"
        "  d: {nics: lan}\n"
        "  e: {state: on}\n"
        "  f: {<<: {}}\n"
    )
    found = manifest.reject(text)
    assert [(d.at.line if d.at else 0, d.code) for d in found] == [
        (3, "manifest.bad-name"),
        (4, "manifest.unknown-key"),
        (5, "manifest.wrong-type"),
        (7, "unit.ambiguous"),
        (8, "yaml.duplicate-key"),
        (9, "expand.bad-count"),
        (10, "expand.unknown-profile"),
        (11, "manifest.wrong-type"),
        (12, "manifest.bad-value"),
        (13, "yaml.merge-key"),
    ]


def test_a_faulty_profile_line_is_one_finding_however_many_vms_use_it(manifest: Loader) -> None:
    assert manifest.codes("profiles: {p: {memory: 1G}}\nvms: {web: {profile: p, count: 500}}\n") == [
        "unit.ambiguous"
    ]


def test_a_faulty_line_that_names_each_copy_is_one_finding(manifest: Loader) -> None:
    text = "vms: {web: {count: 50, host: '{name}_x'}}\n"
    assert manifest.codes(text) == ["manifest.bad-name"]


def test_a_misspelt_required_key_is_not_called_missing_too(manifest: Loader) -> None:
    assert manifest.codes("storage: {vms: {paht: /srv}}\n") == ["manifest.unknown-key"]


def test_a_profile_value_is_checked_even_where_every_vm_overrides_it(manifest: Loader) -> None:
    assert manifest.codes("profiles: {p: {cpus: x}}\nvms: {a: {profile: p, cpus: 2}}\n") == [
        "manifest.wrong-type"
    ]
    assert manifest.codes("defaults: {vms: {cpus: x}}\nvms: {a: {cpus: 2}}\n") == ["manifest.wrong-type"]


def test_a_profile_may_be_incomplete_and_hold_variables(manifest: Loader) -> None:
    manifest.load("profiles: {p: {host: 'kvm-{n}', boot: [data]}}\nvms: {}\n")


def test_a_missing_top_level_key_points_at_the_first_key(manifest: Loader) -> None:
    found = manifest.reject("vms: {}\n", head="")
    assert [(d.code, str(d.at).rsplit("/", 1)[1]) for d in found] == [
        ("manifest.missing-key", "cluster.yaml:1:1"),
        ("manifest.missing-key", "cluster.yaml:1:1"),
    ]


def test_a_missing_key_of_one_possible_value_is_given_with_it(manifest: Loader) -> None:
    (found,) = manifest.reject("cluster: demo\n", head="")
    assert found.hint == "add `apiVersion: kvmdecl/v1`"


def test_a_key_has_one_spelling(manifest: Loader) -> None:
    (found,) = manifest.reject("api_version: kvmdecl/v1\ncluster: demo\n", head="")
    assert (found.code, found.hint) == ("manifest.unknown-key", "did you mean `apiVersion`?")


def test_errors_in_a_plugins_section_have_places_and_hints(manifest: Loader) -> None:
    path = manifest.write("backup: {kep: 4, keep: 0}\n")
    with pytest.raises(Rejected) as rejected:
        load(path, {"backup": BACKUP})
    unknown, small = rejected.value.diagnostics
    assert (unknown.code, unknown.at and unknown.at.column, unknown.hint) == (
        "manifest.unknown-key",
        10,
        "did you mean `keep`?",
    )
    assert (small.code, small.at and small.at.column, small.hint) == (
        "manifest.bad-value",
        24,
        "write at least 1",
    )
    loaded = load(manifest.write("backup: {keep: 4}\n"), {"backup": BACKUP})
    assert loaded.sections == {"backup": BACKUP(keep=4)}


def test_only_fifty_findings_are_shown_and_all_are_counted(manifest: Loader) -> None:
    shown = manifest.show("vms:\n" + "".join(f"  vm-{i}: {{memory: {i}}}\n" for i in range(70)))
    assert shown.count("error[") == 50
    assert shown.endswith("70 errors (the first 50 are shown)\n")


def test_errors_and_warnings_are_counted_apart() -> None:
    found = [Diagnostic("a.b", "x"), Diagnostic("a.c", "y", severity=Severity.WARNING)]
    assert render(found, color=False, read_line=lambda *_: None).endswith("1 error, 1 warning\n")


@pytest.mark.parametrize(
    ("line", "column", "end", "caret_at"),
    [
        ("key: wrong", 6, 11, 5),
        ("\tkey: wrong", 7, 12, 9),
        ("日本: wrong", 5, 10, 6),
        ("e\u0301a: wrong", 6, 11, 4),
        ("🙂🙂: wrong", 5, 10, 6),
    ],
)
def test_the_caret_stands_under_the_place_after_tabs_and_wide_characters(
    line: str, column: int, end: int, caret_at: int
) -> None:
    shown = render(
        [Diagnostic("a.b", "x", Span("f", 1, column, 1, end))], color=False, read_line=lambda *_: line
    )
    assert f"\n    | {' ' * caret_at}^^^^^\n" in shown


def test_a_very_long_line_is_cut_around_the_place() -> None:
    line = "a" * 5000 + "WRONG" + "b" * 5000
    shown = render(
        [Diagnostic("a.b", "x", Span("f", 1, 5001, 1, 5006))], color=False, read_line=lambda *_: line
    )
    _, text, caret, *_ = shown.splitlines()
    assert text[caret.index("^") : caret.rindex("^") + 1] == "WRONG"
    assert len(text) < 200


HOSTILE = "\x1b[31mred\x1b[0m \u202eevil\u2066 \r\n\x07 \ud800 \x9b2J"


@pytest.mark.parametrize("color", [False, True])
def test_nothing_from_a_manifest_can_act_on_the_terminal(color: bool) -> None:
    at = Span(HOSTILE, 1, 1, 1, 3)
    found = [Diagnostic(HOSTILE, HOSTILE, at, HOSTILE, HOSTILE, (Note(HOSTILE, at),), subject=HOSTILE)]
    shown = render(found, color=color, read_line=lambda *_: HOSTILE)
    ours = shown.replace("\x1b[1;31m", "").replace("\x1b[1;36m", "").replace("\x1b[0m", "")
    assert "\x1b" not in ours
    assert all(char.isprintable() or char == "\n" for char in ours)
    assert (shown != ours) is color


def test_colour_adds_nothing_but_colour(manifest: Loader) -> None:
    import re

    found = manifest.reject("vms: {web: {memry: 1}}\n")
    plain, colored = (render(found, color=color, read_line=lambda *_: None) for color in (False, True))
    assert re.sub(r"\x1b\[[0-9;]*m", "", colored) == plain
    assert colored != plain


def test_the_json_form_holds_the_same_findings_and_a_version(manifest: Loader) -> None:
    found = manifest.reject("vms:\n  web: {}\n  web: {}\n")
    report = json.loads(render_json(found))
    assert report["formatVersion"] == "1.0"
    assert (report["valid"], report["errors"], report["warnings"]) == (False, 1, 0)
    (one,) = report["diagnostics"]
    assert (one["code"], one["at"]["line"], one["at"]["column"]) == ("yaml.duplicate-key", 5, 3)
    assert one["notes"][0]["at"]["line"] == 4
    assert json.loads(render_json(())) == {
        "formatVersion": "1.0", "valid": True, "errors": 0, "warnings": 0, "infos": 0, "diagnostics": [],
    }  # fmt: skip


def test_thousands_of_errors_are_still_quick(tmp_path: Path, manifest: Loader) -> None:
    text = "vms:\n" + "".join(f"  vm-{i}: {{memory: 4G, bogus: 1}}\n" for i in range(2000))
    start = time.process_time()
    assert len(manifest.reject(text)) == 4000
    assert time.process_time() - start < 10


@pytest.mark.parametrize(
    ("version", "summary", "hint"),
    [
        ("kvmdecl/v2", "is a newer version of this format", "install a newer kvmdecl"),
        ("kvmdecl/v10", "is a newer version of this format", "install a newer kvmdecl"),
        ("kvmdecl/v0", "is no version of this format", "write `kvmdecl/v1`"),
        ("v1", "is no version of this format", "write `kvmdecl/v1`"),
    ],
)  # fmt: skip
def test_a_newer_version_asks_for_a_newer_program(tmp_path: Path, version: str, summary: str, hint: str):
    path = tmp_path / "cluster.yaml"
    path.write_text(f"cluster: x\napiVersion: {version}\n")

    with pytest.raises(Rejected) as rejected:
        load(path)

    (found,) = rejected.value.diagnostics
    assert (found.code, found.summary) == ("manifest.version", f"`{version}` {summary}")
    assert found.hint.partition(";")[0] == hint
    assert found.at is not None
    assert (found.at.line, found.at.column) == (2, 13)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("memory: 1GiB\n", "it is a key of `vms.NAME`"),
        ("vms: {web: {sockets: 2}}\n", "it is a key of `cpus.topology`"),
        ("vms: {web: {size: 2GiB}}\n", "it is a key of `memory`, `disk`, `disks.NAME`"),
        ("vms: {web: {ram: 2GiB}}\n", "write `memory`"),
        ("vms: {web: {vcpus: 2}}\n", "did you mean `cpus`?"),
        ("vms: {web: {disk: {sise: 2GiB}}}\n", "did you mean `size`?"),
    ],
)
def test_a_key_in_the_wrong_place_is_told_where_it_belongs(manifest: Loader, text: str, hint: str):
    (found,) = manifest.reject(text)
    assert (found.code, found.hint) == ("manifest.unknown-key", hint)


_TEMPLATES = "templates are not rendered; `profiles`, `count` and `for` say what repeats"
_QUOTED = "put the whole text in quotes"


@pytest.mark.parametrize(
    ("line", "code", "column", "hint"),
    [
        (
            "web: !include web.yaml",
            "yaml.tag",
            8,
            "all of its *.yaml are one, and nothing has to be included",
        ),
        ("web: {memory: !gib 4}", "yaml.tag", 17, "the field decides how its value is read"),
        ("web: {cpus: {{ .n }}}", "yaml.bad-key", 16, _TEMPLATES),
        ("web: {nics: [{{ lan }}]}", "yaml.bad-key", 17, _TEMPLATES),
        ("web: {{ .memory }}-x", "yaml.bad-key", 9, _TEMPLATES),
        ("{{ if .web }}: {}", "yaml.bad-key", 4, _TEMPLATES),
        ("{{- range .vms }}", "yaml.syntax", 5, _TEMPLATES),
        ("web: {% if web %}", "yaml.syntax", 9, _TEMPLATES),
        ("{db}-site: {cpus: 1}", "yaml.bad-key", 3, '`"{db}-site":` with quotes'),
        ("web: {db}GiB", "yaml.syntax", 12, _QUOTED),
    ],
)
def test_what_yaml_takes_otherwise_is_one_mistake(
    manifest: Loader, line: str, code: str, column: int, hint: str
) -> None:
    (found,) = manifest.reject(f"vms:\n  {line}\n")
    assert (found.code, found.at and (found.at.line, found.at.column)) == (code, (4, column))
    assert hint in found.hint


def test_a_mistake_beside_what_yaml_refuses_is_told_all_the_same(manifest: Loader) -> None:
    assert manifest.codes("vms: {web: !include web.yaml, db: {memry: 1GiB}}\n") == [
        "yaml.tag",
        "manifest.unknown-key",
    ]


def test_each_conflict_that_was_left_is_told_once(manifest: Loader) -> None:
    conflict = "<<<<<<< ours\n  a: {}\n=======\n  b: {}\n>>>>>>> theirs\n"
    found = manifest.reject(f"vms:\n{conflict}{conflict}")
    assert [(one.code, one.at and one.at.line) for one in found] == [
        ("yaml.merge-conflict", n) for n in (4, 9)
    ]
    (end,) = manifest.reject("vms:\n  b: {}\n>>>>>>> theirs\n")
    assert (end.code, end.at and end.at.line) == ("yaml.merge-conflict", 5)
