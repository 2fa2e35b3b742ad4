"""`kvmdecl show`."""

from __future__ import annotations

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
    from kvmdecl.libvirt_xml.domain import domain_xml
    from kvmdecl.libvirt_xml.overlay import complete
    from kvmdecl.pluginhost import load_plugins
    from kvmdecl.text import did_you_mean, safe_text

    cluster = planning.read_cluster(path, load_plugins())
    found = next((candidate for candidate in cluster.vms if candidate.name == vm), None)
    if found is None:
        names = [candidate.name for candidate in cluster.vms]
        hint = did_you_mean(vm, names) or f"vms are {', '.join(names[:10])}{'...' if len(names) > 10 else ''}"
        raise Rejected(
            [Diagnostic("show.unknown-vm", f"there is no vm {safe_text(vm)} in {path}", hint=hint)]
        )
    pool_paths = {pool.name: pool.spec.path for pool in cluster.pools}
    common.say(complete(domain_xml(found, pool_paths)))
