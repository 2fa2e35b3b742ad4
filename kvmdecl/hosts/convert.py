"""Ask a host's libvirt whether a domain could start as declared, without defining it. Runs in a worker process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmdecl.diagnostics import TaskFailed
from kvmdecl.hosts.errors import diagnose, is_denied, is_unsupported, message
from kvmdecl.hosts.perform.domains import changed_definition, find_domain
from kvmdecl.hosts.protocol import Conversion
from kvmdecl.libvirt_xml.definition import file_text
from kvmdecl.libvirt_xml.overlay import complete
from kvmdecl.tasks import WriteDefinition
from kvmdecl.text import safe_text

if TYPE_CHECKING:
    import libvirt

    from kvmdecl.hosts.protocol import ConversionRequest
    from kvmdecl.tasks import DefineDomain

_QEMU = "qemu-argv"  # VIR_CONNECT_DOMAIN_XML_TO_NATIVE formats: libvirt's name for QEMU's command line


def convert(connection: libvirt.virConnect, request: ConversionRequest) -> Conversion:
    """Convert the definition that apply would submit (virConnectDomainXMLToNative). Changes nothing.

    Args:
        connection: read-write, which libvirt demands of this call.
        request: the domain.

    Raises:
        TaskFailed: the host gave no answer to the question: its connection broke, it denies the call to this
            user, or its driver has no such function.
    """
    import libvirt

    name = request.task.owner if isinstance(request.task, WriteDefinition) else request.task.name
    doing = f"converting the definition of {safe_text(name)}"
    try:
        connection.domainXMLToNative(_QEMU, _definition(connection, request.task), 0)
    except libvirt.libvirtError as error:
        if is_denied(error) or is_unsupported(error) or not connection.isAlive():
            raise TaskFailed(diagnose(error, request.address.host, doing)) from error
        return Conversion(message(error), error.get_error_code() or 0)
    return Conversion()


def _definition(connection: libvirt.virConnect, task: DefineDomain | WriteDefinition) -> str:
    if isinstance(task, WriteDefinition):
        return file_text(task.xml)
    domain = find_domain(connection, task.name)
    return complete(task.xml) if domain is None else changed_definition(domain, task)
