"""A secret as libvirt XML, without its value: that has no place in any document."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.libvirt_xml.build import node
from kvmdecl.libvirt_xml.overlay import to_text
from kvmdecl.libvirt_xml.safe import BadXml, parse_xml
from kvmdecl.state import ObservedSecret

if TYPE_CHECKING:
    from kvmdecl.cluster import ResolvedSecret

_IDS = {"volume": "volume", "ceph": "name", "iscsi": "target", "vtpm": "name", "tls": "name"}
"""The element that tells secrets of one usage apart (virSecretDefParseUsage)."""


def usage_id(cluster: str, usage: str, name: str) -> str:
    """What tells a secret of the manifest from all others of its usage on a host, in the form that libvirt wants."""
    return f"/kvmdecl/{cluster}/{name}" if usage == "volume" else f"kvmdecl:{cluster}:{name}"


def secret_xml(secret: ResolvedSecret) -> str:
    """The declared definition of a secret. It is private: nobody reads its value back through libvirt's API."""
    usage = secret.spec.usage
    return to_text(
        node(
            "secret",
            node("uuid", secret.uuid),
            node("description", f"secret {secret.name} of kvmdecl"),
            node("usage", node(_IDS[usage], secret.usage_id), type=usage),
            ephemeral="yes" if secret.spec.ephemeral else "no",
            private="yes",
        )
    )


def uses(definition: str, secret: ObservedSecret) -> bool:
    """Whether the definition of a domain or pool names a secret, by its UUID or by what it is for."""
    return secret.uuid in definition or bool(secret.usage_id and secret.usage_id in definition)


def parse_secret(text: str) -> ObservedSecret:
    """Read the answer of virSecretGetXMLDesc.

    Raises:
        BadXml: not such a document.
    """
    root = parse_xml(text)
    uuid, usage = (root.findtext("uuid") or "").strip().lower(), root.find("usage")
    if root.tag != "secret" or not uuid:
        raise BadXml("the document is not a <secret> with a UUID")
    kind = "none" if usage is None else usage.get("type", "none")
    usage_id = "" if usage is None else (usage.findtext(_IDS.get(kind, "name")) or "").strip()
    return ObservedSecret(uuid, kind, usage_id, root.get("ephemeral") == "yes")
