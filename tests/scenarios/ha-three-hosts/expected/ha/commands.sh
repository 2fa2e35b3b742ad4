#!/bin/sh
# Written by `kvmdecl ha emit`: a cluster from hosts that are in none, or that have none of this.
set -eu

# -- corosync
pcs host auth kvm-1 kvm-2 kvm-3
pcs cluster setup edge \
    kvm-1 addr=10.1.0.1 addr=10.2.0.1 \
    kvm-2 addr=10.1.0.2 addr=10.2.0.2 \
    kvm-3 addr=10.1.0.3 addr=10.2.0.3 \
    transport knet link_mode=passive crypto cipher=aes256 hash=sha256
pcs cluster start --all --wait
pcs cluster enable --all

# -- Pacemaker
pcs cluster cib edge.cib
pcs -f edge.cib property set concurrent-fencing=true migration-limit=2 no-quorum-policy=stop placement-strategy=balanced stonith-enabled=true stonith-timeout=70s --force
pcs -f edge.cib resource defaults update failure-timeout=600s migration-threshold=3 resource-stickiness=1000
pcs -f edge.cib node attribute kvm-1 label-rack=r1
pcs -f edge.cib node utilization kvm-1 cpu=56 hv_memory=61440
pcs -f edge.cib node attribute kvm-2 label-rack=r2
pcs -f edge.cib node utilization kvm-2 cpu=56 hv_memory=61440
pcs -f edge.cib node attribute kvm-3 label-rack=r3
pcs -f edge.cib node utilization kvm-3 cpu=56 hv_memory=61440
pcs -f edge.cib stonith create fence-kvm-1 fence_ipmilan ip=kvm-1-bmc.edge.example lanplus=1 password=lrm:// pcmk_host_check=static-list pcmk_host_list=kvm-1 pcmk_off_timeout=60s pcmk_reboot_timeout=60s username=admin op monitor interval=60s timeout=60s start interval=0s timeout=60s --force
pcs -f edge.cib stonith create fence-kvm-2 fence_ipmilan ip=kvm-2-bmc.edge.example lanplus=1 password=lrm:// pcmk_host_check=static-list pcmk_host_list=kvm-2 pcmk_off_timeout=60s pcmk_reboot_timeout=60s username=admin op monitor interval=60s timeout=60s start interval=0s timeout=60s --force
pcs -f edge.cib stonith create fence-kvm-3 fence_ipmilan ip=kvm-3-bmc.edge.example lanplus=1 password=lrm:// pcmk_host_check=static-list pcmk_host_list=kvm-3 pcmk_off_timeout=60s pcmk_reboot_timeout=60s username=admin op monitor interval=60s timeout=60s start interval=0s timeout=60s --force
pcs -f edge.cib resource create libvirtd systemd:libvirtd op monitor interval=30s timeout=60s start interval=0s timeout=100s stop interval=0s timeout=100s clone libvirtd-clone interleave=true --no-default-ops --force
pcs -f edge.cib resource create virtlockd systemd:virtlockd op monitor interval=30s timeout=60s start interval=0s timeout=100s stop interval=0s timeout=100s clone virtlockd-clone interleave=true --no-default-ops --force
pcs -f edge.cib resource create db ocf:heartbeat:VirtualDomain autoset_utilization_cpu=false autoset_utilization_host_memory=false autoset_utilization_hv_memory=false config=/srv/vms/db.xml hypervisor=qemu:///system remoteuri=qemu+tls://%n.edge.example/system op migrate_from interval=0s timeout=60s migrate_to interval=0s timeout=164s monitor interval=10s timeout=30s start interval=0s timeout=90s stop interval=0s timeout=605s meta allow-migrate=true priority=10002 --no-default-ops --force
pcs -f edge.cib resource utilization db cpu=4 hv_memory=8192
pcs -f edge.cib resource create web-1 ocf:heartbeat:VirtualDomain autoset_utilization_cpu=false autoset_utilization_host_memory=false autoset_utilization_hv_memory=false config=/srv/vms/web-1.xml hypervisor=qemu:///system remoteuri=qemu+tls://%n.edge.example/system op migrate_from interval=0s timeout=60s migrate_to interval=0s timeout=120s monitor interval=10s timeout=30s start interval=0s timeout=90s stop interval=0s timeout=125s meta allow-migrate=true priority=1 --no-default-ops --force
pcs -f edge.cib resource utilization web-1 cpu=1 hv_memory=4096
pcs -f edge.cib resource create web-2 ocf:heartbeat:VirtualDomain autoset_utilization_cpu=false autoset_utilization_host_memory=false autoset_utilization_hv_memory=false config=/srv/vms/web-2.xml hypervisor=qemu:///system remoteuri=qemu+tls://%n.edge.example/system op migrate_from interval=0s timeout=60s migrate_to interval=0s timeout=120s monitor interval=10s timeout=30s start interval=0s timeout=90s stop interval=0s timeout=125s meta allow-migrate=true priority=1 --no-default-ops --force
pcs -f edge.cib resource utilization web-2 cpu=1 hv_memory=4096
pcs -f edge.cib constraint location add -- fence-kvm-1-not-on-kvm-1 fence-kvm-1 kvm-1 -INFINITY
pcs -f edge.cib constraint location add -- fence-kvm-2-not-on-kvm-2 fence-kvm-2 kvm-2 -INFINITY
pcs -f edge.cib constraint location add -- fence-kvm-3-not-on-kvm-3 fence-kvm-3 kvm-3 -INFINITY
pcs -f edge.cib constraint order set db sequential=false set web-1 web-2 sequential=false setoptions id=after-db kind=Optional
pcs -f edge.cib constraint order set libvirtd-clone virtlockd-clone sequential=false set db web-1 web-2 sequential=false setoptions id=order-services kind=Optional
pcs -f edge.cib constraint colocation add -- web-2 with web-1 -INFINITY node-attribute=label-rack id=apart-rack-web-1-web-2-web-1
pcs -f edge.cib constraint colocation set db web-1 web-2 sequential=false set libvirtd-clone virtlockd-clone sequential=false setoptions id=with-services score=INFINITY
pcs -f edge.cib tag create edge-vms db web-1 web-2
pcs -f edge.cib tag create kvmdecl-edge.b27d3d0bb32b fence-kvm-1 fence-kvm-2 fence-kvm-3 libvirtd-clone virtlockd-clone db web-1 web-2
pcs cluster cib-push edge.cib

# -- secrets, which are in no file but on the hosts
cibsecret set fence-kvm-1 password "$KVMDECL_SECRET_BMC"
cibsecret set fence-kvm-2 password "$KVMDECL_SECRET_BMC"
cibsecret set fence-kvm-3 password "$KVMDECL_SECRET_BMC"
