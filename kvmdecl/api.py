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
from kvmdecl.manifest import Section
from kvmdecl.names import Bool, Integer, IpAddress, Mac, Name, Positive, Size, Subnet, about_size, format_size
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
from kvmdecl.state import Origin
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
    "HostCpu",
    "HostFacts",
    "HostRoom",
    "Integer",
    "IpAddress",
    "Mac",
    "Machine",
    "Name",
    "NodeDevice",
    "Note",
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
    "hookimpl",
    "passed_on",
    "pci_tree",
    "safe_text",
]
