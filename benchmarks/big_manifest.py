"""Write a manifest of many vms, each written out as a person would: no `count`, no profile, with comments.

python benchmarks/big_manifest.py 20000 >/tmp/big.yaml
"""

from __future__ import annotations

import sys
from typing import TextIO

HOSTS = 40
NETWORKS = 20
POOLS = ("fast", "bulk")
MEMORY = ("2GiB", "4GiB", "8GiB", "16GiB")
SIZES = ("20GiB", "50GiB", "100GiB")


def write(vms: int, out: TextIO) -> None:
    """Write the manifest; about 15 lines and 360 bytes for each vm."""
    print("apiVersion: kvmdecl/v1\ncluster: big\n\nhosts:", file=out)
    for number in range(HOSTS):
        print(f"  kvm-{number:02d}: qemu+tls://kvm-{number:02d}.example/system", file=out)
    print("\nnetworks:", file=out)
    for number in range(NETWORKS):
        print(f"  lan-{number:02d}: {{mode: bridge, bridge: br{number}}}", file=out)
    print("\nstorage:", file=out)
    for pool in POOLS:
        print(f"  {pool}: /srv/{pool}", file=out)
    print(f"\nimages:\n  debian: {{source: debian.qcow2, sha256: {'5e' * 32}}}", file=out)
    print("\nvms:", file=out)
    for number in range(vms):
        out.write(_vm(number))


def _vm(number: int) -> str:
    return f"""\
  # Service {number // 20}, instance {number % 20}.
  web-{number:05d}:
    host: kvm-{number % HOSTS:02d}
    description: Web server number {number} of the shop
    cpus: {2 + number % 7}
    memory: {MEMORY[number % len(MEMORY)]}
    disk: {{size: {SIZES[number % len(SIZES)]}, pool: fast, image: debian}}
    disks:
      data:  # grows with the customers
        size: {100 + number % 400}GiB
        pool: bulk
    nics:
      - network: lan-{number % NETWORKS:02d}
        model: virtio
      - lan-{(number + 7) % NETWORKS:02d}
"""


if __name__ == "__main__":
    write(int(sys.argv[1]), sys.stdout)
