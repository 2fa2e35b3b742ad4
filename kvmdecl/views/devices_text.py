"""Devices of hosts as text: a tree of ports and functions with their IOMMU groups, and who has what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.devicemap import Verdict
from kvmdecl.text import safe_text
from kvmdecl.views.devices_words import MARKS, head_words, other_mdev_rows, pci_rows, usb_rows
from kvmdecl.views.pen import Pen

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kvmdecl.devicemap import DeviceMap, MappedDevices
    from kvmdecl.views.devices_words import Row

_STYLES = {
    Verdict.FREE: "32",
    Verdict.MAYBE: "33",
    Verdict.TAKEN: "36",
    Verdict.HOST: "31",
    Verdict.NEVER: "2",
}
_BOLD, _BAD, _DIM = "1", "31", "2"


def render_devices(devices: DeviceMap, *, color: bool) -> str:
    """All hosts, in 80 columns as far as their devices' places in the tree leave room."""
    view = _View(color=color)
    blocks = ["\n".join(view.host(host)) for host in devices.hosts]
    if legend := "  ".join(_legend(devices)):
        blocks.append("\n".join(view.told("", legend)))
    return "\n\n".join(blocks) + "\n" if blocks else "There are no hosts.\n"


class _View(Pen):
    """Writes, with colours or without."""

    def host(self, host: MappedDevices) -> Iterator[str]:
        if host.reason:
            reason = safe_text(host.reason.removeprefix(f"{host.host}: "))
            yield from self.told(f"{safe_text(host.host)}  ", f"not read: {reason}", _BAD)
            return
        yield from self.told(f"{safe_text(host.host)}  ", head_words(host), _BOLD)
        sections = [
            ("group  PCI function" if host.groups else "PCI function", list(pci_rows(host))),
            ("group  mediated devices", list(other_mdev_rows(host))),
            ("USB device, as bus.number", list(usb_rows(host))),
        ]
        for title, rows in sections:
            if rows:
                yield self.paint(f"    {title}", _DIM)
                yield from self._rows(rows)

    def _rows(self, rows: Sequence[Row]) -> Iterator[str]:
        width = max(len(row.group) for row in rows)
        width = max(width, len("group")) if width else 0
        for row in rows:
            mark = self.paint(MARKS[row.verdict][0], _STYLES[row.verdict])
            indent = "  " * row.depth
            head = f"  {mark} {row.group:>{width}}{'  ' if width else ''}{indent}{row.name}"
            yield from self.told(f"{head.rstrip()}  ", row.told) if row.told else iter([head.rstrip()])


def _legend(devices: DeviceMap) -> Iterator[str]:
    """Marks that are there."""
    there = {
        verdict
        for host in devices.hosts
        for verdict in (
            *(of.verdict for of in host.functions),
            *(of.verdict for of in host.usb),
            *(of.verdict for of in host.mdevs),
        )
    }
    yield from (f"{mark} {words}" for verdict, (mark, words) in MARKS.items() if words and verdict in there)
