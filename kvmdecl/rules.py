"""The field's known pitfalls as rules: what a rule is, and how the rules of plugins are held against a cluster.

A rule is a pure function from a `Site` to findings. What is selected, waived or known from before is decided here, in
one place, for the rules of all plugins.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING

from kvmdecl.answers import GROUP, QUESTIONS
from kvmdecl.cluster import ResolvedHost, ResolvedNetwork, ResolvedPool, ResolvedVm
from kvmdecl.diagnostics import Diagnostic, Note, Severity, Span, in_order
from kvmdecl.explain import codes
from kvmdecl.text import closest, did_you_mean, quoted
from kvmdecl.waivers import expired

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Mapping
    from datetime import date

    from kvmdecl.cluster import (
        PlacedCluster,
        ResolvedCluster,
        ResolvedDisk,
        ResolvedNic,
        RuleChoice,
    )
    from kvmdecl.facts import HostFacts
    from kvmdecl.manifest import Disk, Nic
    from kvmdecl.state import HostState, ObservedPool
    from kvmdecl.waivers import Waiver

    _Group = tuple[Container[str], list[ResolvedVm]]
    """The keys that a section says, and all vms that have the section."""
    Subject = ResolvedVm | ResolvedHost | ResolvedNetwork | ResolvedPool

ADVICE = "advice"
"""What selects every rule that is advice only."""
_ALONE = frozenset({"policy.nothing", "rules.nothing"})
"""The only ones of their groups that are accepted, too."""
_OF_CHECKS = frozenset({"check", "failover", "ha", "placement", "vfio"})
"""What the codes of checks begin with, whose warnings are accepted in the same way."""
_KINDS = {ResolvedVm: "vm", ResolvedHost: "host", ResolvedNetwork: "network", ResolvedPool: "pool"}


@dataclass(frozen=True, slots=True)
class Change:
    """A safe change of the manifest that makes a finding go away: it loses nothing and restarts nobody by itself.

    Attributes:
        key: of the subject, as `nics.0.model`.
        value: what it is set to, as YAML on one line; None takes the key out.
    """

    key: str
    value: str | None


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that does not follow a rule.

    Attributes:
        subject: whose it is.
        key: of the subject, where it is written: `nics.0.model`; empty for the subject itself.
        summary: what is wrong, in one line that names the offending value.
        hint: what to do about it, where that says more than the rule does.
        change: that mends it, if there is a safe one.
        proposal: what would follow the rule, where that is no safe change: for its author to decide (`kvmdecl advise`).
    """

    subject: Subject
    key: str
    summary: str
    hint: str = ""
    change: Change | None = None
    proposal: tuple[Change, ...] = ()

    @property
    def owner(self) -> str:
        """The subject in words: `vm/web-1`."""
        return f"{_KINDS[type(self.subject)]}/{self.subject.name}"


@dataclass(frozen=True)
class Site:
    """What rules look at: the cluster, and its hosts if they were read.

    Attributes:
        cluster: the manifest, linked.
        vms: that shall exist; with their hosts where these are known.
        facts: what each host is that was read, by its name; empty offline.
        states: what is on each of them.
    """

    cluster: ResolvedCluster
    vms: tuple[ResolvedVm, ...]
    facts: Mapping[str, HostFacts] = field(default_factory=dict)
    states: Mapping[str, HostState] = field(default_factory=dict)

    @property
    def has_tenants(self) -> bool:
        """Whether its guests belong to people who need not trust each other."""
        return self.cluster.rules.tenancy == "shared"

    def working(self, *workloads: str) -> Iterable[ResolvedVm]:
        """The vms of which the manifest says that they are for one of these."""
        if not self.cluster.rules.workloads:
            return ()
        return (vm for vm in self.vms if not self._workloads[vm.name].isdisjoint(workloads))

    @cached_property
    def _workloads(self) -> Mapping[str, frozenset[str]]:
        said = self.cluster.rules.workloads
        return {vm.name: frozenset(w for name, w in said if fnmatchcase(vm.name, name)) for vm in self.vms}

    def saying(self, key: str) -> Iterable[ResolvedVm]:
        """The vms that say a key other than its default: `clock`, or `cpus.pins`.

        This, `nics` and `disks` spare a rule the thousands of vms that it is not about: what says the same is one
        object, and is looked at once.
        """
        section, _, inner = key.partition(".")
        if not inner:
            return self._saying.get(section, ())
        if section not in self._grouped:
            self._grouped[section] = _by_section(section, self._saying.get(section, ()))
        return chain.from_iterable(vms for said, vms in self._grouped[section] if inner in said)

    def nics(self, wanted: Callable[[Nic], object]) -> Iterator[tuple[ResolvedVm, int, ResolvedNic]]:
        """The NICs of which that holds, each with its vm and its number there."""
        for spec, nics in self._nics.values():
            if wanted(spec):
                yield from nics

    def disks(self, wanted: Callable[[Disk], object]) -> Iterator[tuple[ResolvedVm, ResolvedDisk]]:
        """The disks of which that holds, each with its vm."""
        for spec, disks in self._disks.values():
            if wanted(spec):
                yield from disks

    @cached_property
    def _saying(self) -> Mapping[str, list[ResolvedVm]]:
        found: dict[str, list[ResolvedVm]] = defaultdict(list)
        for vm in self.vms:
            for key in vm.spec.said:
                found[key].append(vm)
        return found

    @cached_property
    def _grouped(self) -> dict[str, list[_Group]]:
        return {}

    @cached_property
    def _nics(self) -> Mapping[int, tuple[Nic, list[tuple[ResolvedVm, int, ResolvedNic]]]]:
        found: dict[int, tuple[Nic, list[tuple[ResolvedVm, int, ResolvedNic]]]] = {}
        for vm in self.vms:
            for number, nic in enumerate(vm.nics):
                found.setdefault(id(nic.spec), (nic.spec, []))[1].append((vm, number, nic))
        return found

    @cached_property
    def _disks(self) -> Mapping[int, tuple[Disk, list[tuple[ResolvedVm, ResolvedDisk]]]]:
        found: dict[int, tuple[Disk, list[tuple[ResolvedVm, ResolvedDisk]]]] = {}
        for vm in self.vms:
            for disk in vm.disks:
                found.setdefault(id(disk.spec), (disk.spec, []))[1].append((vm, disk))
        return found

    @cached_property
    def pools(self) -> Mapping[str, ResolvedPool]:
        """Pools by name."""
        return {pool.name: pool for pool in self.cluster.pools}

    @cached_property
    def networks(self) -> Mapping[str, ResolvedNetwork]:
        """Networks by name."""
        return {network.name: network for network in self.cluster.networks}

    @cached_property
    def hosts(self) -> Mapping[str, ResolvedHost]:
        """Hosts by name."""
        return {host.name: host for host in self.cluster.hosts}

    def pool_on(self, host: str, name: str) -> ObservedPool | None:
        """A pool as it is on a host; None if it is not there, or the host was not read."""
        there = self.states[host].pools if host in self.states else ()
        return next((pool for pool in there if pool.name == name), None)

    @cached_property
    def vms_on(self) -> Mapping[str, tuple[ResolvedVm, ...]]:
        """The vms whose host is known, by host."""
        found: dict[str, list[ResolvedVm]] = {}
        for vm in self.vms:
            if vm.host is not None:
                found.setdefault(vm.host, []).append(vm)
        return {name: tuple(vms) for name, vms in found.items()}


@dataclass(frozen=True, slots=True)
class Rule:
    """A known pitfall.

    Attributes:
        code: `GROUP.NAME`, stable and never reused.
        title: what goes wrong, in a line.
        severity: an error stops plan and apply; a warning is shown; an info is advice, shown to who selects it.
        why: the harm that it does, in a paragraph.
        source: where that is known from: a manual, a specification, a measurement.
        fix: what to do about it.
        bad: part of a manifest that does not follow it; `good`: one that does.
        check: finds who does not follow it.
        needs_hosts: whether it can be told only with the facts of hosts.
        machine: facts that the examples' host has beyond those of an ordinary one (`HostFacts`).
        workloads: what guests are for whom it matters especially: `kvmdecl advise` looks for it even if it is advice.
    """

    code: str
    title: str
    severity: Severity
    why: str
    source: str
    fix: str
    bad: str
    good: str
    check: Callable[[Site], Iterable[Finding]]
    needs_hosts: bool = False
    machine: Mapping[str, object] = field(default_factory=dict)
    workloads: tuple[str, ...] = ()

    @property
    def group(self) -> str:
        """The part of the code before the dot."""
        return self.code.partition(".")[0]

    @property
    def weight(self) -> str:
        """`error`, `warning` or `advice`."""
        return ADVICE if self.severity is Severity.INFO else self.severity.value

    def is_meant_by(self, name: str) -> bool:
        """Whether a name that selects rules is about this one."""
        return name in {self.code, self.group, "all"} or (name == ADVICE and self.severity is Severity.INFO)


def _by_section(key: str, vms: Iterable[ResolvedVm]) -> list[_Group]:
    found: dict[int, _Group] = {}
    for vm in vms:
        section = getattr(vm.spec, key)
        found.setdefault(id(section), (section.said, []))[1].append(vm)
    return list(found.values())


def site_of(cluster: ResolvedCluster) -> Site:
    """What can be looked at without hosts."""
    return Site(cluster, tuple(vm for vm in cluster.vms if vm.state != "absent"))


def placed_site(
    placed: PlacedCluster, facts: Mapping[str, HostFacts], states: Mapping[str, HostState]
) -> Site:
    """What can be looked at when vms have their hosts: vms as they were written, not as placement filled them in."""
    homes = {vm.name: vm.host for vm in placed.vms}
    vms = (vm.on(home) if (home := homes.get(vm.name)) else vm for vm in placed.cluster.vms)
    return Site(placed.cluster, tuple(vm for vm in vms if vm.state != "absent"), facts, states)


def judge(rules: Iterable[Rule], site: Site) -> tuple[Diagnostic, ...]:
    """Hold a cluster against the rules that its manifest selects; what is waived or known from before is left out."""
    return told_of(open_findings(rules, site))


def told_of(found: Iterable[tuple[Rule, Finding]]) -> tuple[Diagnostic, ...]:
    """Findings as diagnostics, one for each place."""
    return in_order(_folded(found))


def mendable(found: Iterable[tuple[Rule, Finding]]) -> int:
    """Of how many places a safe change is known (`validate --fix`)."""
    return len({(rule.code, it.subject.origin.find(it.key)) for rule, it in found if it.change is not None})


def open_findings(rules: Iterable[Rule], site: Site) -> list[tuple[Rule, Finding]]:
    """Who does not follow a rule that is selected, and is neither waived nor known from before."""
    choice = site.cluster.rules
    return [
        (rule, finding)
        for rule, finding in findings(selected(rules, site), site)
        if not any(_waives(waiver, rule, finding) for waiver in choice.waivers)
        and (rule.code, finding.owner, finding.key) not in choice.known
    ]


def accepted(cluster: ResolvedCluster, told: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """What checks told, without the warnings that the manifest ignores or waives by their codes; errors stay."""
    choice = cluster.rules
    if not choice.ignore and not choice.waivers:
        return tuple(told)
    return tuple(d for d in told if d.severity is Severity.ERROR or not _is_accepted(choice, d))


def _is_accepted(choice: RuleChoice, told: Diagnostic) -> bool:
    names = {told.code, told.code.partition(".")[0]}
    return not names.isdisjoint(choice.ignore) or any(
        waiver.rule in names and waiver.is_for(told.subject) for waiver in choice.waivers
    )


def findings(rules: Iterable[Rule], site: Site) -> Iterator[tuple[Rule, Finding]]:
    """All that does not follow some rules, each with its rule. Rules about hosts are left out where none was read."""
    for rule in rules:
        if site.facts or not rule.needs_hosts:
            for finding in rule.check(site):
                yield rule, finding


def selected(rules: Iterable[Rule], site: Site) -> tuple[Rule, ...]:
    """The rules that hold for a cluster: all but advice and what is ignored, and what is selected by name."""
    choice = site.cluster.rules
    return tuple(
        rule
        for rule in rules
        if not any(rule.is_meant_by(name) for name in choice.ignore)
        and (rule.severity is not Severity.INFO or any(rule.is_meant_by(name) for name in choice.select))
    )


def _waives(waiver: Waiver, rule: Rule, finding: Finding) -> bool:
    return rule.is_meant_by(waiver.rule) and waiver.is_for(finding.owner)


def _folded(found: Iterable[tuple[Rule, Finding]]) -> Iterator[Diagnostic]:
    """One diagnostic for each place: a line of a profile that a thousand vms have is wrong once."""
    first: dict[tuple[str, Span | None], Diagnostic] = {}
    more: Counter[tuple[str, Span | None]] = Counter()
    for rule, finding in found:
        at = finding.subject.origin.find(finding.key)
        key = (rule.code, at)
        if at is not None and key in first:
            more[key] += 1
            continue
        hint = finding.hint or rule.fix
        diagnostic = Diagnostic(
            rule.code, finding.summary, at, rule.title, hint, severity=rule.severity, subject=finding.owner
        )
        if at is None:
            yield diagnostic
        else:
            first[key] = diagnostic
    for key, diagnostic in first.items():
        count = more[key]
        notes = (Note(f"and the same of {count} other{'s' * (count > 1)}"),) if count else ()
        yield replace(diagnostic, notes=notes)


def with_choice(
    cluster: ResolvedCluster, select: tuple[str, ...], ignore: tuple[str, ...]
) -> ResolvedCluster:
    """The cluster with more rules and groups selected, and ignored, than its manifest says."""
    if not select and not ignore:
        return cluster
    choice = cluster.rules
    named = (*choice.named, *((name, None) for name in (*select, *ignore)))
    more = replace(choice, select=(*choice.select, *select), ignore=(*choice.ignore, *ignore), named=named)
    return replace(cluster, rules=more)


# -- what the manifest says about rules ------------------------------------------------------------------------


def choice_faults(rules: Iterable[Rule], cluster: ResolvedCluster, today: date) -> list[Diagnostic]:
    """What is wrong with the manifest's choice of rules: names that nobody knows, waivers whose day is over."""
    over = "follow the rule, or decide again until when it is accepted"
    return [
        *_unknown_names(rules, cluster),
        *expired(cluster.rules.waivers, today, "rules.waiver-expired", over),
    ]


def idle_waivers(cluster: ResolvedCluster) -> Iterator[Diagnostic]:
    """Warnings for waivers of what there is not: a slip in a name, or they outlived what they were for."""
    there = {
        "vm": [vm.name for vm in cluster.vms],
        "host": [*(host.name for host in cluster.hosts), *(host.name for host in cluster.retired)],
        "network": [network.name for network in cluster.networks],
        "pool": [pool.name for pool in cluster.pools],
    }
    for waiver in cluster.rules.waivers:
        for pattern in waiver.on:
            kind, _, name = pattern.partition("/")
            if kind in there and not any(fnmatchcase(each, name) for each in there[kind]):
                yield Diagnostic(
                    "rules.nothing",
                    f"a waiver of {waiver.rule} is for {quoted(pattern)}, and nothing is called so",
                    waiver.at,
                    "The manifest has no such object, so nothing is accepted.",
                    did_you_mean(name, there[kind]) or "take it out if what it was for is gone",
                    severity=Severity.WARNING,
                )


def _unknown_names(rules: Iterable[Rule], cluster: ResolvedCluster) -> Iterator[Diagnostic]:
    named = cluster.rules.named
    known = {name for rule in rules for name in (rule.code, rule.group)} | {ADVICE, "all"}
    if any(name not in known for name, _ in named):
        known |= {code for code in codes() if code.partition(".")[0] in _OF_CHECKS} | _OF_CHECKS | _ALONE
    for name, at in named:
        if name not in known and not _is_asked(name):
            yield Diagnostic(
                "rules.unknown",
                f"there is no rule {quoted(name)}",
                at,
                "A rule that does not exist is neither looked for nor ignored.",
                did_you_mean(name, {*known, *_ASKED}) or "`kvmdecl rules` lists them",
            )


_ASKED = frozenset(f"{GROUP}.{question}" for question in QUESTIONS)


def _is_asked(name: str) -> bool:
    """Whether the doctor may ask it: a plugin's question is any that is no slip of ours."""
    group, _, question = name.partition(".")
    return group == GROUP and (question in {"", *QUESTIONS} or closest(question, QUESTIONS) is None)


_BASELINE = "# Who did not follow which rule when rules came. `kvmdecl rules PATH --write-baseline FILE` writes this.\n"


def baseline(rules: Iterable[Rule], site: Site) -> str:
    """The file that lists everything that is found now and not waived, in order."""
    found = {
        (rule.code, finding.owner, finding.key)
        for rule, finding in findings(selected(rules, site), site)
        if not any(_waives(waiver, rule, finding) for waiver in site.cluster.rules.waivers)
    }
    return _BASELINE + "".join(f"{' '.join(filter(None, each))}\n" for each in sorted(found))
