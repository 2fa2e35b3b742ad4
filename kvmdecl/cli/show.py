"""`kvmdecl show`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kvmdecl.cli import common


def run(
    vm: Annotated[str, typer.Argument(help="Name of the vm, with its number if it has a count.")],
    path: common.ClusterPath = common.DEFAULT_PATH,
    facts: Annotated[
        Path | None,
        typer.Option(help="Place it on its hosts first, as the files of `kvmdecl facts` describe them."),
    ] = None,
) -> None:
    """Print the libvirt XML that a vm of the manifest compiles to. Contacts nobody.

    It holds what the manifest says or implies; libvirt adds addresses and defaults of its own when it is defined.

    With --facts it holds the CPUs and NUMA cells that placement gives it, too.

    Examples:
      kvmdecl show web-1 clusters/demo
      kvmdecl show web-1 clusters/demo --facts facts/
      kvmdecl show db clusters/demo/cluster.yaml

    Exit codes: 0 shown, 1 error.
    """
    from kvmdecl.cli import planning
    from kvmdecl.diagnostics import Diagnostic, Rejected
    from kvmdecl.libvirt_xml.declared import declared_domain
    from kvmdecl.libvirt_xml.overlay import complete
    from kvmdecl.pluginhost import load_plugins
    from kvmdecl.text import hint_for_vm, safe_text

    if not path.exists() and Path(vm).exists():
        hint = f"write `kvmdecl show {safe_text(str(path))} {safe_text(vm)}`"
        raise Rejected([Diagnostic("show.swapped", "the vm comes first, then the manifest", hint=hint)])
    plugins = load_plugins()
    cluster = planning.read_cluster(path, plugins)
    found = next((candidate for candidate in cluster.vms if candidate.name == vm), None)
    if found is None:
        names = [candidate.name for candidate in cluster.vms]
        hint = hint_for_vm(vm, names) or _vms_are(names)
        summary = f"there is no vm {safe_text(vm)} in {safe_text(str(path))}"
        raise Rejected([Diagnostic("show.unknown-vm", summary, hint=hint)])
    if facts is not None:
        placed, _ = planning.place(cluster, facts, plugins)
        found = next((candidate for candidate in placed.vms if candidate.name == vm), found)
    pools = {pool.name: pool.spec for pool in cluster.pools}
    common.say(complete(declared_domain(found, pools)))
    if found.spec.is_bound and not found.spec.cpus.pins:
        common.complain("Its CPUs and NUMA cells are chosen when it is placed: add --facts to see them.")
    elif found.spec.device_requests and facts is None:
        common.complain("Its devices are chosen when it is placed: add --facts to see them.")


def _vms_are(names: list[str]) -> str:
    return (
        f"vms are {', '.join(names[:10])}{', ...' if len(names) > 10 else ''}"
        if names
        else "there are no vms"
    )
