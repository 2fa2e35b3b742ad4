from __future__ import annotations

import base64
import zlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from kvmdecl.libvirt_xml.fields import fields
from kvmdecl.libvirt_xml.marker import NAMESPACE, Marker, belongs, owned_by, read_marker, with_marker
from kvmdecl.state import Kind
from tests.libvirt_xml.examples import FOREIGN, UUID, declared

MARKER = Marker("demo", UUID, "web-1", "r-1", "0.1.0", declared())


def damaged(old: str, new: str) -> Marker:
    found = read_marker(with_marker(declared(), MARKER).replace(old, new))
    assert found is not None
    return found


def packed_as(content: bytes) -> Marker:
    xml = with_marker(declared(), MARKER)
    (applied,) = etree.fromstring(xml).xpath("//*[local-name()='applied']/text()")
    found = read_marker(xml.replace(str(applied), base64.b64encode(content).decode()))
    assert found is not None
    return found


def test_a_marker_is_read_as_it_was_written():
    assert read_marker(with_marker(declared(), MARKER)) == MARKER


def test_without_marker_there_is_none():
    assert read_marker(declared()) is None
    assert read_marker(FOREIGN) is None


def test_a_marker_replaces_the_one_before_and_leaves_metadata_of_others():
    twice = with_marker(with_marker(FOREIGN, MARKER), replace(MARKER, revision="r-2"))

    assert len(etree.fromstring(twice).findall(f"metadata/{{{NAMESPACE}}}marker")) == 1
    assert read_marker(twice) == replace(MARKER, revision="r-2")
    assert "ops" in twice


def test_a_marker_is_no_field_of_the_object():
    assert fields(with_marker(declared(), MARKER), Kind.DOMAIN) == fields(declared(), Kind.DOMAIN)


def test_a_marker_is_small():
    assert len(with_marker(declared(), MARKER)) - len(declared()) < 1500


def test_a_clone_and_another_cluster_do_not_own_the_object():
    text = with_marker(declared(), MARKER)

    assert belongs(text, "demo", UUID)
    assert not belongs(text, "other", UUID)
    assert not belongs(text, "demo", UUID.replace("1", "2"))
    assert not owned_by(None, "demo", UUID)


def test_a_marker_without_identity_owns_nothing_and_says_what_is_wrong():
    found = damaged(f'uuid="{UUID}"', 'uuid=""')

    assert found.problem == "it does not say uuid"
    assert not owned_by(found, "demo", "")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no zlib",
        zlib.compress(b"<domain")[:-3],
        zlib.compress(b"<domain"),
        zlib.compress(b"\xff"),
        zlib.compress(b"<!DOCTYPE a><a/>"),
    ],
)
def test_a_damaged_declaration_is_told_and_the_object_stays_ours(content):
    found = packed_as(content)

    assert found.applied is None
    assert found.problem.startswith("what was last applied")
    assert owned_by(found, "demo", UUID)


def test_a_declaration_that_unpacks_to_gigabytes_is_not_unpacked():
    assert packed_as(zlib.compress(b" " * 64 * 1024 * 1024)).problem.endswith("too long")


def test_text_that_is_no_base64_is_told():
    xml = with_marker(declared(), MARKER)
    (applied,) = etree.fromstring(xml).xpath("//*[local-name()='applied']/text()")

    found = read_marker(xml.replace(str(applied), "ä"))

    assert found is not None
    assert found.problem


@given(st.text(alphabet=st.characters(min_codepoint=32, exclude_categories=["Cs", "Co", "Cn"]), max_size=20))
def test_any_text_comes_back(text):
    marker = replace(MARKER, revision=text, tool=text)

    assert read_marker(with_marker(declared(), marker)) == marker
