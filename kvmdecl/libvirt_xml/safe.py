"""The one way to read XML. What a host answers is untrusted: no entities, network, doctype or 9 MiB."""

from __future__ import annotations

from lxml import etree

Element = etree._Element  # noqa: SLF001 - lxml has no public name for it

MAX_DOCUMENT = 8 * 1024 * 1024
"""Longest document that is read, in bytes of UTF-8."""


class BadXml(ValueError):  # noqa: N818 - reads as a sentence where it is raised and caught
    """A document that is not acceptable XML. The text says why, and may quote the document."""


def parse_xml(text: str) -> Element:
    """Return the root element of a document, without comments and processing instructions.

    Raises:
        BadXml: too long, not well-formed, or with a doctype.
    """
    document = text.encode("utf-8", errors="surrogatepass")
    if len(document) > MAX_DOCUMENT:
        raise BadXml(f"the document has {len(document):,} bytes; at most {MAX_DOCUMENT:,} are read")
    try:
        root = etree.fromstring(document, _parser())
    except etree.XMLSyntaxError as error:
        raise BadXml(error.msg or "it is not well-formed") from error  # without the place in "<string>"
    except ValueError as error:
        raise BadXml(str(error)) from error
    if root.getroottree().docinfo.internalDTD is not None:
        raise BadXml("a document with a DOCTYPE is not read")
    return root


def _parser() -> etree.XMLParser:
    """A parser for one document, since lxml's are not shared between threads. The text is UTF-8 by now."""
    return etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
