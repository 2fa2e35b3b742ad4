"""What we left behind: enough, in our marker, to see at one look that nobody touched a domain since.

libvirt gives the same text for a definition that nobody changed. So the digest of that text, taken when a step was
done, answers for a whole comparison as long as it is the same. Where it is not, nothing follows: the text may have
another shape because libvirt was restarted or upgraded, and the definitions are compared field by field.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from kvmdecl.libvirt_xml.fields import (
    Document,
    FieldDifference,
    compare_documents,
    is_beneath,
    read_documents,
)
from kvmdecl.libvirt_xml.marker import Left, Marker, packed
from kvmdecl.state import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

_PAYLOAD = re.compile(r"<(?:[\w-]+:)?(?:applied|left)\b[^>]*>([^<]*)<", re.ASCII)
_SEAL = re.compile(r'\bseal="([0-9a-f]{64})"(?: live="([0-9a-f]{64})?")?', re.ASCII)
# What another start of the same guest, or the guest itself, gives another value; with what is left of it. No field that
# the guest's XML proves (`impact.Row.visible`) is among it; a text that is not recognised only costs a comparison.
# Patterns that begin with plain text are found fast, and one after the other is faster than all at once.
_PASSING = tuple(
    (re.compile(pattern, re.ASCII), left)
    for pattern, left in (
        (r"<domain type='(qemu|kvm)' id='\d+'", r"<domain type='\1'"),
        (r"<currentMemory[^<]*</currentMemory>", ""),
        (r"<alias name='(?!ua-)[^']*'/>", ""),
        (r"<label>[^<]*</label>", ""),
        (r"<actuallabel>[^<]*</actuallabel>", ""),
        (r"<imagelabel>[^<]*</imagelabel>", ""),
        (r"<target dev='(?:vnet|macvtap|macvlan)\d+'", "<target "),
        (r" portid='[^']*'", ""),
        (r" tty='[^']*'", ""),
        (r" tray='[^']*'", ""),
        (r" state='(?:dis)?connected'", ""),
        (r"<source path='/dev/pts/\d+'", "<source "),
        (r"<source mode='bind' path='[^']*/channel/[^']*'", "<source "),
        (r" port='\d+'(?= autoport='yes')", ""),
    )
)


def leave(
    definition: str, live: str | None, declared: str, libvirt: int, *, running: bool, autostart: bool
) -> Left:
    """What to note down of a domain that is as declared now.

    Args:
        definition: inactive definition, as libvirt gives it back.
        live: that of the running guest, None if none runs, or if it has not all that is declared.
        declared: definition.
        libvirt: version that gave the texts (virConnectGetLibVersion).
        running: whether the guest runs.
        autostart: whether it starts with its host.
    """
    kept, applied = packed(_bare(definition)), packed(declared)
    return Left(
        definition=kept,
        libvirt=libvirt,
        running=running,
        autostart=autostart,
        seal=_digest(_bare(definition), applied, kept, declared),
        live=_digest(_lasting(live)) if live is not None else "",
    )


def is_untouched(definition: str, live: str | None, declared: str) -> bool:
    """Whether a domain is, to the letter, what was left when this very declaration was applied.

    Args:
        definition: inactive definition of the domain.
        live: that of the running guest, None if none runs.
        declared: definition.
    """
    start, end = _metadata(definition)
    metadata = definition[start:end]
    found = _SEAL.search(metadata)
    if found is None:
        return False
    expected = _digest(definition[:start] + definition[end:], *_PAYLOAD.findall(metadata), declared)
    return found[1] == expected and (live is None or found[2] == _digest(_lasting(live)))


def same_text(one: str, other: str) -> bool:
    """Whether two definitions are the same to the letter, but for their metadata."""
    return _bare(one) == _bare(other)


def changed_outside(
    marker: Marker, definition: str, declared: str, libvirt: int, kind: Kind = Kind.DOMAIN
) -> tuple[FieldDifference, ...]:
    """Fields that are not what they were when we left, though no declaration, now or before, says what they are now.

    Those that it leaves open are among them: which version of a machine its alias stands for. Nothing if that cannot be
    told: no definition was noted, or another version of libvirt gave it, which fills in other fields.

    Raises:
        BadXml: a definition is not acceptable XML.
    """
    left = marker.left_definition()
    if marker.left is None or left is None or marker.left.libvirt != libvirt:
        return ()
    texts = [declared, marker.applied or f"<{kind}/>", definition, left]
    wanted, before, now, then = read_documents(texts, kind)
    told = {difference.path for difference in compare_documents(wanted, before, now).differences}
    found = compare_documents(now, then, then).differences
    return tuple(
        d
        for d in found
        if d.path not in told
        and _is_not_ours(d, wanted, before)
        and not _is_layer(d.path, wanted.fields, now.fields, then.fields)
    )


def pool_note(definition: str, libvirt: int) -> str:
    """What to note down in the ledger of a pool that was made: the definition that this libvirt gave back.

    Raises:
        BadXml: it is not acceptable XML.
    """
    return f"{libvirt}:{packed(definition)}"


def pool_marker(note: str) -> Marker | None:
    """A pool's note in the ledger as the marker that it would be, were there room in a pool; None if there is no note.

    Earlier versions noted nothing.
    """
    by, _, kept = note.partition(":")
    if not by.isdecimal():
        return None
    left = Left(kept, int(by), running=True, autostart=False, seal="", live="")
    return Marker("", "", "", "", "", applied=None, left=left)


def pool_changed_outside(
    note: str, definition: str, declared: str, libvirt: int
) -> tuple[FieldDifference, ...]:
    """As `changed_outside`, of a pool with this note in the ledger."""
    marker = pool_marker(note)
    found = changed_outside(marker, definition, declared, libvirt, Kind.POOL) if marker else ()
    return tuple(d for d in found if d.after is not None or not is_directory_permission(d.path, Kind.POOL))


def is_directory_permission(path: str, kind: Kind) -> bool:
    """Whether a field tells nothing when it is gone: libvirt fills in the directory's when a pool is started."""
    return kind is Kind.POOL and path.startswith("target/permissions")


def _is_layer(path: str, wanted: Mapping[str, str], now: Mapping[str, str], then: Mapping[str, str]) -> bool:
    """Whether a field tells what lies on and beneath a disk's file, which comes and goes with snapshots.

    Without one, now and then, the disk's own file is on top; what lies beneath is as it was, unless somebody wrote it.
    """
    disk, layer, _ = path.partition("/backingStore")
    if not layer:
        return is_beneath(path, wanted, now)
    on_top, declared = _source(disk, now), _source(disk, wanted)
    return on_top != _source(disk, then) or not declared.items() <= on_top.items()


def _source(disk: str, fields: Mapping[str, str]) -> dict[str, str]:
    return {path: value for path, value in fields.items() if path.startswith(f"{disk}/source@")}


def _is_not_ours(difference: FieldDifference, wanted: Document, before: Document) -> bool:
    path = difference.path
    if path in wanted.fields:
        return wanted.fields[path] not in {difference.before, difference.after}
    return path not in before.fields


def _metadata(definition: str) -> tuple[int, int]:
    """Where the metadata begin and end; an empty range if there are none."""
    start, end = definition.find("<metadata>"), definition.rfind("</metadata>")
    return (start, end + len("</metadata>")) if 0 <= start < end else (0, 0)


def _bare(definition: str) -> str:
    start, end = _metadata(definition)
    return definition[:start] + definition[end:]


def _lasting(live: str) -> str:
    text = _bare(live)
    for passing, left in _PASSING:
        text = passing.sub(left, text)
    return text


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode("utf-8", errors="surrogatepass")).hexdigest()
