"""The words of a manifest that are more than text: names, sizes, addresses. Each is checked where it enters.

A YAML scalar arrives here as the text that was typed; the type of the model's field decides what it means. So a MAC
address of digits stays a MAC address, and `010`, `no` and `1.10` mean nothing until a field asks.
"""

from __future__ import annotations

import ipaddress
import re
import uuid
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema
from pydantic_core import PydanticCustomError, core_schema

from kvmdecl.amounts import (
    GIB,
    KIB,
    MIB,
    SECONDS,
    TIB,
    UNITS,
    about_size,
    format_duration,
    format_size,
    share_of,
)
from kvmdecl.derived import NAMESPACE, derive_mac, derive_uuid

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema

__all__ = [
    "DIGEST_LENGTH",
    "GIB",
    "KIB",
    "MIB",
    "NAMESPACE",
    "TIB",
    "Bool",
    "DiskPath",
    "Duration",
    "Form",
    "HostPath",
    "Integer",
    "IpAddress",
    "Mac",
    "Name",
    "PciAddress",
    "PoolPath",
    "Positive",
    "Sha256",
    "Size",
    "Subnet",
    "Text",
    "Uuid",
    "about_size",
    "derive_mac",
    "derive_uuid",
    "format_duration",
    "format_size",
    "is_name",
    "parse_bool",
    "parse_integer",
    "parse_ip",
    "parse_name",
    "parse_size",
    "parse_text",
    "parse_uuid",
    "share_of",
]  # fmt: skip

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,61}[a-z0-9])?", re.ASCII)
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})", re.ASCII)
_SIZE = re.compile(r"(?P<number>[0-9]{1,15})(?P<fraction>\.[0-9]{1,6})? ?(?P<unit>[A-Za-z]*)", re.ASCII)
_AMBIGUOUS = {
    "k": "KiB",
    "kb": "KiB",
    "m": "MiB",
    "mb": "MiB",
    "g": "GiB",
    "gb": "GiB",
    "t": "TiB",
    "tb": "TiB",
}
_DURATION = re.compile(r"([1-9][0-9]{0,6})(s|m|h)", re.ASCII)
_NO_XML = re.compile("[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\ud800-\\udfff\\ufffe\\uffff]")
_SHA256 = re.compile("[0-9a-f]{64}", re.ASCII)
_UUID = re.compile("[0-9A-Fa-f]{8}(?:-?[0-9A-Fa-f]{4}){3}-?[0-9A-Fa-f]{12}", re.ASCII)
_DISK_PATH = re.compile(r"(?:/[A-Za-z0-9_.:,@+=~ -]+)+", re.ASCII)
_MAC = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Form:
    """Text of one form, as metadata of `Annotated[str, ...]`.

    Who writes something else is told what it is not, and one that is right instead of a regular expression.
    """

    pattern: str
    is_not: str
    example: str

    def check(self, value: Any) -> str:  # noqa: ANN401 - whatever the document holds
        """Return the text as it is.

        Raises:
            PydanticCustomError: `manifest.bad-value`.
        """
        if isinstance(value, str) and re.fullmatch(self.pattern, value, re.ASCII):
            return value
        raise _bad("manifest.bad-value", value, self.is_not, f"write for example `{self.example}`")

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:  # noqa: ANN401
        return core_schema.no_info_before_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return handler(schema) | {"pattern": f"^{self.pattern}$", "examples": [self.example]}


DIGEST_LENGTH = 12
"""Hexadecimal digits of a digest that the name of a volume carries."""


def parse_size(value: Any) -> int:  # noqa: ANN401 - whatever the document holds
    """`8GiB` -> bytes. Binary units and bytes only: what `40G` means differs between tools by seven per cent.

    Raises:
        PydanticCustomError: `unit.ambiguous` or `unit.bad-size`.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str):
        return _size_of(value)
    raise _no_size(value)


@lru_cache(maxsize=1024)
def _size_of(value: str) -> int:
    """Sizes repeat: a large manifest writes few different ones, each thousands of times."""
    match = _SIZE.fullmatch(value)
    if match is None:
        raise _no_size(value)
    number, fraction, unit = match["number"], match["fraction"] or "", match["unit"]
    if unit not in UNITS:
        raise _unknown_unit(value, number + fraction, unit)
    parts: int = 10 ** len(fraction[1:])
    scaled, rest = divmod(int(number + fraction[1:]) * UNITS[unit], parts)
    if rest:
        raise _bad(
            "unit.bad-size", value, "is not a whole number of bytes", "use a smaller unit, such as `1536MiB`"
        )
    return scaled


def _no_size(value: object) -> PydanticCustomError:
    hint = "write a number and a unit, for example `8GiB` or `512MiB`"
    return _bad("unit.bad-size", value, "is not a size", hint)


def _unknown_unit(value: object, number: str, unit: str) -> PydanticCustomError:
    binary = next((name for name in UNITS if name.lower() == unit.lower()), _AMBIGUOUS.get(unit.lower()))
    if binary is None and not unit:
        return _bad(
            "unit.ambiguous", value, "has no unit", f"write `{number}GiB`, `{number}MiB` or `{number}B`"
        )
    if binary is None:
        return _bad(
            "unit.bad-size", value, f"has an unknown unit `{unit}`", "units are B, KiB, MiB, GiB and TiB"
        )
    return _bad(
        "unit.ambiguous",
        value,
        "has no exact meaning",
        f"write `{number}{binary}`",
        "Tools disagree whether such a unit counts in powers of 1000 or of 1024.",
    )


def parse_duration(value: Any) -> int:  # noqa: ANN401 - whatever the document holds
    """Seconds, from `90s`, `5m` or `1h`.

    Raises:
        PydanticCustomError: `manifest.bad-value`.
    """
    if isinstance(value, int) and not isinstance(
        value, bool
    ):  # a default, or a value that was parsed already
        return value
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise _bad("manifest.bad-value", value, "is not a duration", "write for example `90s`, `5m` or `1h`")
    return int(found[1]) * SECONDS[found[2]]


def parse_integer(value: Any) -> int:  # noqa: ANN401 - whatever the document holds
    """Decimal digits only: no octal, hexadecimal, underscores or digits of other scripts.

    Raises:
        PydanticCustomError: `manifest.wrong-type`.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        return int(value)
    raise _bad("manifest.wrong-type", value, "is not a whole number", "write decimal digits, for example `4`")


def parse_bool(value: Any) -> bool:  # noqa: ANN401 - whatever the document holds
    """`true` or `false`, as YAML 1.2 spells them.

    Raises:
        PydanticCustomError: `manifest.wrong-type`.
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value in {"true", "false"}:
        return bool(value == "true")
    raise _bad("manifest.wrong-type", value, "is neither true nor false", "write `true` or `false`")


def parse_name(value: Any) -> str:  # noqa: ANN401 - whatever the document holds
    """A name that libvirt, host names, file names and Pacemaker all take.

    Raises:
        PydanticCustomError: `manifest.bad-name`; `name_type` if it is a list or a mapping.
    """
    if isinstance(value, str) and is_name(value):
        return value
    if isinstance(value, list | tuple | dict):
        raise PydanticCustomError("name_type", "a single name is expected here")
    raise _bad(
        "manifest.bad-name",
        value,
        "is not a valid name",
        "use 1 to 63 of a-z, 0-9, `-` and `.`, beginning and ending with a letter or digit",
        "Names become libvirt objects, host names and files; only plain ASCII is safe in all of them.",
    )


@lru_cache(maxsize=4096)
def is_name(value: str) -> bool:
    """Whether this is a name that an object of a manifest can have.

    Names repeat: each network, pool and image is named by thousands of vms.
    """
    return _NAME.fullmatch(value) is not None and ".." not in value


def parse_uuid(value: Any) -> str:  # noqa: ANN401 - whatever the document holds
    """A UUID as libvirt writes it: lower case, with dashes.

    Raises:
        PydanticCustomError: `manifest.bad-value`.
    """
    if isinstance(value, str) and _UUID.fullmatch(value):
        return str(uuid.UUID(value))
    hint = "write it as `virsh domuuid` prints it: five groups of hexadecimal digits"
    raise _bad("manifest.bad-value", value, "is not a UUID", hint)


def parse_mac(value: Any) -> str:  # noqa: ANN401 - whatever the document holds
    """A unicast MAC address in lower case.

    Raises:
        PydanticCustomError: `manifest.bad-value`.
    """
    mac = value.lower().replace("-", ":") if isinstance(value, str) else ""
    if not _MAC.fullmatch(mac):
        raise _bad(
            "manifest.bad-value",
            value,
            "is not a MAC address",
            "write six pairs of digits: `52:54:00:12:34:56`",
        )
    if int(mac[:2], 16) & 1:
        raise _bad(
            "manifest.bad-value", value, "is a multicast address", "make the first byte an even number"
        )
    return mac


def parse_sha256(value: Any) -> str:  # noqa: ANN401 - whatever the document holds
    """A SHA-256 digest as sha256sum prints it.

    Raises:
        PydanticCustomError: `manifest.bad-value`.
    """
    if isinstance(value, str) and _SHA256.fullmatch(value):
        return value
    hint = "write the 64 digits, 0-9 and a-f, that `sha256sum FILE` prints"
    raise _bad("manifest.bad-value", value, "is not a SHA-256 digest", hint)


def parse_subnet(value: Any) -> str:  # noqa: ANN401 - whatever the document holds
    """An IPv4 or IPv6 network in CIDR notation without host bits.

    Raises:
        PydanticCustomError: `manifest.bad-value`.
    """
    what, hint = "is not a network address", "write a network, for example `192.168.100.0/24`"
    with suppress(ValueError, TypeError):
        given = ipaddress.ip_interface(value)
        if "/" in str(value):
            if given.ip == given.network.network_address:
                return str(given.network)
            hint = f"did you mean `{given.network}`?"
        else:  # it would be a network of this one address, which nobody means
            what = "does not say how large the network is"
            hint = f"add its prefix length, for example `{value}/{24 if given.version == 4 else 64}`"
    raise _bad("manifest.bad-value", value, what, hint)


def parse_ip(value: Any) -> str:  # noqa: ANN401 - whatever the document holds
    """An IPv4 or IPv6 address.

    Raises:
        PydanticCustomError: `manifest.bad-value`.
    """
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        raise _bad(
            "manifest.bad-value", value, "is not an IP address", "write an address: `192.168.100.10`"
        ) from None


def parse_pool_path(value: Any) -> str:  # noqa: ANN401 - whatever the document holds
    """An absolute path without `.`, `..`, doubled slashes or control characters.

    Raises:
        PydanticCustomError: `manifest.bad-value`.
    """
    if (
        isinstance(value, str)
        and re.fullmatch(r"(?:/[A-Za-z0-9_.@+=-]+)+", value, re.ASCII)
        and "/." not in value
    ):
        return value
    raise _bad(
        "manifest.bad-value", value, "is not an absolute path on the host", "write a plain path: `/srv/vms`"
    )


def parse_disk_path(value: Any) -> str:  # noqa: ANN401 - whatever the document holds
    """An absolute path of a file or device on the host, without `.`, `..`, doubled slashes or control characters.

    Raises:
        PydanticCustomError: `manifest.bad-value`.
    """
    if isinstance(value, str) and _DISK_PATH.fullmatch(value) and not {".", ".."} & set(value.split("/")):
        return value
    hint = "write a plain path: `/srv/disks/db.qcow2` or `/dev/vg0/db`"
    raise _bad("manifest.bad-value", value, "is not an absolute path on the host", hint)


def parse_text(value: Any) -> str:  # noqa: ANN401 - whatever the document holds
    """Text that XML can hold: no control characters but tab and line ends, no surrogates (XML 1.0, section 2.2).

    Raises:
        PydanticCustomError: `manifest.wrong-type`, `manifest.bad-value`.
    """
    if not isinstance(value, str):
        raise _bad("manifest.wrong-type", value, "is not a text", "write a text, in quotes if in doubt")
    if found := _NO_XML.search(value):
        character = f"the character U+{ord(found[0]):04X}, which no definition can hold"
        raise _bad("manifest.bad-value", value, f"contains {character}", "remove it")
    return value


def _bad(code: str, value: object, is_what: str, hint: str, cause: str = "") -> PydanticCustomError:
    other = "the empty value here" if value is None else "the value here"
    shown = f"`{value}`" if isinstance(value, str) else other
    context = {"shown": shown, "is_what": is_what, "hint": hint, "cause": cause}
    return PydanticCustomError(code, "{shown} {is_what}", context)


Size = Annotated[
    int,
    BeforeValidator(parse_size),
    PlainSerializer(format_size, when_used="json"),
    WithJsonSchema(
        {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)? ?(B|bytes|KiB|MiB|GiB|TiB)$", "examples": ["8GiB"]}
    ),
]
Duration = Annotated[
    int,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": "^[1-9][0-9]{0,6}[smh]$", "examples": ["90s"]}),
]
Integer = Annotated[int, BeforeValidator(parse_integer)]
Positive = Annotated[Integer, Field(ge=1)]
Bool = Annotated[bool, BeforeValidator(parse_bool)]
Name = Annotated[
    str, BeforeValidator(parse_name), WithJsonSchema({"type": "string", "pattern": f"^{_NAME.pattern}$"})
]
Mac = Annotated[
    str,
    BeforeValidator(parse_mac),
    WithJsonSchema({"type": "string", "pattern": "^[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}$"}),
]
Uuid = Annotated[
    str,
    BeforeValidator(parse_uuid),
    WithJsonSchema({"type": "string", "pattern": f"^{_UUID.pattern}$"}),
]
Sha256 = Annotated[
    str, BeforeValidator(parse_sha256), WithJsonSchema({"type": "string", "pattern": "^[0-9a-f]{64}$"})
]
Subnet = Annotated[
    str, BeforeValidator(parse_subnet), WithJsonSchema({"type": "string", "examples": ["192.168.100.0/24"]})
]
IpAddress = Annotated[
    str, BeforeValidator(parse_ip), WithJsonSchema({"type": "string", "examples": ["192.168.100.10"]})
]
Text = Annotated[str, BeforeValidator(parse_text)]
HostPath = Annotated[
    str, BeforeValidator(parse_pool_path), WithJsonSchema({"type": "string", "pattern": "^/"})
]
PciAddress = Annotated[
    str, Form(r"[0-9a-f]{4}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]", "is not a PCI address", "0000:41:00.0")
]
PoolPath = Annotated[
    str, BeforeValidator(parse_pool_path), WithJsonSchema({"type": "string", "pattern": "^/"})
]
DiskPath = Annotated[
    str, BeforeValidator(parse_disk_path), WithJsonSchema({"type": "string", "pattern": "^/"})
]
