"""Every code of the middle stages has a page, and every example on a page does what it says."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

import kvmdecl
from kvmdecl import explain
from kvmdecl.diagnostics import Rejected
from kvmdecl.facts import NodeDevice
from kvmdecl.pipeline import compile_cluster, load_cluster
from kvmdecl.pluginhost import load_plugins
from kvmdecl.scenario import example_host

PACKAGE = Path(kvmdecl.__file__).parent
AREAS = ("reference", "xml", "image", "cloud-init", "placement", "check", "plugin")
_CODE = re.compile(rf'"((?:{"|".join(AREAS)})\.[a-z-]+)"')
_KIND = re.compile(r'self\._unknown\(\s*"([a-z]+)"')
_BLOCK = re.compile(r"```yaml (bad|good)\n(.*?)```", re.DOTALL)

GPU = NodeDevice(
    "pci_0000_41_00_0",
    "computer",
    "pci",
    (("address", "0000:41:00.0"), ("iommu_group", "1"), ("product", "0x2330"), ("vendor", "0x10de")),
)
PAGES = {code: file.read_text() for code, file in explain.codes().items() if code.partition(".")[0] in AREAS}
EXAMPLES = [
    pytest.param(code, kind, text, id=f"{code}-{kind}")
    for code, page in PAGES.items()
    for kind, text in _BLOCK.findall(page)
]


def test_every_code_has_a_page_and_every_page_a_code() -> None:
    used = {code for file in PACKAGE.rglob("*.py") for code in _CODE.findall(file.read_text())}
    used |= {f"reference.unknown-{kind}" for kind in _KIND.findall((PACKAGE / "resolve.py").read_text())}
    used |= {f"plugin.unknown-{kind}" for kind in ("gate", "solver")}
    assert set(PAGES) == used


@pytest.mark.parametrize(("code", "kind", "text"), EXAMPLES)
def test_the_examples_of_a_page_do_what_it_says(tmp_path: Path, code: str, kind: str, text: str) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(text)

    def compile_example() -> None:
        plugins = load_plugins()
        cluster = load_cluster(path, plugins)
        hosts = {host.name: example_host(host.name) for host in cluster.hosts}
        if cluster.devices:
            hosts = {
                name: replace(host, facts=replace(host.facts, devices=(GPU,))) for name, host in hosts.items()
            }
        compile_cluster(cluster, hosts, plugins)

    if kind == "good":
        compile_example()
        return
    with pytest.raises(Rejected) as rejected:
        compile_example()
    pitfalls = {rule.code for rule in load_plugins().rules()}
    assert {found.code for found in rejected.value.diagnostics} - pitfalls == {code}


def test_most_pages_have_an_example() -> None:
    assert len({example.values[0] for example in EXAMPLES}) > len(PAGES) / 2
