"""Where things are if nobody says."""

from __future__ import annotations

import os
from pathlib import Path

DEFAULT_PATH = Path("cluster.yaml")
"""What a command works on when neither its PATH nor KVMDECL_CLUSTER says."""


def journal_directory(given: Path | None) -> Path:
    """Where journals are: as said, or where the XDG Base Directory Specification keeps a user's state."""
    if given is not None:
        return given
    state = os.environ.get("XDG_STATE_HOME", "")
    return (Path(state) if state.startswith("/") else Path.home() / ".local" / "state") / "kvmdecl" / "runs"
