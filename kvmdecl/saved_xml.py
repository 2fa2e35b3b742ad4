"""Snapshots from saved XML as virsh prints it: a bug report, or an estate that cannot be reached.

    DIR/HOST/capabilities.xml         virsh capabilities           (needed; all else may be missing)
    DIR/HOST/domcapabilities*.xml     virsh domcapabilities
    DIR/HOST/version.txt              virsh version --daemon
    DIR/HOST/nodedev/*.xml            virsh nodedev-dumpxml NAME
    DIR/HOST/interfaces/*.xml         virsh iface-dumpxml NAME
    DIR/HOST/domains/*.xml            virsh dumpxml --inactive NAME
    DIR/HOST/domains-live/*.xml       virsh dumpxml NAME           (of running domains)
    DIR/HOST/networks/*.xml           virsh net-dumpxml --inactive NAME
    DIR/HOST/networks-live/*.xml      virsh net-dumpxml NAME       (of active networks)
    DIR/HOST/pools/*.xml              virsh pool-dumpxml NAME
    DIR/HOST/volumes/POOL/*.xml       virsh vol-dumpxml --pool POOL NAME
    DIR/HOST/nwfilters/*.xml          virsh nwfilter-dumpxml NAME
    DIR/HOST/secrets/*.xml            virsh secret-dumpxml UUID    (of kvmdecl's own ledgers)
    DIR/HOST/KIND-autostart.txt       virsh list --all --autostart --name; likewise net-list, pool-list
    DIR/HOST/KIND-active.txt          virsh net-list --name; likewise pool-list

The files of a single host may stand in DIR itself. Without the lists of names nothing has autostart, and all
networks and pools count as active.
"""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, TypeVar

from kvmdecl.diagnostics import Diagnostic, Rejected
from kvmdecl.hosts.ledger import parse_ledger
from kvmdecl.libvirt_xml.capabilities import (
    parse_capabilities,
    parse_domain_capabilities,
    parse_interface,
    parse_node_device,
)
from kvmdecl.libvirt_xml.observed import parse_head, parse_sizes, parse_volume
from kvmdecl.libvirt_xml.safe import MAX_DOCUMENT, BadXml
from kvmdecl.libvirt_xml.secret import parse_secret
from kvmdecl.settings import HUGE_PAGES, huge_pages
from kvmdecl.state import (
    HostSnapshot,
    HostState,
    ObservedDomain,
    ObservedFilter,
    ObservedNetwork,
    ObservedPool,
    ObservedSecret,
    ObservedSettings,
    ObservedVolume,
)
from kvmdecl.text import safe_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from kvmdecl.facts import HostFacts
    from kvmdecl.state import Ledger

T = TypeVar("T")
_CAPABILITIES = "capabilities.xml"


def from_xml_dir(directory: Path) -> dict[str, HostSnapshot]:
    """Build snapshots from a directory of saved XML, by host.

    Raises:
        Rejected: `facts.no-capabilities`, `facts.bad-file`; all bad files at once.
    """
    folders = [directory] if (directory / _CAPABILITIES).exists() else _host_folders(directory)
    if not folders:
        raise Rejected([_no_capabilities(directory)])
    bad: list[Diagnostic] = []
    snapshots = {folder.resolve().name: _Host(folder, bad).snapshot() for folder in folders}
    if bad:
        raise Rejected(bad)
    return {host: snapshot for host, snapshot in snapshots.items() if snapshot is not None}


def _host_folders(directory: Path) -> list[Path]:
    return sorted(path.parent for path in directory.glob(f"*/{_CAPABILITIES}")) if directory.is_dir() else []


class _Host:
    """The files of one host. What cannot be read is noted in `bad`."""

    def __init__(self, folder: Path, bad: list[Diagnostic]) -> None:
        self._folder = folder
        self._bad = bad

    def snapshot(self) -> HostSnapshot | None:
        """Read everything; None when there is not even a host (which is in `bad` then)."""
        facts = self._facts()
        state = HostState(
            self._domains(),
            self._networks(),
            self._pools(),
            self._secrets(),
            self._ledgers(),
            self._filters(),
            ()
            if facts is None
            else (ObservedSettings(HUGE_PAGES, tuple(sorted(huge_pages(facts.cells).items()))),),
        )
        return None if facts is None else HostSnapshot(self._folder.resolve().name, facts, state)

    def _facts(self) -> HostFacts | None:
        versions = self._text(self._folder / "version.txt")
        capabilities = self._each([self._folder / _CAPABILITIES], parse_capabilities)
        devices = self._each(self._xml("nodedev"), parse_node_device)
        interfaces = self._each(self._xml("interfaces"), parse_interface)
        support = self._each(sorted(self._folder.glob("domcapabilities*.xml")), parse_domain_capabilities)
        if not capabilities:
            return None
        return capabilities[0].facts(
            libvirt=_version(versions, "daemon: (?:libvirt )?") or _version(versions, "libvirt"),
            qemu=_version(versions, "hypervisor: QEMU"),
            devices=devices,
            domain_support=support,
            interfaces=(parts[0].name for parts in interfaces),
            connections=chain.from_iterable(interfaces),
        )

    def _domains(self) -> tuple[ObservedDomain, ...]:
        starting = self._names("domains-autostart") or frozenset()
        live = {found.name: found for found in self._each(self._xml("domains-live"), _live_domain)}
        kept = {found.name: found for found in self._each(self._xml("domains"), _domain)}
        for name, found in live.items():
            kept[name] = replace(kept[name], active=True, live_xml=found.live_xml) if name in kept else found
        domains = (replace(found, autostart=name in starting) for name, found in kept.items())
        return tuple(sorted(domains, key=lambda domain: domain.name))

    def _networks(self) -> tuple[ObservedNetwork, ...]:
        active, starting = self._names("networks-active"), self._names("networks-autostart") or frozenset()

        running = self._each(self._xml("networks-live"), lambda xml: (parse_head(xml, "network").name, xml))
        live = dict(running)

        def network(xml: str) -> ObservedNetwork:
            head = parse_head(xml, "network")
            name = head.name
            runs = active is None or name in active
            return ObservedNetwork(
                name, head.uuid, xml, runs, name in starting, live.get(name) if runs else None
            )

        return tuple(sorted(self._each(self._xml("networks"), network), key=lambda found: found.name))

    def _pools(self) -> tuple[ObservedPool, ...]:
        active, starting = self._names("pools-active"), self._names("pools-autostart") or frozenset()

        def pool(xml: str) -> ObservedPool:
            head = parse_head(xml, "pool")
            name = head.name
            runs = active is None or name in active
            sizes = parse_sizes(xml) if runs else (0, 0)
            return ObservedPool(name, head.uuid, xml, runs, name in starting, *sizes, self._volumes(name))

        return tuple(sorted(self._each(self._xml("pools"), pool), key=lambda found: found.name))

    def _volumes(self, pool: str) -> tuple[ObservedVolume, ...]:
        if "/" in pool or pool in {".", ".."}:  # libvirt refuses them; here they would lead out of the folder
            raise BadXml("no pool of libvirt has such a name")
        found = self._each(self._xml(f"volumes/{pool}"), lambda xml: parse_volume(xml, pool))
        return tuple(sorted(found, key=lambda volume: volume.name))

    def _secrets(self) -> tuple[ObservedSecret, ...]:
        """Those that are no ledgers."""
        found = self._each(self._xml("secrets"), lambda xml: None if parse_ledger(xml) else parse_secret(xml))
        return tuple(sorted(filter(None, found), key=lambda secret: secret.uuid))

    def _ledgers(self) -> tuple[Ledger, ...]:
        found = self._each(self._xml("secrets"), parse_ledger)
        return tuple(sorted(filter(None, found), key=lambda ledger: ledger.cluster))

    def _filters(self) -> tuple[ObservedFilter, ...]:
        def filter_(xml: str) -> ObservedFilter:
            head = parse_head(xml, "filter")
            return ObservedFilter(head.name, head.uuid, xml)

        return tuple(sorted(self._each(self._xml("nwfilters"), filter_), key=lambda found: found.name))

    def _names(self, name: str) -> frozenset[str] | None:
        """The names in a list that virsh printed; None if there is no such list."""
        path = self._folder / f"{name}.txt"
        return (
            frozenset(filter(None, map(str.strip, self._text(path).splitlines()))) if path.exists() else None
        )

    def _xml(self, folder: str) -> list[Path]:
        return sorted((self._folder / folder).glob("*.xml"))

    def _each(self, paths: Iterable[Path], parse: Callable[[str], T]) -> list[T]:
        """Parse every file. One that makes no sense is noted and left out."""
        parsed: list[T] = []
        for path in paths:
            try:
                parsed.append(parse(_read(path)))
            except (OSError, BadXml, UnicodeDecodeError) as error:
                self._bad.append(_bad_file(path, str(error)))
            except Rejected as rejected:
                self._bad.extend(rejected.diagnostics)
        return parsed

    def _text(self, path: Path) -> str:
        """An optional file, empty if it is not there."""
        return "".join(self._each([path], str)) if path.exists() else ""


def _domain(xml: str) -> ObservedDomain:
    """A definition. Saved without `--inactive` from a running domain it stands for what runs, too."""
    head = parse_head(xml, "domain")
    live = xml if head.active else None
    return ObservedDomain(
        name=head.name,
        uuid=head.uuid,
        xml=xml,
        live_xml=live,
        active=head.active,
        persistent=True,
        autostart=False,
        managed_save=False,
    )


def _live_domain(xml: str) -> ObservedDomain:
    """A running domain. Without a definition beside it it is transient."""
    return replace(_domain(xml), live_xml=xml, active=True, persistent=False)


def _version(text: str, of: str) -> int:
    """A version in libvirt's counting (major * 1,000,000 + minor * 1,000 + release); 0 if it is not told."""
    match = re.search(rf"{of} ?(\d{{1,3}})\.(\d{{1,3}})\.(\d{{1,3}})", text, re.ASCII)
    return int(match[1]) * 1_000_000 + int(match[2]) * 1_000 + int(match[3]) if match else 0


def _read(path: Path) -> str:
    if not path.is_file():  # reading a pipe or a device could last for ever
        raise BadXml("it is not a plain file")
    if path.stat().st_size > MAX_DOCUMENT:
        raise BadXml(f"it has more than {MAX_DOCUMENT:,} bytes")
    return path.read_text(encoding="utf-8")


def _bad_file(path: Path, why: str) -> Diagnostic:
    return Diagnostic(
        code="facts.bad-file",
        summary=f"{safe_text(str(path))} cannot be read: {safe_text(why)}",
        hint="save it again as virsh prints it, or take it away",
    )


def _no_capabilities(directory: Path) -> Diagnostic:
    return Diagnostic(
        code="facts.no-capabilities",
        summary=f"there is no host in {safe_text(str(directory))}",
        cause="A host is a folder (or this one) with at least a file capabilities.xml.",
        hint="run `virsh capabilities > capabilities.xml` there; docs/hosts.md lists the other files",
    )
