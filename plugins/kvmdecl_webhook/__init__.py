"""Tells a chat or another program how runs ended, and of drift: one HTTP POST of JSON for each."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kvmdecl.api import hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmdecl.api import Notifier


@hookimpl
def kvmdecl_notifiers() -> Mapping[str, Notifier]:
    """Offer `webhook` where the environment says to which address.

    It is none of the manifest's business: its author is not always trusted by who applies it, and the address of a
    chat's webhook is a secret.
    """
    url = os.environ.get("KVMDECL_WEBHOOK", "")
    if not url:
        return {}
    from kvmdecl_webhook.post import Webhook

    return {"webhook": Webhook(url, details=os.environ.get("KVMDECL_WEBHOOK_DETAILS") == "1")}
