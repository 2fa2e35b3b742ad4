"""A plan that comes from a file: what it shows must be what it does, and must still not run a guest twice.

A saved plan is what somebody reviewed, and it may have been edited or have lain for a week. `require_consistent`
looks at the file alone; `retrace` plans every step again from its task and the hosts as they are now.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain

from pydantic_core import PydanticCustomError

from kvmdecl.diagnostics import Diagnostic, Rejected, in_order
from kvmdecl.hosts.checkin import other_machine
from kvmdecl.libvirt_xml.fingerprint import ABSENT, fingerprint
from kvmdecl.libvirt_xml.observed import parse_head
from kvmdecl.libvirt_xml.safe import BadXml
from kvmdecl.libvirt_xml.secret import parse_secret, usage_id
from kvmdecl.manifest.secrets import ENV_PREFIX
from kvmdecl.names import DIGEST_LENGTH, derive_uuid, parse_name
from kvmdecl.plan import Action, HostStatus, Plan, PlannedHost, Step
from kvmdecl.planner.definitions import plan_absent_definition, plan_definition
from kvmdecl.planner.domains import plan_absent_domain, plan_domain
from kvmdecl.planner.filters import plan_absent_filter, plan_filter
from kvmdecl.planner.moves import copy_deleted, leave, plan_move
from kvmdecl.planner.networks import plan_absent_network, plan_network
from kvmdecl.planner.pools import plan_absent_pool, plan_pool
from kvmdecl.planner.secrets import plan_absent_secret, plan_secret
from kvmdecl.planner.settings import plan_settings
from kvmdecl.planner.verdict import HostView, Verdict, host_views
from kvmdecl.planner.volumes import plan_volume
from kvmdecl.settings import HUGE_PAGES, KSM
from kvmdecl.state import (
    DEFINITION_SUFFIX,
    Absent,
    Address,
    Definition,
    DesiredDefinition,
    DesiredDomain,
    DesiredFilter,
    DesiredNetwork,
    DesiredPool,
    DesiredSecret,
    DesiredSettings,
    DesiredVolume,
    FileContent,
    HostSnapshot,
    Kind,
    Observation,
    Observed,
    ObservedDomain,
    Restart,
    Role,
    SecretSource,
    SeedContent,
)
from kvmdecl.tasks import (
    AdoptDomain,
    ChangeSnapshots,
    ConfigureManager,
    CreatePool,
    CreateVolume,
    DefineDomain,
    DefineFilter,
    DefineNetwork,
    DefineSecret,
    DeleteDefinition,
    DeleteDomain,
    DeleteFilter,
    DeleteNetwork,
    DeletePool,
    DeleteSecret,
    DeleteVolume,
    HandOverDomain,
    LeaveDomain,
    MoveDomain,
    ResizeVolume,
    RevertSnapshot,
    Task,
    UpdateDomain,
    UpdateHost,
    UpdatePool,
    WriteDefinition,
)
from kvmdecl.text import quoted

_KINDS: Mapping[type[Task], Kind] = {
    ConfigureManager: Kind.CLUSTER,
    UpdateHost: Kind.HOST,
    DefineSecret: Kind.SECRET,
    DeleteSecret: Kind.SECRET,
    CreatePool: Kind.POOL,
    UpdatePool: Kind.POOL,
    DeletePool: Kind.POOL,
    DefineNetwork: Kind.NETWORK,
    DeleteNetwork: Kind.NETWORK,
    DefineFilter: Kind.NWFILTER,
    DeleteFilter: Kind.NWFILTER,
    CreateVolume: Kind.VOLUME,
    ResizeVolume: Kind.VOLUME,
    DeleteVolume: Kind.VOLUME,
    WriteDefinition: Kind.VOLUME,
    DeleteDefinition: Kind.VOLUME,
    DefineDomain: Kind.DOMAIN,
    UpdateDomain: Kind.DOMAIN,
    HandOverDomain: Kind.DOMAIN,
    AdoptDomain: Kind.DOMAIN,
    DeleteDomain: Kind.DOMAIN,
    MoveDomain: Kind.DOMAIN,
    LeaveDomain: Kind.DOMAIN,
    ChangeSnapshots: Kind.DOMAIN,
    RevertSnapshot: Kind.DOMAIN,
}


def require_consistent(plan: Plan) -> None:
    """Make sure that each step's task is about the step's own object, on a host of the plan, and does what it says.

    Raises:
        Rejected: `plan.inconsistent`, for every step that is not what it seems.
    """
    hosts = {host.name: host for host in plan.hosts}
    found = [_inconsistent(plan.cluster, why) for why in _plan_faults(plan)]
    found += (
        _inconsistent(str(step.address), why)
        for step in plan.steps
        if (why := next(_faults(step, plan, hosts), None))
    )
    if found:
        raise Rejected(found)


def retrace(plan: Plan, observations: Mapping[str, Observation]) -> Plan:
    """Plan each step again from its task, and hold back guests that may be elsewhere by now.

    A step whose object moved since is left as it is: the host refuses it by name. So is one on a host that does not
    answer. What remains has to come out the same, or else the file shows something that it does not do.

    Args:
        plan: consistent.
        observations: of all hosts of the plan, now.

    Raises:
        Rejected: `plan.inconsistent`; `host.other-machine` for each host whose URI leads elsewhere by now.
    """
    if other := list(_other_machines(plan, observations)):
        raise Rejected(other)
    views = host_views(plan.cluster, plan.revision, observations)
    found = [
        _inconsistent(str(step.address), "what it shows is not what comes of its task")
        for step in plan.steps
        if views.keys() >= set(step.hosts) and not _same(step, views)
    ]
    if found:
        raise Rejected(found)
    return _without_second_copies(plan, views)


# -- the file alone -----------------------------------------------------------------------------------------


def _plan_faults(plan: Plan) -> Iterator[str]:
    if not _is_name(plan.cluster):
        yield f"{quoted(plan.cluster)} is no name of a cluster"
    for name, count in Counter(host.name for host in plan.hosts).items():
        if count > 1 or not _is_name(name):
            yield f"its host {quoted(name)} is there twice, or has no name that a host can have"
    if plan.members and not {host.name for host in plan.hosts} <= {member.name for member in plan.members}:
        yield "its hosts would not remember each other"
    waves = plan.rollout.waves if plan.rollout else ()
    if waves and sorted(host for wave in waves for host in wave.hosts) != sorted(h.name for h in plan.hosts):
        yield "its waves are not made of its hosts"
    named = {host.name for host in plan.hosts}
    if any(
        guest.host not in named or guest.kind is not Kind.DOMAIN for wave in waves for guest in wave.guests
    ):
        yield "its gates ask about what is no guest of its hosts"


def _faults(step: Step, plan: Plan, hosts: Mapping[str, PlannedHost]) -> Iterator[str]:
    address, task = step.address, step.task
    if isinstance(task, ConfigureManager):
        yield from _manager_faults(step, task, plan)
        return
    answered = {name for name, host in hosts.items() if host.status is HostStatus.OK}
    other = {task.peer} - {""} if isinstance(task, MoveDomain | LeaveDomain) else set[str]()
    if not answered.issuperset({*step.hosts, *other}):
        yield "its host is not among the plan's hosts that answered"
    if (_KINDS[type(task)], _target(task)) != (address.kind, address.name):
        yield "its task is about another object"
    if not all(_is_file_name(part) for part in address.name.split("/")):
        yield "no object of a manifest has such a name"
    if step.action is not _action(step):
        yield f"its task does not {step.action} it"
    if any(change.impact > step.impact for change in step.changes):
        yield "one of its changes does more to the guest than the step says"
    yield from _identity_faults(task, plan)


def _manager_faults(step: Step, task: ConfigureManager, plan: Plan) -> Iterator[str]:
    if step.address != Address(task.manager, Kind.CLUSTER, plan.cluster) or task.cluster != plan.cluster:
        yield "its task is about another object"
    if step.action not in {Action.CREATE, Action.UPDATE}:
        yield f"its task does not {step.action} it"
    if any(change.impact > step.impact for change in step.changes):
        yield "one of its changes does more to the guest than the step says"
    told = {
        f"{each.vm}: {each.fate}"
        for manager in plan.managers
        if manager.name == task.manager
        for each in manager.prospects
    }
    if not told.issuperset(task.interrupts):
        yield "it may do more to guests than the plan says"


def not_as_shown(step: Step) -> Diagnostic:
    """The diagnostic for a step of a file that shows something else than it does."""
    return _inconsistent(str(step.address), "what it shows is not what comes of its task")


def _identity_faults(task: Task, plan: Plan) -> Iterator[str]:
    if isinstance(task, CreateVolume | ResizeVolume | DeleteVolume):
        if isinstance(task, CreateVolume):
            yield from _content_faults(task)
        return
    if isinstance(task, ConfigureManager):
        return
    if isinstance(task, WriteDefinition | DeleteDefinition):
        if task.name != f"{task.owner}{DEFINITION_SUFFIX}":
            yield "it is the file of another guest"
        if isinstance(task, WriteDefinition):
            yield from _head_faults(task.xml, Kind.DOMAIN, (task.owner, task.uuid))
        return
    if isinstance(task, UpdateHost):
        if task.name not in {HUGE_PAGES, KSM}:
            yield "a host has no such settings"
        return
    kind = _KINDS[type(task)]
    # A domain's may have been given; then its marker on the host says whose it is, and `retrace` looks at that.
    if kind is not Kind.DOMAIN and task.uuid != derive_uuid(plan.cluster, kind, task.name):
        yield "its UUID is not the one of this cluster's object of that name"
    if isinstance(task, DefineDomain | AdoptDomain | MoveDomain) and (task.cluster, task.revision) != (
        plan.cluster,
        plan.revision,
    ):
        yield "its task is one of another plan"
    if isinstance(task, DefineSecret):
        yield from _secret_faults(task, plan.cluster)
    if isinstance(
        task,
        CreatePool
        | DefineNetwork
        | DefineFilter
        | DefineDomain
        | UpdateDomain
        | HandOverDomain
        | AdoptDomain
        | MoveDomain,
    ):
        yield from _head_faults(task.xml, kind, (task.name, task.uuid))


def _head_faults(xml: str, kind: Kind, expected: tuple[str, str]) -> Iterator[str]:
    try:
        head = parse_head(xml, kind.tag)
    except BadXml as error:
        yield f"its definition cannot be read: {error}"
        return
    if (head.name, head.uuid) != expected:
        yield "its definition is that of another object"


def _secret_faults(task: DefineSecret, cluster: str) -> Iterator[str]:
    """Its value comes from where a manifest could say, and goes where the step says."""
    try:
        said = parse_secret(task.xml)
    except BadXml as error:
        yield f"its definition cannot be read: {error}"
        return
    if (said.uuid, said.usage, said.usage_id) != (
        task.uuid,
        task.usage,
        usage_id(cluster, task.usage, task.name),
    ):
        yield "its definition is that of another object"
    yield from _source_faults(task.source)


def _source_faults(source: SecretSource) -> Iterator[str]:
    """A value comes from where a manifest could say."""
    is_below = os.path.relpath(source.file or ".", source.folder or ".").split("/")[0] != ".."
    if source.file and (source.env or not is_below):
        yield "its value is in no file of the manifest's folder"
    if not source.file and not source.env.startswith(ENV_PREFIX):
        yield "its value is in no variable that a manifest can name"


def _content_faults(task: CreateVolume) -> Iterator[str]:
    """The name of an image and of a seed carries the digest of what is in it; a disk starts without content."""
    expected = {Role.DISK: type(None), Role.IMAGE: FileContent, Role.SEED: SeedContent}
    if task.role not in expected or type(task.content) is not expected[Role(task.role)]:
        yield f"a volume with this content is no {task.role}"
    elif task.content is not None and task.content.sha256[:DIGEST_LENGTH] not in task.name.split("."):
        yield "its content is not the one that its name tells"
    if isinstance(task.content, SeedContent):
        yield from chain.from_iterable(_source_faults(secret.source) for secret in task.content.secrets)
    if task.role != Role.IMAGE and not task.name.startswith(f"{task.owner}."):
        yield "it belongs to another guest"


def _target(task: Task) -> str:
    if isinstance(task, CreateVolume | ResizeVolume | DeleteVolume | WriteDefinition | DeleteDefinition):
        return f"{task.pool}/{task.name}"
    return task.cluster if isinstance(task, ConfigureManager) else task.name


def _action(step: Step) -> Action:
    match step.task:
        case (
            DeleteDefinition()
            | DeleteSecret()
            | DeletePool()
            | DeleteNetwork()
            | DeleteFilter()
            | DeleteVolume()
            | DeleteDomain()
        ):
            return Action.DELETE
        case UpdateHost() | UpdatePool() | ResizeVolume() | UpdateDomain() | HandOverDomain():
            return Action.UPDATE
        case CreatePool() | CreateVolume():
            return Action.CREATE
        case AdoptDomain():
            return Action.ADOPT
        case WriteDefinition(take_over=True):
            return Action.ADOPT
        case MoveDomain() | LeaveDomain():
            return Action.MOVE
    if step.action is Action.ADOPT and isinstance(step.task, DefineDomain) and step.precondition != ABSENT:
        return Action.ADOPT
    return Action.CREATE if step.precondition == ABSENT else Action.UPDATE


def _is_name(text: str) -> bool:
    try:
        return bool(parse_name(text))
    except PydanticCustomError:
        return False


def _is_file_name(text: str) -> bool:
    """A name, or several with dots between them as volumes have, of any length."""
    return bool(text) and ".." not in text and all(_is_name(part) for part in text.split("."))


# -- with the hosts -----------------------------------------------------------------------------------------


def _other_machines(plan: Plan, observations: Mapping[str, Observation]) -> Iterator[Diagnostic]:
    for host in plan.hosts:
        seen = observations.get(host.name)
        if host.machine and isinstance(seen, HostSnapshot) and seen.facts.uuid != host.machine:
            yield other_machine(host.name, host.machine, seen.facts.uuid)


def _same(step: Step, views: Mapping[str, HostView]) -> bool:
    try:
        observed = observed_at(step.seat, views[step.seat.host])
        if fingerprint(observed) != step.precondition:
            return True  # the host will refuse it
        again = plan_again(step, observed, views).step
    except (BadXml, LookupError):
        return False
    return again is not None and _core(again) == _core(step)


def _core(step: Step) -> Step:
    """What a step shows and does, without where the manifest says so and what else the plan makes it wait for."""
    return replace(
        step, changes=tuple(replace(change, at=None) for change in step.changes), after=(), at=None
    )


def observed_at(address: Address, view: HostView) -> Observed | None:
    """The object of a step as a host has it, None if it has none."""
    if address.kind is Kind.SECRET:
        return view.secrets.get(derive_uuid(view.cluster, Kind.SECRET, address.name))
    things: Mapping[Kind, Mapping[str, Observed]] = {
        Kind.HOST: view.settings,
        Kind.POOL: view.pools,
        Kind.NETWORK: view.networks,
        Kind.NWFILTER: view.filters,
        Kind.VOLUME: view.volumes,
        Kind.DOMAIN: view.domains,
    }
    return things[address.kind].get(address.name)


def plan_again(step: Step, observed: Observed | None, views: Mapping[str, HostView]) -> Verdict:
    """Plan a step from its task, against its object as it is now."""
    view = views[step.address.host]
    match step.task:
        case MoveDomain() as task:
            active = isinstance(observed, ObservedDomain) and observed.active
            if observed is None and task.uuid in view.domains_by_uuid:
                arrived = _declared_move(step.address, task, active=task.live)
                return plan_domain(replace(arrived, moves_from=""), view)
            return _as_part(
                plan_move(_declared_move(step.address, task, active=active), view, views[task.source]), task
            )
        case LeaveDomain() as task:
            stale = observed if isinstance(observed, ObservedDomain) else None
            return Verdict(leave(step.address, task, stale, step.at))
        case UpdateHost() as task:
            return plan_settings(DesiredSettings(step.address, task.values), view)
        case DefineSecret() as task:
            return plan_secret(_declared_secret(step.address, task), view)
        case DeleteSecret() as task:
            return plan_absent_secret(Absent(step.address), task.uuid, view)
        case CreatePool() as task:
            declared = DesiredPool(step.address, task.uuid, task.xml, task.autostart, task.build)
            return plan_pool(declared, view)
        case UpdatePool() as task:
            xml = view.pools[task.name].xml
            return plan_pool(DesiredPool(step.address, task.uuid, xml, task.autostart, task.build), view)
        case DeletePool() as task:
            return plan_absent_pool(Absent(step.address), task.uuid, view)
        case DefineNetwork() as task:
            return plan_network(DesiredNetwork(step.address, task.uuid, task.xml, task.autostart), view)
        case DeleteNetwork() as task:
            return plan_absent_network(Absent(step.address), task.uuid, view)
        case DefineFilter() as task:
            return plan_filter(DesiredFilter(step.address, task.uuid, task.xml), view)
        case DeleteFilter() as task:
            return plan_absent_filter(Absent(step.address), task.uuid, view)
        case CreateVolume() | ResizeVolume() as task:
            return plan_volume(_declared_volume(step.address, task, view), view)
        case DefineDomain() as task:
            keeps_running = isinstance(observed, ObservedDomain) and observed.active and task.power == "keep"
            running = task.power in {"start", "restart", "resume"} or keeps_running
            restart: Restart = "now" if task.power == "restart" else "never"
            return plan_domain(
                DesiredDomain(
                    step.address,
                    task.uuid,
                    task.xml,
                    running,
                    task.autostart,
                    restart,
                    task.power_off,
                    task.agent_within,
                ),
                view,
            )
        case WriteDefinition() as task:
            return plan_definition(_declared_definition(step.address, task, view), view)
        case DeleteDefinition() as task:
            return plan_absent_definition(Absent(step.address, uuid=task.uuid, run_by=task.by), view)
        case UpdateDomain() | HandOverDomain() as task:
            return plan_domain(_declared_guest(step.address, task), view)
        case AdoptDomain() as task:
            seen = view.domains[task.name]
            return plan_domain(
                DesiredDomain(step.address, task.uuid, task.xml, seen.active, seen.autostart), view
            )
        case DeleteDomain() as task:
            return plan_absent_domain(Absent(step.address, power_off=task.power_off), task.uuid, view)
        case DeleteVolume():
            return Verdict(
                copy_deleted(step.address.name, view, step.at)
            )  # no other one is deleted by a saved plan
        case ChangeSnapshots() | RevertSnapshot():
            return Verdict()  # no plan that is saved takes a snapshot or goes back to one
        case ConfigureManager():
            return Verdict()  # its plugin says what it is


def _as_part(verdict: Verdict, task: MoveDomain) -> Verdict:
    """A move that is a part of a guest's way is planned as a whole one; it passes by, all the same."""
    again = verdict.step
    if again is None or not isinstance(again.task, MoveDomain):
        return verdict
    return replace(verdict, step=replace(again, task=replace(again.task, passing=task.passing)))


def _declared_move(address: Address, task: MoveDomain, *, active: bool) -> DesiredDomain:
    restart: Restart = "now" if task.power == "restart" else "never"
    return DesiredDomain(
        address,
        task.uuid,
        task.xml,
        task.power in {"start", "restart"} or (active and task.power == "keep"),
        task.autostart,
        restart,
        task.power_off,
        task.agent_within,
        moves_from=task.source,
        migration=task.policy,
        copied=tuple(volume for _, volume in task.copied),
        devices=task.devices,
    )


def _declared_secret(address: Address, task: DefineSecret) -> DesiredSecret:
    said = parse_secret(task.xml)
    return DesiredSecret(
        address, task.uuid, said.usage, said.usage_id, said.ephemeral, task.version, task.source, task.xml
    )


def _declared_volume(address: Address, task: CreateVolume | ResizeVolume, view: HostView) -> DesiredVolume:
    if isinstance(task, CreateVolume):
        return DesiredVolume(
            address, Role(task.role), task.format, task.capacity, task.preallocation, task.backing, task.content,
            task.owner or None, encryption=task.encryption, options=task.options, clone=task.clone,
            moves_from=task.moves_from,
        )  # fmt: skip
    entry = view.around.entry(address.name) if task.maker else view.ledger.find(Kind.VOLUME, address.name)
    owner = entry.owner if entry else None
    volume = view.volumes[address.name]
    encryption = "" if volume.encrypted else None  # with which secret matters only where one is made
    return DesiredVolume(
        address,
        Role.DISK,
        volume.format,
        task.capacity,
        vm=owner,
        encryption=encryption,
        shared=bool(task.maker),
    )


def _declared_definition(address: Address, task: WriteDefinition, view: HostView) -> DesiredDefinition:
    is_shared = view.ledger.find(Kind.VOLUME, address.name) is None and not task.take_over
    return DesiredDefinition(
        address, task.owner, task.uuid, task.xml, task.by, shared=is_shared, readers=task.readers
    )


def _declared_guest(address: Address, task: UpdateDomain | HandOverDomain) -> DesiredDomain:
    run_by = Definition(task.name, task.file.partition("/")[0], (), task.by)
    return DesiredDomain(address, task.uuid, task.xml, None, autostart=False, run_by=run_by)


def _without_second_copies(plan: Plan, views: Mapping[str, HostView]) -> Plan:
    """Take out guests that another host has by now, or a host that has fallen silent may have, and their volumes."""
    fell_silent = [
        host.name for host in plan.hosts if host.status is HostStatus.OK and host.name not in views
    ]
    held = {
        step.task.name: found
        for step in plan.steps
        if isinstance(step.task, DefineDomain) and step.action is Action.CREATE
        if (found := _elsewhere(step, step.task.uuid, views.values(), fell_silent))
    }
    gone = {step.address for step in plan.steps if step.guest in held}
    steps = tuple(
        replace(step, after=tuple(address for address in step.after if address not in gone))
        for step in plan.steps
        if step.address not in gone
    )
    return replace(plan, steps=steps, blocked=in_order([*plan.blocked, *held.values()]))


def _elsewhere(step: Step, uuid: str, views: Iterable[HostView], fell_silent: list[str]) -> Diagnostic | None:
    others = [view.host for view in views if view.host != step.address.host and uuid in view.domains_by_uuid]
    unknown = [host for host in fell_silent if host != step.address.host]
    if not others and not unknown:
        return None
    where = (
        f"{' and '.join(others)} has it" if others else f"{' and '.join(unknown)} fell silent and may have it"
    )
    return Diagnostic(
        code="plan.second-copy",
        summary=f"{step.address} is not made: since the plan was made, {where}",
        at=step.at,
        cause="A guest that runs twice destroys its data or fights its twin for its address.",
        hint="plan again.",
        subject=str(step.address),
    )


def _inconsistent(subject: str, why: str) -> Diagnostic:
    return Diagnostic(
        code="plan.inconsistent",
        summary=f"the saved plan is not what it seems: {quoted(subject)}: {why}",
        cause="What a plan shows must be what it does. The file was edited, or another version of kvmdecl wrote it.",
        hint="make a new plan and review it.",
        subject=subject,
    )
