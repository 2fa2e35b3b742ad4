"""What cloud-init reads in a guest: the files of a NoCloud seed, from a vm's name and its `cloud_init:`."""

from __future__ import annotations

import hashlib
from functools import lru_cache

from kvmdecl.state import SeedContent

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


def seed(vm: str, uuid: str, user_data: str | None, network_config: str | None) -> SeedContent:
    """The seed of a vm. Its instance id is the vm's UUID, so an edit does not make it another one."""
    files = [
        # Neither a UUID nor a name holds anything that JSON would escape.
        ("meta-data", f'instance-id: "{uuid}"\nlocal-hostname: "{vm}"\n'),
        ("user-data", EMPTY if user_data is None else user_data),
    ]
    if network_config is not None:
        files.append(("network-config", network_config))
    return SeedContent(tuple(sorted(files)), _digest(files))


def _digest(files: list[tuple[str, str]]) -> str:
    digest = hashlib.sha256()
    for name, text in sorted(files):
        digest.update(f"{name} {_text_digest(text)}\n".encode())
    return digest.hexdigest()


@lru_cache(maxsize=1024)
def _text_digest(text: str) -> str:
    """Most vms share their user-data, which may be long."""
    return hashlib.sha256(text.encode()).hexdigest()
