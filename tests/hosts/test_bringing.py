"""What a disk holds is the same wherever its file has holes, and in whatever parts libvirt sends it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kvmdecl.hosts.perform.bringing import digest_of, in_pieces

PIECE = 256 * 1024
LENGTHS = st.sampled_from([1, 4096, PIECE - 1, PIECE, PIECE + 4096])
PARTS = st.lists(st.one_of(LENGTHS, LENGTHS.map(lambda n: b"x" * n), LENGTHS.map(bytes)), max_size=6)


def whole(parts: list[bytes | int]) -> bytes:
    return b"".join(bytes(part) for part in parts)  # a number is that of zeros


@given(PARTS)
def test_parts_and_holes_become_pieces_of_one_size(parts: list[bytes | int]):
    pieces = list(in_pieces(iter(parts)))

    assert b"".join(pieces) == whole(parts)
    assert all(len(piece) == PIECE for piece in pieces[:-1])


@given(PARTS, PARTS)
def test_a_digest_tells_contents_apart_and_not_holes(one: list[bytes | int], other: list[bytes | int]):
    def of(parts: list[bytes | int]) -> str:
        return digest_of(in_pieces(iter(parts)))

    assert of(one) == of([whole(one)])
    assert (of(one) == of(other)) == (whole(one) == whole(other))
