#!/usr/bin/env bash
# kvmdecl from an empty cluster to a change of a running guest, on three real libvirtd daemons of this machine.
# Run by `make demo`. Everything happens in one folder under /tmp and is gone at the end, whatever happens.
set -euo pipefail

manifest=$(dirname "$0")/../clusters/demo/cluster.yaml
work=$(mktemp -d /tmp/kvmdecl-demo.XXXXXX)
export KVMDECL_LAB=$work/lab
unset KVMDECL_CLUSTER

finish() {
    local code=$?
    trap - EXIT INT TERM
    chapter "Teardown: no process, network or file is left"
    show kvmdecl lab down
    rm -rf "$work"
    exit "$code"
}
trap finish EXIT
trap 'exit 130' INT TERM

chapter() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
show() { printf '\n$ %s\n' "$*"; "$@"; }
qemu_pid() { kvmdecl lab sh kvm-1 -- cat /run/libvirt/qemu/db.pid; }

[ -t 1 ] && [ -z "${NO_COLOR:-}" ] || chapter() { printf '\n== %s\n' "$*"; }

mkdir -p "$work/demo/images"
cp "$manifest" "$work/demo/"
cd "$work"
python -c 'import pathlib; from kvmdecl.lab.guest import tiny_image; tiny_image(pathlib.Path("demo/images/tiny.img"))'

chapter "Three hosts: real libvirtd, real QEMU, each with its own name, storage and networks"
show kvmdecl lab up --hosts 3

chapter "What would change? Planning reads the hosts and touches nothing"
show kvmdecl plan demo

chapter "Make just that happen, on all hosts at once"
show kvmdecl apply demo --yes

chapter "Plan again: the hosts hold what the manifest says, and exit code 0 says so to scripts"
show kvmdecl plan demo --detailed-exitcode

chapter "An edit: two more CPUs for db, which is running"
before=$(qemu_pid)
sed -i.before 's/cpus: {count: 1, max: 4}/cpus: {count: 3, max: 4}/' demo/cluster.yaml
diff -U0 demo/cluster.yaml.before demo/cluster.yaml | grep '^[-+] ' || true
show kvmdecl plan demo --out plan.json

chapter "Apply the plan that was reviewed"
show kvmdecl apply plan.json --yes

after=$(qemu_pid)
chapter "The guest never stopped"
cpus=$(virsh -c "$(kvmdecl lab uri kvm-1)" vcpucount db --live --active | xargs)
echo "QEMU of db was process $before and is process $after; the guest has $cpus CPUs."
[ "$before" = "$after" ]
show kvmdecl plan demo --detailed-exitcode
