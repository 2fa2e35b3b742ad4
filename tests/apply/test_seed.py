"""A seed is the same bytes everywhere and always, and holds what cloud-init looks for."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import threading
import time

import pycdlib
import pytest

from kvmdecl.seed import seed_iso

FILES = (
    ("user-data", "#cloud-config\nhostname: web-1\n"),
    ("meta-data", "instance-id: web-1\n"),
    ("network-config", "version: 2\nethernets: {}\n"),
)

# Everything that a program can read the date from is shifted before kvmdecl is imported.
_IN_ANOTHER_LIFE = """
import json, sys, time
real, shift = time.time, float(sys.argv[1])
time.time = lambda: real() + shift
for name in ("localtime", "gmtime"):
    original = getattr(time, name)
    setattr(time, name, lambda at=None, original=original: original(real() + shift if at is None else at))
import hashlib
from kvmdecl.seed import seed_iso
print(hashlib.sha256(seed_iso(json.loads(sys.argv[2]))).hexdigest())
"""


def _digest_elsewhere(zone: str, shift: float) -> str:
    environment = {**os.environ, "TZ": zone}
    argv = [sys.executable, "-c", _IN_ANOTHER_LIFE, str(shift), json.dumps(FILES)]
    return subprocess.run(argv, env=environment, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu", "America/St_Johns"])
@pytest.mark.parametrize("shift", [0.0, 86400.0 * 1000])
def test_a_seed_is_the_same_bytes_in_every_time_zone_and_on_every_day(zone: str, shift: float):
    assert _digest_elsewhere(zone, shift) == hashlib.sha256(seed_iso(FILES)).hexdigest()


def test_a_seed_is_labelled_as_cloud_init_looks_for_it_and_holds_the_files():
    image = pycdlib.PyCdlib()
    image.open_fp(io.BytesIO(seed_iso(FILES)))
    assert image.pvd.volume_identifier.decode().strip() == "cidata"
    for space in ("rr_path", "joliet_path"):
        read = {}
        for child in image.list_children(**{space: "/"}):
            if child is not None and child.is_file():
                out = io.BytesIO()
                name = image.full_path_from_dirrecord(child, rockridge=space == "rr_path")
                image.get_file_from_iso_fp(out, **{space: name})
                read[name] = out.getvalue().decode()
        assert read == {f"/{name}": text for name, text in FILES}
    image.close()


def test_the_order_in_which_files_are_named_does_not_matter():
    assert seed_iso(FILES) == seed_iso(reversed(FILES))


def test_another_text_or_name_is_another_seed():
    others = [(*FILES[1:], ("user-data", "#cloud-config\n")), (*FILES[1:], ("vendor-data", FILES[0][1]))]
    assert len({seed_iso(files) for files in (FILES, *others)}) == 3


def test_other_threads_keep_their_clock_while_a_seed_is_built():
    stop, seen = threading.Event(), []

    def watch() -> None:
        while not stop.is_set():
            seen.append(time.time())

    watcher = threading.Thread(target=watch)
    started = time.time()
    watcher.start()
    for _ in range(20):
        seed_iso(FILES)
    stop.set()
    watcher.join()
    assert min(seen) >= started
