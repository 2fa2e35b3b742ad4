"""libvirt's own words that manifests and definitions share, for those who know no manifest: workers on hosts."""

HYPERV = ("relaxed", "vapic", "vpindex", "runtime", "synic", "stimer", "frequencies", "tlbflush", "ipi")
"""Enlightenments that no hardware stands against; `stimer` needs `synic` and `vpindex`, and these the hypervclock."""
ENLIGHTENMENTS = (*HYPERV, "reset", "reenlightenment", "evmcs", "avic")
"""All that are switches."""
SPINLOCKS = 8191
"""Tries before a guest yields: the number that Windows' own hypervisor uses."""
AGENT_CHANNEL = "org.qemu.guest_agent.0"
"""Channel of the QEMU guest agent."""
DRIVE_PREFIX = "cdrom_"
"""What the names of drives begin with; so no disk's does, either."""
NESTING = ("vmx", "svm")
"""What lets a guest have guests, on Intel and on AMD."""
LIMITS = (
    "shares",
    *(
        f"{whose}{what}"
        for whose in ("global_", "", "emulator_", "iothread_")
        for what in ("period", "quota")
    ),
)
"""Weights and limits of `cputune`; the manifest calls them by the same names."""
