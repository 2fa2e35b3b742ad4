"""Guests as people make them with virsh and virt-install: what libvirt may be told, a little of everything."""

from __future__ import annotations

_HEAD = "<domain type='{type}' {namespaces}><name>{name}</name><uuid>{uuid}</uuid>"
_QEMU = "xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'"
DISK = (
    "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/srv/a.qcow2'/>"
    "<target dev='vda' bus='virtio'/></disk>"
)
NIC = "<interface type='bridge'><mac address='52:54:00:12:00:{0:02x}'/><source bridge='br0'/>{1}</interface>"


def domain(
    devices: str = "", *, head: str = "", os: str = "", cpu: str = "", memory: str = "", machine: str = "pc",
    features: str = "<acpi/><apic/>", vcpu: str = "<vcpu>2</vcpu>", clock: str = "", tail: str = "",
    name: str = "guest", uuid: str = "6c5f5a0e-58d4-4f0a-9d2e-7a0f6d9b7c11", type_: str = "qemu",
) -> str:  # fmt: skip
    """A definition to give to libvirt."""
    return (
        _HEAD.format(type=type_, name=name, uuid=uuid, namespaces=_QEMU if "qemu:" in tail else "")
        + (head + (memory or "<memory unit='MiB'>256</memory>") + vcpu)
        + f"<os><type arch='x86_64' machine='{machine}'>hvm</type>{os}</os>"
        + f"<features>{features}</features>{cpu}{clock}<devices>{devices}</devices>{tail}</domain>"
    )


def chars(tag: str, *bodies: str) -> str:
    return "".join(f"<{tag} {body}" for body in bodies)


GUESTS: dict[str, str] = {
    "next to nothing": domain(),
    "no ACPI, no APIC": domain(features="<pae/>"),
    "a title and a text": domain(head="<title>front door</title><description>two\nlines</description>"),
    "a generation ID": domain(head="<genid>43dc0cf8-809b-4adb-9bea-a9abb5f3d90e</genid>"),
    "several disks of one image": domain(
        "".join(
            "<disk type='network'><driver name='qemu' type='raw'/><source protocol='rbd' name='pool/image'>"
            f"{more}<host name='mon.example'/></source><target dev='{target}' bus='virtio'/></disk>"
            for target, more in (
                ("vda", ""),
                ("vdb", "<snapshot name='old'/>"),
                ("vdc", "<config file='/srv/c'/>"),
            )
        )
        + "<disk type='network'><driver name='qemu' type='raw'/><auth username='admin'><secret type='ceph' "
        "usage='ours'/></auth><source protocol='rbd' name='pool/image'/><target dev='vdd' bus='virtio'/></disk>"
    ),
    "memory of an odd size": domain(memory="<memory unit='KiB'>219100</memory>"),
    "memory to grow into": domain(
        memory="<memory unit='GiB'>2</memory><currentMemory unit='GiB'>1</currentMemory>"
    ),
    "memory to plug in": domain(
        "<memory model='dimm'><target><size unit='MiB'>128</size><node>0</node></target></memory>",
        head="<maxMemory slots='4' unit='GiB'>4</maxMemory>",
        cpu="<cpu><numa><cell id='0' cpus='0-1' memory='256' unit='MiB'/></numa></cpu>",
    ),
    "shared memory": domain(
        head="<memoryBacking><source type='memfd'/><access mode='shared'/><nosharepages/></memoryBacking>"
    ),
    "limits of memory": domain(
        head="<memtune><hard_limit unit='GiB'>2</hard_limit><soft_limit unit='MiB'>512</soft_limit></memtune>"
    ),
    "vCPUs one by one": domain(
        vcpu="<vcpu current='1'>2</vcpu><vcpus><vcpu id='0' enabled='yes' hotpluggable='no' order='1'/>"
        "<vcpu id='1' enabled='no' hotpluggable='yes'/></vcpus>"
    ),
    "a topology": domain(
        vcpu="<vcpu>4</vcpu>", cpu="<cpu><topology sockets='1' dies='1' cores='2' threads='2'/></cpu>"
    ),
    "a named CPU with features": domain(
        cpu="<cpu match='exact'><model fallback='allow'>Nehalem</model><vendor>Intel</vendor>"
        "<feature policy='require' name='aes'/><feature policy='disable' name='vmx'/></cpu>"
    ),
    "the greatest CPU": domain(cpu="<cpu mode='maximum'/>"),
    "NUMA cells with distances": domain(
        vcpu="<vcpu>4</vcpu>",
        cpu="<cpu><numa>"
        "<cell id='0' cpus='0-1' memory='128' unit='MiB'><distances><sibling id='0' value='10'/>"
        "<sibling id='1' value='20'/></distances></cell>"
        "<cell id='1' cpus='2-3' memory='128' unit='MiB'><distances><sibling id='0' value='20'/>"
        "<sibling id='1' value='10'/></distances></cell></numa></cpu>",
    ),
    "pinned and weighed": domain(
        head="<cputune><shares>2048</shares><period>100000</period><quota>50000</quota>"
        "<vcpupin vcpu='0' cpuset='0-1'/><vcpupin vcpu='1' cpuset='0,^1'/><emulatorpin cpuset='1'/></cputune>"
    ),
    "memory of a node": domain(head="<numatune><memory mode='strict' nodeset='0'/></numatune>"),
    "weights of block devices": domain(head="<blkiotune><weight>800</weight></blkiotune>"),
    "I/O threads": domain(
        DISK.replace("type='qcow2'", "type='qcow2' iothread='1'"), head="<iothreads>2</iothreads>"
    ),
    "a disk with all its options": domain(
        "<disk type='file' device='disk'><driver name='qemu' type='raw' cache='none' io='native' discard='unmap'"
        " detect_zeroes='unmap' error_policy='stop' rerror_policy='report'/><source file='/srv/b.img'/>"
        "<target dev='vdb' bus='virtio'/><serial>B-1</serial><boot order='1'/></disk>"
    ),
    "limits of a disk": domain(
        DISK.replace(
            "</disk>",
            "<iotune><total_bytes_sec>10485760</total_bytes_sec><read_iops_sec>500</read_iops_sec></iotune></disk>",
        )
    ),
    "block devices and a shared disk": domain(
        "<disk type='block' device='disk'><driver name='qemu' type='raw'/><source dev='/dev/vg0/a'/>"
        "<target dev='sda' bus='scsi'/><shareable/></disk>"
        "<disk type='block' device='lun'><driver name='qemu' type='raw'/><source dev='/dev/sdx'/>"
        "<target dev='sdb' bus='scsi'/></disk><controller type='scsi' index='0' model='virtio-scsi'/>"
    ),
    "disks elsewhere": domain(
        "<disk type='network' device='disk'><driver name='qemu' type='raw'/><source protocol='nbd' name='x'>"
        "<host name='store.example' port='10809'/></source><target dev='vda' bus='virtio'/></disk>"
        "<disk type='volume' device='disk'><driver name='qemu' type='raw'/><source pool='p' volume='v'/>"
        "<target dev='vdb' bus='virtio'/></disk>"
    ),
    "drives and a floppy": domain(
        "<disk type='file' device='cdrom'><driver name='qemu' type='raw'/><source file='/srv/i.iso'/>"
        "<target dev='hdc' bus='ide'/><readonly/></disk><disk type='file' device='cdrom'>"
        "<target dev='hdd' bus='ide'/><readonly/></disk><disk type='file' device='floppy'>"
        "<driver name='qemu' type='raw'/><source file='/srv/f.img'/><target dev='fda' bus='fdc'/></disk>"
    ),
    "a backing chain": domain(
        DISK.replace(
            "<target",
            "<backingStore type='file'><format type='raw'/><source file='/srv/base.img'/><backingStore/>"
            "</backingStore><target",
        )
    ),
    "a disk where it should not be": domain(
        DISK.replace("vda", "sda")
        .replace("virtio", "sata")
        .replace("</disk>", "<address type='drive' controller='0' bus='0' target='0' unit='4'/></disk>"),
        machine="q35",
    ),
    "a boot order of devices": domain(
        DISK.replace("</disk>", "<boot order='2'/></disk>")
        + NIC.format(1, "<model type='virtio'/><boot order='1'/>")
    ),
    "a boot order of kinds": domain(os="<boot dev='network'/><boot dev='hd'/><bootmenu enable='yes'/>"),
    "a kernel of its own": domain(os="<kernel>/srv/vmlinuz</kernel><cmdline>console=ttyS0 quiet</cmdline>"),
    "NICs of all kinds": domain(
        NIC.format(1, "<model type='virtio'/><link state='down'/><mtu size='9000'/>")
        + "<interface type='network'><mac address='52:54:00:12:00:02'/><source network='default'/>"
        "<model type='e1000'/></interface>"
        "<interface type='user'><mac address='52:54:00:12:00:03'/><model type='virtio'/></interface>"
        "<interface type='direct'><mac address='52:54:00:12:00:04'/><source dev='eth0' mode='bridge'/>"
        "<model type='virtio'/></interface>"
    ),
    "NICs with options": domain(
        NIC.format(
            1,
            "<model type='virtio'/><driver name='vhost' queues='2'/><port isolated='yes'/>"
            "<filterref filter='clean-traffic'><parameter name='IP' value='10.0.0.5'/></filterref>"
            "<bandwidth><inbound average='1000' peak='5000' burst='1024'/><outbound average='128'/></bandwidth>",
        )
        + NIC.format(2, "<model type='virtio'/><coalesce><rx><frames max='7'/></rx></coalesce>")
    ),
    "a NIC of the default model": domain(NIC.format(1, "")),
    "a screen with VNC": domain(
        "<graphics type='vnc' port='5930' autoport='no' listen='127.0.0.1' keymap='de'/>"
    ),
    "a screen for everybody": domain("<graphics type='vnc' autoport='yes' listen='0.0.0.0'/>"),
    "SPICE with all that goes with it": domain(
        "<graphics type='spice' autoport='yes'><listen type='address' address='127.0.0.1'/>"
        "<image compression='off'/></graphics><video><model type='qxl'/></video><sound model='ich6'/>"
        "<channel type='spicevmc'><target type='virtio' name='com.redhat.spice.0'/></channel>"
        "<redirdev bus='usb' type='spicevmc'/><redirdev bus='usb' type='spicevmc'/>"
    ),
    "two cards": domain(
        "<video><model type='vga'/></video><video><model type='virtio' heads='1'>"
        "<resolution x='1280' y='720'/></model></video>"
    ),
    "input devices": domain(
        "<input type='tablet' bus='usb'/><input type='keyboard' bus='usb'/><input type='mouse' bus='virtio'/>"
    ),
    "a serial console": domain("<serial type='pty'/>"),
    "two terminals": domain("<serial type='pty'/><serial type='pty'/>"),
    "serial ports": domain(
        chars(
            "serial",
            "type='tcp'><source mode='bind' host='127.0.0.1' service='4555'/><protocol type='telnet'/>"
            "</serial>",
            "type='file'><source path='/srv/log.txt'/></serial>",
            "type='pty'></serial>",
        )
        + "<parallel type='null'/>"
    ),
    "a console by virtio": domain("<console type='pty'><target type='virtio'/></console>"),
    "channels": domain(
        "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"
        "<channel type='unix'><target type='virtio' name='org.example.a'/></channel>"
        "<channel type='tcp'><source mode='connect' host='log.example' service='9000'/>"
        "<target type='virtio' name='org.example.b'/></channel>"
    ),
    "randomness": domain(
        "<rng model='virtio'><rate bytes='1024' period='1000'/><backend model='random'>/dev/urandom</backend></rng>"
        "<rng model='virtio'><backend model='egd' type='unix'><source mode='connect' path='/srv/egd'/></backend></rng>"
    ),
    "no balloon": domain("<memballoon model='none'/>"),
    "a balloon with options": domain(
        "<memballoon model='virtio' autodeflate='on' freePageReporting='on'><stats period='10'/></memballoon>"
    ),
    "watchdog, panic and vsock": domain(
        "<watchdog model='ib700' action='poweroff'/><panic model='isa'/><vsock model='virtio'>"
        "<cid auto='no' address='7'/></vsock>"
    ),
    "a TPM of the host": domain(
        "<tpm model='tpm-tis'><backend type='passthrough'><device path='/dev/tpm0'/></backend></tpm>"
    ),
    "devices of the host": domain(
        "<hostdev mode='subsystem' type='pci' managed='yes'><source><address domain='0' bus='5' slot='2'"
        " function='1'/></source></hostdev>"
        "<hostdev mode='subsystem' type='usb'><source><vendor id='0x1234'/><product id='0xbeef'/></source></hostdev>"
    ),
    "shares": domain(
        "<filesystem type='mount' accessmode='mapped'><source dir='/srv/share'/><target dir='share'/></filesystem>"
        "<shmem name='a'><model type='ivshmem-plain'/><size unit='M'>4</size></shmem>"
    ),
    "leases": domain(
        "<lease><lockspace>a</lockspace><key>b</key><target path='/srv/leases' offset='1048576'/></lease>"
        "<lease><lockspace>a</lockspace><key>quick_brown_foxes_jump_over_lazy_dogs</key>"
        "<target path='/srv/leases'/></lease>"
    ),
    "enlightenments that are off": domain(
        features="<acpi/><hyperv><relaxed state='off'/><spinlocks state='off'/><stimer state='off'/></hyperv>"
    ),
    "enlightenments and other features": domain(
        features="<acpi/><apic/><hyperv mode='custom'><relaxed state='on'/><spinlocks state='on' retries='4096'/>"
        "</hyperv><kvm><hidden state='on'/></kvm><vmport state='off'/><pmu state='off'/>"
    ),
    "a clock with timers": domain(
        clock="<clock offset='variable' adjustment='3600' basis='utc'><timer name='rtc' tickpolicy='catchup'>"
        "<catchup threshold='123' slew='120' limit='10000'/></timer><timer name='hpet' present='no'/></clock>"
    ),
    "a clock of the place": domain(clock="<clock offset='localtime'/>"),
    "what follows what": domain(
        tail="<on_poweroff>destroy</on_poweroff><on_reboot>destroy</on_reboot><on_crash>preserve</on_crash>"
        "<pm><suspend-to-mem enabled='no'/></pm>"
    ),
    "SMBIOS": domain(
        os="<smbios mode='sysinfo'/>",
        tail="<sysinfo type='smbios'><bios><entry name='vendor'>ACME</entry></bios><system>"
        "<entry name='product'>Box</entry><entry name='serial'>7</entry></system></sysinfo>",
    ),
    "arguments for QEMU": domain(
        tail="<qemu:commandline><qemu:arg value='-device'/><qemu:arg value='pvpanic'/>"
        "<qemu:env name='A' value='b'/></qemu:commandline>"
    ),
    "labels of its own": domain(
        tail="<seclabel type='static' model='dac' relabel='no'><label>+0:+0</label></seclabel>"
    ),
    "buses laid out by hand": domain(
        "<controller type='pci' index='0' model='pcie-root'/><controller type='pci' index='1'"
        " model='pcie-expander-bus'><target busNr='254'/></controller><controller type='pci' index='2'"
        " model='pcie-root-port'><address type='pci' bus='1' slot='0'/></controller>"
        "<controller type='usb' index='0' model='ich9-ehci1'/><controller type='usb' index='0' model='ich9-uhci1'>"
        "<master startport='0'/></controller>",
        machine="q35",
    ),
    "ports for devices to come": domain(
        "<controller type='pci' index='0' model='pcie-root'/>"
        + "".join(
            f"<controller type='pci' model='pcie-root-port'><alias name='ua-hotplug{n}'/></controller>"
            for n in (1, 2)
        ),
        machine="q35",
    ),
    "names of its own for devices": domain(
        DISK.replace("</disk>", "<alias name='ua-Big_One'/></disk>")
        + NIC.format(1, "<model type='virtio'/><alias name='ua-first'/>")
    ),
    "a q35 with everything usual": domain(
        DISK + NIC.format(1, "<model type='virtio'/>") + "<serial type='pty'/>"
        "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"
        "<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>",
        machine="q35",
        cpu="<cpu mode='maximum'/>",
    ),
}
