"""Looks into hosts through their own programs: two scripts that read, and change nothing. Text in, values out."""

from __future__ import annotations

import base64
import binascii
import re
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

from kvmdecl.hosts.certificates import valid_until
from kvmdecl.inside import MIGRATION_PORTS, Certificate, FileSystem, Inside, KvmDevice, Way
from kvmdecl.manager import NoAnswer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from kvmdecl.manager import Shell

_AT_ONCE = 32
_TRIED = 16
"""Other hosts whose ports one host tries: of many hosts, each is tried by the sixteen before it."""
_MOST = 1_000_000  # characters of an answer that are looked at

_LOOK = r"""
word() { sed -n "s/^ *$1 *= *\"\{0,1\}\([A-Za-z0-9_.+-]*\).*/\1/p" /etc/libvirt/qemu.conf 2>/dev/null | tail -n 1; }
echo "clock $(date +%s.%N)"
echo "name $(hostname -f 2>/dev/null || hostname)"
echo "synchronised $(timedatectl show --property=NTPSynchronized --value 2>/dev/null)"
grep -qwE 'vmx|svm' /proc/cpuinfo && echo virtualisation
if [ -e /dev/kvm ]; then
  user=root
  for known in $(word user) libvirt-qemu qemu; do id "$known" >/dev/null 2>&1 && { user=$known; break; }; done
  if [ -e /etc/libvirt/qemu.conf ] && [ ! -r /etc/libvirt/qemu.conf ]; then user=; fi
  group=$(word group)
  gids="$(id -G "$user" 2>/dev/null) $([ -z "$group" ] || getent group "$group" | cut -d: -f3)"
  echo "kvm $(stat -c '%a %u %g' /dev/kvm) ${user:--} $([ -z "$user" ] || id -u "$user") $gids"
fi
for each in enabled defrag; do
  echo "thp $each $(sed -n 's/.*\[\(.*\)\].*/\1/p' "/sys/kernel/mm/transparent_hugepage/$each" 2>/dev/null)"
done
echo "ksm $(cat /sys/kernel/mm/ksm/run 2>/dev/null)"
for path in /etc/libvirt /var/lib/libvirt /var/log/libvirt "$@"; do
  told=$(stat -f -c '%c %d %S %b %a' "$path" 2>/dev/null) && echo "fs $told $path"
done
echo "first $(word migration_port_min)"
echo "last $(word migration_port_max)"
awk '$4 == "0A" { sub(/.*:/, "", $2); print "listens", $2 }' /proc/net/tcp /proc/net/tcp6 2>/dev/null
for each in cpu io memory; do
  sed -n "s/^some .*avg300=\([0-9.]*\).*/pressure $each \1/p" "/proc/pressure/$each" 2>/dev/null
done
for path in /etc/pki/libvirt/servercert.pem /etc/pki/CA/cacert.pem /etc/pki/qemu/server-cert.pem; do
  [ ! -r "$path" ] ||
    echo "certificate $path $(sed -n '/BEGIN CERT/,/END CERT/{/CERT/!p;/END/q}' "$path" | tr -d ' \r\n')"
done
echo "clock $(date +%s.%N)"
exit 0
"""

_TRY = r"""
command -v bash >/dev/null && command -v timeout >/dev/null || exit 3
try() {
  said=$(timeout 3 bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$2" "$3" 2>&1 </dev/null)
  case $?:$said in
    0:*) how=open ;;
    124:*|*"timed out"*) how=silent ;;
    *refused*) how=refused ;;
    *"not known"*|*"esol"*|*"o address"*) how=nameless ;;
    *) how=unreachable ;;
  esac
  echo "way $1 $2 $3 $how"
}
while [ $# -gt 2 ]; do try "$1" "$2" "$3" & shift 3; done
wait
exit 0
"""


def look(
    shells: Mapping[str, Shell],
    paths: Mapping[str, Sequence[str]],
    addresses: Mapping[str, str],
    clock: Callable[[], float] = time.time,
) -> Mapping[str, Inside | NoAnswer]:
    """Look into all hosts at once, then let them try the ways to each other.

    Args:
        shells: of the hosts.
        paths: of each host, whose file systems matter.
        addresses: that guests are migrated to, of hosts that have such an address; the others' names are asked.
        clock: seconds since 1970.
    """
    if not shells:
        return {}
    with ThreadPoolExecutor(max_workers=min(_AT_ONCE, len(shells))) as pool:
        jobs = {host: pool.submit(_look, shell, paths.get(host, ()), clock) for host, shell in shells.items()}
        found = {host: job.result() for host, job in jobs.items()}
        inside = {host: each for host, each in sorted(found.items()) if isinstance(each, Inside)}
        tried = {host: pool.submit(_try, shells[host], host, inside, addresses) for host in inside}
        return found | {host: replace(inside[host], ways=job.result()) for host, job in tried.items()}


def _look(shell: Shell, paths: Sequence[str], clock: Callable[[], float]) -> Inside | NoAnswer:
    began = clock()
    try:
        said = shell.run(["sh", "-s", "--", *paths], given=_LOOK, timeout=30)
    except NoAnswer as error:
        return error
    if said.code:
        return NoAnswer(f"a shell there ends with {said.code}")
    return read_inside(said.out, began, clock())


def _try(
    shell: Shell, host: str, inside: Mapping[str, Inside], addresses: Mapping[str, str]
) -> tuple[Way, ...] | None:
    names = list(inside)
    after = names[names.index(host) + 1 :] + names[: names.index(host)]
    argv: list[str] = []
    for other in after[:_TRIED]:
        address, port = addresses.get(other) or inside[other].name, inside[other].free_port
        if port is not None and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.:-]*", address, re.ASCII):
            argv += [other, address, str(port)]
    if not argv:
        return ()
    try:
        said = shell.run(["sh", "-s", "--", *argv], given=_TRY, timeout=20)
    except NoAnswer:
        return None
    return read_ways(said.out) if not said.code else None


# -- what they say ---------------------------------------------------------------------------------------------


def read_inside(text: str, began: float, ended: float) -> Inside:
    """What the script said, between two times of this machine. Whatever makes no sense is left out."""
    told = defaultdict(list)
    for line in text[:_MOST].splitlines():
        key, _, rest = line.partition(" ")
        told[key].append(rest.strip())

    def last(key: str) -> str:
        return told[key][-1] if told[key] else ""

    thp = dict(each.split(" ", 1) for each in told["thp"] if " " in each)
    return Inside(
        clock=_clock(told["clock"], began, ended),
        synchronised={"yes": True, "no": False}.get(last("synchronised")),
        name=last("name"),
        virtualisation="virtualisation" in told,
        kvm=_kvm(last("kvm").split()),
        huge=thp.get("enabled", ""),
        defrag=thp.get("defrag", ""),
        merges={"0": False, "1": True, "2": False}.get(last("ksm")),
        file_systems=tuple(_file_systems(told["fs"])),
        ports=(_number(last("first"), MIGRATION_PORTS[0]), _number(last("last"), MIGRATION_PORTS[1])),
        listening=frozenset(int(each, 16) for each in told["listens"] if re.fullmatch("[0-9A-F]{4}", each)),
        pressure=tuple(_pressure(told["pressure"])),
        certificates=tuple(_certificates(told["certificate"])),
    )


def read_ways(text: str) -> tuple[Way, ...]:
    """What became of the connections, in order of the hosts that they led to."""
    lines = (line.split() for line in text[:_MOST].splitlines())
    ways = (
        Way(words[1], words[2], int(words[3]), words[4])
        for words in lines
        if len(words) == 5 and re.fullmatch("[0-9]{1,5}", words[3])
    )
    return tuple(sorted(ways, key=lambda way: way.target))


def _clock(said: Sequence[str], began: float, ended: float) -> tuple[float, float] | None:
    """It was `said[0]` there after it had begun, and `said[-1]` before it had ended."""
    times = [float(each) for each in said if re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,9})?", each)]
    if not times:
        return None
    whole = 0.0 if all("." in each for each in said) else 1.0  # a `date` that knows no %N
    return times[-1] - ended, times[0] - began + whole


def _kvm(words: Sequence[str]) -> KvmDevice | None:
    if len(words) < 4 or not all(re.fullmatch("[0-9]{1,9}", word) for word in (*words[:3], *words[4:])):
        return None
    numbers = [int(word) for word in words[4:]]
    return KvmDevice(
        int(words[0], 8) if re.fullmatch("[0-7]+", words[0]) else 0,
        int(words[1]),
        int(words[2]),
        "" if words[3] == "-" else words[3],
        numbers[0] if numbers else None,
        frozenset(numbers[1:]),
    )


def _file_systems(said: Sequence[str]) -> Iterator[FileSystem]:
    for each in said:
        words = each.split(" ", 5)
        if len(words) == 6 and all(re.fullmatch("[0-9]{1,20}", word) for word in words[:5]):
            inodes, free, block, blocks, available = map(int, words[:5])
            yield FileSystem(words[5], inodes, free, block * blocks, block * available)


def _pressure(said: Sequence[str]) -> Iterator[tuple[str, float]]:
    for each in said:
        name, _, percent = each.partition(" ")
        if re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,2})?", percent):
            yield name, float(percent)


def _certificates(said: Sequence[str]) -> Iterator[Certificate]:
    for each in said:
        path, _, text = each.partition(" ")
        try:
            until = valid_until(base64.b64decode(text, validate=True))
        except (ValueError, binascii.Error):
            continue
        yield Certificate(path, until)


def _number(text: str, usual: int) -> int:
    return int(text) if re.fullmatch("[0-9]{1,5}", text) else usual
