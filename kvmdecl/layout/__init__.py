"""The text of a manifest, laid out as its own author lays it out; `kvmdecl fmt`.

There is no house style: a file that agrees with itself stays as it is, to the byte. What differs from the rest of its
file becomes as the rest, and what is a slip in every style goes: blanks at ends of lines, tabs between words, mixed
ends of lines, more than two empty lines. Words, comments, quotes and line breaks are never touched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl import yaml_events
from kvmdecl.layout.blanks import without_slips
from kvmdecl.layout.gaps import even_gaps
from kvmdecl.layout.indents import even_indents
from kvmdecl.layout.words import Page
from kvmdecl.source import parse

if TYPE_CHECKING:
    from kvmdecl.source import Source

# One change may undo the ground of another: what two lines were aligned to has moved. Two rounds settle nearly all.
_ROUNDS = 12


def tidied(source: Source) -> str:
    """The text of a file as it should be laid out; laying that out again changes nothing.

    Raises:
        Rejected: it is no manifest.
    """
    parse(source)
    page = given = Page(source.text)
    for _ in range(_ROUNDS):
        before = page
        for step in (without_slips, even_indents, even_gaps):
            text = step(page)
            page = page if text == page.text else Page(text)
        if page is before:
            break
    else:
        return source.text  # it never settles, so there is no form to give it
    if page is not given and said(page) != said(given):
        raise AssertionError(f"laying out {source.name} would change what it says")
    return page.text


def said(page: Page) -> tuple[list[object], list[str]]:
    """All that a text says to a program and to a person, without where it stands."""
    events: list[object] = []
    for batch in yaml_events.events(page.text):
        for number, (kind, at) in enumerate(zip(batch.kinds, batch.places, strict=True)):
            plain = page.text[at >> yaml_events.END_BITS : at & yaml_events.END_MASK]
            events.append((kind, plain if kind == yaml_events.PLAIN else batch.details.get(number)))
    return events, page.comments()
