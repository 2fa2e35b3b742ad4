"""What a plan deletes as a file of consents, to be filled in, reviewed and committed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kvmdecl.plan import Plan


def render_consents(plan: Plan) -> str:
    """The file, with nobody and no reason yet: as it is, it is refused. Without deletions it has no consents."""
    head = f"# Deletions of {plan.cluster}, plan {plan.digest}: say who agrees, and why; take out what shall stay.\n"
    deletions = [name for step in plan.steps for name in step.deletions]
    if not deletions:
        return f"{head}apiVersion: kvmdecl/v1\nconsents: []\n"
    entries = (
        f'- allow: {json.dumps(name)}\n  plan: {json.dumps(plan.digest)}\n  by: ""\n  why: ""\n'
        for name in deletions
    )
    return f"{head}apiVersion: kvmdecl/v1\nconsents:\n{''.join(entries)}"
