"""The NoCloud seed of a guest: a small ISO 9660 image that cloud-init finds by its label `cidata`.

The same files give the same bytes, in every time zone and on every day: a seed is named by its digest, and a
plan made today must find the seed made last year unchanged.
"""

from __future__ import annotations

import io
import threading
import time
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LABEL = "cidata"  # cloud-init's NoCloud data source: a file system with this label

_MOMENT = 315532800.0  # 1980-01-01 00:00 UTC, the oldest moment that every file system can hold
_CLOCKS = ("dates", "headervd", "pycdlib", "utils")  # modules of pycdlib that read the clock or the time zone
_one_at_a_time = threading.Lock()


class _FrozenClock:
    """What pycdlib knows as the module `time` while it builds a seed: one moment, in UTC."""

    localtime = staticmethod(time.gmtime)
    gmtime = staticmethod(time.gmtime)
    strftime = staticmethod(time.strftime)
    struct_time = time.struct_time

    @staticmethod
    def time() -> float:
        return _MOMENT


def seed_iso(files: Iterable[tuple[str, str]]) -> bytes:
    """Build the image. `files` are names such as `meta-data` and their text; their order does not matter."""
    with _one_at_a_time, _frozen():
        image = _new_image()
        for number, (name, text) in enumerate(sorted(files)):
            content = text.encode()
            # Linux reads the Rock Ridge name, others the Joliet one; the ISO 9660 name has only to be unique.
            image.add_fp(
                io.BytesIO(content),
                len(content),
                iso_path=f"/FILE{number}.;1",
                rr_name=name,
                joliet_path=f"/{name}",
                file_mode=0o100444,
            )
        written = io.BytesIO()
        image.write_fp(written)
        image.close()
        return written.getvalue()


def _new_image() -> Any:  # noqa: ANN401 - pycdlib has no types
    import pycdlib

    image = pycdlib.PyCdlib()
    image.new(vol_ident=LABEL, app_ident_str="KVMDECL", joliet=3, rock_ridge="1.09")
    return image


@contextmanager
def _frozen() -> Iterator[None]:
    """Give pycdlib, and nobody else, a clock that stands still; all other threads keep the real one."""
    modules: list[Any] = [import_module(f"pycdlib.{name}") for name in _CLOCKS]
    for module in modules:
        module.time = _FrozenClock
    try:
        yield
    finally:
        for module in modules:
            module.time = time
