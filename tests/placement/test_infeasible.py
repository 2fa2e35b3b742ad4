"""What a user is told of vms that no host can take."""

from __future__ import annotations

import pytest

from kvmdecl.diagnostics import Rejected
from kvmdecl.placement import place
from kvmdecl.pluginhost import load_plugins
from kvmdecl.state import HostSnapshot, HostState
from tests.placement.numa import two_cells
from tests.resolve.support import resolved

HEAD = """\
apiVersion: kvmdecl/v1
cluster: demo
hosts:
  kvm-1: {uri: "qemu+tcp://a/system", dedicated: "1-3,9-11,5-7,13-15", labels: {rack: r1}}
  kvm-2: {uri: "qemu+tcp://b/system", dedicated: "1-3,9-11,5-7,13-15", labels: {rack: r2}, maintenance: true}
"""


def refused(vms: str) -> list[tuple[str, list[str], str]]:
    """Of each vm without a host: who, the notes that begin where the hosts' reasons end, and the hint."""
    cluster = resolved(f"vms:\n{vms}", head=HEAD)
    seen = {host.name: HostSnapshot(host.name, two_cells(), HostState()) for host in cluster.hosts}
    with pytest.raises(Rejected) as rejected:
        place(cluster, seen, load_plugins().solver(cluster.solver))
    lines = (HEAD + f"vms:\n{vms}").splitlines()
    return [
        (
            found.subject,
            [
                f"{note.text}: {lines[note.at.line - 1][note.at.column - 1 : note.at.end_column - 1][:8]}"
                if note.at
                else note.text
                for note in found.notes[2:]
            ],
            found.hint,
        )
        for found in rejected.value.diagnostics
    ]


TOLD = "this is enough, as far as placement goes: "
CONFLICT = "these demands conflict; without any one of them the others could be met"


def test_a_vm_that_is_too_big_for_a_cell_is_told_of_what_the_cell_is_short():
    vms = "  train: {cpus: {count: 4, policy: dedicated, threads: isolate}, memory: {size: 4GiB, pages: 2MiB}}\n"
    ((vm, notes, hint),) = refused(vms)
    assert vm == "vm/train"
    assert notes == ["kvm-1 cell 0: 3 whole cores free, 4 wanted"]
    assert hint == (
        f"{TOLD}`cpus.threads: prefer` for train; or `numa.spill: true` for train; "
        "or 3 vCPUs instead of 4 for train"
    )


def test_vms_that_crowd_each_other_out_are_told_together_each_at_its_line():
    vms = "  db: {count: 6, cpus: {count: 2, policy: dedicated}, memory: {size: 4GiB, pages: 2MiB}}\n"
    (first, second) = refused(vms)
    wish = "want, each, 2 dedicated CPUs and 4GiB in pages of 2MiB"
    assert first == (
        "vm/db-5",
        [
            "kvm-1 cell 0: 0 pages of 2MiB free, 2048 wanted",
            CONFLICT,
            f"db-1, db-2, db-3 and 2 more {wish}: {{count: ",
            "kvm-2 is in maintenance: true",
        ],
        (
            f"{TOLD}no `memory.pages` for db-1, db-2, db-3 and 3 more; or `maintenance: false` for kvm-2; "
            "or 2560MiB of memory instead of 4GiB for db-1, db-2, db-3 and 3 more"
        ),
    )
    assert second[:2] == ("vm/db-6", ["it is the same with db-5"])


def test_what_keeps_vms_apart_and_off_hosts_is_part_of_the_conflict():
    vms = "  db: {count: 2, cpus: {policy: dedicated}, apart: rack, host_labels: {rack: r1}}\n"
    ((vm, notes, hint),) = refused(vms)
    assert vm == "vm/db-2"
    assert notes == [
        CONFLICT,
        "db-1 and db-2 want, each, 1 dedicated CPU and 1GiB: {count: ",
        "db-1 and db-2: of them at most 1 may be under one rack: rack",
        "db-1 and db-2 must have a host whose rack is r1: r1",
    ]
    assert "`apart.most: 2` instead of 1" in hint
