"""What planning is compared with: read the same XML through libvirt and do nothing with it.

Usage: python bare_loop.py URI...
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import libvirt


def read(uri: str) -> int:
    """Read a host as a plan needs it, one call after the other, and return how much text that was."""
    connection = libvirt.openReadOnly(uri)
    texts = [connection.getCapabilities()]
    for domain in connection.listAllDomains():
        texts.append(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
        if domain.isActive():
            texts.append(domain.XMLDesc())
    texts += [network.XMLDesc() for network in connection.listAllNetworks()]
    for pool in connection.listAllStoragePools():
        texts += [pool.XMLDesc(), *(volume.XMLDesc() for volume in pool.listAllVolumes())]
    connection.close()
    return sum(map(len, texts))


if __name__ == "__main__":
    with ThreadPoolExecutor() as pool:
        print(sum(pool.map(read, sys.argv[1:])), "characters")
