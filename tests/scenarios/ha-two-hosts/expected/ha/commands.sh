#!/bin/sh
# Written by `kvmdecl ha emit`: a cluster from hosts that are in none, or that have none of this.
set -eu

# -- corosync
pcs host auth right left
pcs cluster setup branch \
    right addr=10.1.0.2 addr=10.2.0.2 \
    left addr=10.1.0.1 addr=10.2.0.1 \
    transport knet link_mode=passive link link_priority=10 link link_priority=0 crypto cipher=aes256 hash=sha256
pcs quorum device add model net algorithm=ffsplit host=qnetd.example port=5403 tls=required
pcs cluster start --all --wait
pcs cluster enable --all

# -- Pacemaker
pcs cluster cib branch.cib
pcs -f branch.cib property set concurrent-fencing=true migration-limit=2 no-quorum-policy=stop placement-strategy=balanced priority-fencing-delay=10s stonith-enabled=true stonith-timeout=135s --force
pcs -f branch.cib resource defaults update failure-timeout=600s migration-threshold=3 resource-stickiness=1000
pcs -f branch.cib node utilization right cpu=64 hv_memory=61440
pcs -f branch.cib node utilization left cpu=64 hv_memory=61440
pcs -f branch.cib stonith create bmc-left fence_redfish ip=left-bmc password_script=/etc/cluster/bmc-password pcmk_delay_base=5s pcmk_host_check=static-list pcmk_host_list=left pcmk_off_timeout=60s pcmk_reboot_timeout=60s username=ha op monitor interval=60s timeout=60s start interval=0s timeout=60s --force
pcs -f branch.cib stonith create bmc-right fence_redfish ip=right-bmc password_script=/etc/cluster/bmc-password pcmk_host_check=static-list pcmk_host_list=right pcmk_off_timeout=60s pcmk_reboot_timeout=60s username=ha op monitor interval=60s timeout=60s start interval=0s timeout=60s --force
pcs -f branch.cib stonith create pdu fence_apc_snmp ip=pdu.branch.example pcmk_delay_base=left:5s pcmk_host_check=static-list 'pcmk_host_list=left right' 'pcmk_host_map=left:1;right:2' pcmk_off_timeout=60s pcmk_reboot_timeout=60s op monitor interval=60s timeout=60s start interval=0s timeout=60s --force
pcs -f branch.cib stonith level add 1 left bmc-left
pcs -f branch.cib stonith level add 2 left pdu
pcs -f branch.cib stonith level add 1 right bmc-right
pcs -f branch.cib stonith level add 2 right pdu
pcs -f branch.cib resource create libvirtd systemd:libvirtd op monitor interval=30s timeout=60s start interval=0s timeout=100s stop interval=0s timeout=100s clone libvirtd-clone interleave=true --no-default-ops --force
pcs -f branch.cib resource create virtlockd systemd:virtlockd op monitor interval=30s timeout=60s start interval=0s timeout=100s stop interval=0s timeout=100s clone virtlockd-clone interleave=true --no-default-ops --force
pcs -f branch.cib resource create files ocf:heartbeat:VirtualDomain autoset_utilization_cpu=false autoset_utilization_host_memory=false autoset_utilization_hv_memory=false config=/srv/defs/files.xml hypervisor=qemu:///system migrate_options=--auto-converge migration_network_suffix=-mig remoteuri=qemu+ssh://root@%n.branch.example/system start_resources=true op migrate_from interval=0s timeout=60s migrate_to interval=0s timeout=120s monitor interval=10s timeout=30s start interval=0s timeout=92s stop interval=0s timeout=125s meta allow-migrate=true priority=5002 --no-default-ops --force
pcs -f branch.cib resource utilization files cpu=4 hv_memory=16384
pcs -f branch.cib resource create proxy ocf:heartbeat:VirtualDomain autoset_utilization_cpu=false autoset_utilization_host_memory=false autoset_utilization_hv_memory=false config=/srv/defs/proxy.xml hypervisor=qemu:///system migrate_options=--auto-converge migration_network_suffix=-mig remoteuri=qemu+ssh://root@%n.branch.example/system start_resources=true op migrate_from interval=0s timeout=60s migrate_to interval=0s timeout=120s monitor interval=10s timeout=30s start interval=0s timeout=90s stop interval=0s timeout=125s meta allow-migrate=true priority=1 target-role=Stopped --no-default-ops --force
pcs -f branch.cib resource utilization proxy cpu=1 hv_memory=2048
pcs -f branch.cib constraint location add -- bmc-left-not-on-left bmc-left left -INFINITY
pcs -f branch.cib constraint location add -- bmc-right-not-on-right bmc-right right -INFINITY
pcs -f branch.cib constraint location add -- files-likes-left files left 100
pcs -f branch.cib constraint order set libvirtd-clone virtlockd-clone sequential=false set files proxy sequential=false setoptions id=order-services kind=Optional
pcs -f branch.cib constraint colocation set files proxy sequential=false set libvirtd-clone virtlockd-clone sequential=false setoptions id=with-services score=INFINITY
pcs -f branch.cib tag create branch-vms files proxy
pcs -f branch.cib tag create kvmdecl-branch.ff6c2d428a00 bmc-left bmc-right pdu libvirtd-clone virtlockd-clone files proxy
pcs cluster cib-push branch.cib
