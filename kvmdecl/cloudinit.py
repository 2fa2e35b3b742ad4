"""What cloud-init reads in a guest: the files of a NoCloud seed, from a vm's name and its `cloud_init:`."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kvmdecl.state import SeedContent, SeedSecret

# cloud-init's INCLUSION_TYPES_MAP (cloudinit/handlers): compared in lower case, after any white space.
_HEADERS = (
    "#!",
    "#cloud-boothook",
    "#cloud-config",
    "#include",
    "#part-handler",
    "## template: jinja",
    "content-type:",
    "mime-version:",
)
EMPTY = "#cloud-config\n"


def has_known_header(user_data: str) -> bool:
    """Whether cloud-init will know what to do with user-data; it ignores what begins with anything else."""
    return user_data[:100].lstrip().lower().startswith(_HEADERS)


@dataclass(frozen=True, slots=True)
class Identity:
    """What the guest is as a machine.

    With `rerun` its instance id changes with the seed: cloud-init, which remembers the id, sets the guest up once more.
    """

    hostname: str
    instance_id: str
    public_keys: tuple[str, ...] = ()
    rerun: bool = False

    def meta_data(self, instance_id: str) -> str:
        """The file. None of its values holds anything that JSON would escape, but for the comments of keys."""
        text = f'instance-id: "{instance_id}"\nlocal-hostname: "{self.hostname}"\n'
        if self.public_keys:
            text += "public-keys:\n" + "".join(f"- {json.dumps(key)}\n" for key in self.public_keys)
        return text


def places(text: str) -> frozenset[str]:
    """The names of the places for secrets in a text."""
    return frozenset(found["place"] for found in _PLACE.finditer(text))


def filled(files: Iterable[tuple[str, str]], values: Mapping[str, bytes]) -> tuple[tuple[str, str], ...]:
    """The files of a seed with the values of secrets in their places.

    Raises:
        ValueError: a value does not fit into its place; the text says why and holds nothing of the value.
    """
    return tuple(
        (name, _PLACE.sub(lambda found: _value(found, values[found["place"]]), text) if values else text)
        for name, text in files
    )


def _value(found: re.Match[str], value: bytes) -> str:
    if found["form"] == "base64":
        return base64.b64encode(value).decode("ascii")
    try:
        text = value.decode()
    except UnicodeDecodeError:
        raise ValueError("it is no text; write its place as `${secret:NAME|base64}`") from None
    if found["form"] == "json":
        return json.dumps(text)
    if not text.isprintable():
        raise ValueError("it has several lines; write its place as `${secret:NAME|json}`, or `|base64`")
    return text


_PLACE = re.compile(r"\$\{secret:(?P<place>[A-Za-z_][A-Za-z0-9_]*)(?:\|(?P<form>json|base64))?\}")


def seed(
    machine: Identity,
    user_data: str | None,
    network_config: str | None = None,
    vendor_data: str | None = None,
    secrets: tuple[SeedSecret, ...] = (),
) -> SeedContent:
    """The seed of a vm: its files, and the secrets that go into them."""
    given = {"network-config": network_config, "vendor-data": vendor_data}
    files = [(name, text) for name, text in given.items() if text is not None]
    files.append(("user-data", EMPTY if user_data is None else user_data))
    instance_id = machine.instance_id
    if machine.rerun:
        said = SeedContent((*files, ("meta-data", machine.meta_data(""))), secrets=secrets)
        instance_id += f"-{said.sha256[:12]}"
    files.append(("meta-data", machine.meta_data(instance_id)))
    return SeedContent(tuple(sorted(files)), secrets=secrets)
