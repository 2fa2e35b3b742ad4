"""What is a function of names alone, and so survives a lost checkout: UUIDs and MAC addresses."""

from __future__ import annotations

import hashlib
import uuid

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "kvmdecl.invalid")
_NAMESPACE_BYTES = NAMESPACE.bytes
_VARIANT = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))


def derive_uuid(cluster: str, kind: str, name: str) -> str:
    """The UUID of an object, a function of its name alone: it survives a lost checkout (RFC 9562, version 5)."""
    # What uuid.uuid5 does, without its objects: a large cluster derives many.
    name_bytes = f"{cluster}/{kind}/{name}".encode()
    text = hashlib.sha1(_NAMESPACE_BYTES + name_bytes, usedforsecurity=False).hexdigest()
    # Its 13th digit is the version, and the two highest bits of the 17th are the variant of RFC 9562.
    return f"{text[:8]}-{text[8:12]}-5{text[13:16]}-{_VARIANT[text[16]]}{text[17:20]}-{text[20:32]}"


def derive_mac(cluster: str, vm: str, nic: str) -> str:
    """The MAC address of a NIC: 52, a locally administered unicast prefix, and 40 bits of a hash of its name.

    QEMU's customary 52:54:00 would leave 24 bits, of which a cluster of 5,000 NICs uses one twice more often than not.
    """
    digest = hashlib.sha256(f"{cluster}/nic/{vm}/{nic}".encode()).digest()
    return f"52:{digest[:5].hex(':')}"
