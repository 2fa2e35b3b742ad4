"""`kvmdecl show`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kvmdecl.cli import common


def run(
    vm: Annotated[str, typer.Argument(help="Name of the vm, with its number if it has a count.")],
    path: common.ClusterPath = common.DEFAULT_PATH,
) -> None:
    """Print the libvirt XML that a vm of the manifest compiles to. Contacts nobody.

    It holds what the manifest says or implies; libvirt adds addresses and defaults of its own when it is defined.

    Examples:
      kvmdecl show web-1 clusters/demo
      kvmdecl show db clusters/demo/cluster.yaml

    Exit codes: 0 shown, 1 error.
    """
    from kvmdecl.cli import planning
    from kvmdecl.diagnostics import Diagnostic, Rejected
    from kvmdecl.libvirt_xml.declared import declared_domain
    from kvmdecl.libvirt_xml.overlay import complete
    from kvmdecl.pluginhost import load_plugins
    from kvmdecl.text import did_you_mean, safe_text

    if not path.exists() and Path(vm).exists():
        hint = f"write `kvmdecl show {safe_text(str(path))} {safe_text(vm)}`"
        raise Rejected([Diagnostic("show.swapped", "the vm comes first, then the manifest", hint=hint)])
    cluster = planning.read_cluster(path, load_plugins())
    found = next((candidate for candidate in cluster.vms if candidate.name == vm), None)
    if found is None:
        names = [candidate.name for candidate in cluster.vms]
        of_this_count = [name for name in names if name.startswith(f"{vm}-")]
        hint = _vms_are(of_this_count) if of_this_count else did_you_mean(vm, names) or _vms_are(names)
        summary = f"there is no vm {safe_text(vm)} in {safe_text(str(path))}"
        raise Rejected([Diagnostic("show.unknown-vm", summary, hint=hint)])
    pools = {pool.name: pool.spec for pool in cluster.pools}
    common.say(complete(declared_domain(found, pools)))


def _vms_are(names: list[str]) -> str:
    return (
        f"vms are {', '.join(names[:10])}{', ...' if len(names) > 10 else ''}"
        if names
        else "there are no vms"
    )
