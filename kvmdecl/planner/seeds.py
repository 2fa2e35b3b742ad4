"""What another cloud-init seed does to a guest that was set up from the last one: told, since no field shows it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kvmdecl.cluster import ResolvedCluster
from kvmdecl.diagnostics import Diagnostic, Severity
from kvmdecl.plan import Change, Step
from kvmdecl.state import Kind


def changed_seeds(cluster: ResolvedCluster, steps: Iterable[Step]) -> Iterator[Diagnostic]:
    """A guest gets the new seed at once. Whether cloud-init acts on it is a matter of its instance id."""
    vms = {vm.name: vm for vm in cluster.vms}
    for step in steps:
        vm = vms.get(step.address.name)
        if step.address.kind is not Kind.DOMAIN or vm is None or not any(map(_is_seed, step.changes)):
            continue
        given = vm.spec.cloud_init
        reruns = given is not None and (given.on_change == "rerun" or given.meta_data.instance_id is not None)
        yield Diagnostic(
            code="plan.seed-changed",
            summary=f"cloud-init sets {vm.name} up once more at its next boot, if its instance id is another one now"
            if reruns
            else f"{vm.name} gets a new cloud-init seed and stays as it was set up",
            at=vm.origin.find("cloud_init"),
            cause="cloud-init does its work once for each instance id"
            + ("." if reruns else ", and that of this guest does not change."),
            hint=""
            if reruns
            else "for a new run write `on_change: rerun` in `cloud_init`, or make the vm anew.",
            severity=Severity.WARNING,
            subject=str(step.address),
        )


def _is_seed(change: Change) -> bool:
    return change.field.startswith("devices/disk[cloud_init]/source") and None not in {
        change.before,
        change.after,
    }
