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
    NOTICES = "notices"
    HISTORY = "history"
    CHAIN = "chain"
    HA = "ha"
    HA_STATUS = "ha-status"
    DOCTOR = "doctor"
    CAPACITY = "capacity"
    SURVIVAL = "survival"
    ADVICE = "advice"
    POLICIES = "policies"
    CONSENTS = "consents"


def run(
    document: Annotated[
        str,
        typer.Argument(
            metavar="DOCUMENT",
            help=f"What to describe: {', '.join(Document)}.",
            autocompletion=lambda: [*Document],
        ),
    ] = Document.MANIFEST.value,
    with_names: Annotated[
        Path | None,
        typer.Option(
            "--with-names",
            metavar="PATH",
            help="Offer the names of this manifest: its hosts, networks, pools, profiles and so on.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Write to this file instead of standard output.", show_default=False
        ),
    ] = None,
) -> None:
    """Write the JSON Schema of the manifest, or of what commands write as JSON.

    That is a saved plan, a map, devices, drift, what the doctor found, apply's events, what notifiers are told
    (`notices`), runs (`history`, and of --verify `chain`), or the answer of `ha simulate`, of (`ha-status`)
    `ha status`, of `capacity`, or (`survival`) of `capacity --lose`, or what `advise` proposes; or (`policies`,
    `consents`) the files that `plan --policies` and `apply --consents` read.

    That of the manifest has the sections of all installed plugins. Editors use it for
    completion and for checks while you type: put
    `# yaml-language-server: $schema=cluster.v1.json` on the first line of the manifest.

    With --with-names an editor also offers the manifest's own names where others refer to them. Nothing is
    refused because of that: names that were written since are taken, too.

    Examples:
      kvmdecl schema --output schemas/cluster.v1.json
      kvmdecl schema --with-names clusters/demo -o cluster.v1.json
      kvmdecl schema plan | jq '.properties | keys'

    Exit codes: 0 written, 1 error.
    """
    if document not in {*Document}:
        raise typer.BadParameter(f"choose one of {', '.join(Document)}", param_hint="DOCUMENT")
    if with_names is not None and document != Document.MANIFEST:
        raise typer.BadParameter(
            "names are offered in the schema of the manifest alone", param_hint="--with-names"
        )
    text = _render(Document(document)) if with_names is None else _named(with_names)
    if output is None:
        common.say(text, end="")
    else:
        common.write_file(output, text)


def _named(path: Path) -> str:
    import json

    from kvmdecl.load import names_of
    from kvmdecl.pluginhost import load_plugins
    from kvmdecl.schema import make_schema
    from kvmdecl.schema.names import with_names

    sections = load_plugins().sections()
    return json.dumps(with_names(make_schema(sections), names_of(path, sections)), indent=2) + "\n"


def _render(document: Document) -> str:
    import json

    from kvmdecl.pluginhost import load_plugins
    from kvmdecl.schema import consents_schema, policies_schema, render_schema
    from kvmdecl.views.advice import advice_schema
    from kvmdecl.views.capacity import capacity_schema
    from kvmdecl.views.cluster_status import status_schema
    from kvmdecl.views.devices_json import devices_schema
    from kvmdecl.views.doctor import doctor_schema
    from kvmdecl.views.drift import drift_schema
    from kvmdecl.views.events_json import events_schema
    from kvmdecl.views.failover import survival_schema
    from kvmdecl.views.history import chain_schema, history_schema
    from kvmdecl.views.map_json import map_schema
    from kvmdecl.views.notices_json import notices_schema
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
        Document.NOTICES: notices_schema,
        Document.HISTORY: history_schema,
        Document.CHAIN: chain_schema,
        Document.HA: proof_schema,
        Document.HA_STATUS: status_schema,
        Document.DOCTOR: doctor_schema,
        Document.CAPACITY: capacity_schema,
        Document.SURVIVAL: survival_schema,
        Document.ADVICE: advice_schema,
        Document.POLICIES: policies_schema,
        Document.CONSENTS: consents_schema,
    }
    return json.dumps(schemas[document](), indent=2) + "\n"
