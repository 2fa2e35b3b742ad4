"""Virtual networks: defined in place, with a marker that says whose they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl import __version__
from kvmdecl.hosts.errors import is_gone
from kvmdecl.hosts.protocol import TaskResult
from kvmdecl.hosts.read import read_network
from kvmdecl.libvirt_xml.fields import differences
from kvmdecl.libvirt_xml.marker import Left, Marker, with_marker
from kvmdecl.libvirt_xml.network_impact import live_updates
from kvmdecl.libvirt_xml.overlay import overlay
from kvmdecl.libvirt_xml.trace import leave
from kvmdecl.state import Kind
from kvmdecl.text import safe_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    import libvirt

    from kvmdecl.hosts.perform.job import Job
    from kvmdecl.state import ObservedNetwork
    from kvmdecl.tasks import Command, DefineNetwork, DeleteNetwork

_KEEPS_RUNNING = "it keeps running as it was defined before; the change takes effect when it is next started"
_COMMANDS: Mapping[Command, str] = {"add": "ADD_LAST", "modify": "MODIFY", "delete": "DELETE"}


def define_network(job: Job, task: DefineNetwork) -> TaskResult:
    """Create a network, or change it: live calls first, then its definition in place (virNetworkDefineXML)."""
    network = find_network(job, task.name)
    before = read_network(network) if network else None
    job.require_unmoved(before, lambda: _differing(task, before))
    if before is not None:
        job.require_identity(before.uuid, task.uuid)
    if network is not None and before is not None and before.active:
        _update_live(network, task)
    network = job.connection.networkDefineXML(_definition(job, task, before))
    if bool(network.autostart()) != task.autostart:
        network.setAutostart(task.autostart)
    after = read_network(network)
    job.require_value("autostart", after.autostart, task.autostart)
    job.require_as_declared(Kind.NETWORK, task.xml, task.base, after.xml)
    _note_what_is_left(job, task, after)
    if task.start and not after.active:
        network.create()
        job.require_value("state", bool(network.isActive()), True)
        return TaskResult()
    return TaskResult(_require_live(job, task, after))


def delete_network(job: Job, task: DeleteNetwork) -> TaskResult:
    """Stop and undefine a network."""
    network = find_network(job, task.name)
    job.require_unmoved(read_network(network) if network else None)
    if network is None:
        raise job.moved("vanished")
    job.require_identity(network.UUIDString(), task.uuid)
    if network.isActive():
        network.destroy()  # libvirt's word for stopping a network
    if network.isPersistent():
        network.undefine()
    return TaskResult()


def find_network(job: Job, name: str) -> libvirt.virNetwork | None:
    """A network by name, None if there is none."""
    import libvirt

    try:
        return job.connection.networkLookupByName(name)
    except libvirt.libvirtError as error:
        if is_gone(error):
            return None
        raise


def _definition(job: Job, task: DefineNetwork, before: ObservedNetwork | None) -> str:
    """The declared definition, laid over what is there, so that what libvirt filled in stays."""
    xml = overlay(before.xml, task.xml, task.base, kind=Kind.NETWORK) if before else task.xml
    return with_marker(xml, _marker(job, task))


def _marker(job: Job, task: DefineNetwork, left: Left | None = None) -> Marker:
    request = job.request
    return Marker(request.cluster, task.uuid, task.name, request.revision, __version__, task.xml, left=left)


def _note_what_is_left(job: Job, task: DefineNetwork, after: ObservedNetwork) -> None:
    """Define the network again with a note of what libvirt made of it.

    Metadata of a network are a part of its definition; not every libvirt has virNetworkSetMetadata.
    """
    left = leave(
        after.xml,
        None,
        task.xml,
        int(job.connection.getLibVersion()),
        running=after.active or task.start,
        autostart=after.autostart,
    )
    job.connection.networkDefineXML(with_marker(after.xml, _marker(job, task, left)))


def _update_live(network: libvirt.virNetwork, task: DefineNetwork) -> None:
    """Make the planned calls (virNetworkUpdate) that the running network still needs."""
    import libvirt

    for update in live_updates(task.xml, task.base, network.XMLDesc(0)):
        if update not in task.live:
            continue
        section = update.section.upper().replace("-", "_")
        network.update(
            getattr(libvirt, f"VIR_NETWORK_UPDATE_COMMAND_{_COMMANDS[update.command]}"),
            getattr(libvirt, f"VIR_NETWORK_SECTION_{section}"),
            -1,  # libvirt finds the address to which the entry belongs
            update.xml,
            libvirt.VIR_NETWORK_UPDATE_AFFECT_LIVE,
        )


def _require_live(job: Job, task: DefineNetwork, after: ObservedNetwork) -> tuple[str, ...]:
    """Make sure that the running network took what it was given. Returns what the user should know.

    Raises:
        TaskFailed: `step.not-as-declared`.
    """
    if after.live_xml is None:
        return ()
    left = [update for update in live_updates(task.xml, task.base, after.live_xml) if update in task.live]
    if left:
        job.fail(
            "step.not-as-declared",
            f"libvirt accepted a change of {job.request.address}, but it runs without it: {safe_text(left[0].xml)}",
            "What libvirt reports after a change must be what the manifest says.",
            "restart the network when its guests can spare it: its definition has the change already.",
        )
    stale = differences(task.xml, task.base, after.live_xml, Kind.NETWORK)
    return (_KEEPS_RUNNING,) if stale else ()


def _differing(task: DefineNetwork, observed: ObservedNetwork | None) -> tuple[str, ...]:
    if observed is None:
        return ()
    return tuple(found.path for found in differences(task.xml, task.base, observed.xml, Kind.NETWORK))
