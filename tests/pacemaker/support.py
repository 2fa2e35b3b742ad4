"""Configurations from a few lines of manifest, and Pacemaker's own programs to judge them.

The programs read files and talk to no daemon. Where they are not installed, the tests that need them are skipped, and
with KVMDECL_REQUIRE_LAB=1 they fail.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
from kvmdecl_pacemaker.configure import configure
from lxml import etree

from kvmdecl.diagnostics import Rejected
from kvmdecl.pipeline import compile_cluster, facts_of, load_cluster
from kvmdecl.pluginhost import load_plugins
from kvmdecl.scenario import example_host

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmdecl_pacemaker.configuration import Configuration

    from kvmdecl.cluster import PlacedCluster
    from kvmdecl.diagnostics import Diagnostic
    from kvmdecl.facts import HostFacts
    from kvmdecl.pipeline import Compiled
    from kvmdecl.pluginhost import Plugins
    from kvmdecl.state import Observation

URI = '"qemu+tls://{name}.edge.example/system"'
WEB = "web: {disk: 1GiB, ha: true}"
FENCING = "fencing: {agent: fence_ipmilan, address: '{name}-bmc', password: /etc/bmc, own_power: true}"
LINKS = "links: ['10.1.0.{n}', '10.2.0.{n}']"
POOL = "vms: {path: /srv/vms, shared: true}"
SCHEMAS = Path("/usr/share/pacemaker")


def hosts(count: int, more: str = "") -> str:
    """`hosts:` of a manifest: so many alike, with `more` keys."""
    return f"hosts: {{'kvm-{{1..{count}}}': {{uri: {URI}{more}}}}}\n"


def manifest(
    vms: str = WEB,
    ha: str = f"{FENCING}, {LINKS}",
    count: int = 3,
    *,
    more: str = "",
    on: str = "",
    pools: str = POOL,
) -> str:
    """A manifest of `count` hosts alike, unless `on` says which; `more` is added to the section `ha`."""
    return (
        "apiVersion: kvmdecl/v1\ncluster: edge\n"
        "networks: {lan: {bridge: br0}, inner: {mode: isolated, subnet: 10.9.0.0/24}}\n"
        f"storage: {{{pools}}}\n"
        + (f"hosts: {{{on}}}\n" if on else hosts(count))
        + (f"ha: {{{ha}{', ' if more else ''}{more}}}\n" if ha else "")
        + f"vms: {{{vms}}}\n"
    )


def told(text: str, seen: Mapping[str, Observation] | None = None) -> tuple[Diagnostic, ...]:
    """Everything that is said about a manifest."""
    try:
        return _compiled(text, seen)[1]
    except Rejected as rejected:
        return rejected.diagnostics


def configured(text: str, seen: Mapping[str, Observation] | None = None) -> Configuration:
    """What a manifest comes to."""
    return _compiled(text, seen)[0]


def placed(
    text: str, seen: Mapping[str, Observation] | None = None
) -> tuple[PlacedCluster, Mapping[str, HostFacts]]:
    """A manifest's vms on its hosts, and what these are."""
    compiled, observations = _compiled_on(text, seen)
    return compiled.placed, facts_of(observations)


def _compiled(
    text: str, seen: Mapping[str, Observation] | None
) -> tuple[Configuration, tuple[Diagnostic, ...]]:
    compiled, observations = _compiled_on(text, seen)
    return configure(compiled.placed, facts_of(observations)), compiled.warnings


def _compiled_on(
    text: str, seen: Mapping[str, Observation] | None
) -> tuple[Compiled, Mapping[str, Observation]]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "cluster.yaml"
        path.write_text(text)
        plugins = _plugins()
        cluster = load_cluster(path, plugins)
        observations = {host.name: example_host(host.name) for host in cluster.hosts} | dict(seen or {})
        return compile_cluster(cluster, observations, plugins), observations


@cache
def _plugins() -> Plugins:
    return load_plugins()


def program(name: str) -> str:
    """A program of Pacemaker or corosync; without it, the test is left out, or fails where it must not be."""
    found = shutil.which(name)
    if found is None:
        said = f"{name} is not installed; `make test` installs it"
        (pytest.fail if os.environ.get("KVMDECL_REQUIRE_LAB") == "1" else pytest.skip)(said)
    return str(found)


def run(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run one of them."""
    return subprocess.run([program(name), *arguments], capture_output=True, text=True, check=False)


def with_hosts_online(cib: str) -> str:
    """The CIB of a cluster in which all hosts are there, have quorum, and run nothing.

    Without a status, Pacemaker's programs take all hosts for lost and warn of that alone.
    """
    root = etree.fromstring(cib)
    root.set("have-quorum", "1")
    root.set("dc-uuid", "1")
    status = root.find("status")
    for node in root.iterfind("configuration/nodes/node"):
        names = {"id": node.get("id", ""), "uname": node.get("uname", "")}
        state = etree.SubElement(status, "node_state", {**names, "in_ccm": "true", "crmd": "online"})
        state.set("join", "member")
        state.set("expected", "member")
        lrm = etree.SubElement(state, "lrm", {"id": names["id"]})
        etree.SubElement(lrm, "lrm_resources")
    return etree.tostring(root, encoding="unicode")
