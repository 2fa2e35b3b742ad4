"""How much of libvirt's own test data kvmdecl adopts without a difference, on real libvirtd.

Usage: python -m benchmarks.fidelity DIR [FILE-NAME-PART...]

DIR holds domain definitions, `*.xml`: for example `tests/qemuxmlconfdata` (older: `tests/qemuxml2argvdata`) of a
checkout of libvirt. Each is given a name and UUID of its own and, where it asks for what this machine lacks, another
type (qemu), emulator and machine; then it is defined on a host of a lab, adopted, and what its entry compiles to is
defined on a second host. Nothing is started.
"""

from __future__ import annotations

import sys
import tempfile
import uuid
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import libvirt
from lxml import etree

from kvmdecl import lab as labs
from kvmdecl.adopt.entry import Entry, NotExpressible, Surroundings, make_entry
from kvmdecl.adopt.filled_in import asked_for
from kvmdecl.adopt.guest import Networks
from kvmdecl.adopt.residue import gap
from kvmdecl.hosts.protocol import Scope
from kvmdecl.hosts.read import read_domain, read_host
from kvmdecl.libvirt_xml.fields import fields, plain
from kvmdecl.libvirt_xml.overlay import complete
from kvmdecl.libvirt_xml.safe import BadXml
from kvmdecl.state import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.facts import HostFacts

_NETWORKS = {"default": {"mode": "existing"}, "br0": {"bridge": "br0"}}
_PLUGGED = Networks({"network:default": "default", "bridge:br0": "br0"})


@dataclass
class Score:
    """What became of the files. `typed` and `all` count fields by section (`cpu`, `devices/disk`)."""

    refused: list[str] = field(default_factory=list)
    adopted: list[str] = field(default_factory=list)
    lost: dict[str, str] = field(default_factory=dict)
    without_xml: list[str] = field(default_factory=list)
    defined_again: list[str] = field(default_factory=list)
    different: dict[str, str] = field(default_factory=dict)
    not_typed: Counter[str] = field(default_factory=Counter)
    all: Counter[str] = field(default_factory=Counter)


def main(arguments: list[str]) -> int:
    """Print figures; return 1 when a definition that libvirt accepts is not adopted without a difference."""
    if not arguments:
        print(__doc__)
        return 64
    files = [
        file
        for file in sorted(Path(arguments[0]).glob("*.xml"))
        if not arguments[1:] or any(part in file.name for part in arguments[1:])
    ]
    libvirt.registerErrorHandler(lambda _context, _error: None, None)
    with tempfile.TemporaryDirectory(prefix="kvmdecl-", dir="/tmp") as folder:
        lab = labs.up(Path(folder) / "lab", ["first", "second"], tied=True)
        try:
            first, second = (libvirt.open(host.uri()) for host in lab.hosts.values())
            score = _measure(files, first, second)
            first.close()
            second.close()
        finally:
            labs.down(Path(folder) / "lab")
    _report(files, score)
    return int(bool(score.lost or score.different))


def _measure(files: list[Path], first: libvirt.virConnect, second: libvirt.virConnect) -> Score:
    facts = read_host(first, "first", Scope()).facts
    score = Score()
    for number, file in enumerate(files):
        domain = _define(first, file, f"guest-{number}")
        if domain is None:
            score.refused.append(file.name)
            continue
        _adopt(file, domain, second, facts, score)
        domain.undefineFlags(_UNDEFINE)
    return score


_UNDEFINE = libvirt.VIR_DOMAIN_UNDEFINE_NVRAM | libvirt.VIR_DOMAIN_UNDEFINE_TPM


def _define(connection: libvirt.virConnect, file: Path, name: str) -> libvirt.virDomain | None:
    """Define a file's guest as it is, or with what this machine can run in place of what it asks for."""
    for change in _variants(file, name):
        try:
            return connection.defineXMLFlags(change, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
        except libvirt.libvirtError:
            continue
    return None


def _variants(file: Path, name: str) -> Iterator[str]:
    root = etree.parse(file).getroot()
    kind, named = root.find("os/type"), root.find("name")
    if root.tag != "domain" or kind is None or named is None:
        return
    for identity in root.findall("uuid"):
        root.remove(identity)
    named.text = name
    etree.SubElement(root, "uuid").text = str(uuid.uuid5(uuid.NAMESPACE_URL, file.name))
    if root.get("type") == "kvm":
        root.set("type", "qemu")
    yield etree.tostring(root, encoding="unicode")
    for emulator in root.findall("devices/emulator"):
        emulator.getparent().remove(emulator)  # type: ignore[union-attr]  # it was found below one
    yield etree.tostring(root, encoding="unicode")
    for machine in ("pc", "q35"):
        if kind.get("arch") in {"i686", "x86_64"}:
            kind.set("arch", "x86_64")
            kind.set("machine", machine)
            yield etree.tostring(root, encoding="unicode")
    for label in root.findall("seclabel"):
        root.remove(label)
    yield etree.tostring(root, encoding="unicode")


def _adopt(
    file: Path, domain: libvirt.virDomain, second: libvirt.virConnect, facts: HostFacts, score: Score
) -> None:
    observed = read_domain(domain)
    try:
        entry = make_entry(observed, Surroundings("first", facts, _NETWORKS, _PLUGGED))
    except (NotExpressible, BadXml) as error:
        score.lost[file.name] = str(error)
        return
    score.adopted.append(file.name)
    if not entry.by_xml and "omit" not in entry.keys:
        score.without_xml.append(file.name)
    asked = asked_for(observed.xml, facts)
    score.all.update(_section(path) for path in fields(asked, Kind.DOMAIN))
    score.not_typed.update(_section(path) for path in entry.by_xml)
    _define_again(file, entry, second, facts, score)


def _section(path: str) -> str:
    if path.startswith("{"):  # of a namespace: QEMU's arguments
        return path.partition("}")[2].partition("/")[0]
    parts = plain(path).partition("@")[0].split("/")
    return "/".join(parts[:2] if parts[0] == "devices" else parts[:1]) or "domain"


def _define_again(
    file: Path, entry: Entry, second: libvirt.virConnect, facts: HostFacts, score: Score
) -> None:
    try:
        again = second.defineXMLFlags(complete(entry.declared), libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
    except libvirt.libvirtError as error:
        score.different[file.name] = str(error)
        return
    kept = read_domain(again).xml
    again.undefineFlags(_UNDEFINE)
    left = gap(
        entry.declared, asked_for(kept, facts), kept
    )  # the entry has no secrets, so that none is missed
    if len(left):
        score.different[file.name] = ", ".join(sorted({*left.unsaid, *left.untrue}))
    else:
        score.defined_again.append(file.name)


def _report(files: list[Path], score: Score) -> None:
    accepted = len(files) - len(score.refused)
    print(f"{len(files)} definitions, of which this libvirt ({libvirt.getVersion()}) accepts {accepted}")
    for what, number in (
        ("adopted without a difference", len(score.adopted)),
        ("adopted with typed keys alone", len(score.without_xml)),
        ("the same when defined from the manifest on a second host", len(score.defined_again)),
    ):
        print(f"{number:5} ({number / max(1, accepted):6.1%})  {what}")
    print("fields that typed keys express, by section:")
    for section, number in sorted(score.all.items()):
        typed = number - score.not_typed[section]
        print(f"{typed:5} of {number:4} ({typed / number:6.1%})  {section}")
    for title, found in (("not adopted", score.lost), ("not the same on the second host", score.different)):
        for name, why in found.items():
            print(f"{title}: {name}: {why:.300}")
    if score.refused:
        print(f"refused by libvirt: {', '.join(score.refused)}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
