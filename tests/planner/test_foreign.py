"""What nobody declares is shown for every kind of object, with who wrote it."""

from __future__ import annotations

from dataclasses import replace

from kvmdecl.libvirt_xml.trace import pool_note
from kvmdecl.names import derive_uuid
from kvmdecl.plan import ForeignField, Owner
from kvmdecl.planner.foreign import foreign_objects
from kvmdecl.planner.verdict import HostView
from kvmdecl.state import (
    Address,
    DesiredFilter,
    DesiredPool,
    DesiredSecret,
    DesiredState,
    HostState,
    Kind,
    Ledger,
    LedgerEntry,
    ObservedFilter,
    ObservedPool,
    ObservedSecret,
    ObservedVolume,
    SecretSource,
)

LIBVIRT = 9000000
POOL = "<pool type='dir'><name>data</name><source/><target><path>/srv/data</path>{}</target></pool>"
MODE = "<permissions><mode>{}</mode></permissions>"
FILTER = "<filter name='{}' chain='root'><rule action='drop' direction='in'/></filter>"


def at(kind: Kind, name: str) -> Address:
    return Address("kvm-1", kind, name)


def uuid(kind: Kind, name: str) -> str:
    return derive_uuid("edge", kind, name)


def entry(kind: Kind, name: str, applied: str = "") -> LedgerEntry:
    return LedgerEntry(kind, name, "", applied, complete=True)


def shown(desired, state: HostState):
    view = HostView("kvm-1", "edge", "r1", state, LIBVIRT)
    return foreign_objects(DesiredState("edge", "r1", tuple(desired)), {"kvm-1": view})


def pool(name: str, xml: str, *volumes: str) -> ObservedPool:
    held = tuple(ObservedVolume(name, v, f"/srv/{v}", "raw", 0, 0, None) for v in volumes)
    return ObservedPool(name, uuid(Kind.POOL, name), xml, True, True, 0, 0, held)


def test_fields_of_a_pool_are_libvirts_until_somebody_else_writes_them():
    declared = DesiredPool(at(Kind.POOL, "data"), uuid(Kind.POOL, "data"), POOL.format(""), autostart=True)
    note = pool_note(POOL.format(MODE.format("0711")), LIBVIRT)
    ledger = Ledger("edge", (entry(Kind.POOL, "data", note),))

    def fields(mode: str, ledger: Ledger = ledger) -> tuple[ForeignField, ...]:
        now = pool("data", POOL.format(mode and MODE.format(mode)))
        (found,) = shown([declared], HostState(pools=(now,), ledgers=(ledger,)))
        assert (found.ours, found.declared) == (True, 3)
        return found.fields

    path = "target/permissions/mode"
    assert fields("0711") == (ForeignField(path, Owner.LIBVIRT, "711", "711"),)
    assert fields("0755") == (ForeignField(path, Owner.OTHERS, "711", "755"),)
    assert fields("") == ()  # the directory's, which libvirt reads when it starts the pool
    assert fields("0711", Ledger("edge")) == (ForeignField(path, Owner.UNKNOWN, None, "711"),)


def test_a_filter_and_a_secret_say_nothing_that_is_not_declared():
    filter_ = ObservedFilter("web", uuid(Kind.NWFILTER, "web"), FILTER.format("web"))
    secret = ObservedSecret(uuid(Kind.SECRET, "key"), "volume", "/kvmdecl/edge/key", ephemeral=False)
    declared = [
        DesiredFilter(at(Kind.NWFILTER, "web"), filter_.uuid, FILTER.format("web")),
        DesiredSecret(
            *(at(Kind.SECRET, "key"), secret.uuid, "volume", secret.usage_id, False, "1", SecretSource()),
            xml="<secret ephemeral='no'><uuid>u</uuid></secret>",
        ),
    ]
    state = HostState(filters=(filter_,), secrets=(secret,))

    found = {thing.address.kind: thing for thing in shown(declared, state)}

    assert {kind: (thing.ours, thing.fields) for kind, thing in found.items()} == {
        Kind.NWFILTER: (True, ()),
        Kind.SECRET: (True, ()),
    }
    assert all(thing.declared for thing in found.values())


def test_objects_of_others_are_named_and_those_of_the_ledger_are_not():
    secrets = [ObservedSecret(uuid(Kind.SECRET, name), "ceph", name, ephemeral=False) for name in ("a", "b")]
    filters = [ObservedFilter(name, name, FILTER.format(name)) for name in ("a", "b")]
    state = HostState(
        pools=(pool("a", POOL.format(""), "x", "y"), pool("b", POOL.format(""))),
        secrets=tuple(secrets),
        filters=tuple(filters),
        ledgers=(Ledger("edge"),),
    )
    ours = tuple(entry(kind, "a") for kind in (Kind.POOL, Kind.SECRET, Kind.NWFILTER))
    ledger = Ledger("edge", (*ours, entry(Kind.VOLUME, "a/x")))

    everything = shown([], state)
    others = shown([], replace(state, ledgers=(ledger,)))

    assert len(everything) == 8
    assert not any(thing.ours for thing in everything)
    assert [(thing.address.kind, thing.address.name) for thing in others] == [
        (Kind.NWFILTER, "b"),
        (Kind.POOL, "b"),
        (Kind.SECRET, secrets[1].uuid),
        (Kind.VOLUME, "a/y"),
    ]
