#!/bin/sh
# Written by `kvmdecl ha emit`: a cluster from hosts that are in none, or that have none of this.
set -eu

# -- corosync
pcs host auth kvm-01 kvm-02 kvm-03 kvm-04 kvm-05 kvm-06 kvm-07 kvm-08 kvm-09 kvm-10 kvm-11 kvm-12 kvm-13 kvm-14 kvm-15 kvm-16
pcs cluster setup hall \
    kvm-01 addr=10.1.0.1 addr=10.2.0.1 \
    kvm-02 addr=10.1.0.2 addr=10.2.0.2 \
    kvm-03 addr=10.1.0.3 addr=10.2.0.3 \
    kvm-04 addr=10.1.0.4 addr=10.2.0.4 \
    kvm-05 addr=10.1.0.5 addr=10.2.0.5 \
    kvm-06 addr=10.1.0.6 addr=10.2.0.6 \
    kvm-07 addr=10.1.0.7 addr=10.2.0.7 \
    kvm-08 addr=10.1.0.8 addr=10.2.0.8 \
    kvm-09 addr=10.1.0.9 addr=10.2.0.9 \
    kvm-10 addr=10.1.0.10 addr=10.2.0.10 \
    kvm-11 addr=10.1.0.11 addr=10.2.0.11 \
    kvm-12 addr=10.1.0.12 addr=10.2.0.12 \
    kvm-13 addr=10.1.0.13 addr=10.2.0.13 \
    kvm-14 addr=10.1.0.14 addr=10.2.0.14 \
    kvm-15 addr=10.1.0.15 addr=10.2.0.15 \
    kvm-16 addr=10.1.0.16 addr=10.2.0.16 \
    transport knet link_mode=passive crypto cipher=aes256 hash=sha256
pcs quorum device add model net algorithm=ffsplit host=qnetd.hall.example port=5403 tls=required
pcs cluster start --all --wait
pcs cluster enable --all

# -- Pacemaker
pcs cluster cib hall.cib
pcs -f hall.cib property set concurrent-fencing=true migration-limit=2 no-quorum-policy=stop placement-strategy=balanced stonith-enabled=true stonith-timeout=70s --force
pcs -f hall.cib resource defaults update failure-timeout=600s migration-threshold=3 resource-stickiness=1000
pcs -f hall.cib node utilization kvm-01 cpu=56 hv_memory=61440
pcs -f hall.cib node utilization kvm-02 cpu=56 hv_memory=61440
pcs -f hall.cib node utilization kvm-03 cpu=56 hv_memory=61440
pcs -f hall.cib node utilization kvm-04 cpu=56 hv_memory=61440
pcs -f hall.cib node utilization kvm-05 cpu=56 hv_memory=61440
pcs -f hall.cib node utilization kvm-06 cpu=56 hv_memory=61440
pcs -f hall.cib node utilization kvm-07 cpu=56 hv_memory=61440
pcs -f hall.cib node utilization kvm-08 cpu=56 hv_memory=61440
pcs -f hall.cib node utilization kvm-09 cpu=56 hv_memory=61440
pcs -f hall.cib node utilization kvm-10 cpu=56 hv_memory=61440
pcs -f hall.cib node utilization kvm-11 cpu=56 hv_memory=61440
pcs -f hall.cib node utilization kvm-12 cpu=56 hv_memory=61440
pcs -f hall.cib node utilization kvm-13 cpu=56 hv_memory=61440
pcs -f hall.cib node utilization kvm-14 cpu=56 hv_memory=61440
pcs -f hall.cib node utilization kvm-15 cpu=56 hv_memory=61440
pcs -f hall.cib node utilization kvm-16 cpu=56 hv_memory=61440
pcs -f hall.cib stonith create fence-kvm-01 fence_ipmilan ip=10.0.0.1 lanplus=1 password_script=/etc/cluster/bmc-password pcmk_host_check=static-list pcmk_host_list=kvm-01 pcmk_off_timeout=60s pcmk_reboot_timeout=60s username=ha op monitor interval=60s timeout=60s start interval=0s timeout=60s --force
pcs -f hall.cib stonith create fence-kvm-02 fence_ipmilan ip=10.0.0.2 lanplus=1 password_script=/etc/cluster/bmc-password pcmk_host_check=static-list pcmk_host_list=kvm-02 pcmk_off_timeout=60s pcmk_reboot_timeout=60s username=ha op monitor interval=60s timeout=60s start interval=0s timeout=60s --force
pcs -f hall.cib stonith create fence-kvm-03 fence_ipmilan ip=10.0.0.3 lanplus=1 password_script=/etc/cluster/bmc-password pcmk_host_check=static-list pcmk_host_list=kvm-03 pcmk_off_timeout=60s pcmk_reboot_timeout=60s username=ha op monitor interval=60s timeout=60s start interval=0s timeout=60s --force
pcs -f hall.cib stonith create fence-kvm-04 fence_ipmilan ip=10.0.0.4 lanplus=1 password_script=/etc/cluster/bmc-password pcmk_host_check=static-list pcmk_host_list=kvm-04 pcmk_off_timeout=60s pcmk_reboot_timeout=60s username=ha op monitor interval=60s timeout=60s start interval=0s timeout=60s --force
pcs -f hall.cib stonith create fence-kvm-05 fence_ipmilan ip=10.0.0.5 lanplus=1 password_script=/etc/cluster/bmc-password pcmk_host_check=static-list pcmk_host_list=kvm-05 pcmk_off_timeout=60s pcmk_reboot_timeout=60s username=ha op monitor interval=60s timeout=60s start interval=0s timeout=60s --force
pcs -f hall.cib stonith create fence-kvm-06 fence_ipmilan ip=10.0.0.6 lanplus=1 password_script=/etc/cluster/bmc-password pcmk_host_check=static-list pcmk_host_list=kvm-06 pcmk_off_timeout=60s pcmk_reboot_timeout=60s username=ha op monitor interval=60s timeout=60s start interval=0s timeout=60s --force
pcs -f hall.cib stonith create fence-kvm-07 fence_ipmilan ip=10.0.0.7 lanplus=1 password_script=/etc/cluster/bmc-password pcmk_host_check=static-list pcmk_host_list=kvm-07 pcmk_off_timeout=60s pcmk_reboot_timeout=60s username=ha op monitor interval=60s timeout=60s start interval=0s timeout=60s --force
pcs -f hall.cib stonith create fence-kvm-08 fence_ipmilan ip=10.0.0.8 lanplus=1 password_script=/etc/cluster/bmc-password pcmk_host_check=static-list pcmk_host_list=kvm-08 pcmk_off_timeout=60s pcmk_reboot_timeout=60s username=ha op monitor interval=60s timeout=60s start interval=0s timeout=60s --force
pcs -f hall.cib stonith create fence-kvm-09 fence_ipmilan ip=10.0.0.9 lanplus=1 password_script=/etc/cluster/bmc-password pcmk_host_check=static-list pcmk_host_list=kvm-09 pcmk_off_timeout=60s pcmk_reboot_timeout=60s username=ha op monitor interval=60s timeout=60s start interval=0s timeout=60s --force
pcs -f hall.cib stonith create fence-kvm-10 fence_ipmilan ip=10.0.0.10 lanplus=1 password_script=/etc/cluster/bmc-password pcmk_host_check=static-list pcmk_host_list=kvm-10 pcmk_off_timeout=60s pcmk_reboot_timeout=60s username=ha op monitor interval=60s timeout=60s start interval=0s timeout=60s --force
pcs -f hall.cib stonith create fence-kvm-11 fence_ipmilan ip=10.0.0.11 lanplus=1 password_script=/etc/cluster/bmc-password pcmk_host_check=static-list pcmk_host_list=kvm-11 pcmk_off_timeout=60s pcmk_reboot_timeout=60s username=ha op monitor interval=60s timeout=60s start interval=0s timeout=60s --force
pcs -f hall.cib stonith create fence-kvm-12 fence_ipmilan ip=10.0.0.12 lanplus=1 password_script=/etc/cluster/bmc-password pcmk_host_check=static-list pcmk_host_list=kvm-12 pcmk_off_timeout=60s pcmk_reboot_timeout=60s username=ha op monitor interval=60s timeout=60s start interval=0s timeout=60s --force
pcs -f hall.cib stonith create fence-kvm-13 fence_ipmilan ip=10.0.0.13 lanplus=1 password_script=/etc/cluster/bmc-password pcmk_host_check=static-list pcmk_host_list=kvm-13 pcmk_off_timeout=60s pcmk_reboot_timeout=60s username=ha op monitor interval=60s timeout=60s start interval=0s timeout=60s --force
pcs -f hall.cib stonith create fence-kvm-14 fence_ipmilan ip=10.0.0.14 lanplus=1 password_script=/etc/cluster/bmc-password pcmk_host_check=static-list pcmk_host_list=kvm-14 pcmk_off_timeout=60s pcmk_reboot_timeout=60s username=ha op monitor interval=60s timeout=60s start interval=0s timeout=60s --force
pcs -f hall.cib stonith create fence-kvm-15 fence_ipmilan ip=10.0.0.15 lanplus=1 password_script=/etc/cluster/bmc-password pcmk_host_check=static-list pcmk_host_list=kvm-15 pcmk_off_timeout=60s pcmk_reboot_timeout=60s username=ha op monitor interval=60s timeout=60s start interval=0s timeout=60s --force
pcs -f hall.cib stonith create fence-kvm-16 fence_ipmilan ip=10.0.0.16 lanplus=1 password_script=/etc/cluster/bmc-password pcmk_host_check=static-list pcmk_host_list=kvm-16 pcmk_off_timeout=60s pcmk_reboot_timeout=60s username=ha op monitor interval=60s timeout=60s start interval=0s timeout=60s --force
pcs -f hall.cib resource create libvirtd systemd:libvirtd op monitor interval=30s timeout=60s start interval=0s timeout=100s stop interval=0s timeout=100s clone libvirtd-clone interleave=true --no-default-ops --force
pcs -f hall.cib resource create virtlockd systemd:virtlockd op monitor interval=30s timeout=60s start interval=0s timeout=100s stop interval=0s timeout=100s clone virtlockd-clone interleave=true --no-default-ops --force
pcs -f hall.cib resource create large-1 ocf:heartbeat:VirtualDomain autoset_utilization_cpu=false autoset_utilization_host_memory=false autoset_utilization_hv_memory=false config=/srv/defs/large-1.xml hypervisor=qemu:///system remoteuri=qemu+tls://%n.hall.example/system op migrate_from interval=0s timeout=60s migrate_to interval=0s timeout=656s monitor interval=10s timeout=30s start interval=0s timeout=124s stop interval=0s timeout=125s meta allow-migrate=true priority=3 --no-default-ops --force
pcs -f hall.cib resource utilization large-1 cpu=8 hv_memory=32768
pcs -f hall.cib resource create large-2 ocf:heartbeat:VirtualDomain autoset_utilization_cpu=false autoset_utilization_host_memory=false autoset_utilization_hv_memory=false config=/srv/defs/large-2.xml hypervisor=qemu:///system remoteuri=qemu+tls://%n.hall.example/system op migrate_from interval=0s timeout=60s migrate_to interval=0s timeout=656s monitor interval=10s timeout=30s start interval=0s timeout=124s stop interval=0s timeout=125s meta allow-migrate=true priority=3 --no-default-ops --force
pcs -f hall.cib resource utilization large-2 cpu=8 hv_memory=32768
pcs -f hall.cib resource create large-3 ocf:heartbeat:VirtualDomain autoset_utilization_cpu=false autoset_utilization_host_memory=false autoset_utilization_hv_memory=false config=/srv/defs/large-3.xml hypervisor=qemu:///system remoteuri=qemu+tls://%n.hall.example/system op migrate_from interval=0s timeout=60s migrate_to interval=0s timeout=656s monitor interval=10s timeout=30s start interval=0s timeout=124s stop interval=0s timeout=125s meta allow-migrate=true priority=3 --no-default-ops --force
pcs -f hall.cib resource utilization large-3 cpu=8 hv_memory=32768
pcs -f hall.cib resource create large-4 ocf:heartbeat:VirtualDomain autoset_utilization_cpu=false autoset_utilization_host_memory=false autoset_utilization_hv_memory=false config=/srv/defs/large-4.xml hypervisor=qemu:///system remoteuri=qemu+tls://%n.hall.example/system op migrate_from interval=0s timeout=60s migrate_to interval=0s timeout=656s monitor interval=10s timeout=30s start interval=0s timeout=124s stop interval=0s timeout=125s meta allow-migrate=true priority=3 --no-default-ops --force
pcs -f hall.cib resource utilization large-4 cpu=8 hv_memory=32768
pcs -f hall.cib resource create large-5 ocf:heartbeat:VirtualDomain autoset_utilization_cpu=false autoset_utilization_host_memory=false autoset_utilization_hv_memory=false config=/srv/defs/large-5.xml hypervisor=qemu:///system remoteuri=qemu+tls://%n.hall.example/system op migrate_from interval=0s timeout=60s migrate_to interval=0s timeout=656s monitor interval=10s timeout=30s start interval=0s timeout=124s stop interval=0s timeout=125s meta allow-migrate=true priority=3 --no-default-ops --force
pcs -f hall.cib resource utilization large-5 cpu=8 hv_memory=32768
pcs -f hall.cib resource create large-6 ocf:heartbeat:VirtualDomain autoset_utilization_cpu=false autoset_utilization_host_memory=false autoset_utilization_hv_memory=false config=/srv/defs/large-6.xml hypervisor=qemu:///system remoteuri=qemu+tls://%n.hall.example/system op migrate_from interval=0s timeout=60s migrate_to interval=0s timeout=656s monitor interval=10s timeout=30s start interval=0s timeout=124s stop interval=0s timeout=125s meta allow-migrate=true priority=3 --no-default-ops --force
pcs -f hall.cib resource utilization large-6 cpu=8 hv_memory=32768
pcs -f hall.cib resource create medium-1 ocf:heartbeat:VirtualDomain autoset_utilization_cpu=false autoset_utilization_host_memory=false autoset_utilization_hv_memory=false config=/srv/defs/medium-1.xml hypervisor=qemu:///system remoteuri=qemu+tls://%n.hall.example/system op migrate_from interval=0s timeout=60s migrate_to interval=0s timeout=328s monitor interval=10s timeout=30s start interval=0s timeout=92s stop interval=0s timeout=125s meta allow-migrate=true priority=2 --no-default-ops --force
pcs -f hall.cib resource utilization medium-1 cpu=4 hv_memory=16384
pcs -f hall.cib resource create medium-10 ocf:heartbeat:VirtualDomain autoset_utilization_cpu=false autoset_utilization_host_memory=false autoset_utilization_hv_memory=false config=/srv/defs/medium-10.xml hypervisor=qemu:///system remoteuri=qemu+tls://%n.hall.example/system op migrate_from interval=0s timeout=60s migrate_to interval=0s timeout=328s monitor interval=10s timeout=30s start interval=0s timeout=92s stop interval=0s timeout=125s meta allow-migrate=true priority=2 --no-default-ops --force
pcs -f hall.cib resource utilization medium-10 cpu=4 hv_memory=16384
pcs -f hall.cib resource create medium-2 ocf:heartbeat:VirtualDomain autoset_utilization_cpu=false autoset_utilization_host_memory=false autoset_utilization_hv_memory=false config=/srv/defs/medium-2.xml hypervisor=qemu:///system remoteuri=qemu+tls://%n.hall.example/system op migrate_from interval=0s timeout=60s migrate_to interval=0s timeout=328s monitor interval=10s timeout=30s start interval=0s timeout=92s stop interval=0s timeout=125s meta allow-migrate=true priority=2 --no-default-ops --force
pcs -f hall.cib resource utilization medium-2 cpu=4 hv_memory=16384
pcs -f hall.cib resource create medium-3 ocf:heartbeat:VirtualDomain autoset_utilization_cpu=false autoset_utilization_host_memory=false autoset_utilization_hv_memory=false config=/srv/defs/medium-3.xml hypervisor=qemu:///system remoteuri=qemu+tls://%n.hall.example/system op migrate_from interval=0s timeout=60s migrate_to interval=0s timeout=328s monitor interval=10s timeout=30s start interval=0s timeout=92s stop interval=0s timeout=125s meta allow-migrate=true priority=2 --no-default-ops --force
pcs -f hall.cib resource utilization medium-3 cpu=4 hv_memory=16384
pcs -f hall.cib resource create medium-4 ocf:heartbeat:VirtualDomain autoset_utilization_cpu=false autoset_utilization_host_memory=false autoset_utilization_hv_memory=false config=/srv/defs/medium-4.xml hypervisor=qemu:///system remoteuri=qemu+tls://%n.hall.example/system op migrate_from interval=0s timeout=60s migrate_to interval=0s timeout=328s monitor interval=10s timeout=30s start interval=0s timeout=92s stop interval=0s timeout=125s meta allow-migrate=true priority=2 --no-default-ops --force
pcs -f hall.cib resource utilization medium-4 cpu=4 hv_memory=16384
pcs -f hall.cib resource create medium-5 ocf:heartbeat:VirtualDomain autoset_utilization_cpu=false autoset_utilization_host_memory=false autoset_utilization_hv_memory=false config=/srv/defs/medium-5.xml hypervisor=qemu:///system remoteuri=qemu+tls://%n.hall.example/system op migrate_from interval=0s timeout=60s migrate_to interval=0s timeout=328s monitor interval=10s timeout=30s start interval=0s timeout=92s stop interval=0s timeout=125s meta allow-migrate=true priority=2 --no-default-ops --force
pcs -f hall.cib resource utilization medium-5 cpu=4 hv_memory=16384
pcs -f hall.cib resource create medium-6 ocf:heartbeat:VirtualDomain autoset_utilization_cpu=false autoset_utilization_host_memory=false autoset_utilization_hv_memory=false config=/srv/defs/medium-6.xml hypervisor=qemu:///system remoteuri=qemu+tls://%n.hall.example/system op migrate_from interval=0s timeout=60s migrate_to interval=0s timeout=328s monitor interval=10s timeout=30s start interval=0s timeout=92s stop interval=0s timeout=125s meta allow-migrate=true priority=2 --no-default-ops --force
pcs -f hall.cib resource utilization medium-6 cpu=4 hv_memory=16384
pcs -f hall.cib resource create medium-7 ocf:heartbeat:VirtualDomain autoset_utilization_cpu=false autoset_utilization_host_memory=false autoset_utilization_hv_memory=false config=/srv/defs/medium-7.xml hypervisor=qemu:///system remoteuri=qemu+tls://%n.hall.example/system op migrate_from interval=0s timeout=60s migrate_to interval=0s timeout=328s monitor interval=10s timeout=30s start interval=0s timeout=92s stop interval=0s timeout=125s meta allow-migrate=true priority=2 --no-default-ops --force
pcs -f hall.cib resource utilization medium-7 cpu=4 hv_memory=16384
pcs -f hall.cib resource create medium-8 ocf:heartbeat:VirtualDomain autoset_utilization_cpu=false autoset_utilization_host_memory=false autoset_utilization_hv_memory=false config=/srv/defs/medium-8.xml hypervisor=qemu:///system remoteuri=qemu+tls://%n.hall.example/system op migrate_from interval=0s timeout=60s migrate_to interval=0s timeout=328s monitor interval=10s timeout=30s start interval=0s timeout=92s stop interval=0s timeout=125s meta allow-migrate=true priority=2 --no-default-ops --force
pcs -f hall.cib resource utilization medium-8 cpu=4 hv_memory=16384
pcs -f hall.cib resource create medium-9 ocf:heartbeat:VirtualDomain autoset_utilization_cpu=false autoset_utilization_host_memory=false autoset_utilization_hv_memory=false config=/srv/defs/medium-9.xml hypervisor=qemu:///system remoteuri=qemu+tls://%n.hall.example/system op migrate_from interval=0s timeout=60s migrate_to interval=0s timeout=328s monitor interval=10s timeout=30s start interval=0s timeout=92s stop interval=0s timeout=125s meta allow-migrate=true priority=2 --no-default-ops --force
pcs -f hall.cib resource utilization medium-9 cpu=4 hv_memory=16384
pcs -f hall.cib resource create small-1 ocf:heartbeat:VirtualDomain autoset_utilization_cpu=false autoset_utilization_host_memory=false autoset_utilization_hv_memory=false config=/srv/defs/small-1.xml hypervisor=qemu:///system remoteuri=qemu+tls://%n.hall.example/system op migrate_from interval=0s timeout=60s migrate_to interval=0s timeout=164s monitor interval=10s timeout=30s start interval=0s timeout=90s stop interval=0s timeout=125s meta allow-migrate=true priority=1 --no-default-ops --force
pcs -f hall.cib resource utilization small-1 cpu=2 hv_memory=8192
pcs -f hall.cib resource create small-10 ocf:heartbeat:VirtualDomain autoset_utilization_cpu=false autoset_utilization_host_memory=false autoset_utilization_hv_memory=false config=/srv/defs/small-10.xml hypervisor=qemu:///system remoteuri=qemu+tls://%n.hall.example/system op migrate_from interval=0s timeout=60s migrate_to interval=0s timeout=164s monitor interval=10s timeout=30s start interval=0s timeout=90s stop interval=0s timeout=125s meta allow-migrate=true priority=1 --no-default-ops --force
pcs -f hall.cib resource utilization small-10 cpu=2 hv_memory=8192
pcs -f hall.cib resource create small-11 ocf:heartbeat:VirtualDomain autoset_utilization_cpu=false autoset_utilization_host_memory=false autoset_utilization_hv_memory=false config=/srv/defs/small-11.xml hypervisor=qemu:///system remoteuri=qemu+tls://%n.hall.example/system op migrate_from interval=0s timeout=60s migrate_to interval=0s timeout=164s monitor interval=10s timeout=30s start interval=0s timeout=90s stop interval=0s timeout=125s meta allow-migrate=true priority=1 --no-default-ops --force
pcs -f hall.cib resource utilization small-11 cpu=2 hv_memory=8192
pcs -f hall.cib resource create small-12 ocf:heartbeat:VirtualDomain autoset_utilization_cpu=false autoset_utilization_host_memory=false autoset_utilization_hv_memory=false config=/srv/defs/small-12.xml hypervisor=qemu:///system remoteuri=qemu+tls://%n.hall.example/system op migrate_from interval=0s timeout=60s migrate_to interval=0s timeout=164s monitor interval=10s timeout=30s start interval=0s timeout=90s stop interval=0s timeout=125s meta allow-migrate=true priority=1 --no-default-ops --force
pcs -f hall.cib resource utilization small-12 cpu=2 hv_memory=8192
pcs -f hall.cib resource create small-13 ocf:heartbeat:VirtualDomain autoset_utilization_cpu=false autoset_utilization_host_memory=false autoset_utilization_hv_memory=false config=/srv/defs/small-13.xml hypervisor=qemu:///system remoteuri=qemu+tls://%n.hall.example/system op migrate_from interval=0s timeout=60s migrate_to interval=0s timeout=164s monitor interval=10s timeout=30s start interval=0s timeout=90s stop interval=0s timeout=125s meta allow-migrate=true priority=1 --no-default-ops --force
pcs -f hall.cib resource utilization small-13 cpu=2 hv_memory=8192
pcs -f hall.cib resource create small-14 ocf:heartbeat:VirtualDomain autoset_utilization_cpu=false autoset_utilization_host_memory=false autoset_utilization_hv_memory=false config=/srv/defs/small-14.xml hypervisor=qemu:///system remoteuri=qemu+tls://%n.hall.example/system op migrate_from interval=0s timeout=60s migrate_to interval=0s timeout=164s monitor interval=10s timeout=30s start interval=0s timeout=90s stop interval=0s timeout=125s meta allow-migrate=true priority=1 --no-default-ops --force
pcs -f hall.cib resource utilization small-14 cpu=2 hv_memory=8192
pcs -f hall.cib resource create small-2 ocf:heartbeat:VirtualDomain autoset_utilization_cpu=false autoset_utilization_host_memory=false autoset_utilization_hv_memory=false config=/srv/defs/small-2.xml hypervisor=qemu:///system remoteuri=qemu+tls://%n.hall.example/system op migrate_from interval=0s timeout=60s migrate_to interval=0s timeout=164s monitor interval=10s timeout=30s start interval=0s timeout=90s stop interval=0s timeout=125s meta allow-migrate=true priority=1 --no-default-ops --force
pcs -f hall.cib resource utilization small-2 cpu=2 hv_memory=8192
pcs -f hall.cib resource create small-3 ocf:heartbeat:VirtualDomain autoset_utilization_cpu=false autoset_utilization_host_memory=false autoset_utilization_hv_memory=false config=/srv/defs/small-3.xml hypervisor=qemu:///system remoteuri=qemu+tls://%n.hall.example/system op migrate_from interval=0s timeout=60s migrate_to interval=0s timeout=164s monitor interval=10s timeout=30s start interval=0s timeout=90s stop interval=0s timeout=125s meta allow-migrate=true priority=1 --no-default-ops --force
pcs -f hall.cib resource utilization small-3 cpu=2 hv_memory=8192
pcs -f hall.cib resource create small-4 ocf:heartbeat:VirtualDomain autoset_utilization_cpu=false autoset_utilization_host_memory=false autoset_utilization_hv_memory=false config=/srv/defs/small-4.xml hypervisor=qemu:///system remoteuri=qemu+tls://%n.hall.example/system op migrate_from interval=0s timeout=60s migrate_to interval=0s timeout=164s monitor interval=10s timeout=30s start interval=0s timeout=90s stop interval=0s timeout=125s meta allow-migrate=true priority=1 --no-default-ops --force
pcs -f hall.cib resource utilization small-4 cpu=2 hv_memory=8192
pcs -f hall.cib resource create small-5 ocf:heartbeat:VirtualDomain autoset_utilization_cpu=false autoset_utilization_host_memory=false autoset_utilization_hv_memory=false config=/srv/defs/small-5.xml hypervisor=qemu:///system remoteuri=qemu+tls://%n.hall.example/system op migrate_from interval=0s timeout=60s migrate_to interval=0s timeout=164s monitor interval=10s timeout=30s start interval=0s timeout=90s stop interval=0s timeout=125s meta allow-migrate=true priority=1 --no-default-ops --force
pcs -f hall.cib resource utilization small-5 cpu=2 hv_memory=8192
pcs -f hall.cib resource create small-6 ocf:heartbeat:VirtualDomain autoset_utilization_cpu=false autoset_utilization_host_memory=false autoset_utilization_hv_memory=false config=/srv/defs/small-6.xml hypervisor=qemu:///system remoteuri=qemu+tls://%n.hall.example/system op migrate_from interval=0s timeout=60s migrate_to interval=0s timeout=164s monitor interval=10s timeout=30s start interval=0s timeout=90s stop interval=0s timeout=125s meta allow-migrate=true priority=1 --no-default-ops --force
pcs -f hall.cib resource utilization small-6 cpu=2 hv_memory=8192
pcs -f hall.cib resource create small-7 ocf:heartbeat:VirtualDomain autoset_utilization_cpu=false autoset_utilization_host_memory=false autoset_utilization_hv_memory=false config=/srv/defs/small-7.xml hypervisor=qemu:///system remoteuri=qemu+tls://%n.hall.example/system op migrate_from interval=0s timeout=60s migrate_to interval=0s timeout=164s monitor interval=10s timeout=30s start interval=0s timeout=90s stop interval=0s timeout=125s meta allow-migrate=true priority=1 --no-default-ops --force
pcs -f hall.cib resource utilization small-7 cpu=2 hv_memory=8192
pcs -f hall.cib resource create small-8 ocf:heartbeat:VirtualDomain autoset_utilization_cpu=false autoset_utilization_host_memory=false autoset_utilization_hv_memory=false config=/srv/defs/small-8.xml hypervisor=qemu:///system remoteuri=qemu+tls://%n.hall.example/system op migrate_from interval=0s timeout=60s migrate_to interval=0s timeout=164s monitor interval=10s timeout=30s start interval=0s timeout=90s stop interval=0s timeout=125s meta allow-migrate=true priority=1 --no-default-ops --force
pcs -f hall.cib resource utilization small-8 cpu=2 hv_memory=8192
pcs -f hall.cib resource create small-9 ocf:heartbeat:VirtualDomain autoset_utilization_cpu=false autoset_utilization_host_memory=false autoset_utilization_hv_memory=false config=/srv/defs/small-9.xml hypervisor=qemu:///system remoteuri=qemu+tls://%n.hall.example/system op migrate_from interval=0s timeout=60s migrate_to interval=0s timeout=164s monitor interval=10s timeout=30s start interval=0s timeout=90s stop interval=0s timeout=125s meta allow-migrate=true priority=1 --no-default-ops --force
pcs -f hall.cib resource utilization small-9 cpu=2 hv_memory=8192
pcs -f hall.cib constraint location add -- fence-kvm-01-not-on-kvm-01 fence-kvm-01 kvm-01 -INFINITY
pcs -f hall.cib constraint location add -- fence-kvm-02-not-on-kvm-02 fence-kvm-02 kvm-02 -INFINITY
pcs -f hall.cib constraint location add -- fence-kvm-03-not-on-kvm-03 fence-kvm-03 kvm-03 -INFINITY
pcs -f hall.cib constraint location add -- fence-kvm-04-not-on-kvm-04 fence-kvm-04 kvm-04 -INFINITY
pcs -f hall.cib constraint location add -- fence-kvm-05-not-on-kvm-05 fence-kvm-05 kvm-05 -INFINITY
pcs -f hall.cib constraint location add -- fence-kvm-06-not-on-kvm-06 fence-kvm-06 kvm-06 -INFINITY
pcs -f hall.cib constraint location add -- fence-kvm-07-not-on-kvm-07 fence-kvm-07 kvm-07 -INFINITY
pcs -f hall.cib constraint location add -- fence-kvm-08-not-on-kvm-08 fence-kvm-08 kvm-08 -INFINITY
pcs -f hall.cib constraint location add -- fence-kvm-09-not-on-kvm-09 fence-kvm-09 kvm-09 -INFINITY
pcs -f hall.cib constraint location add -- fence-kvm-10-not-on-kvm-10 fence-kvm-10 kvm-10 -INFINITY
pcs -f hall.cib constraint location add -- fence-kvm-11-not-on-kvm-11 fence-kvm-11 kvm-11 -INFINITY
pcs -f hall.cib constraint location add -- fence-kvm-12-not-on-kvm-12 fence-kvm-12 kvm-12 -INFINITY
pcs -f hall.cib constraint location add -- fence-kvm-13-not-on-kvm-13 fence-kvm-13 kvm-13 -INFINITY
pcs -f hall.cib constraint location add -- fence-kvm-14-not-on-kvm-14 fence-kvm-14 kvm-14 -INFINITY
pcs -f hall.cib constraint location add -- fence-kvm-15-not-on-kvm-15 fence-kvm-15 kvm-15 -INFINITY
pcs -f hall.cib constraint location add -- fence-kvm-16-not-on-kvm-16 fence-kvm-16 kvm-16 -INFINITY
pcs -f hall.cib constraint order set libvirtd-clone virtlockd-clone sequential=false set large-1 large-2 large-3 large-4 large-5 large-6 medium-1 medium-10 medium-2 medium-3 medium-4 medium-5 medium-6 medium-7 medium-8 medium-9 small-1 small-10 small-11 small-12 small-13 small-14 small-2 small-3 small-4 small-5 small-6 small-7 small-8 small-9 sequential=false setoptions id=order-services kind=Optional
pcs -f hall.cib constraint colocation set large-1 large-2 large-3 large-4 large-5 large-6 medium-1 medium-10 medium-2 medium-3 medium-4 medium-5 medium-6 medium-7 medium-8 medium-9 small-1 small-10 small-11 small-12 small-13 small-14 small-2 small-3 small-4 small-5 small-6 small-7 small-8 small-9 sequential=false set libvirtd-clone virtlockd-clone sequential=false setoptions id=with-services score=INFINITY
pcs -f hall.cib tag create hall-vms large-1 large-2 large-3 large-4 large-5 large-6 medium-1 medium-10 medium-2 medium-3 medium-4 medium-5 medium-6 medium-7 medium-8 medium-9 small-1 small-10 small-11 small-12 small-13 small-14 small-2 small-3 small-4 small-5 small-6 small-7 small-8 small-9
pcs -f hall.cib tag create kvmdecl-hall.d9b5622a2ec0 fence-kvm-01 fence-kvm-02 fence-kvm-03 fence-kvm-04 fence-kvm-05 fence-kvm-06 fence-kvm-07 fence-kvm-08 fence-kvm-09 fence-kvm-10 fence-kvm-11 fence-kvm-12 fence-kvm-13 fence-kvm-14 fence-kvm-15 fence-kvm-16 libvirtd-clone virtlockd-clone large-1 large-2 large-3 large-4 large-5 large-6 medium-1 medium-10 medium-2 medium-3 medium-4 medium-5 medium-6 medium-7 medium-8 medium-9 small-1 small-10 small-11 small-12 small-13 small-14 small-2 small-3 small-4 small-5 small-6 small-7 small-8 small-9
pcs cluster cib-push hall.cib
