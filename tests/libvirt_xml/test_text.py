from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree
from pydantic_core import PydanticCustomError

from kvmdecl.libvirt_xml.build import node
from kvmdecl.names import parse_text


@given(st.text(max_size=5))
def test_every_text_that_a_manifest_may_hold_can_be_emitted(text):
    try:
        parse_text(text)
    except PydanticCustomError:
        with pytest.raises(ValueError, match=r"XML compatible|surrogates"):
            node("description", f"a{text}b")
    else:
        etree.tostring(node("description", f"a{text}b"))
