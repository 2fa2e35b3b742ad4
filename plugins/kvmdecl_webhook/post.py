"""What is posted, and how. Neither the address nor an answer gets into an error: both may hold secrets."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SECONDS = 8
_MOST_PROBLEMS = 20
_HERE = {"localhost", "127.0.0.1", "::1"}
_PROBLEMS = {"step-failed", "step-refused"}


class NotPostedError(Exception):
    """Why something was not posted."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """A notifier. Without `details` no host, no guest and no other object is named."""

    url: str
    details: bool

    def __call__(self, notices: Iterator[Mapping[str, Any]]) -> None:
        """Post how a run ended, or drift and hosts that are silent.

        Raises:
            NotPostedError: why that could not be.
        """
        problems: list[str] = []
        for notice in notices:
            if notice["event"] in _PROBLEMS:
                problems.append(_problem(notice))
            elif notice["event"] == "run-ended":
                self._post(_run(notice), notice, problems)
            elif notice["event"] == "drift-seen" and (notice["found"] or notice["silent"]):
                self._post(_drift(notice), notice, [])

    def _post(self, text: str, notice: Mapping[str, Any], problems: list[str]) -> None:
        shown = problems[:_MOST_PROBLEMS] if self.details else []
        more = [f"and {len(problems) - len(shown)} more"] if len(problems) > len(shown) > 0 else []
        content = {"text": "\n".join([text, *shown, *more]), "notice": notice}
        post(self.url, json.dumps(content).encode())


def post(url: str, content: bytes) -> None:
    """Post JSON to an address of `https`, or of `http` on this machine. One that leads to another is an error.

    Raises:
        NotPostedError: why that could not be.
    """
    try:
        parts = urlsplit(url)
        host, safe = parts.hostname or "", parts.scheme == "https"
        safe = bool(host) and (safe or (parts.scheme == "http" and host in _HERE))
    except ValueError:
        safe = False
    if not safe:
        raise NotPostedError("KVMDECL_WEBHOOK is no https:// address")
    request = Request(url, content, {"Content-Type": "application/json", "User-Agent": "kvmdecl"})  # noqa: S310 - above
    try:
        with build_opener(_NoRedirect).open(request, timeout=_SECONDS):
            return
    except HTTPError as error:
        error.close()
        raise NotPostedError(f"{host} answered {error.code}") from None
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise NotPostedError(
            f"{host} cannot be reached: {getattr(reason, 'strerror', None) or type(reason).__name__}"
        ) from None
    except Exception as error:  # noqa: BLE001 - http.client and ssl say much, and among it what was sent
        raise NotPostedError(f"{host} did not answer as it should: {type(error).__name__}") from None


class _NoRedirect(HTTPRedirectHandler):
    """Following would be a GET, and to somebody whom nobody named."""

    def redirect_request(self, *_: Any, **__: Any) -> None:  # noqa: ANN401 - as declared there
        return None


def _run(notice: Mapping[str, Any]) -> str:
    ends = ", ".join(f"{notice[end]} {end}" for end in ("failed", "refused", "skipped") if notice[end])
    result = notice["result"].replace("-", " ")
    steps = f"{notice['done']} of {notice['steps']} steps done{f', {ends}' if ends else ''}"
    return f"kvmdecl {notice['command']} of {notice['cluster']}: {result}. {steps}.\nRun {notice['run']} {_by(notice)}"


def _drift(notice: Mapping[str, Any]) -> str:
    kinds = {"changed": "changed", "missing": "missing", "outside": "changed in fields that nobody declares"}
    found = ", ".join(f"{notice[kind]} {words}" for kind, words in kinds.items() if notice[kind])
    silent = f" {notice['silent']} of {notice['hosts']} hosts did not answer." if notice["silent"] else ""
    drift = f"drift. Objects: {found}." if notice["found"] else "no drift seen."
    return f"kvmdecl drift of {notice['cluster']}: {drift}{silent}\nSeen {_by(notice)}"


def _by(notice: Mapping[str, Any]) -> str:
    job = f", {notice['job']}" if notice["job"] else ""
    return f"by {notice['user']} on {notice['machine']}{job}"


def _problem(notice: Mapping[str, Any]) -> str:
    address, found = notice["address"], notice["diagnostic"]
    return f"{address['host']}/{address['kind']}/{address['name']}: {found['summary']} ({found['code']})"
