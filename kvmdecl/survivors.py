"""What a cluster manager would do when hosts are lost, judged by the rules of placement."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import comb
from typing import TYPE_CHECKING

from kvmdecl.diagnostics import Diagnostic, Rejected, in_order
from kvmdecl.failover import anew, losses_of, misfits
from kvmdecl.solver import Place
from kvmdecl.state import HostSnapshot
from kvmdecl.takeover import Proof, Takeover
from kvmdecl.whatif import as_it_stands

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from kvmdecl.cluster import PlacedCluster, ResolvedVm
    from kvmdecl.failover import Standing
    from kvmdecl.pluginhost import Plugins
    from kvmdecl.solver import Solver
    from kvmdecl.state import Observation
    from kvmdecl.takeover import Takeovers

_MOST_FINDINGS = 10
_DISPUTES = {"failover.stranded", "failover.unfit-home"}


def prove_all(
    placed: PlacedCluster, observations: Mapping[str, Observation], plugins: Plugins
) -> tuple[Proof, ...]:
    """Of the loss of any single host, and of as many at once as the manifest wants to survive.

    A host in maintenance is one that is lost already: then it promises nothing.

    Raises:
        Rejected: as `prove`.
    """
    whole = not any(host.maintenance for host in placed.cluster.hosts)
    single, survive = _prove(placed, observations, 1, plugins)
    proofs = [single, _prove(placed, observations, survive, plugins)[0]] if survive > 1 else [single]
    return tuple(replace(proof, binding=whole and proof.lose <= survive) for proof in proofs)


def prove(
    placed: PlacedCluster, observations: Mapping[str, Observation], lose: int, plugins: Plugins
) -> Proof:
    """Ask the cluster manager about each loss of `lose` hosts, and judge its answers.

    Raises:
        Rejected: `failover.no-manager`; by the plugin that knows it, if nothing can be said.
    """
    return _prove(placed, observations, lose, plugins)[0]


def _prove(
    placed: PlacedCluster, observations: Mapping[str, Observation], lose: int, plugins: Plugins
) -> tuple[Proof, int]:
    """A proof, and how many hosts may be lost as the manifest says."""
    seen = {name: each for name, each in observations.items() if isinstance(each, HostSnapshot)}
    bare = as_it_stands(placed, observations)
    losses = tuple(losses_of(bare, lose))
    facts = {name: each.facts for name, each in seen.items()}
    told = plugins.takeovers(placed, facts, _running(placed, seen), losses)
    if told is None:
        raise Rejected(
            [
                Diagnostic(
                    "failover.no-manager",
                    "no plugin runs the vms of this cluster elsewhere when a host is lost",
                    placed.cluster.origin.at,
                    hint="`kvmdecl plugins` lists what is installed; docs/ha.md says what a manifest needs",
                )
            ]
        )
    standing = _as_managed(_crowding(bare, placed), told, _wanted(placed, told))
    judge = _Judge(placed, standing, told, plugins.solver(placed.cluster.solver))
    found, disputed = _judged(judge)
    combinations = comb(len(bare.hosts), lose)
    findings = in_order((*told.findings, *found))
    proof = Proof(told.manager, lose, combinations, told.start, told.takeovers, findings, disputed)
    return proof, told.survive


def _judged(judge: _Judge) -> tuple[Iterable[Diagnostic], tuple[tuple[str, ...], ...]]:
    """Findings, of one vm the first loss that shows it, and the losses that are disputed."""
    found: dict[str, Diagnostic] = {}
    disputed: dict[tuple[str, ...], None] = {}
    for lost, each in judge.findings():
        found.setdefault(each.subject, each)
        if each.code in _DISPUTES:
            disputed.setdefault(lost)
        if len(found) == _MOST_FINDINGS:
            break
    return found.values(), tuple(disputed)


def _running(placed: PlacedCluster, seen: Mapping[str, HostSnapshot]) -> dict[str, str]:
    names = {vm.uuid: vm.name for vm in placed.cluster.vms}
    return {
        names[domain.uuid]: host
        for host, each in seen.items()
        for domain in each.state.domains
        if domain.active and domain.uuid in names
    }


def _wanted(placed: PlacedCluster, told: Takeovers) -> frozenset[str]:
    """The vms that have to run again."""
    best_effort = {vm.name for vm in placed.vms if vm.spec.ha is not None and vm.spec.ha.best_effort}
    return frozenset(told.vms) - best_effort


def _crowding(standing: Standing, placed: PlacedCluster) -> Standing:
    """The same cluster, in which those share a host that may do so while hosts are lost (`ha.crowd`)."""
    crowd = {vm.name for vm in placed.vms if vm.spec.ha is not None and vm.spec.ha.crowd}
    groups = tuple(
        replace(group, soft=True) if group.apart and set(group.members) <= crowd else group
        for group in standing.groups
    )
    return replace(standing, groups=groups)


def _as_managed(standing: Standing, told: Takeovers, wanted: frozenset[str]) -> Standing:
    """The same cluster, with the vms where the cluster manager has them."""
    vms = tuple(
        replace(vm, place=Place(told.start[vm.name], ()))
        if vm.name in told.start and (vm.place is None or vm.place.host != told.start[vm.name])
        else vm
        for vm in standing.vms
        if vm.name in told.start or vm.name not in told.vms
    )
    return replace(standing, vms=vms, wanted=wanted)


@dataclass(frozen=True, slots=True)
class _Judge:
    placed: PlacedCluster
    standing: Standing
    told: Takeovers
    solver: Solver

    def findings(self) -> Iterator[tuple[tuple[str, ...], Diagnostic]]:
        """Each with the hosts that are lost."""
        yield from (((), found) for found in self._misplaced(Takeover((), {}, {}, ())))
        for takeover in self.told.takeovers:
            for found in (*self._down(takeover), *self._misplaced(takeover)):
                yield takeover.lost, found

    def _down(self, takeover: Takeover) -> Iterator[Diagnostic]:
        down = [name for name in takeover.down if name in (self.standing.wanted or ())]
        if not down or (self.told.findings and not takeover.homes):
            return  # what keeps all of them down has been said
        unfit = anew(self.standing, takeover.lost, self.solver).unfit
        for name in down:
            yield self._homeless(name, takeover, unfit)

    def _homeless(self, name: str, takeover: Takeover, unfit: tuple[str, ...]) -> Diagnostic:
        without = " and ".join(takeover.lost)
        if unfit:
            others = ", ".join(each for each in unfit if each != name)
            cause = f"Without {without} there is no room for all of: {name}, {others}." if others else ""
            return self._about(
                name,
                "failover.no-home",
                f"{name} has no other host when {without} is lost",
                cause or f"None of the other hosts could have {name}.",
                "give the hosts more room, or ask for less; `ha: {best_effort: true}` lets it stay down",
            )
        return self._about(
            name,
            "failover.stranded",
            f"{self.told.manager} leaves {name} down when {without} is lost",
            "There is room for all, but it fills hosts one vm after the other, and what is left is too small.",
            "leave more room, or give the largest vms the highest `ha: {priority: N}`",
        )

    def _misplaced(self, takeover: Takeover) -> Iterator[Diagnostic]:
        lost = takeover.lost
        homes = {
            vm.name: vm.place.host
            for vm in self.standing.vms
            if vm.place is not None and vm.place.host not in lost
        }
        homes |= {**takeover.homes, **takeover.moved}
        homes = {name: host for name, host in homes.items() if name not in takeover.down}
        when = f"when {' and '.join(lost)} is lost" if lost else "with all hosts up"
        for name, why in misfits(self.standing, lost, homes, self.solver).items():
            yield self._about(
                name,
                "failover.unfit-home",
                f"{self.told.manager} runs {name} on {homes[name]} {when}, where it cannot be: {why}",
                "It knows of rooms and rules, but not of cells, pins and devices.",
                "keep such vms apart, or to hosts of their own: `apart`, `host_labels`",
            )

    def _about(self, name: str, code: str, summary: str, cause: str, hint: str) -> Diagnostic:
        vm: ResolvedVm = next(each for each in self.placed.vms if each.name == name)
        return Diagnostic(code, summary, vm.origin.find("ha"), cause, hint, subject=f"vm/{name}")
