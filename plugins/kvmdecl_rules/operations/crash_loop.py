"""A guest that crashes when it boots crashes for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm in site.vms:
        watchdog = vm.spec.watchdog
        if vm.spec.on_crash == "restart" and watchdog is not None and watchdog.action == "reset":
            yield Finding(vm, "on_crash", f"{vm.name} is reset and restarted without a trace")


RULE = Rule(
    code="operations.crash-loop",
    title="a guest that crashes when it boots crashes for ever",
    severity=Severity.INFO,
    why=(
        "`on_crash: restart` with a watchdog that resets starts a broken guest again and again, which "
        "hides the first failure and keeps a CPU busy."
    ),
    source="libvirt, formatdomain, on_crash and watchdog",
    fix="say `on_crash: preserve` or `coredump-restart`, which leave something to look at",
    bad="""\
vms:
  web: {on_crash: restart, watchdog: reset}
""",
    good="""\
vms:
  web: {on_crash: coredump-restart, watchdog: reset}
""",
    check=check,
)
