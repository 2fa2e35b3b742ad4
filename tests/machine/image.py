"""What a whole machine boots: Debian with libvirtd and the QEMU driver, made once from packages and kept.

Takes some three minutes, root, and 800 MB below `$XDG_CACHE_HOME/kvmdecl` (`~/.cache/kvmdecl`). Another recipe is
another image; `rm -r` makes it anew.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

SUITE = "bookworm"
PACKAGES = (
    *("linux-image-amd64", "initramfs-tools", "udev", "kmod", "iproute2", "pciutils"),
    *("libvirt-daemon", "libvirt-daemon-driver-qemu", "libvirt-clients", "qemu-system-x86", "qemu-utils"),
)

# The first process. A machine that is emulated has no time for more: nothing of systemd is started.
INIT = r"""#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev 2>/dev/null
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts; mount -t tmpfs tmpfs /dev/shm; mount -t tmpfs tmpfs /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p /run/lock /run/libvirt /var/log/libvirt/qemu
hostname kvm-1; echo '127.0.0.1 localhost kvm-1' > /etc/hosts; : > /etc/resolv.conf
ip link set lo up
/lib/systemd/systemd-udevd --daemon; udevadm trigger --action=add; udevadm settle -t 60
for module in virtio_net vfio-pci kvm_intel kvm_amd tun; do modprobe $module 2>/dev/null; done
for nic in /sys/class/net/*; do
    [ "$(cat $nic/address)" = 52:54:00:aa:00:01 ] || continue
    ip link set ${nic##*/} up; ip addr add 10.0.2.15/24 dev ${nic##*/}
done
cat > /etc/libvirt/libvirtd.conf <<C
host_uuid = "5a3ab1f0-6a34-4c1f-9a54-0d1e7c1f1a01"
listen_tls = 0
listen_tcp = 1
auth_tcp = "none"
auth_unix_rw = "none"
C
cat > /etc/libvirt/qemu.conf <<C
user = "root"
group = "root"
security_driver = "none"
stdio_handler = "file"
remember_owner = 0
C
libvirtd --daemon --listen && echo READY > /dev/console
while :; do setsid sh < /dev/ttyS1 > /dev/ttyS1 2>&1; done
"""

_USER = "libvirt-qemu:x:64055:64055::/var/lib/libvirt:/usr/sbin/nologin"
"""Who libvirt's QEMU driver looks for, whatever qemu.conf says; the package of the whole system makes it."""


@dataclass(frozen=True)
class Image:
    """Files of an image: kernel, its first file system, and the disk, which nobody writes to."""

    kernel: Path
    initrd: Path
    disk: Path


def missing_tools() -> list[str]:
    """What the image cannot be made, or booted, without."""
    return [
        tool for tool in ("mmdebstrap", "mkfs.ext4", "qemu-system-x86_64", "qemu-img") if not _which(tool)
    ]


def image() -> Image:
    """The image, made now if it never was. Raises subprocess.CalledProcessError if it cannot be."""
    recipe = hashlib.sha256("\0".join((SUITE, *PACKAGES, INIT)).encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kvmdecl"
    folder = cache / f"machine-{recipe}"
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as work:
            _build(Path(work))
            (Path(work) / "done").rename(folder)
    return Image(folder / "kernel", folder / "initrd", folder / "disk.img")


def _build(work: Path) -> None:
    root, done = work / "root", work / "done"
    subprocess.run(
        [
            *("mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(PACKAGES)}"),
            *('--aptopt=Acquire::Languages "none"', "--dpkgopt=path-exclude=/usr/share/doc/*"),
            *("--dpkgopt=path-exclude=/usr/share/locale/*", "--dpkgopt=path-exclude=/usr/share/man/*"),
            # Of all modules these are needed to find the disk; a small file system is there sooner.
            '--customize-hook=printf "MODULES=list\\nCOMPRESS=gzip\\n" > "$1/etc/initramfs-tools/conf.d/machine"',
            '--customize-hook=printf "virtio_pci\\nvirtio_blk\\next4\\n" >> "$1/etc/initramfs-tools/modules"',
            '--customize-hook=chroot "$1" update-initramfs -u',
            *(SUITE, str(root)),
        ],
        check=True,
    )
    (root / "sbin/machine-init").write_text(INIT)
    (root / "sbin/machine-init").chmod(0o755)
    with (root / "etc/passwd").open("a") as users, (root / "etc/group").open("a") as groups:
        users.write(f"{_USER}\n")
        groups.write("libvirt-qemu:x:64055:\n")
    done.mkdir()
    for name, pattern in (("kernel", "vmlinuz-*"), ("initrd", "initrd.img-*")):
        shutil.copy(next((root / "boot").glob(pattern)), done / name)
    shutil.rmtree(root / "boot")
    (root / "boot").mkdir()
    with (done / "disk.img").open("wb") as disk:
        disk.truncate(4 * 1024**3)
    format_ = ("-q", "-O", "^has_journal", "-d", str(root), str(done / "disk.img"))
    subprocess.run([str(_which("mkfs.ext4")), *format_], check=True)


def _which(tool: str) -> str | None:
    return shutil.which(tool) or shutil.which(tool, path="/usr/sbin:/sbin")
