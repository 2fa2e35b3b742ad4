"""A page in one file: it runs nothing, loads nothing, and its policy holds the browser to that.

The only style that a browser takes is the one whose digest the policy names, so that nothing in a text can bring one.
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Protocol

import lxml.builder
from lxml import etree

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kvmdecl.libvirt_xml.safe import Element


class _Maker(Protocol):
    """Makes elements of what is in them: texts, elements, and attributes as a mapping. Texts are escaped."""

    def __call__(self, tag: str, *content: Element | str | Mapping[str, str]) -> Element: ...

    def __getattr__(self, tag: str) -> Callable[..., Element]: ...


E: _Maker = lxml.builder.E


def page(title: str, style: str, *content: Element) -> str:
    """A whole page. `style` is CSS, and a constant: nothing from outside belongs into it."""
    root = E.html(
        {"lang": "en"},
        E.head(
            E.meta({"charset": "utf-8"}),
            E.meta({"http-equiv": "Content-Security-Policy", "content": policy(style)}),
            E.meta({"name": "viewport", "content": "width=device-width, initial-scale=1"}),
            E.meta({"name": "referrer", "content": "no-referrer"}),
            E.title(title),
            E.style(style),
        ),
        E.body(*content),
    )
    return etree.tostring(root, method="html", doctype="<!DOCTYPE html>", encoding="unicode") + "\n"


def policy(style: str) -> str:
    """A content security policy (CSP level 3, section 2.3.1) that allows this style sheet and nothing else."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
