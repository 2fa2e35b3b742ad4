"""Find, load and verify plugins; the same path for ours and for everybody else's.

A plugin may be a safety check, so nothing about a broken one is overlooked: it stops the run. Entry points
are sorted, because the order in which distributions are found differs between machines; the output must not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

import pluggy

from kvmdecl import hooks
from kvmdecl.answers import OUTCOMES, Answer
from kvmdecl.diagnostics import Diagnostic, Rejected, Span, in_order
from kvmdecl.gates import Gate
from kvmdecl.manifest import Manifest, Section
from kvmdecl.policing import OfPlugin, PlanPolicy, PolicyVerdict
from kvmdecl.policy import Effect
from kvmdecl.rules import Rule
from kvmdecl.solver import CellPlace, Place, PlaceAnswer, PlaceRequest, Solver
from kvmdecl.state import Artifact, Definition
from kvmdecl.takeover import Takeovers
from kvmdecl.text import did_you_mean, quoted, safe_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from kvmdecl.cluster import PlacedCluster, ResolvedCluster
    from kvmdecl.facts import HostFacts
    from kvmdecl.manager import Manager, Reach
    from kvmdecl.notices import Notifier
    from kvmdecl.plan import Plan
    from kvmdecl.policing import PolicyContext
    from kvmdecl.state import HostState

HOOKS = tuple(sorted(name for name in vars(hooks) if name.startswith("kvmdecl_")))

_OURS = "kvmdecl"
_FILE = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_.@+-]*/)*[A-Za-z0-9_][A-Za-z0-9_.@+-]*", re.ASCII)
_RULE = re.compile(r"[a-z]+\.[a-z0-9]+(-[a-z0-9]+)*", re.ASCII)
_MANAGER = re.compile(r"[a-z][a-z0-9-]{0,30}", re.ASCII)
_MANAGES = ("observe", "compare", "shows", "perform", "status")
_SECTION = re.compile(r"[a-z][a-z0-9_]{0,62}", re.ASCII)
# `defaults` and `profiles` are gone by the time the models see the manifest.
_CORE_KEYS = frozenset(
    {"defaults", "profiles", *(field.alias or name for name, field in Manifest.model_fields.items())}
)


class PluginError(Rejected):
    """A plugin is broken; planning without it could be unsafe. Carries one `plugin.broken`."""


@dataclass(frozen=True, slots=True)
class PluginInfo:
    """A loaded plugin. `module` is what its entry point names; all names are sorted."""

    name: str
    version: str
    distribution: str
    module: str
    hooks: tuple[str, ...]
    sections: tuple[str, ...] = ()
    solvers: tuple[str, ...] = ()
    gates: tuple[str, ...] = ()

    @property
    def built_in(self) -> bool:
        """Whether it came with kvmdecl itself."""
        return self.distribution == _OURS


def load_plugins() -> Plugins:
    """Load every plugin that is installed, in order of name.

    Raises:
        PluginError: for the first plugin that does not load, or that answers what a hook does not allow.
    """
    manager = pluggy.PluginManager(hooks.GROUP)
    manager.add_hookspecs(hooks)
    loaded: list[PluginInfo] = []
    for entry in sorted(
        entry_points(group=hooks.GROUP), key=lambda entry: (entry.name, _distribution(entry))
    ):
        info = _describe(entry)
        _refuse_twin(info, loaded)
        with _blamed(info):
            _register(manager, entry)
        loaded.append(_with_hooks(info, manager))
    return Plugins(manager, loaded)


class Plugins:
    """The loaded plugins: one typed method per hook. What a plugin raises names the plugin."""

    def __init__(self, manager: pluggy.PluginManager, loaded: list[PluginInfo]) -> None:
        self._manager = manager
        self._loaded = tuple(loaded)
        self._sections = self._collect_named("kvmdecl_sections", _refuse_section)
        self._solvers = self._collect_named("kvmdecl_solvers", _refuse_solver)
        self._gates: dict[str, tuple[PluginInfo, Gate]] | None = None
        self._rules: tuple[Rule, ...] | None = None

    def installed(self) -> tuple[PluginInfo, ...]:
        """All plugins in order of name, with what they contribute."""
        return tuple(
            PluginInfo(
                info.name, info.version, info.distribution, info.module, info.hooks,
                sections=tuple(sorted(key for key, (owner, _) in self._sections.items() if owner is info)),
                solvers=tuple(sorted(name for name, (owner, _) in self._solvers.items() if owner is info)),
                gates=tuple(sorted(name for name, (owner, _) in self._offered_gates().items() if owner is info)),
            )
            for info in self._loaded
        )  # fmt: skip

    def sections(self) -> dict[str, type[Section]]:
        """Sections of the manifest that plugins bring, by key."""
        return {key: model for key, (_, model) in sorted(self._sections.items())}

    def solver(self, name: str, at: Span | None = None) -> Solver:
        """The solver of that name; `at` is where the manifest names it.

        Raises:
            Rejected: `plugin.unknown-solver`.
        """
        if name not in self._solvers:
            raise Rejected([_unknown("solver", name, self._solvers, at)])
        info, solve = self._solvers[name]
        return _Guarded(info, solve)

    def gate(self, name: str, at: Span | None = None) -> Gate:
        """The gate of that name; `at` is where the manifest names it.

        Raises:
            Rejected: `plugin.unknown-gate`.
        """
        offered = self._offered_gates()
        if name not in offered:
            raise Rejected([_unknown("gate", name, offered, at)])
        return offered[name][1]

    def _offered_gates(self) -> dict[str, tuple[PluginInfo, Gate]]:
        """Asked for when a manifest has gates: their models take time."""
        if self._gates is None:
            self._gates = self._collect_named("kvmdecl_gates", _refuse_gate)
        return self._gates

    def rules(self) -> tuple[Rule, ...]:
        """The rules of all plugins, in order of their codes.

        Raises:
            PluginError: a plugin offers something else than rules, or one that is there already.
        """
        if self._rules is None:
            found: dict[str, Rule] = {}
            for info, call in self._callers("kvmdecl_rules"):
                with _blamed(info):
                    for rule in call():
                        _refuse_rule(rule, found)
                        found[rule.code] = rule
            self._rules = tuple(found[code] for code in sorted(found))
        return self._rules

    def policies(self) -> tuple[OfPlugin, ...]:
        """The policies of all plugins, in order of their names; what one raises when it is asked names its plugin.

        Raises:
            PluginError: a plugin offers something else than policies, or one that is there already.
        """
        found: dict[str, OfPlugin] = {}
        for info, call in self._callers("kvmdecl_policies"):
            with _blamed(info):
                for policy in call():
                    _refuse_policy(policy, found)
                    guarded = replace(policy, judge=_GuardedPolicy(info, policy))
                    found[policy.name] = OfPlugin(info.name, guarded)
        return tuple(found[name] for name in sorted(found))

    def check(
        self, cluster: PlacedCluster, facts: Mapping[str, HostFacts], existing: Mapping[str, HostState]
    ) -> tuple[Diagnostic, ...]:
        """What the checks of all plugins found, in order of place.

        Raises:
            PluginError: a check failed, or returned something else than diagnostics.
        """
        return self._told_by("kvmdecl_check", cluster=cluster, facts=facts, existing=existing)

    def validate(self, cluster: ResolvedCluster) -> tuple[Diagnostic, ...]:
        """What all plugins found in a manifest without any host, in order of place.

        Raises:
            PluginError: a plugin failed, or returned something else than diagnostics.
        """
        return self._told_by("kvmdecl_validate", cluster=cluster)

    def _told_by(self, hook: str, **arguments: object) -> tuple[Diagnostic, ...]:
        found: list[Diagnostic] = []
        for info, call in self._callers(hook):
            with _blamed(info):
                # A hook may be a generator, which runs only here.
                findings = sorted(_diagnostics(hook, call(**arguments)), key=lambda d: d.sort_key)
            found += findings
        return in_order(found)

    def emit(self, cluster: PlacedCluster, facts: Mapping[str, HostFacts]) -> tuple[Artifact, ...]:
        """The files that all plugins write out, by section and path.

        Raises:
            PluginError: an emitter failed, or returned something else than files of its own sections.
            Rejected: by a plugin that cannot write its files, with the reasons.
        """
        written: list[Artifact] = []
        for info, call in self._callers("kvmdecl_emit"):
            own = {key for key, (owner, _) in self._sections.items() if owner is info}
            with _blamed(info):
                written += _artifacts(call(cluster=cluster, facts=facts), own)
        return tuple(sorted(written))

    def definitions(self, cluster: PlacedCluster, facts: Mapping[str, HostFacts]) -> tuple[Definition, ...]:
        """Where cluster managers find the definitions of vms that they run, by vm; nobody is asked if there are none.

        Raises:
            PluginError: a plugin failed, or returned something else, or two speak of one vm.
        """
        found: dict[str, Definition] = {}
        wanted = {vm.name for vm in cluster.cluster.vms if vm.spec.is_ha}
        for info, call in self._callers("kvmdecl_definitions") if wanted else ():
            with _blamed(info):
                for told in call(cluster=cluster, facts=facts):
                    if not isinstance(told, Definition):
                        raise TypeError(f"kvmdecl_definitions gave {type(told).__name__} and no Definition")
                    if told.vm not in wanted or told.vm in found:
                        raise ValueError(f"{told.vm!r} is no vm with `ha`, or has a definition already")
                    found[told.vm] = told
        return tuple(found[vm] for vm in sorted(found))

    def takeovers(
        self,
        cluster: PlacedCluster,
        facts: Mapping[str, HostFacts],
        running: Mapping[str, str],
        losses: Sequence[tuple[str, ...]],
    ) -> Takeovers | None:
        """What the cluster manager would do if hosts were lost; None if there is none.

        Raises:
            PluginError: a plugin failed, or returned something else, or two have an answer.
            Rejected: by a plugin that has none, with the reasons.
        """
        found: list[Takeovers] = []
        for info, call in self._callers("kvmdecl_takeover"):
            with _blamed(info):
                told = list(call(cluster=cluster, facts=facts, running=running, losses=losses))
                if not all(
                    isinstance(each, Takeovers) and len(each.takeovers) == len(losses) for each in told
                ):
                    raise TypeError("kvmdecl_takeover gave something else than Takeovers, one for each loss")
                found += told
                if len(found) > 1:
                    raise ValueError("there are two answers to kvmdecl_takeover")
        return next(iter(found), None)

    def managers(self) -> dict[str, Manager]:
        """The cluster managers of all plugins, by name.

        Raises:
            PluginError: an offer is none, or two have one name.
        """
        found = self._collect_named("kvmdecl_managers", _refuse_manager)
        return {name: manager for name, (_, manager) in sorted(found.items())}

    def notifiers(self) -> dict[str, Notifier]:
        """The notifiers of all plugins, by name.

        Raises:
            PluginError: an offer is none, or two have one name.
        """
        found = self._collect_named("kvmdecl_notifiers", _refuse_notifier)
        return {name: notifier for name, (_, notifier) in sorted(found.items())}

    def doctor(self, cluster: ResolvedCluster, reach: Reach, up: Collection[str]) -> tuple[Answer, ...]:
        """What plugins answer about hosts.

        Raises:
            PluginError: a plugin failed, or returned something else than answers about these hosts.
        """
        found: list[Answer] = []
        for info, call in self._callers("kvmdecl_doctor"):
            with _blamed(info):
                for told in call(cluster=cluster, reach=reach, up=up):
                    if (
                        not isinstance(told, Answer)
                        or told.host not in {"", *up}
                        or told.outcome not in OUTCOMES
                    ):
                        raise TypeError(
                            "kvmdecl_doctor gave something else than an Answer about one of these hosts"
                        )
                    found.append(told)
        return tuple(found)

    def _callers(self, hook: str) -> Iterator[tuple[PluginInfo, Any]]:
        """Each plugin that implements a hook, with a function that calls its implementation alone."""
        for info in self._loaded:
            if hook in info.hooks:
                others = [plugin for name, plugin in self._manager.list_name_plugin() if name != info.name]
                yield info, _first(self._manager.subset_hook_caller(hook, others))

    def _collect_named(self, hook: str, refuse: Any) -> dict[str, tuple[PluginInfo, Any]]:  # noqa: ANN401 - below
        """Merge what plugins offer by name; two offers with one name are an error."""
        offers: dict[str, tuple[PluginInfo, Any]] = {}
        for info, call in self._callers(hook):
            with _blamed(info):
                offered = dict(call())
                for name, value in sorted(offered.items()):
                    refuse(name, value)
                    if name in offers:
                        raise ValueError(
                            f"{name!r} of {hook} is also offered by plugin {offers[name][0].name}"
                        )
                    offers[name] = (info, value)
        return offers


@dataclass(frozen=True, slots=True)
class _Guarded:
    """A plugin's solver; its exceptions name the plugin."""

    info: PluginInfo
    solve: Solver

    def __call__(self, request: PlaceRequest, /) -> PlaceAnswer:
        with _blamed(self.info):
            answer = self.solve(request)
            _refuse_answer(answer)
            return answer


@dataclass(frozen=True, slots=True)
class _GuardedPolicy:
    """A plugin's policy; its exceptions name the plugin."""

    info: PluginInfo
    policy: PlanPolicy

    def __call__(self, plan: Plan, context: PolicyContext) -> Iterable[PolicyVerdict]:
        with _blamed(self.info):
            found = list(self.policy.judge(plan, context))
            for verdict in found:
                if not isinstance(verdict, PolicyVerdict):
                    raise TypeError(
                        f"policy {self.policy.name} gave {type(verdict).__name__} and no PolicyVerdict"
                    )
                Effect(verdict.effect)
            return found


@contextmanager
def _blamed(info: PluginInfo) -> Iterator[None]:
    """Turn whatever a plugin raises into an error that names it, but for what it rejects with a diagnostic."""
    try:
        yield
    except Rejected:  # what is wrong is the user's, and said
        raise
    except (Exception, SystemExit) as error:
        raise _broken(info, f"{type(error).__name__}: {error}") from error


def _broken(info: PluginInfo, reason: str) -> PluginError:
    name, distribution = safe_text(info.name), safe_text(f"{info.distribution} {info.version}".strip())
    return PluginError(
        [
            Diagnostic(
                "plugin.broken",
                f"plugin {name} of {distribution} is broken: {safe_text(reason)}",
                cause="A plugin may hold a safety check, so nothing is done without it.",
                hint=f"repair, update or uninstall {safe_text(info.distribution)}",
                subject=f"plugin/{name}",
            )
        ]
    )


def _refuse_twin(info: PluginInfo, loaded: list[PluginInfo]) -> None:
    twin = next((other for other in loaded if other.name == info.name), None)
    if twin is not None:
        raise _broken(info, f"{twin.distribution} {twin.version} offers a plugin of the same name")


def _register(manager: pluggy.PluginManager, entry: EntryPoint) -> None:
    plugin = entry.load()
    manager.register(plugin, name=entry.name)
    if not manager.get_hookcallers(plugin):
        raise TypeError(f"{entry.value} has no hook; is each of them marked with @hookimpl?")
    manager.check_pending()  # a misspelt hook would otherwise never be called, and nobody would notice


def _with_hooks(info: PluginInfo, manager: pluggy.PluginManager) -> PluginInfo:
    callers = manager.get_hookcallers(manager.get_plugin(info.name)) or []
    names = tuple(sorted(caller.name for caller in callers))
    return PluginInfo(info.name, info.version, info.distribution, info.module, names)


def _describe(entry: EntryPoint) -> PluginInfo:
    version = entry.dist.version if entry.dist is not None else ""
    return PluginInfo(entry.name, version, _distribution(entry), entry.module, ())


def _distribution(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else ""


def _first(caller: pluggy.HookCaller) -> Any:  # noqa: ANN401 - pluggy's hooks have no types; the methods above give them
    def call(**arguments: object) -> Any:  # noqa: ANN401 - as above
        results = caller(**arguments)
        if not results:
            raise TypeError(f"{caller.name} returned None")
        return results[0]

    return call


def _diagnostics(hook: str, result: Any) -> Iterator[Diagnostic]:  # noqa: ANN401 - whatever the plugin returned
    for item in result:
        if not isinstance(item, Diagnostic):
            raise TypeError(f"{hook} gave {type(item).__name__} and no Diagnostic")
        yield item


def _artifacts(result: Any, sections: set[str]) -> list[Artifact]:  # noqa: ANN401 - whatever the plugin returned
    found: list[Artifact] = []
    for item in result:
        if not isinstance(item, Artifact):
            raise TypeError(f"kvmdecl_emit gave {type(item).__name__} and no Artifact")
        if item.section not in sections:
            raise ValueError(f"the section {item.section!r} of an artifact is none of this plugin's")
        if not _FILE.fullmatch(item.path):
            raise ValueError(f"{item.path!r} is no path of an artifact")
        if any((item.section, item.path) == (other.section, other.path) for other in found):
            raise ValueError(f"{item.path!r} is written twice")
        found.append(item)
    return found


def _refuse_section(key: object, model: object) -> None:
    if not isinstance(key, str) or not _SECTION.fullmatch(key):
        raise ValueError(f"{key!r} is no section key: lower case letters, digits and `_`")
    if key in _CORE_KEYS:
        raise ValueError(f"the section {key!r} belongs to kvmdecl")
    if not (isinstance(model, type) and issubclass(model, Section)):
        raise TypeError(f"the model of section {key!r} is no subclass of Section")


def _refuse_solver(name: object, solve: object) -> None:
    if not isinstance(name, str) or not name:
        raise ValueError(f"{name!r} is no solver name")
    if not callable(solve):
        raise TypeError(f"the solver {name!r} cannot be called")


def _refuse_gate(name: object, gate: object) -> None:
    if not isinstance(name, str) or not name:
        raise ValueError(f"{name!r} is no name of a gate")
    if not isinstance(gate, Gate):
        raise TypeError(f"what is offered as gate {name!r} is no Gate")


def _unknown(what: str, name: str, known: Mapping[str, object], at: Span | None) -> Diagnostic:
    return Diagnostic(
        f"plugin.unknown-{what}",
        f"no plugin offers the {what} {quoted(name)}",
        at,
        f"Installed {what}s: {', '.join(sorted(known)) or 'none'}.",
        did_you_mean(name, known) or "`kvmdecl plugins` lists what is installed",
    )


def _refuse_manager(name: object, manager: object) -> None:
    if not isinstance(name, str) or not _MANAGER.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a cluster manager: lower case letters, digits and `-`")
    if not all(callable(getattr(manager, each, None)) for each in _MANAGES):
        raise TypeError(f"the cluster manager {name!r} lacks one of {', '.join(_MANAGES)}")


def _refuse_notifier(name: object, notifier: object) -> None:
    if not isinstance(name, str) or not _MANAGER.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a notifier: lower case letters, digits and `-`")
    if not callable(notifier):
        raise TypeError(f"the notifier {name!r} cannot be called")


def _refuse_policy(policy: object, known: Mapping[str, OfPlugin]) -> None:
    if not isinstance(policy, PlanPolicy):
        raise TypeError(f"kvmdecl_policies gave {type(policy).__name__} and no PlanPolicy")
    if not _MANAGER.fullmatch(policy.name):
        raise ValueError(f"{policy.name!r} is no name of a policy: lower case letters, digits and `-`")
    if policy.name in known:
        raise ValueError(f"the policy {policy.name} is also offered by plugin {known[policy.name].plugin}")


def _refuse_rule(rule: object, known: Mapping[str, Rule]) -> None:
    if not isinstance(rule, Rule):
        raise TypeError(f"kvmdecl_rules gave {type(rule).__name__} and no Rule")
    if not _RULE.fullmatch(rule.code):
        raise ValueError(f"{rule.code!r} is no code of a rule: `group.name` in lower case")
    if rule.code in known:
        raise ValueError(f"the rule {rule.code} is there already")


def _refuse_answer(answer: object) -> None:
    """What an answer is made of is looked at here; who judges it relies on that."""
    if not isinstance(answer, PlaceAnswer):
        raise TypeError(f"the solver returned {type(answer).__name__} and no PlaceAnswer")
    if not _is_map(answer.hosts, lambda host: isinstance(host, str)):
        raise TypeError("the solver's `hosts` are not names of hosts by name of vm")
    if not _is_map(answer.refused, lambda why: _is_map(why, lambda text: isinstance(text, str))):
        raise TypeError("the solver's `refused` are not reasons by name of host by name of vm")
    if not _is_map(answer.places, _is_place):
        raise TypeError(
            "the solver's `places` are not made of Place and CellPlace, with tuples of whole numbers"
        )


def _is_map(value: object, is_right: Callable[[object], bool]) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(key, str) and is_right(each) for key, each in value.items()
    )


def _is_place(place: object) -> bool:
    return (
        isinstance(place, Place)
        and isinstance(place.host, str)
        and _is_tuple(place.cells, _is_cell)
        and _is_tuple(place.emulator, _is_number)
        and _is_tuple(place.io_threads, _is_number)
        and _is_tuple(place.devices, lambda of: _is_tuple(of, lambda address: isinstance(address, str)))
    )


def _is_cell(cell: object) -> bool:
    return (
        isinstance(cell, CellPlace)
        and _is_number(cell.home)
        and _is_tuple(cell.memory, lambda part: _is_tuple(part, _is_number, 3))
        and _is_tuple(cell.pins, lambda part: _is_tuple(part, _is_number, 2))
        and _is_tuple(cell.floating, lambda part: _is_tuple(part, _is_number, 2))
    )


def _is_tuple(value: object, is_right: Callable[[object], bool], length: int | None = None) -> bool:
    return isinstance(value, tuple) and length in {None, len(value)} and all(map(is_right, value))


def _is_number(value: object) -> bool:
    return type(value) is int
