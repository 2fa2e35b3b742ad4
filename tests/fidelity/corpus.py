"""Definitions from files, such as libvirt's own test data, brought to where this machine's libvirt may take them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

from kvmdecl.libvirt_xml.build import node
from kvmdecl.libvirt_xml.safe import BadXml, Element, parse_xml
from kvmdecl.state import Kind
from tests.fidelity.host import Refused, Target, machines, to_text

PREFIX = "fid-"
"""What the names of objects begin with, so that they meet nobody else's."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A definition that libvirt took, as it was declared and as it is now."""

    name: str
    kind: Kind
    declared: str
    observed: str


def definitions(folder: Path) -> Iterator[tuple[str, Kind, str]]:
    """Name, kind and text of all definitions below a folder."""
    for path in sorted(folder.rglob("*.xml")):
        text = path.read_text(encoding="utf-8")
        try:
            tag = str(parse_xml(text).tag)
        except BadXml:
            continue
        if tag in {*Kind}:
            yield f"{path.parent.name}/{path.stem}", Kind(tag), text


def attempt(target: Target, name: str, kind: Kind, text: str) -> Trial:
    """Have libvirt take a definition, changed as little as that needs.

    Raises:
        Refused: libvirt takes it in no form; with what it says of the last one.
    """
    root = _anonymous(parse_xml(text), kind)
    known = machines(target.connection) if kind is Kind.DOMAIN else {}
    refused: Refused | None = None
    for adapt in _ADAPTATIONS[kind]:
        adapt(root, known)
        declared = to_text(root)
        try:
            return Trial(name, kind, declared, target.read_back(declared, kind))
        except Refused as error:
            refused = error
    raise refused or Refused("")


def _anonymous(root: Element, kind: Kind) -> Element:
    """Without the UUID, and with a name that nobody else has."""
    root = deepcopy(root)
    for uuid in root.findall("uuid"):
        root.remove(uuid)
    name = root.find("name")
    if name is not None and kind is not Kind.VOLUME:
        name.text = f"{PREFIX}{(name.text or '').strip()}"
    return root


def renamed(declared: str, number: int) -> str:
    """The same under a name of its own: many files of a corpus are about guests of one name."""
    root = parse_xml(declared)
    for name in root.findall("name"):
        name.text = f"{PREFIX}{number}"
    return to_text(root)


def startable(declared: str, srv: Path) -> str:
    """A domain that has its files and bridge here, so that more of them start. `srv` is the host's /srv."""
    root = parse_xml(declared)
    for number, disk in enumerate(root.iterfind("devices/disk")):
        for path in ("source", "backingStore", "mirror", "encryption", "auth"):
            for element in disk.findall(path):
                disk.remove(element)
        if disk.get("device", "disk") == "disk":
            (srv / f"{PREFIX}{number}.img").write_bytes(b"\0" * 65536)
            disk.append(node("source", file=f"/srv/{PREFIX}{number}.img"))
            disk.set("type", "file")
            for driver in disk.findall("driver[@type]"):
                driver.set("type", "raw")
    for nic in root.iterfind("devices/interface"):
        if nic.get("type") in {"network", "direct", "bridge"}:
            nic.set("type", "bridge")
            for source in nic.findall("source"):
                nic.remove(source)
            nic.append(node("source", bridge="br0"))
    return to_text(root)


# -- adaptations: each goes further than the one before ------------------------------------------------------

Adapt = Callable[[Element, dict[str, set[str]]], None]


def _as_it_is(root: Element, known: dict[str, set[str]]) -> None:
    pass


def _emulate(root: Element, known: dict[str, set[str]]) -> None:
    root.set("type", "qemu")


def _any_emulator(root: Element, known: dict[str, set[str]]) -> None:
    for emulator in root.findall("devices/emulator"):
        emulator.getparent().remove(emulator)  # type: ignore[union-attr]


def _known_machine(root: Element, known: dict[str, set[str]]) -> None:
    """A machine type that has left QEMU becomes the alias of its family."""
    type_ = root.find("os/type")
    if type_ is None or type_.get("machine") in known.get(type_.get("arch", ""), set()):
        return
    family = re.match(r"pc-q35|pc|virt|pseries|s390-ccw-virtio", type_.get("machine", ""))
    if family:
        type_.set("machine", family[0].removeprefix("pc-"))


def _no_labels(root: Element, known: dict[str, set[str]]) -> None:
    for label in root.xpath(".//seclabel"):
        label.getparent().remove(label)


def _sparse(root: Element, known: dict[str, set[str]]) -> None:
    for allocation in root.findall("allocation"):
        allocation.text = "0"


_ADAPTATIONS: dict[Kind, tuple[Adapt, ...]] = {
    Kind.DOMAIN: (_as_it_is, _emulate, _known_machine, _any_emulator, _no_labels),
    Kind.NETWORK: (_as_it_is,),
    Kind.POOL: (_as_it_is,),
    Kind.VOLUME: (_sparse,),
}
