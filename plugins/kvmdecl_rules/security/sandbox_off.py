"""QEMU of a guest runs without its sandbox."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


_OFF = re.compile(r"""value=["']-sandbox["'][^<]*<[^<]*value=["']off""")


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm in site.saying("xml"):
        if vm.spec.xml is not None and _OFF.search(vm.spec.xml):
            yield Finding(vm, "xml", f"{vm.name} switches QEMU's sandbox off")


RULE = Rule(
    code="security.sandbox-off",
    title="QEMU of a guest runs without its sandbox",
    severity=Severity.WARNING,
    why=(
        "libvirt starts QEMU so that the kernel refuses it the system calls that it never needs (seccomp). "
        "Without that a guest that broke out can do more. That a host switches it off in its qemu.conf "
        "cannot be seen over a connection."
    ),
    source="libvirt, qemu.conf, seccomp_sandbox; QEMU, -sandbox",
    fix="leave `-sandbox` out of the arguments",
    bad="""\
vms:
  web:
    xml: |
      <domain xmlns:qemu="http://libvirt.org/schemas/domain/qemu/1.0">
        <qemu:commandline><qemu:arg value="-sandbox"/><qemu:arg value="off"/></qemu:commandline>
      </domain>
""",
    good="""\
vms:
  web: {}
""",
    check=check,
)
