"""A port below 1024 that QEMU may not open."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


_FREE = 1024


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for key in "serials", "consoles":
        for vm in site.saying(key):
            for number, device in enumerate(getattr(vm.spec, key)):
                if device.port is not None and device.port < _FREE and device.mode != "client":
                    yield Finding(
                        vm, f"{key}.{number}.port", f"a console of {vm.name} listens on port {device.port}"
                    )


RULE = Rule(
    code="security.low-port",
    title="a port below 1024 that QEMU may not open",
    severity=Severity.ERROR,
    why="QEMU does not run as root, and only root may listen below 1024. The guest does not start.",
    source="Linux, ip(7) and capabilities(7), CAP_NET_BIND_SERVICE",
    fix="use a port from 1024 on",
    bad="""\
vms:
  web: {serials: [{type: tcp, address: 127.0.0.1, port: 23, mode: server}]}
""",
    good="""\
vms:
  web: {serials: [{type: tcp, address: 127.0.0.1, port: 2323, mode: server}]}
""",
    check=check,
)
