"""A real libvirtd to put definitions to: what it takes, and what it gives back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import libvirt
from lxml import etree

from kvmdecl.lab import Lab, LabHost, State
from kvmdecl.libvirt_xml.safe import parse_xml
from kvmdecl.state import Kind

VOLUMES = "kvmdecl-fidelity"
"""The pool that volumes are made in."""


class Refused(Exception):  # noqa: N818 - reads as a sentence
    """libvirt does not take a definition. That is its word, and no fault of a comparison."""


@dataclass(slots=True)
class Target:
    """A host's libvirtd. libvirt 9.0 dies of some definitions; then it is started again."""

    lab: Lab
    host: LabHost
    connection: libvirt.virConnect

    def read_back(self, xml: str, kind: Kind) -> str:
        """Define an object, return what libvirt says that it is, and remove it.

        Raises:
            Refused: libvirt does not take it.
        """
        thing = self.define(xml, kind)
        with self.asking():
            try:
                return dump(thing, kind)
            finally:
                remove(thing, kind)

    def define(self, xml: str, kind: Kind) -> Any:
        """Define an object that stays.

        Raises:
            Refused: libvirt does not take it.
        """
        with self.asking():
            return _DEFINE[kind](self.connection, xml)

    def start_paused(self, xml: str) -> tuple[str, str]:
        """Define a domain and start it, then remove it. Returns its definition, and that of the running guest.

        Raises:
            Refused: it cannot be started here.
        """
        domain = self.define(xml, Kind.DOMAIN)
        try:
            with self.asking():
                domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
                return dump(domain, Kind.DOMAIN), str(domain.XMLDesc(0))
        finally:
            remove(domain, Kind.DOMAIN)

    def restart(self) -> None:
        """Kill libvirtd and start it again."""
        self.connection.close()
        self.lab.restart(self.host.name)
        self.connection = libvirt.open(self.host.uri())

    def find(self, name: str, kind: Kind) -> Any:
        """An object by its name."""
        look = {
            Kind.DOMAIN: self.connection.lookupByName,
            Kind.NETWORK: self.connection.networkLookupByName,
            Kind.POOL: self.connection.storagePoolLookupByName,
        }
        return look[kind](name)

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Turn an error of libvirt into its refusal.

        Raises:
            Refused: libvirt does not take a definition, or died of it.
        """
        try:
            yield
        except libvirt.libvirtError as error:
            if not self.connection.isAlive():
                self._start_again()
                raise Refused("libvirtd died of it") from error
            raise Refused(str(error)) from error

    def _start_again(self) -> None:
        deadline = time.monotonic() + 10
        while self.lab.status()[self.host.name] is State.UP and time.monotonic() < deadline:
            time.sleep(0.05)
        self.lab.start(self.host.name)
        self.connection = libvirt.open(self.host.uri())
        for domain in self.connection.listAllDomains():
            remove(domain, Kind.DOMAIN)
        for network in self.connection.listAllNetworks():
            remove(network, Kind.NETWORK)
        for pool in self.connection.listAllStoragePools():
            if pool.name() != VOLUMES:
                remove(pool, Kind.POOL)
            elif not pool.isActive():
                pool.create()


def dump(thing: Any, kind: Kind) -> str:
    """The persistent definition, as kvmdecl reads it."""
    inactive = {
        Kind.DOMAIN: libvirt.VIR_DOMAIN_XML_INACTIVE,
        Kind.NETWORK: libvirt.VIR_NETWORK_XML_INACTIVE,
        Kind.POOL: libvirt.VIR_STORAGE_XML_INACTIVE,
        Kind.VOLUME: 0,
    }
    return str(thing.XMLDesc(inactive[kind]))


def remove(thing: Any, kind: Kind) -> None:
    """Remove what was defined."""
    if kind is Kind.DOMAIN:
        with suppress(libvirt.libvirtError):
            thing.destroy()
        thing.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_NVRAM | libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE)
    elif kind is Kind.VOLUME:
        thing.delete()
    else:
        thing.undefine()


@contextmanager
def connected(lab: Lab) -> Iterator[Target]:
    """The first host of a lab, with a pool for volumes."""
    libvirt.registerErrorHandler(lambda *_: None, None)
    host = next(iter(lab.hosts.values()))
    target = Target(lab, host, libvirt.open(host.uri()))
    pool = target.connection.storagePoolDefineXML(
        f"<pool type='dir'><name>{VOLUMES}</name><target><path>/srv/{VOLUMES}</path></target></pool>"
    )
    pool.build()
    pool.create()
    try:
        yield target
    finally:
        target.connection.close()


def machines(connection: libvirt.virConnect) -> dict[str, set[str]]:
    """The machine types that the host's QEMUs know, by architecture."""
    found: dict[str, set[str]] = {}
    for arch in parse_xml(connection.getCapabilities()).iterfind("guest/arch"):
        found.setdefault(arch.get("name", ""), set()).update(m.text or "" for m in arch.iter("machine"))
    return found


def _make_volume(connection: libvirt.virConnect, xml: str) -> libvirt.virStorageVol:
    pool = connection.storagePoolLookupByName(VOLUMES)
    volume = pool.createXML(xml, 0)
    pool.refresh(0)
    return pool.storageVolLookupByName(volume.name())


_DEFINE: dict[Kind, Callable[[libvirt.virConnect, str], Any]] = {
    # VALIDATE keeps libvirtd 9.0 from crashing over some definitions that no schema allows
    Kind.DOMAIN: lambda connection, xml: connection.defineXMLFlags(xml, libvirt.VIR_DOMAIN_DEFINE_VALIDATE),
    Kind.NETWORK: lambda connection, xml: connection.networkDefineXML(xml),
    Kind.POOL: lambda connection, xml: connection.storagePoolDefineXML(xml),
    Kind.VOLUME: _make_volume,
}


def to_text(root: Any) -> str:
    """A document as text, as it is."""
    return str(etree.tostring(root, encoding="unicode"))
