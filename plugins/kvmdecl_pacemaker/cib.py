"""Configuration -> CIB: the `configuration` part alone, since status is the cluster's own. Same input, same bytes.

Ids follow from names, so that two versions of a cluster differ where they mean different things and nowhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lxml import etree

from kvmdecl_pacemaker.ours import marked

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kvmdecl_pacemaker.configuration import (
        Clone,
        Colocation,
        Configuration,
        Level,
        Location,
        Node,
        Order,
        Pairs,
        Primitive,
        Tag,
    )

Element = etree._Element  # noqa: SLF001 - lxml has no public name for the type


def cib_text(configuration: Configuration) -> str:
    """The CIB as `cibadmin --replace` takes it."""
    return text_of(cib(configuration))


def text_of(root: Element) -> str:
    """A CIB as text, with a line for each element."""
    etree.indent(root)
    return etree.tostring(root, encoding="unicode") + "\n"


def cib(configuration: Configuration) -> Element:
    """The CIB with its configuration and no status."""
    release = configuration.release
    root = _node(
        "cib",
        _node(
            "configuration",
            _node("crm_config", _pairs("cluster_property_set", "options", configuration.options)),
            _node("nodes", *map(_host, configuration.nodes)),
            _node(
                "resources",
                *map(_primitive, configuration.devices),
                *map(_clone, configuration.services),
                *map(_primitive, configuration.resources),
            ),
            _node(
                "constraints",
                *map(_location, configuration.locations),
                *map(_order, configuration.orders),
                *(each for rule in configuration.colocations for each in _colocation(rule)),
            ),
            _levels(configuration.levels),
            _tags(configuration.tags),
            _node("rsc_defaults", _pairs("meta_attributes", "defaults", configuration.defaults)),
        ),
        _node("status"),
        admin_epoch="0",
        crm_feature_set=release.feature_set,
        epoch="1",
        num_updates="0",
        validate_with=release.schema,
    )
    root.set("validate-with", root.attrib.pop("validate_with"))
    return marked(root, configuration.corosync.cluster_name)


def _node(tag: str, *children: Element | None, **attributes: str) -> Element:
    element = etree.Element(tag, attributes)
    element.extend(child for child in children if child is not None)
    return element


def _pairs(tag: str, id_: str, pairs: Pairs) -> Element | None:
    if not pairs:
        return None
    return _node(
        tag,
        *(_node("nvpair", id=f"{id_}-{name}", name=name, value=value) for name, value in pairs),
        id=id_,
    )


def _host(node: Node) -> Element:
    return _node(
        "node",
        _pairs("instance_attributes", f"node-{node.name}", node.attributes),
        _pairs("utilization", f"node-{node.name}-utilization", node.utilization),
        id=str(node.id),
        uname=node.name,
    )


def _primitive(resource: Primitive) -> Element:
    *before, type_ = resource.agent.split(":")
    names = dict(zip(("class", "provider"), before, strict=False))
    operations = (
        _node(
            "op",
            id=f"{resource.id}-{operation.name}",
            interval=f"{operation.interval}s",
            name=operation.name,
            timeout=f"{operation.timeout}s",
        )
        for operation in resource.operations
    )
    return _node(
        "primitive",
        _pairs("meta_attributes", f"{resource.id}-meta", resource.meta),
        _pairs("instance_attributes", f"{resource.id}-parameters", resource.parameters),
        _pairs("utilization", f"{resource.id}-utilization", resource.utilization),
        _node("operations", *operations),
        **names,
        id=resource.id,
        type=type_,
    )


def _clone(clone: Clone) -> Element:
    return _node(
        "clone",
        _pairs("meta_attributes", f"{clone.id}-meta", clone.meta),
        _primitive(clone.primitive),
        id=clone.id,
    )


def _location(rule: Location) -> Element:
    return _node("rsc_location", id=rule.id, node=rule.node, rsc=rule.resource, score=rule.score)


def _order(rule: Order) -> Element:
    return _node(
        "rsc_order",
        _set(f"{rule.id}-first", rule.first, sequential=False),
        _set(f"{rule.id}-then", rule.then, sequential=False),
        id=rule.id,
        kind=rule.kind,
    )


def _colocation(rule: Colocation) -> Iterator[Element]:
    """As resource sets; pairs where an attribute of hosts decides, since sets know none."""
    if not rule.attribute:
        # The set that comes first depends on the one after it.
        near = [_set(f"{rule.id}-near", rule.near, sequential=False)] if rule.near else []
        of = _set(f"{rule.id}-of", rule.resources, sequential=not rule.near)
        yield _node("rsc_colocation", of, *near, id=rule.id, score=rule.score)
        return
    for id_, one, other in rule.pairs:
        element = _node("rsc_colocation", id=id_, rsc=one, score=rule.score)
        element.set("node-attribute", rule.attribute)
        element.set("with-rsc", other)
        yield element


def _set(id_: str, resources: Iterable[str], *, sequential: bool) -> Element:
    return _node(
        "resource_set",
        *(_node("resource_ref", id=resource) for resource in resources),
        id=id_,
        sequential=str(sequential).lower(),
    )


def _levels(levels: tuple[Level, ...]) -> Element | None:
    if not levels:
        return None
    return _node(
        "fencing-topology",
        *(
            _node(
                "fencing-level",
                devices=",".join(level.devices),
                id=f"level-{level.target}-{level.index}",
                index=str(level.index),
                target=level.target,
            )
            for level in levels
        ),
    )


def _tags(tags: tuple[Tag, ...]) -> Element | None:
    if not tags:
        return None
    return _node(
        "tags",
        *(_node("tag", *(_node("obj_ref", id=name) for name in tag.resources), id=tag.id) for tag in tags),
    )
