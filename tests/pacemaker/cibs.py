"""CIBs for tests of what is asked of Pacemaker's programs: few words, and random ones."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from kvmdecl_pacemaker.cib import Element
from lxml import etree


@dataclass(frozen=True)
class Guest:
    """A vm as a resource. `only` names the nodes that it may run on, all if empty."""

    name: str
    memory: int = 1024
    priority: int = 0
    only: tuple[str, ...] = ()


@dataclass(frozen=True)
class Small:
    """A small cluster: memory of each node in MiB, guests, and groups of guests that are kept apart."""

    nodes: dict[str, int]
    guests: tuple[Guest, ...]
    apart: tuple[tuple[str, ...], ...] = ()
    options: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)

    def cib(self) -> Element:
        """With fencing, and a clone that every guest needs."""
        options = {"stonith-enabled": "true", "placement-strategy": "balanced", **self.options}
        hosts = "".join(
            f'<node id="{number}" uname="{name}"><utilization id="u-{name}">{_pairs(f"u-{name}", {"memory": memory})}'
            "</utilization></node>"
            for number, (name, memory) in enumerate(self.nodes.items(), 1)
        )
        names = [guest.name for guest in self.guests]
        text = f"""
            <cib validate-with="pacemaker-3.7" crm_feature_set="3.10.0" admin_epoch="0" epoch="1" num_updates="0">
            <configuration>
            <crm_config><cluster_property_set id="o">{_pairs("o", options)}</cluster_property_set></crm_config>
            <nodes>{hosts}</nodes>
            <resources>
              {"".join(map(_fence, self.nodes))}
              <clone id="daemon-clone"><meta_attributes id="dm">{_pairs("dm", {"interleave": "true"})}</meta_attributes>
                <primitive id="daemon" class="systemd" type="libvirtd"><operations>
                  <op id="daemon-monitor" name="monitor" interval="60s" timeout="30s"/></operations></primitive></clone>
              {"".join(map(self._guest, self.guests))}
            </resources>
            <constraints>
              {"".join(f'<rsc_location id="l-{n}" rsc="fence-{n}" node="{n}" score="-INFINITY"/>' for n in self.nodes)}
              {"".join(map(self._bans, self.guests))}
              <rsc_order id="order"><resource_set id="first"><resource_ref id="daemon-clone"/></resource_set>
                <resource_set id="then" sequential="false">{_refs(names)}</resource_set></rsc_order>
              {"".join(_apart(f"apart-{i}", group) for i, group in enumerate(self.apart))}
            </constraints>
            </configuration><status/></cib>"""
        return etree.fromstring(text, etree.XMLParser(remove_blank_text=True))

    def _guest(self, guest: Guest) -> str:
        name = guest.name
        meta = {"allow-migrate": "true", "resource-stickiness": "100", "priority": guest.priority}
        parameters = {"config": f"/srv/{name}.xml", **self.parameters}
        return f"""<primitive id="{name}" class="ocf" provider="heartbeat" type="VirtualDomain">
            <meta_attributes id="{name}-m">{_pairs(f"{name}-m", meta)}</meta_attributes>
            <instance_attributes id="{name}-i">{_pairs(f"{name}-i", parameters)}</instance_attributes>
            <utilization id="{name}-u">{_pairs(f"{name}-u", {"memory": guest.memory})}</utilization>
            <operations><op id="{name}-start" name="start" interval="0s" timeout="90s"/>
            <op id="{name}-monitor" name="monitor" interval="10s" timeout="2min"/></operations></primitive>"""

    def _bans(self, guest: Guest) -> str:
        banned = [node for node in self.nodes if guest.only and node not in guest.only]
        return "".join(
            f'<rsc_location id="not-{guest.name}-{node}" rsc="{guest.name}" node="{node}" score="-INFINITY"/>'
            for node in banned
        )


def random_cluster(seed: int) -> Small:
    """3 to 5 nodes, up to 9 guests that fill them by half to nearly, some bound, some kept apart."""
    chance = random.Random(seed)
    nodes = {f"n{i}": chance.choice([8, 8, 12]) * 1024 for i in range(1, chance.randint(3, 5) + 1)}
    guests = tuple(
        Guest(
            f"vm{i}",
            chance.choice([1, 2, 2, 3, 4]) * 1024,
            chance.choice([0, 0, 5, 10]),
            tuple(sorted(chance.sample(sorted(nodes), 2))) if chance.random() < 0.2 else (),
        )
        for i in range(1, chance.randint(4, 9) + 1)
    )
    apart = tuple(tuple(g.name for g in chance.sample(guests, 2)) for _ in range(chance.randint(0, 2)))
    return Small(nodes, guests, apart)


def _pairs(id_: str, values: dict[str, object]) -> str:
    pairs = (f'<nvpair id="{id_}-{name}" name="{name}" value="{value}"/>' for name, value in values.items())
    return "".join(pairs)


def _fence(node: str) -> str:
    return f"""<primitive id="fence-{node}" class="stonith" type="fence_ipmilan">
        <instance_attributes id="f-{node}">{_pairs(f"f-{node}", {"pcmk_host_list": node, "ip": f"{node}-bmc"})}
        </instance_attributes><operations><op id="f-{node}-monitor" name="monitor" interval="60s"/></operations>
        </primitive>"""


def _refs(names: list[str]) -> str:
    return "".join(f'<resource_ref id="{name}"/>' for name in names)


def _apart(id_: str, group: tuple[str, ...]) -> str:
    one, other = group
    return f'<rsc_colocation id="{id_}" rsc="{one}" with-rsc="{other}" score="-INFINITY"/>'
