"""How long the program needs to answer a question about itself, by hyperfine."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.result import Result

_QUESTIONS = {"--help": 150, "plan --help": 150, "--version": 30}
"""Arguments and the promised milliseconds."""


def measure() -> list[Result]:
    """Return the median of each question."""
    program = Path(sys.executable).with_name("kvmdecl")
    return [
        Result(f"kvmdecl {words}", _median(f"{program} {words}"), "ms", ms)
        for words, ms in _QUESTIONS.items()
    ]


def _median(command: str) -> float:
    with tempfile.NamedTemporaryFile() as file:
        options = ["--shell", "none", "--warmup", "3", "--min-runs", "30", "--export-json", file.name]
        subprocess.run(["hyperfine", *options, command], check=True, capture_output=True)
        return float(json.load(file)["results"][0]["median"]) * 1000
