"""A desktop lacks what its user sits in front of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Change, Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


_FOR = ("vdi",)


def check(site: Site) -> Iterator[Finding]:
    """Find all that each of them lacks."""
    for vm in site.working(*_FOR):
        spec = vm.spec
        lacks = [] if spec.graphics.screens else [Change("graphics.type", "spice")]
        if spec.video is None:
            lacks.append(Change("video", "qxl" if spec.os.startswith("windows") else "virtio"))
        lacks += [] if spec.sound is not None else [Change("sound", "ich9")]
        if not spec.usb_redirections and (spec.graphics.has_spice or not spec.graphics.screens):
            lacks.append(Change("usb_redirections", "2"))
        if lacks:
            named = ", ".join(change.key.partition(".")[0] for change in lacks)
            yield Finding(vm, "", f"{vm.name} has no {named}", proposal=tuple(lacks))


RULE = Rule(
    code="workload.poor-desktop",
    title="a desktop lacks what its user sits in front of",
    severity=Severity.WARNING,
    why=(
        "A desktop needs a screen that is fast over a network, a card that draws large pictures, sound, and "
        "a way for the user's own USB devices. SPICE brings all of them; it listens on the host alone until "
        "told otherwise."
    ),
    source="SPICE, user manual; libvirt, formatdomain, graphics, sound and redirdev",
    fix="say `graphics: spice`, `video: virtio`, `sound: ich9` and `usb_redirections: 2`",
    bad="""\
rules: {workloads: {desk: vdi}}
vms:
  desk: {memory: 2GiB}
""",
    good="""\
rules: {workloads: {desk: vdi}}
vms:
  desk: {memory: 2GiB, graphics: spice, video: virtio, sound: ich9, usb_redirections: 2}
""",
    check=check,
    workloads=_FOR,
)
