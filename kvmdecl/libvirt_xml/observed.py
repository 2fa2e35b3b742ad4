"""XML of what exists on a host -> observed values. Domains, networks and pools keep their XML as text."""

from __future__ import annotations

import re
from dataclasses import dataclass

from kvmdecl.libvirt_xml.safe import MAX_DOCUMENT, BadXml, parse_xml
from kvmdecl.state import DEFINITION_SUFFIX, ObservedSnapshot, ObservedVolume

_NUMBER = re.compile(r"[0-9]{1,19}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Head:
    """Who an object is. `active`: whether the XML is that of a running domain (those have an id)."""

    name: str
    uuid: str
    active: bool


def parse_head(text: str, tag: str) -> Head:
    """Read the name and UUID of a `domain`, `network`, `pool` or `filter` document.

    Raises:
        BadXml: not such a document.
    """
    root = parse_xml(text)
    name = (root.findtext("name") or (root.get("name") if tag == "filter" else None) or "").strip()
    if root.tag != tag or not name:
        raise BadXml(f"the document is not a <{tag}> with a name")
    return Head(name, (root.findtext("uuid") or "").strip().lower(), root.get("id") is not None)


_MARK = re.compile(r"kvmdecl (\S+) (command|policy)")


def parse_snapshot(text: str) -> ObservedSnapshot:
    """Read the XML of a domain's snapshot (virDomainSnapshotGetXMLDesc).

    Raises:
        BadXml: not such a document.
    """
    root = parse_xml(text)
    name, created = root.findtext("name") or "", root.findtext("creationTime") or "0"
    if root.tag != "domainsnapshot" or not name or not created.isdecimal():
        raise BadXml("this is no snapshot")
    mark = _MARK.fullmatch(root.findtext("description") or "")
    return ObservedSnapshot(name, int(created), *(mark.groups() if mark else ("", "")))


def snapshot_mark(cluster: str, by: str) -> str:
    """The description by which a snapshot is known to be this cluster's, and whether its policy made it."""
    return f"kvmdecl {cluster} {by}"


def parse_volume(text: str, pool: str) -> ObservedVolume:
    """Read the answer of virStorageVolGetXMLDesc. A volume without a format (a block device) is raw.

    Raises:
        BadXml: not such a document.
    """
    root = parse_xml(text)
    name = (root.findtext("name") or "").strip()
    if root.tag != "volume" or not name:
        raise BadXml("the document is not a <volume> with a name")
    format_ = root.find("target/format")
    times = [root.findtext(f"target/timestamps/{what}") for what in ("mtime", "ctime")]
    capacity = _bytes(root.findtext("capacity"))
    return ObservedVolume(
        pool=pool,
        name=name,
        path=(root.findtext("target/path") or "").strip(),
        format="raw" if format_ is None else format_.get("type", "raw"),
        capacity=capacity,
        allocation=_bytes(root.findtext("allocation")),
        backing=(root.findtext("backingStore/path") or "").strip() or None,
        encrypted=root.find("target/encryption") is not None,
        stamp=f"{capacity}:{times[0]}:{times[1]}" if name.endswith(DEFINITION_SUFFIX) and all(times) else "",
    )


def parse_sizes(text: str) -> tuple[int, int]:
    """Read capacity and available space of a pool, in bytes.

    Raises:
        BadXml: not a pool's document.
    """
    root = parse_xml(text)
    return _bytes(root.findtext("capacity")), _bytes(root.findtext("available"))


def checked(text: str) -> str:
    """Return the text of a document that is kept as it is.

    Raises:
        BadXml: longer than is read anywhere.
    """
    if len(text) > MAX_DOCUMENT:
        raise BadXml(f"a document has {len(text):,} characters; at most {MAX_DOCUMENT:,} are read")
    return text


def _bytes(text: str | None) -> int:
    """A size as libvirt prints it for volumes: always in bytes."""
    stripped = (text or "0").strip()
    if not _NUMBER.fullmatch(stripped):
        raise BadXml(f"{stripped!r:.80} is not a size")
    return int(stripped)
