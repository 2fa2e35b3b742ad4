"""Throw-away keys of a lab: a certificate authority with host and client certificates, and SSH keys.

`HOST/etc/pki` is what libvirtd and QEMU of that host read (for connections and for migration streams),
`client` what `?pkipath=` wants, `ssh` the key and the configuration of SSH clients. All of it dies with the
lab.
"""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

from kvmdecl.lab.refusals import refusal, tool
from kvmdecl.text import safe_text

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "3650"]
_SSHD = """\
HostKey /etc/libvirt/ssh/host_key
AuthorizedKeysFile /etc/libvirt/ssh/authorized_keys
PidFile /run/sshd.pid
PermitRootLogin prohibit-password
PasswordAuthentication no
UsePAM no
StrictModes no
UseDNS no
MaxStartups 200
"""
_SSH = """\
Host *
  User root
  IdentityFile {folder}/id
  IdentitiesOnly yes
  UserKnownHostsFile {folder}/known_hosts
  StrictHostKeyChecking yes
  BatchMode yes
"""


def make_authority(directory: Path) -> None:
    """Make the lab's certificate authority, and a client's certificate in `client`."""
    folder = directory / "client"
    folder.mkdir()
    (directory / "authority").mkdir()
    _openssl(
        *("-subj", "/CN=kvmdecl lab", "-addext", "keyUsage=critical,keyCertSign,cRLSign"),
        *("-keyout", directory / "authority/key.pem", "-out", folder / "cacert.pem"),
    )
    _certificate(directory, "client", "clientAuth", folder / "clientkey.pem", folder / "clientcert.pem")


def make_host_certificate(directory: Path, folder: Path, name: str, address: str) -> None:
    """Make a host's certificate, for the server's and (migration) the client's end of a connection."""
    pki = folder / "etc/pki"
    pki.mkdir(parents=True)
    names = f"DNS:{name},DNS:localhost,IP:{address},IP:127.0.0.1"
    key, certificate = pki / "server-key.pem", pki / "server-cert.pem"
    _certificate(directory, name, "serverAuth,clientAuth", key, certificate, f"subjectAltName={names}")
    for source, target in (
        (directory / "client/cacert.pem", "ca-cert.pem"),
        (key, "client-key.pem"),
        (certificate, "client-cert.pem"),
    ):
        shutil.copyfile(source, pki / target)


def make_ssh_keys(directory: Path, hosts: Iterable[tuple[str, str, Path]]) -> None:
    """Make one client key, and a host key for each `(name, address, folder)`."""
    client = directory / "ssh"
    client.mkdir()
    _keygen(client / "id", "kvmdecl lab")
    (client / "config").write_text(_SSH.format(folder=client))
    known = []
    for name, address, folder in hosts:
        server = folder / "etc/ssh"
        server.mkdir(parents=True)
        _keygen(server / "host_key", name)
        known.append(f"{name},{address} {(server / 'host_key.pub').read_text()}")
        (server / "sshd_config").write_text(_SSHD)
        shutil.copyfile(client / "id.pub", server / "authorized_keys")
    (client / "known_hosts").write_text("".join(known))


def _certificate(directory: Path, subject: str, usage: str, key: Path, out: Path, *extensions: str) -> None:
    wanted = [f"extendedKeyUsage={usage}", "basicConstraints=critical,CA:false", *extensions]
    _openssl(
        *(
            "-CA",
            directory / "client/cacert.pem",
            "-CAkey",
            directory / "authority/key.pem",
            "-subj",
            f"/CN={subject}",
        ),
        *(option for extension in wanted for option in ("-addext", extension)),
        *("-addext", "keyUsage=critical,digitalSignature,keyEncipherment", "-keyout", key, "-out", out),
    )


def _openssl(*options: str | Path) -> None:
    _run([tool("openssl"), "req", "-x509", *_KEY, *map(str, options)])


def _keygen(path: Path, comment: str) -> None:
    _run([tool("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)])


def _run(argv: list[str]) -> None:
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise refusal("lab.start-failed", f"{argv[0]} failed: {safe_text(done.stderr.strip()[-300:])}")
