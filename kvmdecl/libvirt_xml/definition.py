"""The file from which a cluster manager starts a guest, and what is noted of it. Pure.

A connection that only reads cannot see what is in a volume. So whoever writes the file notes what it was made from, and
when libvirt says that it was changed last: as long as that is the same, so is what is in it.
"""

from __future__ import annotations

from dataclasses import dataclass

from kvmdecl.libvirt_xml.marker import packed, unpacked
from kvmdecl.libvirt_xml.overlay import complete


@dataclass(frozen=True, slots=True)
class Written:
    """A file that was written: its stamp right after that, and what was declared; None if that cannot be read."""

    stamp: str
    xml: str | None


def file_text(declared: str) -> str:
    """What is in the file of a declared guest: one element in a line, for agents look for its name line by line.

    Raises:
        BadXml: the declaration is not acceptable XML.
    """
    return complete(declared)


def padded(text: str, size: int) -> bytes:
    """The text as bytes, of at least that size: an upload cuts nothing off the end of a file that was longer."""
    data = text.encode()
    return data + b"\n" * max(0, size - len(data))


def note(written: Written) -> str:
    """What the ledger keeps of a file (`LedgerEntry.applied`)."""
    return f"{written.stamp} {packed(written.xml) if written.xml is not None else ''}"


def noted(applied: str) -> Written:
    """What the ledger kept of a file."""
    stamp, _, declared = applied.partition(" ")
    return Written(stamp, unpacked(declared) if declared else None)
