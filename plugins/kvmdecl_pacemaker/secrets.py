"""What of a CIB is secret: parameters of agents whose names say so, wherever somebody wrote them."""

from __future__ import annotations

import re
from copy import deepcopy
from typing import TYPE_CHECKING

from lxml import etree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmdecl_pacemaker.cib import Element

_SECRET = re.compile(r"pass(w(or)?d|phrase)?$|secret|token$|community$|_key$")
_ELSEWHERE = "lrm://"
"""What stands for a value that each host has in a file (cibsecret)."""
HIDDEN = "redacted"
_DIGESTS = ("op-digest", "op-restart-digest", "op-secure-digest")


def is_secret(name: str) -> bool:
    """Whether a parameter of this name holds a secret."""
    return _SECRET.search(name) is not None


def shown(name: str, value: str) -> str:
    """A parameter's value as it may be seen."""
    return HIDDEN if is_secret(name) and value != _ELSEWHERE else value


def hide(cib: Element) -> Element:
    """A CIB with its secret values hidden."""
    whole = deepcopy(cib)
    for pair in whole.iter("nvpair"):
        pair.set("value", shown(pair.get("name", ""), pair.get("value", "")))
    return whole


def hidden_in(cib: Element) -> Iterator[tuple[str, Element]]:
    """Resources, and their parameters that are hidden."""
    for pair in cib.iter("nvpair"):
        if is_secret(pair.get("name", "")) and pair.get("value") == HIDDEN:
            yield from ((owner.get("id", ""), pair) for owner in pair.iterancestors("primitive", "template"))


def drop_hidden(cib: Element) -> tuple[tuple[str, str], ...]:
    """Take parameters that are hidden out of a CIB; which, as resource and name."""
    found = tuple(hidden_in(cib))
    for _, pair in found:
        above = pair.getparent()
        if above is not None:
            above.remove(pair)
    return tuple((owner, pair.get("name", "")) for owner, pair in found)


def without_secrets(cib: Element) -> str:
    """A CIB as text for a file: secret values hidden, and digests that were made with one left out.

    A resource without a digest of its last start is taken for unchanged.
    """
    whole = hide(cib)
    hidden = {owner for owner, _ in hidden_in(whole)}
    for resource in whole.iterfind("status/node_state/lrm/lrm_resources/lrm_resource"):
        for operation in resource if resource.get("id", "").partition(":")[0] in hidden else ():
            for digest in _DIGESTS:
                operation.attrib.pop(digest, "")
    etree.indent(whole)
    return etree.tostring(whole, encoding="unicode")
