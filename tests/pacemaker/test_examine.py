"""What the doctor says of fencing: nobody is ever switched off by it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from kvmdecl_pacemaker.examine import examine

from kvmdecl.manager import NoAnswer, Said
from tests.pacemaker.support import manifest, placed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HOSTS = ("kvm-1", "kvm-2", "kvm-3")
WELL = {
    "stonith_admin --metadata": Said(0, "<resource-agent/>", ""),
    "stonith_admin --list-registered": Said(0, "fence-kvm-1\n1 fence device found\n", ""),
    "stonith_admin --query": Said(0, "", ""),
    "stonith_admin --list": Said(0, "fence-kvm-1\n1 fence device found\n", ""),
    "crm_attribute --type": Said(6, "", "No such device or address"),
}
"""As Pacemaker 2.1.5 answers."""


@dataclass
class Hosts:
    """Ways to hosts that answer from a table, by program and first option, or host as well."""

    said: Mapping[str, Said | NoAnswer]
    closed: tuple[str, ...] = ()
    asked: list[str] = field(default_factory=list)

    def shell(self, host: str, way: str = "") -> _Shell | None:
        return None if host in self.closed else _Shell(self, host)


@dataclass
class _Shell:
    hosts: Hosts
    host: str

    def run(self, argv: Sequence[str], *, given: str = "", timeout: float = 20.0) -> Said:
        self.hosts.asked.append(" ".join(argv))
        table = {**WELL, **self.hosts.said}
        key = " ".join(argv[:2])
        answer = next(
            table[each] for each in (f"{self.host} {key}", " ".join(argv[:3]), key) if each in table
        )
        if isinstance(answer, NoAnswer):
            raise answer
        return answer


def _found(hosts: Hosts, up: tuple[str, ...] = HOSTS) -> list[tuple[str, str, str]]:
    cluster = placed(manifest("db: {disk: 1GiB, ha: true}", more="services: []"))[0].cluster
    return [(a.host, a.name, a.outcome) for a in examine(cluster, hosts, up) if a.outcome != "ok"]


def test_fencing_that_works_has_nothing_wrong_and_only_questions_are_asked() -> None:
    hosts = Hosts({})
    assert _found(hosts) == []
    assert {" ".join(each.split()[:2]) for each in hosts.asked} == set(WELL)
    assert sum(each.startswith("stonith_admin --query fence-kvm-") for each in hosts.asked) == 3
    assert sum(each.startswith("stonith_admin --list kvm-") for each in hosts.asked) == 3


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ({"kvm-2 stonith_admin --metadata": Said(105, "", "No such device")}, ("kvm-2", "fencing-agent", "failure")),
        ({"kvm-3 stonith_admin --metadata": Said(127, "", "")}, ("kvm-3", "fencing-agent", "failure")),
        ({"kvm-3 stonith_admin --metadata": NoAnswer("no way")}, ("kvm-3", "fencing-agent", "unknown")),
        ({"stonith_admin --query fence-kvm-2": Said(1, "", "Timer expired")}, ("", "fencing-device", "failure")),
        ({"stonith_admin --list kvm-3": Said(0, "0 fence devices found\n", "")}, ("", "fencing", "failure")),
        ({"crm_attribute --type": Said(0, "false\n", "")}, ("", "fencing", "failure")),
        ({"stonith_admin --list-registered": Said(102, "", "not connected")}, ("", "fencing", "unknown")),
        ({"stonith_admin --query": NoAnswer("it hangs")}, ("", "fencing", "unknown")),
        ({"kvm-1 stonith_admin --list-registered": NoAnswer("gone")}, None),
    ],
)  # fmt: skip
def test_what_is_wrong_with_fencing_is_named(
    said: Mapping[str, Said | NoAnswer], found: tuple[str, str, str] | None
) -> None:
    assert _found(Hosts(said)) == ([found] if found else [])


def test_hosts_that_nobody_leads_to_are_unknown() -> None:
    assert _found(Hosts({}, closed=HOSTS)) == [(host, "fencing-agent", "unknown") for host in HOSTS]
    assert _found(Hosts({}, closed=("kvm-1",))) == [("kvm-1", "fencing-agent", "unknown")]
    assert _found(Hosts({}), up=()) == []
