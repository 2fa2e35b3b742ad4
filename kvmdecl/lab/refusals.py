"""How the lab says no: one diagnostic, raised."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from kvmdecl.diagnostics import Diagnostic, Rejected

if TYPE_CHECKING:
    from collections.abc import Iterable

# Where an ordinary user's PATH lacks them, the tools of the system administrator are still installed here.
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_PACKAGES = {
    "cibadmin": "pacemaker-cli-utils (Fedora: pacemaker-cli)",
    "corosync": "corosync",
    "corosync-cmapctl": "corosync",
    "hostname": "hostname",
    "ip": "iproute2 (Fedora: iproute)",
    "libvirtd": "libvirt-daemon-system (Fedora: libvirt-daemon)",
    "mount": "mount (Fedora: util-linux)",
    "nsenter": "util-linux",
    "openssl": "openssl",
    "pacemakerd": "pacemaker",
    "setsid": "util-linux",
    "ssh": "openssh-client (Fedora: openssh-clients)",
    "ssh-keygen": "openssh-client (Fedora: openssh)",
    "sshd": "openssh-server",
    "unshare": "util-linux",
    "virsh": "libvirt-clients (Fedora: libvirt-client)",
}


def refusal(code: str, summary: str, *, cause: str = "", hint: str = "", subject: str = "") -> Rejected:
    """Return the exception for one finding of the lab; the caller raises it."""
    return Rejected([Diagnostic(code, summary, cause=cause, hint=hint, subject=subject)])


def tool(name: str) -> str:
    """Return the absolute path of a program that the lab runs.

    Raises:
        Rejected: `lab.missing-tool`, naming the package that brings it.
    """
    require_tools([name])
    return str(_find(name))


def require_tools(names: Iterable[str]) -> None:
    """Check that all programs are installed, so that nothing starts which cannot be finished.

    Raises:
        Rejected: one `lab.missing-tool` for each program that is not there.
    """
    missing = [name for name in names if _find(name) is None]
    if missing:
        raise Rejected(_missing(name) for name in missing)


def _find(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path=SEARCH_PATH)


def _missing(name: str) -> Diagnostic:
    return Diagnostic(
        code="lab.missing-tool",
        summary=f"the program `{name}` is not installed",
        cause="A lab runs the libvirtd, QEMU and network tools of this machine.",
        hint=f"install the package {_PACKAGES.get(name, name)}",
    )
