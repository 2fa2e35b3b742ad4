"""The hooks of plugins. These docstrings are the manual; `docs/plugins.md` shows the hooks at work.

A plugin is a module with functions of these names, each marked `@hookimpl`, that its distribution declares in
the entry-point group `kvmdecl`. Hooks take frozen values and return values; nothing is ever changed in place.
A plugin imports `kvmdecl.api` and its own modules. Arguments that it does not need it may leave out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from kvmdecl.answers import Answer
    from kvmdecl.cluster import PlacedCluster, ResolvedCluster
    from kvmdecl.diagnostics import Diagnostic
    from kvmdecl.facts import HostFacts
    from kvmdecl.gates import Gate
    from kvmdecl.manager import Manager, Reach
    from kvmdecl.manifest import Section
    from kvmdecl.notices import Notifier
    from kvmdecl.policing import PlanPolicy
    from kvmdecl.rules import Rule
    from kvmdecl.solver import Solver
    from kvmdecl.state import Artifact, Definition, HostState
    from kvmdecl.takeover import Takeovers

GROUP = "kvmdecl"

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


@hookspec
def kvmdecl_sections() -> Mapping[str, type[Section]]:
    """Add sections to the manifest.

    Called once, before a manifest is read. The validated section is in `ResolvedCluster.sections` under its
    key; a section that the manifest does not have is not there.

    Returns:
        Key at the top of the manifest -> model, a subclass of `Section` with a docstring per field. A key is
        lower case letters, digits and `_`. A key that kvmdecl or another plugin uses is an error. What the keys of a
        model were called before, its `formerly` tells (`Renamed`).
    """
    raise NotImplementedError


@hookspec
def kvmdecl_solvers() -> Mapping[str, Solver]:
    """Offer placement solvers; the manifest chooses one by name: `placement: NAME`.

    Called once. The solver that was chosen is called with the vms that name no host and are on none yet, and
    with the hosts that answered. It must be a pure function: no clock, no random numbers, nothing read.

    Its answer is judged before it is used, by what it was asked and nothing else. One that breaks a rule is not used
    in part either: the run stops with `placement.bad-answer`, which says of each rule who breaks it and by how
    much. The rules are those of `Solver`, below.

    Returns:
        Name -> solver. Two solvers with one name are an error.
    """
    raise NotImplementedError


@hookspec
def kvmdecl_gates() -> Mapping[str, Gate]:
    """Offer gates: what has to hold after a wave of a rollout before the next one begins.

    Called once. The manifest chooses them by name, `rollout: {gates: [NAME]}`, and says in `with` what they are told.
    A gate looks only while a plan is carried out, and again until it is decided. One that raises is inconclusive.

    Returns:
        Name -> gate. Two gates with one name are an error.
    """
    raise NotImplementedError


@hookspec
def kvmdecl_rules() -> Iterable[Rule]:
    """Offer rules: known pitfalls, which are looked for in manifests and on hosts.

    Called once, when rules are asked for. What the manifest says under `rules:` decides which of them hold and what is
    accepted; a rule only finds. Unlike a check it also runs in `kvmdecl validate`, without any host.

    Returns:
        Rules. A code is `GROUP.NAME`; two rules with one code are an error. Its page is `codes/CODE.md` in the
        plugin's package (`kvmdecl explain CODE`).
    """
    raise NotImplementedError


@hookspec
def kvmdecl_policies() -> Iterable[PlanPolicy]:
    """Offer policies: functions that look at a finished plan and say what of it must not be carried out.

    Called once, when a plan is made or carried out. A policy is judged both times, so that a saved plan is, too: the
    plan is a frozen value, and the context says who asks, from where and, while it is carried out, when. It must be a
    pure function: nothing read, no random numbers.

    Returns:
        Policies; two with one name are an error. A file of policies accepts what one finds by its name
        (`waive: [{policy: NAME, ...}]`), a manifest cannot.
    """
    raise NotImplementedError


@hookspec
def kvmdecl_notifiers() -> Mapping[str, Notifier]:
    """Offer notifiers: they tell others what a run does and how it ended, and of drift.

    Called once, when a plan is carried out or drift was looked for. A notifier is a function of an iterator that gives
    each notice when there is one (`kvmdecl schema notices`), the last of a run always `run-ended`, also if kvmdecl was
    killed. It runs in a process of its own, where this hook is called again: it can be as slow as it likes, and fail.
    Nothing waits for it but the end of the command, for 10 seconds at most. What it prints goes nowhere, and what it
    raises is told as a warning: neither should hold a secret.

    Returns:
        Name -> notifier; none where nobody is to be told. Two notifiers with one name are an error.
    """
    raise NotImplementedError


@hookspec
def kvmdecl_validate(cluster: ResolvedCluster) -> Iterable[Diagnostic]:
    """Find what cannot work, or should not be, whatever the hosts are.

    Called by `kvmdecl validate` and `kvmdecl diff`, which read no host. A plan calls `kvmdecl_check`, which has to find
    this, too. An error stops the command; warnings are accepted by their codes where `rules:` says so.

    Args:
        cluster: the manifest, linked. Most of its vms have no host yet.

    Returns:
        Findings, as `kvmdecl_check` returns them.
    """
    raise NotImplementedError


@hookspec
def kvmdecl_check(
    cluster: PlacedCluster, facts: Mapping[str, HostFacts], existing: Mapping[str, HostState]
) -> Iterable[Diagnostic]:
    """Find what cannot work, or should not be, before any host is touched.

    Called after placement, once per run. The findings of all plugins are collected and sorted, so that
    neither their order nor the order of plugins matters. An error stops the run.

    Args:
        cluster: every vm with its host, but for those in `undecided`.
        facts: what each host that answered is, by its name. Empty when no host was read. Their `devices` are read
            where a vm, a network or a host of the manifest is about devices.
        existing: what there is on each of these hosts: domains, networks, pools, of this cluster and of others.

    Returns:
        Findings, each with the place in the manifest that it is about: `vm.origin.find("memory")` is where a
        vm's memory was written. Every code has a page `codes/CODE.md` in the plugin's package.
    """
    raise NotImplementedError


@hookspec
def kvmdecl_emit(cluster: PlacedCluster, facts: Mapping[str, HostFacts]) -> Iterable[Artifact]:
    """Write out what the cluster needs beside libvirt's objects: files for another program.

    Called after the checks found no error, when somebody asks for the files (`kvmdecl ha emit`). The same
    arguments have to give the same bytes: no clock, no random numbers, nothing read. No file holds a secret.

    Args:
        cluster: every vm with its host, but for those in `undecided`.
        facts: what each host that answered is, by its name.

    Returns:
        Files, each of a section that this plugin brings, with paths that are relative and used once. Rejected
        (`kvmdecl.api.Rejected`) is raised if they cannot be written, with the reasons.
    """
    raise NotImplementedError


@hookspec
def kvmdecl_definitions(cluster: PlacedCluster, facts: Mapping[str, HostFacts]) -> Iterable[Definition]:
    """Say where a cluster manager finds the definitions of the vms that it runs.

    Called after the checks found no error, for each plan of a cluster that has vms with `ha`. kvmdecl puts the files
    there and compares them, and neither starts nor stops nor defines these vms. It must be a pure function: no clock,
    no random numbers, nothing read.

    Args:
        cluster: every vm with its host, but for those in `undecided`.
        facts: what each host that answered is, by its name.

    Returns:
        One for each vm of `cluster.vms` that says `ha` and that this plugin's cluster manager runs, and for those of
        `cluster.cluster.vms` that shall be absent. Two for one vm are an error. A vm with `ha` for which there is none
        is left alone.
    """
    raise NotImplementedError


@hookspec
def kvmdecl_takeover(
    cluster: PlacedCluster,
    facts: Mapping[str, HostFacts],
    running: Mapping[str, str],
    losses: Sequence[tuple[str, ...]],
) -> Iterable[Takeovers]:
    """Tell what a cluster manager would do if hosts were lost.

    Called when somebody asks (`kvmdecl ha simulate`), after the checks found no error. Programs of the cluster manager
    may be run, on this machine; no host is contacted. Where it puts vms is judged by the rules of placement then.

    Args:
        cluster: every vm with its host.
        facts: what each host is, by its name.
        running: the host of each vm that runs now, by its name.
        losses: hosts that are lost at once; each is a question of its own.

    Returns:
        At most one answer, if it is this plugin whose cluster manager runs vms of this cluster. Rejected
        (`kvmdecl.api.Rejected`) is raised if nothing can be said, with the reasons.
    """
    raise NotImplementedError


@hookspec
def kvmdecl_managers() -> Mapping[str, Manager]:
    """Offer cluster managers: programs that run vms by a configuration of their own.

    Called once, when a manifest is planned or applied. What the plan shows of a manager's configuration, and
    does about it, its plugin says; the core brings programs to hosts, asks for consent, waits for what has to be there
    before, and notes down what was done.

    Returns:
        Name -> manager. Two managers with one name are an error. The name is in addresses: `pacemaker/cluster/edge`.
    """
    raise NotImplementedError


@hookspec
def kvmdecl_doctor(cluster: ResolvedCluster, reach: Reach, up: Collection[str]) -> Iterable[Answer]:
    """Answer more questions about hosts: whether what this plugin is about works there.

    Called when somebody asks (`kvmdecl doctor`), unless programs are not to be run on hosts. What is run there reads,
    and changes nothing.

    Args:
        cluster: the manifest.
        reach: leads to the hosts' shells.
        up: the hosts that are asked about and whose libvirtd answered.

    Returns:
        Answers, each about one of these hosts, or about all of them together. What cannot be seen is `unknown`.
    """
    raise NotImplementedError
