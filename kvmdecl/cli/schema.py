"""`kvmdecl schema`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from kvmdecl.cli import common


class Document(StrEnum):
    """What a schema is of."""

    MANIFEST = "manifest"
    PLAN = "plan"
    DRIFT = "drift"
    MAP = "map"
    DEVICES = "devices"
    EVENTS = "events"
    HA = "ha"
    HA_STATUS = "ha-status"
    DOCTOR = "doctor"
    CAPACITY = "capacity"
    SURVIVAL = "survival"
    ADVICE = "advice"


def run(
    document: Annotated[
        str,
        typer.Argument(
            metavar="DOCUMENT",
            help=f"What to describe: {', '.join(Document)}.",
            autocompletion=lambda: [*Document],
        ),
    ] = Document.MANIFEST.value,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Write to this file instead of standard output.", show_default=False
        ),
    ] = None,
) -> None:
    """Write the JSON Schema of the manifest, or of what commands write as JSON.

    That is a saved plan, a map, devices, drift, what the doctor found, apply's events, or the answer of `ha simulate`,
    of (`ha-status`) `ha status`, of `capacity`, or (`survival`) of `capacity --lose`, or what `advise` proposes.

    That of the manifest has the sections of all installed plugins. Editors use it for
    completion and for checks while you type: put
    `# yaml-language-server: $schema=cluster.v1.json` on the first line of the manifest.

    Examples:
      kvmdecl schema --output schemas/cluster.v1.json
      kvmdecl schema plan | jq '.properties | keys'

    Exit codes: 0 written, 1 error.
    """
    if document not in {*Document}:
        raise typer.BadParameter(f"choose one of {', '.join(Document)}", param_hint="DOCUMENT")
    text = _render(Document(document))
    if output is None:
        common.say(text, end="")
    else:
        common.write_file(output, text)


def _render(document: Document) -> str:
    import json

    from kvmdecl.pluginhost import load_plugins
    from kvmdecl.schema import render_schema
    from kvmdecl.views.advice import advice_schema
    from kvmdecl.views.capacity import capacity_schema
    from kvmdecl.views.cluster_status import status_schema
    from kvmdecl.views.devices_json import devices_schema
    from kvmdecl.views.doctor import doctor_schema
    from kvmdecl.views.drift import drift_schema
    from kvmdecl.views.events_json import events_schema
    from kvmdecl.views.failover import survival_schema
    from kvmdecl.views.map_json import map_schema
    from kvmdecl.views.plan_json import plan_schema
    from kvmdecl.views.survivors import proof_schema

    if document is Document.MANIFEST:
        return render_schema(load_plugins().sections())
    schemas = {
        Document.PLAN: plan_schema,
        Document.DRIFT: drift_schema,
        Document.MAP: map_schema,
        Document.DEVICES: devices_schema,
        Document.EVENTS: events_schema,
        Document.HA: proof_schema,
        Document.HA_STATUS: status_schema,
        Document.DOCTOR: doctor_schema,
        Document.CAPACITY: capacity_schema,
        Document.SURVIVAL: survival_schema,
        Document.ADVICE: advice_schema,
    }
    return json.dumps(schemas[document](), indent=2) + "\n"
