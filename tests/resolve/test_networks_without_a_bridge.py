"""Networks of mode `macvtap` and `open`: what they take, and what they cannot do."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from kvmdecl.diagnostics import Rejected
from kvmdecl.manifest import Network
from tests.resolve.support import resolved


@pytest.mark.parametrize(
    "spec",
    [
        {"mode": "macvtap"},
        {"mode": "macvtap", "device": "eth1", "subnet": "10.0.0.0/24"},
        {"mode": "macvtap", "device": "eth1", "bridge": "br0"},
        {"mode": "nat", "subnet": "10.0.0.0/24", "macvtap_mode": "vepa"},
        {"mode": "open"},
        {"mode": "open", "subnet": "10.0.0.0/24", "device": "eth1"},
    ],
)
def test_what_cannot_be_is_refused(spec: dict[str, str]) -> None:
    with pytest.raises(ValidationError) as refused:
        Network.model_validate(spec)

    assert [error["type"] for error in refused.value.errors()] == ["manifest.bad-network"]


@pytest.mark.parametrize("option", ["isolated: true", "filter: clean-traffic"])
def test_a_nic_on_macvtap_is_neither_filtered_nor_isolated(option: str) -> None:
    text = f"networks: {{lan: {{mode: macvtap, device: eth1}}}}\nvms: {{web: {{nics: [{{network: lan, {option}}}]}}}}\n"

    with pytest.raises(Rejected) as refused:
        resolved(text)

    assert [found.code for found in refused.value.diagnostics] == ["reference.macvtap-nic"]


def test_guests_are_plugged_into_macvtap_as_into_any_network_of_libvirts() -> None:
    text = "networks: {lan: {mode: macvtap, device: eth1}}\nvms: {web: {nics: [lan]}}\n"
    (vm,) = resolved(text).vms

    assert [(nic.source, nic.is_bridge) for nic in vm.nics] == [("lan", False)]
