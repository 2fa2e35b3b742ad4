"""A real host to work on, and a hand that carries out tasks on it as a worker does."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import libvirt
import pytest

from kvmdecl.hosts.errors import is_gone
from kvmdecl.hosts.ledger import LedgerWriter
from kvmdecl.hosts.perform import Patience, perform
from kvmdecl.hosts.protocol import Progress, TaskRequest, TaskResult
from kvmdecl.hosts.read import read_domain, read_filter, read_network, read_pool, read_volume
from kvmdecl.libvirt_xml.fingerprint import fingerprint
from kvmdecl.state import Address, Kind, Ledger, Observed, ObservedVolume
from kvmdecl.tasks import (
    CreatePool,
    CreateVolume,
    DefineFilter,
    DefineNetwork,
    DeleteDefinition,
    DeleteFilter,
    DeleteNetwork,
    DeletePool,
    DeleteVolume,
    ResizeVolume,
    Task,
    UpdatePool,
    WriteDefinition,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kvmdecl.lab import Lab, LabHost

libvirt.registerErrorHandler(lambda _context, _error: None, None)  # errors are asserted, not printed

CLUSTER = "edge"
PATIENCE = Patience(shutdown=20.0, unplug=0.5, poll=0.02)


@dataclass
class Hand:
    """Carries out tasks on one host of the lab."""

    host: LabHost
    connection: libvirt.virConnect
    told: list[Progress] = field(default_factory=list)
    patience: Patience = PATIENCE

    def do(self, task: Task, *, planned: Observed | str | None = "now") -> TaskResult:
        """Carry out a task that was planned when its object was as `planned`; as it is now if not given."""
        address = self.address(task)
        seen = self.look(address) if planned == "now" else planned
        assert not isinstance(seen, str)
        request = TaskRequest(address, task, fingerprint(seen), CLUSTER, "r1")
        return perform(self.connection, request, self.told.append, self.patience)

    def address(self, task: Task) -> Address:
        match task:
            case CreatePool() | UpdatePool() | DeletePool():
                return Address(self.host.name, Kind.POOL, task.name)
            case DefineNetwork() | DeleteNetwork():
                return Address(self.host.name, Kind.NETWORK, task.name)
            case DefineFilter() | DeleteFilter():
                return Address(self.host.name, Kind.NWFILTER, task.name)
            case CreateVolume() | ResizeVolume() | DeleteVolume() | WriteDefinition() | DeleteDefinition():
                return Address(self.host.name, Kind.VOLUME, f"{task.pool}/{task.name}")
        return Address(self.host.name, Kind.DOMAIN, task.name)

    def look(self, address: Address) -> Observed | None:
        try:
            match address.kind:
                case Kind.POOL:
                    return read_pool(self.connection.storagePoolLookupByName(address.name))
                case Kind.NETWORK:
                    return read_network(self.connection.networkLookupByName(address.name))
                case Kind.NWFILTER:
                    return read_filter(self.connection.nwfilterLookupByName(address.name))
                case Kind.VOLUME:
                    pool, _, name = address.name.partition("/")
                    found = self.connection.storagePoolLookupByName(pool)
                    return read_volume(found.storageVolLookupByName(name))
                case Kind.DOMAIN:
                    return read_domain(self.connection.lookupByName(address.name))
        except libvirt.libvirtError as error:
            if is_gone(error):
                return None
            raise

    def look_at_volumes(self, pool: str = "vms") -> tuple[ObservedVolume, ...]:
        return read_pool(self.connection.storagePoolLookupByName(pool)).volumes

    @property
    def ledger(self) -> Ledger:
        return LedgerWriter(self.connection, CLUSTER).read()

    def path(self, on_host: str) -> Path:
        """Where this machine sees a file of the host's /srv."""
        return self.host.folder / on_host.lstrip("/")


@pytest.fixture
def hand(clean_lab: Lab) -> Iterator[Hand]:
    host = clean_lab.host("kvm-1")
    connection = libvirt.open(host.uri())
    yield Hand(host, connection)
    connection.close()


@pytest.fixture
def pool(hand: Hand) -> libvirt.virStoragePool:
    """An active pool `vms` in /srv/vms."""
    xml = "<pool type='dir'><name>vms</name><target><path>/srv/vms</path></target></pool>"
    pool = hand.connection.storagePoolDefineXML(xml)
    pool.build()
    pool.create()
    return pool
