"""An example of each key, for editors: from its description, its choices, or what its text looks like."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from kvmdecl.source import Mapping, Node, Scalar, Sequence, Source, parse

if TYPE_CHECKING:
    Schema = dict[str, Any]

_REF = "#/$defs/"
_DEPTH = 4
# What texts without an example of their own look like, by their pattern; the first that fits is taken.
_LOOKS = (
    "web",
    "8GiB",
    "90s",
    "/srv/vms",
    "52:54:00:12:34:56",
    "192.168.100.10",
    "0-3",
    "0000:41:00.0",
    "10de",
    "20%",
    "3e2b1f7a-0c4d-4f7b-9a3e-1d2c3b4a5f60",
    "scsi_host2",
    "iqn.2020-01.example.nas:vms",
    "nas.example",
    "4.2",
    "0" * 64,
    "memory.*",
    "src,dst",
    "sda",
    "SYN/ALL",
    "auto",
    "48",
    "host",
    "5900",
    "5000c50015ea71ac",
    "0x30000",
    "root",
    "755",
    "1",
)
# What says more than any text that fits: by the key.
_SAID: dict[str, Any] = {
    "after": ["db"],
    "arp_dst_ip": "192.168.100.10",
    "arp_src_ip": "192.168.100.10",
    "at": {"kvm-1": "0000:41:00.0"},
    "baseline": "rules.baseline",
    "boot": ["root"],
    "bridge": "br0",
    "cluster": "edge",
    "comment": "ssh from the office",
    "config": "web.ign",
    "cores": 4,
    "count": 3,
    "cpus": 4,
    "delay": {"kvm-1": "5s"},
    "description": "Sells things",
    "disk": "20GiB",
    "domain": "edge.example",
    "dst_ip": "192.168.100.10",
    "dst_port": "443",
    "end": "192.168.100.250",
    "export": "/export/vms",
    "file": "pxelinux.0",
    "filter": "clean-traffic",
    "gateway": "192.168.100.1",
    "genid": "auto",
    "host": "kvm-1",
    "hosts": ["kvm-1", "kvm-2"],
    "image": "debian-13",
    "ip": "192.168.100.10",
    "label": "system_u:system_r:svirt_t:s0",
    "labels": {"rack": "r1"},
    "machine": "q35",
    "max": 8,
    "migration_address": "10.1.0.1",
    "mtu": 9000,
    "names": ["shop.edge.example"],
    "network": "lan",
    "nics": ["lan"],
    "node_ids": {"kvm-1": 1},
    "omit": ["devices/memballoon"],
    "options": "noatime",
    "partition": "/machine/shop",
    "alias": "gpu",
    "by": "rack",
    "canary": ["kvm-1"],
    "check": "agent",
    "devices": ["gpu"],
    "for": {"zone": ["a", "b"]},
    "gates": ["agent"],
    "mdev": "nvidia-35",
    "tap": "tap-web",
    "waves": [["kvm-1"], ["kvm-2", "kvm-3"]],
    "placement": "numa",
    "plugs": {"kvm-1": "3"},
    "pool": "vms",
    "port": 5900,
    "portgroup": "office",
    "priority": 100,
    "profile": "small",
    "extends": "base",
    "queues": 4,
    "reason": "vendor appliance, ticket 4711",
    "rom_file": "/srv/rom/gpu.rom",
    "script": "/usr/local/sbin/bmc-password",
    "server": "192.168.100.2",
    "servers": ["mon-1.example", "mon-2.example"],
    "service": "sip",
    "sockets": 1,
    "solver": "numa",
    "source": "images/debian-13.qcow2",
    "src_ip": "192.168.100.10",
    "src_port": "1024-65535",
    "start": "192.168.100.10",
    "target": "sda",
    "team": "bond0",
    "tftp": "/srv/tftp",
    "threads": 2,
    "until": "2026-12-31",
    "uri": "qemu+tls://{name}.example/system",
    "user": "admin",
    "user_data": "#cloud-config\npackages: [qemu-guest-agent]\n",
    "version": "2",
    "vlan": 20,
    "vm": "db",
    "watchdog": "/dev/watchdog",
    "xml": "<title>Shop</title>",
}
# What a whole section may say.
_SECTIONS: dict[str, Any] = {
    "hosts": {"kvm-{1..3}": "qemu+tls://{name}.example/system"},
    "networks": {"lan": {"bridge": "br0"}},
    "storage": {"vms": "/srv/vms"},
    "images": {"debian-13": {"source": "images/debian-13.qcow2"}},
    "secrets": {"db": {"usage": "volume", "value": {"env": "KVMDECL_SECRET_DB"}}},
    "profiles": {"small": {"memory": "2GiB", "nics": ["lan"]}},
    "defaults": {"vms": {"autostart": True}},
    "vms": {"web": {"image": "debian-13", "memory": "4GiB", "disk": "20GiB", "nics": ["lan"]}},
    "limits": {"deletes": {"total": 3}},
    "rollout": {"canary": ["kvm-1"]},
    "ha": {"fencing": {"ipmi": {"agent": "fence_ipmilan"}}},
}
_MEMBERS = {
    "disks": "data",
    "cdroms": "installer",
    "labels": "rack",
    "host_labels": "zone",
    "addresses": "kvm-1",
    "vms": "web",
    "devices": "gpu",
    "for": "zone",
    "hosts": "kvm-{1..3}",
    "networks": "lan",
    "storage": "vms",
    "images": "debian-13",
    "profiles": "small",
    "secrets": "db",
}


def add_examples(schema: Schema) -> None:
    """Give every property of a schema that has none `examples`, of which each is valid by it."""
    _Examples(schema["$defs"]).add(schema)


class _Examples:
    def __init__(self, definitions: dict[str, Schema]) -> None:
        self._definitions = definitions

    def add(self, node: Any) -> None:  # noqa: ANN401 - a schema or a part of one
        if isinstance(node, list):
            for each in node:
                self.add(each)
        if not isinstance(node, dict):
            return
        for key, prop in (
            node.get("properties", {}).items() if isinstance(node.get("properties"), dict) else ()
        ):
            if "examples" not in prop and "const" not in prop and (found := self.of(key, prop)):
                prop["examples"] = found
        for each in node.values():
            self.add(each)

    def of(self, key: str, schema: Schema, depth: int = 0) -> list[Any]:
        """Examples of a key; none if nothing is known that is valid."""
        if said := [
            each for each in _in_words(key, schema.get("description", "")) if self._fits(each, schema)
        ]:
            return said
        for said_of in (_SECTIONS, _SAID):
            if key in said_of and self._fits(said_of[key], schema):
                return [said_of[key]]
        return self._by_type(key, schema, depth)

    def _by_type(self, key: str, schema: Schema, depth: int) -> list[Any]:
        if "examples" in schema:
            return list(schema["examples"])
        if "$ref" in schema:
            return self.of(key, self._target(schema), depth)
        if choices := schema.get("anyOf"):
            real = [each for each in choices if each.get("type") != "null"]
            return next((found for each in real if (found := self._by_type(key, each, depth))), [])
        if "enum" in schema:
            default = schema.get("default")
            return [each for each in schema["enum"] if each != default][:4]
        if "const" in schema:
            return [schema["const"]]
        kinds = schema.get("type")
        kind = kinds if isinstance(kinds, str) else (kinds or [""])[0]
        if kind == "array":
            return [inner[:1] if (inner := self._by_type(key, schema.get("items", {}), depth)) else []]
        if kind == "object":
            return self._object(key, schema, depth)
        if kind in {"integer", "number"}:
            return [_number(schema)]
        if kind == "boolean":
            return [schema.get("default") is not True]
        return [look for look in _LOOKS if _matches(look, schema)][:1]

    def _object(self, key: str, schema: Schema, depth: int) -> list[Any]:
        properties = schema.get("properties", {})
        if properties:
            if depth > _DEPTH:
                return []
            chosen = schema.get("required") or [
                next((each for each in properties if each in _SAID), next(iter(properties)))
            ]
            inner = {each: self.of(each, properties[each], depth + 1)[:1] for each in chosen}
            return [{each: found[0] for each, found in inner.items() if found}]
        inside: object = schema.get("additionalProperties") or next(
            iter(schema.get("patternProperties", {}).values()), {}
        )
        found = self._by_type(key, inside, depth + 1) if isinstance(inside, dict) else []
        names = schema.get("propertyNames", {})
        pattern = next(iter(schema.get("patternProperties", {"": None})))
        known = (*names.get("examples", names.get("enum", ())), _MEMBERS.get(key, "a"), *_LOOKS)
        name = next(each for each in known if re.search(pattern, each))
        return [{name: found[0]}] if found else []

    def _fits(self, value: Any, schema: Schema) -> bool:  # noqa: ANN401 - plain data
        """Whether a short example may stand here: exactly what is checked by a test, here only roughly."""
        if "$ref" in schema:
            return self._fits(value, self._target(schema))
        if choices := schema.get("anyOf"):
            return any(self._fits(value, each) for each in choices)
        kinds = schema.get("type", [])
        kinds = [kinds] if isinstance(kinds, str) else kinds
        if isinstance(value, list):
            return "array" in kinds and all(self._fits(each, schema.get("items", {})) for each in value)
        if isinstance(value, dict):
            known = schema.get("properties", {})
            element: Schema | None = (
                next(iter(schema.get("patternProperties", {}).values()), None)
                or schema.get("additionalProperties")
                or None
            )
            return "object" in kinds and all(
                self._fits(each, inner) if (inner := known.get(name, element)) else False
                for name, each in value.items()
            )
        if isinstance(value, bool):
            return "boolean" in kinds
        if isinstance(value, int):
            return "integer" in kinds and schema.get("minimum", value) <= value <= schema.get(
                "maximum", value
            )
        return value in schema["enum"] if "enum" in schema else "string" in kinds and _matches(value, schema)

    def _target(self, reference: Schema) -> Schema:
        return self._definitions[reference["$ref"].removeprefix(_REF)]


def _matches(text: str, schema: Schema) -> bool:
    pattern = schema.get("pattern", "").replace(r"|\{[a-z]", "")  # not by its variable
    fits = schema.get("minLength", 0) <= len(text) <= schema.get("maxLength", len(text))
    return fits and re.search(pattern, text) is not None


def _number(schema: Schema) -> int:
    low = int(schema.get("minimum", 1))
    high = int(schema.get("maximum", 1 << 40))
    default = schema.get("default")
    wanted = default * 2 if isinstance(default, int) and default > 0 else 4
    return max(low, min(wanted, high))


def _in_words(key: str, description: str) -> list[Any]:
    """What a description gives as an example: `KEY: VALUE` in backticks."""
    found: list[Any] = []
    for text in re.findall(rf"`({re.escape(key)}: [^`]+)`", description):
        root, faults = parse(Source("example", text.replace("\n", " ")))
        node = root.get(key)
        if not faults and node is not None:
            found.append(_typed(node))
    return found


def _typed(node: Node) -> Any:  # noqa: ANN401 - plain data
    if isinstance(node, Mapping):
        return {key: _typed(value) for key, (_, value) in node.entries.items()}
    if isinstance(node, Sequence):
        return [_typed(item) for item in node.items]
    if isinstance(node, Scalar) and node.plain and re.fullmatch("-?(0|[1-9][0-9]*)|true|false", node.text):
        return json.loads(node.text)
    return node.text
