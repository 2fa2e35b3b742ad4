"""What apply and destroy share: show, ask, carry out, and say how it ended."""

from __future__ import annotations

import re
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType

import typer
from pydantic_core import PydanticCustomError

from kvmdecl.apply import Busy, apply
from kvmdecl.cli import common, judging, planning
from kvmdecl.consents import Consent, given_to, not_used, read_consents
from kvmdecl.delegate import Delegating
from kvmdecl.diagnostics import Diagnostic, Rejected, reject_errors
from kvmdecl.events import ApplyFinished, Event, GateEnded, Outcome, StepProgress
from kvmdecl.gatekeeper import Gatekeeper, gates_of
from kvmdecl.hosts.fleet import ReadingFleet, WritingFleet
from kvmdecl.hosts.processes import job, this_run, user_and_machine
from kvmdecl.hosts.protocol import Scope
from kvmdecl.hosts.sanity import believable
from kvmdecl.journal import Journal, Run, find_run
from kvmdecl.manager import Comparison, ManagerStatus
from kvmdecl.notices import Result, RunBegan, ended
from kvmdecl.notifying import Notifying
from kvmdecl.plan import HostStatus, Plan
from kvmdecl.planner.resumed import resumed
from kvmdecl.planner.saved import not_as_shown, observed_at, require_consistent, retrace
from kvmdecl.planner.verdict import HostView
from kvmdecl.planner.waves import until_wave
from kvmdecl.pluginhost import load_plugins
from kvmdecl.runs import Agreement, Holder, Way
from kvmdecl.state import Address, HostSnapshot, Kind, Observation, Observed
from kvmdecl.tasks import ConfigureManager
from kvmdecl.text import safe_text
from kvmdecl.uri import HostUri, parse_manifest_uri
from kvmdecl.views.events_json import JsonView
from kvmdecl.views.events_live import LiveView
from kvmdecl.views.events_text import TextView
from kvmdecl.views.plan_findings import remarks
from kvmdecl.views.plan_json import read_plan
from kvmdecl.views.plan_text import count, render_plan
from kvmdecl.waves import spent


def read_saved(path: Path) -> tuple[Plan, Mapping[str, Observation]]:
    """Read a saved plan and hold it against its hosts as they are now: what it shows must be what it does.

    Raises:
        Rejected: `plan.unreadable`, `plan.inconsistent`.
    """
    plan = read_plan(path)
    require_consistent(plan)
    seen = observe(plan)
    _require_shown(plan)
    return retrace(plan, seen), seen


def manager_states(plan: Plan, hosts: Sequence[str]) -> Mapping[str, ManagerStatus | str]:
    """How each cluster manager of a plan is, or why that is not known."""
    managers, reach = load_plugins().managers(), common.reach(_uris(plan, answering(plan)))
    states: dict[str, ManagerStatus | str] = {}
    for planned in plan.managers:
        try:
            states[planned.name] = managers[planned.name].look(plan.cluster, planned.way, reach, hosts)
        except KeyError:
            states[planned.name] = "there is no plugin for it"
        except Rejected as rejected:
            states[planned.name] = rejected.diagnostics[0].summary
    return states


def _require_shown(plan: Plan) -> None:
    """Make sure that what a file shows of a cluster manager is what its task does, as long as nothing moved.

    Raises:
        Rejected: `plan.inconsistent`.
    """
    if not _is_managed(plan):
        return
    managers, uris = load_plugins().managers(), _uris(plan, answering(plan))
    reach = common.reach(uris)
    for step in plan.steps:
        if isinstance(step.task, ConfigureManager):
            manager = managers.get(step.task.manager)
            if manager is None or not manager.shows(step, reach, sorted(uris)):
                raise Rejected([not_as_shown(step)])


def way_back(plan: Plan) -> Callable[[ConfigureManager, frozenset[str]], Comparison | str]:
    """How cluster managers are asked for the way back from a run with this plan."""

    def ask(task: ConfigureManager, others: frozenset[str]) -> Comparison | str:
        uris, manager = _uris(plan, answering(plan)), load_plugins().managers().get(task.manager)
        if manager is None:
            return f"there is no plugin for {task.manager}"
        return manager.undo(task, common.reach(uris), sorted(uris), others)

    return ask


def read_rest(name: str, directory: Path | None) -> tuple[Plan, Mapping[str, Observation]]:
    """What is left of a run, and how its hosts are.

    Raises:
        Rejected: `run.unknown`, `run.journal-broken`, `run.not-resumable`, and as `read_saved`.
    """
    run = find_run(common.journal_directory(directory), name)
    if run.command not in {"apply", "undo"}:
        raise Rejected([_not_resumable(run)])
    require_consistent(run.plan)
    seen = observe(run.plan)
    done = frozenset(address for address, end in run.ends.items() if end == "done")
    return retrace(resumed(run.plan, done, run.begun, seen), seen), seen


def _not_resumable(run: Run) -> Diagnostic:
    return Diagnostic(
        code="run.not-resumable",
        summary=f"run {run.name} was a `{run.command}`, which is not resumed",
        cause="What is left of it is seen on the hosts.",
        hint=f"run `kvmdecl {run.command}` again.",
    )


def observe(plan: Plan) -> dict[str, Observation]:
    """Read the hosts of a plan, as far as its steps are about them."""
    pools = frozenset(
        step.address.name.partition("/")[0] for step in plan.steps if step.address.kind is Kind.VOLUME
    )
    filtered = any(step.address.kind is Kind.NWFILTER for step in plan.steps)
    with ReadingFleet(_uris(plan, answering(plan))) as fleet:
        secrets = any(step.address.kind is Kind.SECRET for step in plan.steps)
        settings = any(step.address.kind is Kind.HOST for step in plan.steps)
        scope = Scope(pools, filters=filtered, secrets=secrets, settings=settings)
        return believable(fleet.observe(scope))


def show(plan: Plan, progress: common.ProgressView) -> None:
    """Print the plan and everything that goes with it, before anybody is asked.

    Where events are written as JSON, standard output is theirs alone.
    """
    text = render_plan(plan, color=common.color())
    if progress is common.ProgressView.JSON:
        common.complain(text.rstrip())
    else:
        common.say(text, end="")
    common.report(remarks(plan))


def policed(plan: Plan, policies: Path | None) -> Plan:
    """A saved plan with what policies say of it now: those that it was made with, those of plugins, and of a file.

    Raises:
        Rejected: with everything that is wrong in the file.
    """
    return judging.judge(judging.by_file(plan, policies), load_plugins(), "apply")


def require_allowed(plan: Plan) -> None:
    """Make sure that the plan is within the limits of its manifest, and that no policy denies it; that was reported.

    Raises:
        typer.Exit: 4 if not.
    """
    if plan.exceeded:
        common.complain("Nothing was changed: the plan goes beyond limits of the manifest.")
    if plan.denied:
        names = ", ".join(map(safe_text, plan.denied))
        common.complain(f"Nothing was changed: the plan is denied by {names}.")
    if plan.exceeded or plan.denied:
        raise typer.Exit(common.Exit.BLOCKED)


@dataclass(frozen=True)
class Agreed:
    """Consents of a file, and the digest of the plan as a whole, before it was cut at a wave."""

    consents: tuple[Consent, ...] = ()
    whole: str = ""

    @classmethod
    def read(cls, path: Path | None, plan: Plan) -> Agreed:
        """The consents of a file, if there is one.

        Raises:
            Rejected: with everything that is wrong in it.
        """
        return cls() if path is None else cls(read_consents(path), plan.digest)

    def to(self, plan: Plan, deletions: Sequence[str]) -> tuple[Agreement, ...]:
        """The agreements to deletions of a plan; tells of those that are not about it.

        Raises:
            Rejected: `apply.unknown-consent`.
        """
        if not self.consents:
            return ()
        digests = {self.whole, plan.digest}
        known = set(deletions) if plan.digest == self.whole else {c.address for c in self.consents}
        common.report(reject_errors(not_used(self.consents, digests, known)))
        given = given_to(self.consents, digests, set(deletions))
        return tuple(Agreement(each.address, Way.FILE, each.by, each.why) for each in given)


def consent(
    plan: Plan, *, yes: bool, allowed: frozenset[str], reviewed: bool, agreed: Agreed | None = None
) -> tuple[Agreement, ...]:
    """Make sure that the user said yes: to the plan, and to each deletion by its name, in this plan.

    Args:
        plan: what is going to be done.
        yes: whether nobody is to be asked.
        allowed: deletions, as ADDRESS@DIGEST; the plan's digest may be left out if it is `reviewed`.
        reviewed: whether the plan itself was given, so that it is the one that was looked at.
        agreed: consents of a file.

    Returns:
        Who agreed to what, and by which way.

    Raises:
        typer.Exit: 4 when a deletion lacks consent, 1 when the user said no.
        Rejected: `apply.unknown-consent` when --allow-delete names nothing that the plan deletes,
            `apply.stale-consent` when it was given to another plan.
    """
    deletions = [name for step in plan.steps for name in step.deletions]
    digest = plan.digest if deletions else ""
    me = this_user()
    given = [
        Agreement(name, Way.FLAG, me)
        for name in sorted(_named(allowed, deletions, digest, reviewed=reviewed))
    ]
    given += agreed.to(plan, deletions) if agreed is not None else ()
    known = {each.to for each in given}
    if yes or not sys.stdin.isatty():
        _require_names(deletions, frozenset(known), "" if reviewed else f"@{digest}")
        if not yes:
            raise Rejected([_NOBODY_TO_ASK])
        return Agreement("plan", Way.FLAG, me), *given
    missing = [name for name in deletions if name not in known]
    if missing and not _confirmed(f"Delete {_listed(missing)}?"):
        raise typer.Exit(common.Exit.BLOCKED)
    if not _confirmed(f"Carry out {count(len(plan.steps), 'step')}?"):
        common.say("Nothing was changed.")
        raise typer.Exit(common.Exit.ERROR)
    return Agreement("plan", Way.PROMPT, me), *given, *(Agreement(name, Way.PROMPT, me) for name in missing)


def this_user() -> str:
    """Who this is: `USER@MACHINE`, as the kernel sees it."""
    return "@".join(user_and_machine())


def cut(plan: Plan, wave: str) -> Plan:
    """The plan up to a wave; says what is left.

    Raises:
        Rejected: `rollout.unknown-wave`.
    """
    kept = until_wave(plan, wave)
    left = len(plan.steps) - len(kept.steps)
    common.complain(
        f"Until wave {safe_text(wave)}: {count(len(kept.steps), 'step')}; {left} left for a later run."
    )
    return kept


def require_budget(plan: Plan) -> None:
    """Make sure that few enough hosts are in trouble for a rollout to begin.

    Raises:
        typer.Exit: 4 if not.
    """
    if (found := spent(plan)) is not None:
        common.report([found])
        raise typer.Exit(common.Exit.BLOCKED)


_NOBODY_TO_ASK = Diagnostic(
    code="apply.nobody-to-ask",
    summary="there is no terminal to ask on",
    cause="Without a yes nothing is changed.",
    hint="review the plan, then add `--yes`, or save it with `plan --out plan.json` and apply that file.",
)


_CONSENT = re.compile(r"(.+)@([0-9a-f]{12})", re.ASCII)


def _named(
    allowed: Iterable[str], deletions: Sequence[str], digest: str, *, reviewed: bool
) -> frozenset[str]:
    """The addresses that consent was given to; without a digest it counts for a plan that was reviewed alone."""
    named = {text: _CONSENT.fullmatch(text) for text in allowed}
    addresses = {text: found[1] if found else text for text, found in named.items()}
    known = set(deletions)
    if unknown := sorted(address for address in addresses.values() if address not in known):
        raise Rejected([_unknown_consent(name, deletions) for name in unknown])
    if stale := sorted(text for text, found in named.items() if found and found[2] != digest):
        raise Rejected([_stale_consent(text, digest) for text in stale])
    return frozenset(addresses[text] for text, found in named.items() if found or reviewed)


def _stale_consent(text: str, digest: str) -> Diagnostic:
    return Diagnostic(
        code="apply.stale-consent",
        summary=f"{safe_text(text)} consents to another plan than this one, which is {digest}",
        cause="The manifest, or something on the hosts, changed since it was given.",
        hint="look at the plan, then consent to this one.",
    )


def _require_names(deletions: Sequence[str], allowed: frozenset[str], digest: str) -> None:
    missing = [name for name in deletions if name not in allowed]
    if missing:
        common.complain("Nothing was changed: these deletions need your consent by name:")
        for address in missing:
            common.complain(f"    --allow-delete {safe_text(address)}{digest}")
        common.complain(
            "or in a reviewed file: `kvmdecl plan --consents FILE`, then `apply --consents FILE`."
        )
        raise typer.Exit(common.Exit.BLOCKED)


def _unknown_consent(name: str, deletions: Sequence[str]) -> Diagnostic:
    return Diagnostic(
        code="apply.unknown-consent",
        summary=f"the plan does not delete {safe_text(name)}",
        cause="A consent names exactly what it allows, so that it cannot outlive the plan it was given for.",
        hint=f"it deletes {_listed(deletions)}." if deletions else "it deletes nothing; drop --allow-delete.",
    )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(safe_text, names))


def _confirmed(question: str) -> bool:
    return typer.confirm(question, default=False, err=True)


def confirm_destruction(cluster: str, steps: int, confirmed: str) -> tuple[Agreement, ...]:
    """Make sure that the user means this cluster; who agreed, and by which way.

    Raises:
        Rejected: `destroy.not-confirmed` when the name that was given or typed is another one.
    """
    way = Way.FLAG if confirmed else Way.PROMPT
    if not confirmed and sys.stdin.isatty():
        confirmed = typer.prompt(
            f"Carry out {count(steps, 'deletion')}? Type the cluster's name ({cluster})",
            default="",
            show_default=False,
            err=True,
        )
    if confirmed != cluster:
        raise Rejected([_not_confirmed(cluster, confirmed)])
    return (Agreement("plan", way, this_user()),)


def _not_confirmed(cluster: str, confirmed: str) -> Diagnostic:
    return Diagnostic(
        code="destroy.not-confirmed",
        summary=f"nothing was changed: the cluster is called {cluster}"
        + (f", not {safe_text(confirmed)}" if confirmed else ""),
        cause="Destroying a cluster needs its name.",
        hint=f"add `--confirm {cluster}` once you have read the list above.",
    )


@dataclass(frozen=True)
class Errand:
    """What a run is about: the command, what it was given, how the hosts were, who agreed, where it is noted down."""

    command: str
    source: str
    seen: Mapping[str, Observation]
    agreed: tuple[Agreement, ...]
    journal: Path | None = None

    def go_on(self, run: str) -> str:
        """What somebody types to go on with a run that did not come to its end."""
        if self.command not in {"apply", "undo"}:
            return f"run `kvmdecl {self.command}` again"
        where = f" --journal {shlex.quote(str(self.journal))}" if self.journal else ""
        return f"kvmdecl apply --resume {run}{where}"


class _Befores:
    """How objects were before the run."""

    def __init__(self, plan: Plan, seen: Mapping[str, Observation]) -> None:
        self._seats = {step.address: step.seat for step in plan.steps}
        self._views = {
            name: HostView(name, plan.cluster, plan.revision, observation.state)
            for name, observation in seen.items()
            if isinstance(observation, HostSnapshot)
        }

    def of(self, address: Address) -> Observed | None:
        seat = self._seats[address]
        view = self._views.get(seat.host)
        return observed_at(seat, view) if view else None


_RESULTS = {
    common.Exit.OK: Result.DONE,
    common.Exit.PARTIAL: Result.IN_PART,
    common.Exit.LOCKED: Result.LOCKED,
    common.Exit.PAUSED: Result.PAUSED,
    common.Exit.INTERRUPTED: Result.INTERRUPTED,
}


def carry_out(plan: Plan, errand: Errand, *, parallel: int, progress: common.ProgressView) -> common.Exit:
    """Apply the plan, show its events, and tell the notifiers of plugins.

    The first Ctrl-C lets running steps finish, the second ends at once.
    """
    holder, start = this_run(plan.cluster), time.monotonic()
    began = RunBegan(
        plan.cluster, holder.run, errand.command, holder.user, holder.machine, job(), len(plan.steps)
    )
    told, result = Notifying(load_plugins().notifiers()), Result.FAILED
    told.tell(began)
    try:
        code = _carry_out(plan, errand, holder, told, parallel=parallel, progress=progress)
        result = _RESULTS.get(code, Result.FAILED)
    except KeyboardInterrupt:
        result = Result.INTERRUPTED
        raise
    finally:
        told.tell(ended(began, result, told.events, time.monotonic() - start))
    common.report(told.close())
    return code


def _carry_out(
    plan: Plan,
    errand: Errand,
    holder: Holder,
    told: Notifying,
    *,
    parallel: int,
    progress: common.ProgressView,
) -> common.Exit:
    cancelled = threading.Event()
    uris, befores = _uris(plan, answering(plan)), _Befores(plan, errand.seen)
    gates = gates_of(plan, load_plugins()) if plan.rollout and plan.rollout.gates else {}
    directory = common.journal_directory(errand.journal)
    noted = Journal.create(directory, holder, errand.command, errand.source, plan, errand.agreed, job())
    with noted as journal:
        go_on = errand.go_on(holder.run)
        with _interruptible(cancelled, go_on), WritingFleet(uris) as fleet:
            managers = load_plugins().managers() if _is_managed(plan) else {}
            events = apply(
                plan,
                Delegating(fleet, managers, common.reach(uris), sorted(uris)),
                parallel=parallel,
                cancelled=cancelled,
                holder=holder,
                intend=lambda address: journal.intend(address, befores.of(address)),
                gates=Gatekeeper(gates, fleet, partial(manager_states, plan, sorted(uris))),
            )
            try:
                last, gate = _show(_noted(events, journal, told), plan, progress)
            except Busy as busy:
                journal.discard()
                common.report(busy.diagnostics)
                return common.Exit.LOCKED
        if cancelled.is_set():
            journal.interrupted()
            return common.Exit.INTERRUPTED
    if gate is not None and gate.outcome is Outcome.INCONCLUSIVE:
        common.complain(f"Paused: nobody knows whether gate {safe_text(gate.gate)} holds. See for yourself.")
    if gate is not None:
        common.complain(f"To go back: kvmdecl undo {holder.run}")
    if last is None or last.failed or last.refused or last.skipped or gate is not None:
        common.complain(f"To go on: {go_on}\nWhat it did: kvmdecl history {holder.run}")
        paused = gate is not None and gate.outcome is Outcome.INCONCLUSIVE
        return common.Exit.PAUSED if paused else common.Exit.PARTIAL
    return planning.exit_code(plan, detailed=False)


def _is_managed(plan: Plan) -> bool:
    return any(isinstance(step.task, ConfigureManager) for step in plan.steps)


def _noted(events: Iterator[Event], journal: Journal, told: Notifying) -> Iterator[Event]:
    for event in events:
        journal.note(event)
        if not isinstance(event, StepProgress):
            told.tell(event)
        yield event


def _show(
    events: Iterator[Event], plan: Plan, progress: common.ProgressView
) -> tuple[ApplyFinished | None, GateEnded | None]:
    """Show events as they come; returns the last one, which says how the run ended, and the gate that did not pass."""
    last: Event | None = None
    closed: GateEnded | None = None
    with _view(plan, progress) as view:
        for event in events:
            view.show(event)
            last = event
            if isinstance(event, GateEnded) and event.outcome is not Outcome.PASSED:
                closed = event
    return (last if isinstance(last, ApplyFinished) else None), closed


def _view(plan: Plan, progress: common.ProgressView) -> TextView | LiveView | JsonView:
    live = progress is common.ProgressView.LIVE or (
        progress is common.ProgressView.AUTO and common.is_terminal(sys.stdout)
    )
    if progress is common.ProgressView.JSON:
        return JsonView(partial(common.say, end=""))
    if live:
        return LiveView(plan, sys.stdout, color=common.color())
    return TextView(plan, partial(common.say, end=""))


def answering(plan: Plan) -> set[str]:
    """The hosts that answered when the plan was made."""
    return {host.name for host in plan.hosts if host.status is HostStatus.OK}


def _uris(plan: Plan, wanted: set[str]) -> dict[str, HostUri]:
    """Where the plan's hosts are. A saved plan is read like a manifest: its URIs pass the same allow-list."""
    try:
        return {host.name: parse_manifest_uri(host.uri) for host in plan.hosts if host.name in wanted}
    except PydanticCustomError as error:
        raise Rejected(
            [Diagnostic("plan.unreadable", f"the plan names a host that cannot be reached: {error}")]
        ) from error


@contextmanager
def _interruptible(cancelled: threading.Event, go_on: str) -> Iterator[None]:
    """The first Ctrl-C, or SIGTERM, which is how CI systems cancel a job, sets `cancelled`; the second ends at once."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        if cancelled.is_set():
            raise KeyboardInterrupt
        cancelled.set()
        common.complain(
            "Interrupted: running steps finish, no other begins. Ctrl-C again ends at once.\n"
            f"To go on later: {go_on}"
        )

    signals = (signal.SIGINT, signal.SIGTERM)
    previous = [signal.signal(number, interrupt) for number in signals]
    try:
        yield
    finally:
        for number, handler in zip(signals, previous, strict=True):
            signal.signal(number, handler)
