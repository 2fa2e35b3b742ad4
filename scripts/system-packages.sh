#!/bin/sh
# Install what `make demo`, `make test`, `make pages`, `make acceptance`, `make bench` or `make screenshots` needs from
# Debian or Ubuntu, and say what that is. Only missing packages are installed; no service is started.
# Usage: system-packages.sh demo|test|pages|acceptance|bench|screenshots
set -eu

# What a lab runs: libvirt's daemon with the QEMU driver, QEMU for x86 with firmware, the network tools.
lab="libvirt-daemon-system libvirt-clients qemu-system-x86 qemu-utils ovmf dnsmasq-base iproute2 iptables"
# What libvirt-python is built with.
build="libvirt-dev pkg-config gcc libc6-dev"
# What the tests reach a lab's hosts with, over TLS and SSH.
transports="openssl openssh-client openssh-server"
# What guests of the tests need of a host: the emulator of TPMs, and one of another architecture.
devices="swtpm swtpm-tools qemu-system-arm"
# What a lab's hosts are a cluster with, what tells beforehand what a cluster would do, and who judges its configuration.
cluster="pacemaker pacemaker-cli-utils corosync pcs resource-agents fence-agents"
# What the documentation's commands hand plans to.
readers="graphviz jq"
# What a whole machine with an IOMMU is made with, for `make acceptance`: an image of Debian.
machine="mmdebstrap e2fsprogs"

case ${1:-} in
    demo) wanted="$lab $build" ;;
    test) wanted="$lab $build $transports $devices $cluster" ;;
    pages) wanted="$lab $build $transports $devices $cluster $readers" ;;
    acceptance) wanted="$lab $build $transports $devices $cluster $machine" ;;
    bench) wanted="$lab $build hyperfine" ;;
    screenshots) wanted="chromium fonts-dejavu-core" ;;
    *) echo "usage: $0 demo|test|pages|acceptance|bench|screenshots" >&2; exit 64 ;;
esac

is_installed() {
    [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# Headers and the venv module, where the Python in use comes without them; or a Python, where there is none.
python_packages() {
    python=$("$(dirname "$0")/find-python.sh" 2>/dev/null) || {
        echo "python3.11 python3.11-venv python3.11-dev"
        return
    }
    "$python" - <<'END' 2>/dev/null || echo "${python##*/}-venv ${python##*/}-dev"
import ensurepip, os, sysconfig, sys, venv
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))
END
}

if ! command -v apt-get >/dev/null; then
    echo "This is neither Debian nor Ubuntu. kvmdecl's checkout needs what these packages hold there:"
    echo "    $wanted python3-venv python3-dev"
    exit 0
fi

missing=$(python_packages)
for package in $wanted; do
    is_installed "$package" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || { echo "As root, install: $missing" >&2; exit 1; }
    as_root=sudo
fi
echo "Installing with apt-get:" $missing

# Debian starts what it installs, unless this file says no.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    trap '$as_root rm -f $policy' EXIT
    trap 'exit 130' INT TERM
    printf '#!/bin/sh\nexit 101\n' | $as_root tee $policy >/dev/null
    $as_root chmod 755 $policy
fi
$as_root apt-get update --quiet=2
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes --no-install-recommends $missing >/dev/null
