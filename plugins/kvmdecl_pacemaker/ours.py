"""What of a live CIB is ours, whatever others wrote into it: found by identity, compared by fields, laid over the rest.

Ours are the resources that our tag names (`kvmdecl-CLUSTER.DIGEST`, which pcs shows, too), and options, attributes and
rules of the names that are written out for a cluster. All else is somebody else's, and stays byte for byte.
"""

from __future__ import annotations

import hashlib
import re
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lxml import etree

from kvmdecl_pacemaker.secrets import hide, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from kvmdecl_pacemaker.cib import Element

HELPER = "kvmdecl"
"""What the ids of sets end in that are there while a change is under way."""
ORPHANS = "stop-orphan-resources"
GUEST = "VirtualDomain"
PROTECT = "protect"
"""A field of guests that are not taken away."""
_PROTECTED = "-protected"
RESOURCES = ("primitive", "clone")
_SETS = {"instance_attributes": "parameters", "meta_attributes": "meta", "utilization": "utilization"}
_GUEST_NAMES = {
    "parameters": re.compile(
        "autoset_utilization_(cpu|host_memory|hv_memory)|config|hypervisor|migrate_options"
        "|migration_network_suffix|migration_transport|remoteuri|start_resources"
    ),
    "meta": re.compile("allow-migrate|is-managed|priority|target-role"),
}
_OTHER_NAMES = {"parameters": re.compile("device|directory|fstype|options"), "meta": re.compile("interleave")}
_FENCING_NAMES = {"parameters": re.compile(".*"), "meta": re.compile("provides")}
_ROOM = re.compile("cpu|hv_memory|pages-.*|place-[0-9]+")
_OPERATIONS = {"monitor", "start", "stop", "migrate_from", "migrate_to"}
_OPTIONS = re.compile(
    "concurrent-fencing|migration-limit|no-quorum-policy|placement-strategy|priority-fencing-delay"
    f"|(stonith|fencing)-(enabled|timeout|watchdog-timeout)|{ORPHANS}"
)
_DEFAULTS = re.compile("failure-timeout|migration-threshold|resource-stickiness")
_OPTION_SETS = (
    ("crm_config", "cluster_property_set", "options", _OPTIONS),
    ("rsc_defaults", "meta_attributes", "defaults", _DEFAULTS),
)
_NODE_ATTRIBUTES = re.compile("label-.*|standby")
_RULES = {
    "rsc_order": re.compile("order-(services|dlm|mount-.*)|after-.*"),
    "rsc_colocation": re.compile("(with|apart|together)-.*"),
}


@dataclass(frozen=True, slots=True, order=True)
class FieldChange:
    """A field that differs. `owner` is the resource, rule or host that it is of, or `options` and `defaults`.

    `before` is None where it is not there, `after` where it goes; the field of a whole object is empty.
    """

    owner: str
    field: str
    before: str | None
    after: str | None


def marked(cib: Element, cluster: str) -> Element:
    """Put our tag into a CIB: it names all resources, and what was wanted of everything as a digest."""
    text = "\n".join(f"{owner} {field} {value}" for owner, field, value in _all_fields(cib))
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    tags = _section(cib, "tags")
    for old in _marks(cib, cluster):
        _drop(old)
    mark = etree.SubElement(tags, "tag", id=f"{HELPER}-{cluster}.{digest}")
    for resource in cib.iterfind("configuration/resources/*"):
        etree.SubElement(mark, "obj_ref", id=resource.get("id", ""))
    return cib


def mark_of(cib: Element, cluster: str) -> str:
    """The id of our tag; empty if there is none."""
    return next((mark.get("id", "") for mark in _marks(cib, cluster)), "")


def the_mark(cib: Element, cluster: str) -> Element:
    """Our tag; a new one, of no name, if there is none."""
    found = _marks(cib, cluster)
    return found[0] if found else etree.SubElement(_section(cib, "tags"), "tag")


def resources_of(cib: Element, cluster: str) -> frozenset[str]:
    """Ids of the resources that are ours."""
    return frozenset(ref.get("id", "") for mark in _marks(cib, cluster) for ref in mark)


def protected_in(cib: Element, cluster: str) -> frozenset[str]:
    """Guests that were protected when the CIB was written: it remembers that, whatever a manifest says by then."""
    tags = cib.iterfind(f"configuration/tags/tag[@id='{protection_tag(cluster)}']")
    return frozenset(ref.get("id", "") for tag in tags for ref in tag)


def protection_tag(cluster: str) -> str:
    """The id of the tag that names protected guests."""
    return f"{cluster}{_PROTECTED}"


def guests_of(cib: Element, cluster: str) -> frozenset[str]:
    """Ids of the guests that are ours."""
    ours = resources_of(cib, cluster)
    return frozenset(
        name for name in ours if (there := _find(cib, name)) is not None and there.get("type") == GUEST
    )


def with_kept(wanted: Element, observed: Element, cluster: str, names: Collection[str]) -> Element:
    """What is wanted, with these guests of ours as they are observed: their resources, rules and tags."""
    if not names:
        return wanted
    whole = deepcopy(wanted)
    resources = _section(whole, "resources")
    for name in sorted(names):
        there = _find(observed, name)
        if there is not None:
            after = [
                i
                for i, each in enumerate(resources)
                if each.get("type") != GUEST or each.get("id", "") < name
            ]
            resources.insert(after[-1] + 1 if after else 0, deepcopy(there))
    known = {each.get("id", "") for each in whole.iterfind("configuration/resources/*")}
    constraints = _section(whole, "constraints")
    rules = {rule.get("id", ""): rule for rule in constraints}
    for rule in observed.iterfind("configuration/constraints/*"):
        if not _refs(rule) & set(names) or not _is_our_rule(rule, resources_of(observed, cluster)):
            continue
        mine = rules.get(rule.get("id", ""))
        if mine is not None:
            _keep_in_sets(mine, rule, names)
        elif _refs(rule) <= known:
            constraints.append(deepcopy(rule))
    for tag in observed.iterfind("configuration/tags/tag"):
        if tag.get("id") in {f"{cluster}-vms", protection_tag(cluster)}:
            _keep_in_tag(_section(whole, "tags"), tag, names)
    return marked(whole, cluster)


def _keep_in_sets(mine: Element, observed: Element, names: Collection[str]) -> None:
    """Put guests back into the sets of a rule, in the order that they had."""
    sets = {each.get("id"): each for each in observed.iterfind("resource_set")}
    for mine_set in mine.iterfind("resource_set"):
        there = sets.get(mine_set.get("id"))
        if there is not None:
            _keep_refs(mine_set, there, names, "resource_ref")


def _keep_in_tag(tags: Element, observed: Element, names: Collection[str]) -> None:
    mine = next((tag for tag in tags if tag.get("id") == observed.get("id")), None)
    kept = [ref for ref in observed if ref.get("id") in names]
    if mine is None and kept:
        mine = etree.SubElement(tags, "tag", id=observed.get("id", ""))
    if mine is not None:
        _keep_refs(mine, observed, names, "obj_ref")


def _keep_refs(mine: Element, observed: Element, names: Collection[str], word: str) -> None:
    wanted = [ref.get("id", "") for ref in mine]
    order = [ref.get("id", "") for ref in observed if ref.get("id") in {*wanted, *names}]
    order += [name for name in wanted if name not in order]
    for ref in list(mine):
        mine.remove(ref)
    for name in order:
        etree.SubElement(mine, word, id=name)


def conflicts(observed: Element, wanted: Element, cluster: str) -> tuple[str, ...]:
    """Ids of wanted resources of which somebody else has one, another one than is wanted."""
    ours = resources_of(observed, cluster)
    return tuple(
        name
        for resource in wanted.iterfind("configuration/resources/*")
        if (name := resource.get("id", "")) not in ours and (there := _find(observed, name)) is not None
        if any(value != _look(there, field) for field, value in _resource_fields(resource))
    )


def compare(observed: Element, wanted: Element, cluster: str) -> tuple[FieldChange, ...]:
    """What differs, sorted: fields that are wanted, and what is ours and is not wanted any more."""
    after = overlay(observed, wanted, cluster)
    before_, after_ = (
        {(owner, field): value for owner, field, value in _all_fields(cib)} for cib in (observed, after)
    )
    whole = {owner for owner, field in before_ if not field} ^ {owner for owner, field in after_ if not field}
    found = (
        FieldChange(owner, field, before_.get((owner, field)), after_.get((owner, field)))
        for owner, field in sorted(before_.keys() | after_.keys())
        if not field or owner not in whole
    )
    return tuple(change for change in found if change.before != change.after)


def overlay(observed: Element, wanted: Element, cluster: str) -> Element:
    """The observed CIB with what is wanted, and without what was ours and is wanted no more."""
    whole = deepcopy(observed)
    ours = resources_of(observed, cluster)
    _lay_options(whole, wanted)
    _lay_nodes(whole, wanted)
    _lay_resources(whole, wanted, ours)
    _lay_rules(whole, wanted, ours)
    _lay_tags(whole, wanted, cluster)
    return whole


def owned(observed: Element, wanted: Element, cluster: str) -> Element:
    """What of the observed CIB is ours, or becomes it by what is wanted: laid over that, it is as it was.

    Secret values are hidden; see `kvmdecl_pacemaker.secrets`.
    """
    whole = deepcopy(observed)
    ours = resources_of(observed, cluster)
    for part in [*whole.iterfind("status"), *whole.iterfind("configuration/*")]:
        if part.tag not in _PARTS:
            _drop(part)
    _keep_options(whole, wanted)
    _keep_resources(whole, wanted, ours)
    rules = {rule.get("id") for rule in wanted.iterfind("configuration/constraints/*")}
    _keep(whole, "constraints", lambda rule: rule.get("id") in rules or _is_our_rule(rule, ours))
    levels = {
        (level.get("target"), level.get("index"))
        for level in wanted.iterfind("configuration/fencing-topology/*")
    }
    _keep(
        whole,
        "fencing-topology",
        lambda level: (level.get("target"), level.get("index")) in levels or _is_our_level(level, ours),
    )
    tags = {tag.get("id") for tag in [*wanted.iterfind("configuration/tags/tag"), *_marks(whole, cluster)]}
    tags |= {f"{cluster}-vms", protection_tag(cluster)}
    _keep(whole, "tags", lambda tag: tag.get("id") in tags)
    return hide(whole)


_PARTS = {"crm_config", "nodes", "resources", "constraints", "fencing-topology", "tags", "rsc_defaults"}


def _keep(whole: Element, part: str, ours: Callable[[Element], bool]) -> None:
    for each in whole.findall(f"configuration/{part}/*"):
        if not ours(each):
            _drop(each)


def _keep_options(whole: Element, wanted: Element) -> None:
    """Of options, defaults and attributes of hosts those that are wanted, and others in sets of ours."""
    for where, tag, id_, names in _OPTION_SETS:
        owner, said = whole.find(f"configuration/{where}"), wanted.find(f"configuration/{where}")
        if owner is not None:
            _keep_pairs(owner, tag, _pairs(said, tag) if said is not None else {}, _in_set(id_, names))
    for pair in whole.findall(f"configuration/crm_config/*/nvpair[@name='{ORPHANS}']"):
        _drop(pair)
    hosts = {node.get("uname"): node for node in wanted.iterfind("configuration/nodes/node")}
    for node in whole.findall("configuration/nodes/node"):
        if (name := node.get("uname")) not in hosts:
            _drop(node)
            continue
        for tag, id_, names in _node_sets(name):
            _keep_pairs(node, tag, _pairs(hosts[name], tag), _in_set(id_, names))


def _keep_resources(whole: Element, wanted: Element, ours: frozenset[str]) -> None:
    """Ours; of those that stay, what we write of them."""
    resources = {each.get("id", ""): each for each in wanted.iterfind("configuration/resources/*")}
    mine = {name: there for name in {*resources, *ours} if (there := _find(whole, name)) is not None}
    kept = [deepcopy(mine[name]) for name in sorted(mine)]
    _keep(whole, "resources", lambda _each: False)
    _section(whole, "resources").extend(kept)
    for each in kept:
        for resource in each.iter(*RESOURCES):
            for helper in resource.findall(f"meta_attributes[@id='{resource.get('id')}-{HELPER}']"):
                _drop(helper)
        if each.get("id") in resources:
            _keep_fields(each, resources[each.get("id", "")])


def _keep_fields(mine: Element, wanted: Element) -> None:
    kind = _names(wanted)
    for tag, word in _SETS.items():
        _keep_pairs(mine, tag, _pairs(wanted, tag), _named(kind.get(word, _ROOM)))
    inner = {each.get("id"): each for each in wanted.iterchildren(*RESOURCES)}
    for each in mine.iterchildren(*RESOURCES):
        if each.get("id") in inner:
            _keep_fields(each, inner[each.get("id")])


def _keep_pairs(owner: Element, tag: str, values: dict[str, str], ours: Callable[[str, str], bool]) -> None:
    for pair in list(owner.iterfind(f"{tag}/nvpair")):
        if pair.get("name", "") not in values and not ours(_above(pair).get("id", ""), pair.get("name", "")):
            _drop(pair)


# -- objects and fields ------------------------------------------------------------------------------------


def _all_fields(cib: Element) -> Iterator[tuple[str, str, str]]:
    """Owner, field, value of everything in a CIB, but for other tags and what Pacemaker notes itself."""
    for where, owner in (("crm_config", "options"), ("rsc_defaults", "defaults")):
        seen = set[str]()
        for pair in cib.iterfind(f"configuration/{where}/*/nvpair"):
            if pair.get("name") not in seen:
                seen.add(pair.get("name", ""))
                yield owner, pair.get("name", ""), pair.get("value", "")
    for node in cib.iterfind("configuration/nodes/node"):
        yield f"host {node.get('uname')}", "", "host"
        for tag, word in (("instance_attributes", "attributes"), ("utilization", "utilization")):
            for name, value in _pairs(node, tag).items():
                yield f"host {node.get('uname')}", f"{word}.{name}", value
    for resource in cib.iterfind("configuration/resources/*"):
        for field, value in _resource_fields(resource):
            yield resource.get("id", ""), field, value
    for rule in cib.iterfind("configuration/constraints/*"):
        yield rule.get("id", ""), "", _rule_text(rule)
    for level in cib.iterfind("configuration/fencing-topology/fencing-level"):
        yield f"level {level.get('target')} {level.get('index')}", "", level.get("devices", "")
    for named in cib.iterfind("configuration/tags/tag"):
        if named.get("id", "").endswith(_PROTECTED):
            yield from ((ref.get("id", ""), PROTECT, "true") for ref in named)


def _resource_fields(resource: Element) -> Iterator[tuple[str, str]]:
    """Field and value; the whole is what it is of. Those of what is inside begin with its id."""
    kind = ":".join(filter(None, (resource.get("class"), resource.get("provider"), resource.get("type"))))
    yield "", kind or str(resource.tag)
    for tag, word in _SETS.items():
        yield from ((f"{word}.{name}", shown(name, value)) for name, value in _pairs(resource, tag).items())
    for op in resource.iterfind("operations/op"):
        name = f"operations.{op.get('name')}.{op.get('interval', '0s')}"
        yield name, op.get("timeout", "")
    for inner in resource.iterchildren("primitive", "clone", "group"):
        yield from (
            (f"{inner.get('id')}{f'.{field}' if field else ''}", value)
            for field, value in _resource_fields(inner)
        )


def _look(resource: Element, field: str) -> str | None:
    return next((value for name, value in _resource_fields(resource) if name == field), None)


def _pairs(owner: Element, tag: str) -> dict[str, str]:
    """Names and values of all sets of one kind; the first that has a name wins, as in Pacemaker."""
    found: dict[str, str] = {}
    for pair in owner.iterfind(f"{tag}/nvpair"):
        found.setdefault(pair.get("name", ""), pair.get("value", ""))
    return found


def _rule_text(rule: Element) -> str:
    """What a constraint says, without the ids that programs make up."""
    said = [f"{name}={rule.get(name)}" for name in sorted(map(str, rule.attrib)) if name != "id"]
    for part in rule:
        if part.tag == "resource_set":
            more = [f"{n}={part.get(n)}" for n in sorted(map(str, part.attrib)) if n != "id"]
            said.append(f"[{' '.join([*more, *(ref.get('id', '') for ref in part)])}]")
        else:
            said.append(etree.tostring(part, encoding="unicode").strip())
    return " ".join(map(str, said))


def _refs(rule: Element) -> set[str]:
    """The resources that a constraint is about."""
    named = (rule.get(key) for key in ("rsc", "with-rsc", "first", "then"))
    return {*filter(None, named), *(ref.get("id", "") for ref in rule.iter("resource_ref"))}


def _find(cib: Element, name: str) -> Element | None:
    """A resource, wherever somebody may have put it."""
    resources = cib.find("configuration/resources")
    found = resources.iter(*RESOURCES) if resources is not None else ()
    return next((each for each in found if each.get("id") == name), None)


def _marks(cib: Element, cluster: str) -> list[Element]:
    ours = re.compile(rf"{HELPER}-{re.escape(cluster)}\.[0-9a-f]{{12}}")
    return [tag for tag in cib.iterfind("configuration/tags/tag") if ours.fullmatch(tag.get("id", ""))]


# -- laying over -------------------------------------------------------------------------------------------


def _lay_options(whole: Element, wanted: Element) -> None:
    for where, tag, id_, names in _OPTION_SETS:
        owner = _section(whole, where)
        said = wanted.find(f"configuration/{where}")
        _lay_set(owner, tag, id_, _pairs(said, tag) if said is not None else {}, _in_set(id_, names))
        if not len(owner) and where != "crm_config":
            _drop(owner)


def _node_sets(name: str | None) -> tuple[tuple[str, str, re.Pattern[str]], ...]:
    return (
        ("instance_attributes", f"node-{name}", _NODE_ATTRIBUTES),
        ("utilization", f"node-{name}-utilization", _ROOM),
    )


def _lay_nodes(whole: Element, wanted: Element) -> None:
    """Hosts by name: their numbers are corosync's. One that is not known yet comes with its first start."""
    nodes = _section(whole, "nodes")
    there = {node.get("uname"): node for node in nodes}
    for node in wanted.iterfind("configuration/nodes/node"):
        name = node.get("uname")
        mine = there.get(name)
        if mine is None:
            nodes.append(deepcopy(node))
            continue
        for tag, id_, names in _node_sets(name):
            _lay_set(mine, tag, id_, _pairs(node, tag), _in_set(id_, names))


def _lay_resources(whole: Element, wanted: Element, ours: frozenset[str]) -> None:
    resources = _section(whole, "resources")
    names = set()
    for resource in wanted.iterfind("configuration/resources/*"):
        names.add(resource.get("id", ""))
        mine = _find(whole, resource.get("id", ""))
        if mine is None:
            resources.append(deepcopy(resource))
        elif _look(mine, "") != _look(resource, ""):
            _above(mine).replace(mine, deepcopy(resource))
        else:
            _lay_resource(mine, resource)
    for name in sorted(ours - names):
        if (gone := _find(whole, name)) is not None:
            _drop(gone)


def _lay_resource(mine: Element, wanted: Element) -> None:
    id_ = wanted.get("id", "")
    kind = _names(wanted)
    for tag, word in _SETS.items():
        set_id = {"parameters": f"{id_}-parameters", "meta": f"{id_}-meta"}.get(word, f"{id_}-utilization")
        pattern = kind.get(word, _ROOM)
        _lay_set(mine, tag, set_id, _pairs(wanted, tag), _named(pattern))
    for helper in mine.findall(f"meta_attributes[@id='{id_}-{HELPER}']"):
        _drop(helper)
    _lay_operations(mine, wanted)
    for inner in wanted.iterchildren(*RESOURCES):
        there = next(
            (each for each in mine.iterchildren(*RESOURCES) if each.get("id") == inner.get("id")), None
        )
        if there is None:
            mine.append(deepcopy(inner))
        else:
            _lay_resource(there, inner)


def _names(resource: Element) -> dict[str, re.Pattern[str]]:
    if resource.get("type") == GUEST:
        return _GUEST_NAMES
    return _FENCING_NAMES if resource.get("class") == "stonith" else _OTHER_NAMES


def _lay_operations(mine: Element, wanted: Element) -> None:
    if wanted.find("operations") is None:
        return
    there = mine.find("operations")
    if there is None:
        there = etree.SubElement(mine, "operations")
    id_ = wanted.get("id", "")
    known = {(op.get("name"), op.get("interval", "0s")): op for op in there}
    kept = set()
    for op in wanted.iterfind("operations/op"):
        key = (op.get("name"), op.get("interval", "0s"))
        kept.add(key)
        if key in known:
            known[key].set("timeout", op.get("timeout", ""))
            continue
        for old in there.findall(f"op[@id='{op.get('id')}']"):
            _drop(old)
        there.append(deepcopy(op))
    for (name, interval), op in known.items():
        by_us = op.get("id") in {f"{id_}-{name}", f"{id_}-{name}-interval-{interval}"}
        if (name, interval) not in kept and name in _OPERATIONS and by_us and op.getparent() is not None:
            _drop(op)


def _lay_rules(whole: Element, wanted: Element, ours: frozenset[str]) -> None:
    constraints = _section(whole, "constraints")
    rules = {rule.get("id", ""): rule for rule in wanted.iterfind("configuration/constraints/*")}
    for mine in list(constraints):
        id_ = mine.get("id", "")
        if id_ in rules:
            if _rule_text(mine) != _rule_text(rules[id_]) or mine.tag != rules[id_].tag:
                constraints.replace(mine, _spaced(rules[id_], mine))
            del rules[id_]
        elif _is_our_rule(mine, ours):
            _drop(mine)
    constraints.extend(deepcopy(rule) for rule in rules.values())
    _lay_levels(whole, wanted, ours)


def _is_our_rule(rule: Element, ours: frozenset[str]) -> bool:
    """Whether a rule that is not wanted was made by us: it has the name that we give, and is about ours alone."""
    if not _refs(rule) or not _refs(rule) <= ours:
        return False
    if rule.tag == "rsc_location":
        names = {f"{rule.get('rsc')}-{what}-{rule.get('node')}" for what in ("not-on", "likes")}
        return rule.get("id") in names
    pattern = _RULES.get(str(rule.tag))
    made = rule.find("resource_set") is not None or rule.get("node-attribute") is not None
    return made and pattern is not None and bool(pattern.fullmatch(rule.get("id", "")))


def _is_our_level(level: Element, ours: frozenset[str]) -> bool:
    return {*level.get("devices", "").split(",")} <= ours | {"watchdog"} and level.get("target") is not None


def _lay_levels(whole: Element, wanted: Element, ours: frozenset[str]) -> None:
    """Levels by host and number; of our hosts' others stay, unless all their devices are ours."""
    levels = {
        (level.get("target"), level.get("index")): level
        for level in wanted.iterfind("configuration/fencing-topology/fencing-level")
    }
    there = whole.find("configuration/fencing-topology")
    if there is None:
        if not levels:
            return
        there = _section(whole, "fencing-topology")
    for mine in list(there):
        level = levels.pop((mine.get("target"), mine.get("index")), None)
        if level is not None:
            mine.set("devices", level.get("devices", ""))
        elif _is_our_level(mine, ours):
            _drop(mine)
    there.extend(deepcopy(level) for level in levels.values())
    if not len(there):
        _drop(there)


def _lay_tags(whole: Element, wanted: Element, cluster: str) -> None:
    tags = {tag.get("id", ""): tag for tag in wanted.iterfind("configuration/tags/tag")}
    there = _section(whole, "tags")
    ours = {
        f"{cluster}-vms",
        protection_tag(cluster),
        *(mark.get("id", "") for mark in _marks(whole, cluster)),
    }
    for mine in list(there):
        id_ = mine.get("id", "")
        if id_ in tags and [ref.get("id") for ref in mine] == [ref.get("id") for ref in tags[id_]]:
            del tags[id_]
        elif id_ in tags or id_ in ours:
            _drop(mine)
    there.extend(deepcopy(tag) for tag in tags.values())
    if not len(there):
        _drop(there)


def _lay_set(
    owner: Element, tag: str, id_: str, values: dict[str, str], ours: Callable[[str, str], bool]
) -> None:
    """Give an owner's sets of one kind these values, wherever a name stands; drop others of names that are ours."""
    left = dict(values)
    for pair in list(owner.iterfind(f"{tag}/nvpair")):
        holder, name = _above(pair), pair.get("name", "")
        if holder.get("id", "").endswith(f"-{HELPER}"):
            continue
        if name in values:
            left.pop(name, None)
            pair.set("value", values[name])
        elif ours(holder.get("id", ""), name):
            _drop(pair)
            if not len(holder):
                _drop(holder)
    if not left:
        return
    there = next((each for each in owner.iterfind(tag) if each.get("id") == id_), None)
    mine = there if there is not None else etree.SubElement(owner, tag, id=id_)
    for name, value in left.items():
        etree.SubElement(mine, "nvpair", id=f"{id_}-{name}", name=name, value=value)


def _in_set(id_: str, names: re.Pattern[str]) -> Callable[[str, str], bool]:
    """Of what is no resource of ours, only what stands in the set that we made is."""
    return lambda holder, name: holder == id_ and bool(names.fullmatch(name))


def _named(names: re.Pattern[str]) -> Callable[[str, str], bool]:
    return lambda _holder, name: bool(names.fullmatch(name))


def _section(cib: Element, name: str) -> Element:
    """A part of the configuration, whose parts come in any order; made if it is not there."""
    configuration = cib.find("configuration")
    assert configuration is not None  # noqa: S101 - every CIB has one, by its schema
    found = configuration.find(name)
    return found if found is not None else etree.SubElement(configuration, name)


def _drop(element: Element) -> None:
    _above(element).remove(element)


def _above(element: Element) -> Element:
    parent = element.getparent()
    assert parent is not None  # noqa: S101 - never the root
    return parent


def _spaced(element: Element, as_: Element) -> Element:
    copy = deepcopy(element)
    copy.tail = as_.tail
    return copy
