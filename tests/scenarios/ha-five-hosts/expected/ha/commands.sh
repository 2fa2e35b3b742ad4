#!/bin/sh
# Written by `kvmdecl ha emit`: a cluster from hosts that are in none, or that have none of this.
set -eu

# -- corosync
pcs host auth kvm-1 kvm-2 kvm-3 kvm-4 kvm-5
pcs cluster setup plant \
    kvm-1 addr=10.1.0.1 addr=10.2.0.1 \
    kvm-2 addr=10.1.0.2 addr=10.2.0.2 \
    kvm-3 addr=10.1.0.3 addr=10.2.0.3 \
    kvm-4 addr=10.1.0.4 addr=10.2.0.4 \
    kvm-5 addr=10.1.0.5 addr=10.2.0.5 \
    transport knet link_mode=passive crypto cipher=aes256 hash=sha256
pcs cluster start --all --wait
pcs cluster enable --all

# -- Pacemaker
pcs cluster cib plant.cib
pcs -f plant.cib property set concurrent-fencing=true migration-limit=2 no-quorum-policy=freeze placement-strategy=balanced stonith-enabled=true stonith-timeout=80s stonith-watchdog-timeout=10s --force
pcs -f plant.cib resource defaults update failure-timeout=600s migration-threshold=3 resource-stickiness=1000
pcs -f plant.cib node attribute kvm-1 label-rack=r1
pcs -f plant.cib node utilization kvm-1 cpu=56 hv_memory=57344 place-1=2
pcs -f plant.cib node attribute kvm-2 label-rack=r1
pcs -f plant.cib node utilization kvm-2 cpu=56 hv_memory=57344 place-1=2
pcs -f plant.cib node attribute kvm-3 label-rack=r2
pcs -f plant.cib node utilization kvm-3 cpu=56 hv_memory=57344 place-1=2
pcs -f plant.cib node attribute kvm-4 label-rack=r2
pcs -f plant.cib node utilization kvm-4 cpu=56 hv_memory=57344 place-1=2
pcs -f plant.cib node attribute kvm-5 label-rack=r3 standby=on
pcs -f plant.cib node utilization kvm-5 cpu=56 hv_memory=57344 place-1=2
pcs -f plant.cib stonith create fence-kvm-1 fence_ipmilan ip=kvm-1-bmc.plant.example lanplus=1 password=lrm:// pcmk_host_check=static-list pcmk_host_list=kvm-1 pcmk_off_timeout=60s pcmk_reboot_timeout=60s username=ha op monitor interval=60s timeout=60s start interval=0s timeout=60s --force
pcs -f plant.cib stonith create fence-kvm-2 fence_ipmilan ip=kvm-2-bmc.plant.example lanplus=1 password=lrm:// pcmk_host_check=static-list pcmk_host_list=kvm-2 pcmk_off_timeout=60s pcmk_reboot_timeout=60s username=ha op monitor interval=60s timeout=60s start interval=0s timeout=60s --force
pcs -f plant.cib stonith create fence-kvm-3 fence_ipmilan ip=kvm-3-bmc.plant.example lanplus=1 password=lrm:// pcmk_host_check=static-list pcmk_host_list=kvm-3 pcmk_off_timeout=60s pcmk_reboot_timeout=60s username=ha op monitor interval=60s timeout=60s start interval=0s timeout=60s --force
pcs -f plant.cib stonith create fence-kvm-4 fence_ipmilan ip=kvm-4-bmc.plant.example lanplus=1 password=lrm:// pcmk_host_check=static-list pcmk_host_list=kvm-4 pcmk_off_timeout=60s pcmk_reboot_timeout=60s username=ha op monitor interval=60s timeout=60s start interval=0s timeout=60s --force
pcs -f plant.cib stonith create fence-kvm-5 fence_ipmilan ip=kvm-5-bmc.plant.example lanplus=1 password=lrm:// pcmk_host_check=static-list pcmk_host_list=kvm-5 pcmk_off_timeout=60s pcmk_reboot_timeout=60s username=ha op monitor interval=60s timeout=60s start interval=0s timeout=60s --force
pcs -f plant.cib stonith level add 1 kvm-1 fence-kvm-1
pcs -f plant.cib stonith level add 2 kvm-1 watchdog --force
pcs -f plant.cib stonith level add 1 kvm-2 fence-kvm-2
pcs -f plant.cib stonith level add 2 kvm-2 watchdog --force
pcs -f plant.cib stonith level add 1 kvm-3 fence-kvm-3
pcs -f plant.cib stonith level add 2 kvm-3 watchdog --force
pcs -f plant.cib stonith level add 1 kvm-4 fence-kvm-4
pcs -f plant.cib stonith level add 2 kvm-4 watchdog --force
pcs -f plant.cib stonith level add 1 kvm-5 fence-kvm-5
pcs -f plant.cib stonith level add 2 kvm-5 watchdog --force
pcs -f plant.cib resource create dlm ocf:pacemaker:controld op monitor interval=30s timeout=60s start interval=0s timeout=90s stop interval=0s timeout=100s clone dlm-clone interleave=true --no-default-ops --force
pcs -f plant.cib resource create libvirtd systemd:libvirtd op monitor interval=30s timeout=60s start interval=0s timeout=100s stop interval=0s timeout=100s clone libvirtd-clone interleave=true --no-default-ops --force
pcs -f plant.cib resource create mount-vms ocf:heartbeat:Filesystem device=/dev/disk/by-id/wwn-0x5000c50015ea71aa directory=/srv/vms fstype=gfs2 options=noatime op monitor interval=20s timeout=40s start interval=0s timeout=60s stop interval=0s timeout=60s clone mount-vms-clone interleave=true --no-default-ops --force
pcs -f plant.cib resource create virtlockd systemd:virtlockd op monitor interval=30s timeout=60s start interval=0s timeout=100s stop interval=0s timeout=100s clone virtlockd-clone interleave=true --no-default-ops --force
pcs -f plant.cib resource create cache ocf:heartbeat:VirtualDomain autoset_utilization_cpu=false autoset_utilization_host_memory=false autoset_utilization_hv_memory=false config=/srv/vms/cache.xml hypervisor=qemu:///system remoteuri=qemu+tls://%n.plant.example/system op migrate_from interval=0s timeout=60s migrate_to interval=0s timeout=164s monitor interval=10s timeout=30s start interval=0s timeout=90s stop interval=0s timeout=125s meta allow-migrate=true priority=3 --no-default-ops --force
pcs -f plant.cib resource utilization cache cpu=1 hv_memory=8192
pcs -f plant.cib resource create db-1 ocf:heartbeat:VirtualDomain autoset_utilization_cpu=false autoset_utilization_host_memory=false autoset_utilization_hv_memory=false config=/srv/vms/db-1.xml hypervisor=qemu:///system remoteuri=qemu+tls://%n.plant.example/system op migrate_from interval=0s timeout=60s migrate_to interval=0s timeout=246s monitor interval=10s timeout=30s start interval=0s timeout=90s stop interval=0s timeout=125s meta allow-migrate=true priority=50004 --no-default-ops --force
pcs -f plant.cib resource utilization db-1 cpu=8 hv_memory=12288
pcs -f plant.cib resource create db-2 ocf:heartbeat:VirtualDomain autoset_utilization_cpu=false autoset_utilization_host_memory=false autoset_utilization_hv_memory=false config=/srv/vms/db-2.xml hypervisor=qemu:///system remoteuri=qemu+tls://%n.plant.example/system op migrate_from interval=0s timeout=60s migrate_to interval=0s timeout=246s monitor interval=10s timeout=30s start interval=0s timeout=90s stop interval=0s timeout=125s meta allow-migrate=true priority=50004 --no-default-ops --force
pcs -f plant.cib resource utilization db-2 cpu=8 hv_memory=12288
pcs -f plant.cib resource create legacy ocf:heartbeat:VirtualDomain autoset_utilization_cpu=false autoset_utilization_host_memory=false autoset_utilization_hv_memory=false config=/srv/vms/legacy.xml hypervisor=qemu:///system op monitor interval=10s timeout=30s start interval=0s timeout=90s stop interval=0s timeout=125s meta allow-migrate=false is-managed=false priority=1 --no-default-ops --force
pcs -f plant.cib resource utilization legacy cpu=1 hv_memory=2048
pcs -f plant.cib resource create shop ocf:heartbeat:VirtualDomain autoset_utilization_cpu=false autoset_utilization_host_memory=false autoset_utilization_hv_memory=false config=/srv/vms/shop.xml hypervisor=qemu:///system remoteuri=qemu+tls://%n.plant.example/system op migrate_from interval=0s timeout=60s migrate_to interval=0s timeout=120s monitor interval=10s timeout=30s start interval=0s timeout=90s stop interval=0s timeout=125s meta allow-migrate=true priority=2 --no-default-ops --force
pcs -f plant.cib resource utilization shop cpu=1 hv_memory=4096
pcs -f plant.cib resource create worker-1 ocf:heartbeat:VirtualDomain autoset_utilization_cpu=false autoset_utilization_host_memory=false autoset_utilization_hv_memory=false config=/srv/vms/worker-1.xml hypervisor=qemu:///system remoteuri=qemu+tls://%n.plant.example/system op migrate_from interval=0s timeout=60s migrate_to interval=0s timeout=120s monitor interval=10s timeout=30s start interval=0s timeout=90s stop interval=0s timeout=125s meta allow-migrate=true priority=2 --no-default-ops --force
pcs -f plant.cib resource utilization worker-1 cpu=1 hv_memory=4096 place-1=1
pcs -f plant.cib resource create worker-2 ocf:heartbeat:VirtualDomain autoset_utilization_cpu=false autoset_utilization_host_memory=false autoset_utilization_hv_memory=false config=/srv/vms/worker-2.xml hypervisor=qemu:///system remoteuri=qemu+tls://%n.plant.example/system op migrate_from interval=0s timeout=60s migrate_to interval=0s timeout=120s monitor interval=10s timeout=30s start interval=0s timeout=90s stop interval=0s timeout=125s meta allow-migrate=true priority=2 --no-default-ops --force
pcs -f plant.cib resource utilization worker-2 cpu=1 hv_memory=4096 place-1=1
pcs -f plant.cib resource create worker-3 ocf:heartbeat:VirtualDomain autoset_utilization_cpu=false autoset_utilization_host_memory=false autoset_utilization_hv_memory=false config=/srv/vms/worker-3.xml hypervisor=qemu:///system remoteuri=qemu+tls://%n.plant.example/system op migrate_from interval=0s timeout=60s migrate_to interval=0s timeout=120s monitor interval=10s timeout=30s start interval=0s timeout=90s stop interval=0s timeout=125s meta allow-migrate=true priority=2 --no-default-ops --force
pcs -f plant.cib resource utilization worker-3 cpu=1 hv_memory=4096 place-1=1
pcs -f plant.cib resource create worker-4 ocf:heartbeat:VirtualDomain autoset_utilization_cpu=false autoset_utilization_host_memory=false autoset_utilization_hv_memory=false config=/srv/vms/worker-4.xml hypervisor=qemu:///system remoteuri=qemu+tls://%n.plant.example/system op migrate_from interval=0s timeout=60s migrate_to interval=0s timeout=120s monitor interval=10s timeout=30s start interval=0s timeout=90s stop interval=0s timeout=125s meta allow-migrate=true priority=2 --no-default-ops --force
pcs -f plant.cib resource utilization worker-4 cpu=1 hv_memory=4096 place-1=1
pcs -f plant.cib constraint location add -- fence-kvm-1-not-on-kvm-1 fence-kvm-1 kvm-1 -INFINITY
pcs -f plant.cib constraint location add -- fence-kvm-2-not-on-kvm-2 fence-kvm-2 kvm-2 -INFINITY
pcs -f plant.cib constraint location add -- fence-kvm-3-not-on-kvm-3 fence-kvm-3 kvm-3 -INFINITY
pcs -f plant.cib constraint location add -- fence-kvm-4-not-on-kvm-4 fence-kvm-4 kvm-4 -INFINITY
pcs -f plant.cib constraint location add -- fence-kvm-5-not-on-kvm-5 fence-kvm-5 kvm-5 -INFINITY
pcs -f plant.cib constraint order set cache sequential=false set shop sequential=false setoptions id=after-cache kind=Optional
pcs -f plant.cib constraint order set db-1 db-2 sequential=false set cache sequential=false setoptions id=after-db-1-db-2 kind=Optional
pcs -f plant.cib constraint order set dlm-clone sequential=false set mount-vms-clone sequential=false setoptions id=order-dlm kind=Mandatory
pcs -f plant.cib constraint order set mount-vms-clone sequential=false set cache db-1 db-2 legacy shop worker-1 worker-2 worker-3 worker-4 sequential=false setoptions id=order-mount-vms kind=Mandatory
pcs -f plant.cib constraint order set libvirtd-clone virtlockd-clone sequential=false set cache db-1 db-2 legacy shop worker-1 worker-2 worker-3 worker-4 sequential=false setoptions id=order-services kind=Optional
pcs -f plant.cib constraint colocation add -- db-2 with db-1 -500 node-attribute=label-rack id=apart-rack-db-1-db-2-db-1
pcs -f plant.cib constraint colocation set cache shop sequential=true setoptions id=together-host-cache score=INFINITY
pcs -f plant.cib constraint colocation set mount-vms-clone sequential=false set dlm-clone sequential=false setoptions id=with-dlm score=INFINITY
pcs -f plant.cib constraint colocation set cache db-1 db-2 legacy shop worker-1 worker-2 worker-3 worker-4 sequential=false set mount-vms-clone sequential=false setoptions id=with-mount-vms score=INFINITY
pcs -f plant.cib constraint colocation set cache db-1 db-2 legacy shop worker-1 worker-2 worker-3 worker-4 sequential=false set libvirtd-clone virtlockd-clone sequential=false setoptions id=with-services score=INFINITY
pcs -f plant.cib tag create plant-vms cache db-1 db-2 legacy shop worker-1 worker-2 worker-3 worker-4
pcs -f plant.cib tag create kvmdecl-plant.978283029180 fence-kvm-1 fence-kvm-2 fence-kvm-3 fence-kvm-4 fence-kvm-5 dlm-clone libvirtd-clone mount-vms-clone virtlockd-clone cache db-1 db-2 legacy shop worker-1 worker-2 worker-3 worker-4
pcs cluster cib-push plant.cib

# -- secrets, which are in no file but on the hosts
cibsecret set fence-kvm-1 password "$KVMDECL_SECRET_BMC"
cibsecret set fence-kvm-2 password "$KVMDECL_SECRET_BMC"
cibsecret set fence-kvm-3 password "$KVMDECL_SECRET_BMC"
cibsecret set fence-kvm-4 password "$KVMDECL_SECRET_BMC"
cibsecret set fence-kvm-5 password "$KVMDECL_SECRET_BMC"
