"""What libvirt, ssh and TLS say becomes a diagnostic with a code, and advice where the cause is known."""

from __future__ import annotations

import subprocess
import sys

import libvirt
import pytest

from kvmdecl.hosts.errors import diagnose, is_gone


def error(number: int, message: str, domain: int = libvirt.VIR_FROM_RPC) -> libvirt.libvirtError:
    made = libvirt.libvirtError("")
    made.err = (number, domain, message, 2, message, None, None, -1, -1)
    return made


SYSTEM, INTERNAL, RPC, AUTH = (
    libvirt.VIR_ERR_SYSTEM_ERROR,
    libvirt.VIR_ERR_INTERNAL_ERROR,
    libvirt.VIR_ERR_RPC,
    libvirt.VIR_ERR_AUTH_FAILED,
)


@pytest.mark.parametrize(
    ("number", "message", "code", "advice"),
    [
        (
            SYSTEM,
            "unable to connect to server at 'h:16509': Connection refused",
            "host.unreachable",
            "libvirtd",
        ),
        (SYSTEM, "unable to connect to server at 'h:16514': No route to host", "host.unreachable", "up"),
        (
            libvirt.VIR_ERR_OPERATION_TIMEOUT,
            "Timed out during operation: cannot acquire state change lock",
            "host.error",
            "virsh domjobinfo",
        ),
        (
            SYSTEM,
            "Failed to connect socket to '/x': No such file or directory",
            "host.unreachable",
            "libvirtd",
        ),
        (
            SYSTEM,
            "Unable to resolve address 'h' service '16514': Name or service not known",
            "host.unreachable",
            "name",
        ),
        (SYSTEM, "End of file while reading data: Input/output error", "host.unreachable", "up"),
        (
            SYSTEM,
            "Cannot recv data: Host key verification failed.: Connection reset by peer",
            "host.refused",
            "known_hosts",
        ),
        (
            SYSTEM,
            "Cannot recv data: root@h: Permission denied (publickey).: Connection reset by peer",
            "host.refused",
            "ssh-agent",
        ),
        (
            SYSTEM,
            "Cannot read CA certificate '/etc/pki/CA/cacert.pem': No such file",
            "host.refused",
            "virt-pki",
        ),
        (SYSTEM, "Failed to connect socket to '/x': Permission denied", "host.refused", "group"),
        (INTERNAL, "connection closed due to keepalive timeout", "host.timeout", "answers"),
        (AUTH, "authentication failed: Failed to start SASL negotiation: -4", "host.refused", "auth.conf"),
        (RPC, "Certificate failed validation: The certificate is expired.", "host.refused", "virt-pki"),
        (libvirt.VIR_ERR_OPERATION_DENIED, "operation forbidden: read only access", "host.refused", ""),
        (libvirt.VIR_ERR_OPERATION_FAILED, "domain 'certificate' already exists", "host.error", ""),
        (libvirt.VIR_ERR_INVALID_ARG, "invalid argument: timed out", "host.error", ""),
    ],
)
def test_a_known_message_gets_a_code_and_advice(number: int, message: str, code: str, advice: str):
    found = diagnose(error(number, message), "kvm-1", "connecting")
    assert (found.code, found.subject) == (code, "host/kvm-1")
    assert message in found.summary
    assert advice in found.hint


@pytest.mark.parametrize(
    ("domain", "number", "message", "advice"),
    [
        (libvirt.VIR_FROM_NONE, SYSTEM, "cannot open directory '/no/such': No such file or directory", ""),
        (
            libvirt.VIR_FROM_STORAGE,
            SYSTEM,
            "Cannot access storage file '/srv/x': No such file or directory",
            "",
        ),
        (
            libvirt.VIR_FROM_STORAGE,
            SYSTEM,
            "Cannot access storage file '/srv/x' (as uid:64055, gid:64055): Permission denied",
            "folders above it",
        ),
        (
            libvirt.VIR_FROM_QEMU,
            INTERNAL,
            "unable to execute QEMU command 'chardev-add': Failed to connect to '/srv/x.sock': Permission denied",
            "no socket",
        ),
        (
            libvirt.VIR_FROM_QEMU,
            INTERNAL,
            "qemu unexpectedly closed the monitor: Failed to connect to '10.0.0.1:1': Connection refused",
            "",
        ),
    ],
)
def test_what_a_host_says_of_its_files_is_not_about_reaching_it(
    domain: int, number: int, message: str, advice: str
):
    """Recorded from libvirt 9.0; the words and the numbers are those of connections that fail."""
    found = diagnose(error(number, message, domain), "kvm-1", "starting domain web")
    assert found.code == "host.error"
    assert message in found.summary
    assert advice in found.hint
    assert bool(advice) == bool(found.hint)


def test_a_message_that_would_act_on_the_terminal_is_made_safe_and_cut():
    found = diagnose(error(SYSTEM, "\x1b]0;x\x07" + "\u202e" + "a" * 10_000), "kvm-1", "connecting")
    assert found.summary.isprintable()
    assert len(found.summary) < 700


@pytest.mark.parametrize(
    "number",
    [
        libvirt.VIR_ERR_NO_DOMAIN,
        libvirt.VIR_ERR_NO_NETWORK,
        libvirt.VIR_ERR_NO_STORAGE_POOL,
        libvirt.VIR_ERR_NO_STORAGE_VOL,
        libvirt.VIR_ERR_NO_NODE_DEVICE,
        libvirt.VIR_ERR_NO_SECRET,
    ],
)
def test_an_object_that_does_not_exist_is_gone(number: int):
    assert is_gone(error(number, "gone"))


def test_a_host_that_does_not_answer_is_not_a_thing_that_is_gone():
    assert not is_gone(error(SYSTEM, "End of file while reading data"))


_LOOKED_FOR_IN_VAIN = """\
import gc, libvirt, os
from kvmdecl.hosts import worker

def serve(pipe, work):
    gc.set_threshold(1)
    connection = libvirt.open("test:///default")
    for _ in range(100):
        ring = type("Ring", (), {})()
        ring.itself, ring.handle = ring, connection.lookupByName("test")
        del ring
        try:
            connection.lookupByName("nobody")
        except libvirt.libvirtError as error:
            print(error.get_error_code(), flush=True)

worker.serve = serve
worker.main("read", *os.pipe())
"""


def test_no_error_is_lost_to_a_handle_that_is_collected_before_it_is_looked_at():
    """libvirt forgets a thread's last error when it frees a domain; Python asks for it after the call has returned."""
    program = [sys.executable, "-c", _LOOKED_FOR_IN_VAIN]
    told = subprocess.run(program, capture_output=True, text=True, check=True).stdout.split()

    assert told == [str(libvirt.VIR_ERR_NO_DOMAIN)] * 100
