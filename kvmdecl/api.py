"""Everything that a plugin may use, and nothing else. What is here stays; what is not may change any day.

from kvmdecl.api import Diagnostic, hookimpl
"""

from kvmdecl.cluster import (
    PlacedCluster,
    ResolvedCluster,
    ResolvedDisk,
    ResolvedHost,
    ResolvedImage,
    ResolvedNetwork,
    ResolvedNic,
    ResolvedPool,
    ResolvedVm,
)
from kvmdecl.diagnostics import Diagnostic, Note, Severity, Span
from kvmdecl.facts import (
    Cell,
    DomainSupport,
    GuestType,
    HostCpu,
    HostFacts,
    Machine,
    NodeDevice,
    PagePool,
)
from kvmdecl.hooks import hookimpl
from kvmdecl.libvirt_xml.holders import Holder, holders
from kvmdecl.manifest import Section
from kvmdecl.names import Bool, Integer, IpAddress, Mac, Name, Positive, Size, Subnet, about_size, format_size
from kvmdecl.pages import nodes_of, set_aside
from kvmdecl.passed import Passed, passed_on
from kvmdecl.pci import Function, PciTree, Use, pci_tree
from kvmdecl.solver import (
    Budget,
    CellDemand,
    CellPlace,
    CellRoom,
    DeviceDemand,
    Group,
    HostRoom,
    PciDevice,
    Place,
    PlaceAnswer,
    PlaceRequest,
    Shape,
    Solver,
    VmToPlace,
)
from kvmdecl.state import HostState, ObservedDomain, ObservedNetwork, ObservedPool, Origin
from kvmdecl.text import did_you_mean, safe_text

__all__ = [
    "Bool",
    "Budget",
    "Cell",
    "CellDemand",
    "CellPlace",
    "CellRoom",
    "DeviceDemand",
    "Diagnostic",
    "DomainSupport",
    "Function",
    "Group",
    "GuestType",
    "Holder",
    "HostCpu",
    "HostFacts",
    "HostRoom",
    "HostState",
    "Integer",
    "IpAddress",
    "Mac",
    "Machine",
    "Name",
    "NodeDevice",
    "Note",
    "ObservedDomain",
    "ObservedNetwork",
    "ObservedPool",
    "Origin",
    "PagePool",
    "Passed",
    "PciDevice",
    "PciTree",
    "Place",
    "PlaceAnswer",
    "PlaceRequest",
    "PlacedCluster",
    "Positive",
    "ResolvedCluster",
    "ResolvedDisk",
    "ResolvedHost",
    "ResolvedImage",
    "ResolvedNetwork",
    "ResolvedNic",
    "ResolvedPool",
    "ResolvedVm",
    "Section",
    "Severity",
    "Shape",
    "Size",
    "Solver",
    "Span",
    "Subnet",
    "Use",
    "VmToPlace",
    "about_size",
    "did_you_mean",
    "format_size",
    "holders",
    "hookimpl",
    "nodes_of",
    "passed_on",
    "pci_tree",
    "safe_text",
    "set_aside",
]
