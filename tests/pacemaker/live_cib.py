"""A cluster that is a file: Pacemaker's cibadmin reads and changes it, as a cluster's own would the live CIB."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from kvmdecl_pacemaker.live import read_cib
from kvmdecl_pacemaker.status import with_status
from lxml import etree

from kvmdecl.manager import NoAnswer, Said

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from kvmdecl_pacemaker.cib import Element

EMPTY = """\
<cib validate-with="pacemaker-3.9" crm_feature_set="3.16.1" admin_epoch="0" epoch="1" num_updates="0" have-quorum="1">
<configuration><crm_config><cluster_property_set id="cib-bootstrap-options">
<nvpair id="cib-bootstrap-options-cluster-name" name="cluster-name" value="edge"/></cluster_property_set></crm_config>
<nodes><node id="1" uname="kvm-1"/><node id="2" uname="kvm-2"/><node id="3" uname="kvm-3"/></nodes>
<resources/><constraints/></configuration><status/></cib>
"""
"""As Pacemaker has it once its hosts have seen each other."""


@dataclass
class FileCluster:
    """A way to the hosts. `asked` are the commands of crm_resource, which it only notes.

    Hosts that are `silent` do not answer, and neither do programs that are `mute`; others are `refused`.
    """

    file: Path
    silent: Collection[str] = ()
    asked: list[str] = field(default_factory=list)
    said: dict[str, Said] = field(default_factory=dict)
    refused: Collection[str] = ()
    mute: Collection[str] = ()

    def shell(self, host: str, way: str = "") -> FileShell | None:
        return FileShell(self, host)

    @property
    def cib(self) -> Element:
        return read_cib(self.file.read_text())

    def write(self, cib: Element, running: Mapping[str, Collection[str]] | None = None) -> None:
        """Be as this CIB says, with all hosts up and these resources where they are named."""
        whole = with_status(cib, running or {})
        for pair in whole.findall(".//nvpair[@name='enable-startup-probes']"):
            pair.getparent().remove(pair)
        self.file.write_bytes(etree.tostring(whole))
        self.file.with_suffix(".sig").unlink(missing_ok=True)
        Path(f"{self.file}.sig").unlink(missing_ok=True)

    def edit(self, *arguments: str) -> None:
        """Change it by hand."""
        said = run_here(self.file, ["cibadmin", *arguments])
        assert said.code == 0, said.err


@dataclass(frozen=True)
class FileShell:
    cluster: FileCluster
    host: str

    def run(self, argv: Sequence[str], *, given: str = "", timeout: float = 20.0) -> Said:
        if self.host in self.cluster.silent:
            raise NoAnswer(f"{self.host}: Connection refused")
        if argv[0] in self.cluster.mute:
            raise NoAnswer(f"{self.host}: {argv[0]} did not end within {timeout:.0f} s")
        if argv[0] in self.cluster.refused and "--query" not in argv:
            return Said(1, "", "Operation not permitted")
        if argv[0] in self.cluster.said:
            return self.cluster.said[argv[0]]
        if argv[0] == "crm_resource":
            self.cluster.asked.append(" ".join(argv[1:]))
            return Said(0, "", "")
        return run_here(self.cluster.file, argv, given)


def run_here(file: Path, argv: Sequence[str], given: str = "") -> Said:
    program = shutil.which(argv[0]) or shutil.which(argv[0], path="/usr/sbin:/sbin")
    assert program is not None
    env = {**os.environ, "CIB_file": str(file)}
    done = subprocess.run(
        [program, *argv[1:]], input=given, env=env, capture_output=True, text=True, check=False
    )
    return Said(done.returncode, done.stdout, done.stderr)
