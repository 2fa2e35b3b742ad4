"""Changes that would make a guest lose sight of its data: refused, wherever its definition is kept."""

from __future__ import annotations

from kvmdecl.plan import Change
from kvmdecl.planner.verdict import Verdict, blocked
from kvmdecl.state import Desired


def replaced_disk(desired: Desired, vm: str, change: Change) -> Verdict:
    """The verdict for a change of a vm whose impact is the loss of data."""
    if change.key == "firmware.nvram":
        return blocked(
            desired,
            "plan.nvram-replaced",
            f"the firmware of {vm} would have other variables: {change.before} -> {change.after}",
            "Boot entries, enrolled keys and what the guest keeps there would stay behind in the old file.",
            "put the path back, or copy the file on the host and move the definition with `virsh edit` first.",
            key=change.key,
        )
    if change.key == "tpm.secret" or change.key.endswith(".encryption"):
        return blocked(
            desired,
            "plan.other-secret",
            f"{change.key} of {vm} would change: {change.why}",
            "A disk and the state of a TPM are encrypted from the beginning, with one secret, or not at all.",
            "put it back as it was, or declare a further disk and copy the data inside of the guest.",
            key=change.key,
        )
    return blocked(
        desired,
        "plan.disk-replaced",
        f"{change.key} of {vm} would become another volume: {change.before} -> {change.after}",
        "The guest would lose sight of what is on its disk; kvmdecl copies no data between volumes.",
        "put the pool or path back, or declare a further disk and copy the data inside of the guest.",
        key=change.key,
    )
