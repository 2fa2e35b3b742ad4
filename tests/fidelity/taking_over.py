"""Definitions at random, taken over: what an entry declares, made anew, is the domain that was there."""

from __future__ import annotations

import random
from collections.abc import Sequence

from kvmdecl.adopt.entry import NotExpressible, Surroundings, make_entry
from kvmdecl.adopt.filled_in import asked_for
from kvmdecl.adopt.guest import Networks
from kvmdecl.adopt.residue import gap
from kvmdecl.facts import HostFacts
from kvmdecl.hosts.protocol import Scope
from kvmdecl.hosts.read import read_domain, read_host
from kvmdecl.libvirt_xml.overlay import complete
from kvmdecl.libvirt_xml.safe import parse_xml
from kvmdecl.state import Kind, ObservedDomain
from tests.fidelity.campaigns import Tally
from tests.fidelity.corpus import Trial
from tests.fidelity.host import Refused, Target, remove, to_text
from tests.fidelity.mutate import mutate

NETWORKS = {"default": {"mode": "existing"}, "br0": {"bridge": "br0"}}
PLUGGED = Networks({"network:default": "default", "bridge:br0": "br0"})
CHANGES = 6
"""The most that a definition is changed before it is taken over."""


def take_over(target: Target, trials: Sequence[Trial], count: int, seed: int) -> Tally:
    """Adopt `count` domains, each changed a few times first."""
    rng, tally = random.Random(seed), Tally()
    facts = read_host(target.connection, target.host.name, Scope()).facts
    domains = [trial for trial in trials if trial.kind is Kind.DOMAIN]
    for _ in range(count if domains else 0):
        trial = rng.choice(domains)
        text, changes = _changed(target, trial, rng)
        tally.counts["domains"] += 1
        wrong = _wrong(target, text, facts)
        tally.counts["the same when made anew"] += not wrong
        tally.wrong += [f"{trial.name} ({'; '.join(changes)}): {wrong}"] if wrong else []
    return tally


def _changed(target: Target, trial: Trial, rng: random.Random) -> tuple[str, list[str]]:
    """A definition after those of some changes that libvirt takes, and what they were."""
    root, changes = parse_xml(trial.declared), list[str]()
    for name in root.findall("name"):
        name.text = "taken-over"
    for _ in range(rng.randint(0, CHANGES)):
        mutation = mutate(root, Kind.DOMAIN, rng)
        if mutation is None:
            continue
        try:
            target.read_back(to_text(mutation.root), Kind.DOMAIN)
        except Refused:
            continue
        root = mutation.root
        changes.append(mutation.what)
    return to_text(root), changes


def _wrong(target: Target, text: str, facts: HostFacts) -> str:
    """What is wrong with the entry of a domain; empty if nothing is."""
    try:
        entry = make_entry(_observed(target, text), Surroundings(target.host.name, facts, NETWORKS, PLUGGED))
        again = _observed(target, complete(entry.declared)).xml
    except NotExpressible as error:
        return f"no entry says {error}"
    except Refused as error:
        return f"made anew it is refused: {error}"
    left = gap(entry.declared, asked_for(again, facts), again)
    return f"made anew it differs in {', '.join((*left.unsaid, *left.untrue))}" if len(left) else ""


def _observed(target: Target, text: str) -> ObservedDomain:
    domain = target.define(text, Kind.DOMAIN)
    try:
        return read_domain(domain)
    finally:
        remove(domain, Kind.DOMAIN)
