"""Guests leave a host hardly any memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity, about_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for name, vms in site.vms_on.items():
        facts, host = site.facts.get(name), site.hosts.get(name)
        if facts is None or host is None or not facts.memory:
            continue
        promised = sum(vm.memory for vm in vms)
        if facts.memory * 19 // 20 < promised <= facts.memory and host.reserved_memory * 20 < facts.memory:
            left = about_size(facts.memory - promised)
            yield Finding(host, "", f"the guests of {name} leave it {left} of its {about_size(facts.memory)}")


RULE = Rule(
    code="memory.no-headroom",
    title="guests leave a host hardly any memory",
    severity=Severity.WARNING,
    why=(
        "The kernel, libvirtd, QEMU's own memory and the page cache need some, too. When they get short "
        "the host swaps or kills the largest process, which is a guest."
    ),
    source=(
        "OpenStack Nova, reserved_host_memory_mb; Linux kernel, Documentation/admin-guide/mm/concepts.rst "
        "(OOM killer)"
    ),
    fix="reserve some for the host (`reserve: {memory: 4GiB}`), or put guests elsewhere",
    bad="""\
vms:
  db: {host: kvm-1, memory: 8000MiB}
""",
    good="""\
vms:
  db: {host: kvm-1, memory: 6GiB}
""",
    check=check,
    needs_hosts=True,
    machine={"memory": 8},
)
