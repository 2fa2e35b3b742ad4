"""A whole machine as a host: QEMU with an emulated IOMMU, a kernel and a libvirtd of its own, and devices to pass on.

    cell 0   two NICs that are one device (one group), two NICs on a conventional bus (one group with its bridge)
    cell 1   a NIC alone below its port
             an NVMe drive that can have virtual functions

Its management network ends on the loopback interface of this machine.
"""

from __future__ import annotations

import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.machine.image import Image

ALONE = "0000:41:00.0"
"""A NIC of cell 1 that is alone in its group."""

_MIB_PER_CELL = 768
_BOOT_SECONDS = 240


@dataclass(frozen=True)
class RealHost:
    """A host that runs."""

    folder: Path
    port: int

    @property
    def uri(self) -> str:
        """For libvirt and manifests."""
        return f"qemu+tcp://127.0.0.1:{self.port}/system"

    def shell(self, command: str, timeout: float = 120) -> str:
        """What a command prints there, as root."""
        begin, end = uuid.uuid4().hex, uuid.uuid4().hex
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(timeout)
            line.connect(str(self.folder / "shell"))
            # In two parts, for the terminal echoes the command.
            marks = (f"echo {mark[:9]}''{mark[9:]}" for mark in (begin, end))
            first, last = marks
            line.sendall(f"stty -echo -onlcr\n{first}; {{ {command}\n}} 2>&1; {last}\n".encode())
            said = b""
            while end.encode() not in said:
                if not (more := line.recv(65536)):
                    raise ConnectionError(f"the machine is gone: {said.decode(errors='replace')[-500:]}")
                said += more
        text = said.decode(errors="replace").replace("\r", "")
        return text.split(begin)[-1].split(end)[0].strip()


@contextmanager
def real_host(image: Image) -> Iterator[RealHost]:
    """Boot a machine; it ends with the block, and nothing of it is left."""
    with tempfile.TemporaryDirectory(
        prefix="kvmdecl-machine-", dir="/tmp"
    ) as work:  # socket paths must be short
        host = RealHost(Path(work), _free_port())
        _files(image, host.folder)
        with (host.folder / "errors").open("w") as errors:
            process = subprocess.Popen(_command(image, host), stderr=errors)
        try:
            _wait(process, host)
            yield host
        finally:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _files(image: Image, folder: Path) -> None:
    """A disk that is thrown away, over that of the image; a drive to pass on."""
    overlay = [
        "qemu-img",
        "create",
        "-q",
        "-f",
        "qcow2",
        "-F",
        "raw",
        "-b",
        str(image.disk),
        str(folder / "disk"),
    ]
    subprocess.run(overlay, check=True)
    with (folder / "nvme").open("wb") as drive:
        drive.truncate(64 * 1024**2)


def _wait(process: subprocess.Popen[bytes], host: RealHost) -> None:
    """Until libvirtd listens. Raises TimeoutError with the end of the console."""
    deadline, console = time.monotonic() + _BOOT_SECONDS, host.folder / "console"
    while "READY" not in (said := console.read_text(errors="replace") if console.exists() else ""):
        if process.poll() is not None or time.monotonic() > deadline:
            errors = (host.folder / "errors").read_text()
            raise TimeoutError(f"the machine does not boot: {said[-2000:]}{errors}")
        time.sleep(0.2)


def _command(image: Image, host: RealHost) -> list[str]:
    folder, cells = host.folder, (0, 1)
    words = f"""
        qemu-system-x86_64 -nodefaults -no-reboot -display none -M q35 -accel tcg,thread=multi -cpu max
        -smp 4,sockets=2,cores=2,threads=1 -m {2 * _MIB_PER_CELL}
        -serial file:{folder}/console -serial unix:{folder}/shell,server=on,wait=off
        {" ".join(f"-object memory-backend-ram,id=m{n},size={_MIB_PER_CELL}M" for n in cells)}
        {" ".join(f"-numa node,nodeid={n},cpus={2 * n}-{2 * n + 1},memdev=m{n}" for n in cells)}
        -device intel-iommu,intremap=on,caching-mode=on
        -kernel {image.kernel} -initrd {image.initrd}
        -drive if=none,id=root,file={folder}/disk,format=qcow2,cache=unsafe
        -device virtio-blk-pci,bus=pcie.0,drive=root
        -netdev user,id=lan,restrict=on,hostfwd=tcp:127.0.0.1:{host.port}-:16509
        -device virtio-net-pci,bus=pcie.0,netdev=lan,mac=52:54:00:aa:00:01,romfile=
        -device pcie-root-port,bus=pcie.0,id=slot1,chassis=1
        -device e1000e,bus=slot1,addr=0.0,multifunction=on,mac=52:54:00:aa:01:00,romfile=
        -device e1000e,bus=slot1,addr=0.1,mac=52:54:00:aa:01:01,romfile=
        -device pcie-pci-bridge,bus=pcie.0,id=old
        -device e1000,bus=old,addr=1,mac=52:54:00:aa:02:01,romfile=
        -device e1000,bus=old,addr=2,mac=52:54:00:aa:02:02,romfile=
        -device pxb-pcie,bus=pcie.0,id=far,bus_nr=64,numa_node=1
        -device pcie-root-port,bus=far,id=slot2,chassis=2
        -device e1000e,bus=slot2,mac=52:54:00:aa:03:00,romfile=
        -device pcie-root-port,bus=pcie.0,id=slot3,chassis=3
        -device nvme-subsys,id=drives -drive if=none,id=nvme,file={folder}/nvme,format=raw
        -device nvme,id=nvme0,bus=slot3,serial=drive,subsys=drives,{_VIRTUAL}
        -device nvme-ns,drive=nvme,bus=nvme0,nsid=1
    """.split()
    append = (
        "console=ttyS0 quiet panic=-1 intel_iommu=on tsc=unstable root=/dev/vda rw init=/sbin/machine-init"
    )
    return [*words, "-append", append]


_VIRTUAL = "sriov_max_vfs=4,sriov_vq_flexible=8,sriov_vi_flexible=4,max_ioqpairs=18,msix_qsize=9"
