"""Domains: defined in place, changed live where that is possible, never undefined to update, never restarted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kvmdecl.cluster import ResolvedCluster
from kvmdecl.diagnostics import Diagnostic, Severity
from kvmdecl.libvirt_xml.marker import belongs, read_marker
from kvmdecl.plan import Action, Change, Impact
from kvmdecl.planner.verdict import AS_DECLARED, HostView, Verdict, blocked, not_ours, note, step
from kvmdecl.state import Absent, DesiredDomain, DesiredState, Kind, ObservedDomain
from kvmdecl.tasks import DefineDomain, DeleteDomain
