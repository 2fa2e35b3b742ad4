"""A lab host's own files: everything that it sees below /etc/libvirt, /var/*/libvirt, /srv and /run.

Within a host all paths are the usual ones (`/etc/libvirt/pki`, `/run/libvirt/libvirt-sock`), wherever the lab
lies.
"""

from __future__ import annotations

import os
import re
import shutil
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# Directory in the host's folder -> where the host sees it. /run comes last: it may hold, and then hides, the
# lab itself.
MOUNTS = {
    "etc": "/etc/libvirt",
    "lib": "/var/lib/libvirt",
    "log": "/var/log/libvirt",
    "cache": "/var/cache/libvirt",
    "srv": "/srv",
    "run": "/run",
}
SOCKET = "run/libvirt/libvirt-sock"  # in the host's folder

_LIBVIRTD = """\
host_uuid = "{uuid}"
listen_tcp = 1
listen_tls = {tls:d}
auth_tcp = "none"
auth_tls = "none"
auth_unix_ro = "none"
auth_unix_rw = "none"
unix_sock_ro_perms = "0700"
unix_sock_rw_perms = "0700"
log_outputs = "3:file:/var/log/libvirt/libvirtd.log"
max_clients = 1000
max_workers = 20
"""
_LIBVIRTD_TLS = """\
ca_file = "/etc/libvirt/pki/ca-cert.pem"
cert_file = "/etc/libvirt/pki/server-cert.pem"
key_file = "/etc/libvirt/pki/server-key.pem"
"""
# No security module, no cgroups, no mount namespaces: each would need more than a laptop's ordinary user may do.
# `file` spares a virtlogd for each host.
_QEMU = """\
user = "+{user}"
group = "+{user}"
dynamic_ownership = {owned:d}
remember_owner = 0
security_driver = "none"
namespaces = [ ]
cgroup_controllers = [ ]
stdio_handler = "file"
migration_host = "{address}"
"""
_QEMU_TLS = 'default_tls_x509_cert_dir = "/etc/libvirt/pki"\n'


def host_uuid(directory: Path, name: str) -> uuid.UUID:
    """The host UUID that libvirtd reports: stable for a lab's directory and a host's name, else unique."""
    return uuid.uuid5(uuid.NAMESPACE_URL, f"kvmdecl-lab:{directory}:{name}")


def write_host(folder: Path, *, identity: uuid.UUID, address: str, tls: bool, user: int) -> None:
    """Write the configuration of one host. What the host itself has stored (definitions, volumes) stays.

    Args:
        folder: of the host.
        identity: the host's UUID.
        address: where other hosts send guests to.
        tls: whether libvirtd listens on TLS, too.
        user: that QEMU runs as, as the host sees it; libvirtd gives it the files of a guest that it starts.
    """
    # libvirtd makes no folder for dnsmasq until it starts one, and then misses it when a guest is on another network.
    made = ("run/libvirt", "run/sshd", "run/lock", "lib/images", "lib/qemu", "lib/dnsmasq", "log/qemu")
    for part in (*MOUNTS, *made):
        (folder / part).mkdir(parents=True, exist_ok=True)
    _copy_network_filters(folder / "etc/nwfilter")
    libvirtd = _LIBVIRTD.format(uuid=identity, tls=tls) + (_LIBVIRTD_TLS if tls else "")
    (folder / "etc/libvirtd.conf").write_text(libvirtd)
    qemu = _QEMU.format(address=address, user=user, owned=user != 0) + (_QEMU_TLS if tls else "")
    (folder / "etc/qemu.conf").write_text(qemu)
    if tls and user:
        os.chown(folder / "etc/pki/server-key.pem", user, user)
    (folder / "machine-id").write_text(f"{identity.hex}\n")


def write_shared(directory: Path, addresses: Iterable[tuple[str, str]]) -> None:
    """Write what all hosts see: /etc/hosts, and users that sshd can become without changing anything."""
    hosts = "".join(f"{address} {name}\n" for name, address in addresses)
    (directory / "etc-hosts").write_text(f"127.0.0.1 localhost\n::1 localhost\n{hosts}")
    # A user namespace of one user knows uid 0 only, so root and sshd's own user both become it there.
    accounts = [re.sub(r"^((?:root|sshd):[^:]*):\d+:\d+:", r"\1:0:0:", line) for line in _accounts()]
    (directory / "passwd").write_text("".join(accounts))
    (directory / "shadow").write_text("root:*:19000:0:99999:7:::\nsshd:*:19000:0:99999:7:::\n")


def _accounts() -> list[str]:
    return Path("/etc/passwd").read_text(errors="surrogateescape").splitlines(keepends=True)


def _copy_network_filters(target: Path) -> None:
    """Give a new host libvirt's own network filters, which only root may read on Debian."""
    if target.exists():
        return
    target.mkdir()
    for source in Path("/etc/libvirt/nwfilter").glob("*.xml"):
        try:
            shutil.copyfile(source, target / source.name)
        except PermissionError:
            continue
