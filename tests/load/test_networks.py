"""What a network may say about names, and how it is told where it is wrong."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from kvmdecl.manifest import Network

GATEWAY = {"ip": "10.0.0.2", "names": ["gw"]}
LDAP = {"service": "ldap", "protocol": "tcp", "target": "gw", "port": 389}


def problems(**dns: object) -> list[str]:
    """What is wrong with a network of mode `nat` that has this `dns`."""
    try:
        Network.model_validate({"mode": "nat", "subnet": "10.0.0.0/24", "dns": dns})
    except ValidationError as error:
        return [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
    return []


def test_names_of_all_kinds_are_accepted():
    text = {"name": "gw.lab.example", "value": "v=spf1 include:x.example -all; p=none (a&b)"}
    forwarders = [{"address": "192.0.2.1"}, {"domain": "corp.example"}]

    assert problems(hosts=[GATEWAY], txt=[text], srv=[LDAP], forwarders=forwarders) == []


@pytest.mark.parametrize(
    "value",
    [
        "x\naddress=/bank.example/192.0.2.1",
        "x\rlog-queries",
        'say "x"',
        "a,b",
        "a # b",
        "back\\slash",
        "ü",
        "",
    ],
)
def test_a_record_cannot_write_into_the_configuration_of_the_name_server(value: str):
    assert problems(txt=[{"name": "note", "value": value}])


@pytest.mark.parametrize("name", ["a b", "gw\n", "-gw", "gw,x", "gw/x", ""])
def test_a_name_is_a_name_and_nothing_else(name: str):
    assert problems(hosts=[GATEWAY | {"names": [name]}])
    assert problems(srv=[LDAP | {"target": name}])
    assert problems(srv=[LDAP | {"service": name}])


@pytest.mark.parametrize(
    ("dns", "said"),
    [
        ({"hosts": [GATEWAY, GATEWAY]}, "10.0.0.2 is there twice"),
        ({"txt": [{"name": "a", "value": "x"}, {"name": "a", "value": "y"}]}, "a is there twice"),
        ({"srv": [LDAP, LDAP | {"port": 636}]}, "_ldap._tcp at gw is there twice"),
        ({"forwarders": [{}]}, "a forwarder has neither address nor domain"),
        ({"hosts": [{"ip": "10.0.0.2", "names": []}]}, "at least 1 item"),
        ({"srv": [LDAP | {"port": 0}]}, "greater than or equal to 1"),
    ],
)
def test_what_dnsmasq_could_not_serve_is_refused(dns: dict[str, object], said: str):
    assert said in "\n".join(problems(**dns))


@pytest.mark.parametrize("network", [{"bridge": "br0"}, {"mode": "isolated"}])
def test_names_need_a_network_where_somebody_answers(network: dict[str, str]):
    with pytest.raises(ValidationError, match="dns"):
        Network.model_validate(network | {"dns": {"hosts": [GATEWAY]}})
