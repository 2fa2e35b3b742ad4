"""A secret stands in the manifest."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kvmdecl.api import Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl.api import Site


_SECRET = re.compile(
    r"^\s*-?\s*(plain_text_passwd|password):\s*[^\s$*{]|BEGIN [A-Z ]*PRIVATE KEY", re.MULTILINE
)


def check(site: Site) -> Iterator[Finding]:
    """Find each of them."""
    for vm in site.saying("cloud_init"):
        given = vm.spec.cloud_init
        for key in ("user_data", "vendor_data", "network_config") if given is not None else ():
            text = getattr(given, key)
            if text is not None and _SECRET.search(text):
                yield Finding(
                    vm, f"cloud_init.{key}", f"{key} of {vm.name} holds a password or a key in clear text"
                )
    for vm in site.saying("ignition"):
        config = vm.spec.ignition.config if vm.spec.ignition is not None else None
        if config is not None and "PRIVATE KEY" in config:
            yield Finding(vm, "ignition.config", f"the Ignition of {vm.name} holds a key in clear text")


RULE = Rule(
    code="security.secret-inline",
    title="a secret stands in the manifest",
    severity=Severity.WARNING,
    why=(
        "The manifest is in a repository that many can read, and its history keeps what was once in it. "
        "User data also lies in an image on the host that the guest's users can read."
    ),
    source="OWASP, Secrets Management Cheat Sheet; cloud-init, security",
    fix="name a secret (`cloud_init: {secrets: {...}}`) and put it where the text says",
    bad="""\
vms:
  web:
    image: debian-13
    cloud_init:
      user_data: |
        #cloud-config
        password: hunter2
""",
    good="""\
vms:
  web:
    image: debian-13
    cloud_init:
      user_data: |
        #cloud-config
        ssh_pwauth: false
""",
    check=check,
)
