"""A port of a guest is one that migrations use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


_FIRST, _LAST = 49152, 49215


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for key in "serials", "consoles":
        for vm in site.saying(key):
            for number, device in enumerate(getattr(vm.spec, key)):
                if device.port is not None and _FIRST <= device.port <= _LAST and device.mode != "client":
                    told = f"a console of {vm.name} listens on port {device.port}"
                    yield Finding(vm, f"{key}.{number}.port", told)
    for vm in site.saying("graphics"):
        for key in "port", "tls_port":
            port = getattr(vm.spec.graphics, key)
            if port is not None and _FIRST <= port <= _LAST:
                yield Finding(vm, f"graphics.{key}", f"the screen of {vm.name} listens on port {port}")


RULE = Rule(
    code="operations.migration-port",
    title="a port of a guest is one that migrations use",
    severity=Severity.WARNING,
    why=(
        "Guests that migrate to a host are received on ports from 49152 to 49215, each on the next one that "
        "is free. A console that listens there makes a migration fail, or does not get its port because one "
        "is under way."
    ),
    source="libvirt, qemu.conf, migration_port_min and migration_port_max",
    fix="choose a port outside of 49152 to 49215",
    bad="""\
vms:
  web: {serials: [{type: tcp, address: 127.0.0.1, port: 49160, mode: server}]}
""",
    good="""\
vms:
  web: {serials: [{type: tcp, address: 127.0.0.1, port: 2323, mode: server}]}
""",
    check=check,
)
