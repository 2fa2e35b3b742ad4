"""What is made of what a host's programs say, and what the two scripts say on this machine."""

from __future__ import annotations

import base64
import socket
import ssl
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kvmdecl.hosts.certificates import certificates, valid_until
from kvmdecl.hosts.inside import look, read_inside, read_ways
from kvmdecl.hosts.shell import CommandShell
from kvmdecl.inside import MIGRATION_PORTS, FileSystem, Inside, KvmDevice, Way
from kvmdecl.manager import NoAnswer, Said
from kvmdecl.uri import parse_manifest_uri

if TYPE_CHECKING:
    from collections.abc import Sequence

SAID = """\
clock 1000.250000000
name kvm-1.example
synchronised yes
virtualisation
kvm 660 0 108 libvirt-qemu 64055 64055 108
thp enabled madvise
thp defrag defer+madvise
ksm 1
fs 1000 900 4096 262144 131072 /srv/vms of old
fs 0 0 4096 10 5 /etc/libvirt
first 50000
last 50063
listens 0016
listens C350
pressure cpu 12.50
pressure io 0.00
clock 1001.500000000
"""


def test_what_the_script_says_is_read() -> None:
    seen = read_inside(SAID, began=1000.0, ended=1001.0)
    assert seen == Inside(
        clock=(0.5, 0.25),
        synchronised=True,
        name="kvm-1.example",
        virtualisation=True,
        kvm=KvmDevice(0o660, 0, 108, "libvirt-qemu", 64055, frozenset({64055, 108})),
        huge="madvise",
        defrag="defer+madvise",
        merges=True,
        file_systems=(
            FileSystem("/srv/vms of old", 1000, 900, 2**30, 2**29),
            FileSystem("/etc/libvirt", 0, 0, 40960, 20480),
        ),
        ports=(50000, 50063),
        listening=frozenset({22, 50000}),
        pressure=(("cpu", 12.5), ("io", 0.0)),
    )
    assert seen.free_port == 50001


@pytest.mark.parametrize(
    ("times", "clock"),
    [
        (("5.5", "6.5"), (-4.5, -3.5)),
        (("10", "11"), (0.0, 2.0)),
        (("10.0%N", "x"), None),
        ((), None),
    ],
)
def test_a_clock_is_known_as_far_as_the_answer_took(
    times: Sequence[str], clock: tuple[float, float] | None
) -> None:
    text = "".join(f"clock {each}\n" for each in times)
    assert read_inside(text, began=9.0, ended=11.0).clock == clock


@pytest.mark.parametrize(
    "line",
    ["fs a b c d e /x", "fs 1 2 3 /x", "kvm 66z 0 0 root 0", "kvm", "listens ZZZZ", "pressure cpu many", "thp enabled",
     "certificate /x %%%", "certificate /x MAAA", "certificate", "ksm 7", "first 1e9", "\x1b[2J", "clock nan"],
)  # fmt: skip
def test_what_makes_no_sense_is_left_out(line: str) -> None:
    assert read_inside(line + "\n", 0.0, 0.0) == Inside()


@pytest.mark.parametrize(
    ("mode", "user", "gids", "may"),
    [
        (0o600, 0, {0}, True),
        (0o600, 107, {107}, False),
        (0o660, 107, {107, 36}, True),
        (0o640, 107, {107, 36}, False),
        (0o666, 107, {107}, True),
        (0o660, None, {}, None),
    ],
)
def test_who_may_open_kvm_is_told_by_its_permissions(
    mode: int, user: int | None, gids: set[int], may: bool | None
) -> None:
    assert KvmDevice(mode, 0, 36, "qemu", user, frozenset(gids)).is_open is may


def test_what_became_of_connections_is_read() -> None:
    text = "way kvm-3 kvm-3.example 49152 silent\nway kvm-2 10.0.0.2 49153 refused\nway broken\n"
    assert read_ways(text) == (
        Way("kvm-2", "10.0.0.2", 49153, "refused"),
        Way("kvm-3", "kvm-3.example", 49152, "silent"),
    )


# -- the scripts themselves --------------------------------------------------------------------------------------


def test_the_script_reads_this_machine_and_names_that_cannot_be_are_not_tried(tmp_path: Path) -> None:
    shells = {"kvm-1": CommandShell("kvm-1", list), "kvm-2": CommandShell("kvm-2", list)}
    found = look(
        shells, {"kvm-1": [str(tmp_path), "/nowhere"]}, {"kvm-2": "127.0.0.1", "kvm-1": "no such.invalid"}
    )
    seen = found["kvm-1"]
    assert isinstance(seen, Inside)
    assert seen.clock is not None
    assert seen.clock[0] <= 0 <= seen.clock[1]
    assert [each.path for each in seen.file_systems if each.path.startswith(("/tmp", "/nowhere"))] == [
        str(tmp_path)
    ]
    assert seen.file_systems[-1].size > 0
    assert seen.huge in {"always", "madvise", "never", ""}
    assert [(way.target, way.how) for way in seen.ways or ()] == [("kvm-2", "refused")]
    assert isinstance(found["kvm-2"], Inside)
    assert found["kvm-2"].ways == (), "its address holds what is in no address"
    assert seen.ports == MIGRATION_PORTS


@dataclass
class Mute:
    """A shell that says what it is told to, or nothing."""

    said: list[Said | NoAnswer] = field(default_factory=list)

    def run(self, argv: Sequence[str], *, given: str = "", timeout: float = 20.0) -> Said:
        answer = self.said.pop(0)
        if isinstance(answer, NoAnswer):
            raise answer
        return answer


def test_a_host_whose_shell_says_nothing_keeps_no_other_from_being_looked_into() -> None:
    well = Said(0, SAID, "")
    found = look(
        {
            "kvm-1": Mute([NoAnswer("kvm-1: no connection")]),
            "kvm-2": Mute([Said(127, "", "")]),
            "kvm-3": Mute([well, Said(3, "", "")]),
            "kvm-4": Mute([well, NoAnswer("gone")]),
            "kvm-5": Mute([well, Said(0, "way kvm-3 a 1 open\n", "")]),
        },
        {},
        {},
        clock=lambda: 1001.0,
    )
    assert {name: str(each) for name, each in found.items() if isinstance(each, NoAnswer)} == {
        "kvm-1": "kvm-1: no connection",
        "kvm-2": "a shell there ends with 127",
    }
    ways = {name: each.ways for name, each in found.items() if isinstance(each, Inside)}
    assert ways == {"kvm-3": None, "kvm-4": None, "kvm-5": (Way("kvm-3", "a", 1, "open"),)}
    assert look({}, {}, {}) == {}


# -- certificates ------------------------------------------------------------------------------------------------


@pytest.fixture(
    params=[3, 30000], ids=lambda days: f"{days}-days"
)  # UTCTime cannot say the year of the second
def pki(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, float]:
    """A folder with a certificate and its key, and until when it is valid."""
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ]
    out = ["-keyout", str(tmp_path / "clientkey.pem"), "-out", str(tmp_path / "clientcert.pem")]
    days = str(request.param)
    subprocess.run([*command, "-days", days, "-subj", "/CN=a", *out], check=True, capture_output=True)
    return tmp_path, time.time() + request.param * 86400


def test_until_when_a_certificate_is_valid_is_read_from_its_file(pki: tuple[Path, float]) -> None:
    folder, until = pki
    der = ssl.PEM_cert_to_DER_cert((folder / "clientcert.pem").read_text())
    assert abs(valid_until(der) - until) < 60
    text = base64.b64encode(der).decode()
    (read,) = read_inside(f"certificate /etc/pki/x.pem {text}\n", 0.0, 0.0).certificates
    assert (read.path, read.until) == ("/etc/pki/x.pem", valid_until(der))


def test_a_host_shows_its_certificate_and_this_machine_has_its_own(pki: tuple[Path, float]) -> None:
    folder, until = pki
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "clientcert.pem", folder / "clientkey.pem")
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(
            target=lambda: context.wrap_socket(server.accept()[0], server_side=True).close()
        )
        thread.start()
        uri = f"qemu+tls://127.0.0.1:{server.getsockname()[1]}/system?pkipath={folder}"
        uris = {
            "kvm-1": uri,
            "kvm-2": f"qemu+tls://127.0.0.1:9/system?pkipath={folder}",
            "kvm-3": "qemu:///system",
        }
        found = certificates({name: parse_manifest_uri(uri) for name, uri in uris.items()})
        thread.join()
    assert {name: abs(each.until - until) < 60 for name, each in found.items()} == {"kvm-1": True, "": True}


def test_what_is_no_certificate_is_refused() -> None:
    for der in (b"", b"0", b"0\x80", b"0\x84\xff\xff\xff\xff0", b"\x30\x03\x30\x01\x00", b"PEM" * 99):
        with pytest.raises(ValueError, match="certificate"):
            valid_until(der)
